// Calls in which the kernel takes its time (a grace period for a link, a walk over all tracked connections), in a thread of
// their own: in the agent's it would neither see a policy nor answer anybody meanwhile.
import { isMainThread, parentPort, type Worker, workerData } from 'node:worker_threads'
import { startWorker } from '../worker.ts'
import { KernelError } from './kernel-error.ts'

type Call<J> = { readonly id: number; readonly job: J }
type Failure = { readonly op: string; readonly errno: number; readonly object: string; readonly detail: string }
type Answer<R> = { readonly id: number; readonly result?: R; readonly failure?: Failure }
type Waiting<R> = { readonly resolve: (result: R) => void; readonly reject: (error: Error) => void }

function answer<J, R>({ id, job }: Call<J>, work: (job: J) => R): Answer<R> {
  try {
    return { id, result: work(job) }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    const { op, errno, object, detail } = error
    return { id, failure: { op, errno, object, detail } }
  }
}

/**
 * `work` as a function that another thread runs, one job after the other. `name` is that of the caller's file without its
 * ending, which that thread runs too, and `from` the caller's `import.meta.url`. Rejects with the KernelError that `work` threw; any other error ends the thread and all that wait for it.
 */
export function aside<J, R>(name: string, from: string, work: (job: J) => R): (job: J) => Promise<R> {
  if (!isMainThread && workerData?.aside === name)
    parentPort!.on('message', (call: Call<J>) => parentPort!.postMessage(answer(call, work)))
  let thread: Worker | undefined
  let calls = 0
  const waiting = new Map<number, Waiting<R>>()
  const start = (): Worker => {
    const started = startWorker(name, from, { workerData: { aside: name } })
    started.unref()
    started.on('message', ({ id, result, failure }: Answer<R>) => {
      const call = waiting.get(id)
      waiting.delete(id)
      // It keeps the process alive only while somebody waits.
      if (waiting.size === 0) started.unref()
      if (failure) call?.reject(new KernelError(failure.op, failure.errno, failure))
      else call?.resolve(result as R)
    })
    started.on('error', (error: Error) => {
      thread = undefined
      for (const call of waiting.values()) call.reject(error)
      waiting.clear()
    })
    return started
  }
  return job => {
    thread ??= start()
    const id = ++calls
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject })
      thread!.ref()
      thread!.postMessage({ id, job } satisfies Call<J>)
    })
  }
}
