// Kernel settings by their files under /proc/sys. Those below `net` belong to the network namespace of the calling thread;
// give `netns` to reach another one's. A setting is a path such as `net/ipv4/conf/cali1/rp_filter`: interface names may
// hold dots, so the dotted spelling is not used. In a container whose own /proc/sys is read only, GINGHAM_PROC_SYS names the
// place where the host's is mounted; which namespace is meant is still the calling thread's.
import { readFileSync, writeFileSync } from 'node:fs'
import { ERRNO, KernelError } from './kernel-error.ts'
import { inNetns } from './netns.ts'

const ROOT = process.env.GINGHAM_PROC_SYS ?? '/proc/sys'

/** The setting's text; undefined when the kernel does not have it. */
export function readSysctl(setting: string, netns?: string): string | undefined {
  try {
    return within(netns, () => readFileSync(`${ROOT}/${setting}`, 'utf8').trimEnd())
  } catch (error) {
    if (errnoOf(error) === ERRNO.ENOENT) return undefined
    throw kernelError('read sysctl', setting, error)
  }
}

/** Writes a setting; the KernelError `isMissing` when the kernel (or the interface) does not have it. */
export function writeSysctl(setting: string, value: string | number, netns?: string): void {
  try {
    within(netns, () => {
      writeFileSync(`${ROOT}/${setting}`, `${value}\n`)
      return true
    })
  } catch (error) {
    throw kernelError('write sysctl', `${setting} = ${value}`, error)
  }
}

const within = <T extends string | boolean>(netns: string | undefined, fn: () => T): T =>
  netns === undefined ? fn() : (inNetns<string | boolean>(netns, fn) as T)

const errnoOf = (error: unknown): number | undefined =>
  error instanceof Error && 'errno' in error && typeof error.errno === 'number' ? Math.abs(error.errno) : undefined

function kernelError(op: string, object: string, error: unknown): unknown {
  if (error instanceof KernelError) return error
  const errno = errnoOf(error)
  return errno === undefined ? error : new KernelError(op, errno, { object })
}
