// The kernel's counters, by cause: each outcome chain counts just before its verdict, under the cause as a comment. What
// would be decided if the staged policies were enforced is counted before, as `staged: ` and the cause, and so are the
// packets that come to Log rules, as `Log ` and the rule.
import { isCanary } from '../../core/calc/canary.ts'
import type { Outcome, Step } from '../../core/classify/outcome.ts'
import { type Direction, type HostHook, printCause, printLog } from '../../core/resources/cause.ts'

/** A counter of the table: the chain it stands in, its place among the chain's counters, and what it counted. */
export type ChainCounters = ReadonlyMap<string, readonly { readonly packets: number; readonly bytes: number }[]>

export type OutcomeCounter = {
  readonly cause: string
  readonly direction: Direction
  /** Of a host endpoint. */
  readonly hook?: HostHook
  readonly chain: string
  readonly packets: number
  readonly bytes: number
}

export const STAGED = 'staged: '

/** The cause under which a step counts, if it does. */
function countedAs(step: Step): string | undefined {
  if (step.kind === 'log') return printLog(step.rule)
  return step.cause && `${step.kind === 'decide' ? '' : STAGED}${printCause(step.cause)}`
}

export function outcomeCounters(outcomes: Iterable<Outcome>, counters: ChainCounters): OutcomeCounter[] {
  return [...outcomes].flatMap(outcome => {
    // What we count of ourselves is nobody's traffic.
    if (outcome.steps.some(step => 'cause' in step && isCanary(step.cause))) return []
    const found = counters.get(outcome.name) ?? []
    const counted = outcome.steps.map(countedAs).filter(cause => cause !== undefined)
    return counted.flatMap((cause, i): OutcomeCounter[] => {
      const counter = found[i]
      if (!counter) return []
      const { packets, bytes } = counter
      const { direction, hook, name: chain } = outcome
      return [{ cause, direction, ...(hook && { hook }), chain, packets, bytes }]
    })
  })
}

/** How many packets came to Log rules, from readings of counters that begin anew whenever their chain is written anew. */
export class LogCount {
  #last = new Map<string, number>()

  /** How many more than at the last reading, at least: what a chain counted just before it went is not known. */
  read(outcomes: readonly Outcome[], counters: ChainCounters): number {
    const now = new Map<string, number>()
    for (const { name, steps } of outcomes) {
      const causes = steps.filter(s => countedAs(s) !== undefined)
      for (const [i, { kind }] of causes.entries())
        if (kind === 'log') now.set(`${name} ${i}`, counters.get(name)?.[i]?.packets ?? 0)
    }
    let more = 0
    for (const [place, packets] of now) {
      const before = this.#last.get(place) ?? 0
      more += packets >= before ? packets - before : packets
    }
    this.#last = now
    return more
  }
}
