// Processes by number and start time. A number alone may belong to somebody else by now, and the lab must end nothing that
// it did not start.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export type ProcessId = {
  readonly pid: number
  /** Field 22 of /proc/PID/stat: clock ticks from the boot to the start. */
  readonly started: string
}

/** The id of a process that lives now; a zombie does not. */
export function processId(pid: number): ProcessId | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in field 2 may hold anything, also `)`: count from its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : { pid, started: fields[19]! }
  } catch {
    return undefined
  }
}

export const lives = ({ pid, started }: ProcessId): boolean => processId(pid)?.started === started

/** Every process in a named network namespace. */
export function processesIn(namespace: string): ProcessId[] {
  const pids = execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).split('\n')
  return pids.filter(text => text !== '').flatMap(text => processId(Number(text)) ?? [])
}

const PATIENCE = 5000

function signal(processes: readonly ProcessId[], name: NodeJS.Signals): void {
  for (const id of processes) {
    try {
      if (lives(id)) process.kill(id.pid, name)
    } catch {
      // Gone in between.
    }
  }
}

/** Asks processes to end, waits, and ends those that do not. */
export async function endProcesses(processes: readonly ProcessId[]): Promise<void> {
  signal(processes, 'SIGTERM')
  const deadline = performance.now() + PATIENCE
  while (processes.some(lives) && performance.now() < deadline) await delay(20)
  signal(processes, 'SIGKILL')
  while (processes.some(lives)) await delay(5)
}
