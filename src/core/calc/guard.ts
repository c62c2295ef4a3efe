// The policies and profiles that govern one endpoint in one direction, in order, with their rules resolved for it.
import { FAMILIES, type Family } from '../net/addr.ts'
import type { Policy, Rule } from '../policy/model.ts'
import type { Policies } from '../policy/policies.ts'
import { type Direction, type HostHook, type HostLeg, printKey, printRule } from '../resources/cause.ts'
import { lookup, matches } from '../selector/match.ts'
import type { Guard, HostGuard, Program, ResolvedRule, Stage } from './intent.ts'
import { hostSide, ownException, ownSide, resolveRule, type SetSource } from './resolve.ts'
import type { Labelled, SetCollector } from './sets.ts'

type Source = {
  readonly kind: Stage['kind']
  readonly name: string
  readonly defaultAction: Stage['defaultAction']
  readonly staged?: true
  /** Policies of a tier, or one profile's rules. */
  readonly lists: readonly { readonly name: string; readonly rules: readonly Rule[] }[]
}

/** Whether a policy has a say in a direction at all, at a hook of a host endpoint if one is given. */
export const hasSay = (p: Policy, direction: Direction, hook: HostHook = 'host'): boolean =>
  p.types.includes(direction) && p.hooks.includes(hook)

/** Before connection tracking and address translation a tier's end does not decide. */
export const defaultAt = (action: Stage['defaultAction'], hook: HostHook | undefined): Stage['defaultAction'] =>
  hook === 'prednat' || hook === 'untracked' ? 'Pass' : action

/** Whether profiles are asked after the last tier; where they are not, nothing denies in their place either. */
export const asksProfiles = (hook: HostHook | undefined): boolean => hook === undefined || hook === 'host'

/** Tiers without a policy for this endpoint and direction are skipped; so a tier's default needs a policy that selects. */
function sourcesOf(
  policies: Pick<Policies, 'tiers' | 'profiles'>,
  self: Labelled & { profiles: readonly string[] },
  { direction, hook }: { direction: Direction; hook?: HostHook | undefined },
): Source[] {
  const labels = lookup(self.labels)
  const governs = (p: Policy): boolean => hasSay(p, direction, hook) && matches(p.selector, labels)
  const tiers = policies.tiers.flatMap(({ tier, policies: all }): Source[] => {
    const lists = all.filter(governs).map(p => ({ name: printKey(p.key), rules: p.rules[direction] }))
    const defaultAction = defaultAt(tier.defaultAction, hook)
    return lists.length === 0 ? [] : [{ kind: 'tier', name: tier.name, defaultAction, lists }]
  })
  if (!asksProfiles(hook)) return tiers
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
  // A judgement without any stage is one too, which a stage shall say.
  const nothing = { kind: 'profile', name: '', defaultAction: 'Pass', lists: [] } as unknown as S
  return [...enforced, ...(staged.length === 0 ? [nothing] : staged).map(s => ({ ...s, staged: true as const }))]
}

export const printException = (rule: Rule, family: Family, exception: string): string =>
  `${printRule(rule.ref)} v${family}: ${exception}`

/** What is enforced, then what would be if the staged policies were. */
function bothOf(
  policies: Policies,
  self: Labelled & { profiles: readonly string[] },
  at: { direction: Direction; hook?: HostHook | undefined },
): Source[] {
  const enforced = sourcesOf(policies, self, at)
  const { staged: tiers, profiles } = policies
  return tiers ? withStaged(enforced, sourcesOf({ tiers, profiles }, self, at)) : enforced
}

const stagesOf = (sources: readonly Source[], resolve: (rule: Rule) => ResolvedRule[]): Stage[] =>
  sources.map(({ lists, ...stage }) => ({ ...stage, rules: lists.flatMap(l => l.rules).flatMap(resolve) }))

export function guardOf(
  policies: Policies,
  self: Labelled & { profiles: readonly string[] },
  options: { direction: Direction; sets: SetCollector },
): Guard {
  const { direction, sets } = options
  const selects: SetSource['selects'] = (selector, addr) => sets.selects(selector, addr)
  const sources = bothOf(policies, self, { direction })
  const exceptions: string[] = []
  const program = (family: Family): Program => {
    const place = { self, direction, family }
    const resolve = (rule: Rule): ResolvedRule[] => {
      const own = ownSide(rule, place, selects)
      const exception = ownException(rule, place, own)
      if (exception) exceptions.push(printException(rule, family, exception))
      return own ? [resolveRule(rule, place, own, sets)] : []
    }
    return { direction, family, stages: stagesOf(sources, resolve) }
  }
  const programs = Object.fromEntries(FAMILIES.map(f => [f, program(f)])) as Record<Family, Program>
  return { identity: identityOf(sources, exceptions), programs }
}

/** A host endpoint at one of its hooks; undefined where it has no say. All its own sides are sets: none has exceptions. */
export function hostGuardOf(
  policies: Policies,
  self: Labelled & { profiles: readonly string[] },
  { leg, sets }: { leg: HostLeg; sets: SetCollector },
): HostGuard | undefined {
  const { direction, hook } = leg
  const sources = bothOf(policies, self, leg)
  if (hook !== 'host' && sources.length === 0) return undefined
  const program = (family: Family): Program => {
    const place = { direction, family }
    const resolve = (rule: Rule): ResolvedRule[] => {
      const own = hostSide(rule, place, sets)
      return own ? [resolveRule(rule, place, own, sets)] : []
    }
    return { direction, family, stages: stagesOf(sources, resolve), hook }
  }
  const programs = Object.fromEntries(FAMILIES.map(f => [f, program(f)])) as Record<Family, Program>
  return { ...leg, identity: identityOf(sources, []), programs }
}
