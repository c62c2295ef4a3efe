// The policies and profiles that govern one endpoint in one direction, in order, with their rules resolved for it.
import { FAMILIES, type Family } from '../net/addr.ts'
import type { Policy, Rule } from '../policy/model.ts'
import type { Policies } from '../policy/policies.ts'
import { type Direction, printKey, printRule } from '../resources/cause.ts'
import { lookup, matches } from '../selector/match.ts'
import type { Guard, Program, ResolvedRule, Stage } from './intent.ts'
import { ownException, ownSide, resolveRule, type SetSource } from './resolve.ts'
import type { Labelled, SetCollector } from './sets.ts'

type Source = {
  readonly kind: Stage['kind']
  readonly name: string
  readonly defaultAction: Stage['defaultAction']
  readonly staged?: true
  /** Policies of a tier, or one profile's rules. */
  readonly lists: readonly { readonly name: string; readonly rules: readonly Rule[] }[]
}

/** Tiers without a policy for this endpoint and direction are skipped; so a tier's default needs a policy that selects. */
function sourcesOf(
  policies: Pick<Policies, 'tiers' | 'profiles'>,
  self: Labelled & { profiles: readonly string[] },
  direction: Direction,
): Source[] {
  const labels = lookup(self.labels)
  const governs = (p: Policy): boolean => p.types.includes(direction) && matches(p.selector, labels)
  const tiers = policies.tiers.flatMap(({ tier, policies: all }): Source[] => {
    const lists = all.filter(governs).map(p => ({ name: printKey(p.key), rules: p.rules[direction] }))
    return lists.length === 0 ? [] : [{ kind: 'tier', name: tier.name, defaultAction: tier.defaultAction, lists }]
  })
  const profiles = self.profiles.map((name): Source => {
    const profile = policies.profiles.get(name)
    // A profile that does not exist (yet) denies: what it would allow is not known.
    if (!profile) return { kind: 'profile', name, defaultAction: 'Deny', lists: [] }
    return { kind: 'profile', name, defaultAction: 'Pass', lists: [{ name, rules: profile.rules[direction] }] }
  })
  return [...tiers, ...profiles]
}

type Named = {
  readonly kind: Stage['kind']
  readonly name: string
  readonly staged?: true
  readonly lists: readonly { readonly name: string }[]
}

/** The text by which endpoints of equal programs know each other. */
export const identityOf = (sources: readonly Named[], exceptions: readonly string[]): string =>
  [
    ...sources.map(s => `${s.staged ? 'staged ' : ''}${s.kind} ${s.name}: ${s.lists.map(l => l.name).join(', ')}`),
    ...exceptions,
  ].join('; ')

/** What is enforced, then what would be if the staged policies were, marked as such; only where that is another thing. */
export function withStaged<S extends Named>(enforced: readonly S[], staged: readonly S[]): S[] {
  if (identityOf(enforced, []) === identityOf(staged, [])) return [...enforced]
  // A judgement without any stage denies, which one stage shall say.
  const nothing = { kind: 'profile', name: '', defaultAction: 'Deny', lists: [] } as unknown as S
  return [...enforced, ...(staged.length === 0 ? [nothing] : staged).map(s => ({ ...s, staged: true as const }))]
}

export const printException = (rule: Rule, family: Family, exception: string): string =>
  `${printRule(rule.ref)} v${family}: ${exception}`

export function guardOf(
  policies: Policies,
  self: Labelled & { profiles: readonly string[] },
  options: { direction: Direction; sets: SetCollector },
): Guard {
  const { direction, sets } = options
  const selects: SetSource['selects'] = (selector, addr) => sets.selects(selector, addr)
  const enforced = sourcesOf(policies, self, direction)
  const { staged: tiers, profiles } = policies
  const sources = tiers ? withStaged(enforced, sourcesOf({ tiers, profiles }, self, direction)) : enforced
  const exceptions: string[] = []
  const program = (family: Family): Program => {
    const place = { self, direction, family }
    const resolve = (rule: Rule): ResolvedRule[] => {
      const own = ownSide(rule, place, selects)
      const exception = ownException(rule, place, own)
      if (exception) exceptions.push(printException(rule, family, exception))
      return own ? [resolveRule(rule, place, own, sets)] : []
    }
    return {
      direction,
      family,
      stages: sources.map(({ lists, ...stage }): Stage => {
        return { ...stage, rules: lists.flatMap(l => l.rules).flatMap(resolve) }
      }),
    }
  }
  const programs = Object.fromEntries(FAMILIES.map(f => [f, program(f)])) as Record<Family, Program>
  return { identity: identityOf(sources, exceptions), programs }
}
