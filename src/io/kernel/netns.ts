// Entering another network namespace for the length of one synchronous function. A socket opened inside stays there for
// its life, so nothing else needs a thread or a process per namespace (a setns and back costs about 3 microseconds).
import { close, open, setNetns, unshareNetns } from './sys.ts'

/** The namespace of the calling thread; node's own main thread is the one that all our calls run on. */
const SELF = '/proc/thread-self/ns/net'

/** Where `ip netns` keeps a named namespace. A path stands for itself. */
export const namedNetns = (name: string): string => (name.startsWith('/') ? name : `/run/netns/${name}`)

/**
 * Runs `fn` inside the namespace at `path` (`/run/netns/x`, `/proc/<pid>/ns/net`) and comes back. `fn` must not be async:
 * what follows an await would run elsewhere. If the way back fails, the process is in the wrong network: it aborts.
 */
export function inNetns<T>(path: string, fn: () => T extends PromiseLike<unknown> ? never : T): T {
  const enter = (): void => {
    const there = open(path)
    try {
      setNetns(there, path)
    } finally {
      close(there)
    }
  }
  return away(path, enter, fn)
}

/** A new namespace without a name: it is there while the descriptor is open, or something of it is in use. */
export const newNetns = (): number => away('of its own', unshareNetns, () => open(SELF))

function away<T>(where: string, enter: () => void, fn: () => T): T {
  const home = open(SELF)
  try {
    enter()
    try {
      return fn()
    } finally {
      try {
        setNetns(home, SELF)
      } catch (error) {
        process.stderr.write(`cannot come back from network namespace ${where}: ${String(error)}\n`)
        process.abort()
      }
    }
  } finally {
    close(home)
  }
}
