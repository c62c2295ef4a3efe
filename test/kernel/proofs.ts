// What the tests of the proof share: a node to prove something of, and the proof's outcome in words.
import fc from 'fast-check'
import { computeIntent } from '../../src/core/calc/compute.ts'
import type { Intent } from '../../src/core/calc/intent.ts'
import { printDifference } from '../../src/core/proof/difference.ts'
import type { Proof } from '../../src/core/proof/prove.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { cluster } from '../agreement/cluster.ts'

/** A node of the cluster of a seed, or of the next that has endpoints and some policy. */
export function someIntent(first: number): Intent {
  for (let seed = first; ; seed++) {
    const found = computeIntent(derived(fc.sample(cluster, { numRuns: 1, seed })[0]!), 'node0')
    if (found.endpoints.length > 2 && found.sets.size > 3) return found
  }
}

export type Outcome = 'proved' | 'different' | 'not understood'
export const outcomeOf = (proof: Proof): Outcome =>
  proof.proved ? 'proved' : proof.differences.length > 0 ? 'different' : 'not understood'

/** Everything that the proof found, for a test that fails. */
export const show = (p: Proof): string => [...p.differences.map(printDifference), ...p.notUnderstood].join('\n')
