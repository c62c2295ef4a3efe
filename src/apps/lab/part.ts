// A process of the lab, such as a node's agent: started in a namespace, recorded, its output in a file of the run folder.
// It is in no process group of ours: Ctrl-C in a terminal goes to the lab alone, which ends its parts in order.
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { endProcesses, lives, type ProcessId, processId } from './process.ts'
import type { RunFolder } from './run-folder.ts'

export type PartOptions = {
  readonly name: string
  /** The network namespace it runs in; without one, the machine's own. */
  readonly namespace?: string
  /** Instead of a namespace, the words before the program; what they are must become the program. */
  readonly through?: readonly string[]
  /** Program and arguments. */
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export type Part = {
  readonly name: string
  readonly log: string
  readonly id: ProcessId
  /** Resolves when it ends by itself or is ended: its exit code, or the signal. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  readonly alive: () => boolean
  stop(): Promise<void>
}

const LAST_LINES = 20

/** The end of a log, for the error that has to show it. */
export const lastLines = (file: string): string =>
  readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LAST_LINES).join('\n')

/** Starts a part; throws if the program cannot be started at all. */
export function startPart(folder: RunFolder, { name, namespace, through, command, env = {} }: PartOptions): Part {
  const log = join(folder.folder('log'), `${name}.log`)
  const output = openSync(log, 'a')
  // `ip netns exec` becomes the program: the process that is recorded is the one that works.
  const before = through ?? (namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace])
  const words = [...before, ...command]
  const child = spawn(words[0]!, words.slice(1), {
    detached: true,
    stdio: ['ignore', output, output],
    env: { ...process.env, ...env },
  })
  closeSync(output)
  const ended = new Promise<number | NodeJS.Signals | null>(resolve => {
    child.once('error', () => resolve(127))
    child.once('exit', (code, signal) => resolve(code ?? signal))
  })
  const id = child.pid === undefined ? undefined : processId(child.pid)
  if (id === undefined) throw new Error(`${name} cannot be started: ${words.join(' ')}`)
  folder.recordProcess(id.pid)
  return { name, log, id, ended, alive: () => lives(id), stop: () => endProcesses([id]) }
}
