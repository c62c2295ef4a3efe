// CPU time of the whole machine, by program: who pays for a work that many take part in.
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks in a second, as /proc counts them on Linux. */
const TICKS = 100

export type Cpu = { readonly total: number; readonly byProgram: ReadonlyMap<string, number> }

/** Seconds spent since the machine and its programs started; of a program with the children that it has waited for. */
export function readCpu(nameOf: (pid: number, comm: string) => string | undefined): Cpu {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/)
  const total = [user, nice, system, irq, softirq].reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS
  const byProgram = new Map<string, number>()
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const end = stat.lastIndexOf(')')
      const name = nameOf(Number(pid), stat.slice(stat.indexOf('(') + 1, end))
      if (name === undefined) continue
      // utime, stime, cutime, cstime: fields 14 to 17.
      const spent =
        stat
          .slice(end + 2)
          .split(' ')
          .slice(11, 15)
          .reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS
      byProgram.set(name, (byProgram.get(name) ?? 0) + spent)
    } catch {
      // It has ended.
    }
  }
  return { total, byProgram }
}

/** What was spent between two looks, the most first; `others` is what no named program has. */
export function spentBetween(before: Cpu, after: Cpu): Map<string, number> {
  const spent = [...after.byProgram].map(([name, at]) => [name, at - (before.byProgram.get(name) ?? 0)] as const)
  const others = after.total - before.total - spent.reduce((sum, [, seconds]) => sum + seconds, 0)
  return new Map([...spent, ['others', others] as const].sort((a, b) => b[1] - a[1]))
}
