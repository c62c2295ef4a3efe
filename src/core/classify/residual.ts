// What is left of a program once the peer's atom is known: rules over protocol, port and ICMP type only, and conditions.
// `match` answers for one cell of those axes: no, yes, or yes under a condition.
import type { PortTerm, Program, ResolvedRule, SetId, Stage } from '../calc/intent.ts'
import type { Family } from '../net/addr.ts'
import { inRanges, mergeRanges, type PortRange } from '../net/ports.ts'
import { hasPorts } from '../net/protocol.ts'
import type { Condition } from './outcome.ts'

/** One class of packets: `other` stands for every protocol, type or code that no rule in question names. */
export type Cell = {
  readonly family: Family
  readonly protocol: number | 'other'
  readonly dport?: number
  readonly type?: number | 'other'
  readonly code?: number | 'other'
}

/** The protocol whose types `icmp` and `notIcmp` speak of. */
export const icmpOf = (family: Family): number => (family === 4 ? 1 : 58)

/** A rule as a peer in exactly these sets sees it; undefined if it cannot match such a peer. */
export function residualRule(rule: ResolvedRule, vector: ReadonlySet<SetId>): ResolvedRule | undefined {
  if (!rule.peerIn.every(id => vector.has(id)) || rule.peerNotIn.some(id => vector.has(id))) return undefined
  const keep = (terms: readonly PortTerm[]) => terms.filter(t => t.peerIn === undefined || vector.has(t.peerIn))
  const { dports, notDports, sports, notSports } = rule
  if (!dports && !notDports && !sports && !notSports) return rule
  return {
    ...rule,
    ...(dports && { dports: keep(dports) }),
    ...(notDports && { notDports: keep(notDports) }),
    ...(sports && { sports: keep(sports) }),
    ...(notSports && { notSports: keep(notSports) }),
  }
}

/** The rules that a peer in exactly these sets can match, stage by stage. */
export const residual = (program: Program, vector: ReadonlySet<SetId>): Stage[] =>
  program.stages.map(stage => ({ ...stage, rules: stage.rules.flatMap(r => residualRule(r, vector) ?? []) }))

/** A host endpoint's rule for own addresses in exactly these sets, its own side decided; undefined if it cannot match them. */
export function ownResidualRule(rule: ResolvedRule, vector: ReadonlySet<SetId>): ResolvedRule | undefined {
  const { ownIn = [], ownNotIn = [], dports, notDports, sports, notSports, ...rest } = rule
  if (!ownIn.every(id => vector.has(id)) || ownNotIn.some(id => vector.has(id))) return undefined
  const keep = (terms: readonly PortTerm[]): PortTerm[] =>
    terms.flatMap(({ ownIn: set, ...term }) => (set === undefined || vector.has(set) ? [term] : []))
  return {
    ...rest,
    ...(dports && { dports: keep(dports) }),
    ...(notDports && { notDports: keep(notDports) }),
    ...(sports && { sports: keep(sports) }),
    ...(notSports && { notSports: keep(notSports) }),
  }
}

const termsOf = ({ dports, notDports, sports, notSports }: ResolvedRule): PortTerm[] =>
  [dports, notDports, sports, notSports].flatMap(terms => terms ?? [])

/** Every set that a rule asks about the own address. */
export const ownSetsOfRule = (rule: ResolvedRule): SetId[] => [
  ...(rule.ownIn ?? []),
  ...(rule.ownNotIn ?? []),
  ...termsOf(rule).flatMap(t => t.ownIn ?? []),
]

/** Every set that a rule asks about its peer. */
export function setsOfRule(rule: ResolvedRule): SetId[] {
  return [...rule.peerIn, ...rule.peerNotIn, ...termsOf(rule).flatMap(t => t.peerIn ?? [])]
}

/** The ranges that the terms name for a protocol. */
export const rangesFor = (terms: readonly PortTerm[] | undefined, protocol: number): PortRange[] =>
  (terms ?? [])
    .filter(t => t.protocol === undefined || t.protocol === protocol)
    .map(({ first, last }) => ({ first, last }))

const typeMatches = (want: { type?: number; code?: number }, cell: Cell): boolean =>
  (want.type === undefined || want.type === cell.type) && (want.code === undefined || want.code === cell.code)

/** Whether a residual rule matches a cell. A rule that wants ports never matches a packet without
 * them, and one that excludes ports does not exclude it. */
export function match(rule: ResolvedRule, cell: Cell): boolean | Condition {
  if (rule.protocol !== undefined && rule.protocol !== cell.protocol) return false
  if (rule.notProtocol !== undefined && rule.notProtocol === cell.protocol) return false
  const isIcmp = cell.protocol === icmpOf(cell.family)
  if (rule.icmp && !(isIcmp && typeMatches(rule.icmp, cell))) return false
  if (rule.notIcmp && (!isIcmp || typeMatches(rule.notIcmp, cell))) return false
  const condition: { -readonly [K in keyof Condition]: Condition[K] } = {}
  if (cell.protocol === 'other' || !hasPorts(cell.protocol)) {
    if (rule.dports || rule.sports) return false
  } else {
    const dport = cell.dport!
    if (rule.dports && !inRanges(rangesFor(rule.dports, cell.protocol), dport)) return false
    if (inRanges(rangesFor(rule.notDports, cell.protocol), dport)) return false
    if (rule.sports) {
      const sports = mergeRanges(rangesFor(rule.sports, cell.protocol))
      if (sports.length === 0) return false
      condition.sports = sports
    }
    const notSports = mergeRanges(rangesFor(rule.notSports, cell.protocol))
    if (notSports.length > 0) condition.notSports = notSports
  }
  if (rule.ownAddresses) condition.ownAddresses = rule.ownAddresses
  return Object.keys(condition).length === 0 ? true : condition
}
