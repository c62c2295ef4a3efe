// Links are deleted in a thread of its own: the kernel waits out a grace period in the system call (25 to 60 ms for a
// veth), in which the agent would neither see a policy nor answer anybody.
import { isMainThread, parentPort, type Worker } from 'node:worker_threads'
import { startWorker } from '../worker.ts'
import { KernelError } from './kernel-error.ts'
import { deleteLink, readLink } from './links.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'

type Job = { readonly id: number; readonly name: string; readonly netns: string | undefined }
type Done = { readonly id: number; readonly existed?: boolean; readonly error?: { errno: number; detail: string } }

function reap({ id, name, netns }: Job): Done {
  using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
  try {
    const link = readLink(socket, name)
    if (link) deleteLink(socket, link.index)
    return { id, existed: link !== undefined }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    // It went between the look and the deletion.
    if (error.isMissing) return { id, existed: false }
    return { id, error: { errno: error.errno, detail: error.detail } }
  }
}

if (!isMainThread && parentPort) parentPort.on('message', (job: Job) => parentPort!.postMessage(reap(job)))

type Waiting = { readonly name: string; resolve: (existed: boolean) => void; reject: (error: Error) => void }

let worker: Worker | undefined
let jobs = 0
const waiting = new Map<number, Waiting>()

function start(): Worker {
  const started = startWorker('link-reaper', import.meta.url)
  started.unref()
  started.on('message', ({ id, existed, error }: Done) => {
    const job = waiting.get(id)
    waiting.delete(id)
    if (waiting.size === 0) started.unref()
    if (error) job?.reject(new KernelError('delete link', error.errno, { object: job.name, detail: error.detail }))
    else job?.resolve(existed ?? false)
  })
  started.on('error', (error: Error) => {
    worker = undefined
    for (const job of waiting.values()) job.reject(error)
    waiting.clear()
  })
  return started
}

/** Deletes a link by name; false if there was none. */
export function deleteLinkAside(name: string, netns?: string): Promise<boolean> {
  worker ??= start()
  const id = ++jobs
  return new Promise((resolve, reject) => {
    waiting.set(id, { name, resolve, reject })
    worker!.ref()
    worker!.postMessage({ id, name, netns } satisfies Job)
  })
}
