// Which pairs of features the judges have seen so far.
import type { RuleStep } from '../../src/core/oracle/decision.ts'
import type { Snapshot } from '../../src/core/resources/resource.ts'
import { featuresOf, type Pair, pairsOf, WANTED } from './features.ts'
import type { Flow } from './flow.ts'
import type { Judged } from './judges.ts'

/** Pairs of features that a rule which some judged flow was held against has had. */
export class Coverage {
  readonly #missing = new Set<Pair>(WANTED)

  get share(): number {
    return 1 - this.#missing.size / WANTED.length
  }

  get missing(): readonly Pair[] {
    return [...this.#missing]
  }

  /** How many of these are new. */
  count(pairs: Iterable<Pair>): number {
    let found = 0
    for (const pair of pairs) if (this.#missing.has(pair)) found++
    return found
  }

  add(pairs: Iterable<Pair>): void {
    for (const pair of pairs) this.#missing.delete(pair)
  }
}

const isRule = (step: { readonly kind: string }): step is RuleStep => step.kind === 'rule'

/** The pairs of every rule that a flow was held against. */
export function pairsSeen(snapshot: Snapshot, flow: Flow, judged: Judged): Set<Pair> {
  const pairs = new Set<Pair>()
  const { family } = flow.packet
  for (const { trail, hook } of judged.decisions)
    for (const { rule } of trail.filter(isRule))
      for (const pair of pairsOf(featuresOf(snapshot, { rule, hook, family }))) pairs.add(pair)
  return pairs
}
