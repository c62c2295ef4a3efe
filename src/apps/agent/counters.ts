// The kernel's counters, by cause: each outcome chain counts just before its verdict, under the cause as a comment. What
// would be decided if the staged policies were enforced is counted before, as `staged: ` and the cause.
import type { Outcome } from '../../core/classify/outcome.ts'
import { type Direction, type HostHook, printCause } from '../../core/resources/cause.ts'

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

export function outcomeCounters(outcomes: Iterable<Outcome>, counters: ChainCounters): OutcomeCounter[] {
  return [...outcomes].flatMap(outcome => {
    const found = counters.get(outcome.name) ?? []
    const counted = outcome.steps.flatMap(s => (s.kind === 'log' || !s.cause ? [] : [{ ...s, cause: s.cause }]))
    return counted.flatMap((step, i): OutcomeCounter[] => {
      const counter = found[i]
      if (!counter) return []
      const { packets, bytes } = counter
      const cause = `${step.kind === 'decide' ? '' : STAGED}${printCause(step.cause)}`
      const { direction, hook, name: chain } = outcome
      return [{ cause, direction, ...(hook && { hook }), chain, packets, bytes }]
    })
  })
}
