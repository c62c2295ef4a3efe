// A node's control groups: one root of its own in every hierarchy of the machine, which the kubelet takes for the whole
// machine's. They are also how a node is ended: whatever it started is in them, also what its parents no longer know.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { endProcesses, type ProcessId, processId } from './process.ts'

const MOUNT = '/sys/fs/cgroup'
/** Where the node's own programs are, beside the kubelet's `kubepods`. */
const SYSTEM = 'system'

/** Every hierarchy: the second version of cgroups has one, the first one for each controller, and both may be there. */
function hierarchies(): string[] {
  if (cgroupVersion() === 2) return [MOUNT]
  const folders = readdirSync(MOUNT, { withFileTypes: true }).filter(entry => entry.isDirectory())
  return folders.map(entry => join(MOUNT, entry.name)).filter(path => existsSync(join(path, 'cgroup.procs')))
}

/** The hierarchy in which processes are looked for; every process is in all of them. */
const counted = (): string => (existsSync(join(MOUNT, 'pids')) ? join(MOUNT, 'pids') : MOUNT)

const cgroupVersion = (): 1 | 2 => (existsSync(join(MOUNT, 'cgroup.controllers')) ? 2 : 1)

/** Makes a node's root everywhere. */
export function makeCgroups(root: string): void {
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, root)
    mkdirSync(folder, { recursive: true })
    // A cpuset without processors and memory takes no process.
    for (const file of ['cpuset.cpus', 'cpuset.mems'].filter(
      name => cgroupVersion() === 1 && existsSync(join(folder, name)),
    ))
      writeFileSync(join(folder, file), readFileSync(join(hierarchy, file)))
  }
  mkdirSync(join(counted(), root, SYSTEM), { recursive: true })
}

/** A process that writes its number into this file, and what it starts from then on, belongs to the node. */
export const systemProcs = (root: string): string => join(counted(), root, SYSTEM, 'cgroup.procs')

/** Groups of containers come and go while they are looked at: of one that is gone there is nothing. */
function unlessGone<T>(read: () => T[]): T[] {
  try {
    return read()
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}

/** Folders below a root, the deepest first, the root last. */
const subtree = (folder: string): string[] =>
  unlessGone(() => {
    const children = readdirSync(folder, { withFileTypes: true }).filter(entry => entry.isDirectory())
    return [...children.flatMap(entry => subtree(join(folder, entry.name))), folder]
  })

/** The numbers of the processes in a folder and those below it. */
function pidsBelow(folder: string): number[] {
  const pids = subtree(folder).flatMap(each =>
    unlessGone(() => readFileSync(join(each, 'cgroup.procs'), 'utf8').split('\n')),
  )
  return pids.filter(text => text !== '').map(Number)
}

/** Every process of a node. */
export const processesOf = (root: string): ProcessId[] =>
  pidsBelow(join(counted(), root)).flatMap(pid => processId(pid) ?? [])

/** The first process of each container of a pod: what is below the pod's own group. Empty while there is none. */
export function processesOfPod(root: string, uid: string): number[] {
  const pod = subtree(join(counted(), root)).find(folder => folder.endsWith(`/pod${uid}`))
  if (pod === undefined) return []
  return pidsBelow(pod)
}

const TRIES = 200

/** Ends everything in a node's groups and removes them. Safe to repeat. */
export async function removeCgroups(root: string): Promise<void> {
  // What was being started when the others ended is there a moment later.
  for (let left = processesOf(root); left.length > 0; left = processesOf(root)) await endProcesses(left)
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, root)
    for (let tries = 1; existsSync(folder); tries++) {
      try {
        for (const each of subtree(folder)) rmdirSync(each)
      } catch (error) {
        // A group of a process that has just ended is busy for a moment.
        if (tries === TRIES) throw error
        await delay(20)
      }
    }
  }
}
