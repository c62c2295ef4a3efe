// Host endpoints judge packets of any address, so their rules may ask about both sides. The own side comes first: which of the
// sets that own sides ask about an own address is in (its key) decides what rules are left, and these are a program like a
// workload's. So a packet pays one lookup more, and only where some rule asks.
import type { ResolvedRule, SetId } from '../calc/intent.ts'
import { ownResidualRule, ownSetsOfRule } from './residual.ts'

type Ruled = { readonly stages: readonly { readonly rules: readonly ResolvedRule[] }[] }

export const ownSetsOf = (programs: readonly Ruled[]): ReadonlySet<SetId> =>
  new Set(programs.flatMap(p => p.stages.flatMap(s => s.rules.flatMap(ownSetsOfRule))))

/** The asked sets among those of an address, as text; empty if there is none. */
export const ownKey = (vector: Iterable<SetId>, asked: ReadonlySet<SetId>): string =>
  [...vector]
    .filter(id => asked.has(id))
    .sort()
    .join(' ')

export const setsOfKey = (key: string): ReadonlySet<SetId> => new Set(key === '' ? [] : (key.split(' ') as SetId[]))

export const ownRules = (rules: readonly ResolvedRule[], vector: ReadonlySet<SetId>): ResolvedRule[] =>
  rules.flatMap(rule => ownResidualRule(rule, vector) ?? [])

/** The program for own addresses of a key. */
export function ownProgram<P extends Ruled>(program: P, key: string): P {
  const vector = setsOfKey(key)
  return { ...program, stages: program.stages.map(s => ({ ...s, rules: ownRules(s.rules, vector) })) }
}
