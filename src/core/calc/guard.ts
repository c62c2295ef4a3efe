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
  /** Policies of a tier, or one profile's rules. */
  readonly members: readonly { readonly name: string; readonly rules: readonly Rule[] }[]
}

/** Tiers without a policy for this endpoint and direction are skipped; so a tier's default needs a policy that selects. */
function sourcesOf(
  policies: Policies,
  self: Labelled & { profiles: readonly string[] },
  direction: Direction,
): Source[] {
  const labels = lookup(self.labels)
  const governs = (p: Policy): boolean => p.types.includes(direction) && matches(p.selector, labels)
  const tiers = policies.tiers.flatMap(({ tier, policies: all }): Source[] => {
    const members = all.filter(governs).map(p => ({ name: printKey(p.key), rules: p.rules[direction] }))
    return members.length === 0 ? [] : [{ kind: 'tier', name: tier.name, defaultAction: tier.defaultAction, members }]
  })
  const profiles = self.profiles.map((name): Source => {
    const profile = policies.profiles.get(name)
    // A profile that does not exist (yet) denies: what it would allow is not known.
    if (!profile) return { kind: 'profile', name, defaultAction: 'Deny', members: [] }
    return { kind: 'profile', name, defaultAction: 'Pass', members: [{ name, rules: profile.rules[direction] }] }
  })
  return [...tiers, ...profiles]
}

/** The text by which endpoints of equal programs know each other. */
export const identityOf = (
  sources: readonly {
    readonly kind: string
    readonly name: string
    readonly members: readonly { readonly name: string }[]
  }[],
  exceptions: readonly string[],
): string =>
  [...sources.map(s => `${s.kind} ${s.name}: ${s.members.map(m => m.name).join(', ')}`), ...exceptions].join('; ')

export const printException = (rule: Rule, family: Family, exception: string): string =>
  `${printRule(rule.ref)} v${family}: ${exception}`

export function guardOf(
  policies: Policies,
  self: Labelled & { profiles: readonly string[] },
  options: { direction: Direction; sets: SetCollector },
): Guard {
  const { direction, sets } = options
  const selects: SetSource['selects'] = (selector, addr) => sets.selects(selector, addr)
  const sources = sourcesOf(policies, self, direction)
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
      stages: sources.map(({ kind, name, defaultAction, members }): Stage => {
        return { kind, name, defaultAction, rules: members.flatMap(m => m.rules).flatMap(resolve) }
      }),
    }
  }
  const programs = Object.fromEntries(FAMILIES.map(f => [f, program(f)])) as Record<Family, Program>
  return { identity: identityOf(sources, exceptions), programs }
}
