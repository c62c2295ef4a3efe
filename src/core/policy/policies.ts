// All policies, tiers and profiles of a snapshot, in the model. A policy that cannot be translated becomes one that
// denies: it selects what it selects, and allows nothing.

import {
  DIRECTIONS,
  type Direction,
  type HostHook,
  printKey,
  type ResourceKey,
  resourceKey,
  splitKey,
} from '../resources/cause.ts'
import type {
  NetworkPolicy,
  PolicyRule,
  Profile as ProfileResource,
  Snapshot,
  StagedNetworkPolicy,
  TieredPolicy,
  Tier as TierResource,
} from '../resources/resource.ts'
import { ofKind, TIERED_KINDS } from '../resources/resource.ts'
import { ALL, and, equals, type Selector } from '../selector/selector.ts'
import { kubernetesPolicyOf } from './kubernetes-policies.ts'
import type { Policy, Profile, Rule, Tier } from './model.ts'
import { NAMESPACE, namespaceSelector, PolicyError, ruleOf, selectorOf, serviceAccountSelector } from './rules.ts'

export type TierPolicies = { readonly tier: Tier; readonly policies: readonly Policy[] }

export type Policies = {
  /** In order of evaluation: tier, then policy. Only tiers that exist, then those only named by policies. */
  readonly tiers: readonly TierPolicies[]
  /** The same if what is staged were enforced; absent if nothing is staged. */
  readonly staged?: readonly TierPolicies[]
  readonly profiles: ReadonlyMap<string, Profile>
  readonly problems: readonly string[]
}

const orderOf = (order: number | null | undefined): number => order ?? Number.POSITIVE_INFINITY

function rulesOf(
  spec: { ingress?: readonly PolicyRule[] | undefined; egress?: readonly PolicyRule[] | undefined },
  policy: ResourceKey,
  namespace: string | undefined,
): Record<Direction, Rule[]> {
  const of = (direction: Direction) =>
    (spec[direction] ?? []).map((rule, index) => ruleOf(rule, { policy, direction, index, namespace }))
  return { ingress: of('ingress'), egress: of('egress') }
}

/** Felix reads an absent or empty list as both; the defaulting at write time has normally filled it in. */
const typesOf = (types: readonly ('Ingress' | 'Egress')[] | undefined): Direction[] =>
  types && types.length > 0
    ? DIRECTIONS.filter(d => types.includes(d === 'ingress' ? 'Ingress' : 'Egress'))
    : [...DIRECTIONS]

const isNamespaced = (policy: TieredPolicy): policy is NetworkPolicy | StagedNetworkPolicy =>
  policy.kind === 'NetworkPolicy' || policy.kind === 'StagedNetworkPolicy'

function whom(policy: TieredPolicy): Selector {
  const { spec } = policy
  const terms: Selector[] = []
  if (spec.selector) terms.push(selectorOf(spec.selector))
  if (isNamespaced(policy)) terms.push(equals(NAMESPACE, policy.metadata.namespace ?? ''))
  else if (policy.spec.namespaceSelector) terms.push(namespaceSelector(policy.spec.namespaceSelector))
  if (spec.serviceAccountSelector) terms.push(serviceAccountSelector(spec.serviceAccountSelector))
  return terms.length === 0 ? ALL : and(...terms)
}

/** The selector of a policy that cannot be translated: its own if that can be read, else everything it might mean. */
function whomAtMost(policy: TieredPolicy): Selector {
  try {
    return whom(policy)
  } catch {
    return isNamespaced(policy) ? equals(NAMESPACE, policy.metadata.namespace ?? '') : ALL
  }
}

function hooksOf(resource: TieredPolicy): HostHook[] {
  if (isNamespaced(resource)) return ['host']
  const { doNotTrack, preDNAT, applyOnForward } = resource.spec
  if (doNotTrack) return ['untracked']
  if (preDNAT) return ['prednat']
  return applyOnForward ? ['host', 'forward'] : ['host']
}

/** A policy, or what stands for one that cannot be translated: it denies. */
export function policyOf(resource: TieredPolicy): { readonly policy: Policy; readonly problem?: string } {
  const { kind, spec, metadata } = resource
  const namespace = isNamespaced(resource) ? resource.metadata.namespace : undefined
  const key = resourceKey(kind, namespace, metadata.name)
  const base = {
    key,
    tier: spec.tier ?? 'default',
    order: orderOf(spec.order),
    types: typesOf(spec.types),
    hooks: hooksOf(resource),
    ...stagedOf(resource, key),
  }
  try {
    return { policy: { ...base, selector: whom(resource), rules: rulesOf(spec, key, namespace) } }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    const problem = `${printKey(key)} denies all: ${error.message}`
    return { policy: { ...base, selector: whomAtMost(resource), rules: denyAll(key) }, problem }
  }
}

/** Calico resolves every staged policy but one that deletes; what that means is judged here as well. */
function stagedOf(resource: TieredPolicy, key: ResourceKey): Pick<Policy, 'stagedFor' | 'deletes'> {
  if (resource.kind !== 'StagedNetworkPolicy' && resource.kind !== 'StagedGlobalNetworkPolicy') return {}
  const { kind, namespace, name } = splitKey(key)
  const stagedFor = resourceKey(kind.slice('Staged'.length), namespace, name)
  return { stagedFor, ...(resource.spec.stagedAction === 'Delete' && { deletes: true }) }
}

export function profileOf({ metadata, spec }: ProfileResource): {
  readonly profile: Profile
  readonly problem?: string
} {
  const key = resourceKey('Profile', undefined, metadata.name)
  try {
    return { profile: { name: metadata.name, rules: rulesOf(spec, key, undefined) } }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    const problem = `${printKey(key)} denies all: ${error.message}`
    return { profile: { name: metadata.name, rules: denyAll(key) }, problem }
  }
}

export const tierOf = ({ metadata, spec }: TierResource): Tier => ({
  name: metadata.name,
  order: orderOf(spec.order),
  defaultAction: spec.defaultAction ?? 'Deny',
})

/** A tier that policies name and nobody made: it denies, and comes after all others. */
export const strayTier = (name: string): Tier => ({ name, order: Number.POSITIVE_INFINITY, defaultAction: 'Deny' })

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0)

export const compareTiers = (a: Tier, b: Tier): number => compare(a.order, b.order) || compare(a.name, b.name)

/** Ties are broken by the text `name/namespace/kind`. */
function tie({ key, stagedFor }: Policy): string {
  // A staged policy takes the place of the one for which it stands.
  const { kind, namespace, name } = splitKey(stagedFor ?? key)
  return `${name}/${namespace}/${kind}`
}

export const comparePolicies = (a: Policy, b: Policy): number => compare(a.order, b.order) || compare(tie(a), tie(b))

/** The tiers that exist, then those that are only named, each with its policies. */
function inOrder(tiers: readonly Tier[], policies: readonly Policy[]): TierPolicies[] {
  const known = new Set(tiers.map(t => t.name))
  const strays = [...new Set(policies.map(p => p.tier))].filter(name => !known.has(name)).map(strayTier)
  return [...[...tiers].sort(compareTiers), ...strays.sort(compareTiers)].map(tier => ({
    tier,
    policies: policies.filter(p => p.tier === tier.name).sort(comparePolicies),
  }))
}

export function policiesOf(snapshot: Snapshot): Policies {
  const problems: string[] = []
  const note = <T extends { readonly problem?: string }>(made: T): T => {
    if (made.problem) problems.push(made.problem)
    return made
  }
  const resources = TIERED_KINDS.flatMap((kind): TieredPolicy[] => [...ofKind(snapshot, kind)])
  const kubernetes = [
    ...ofKind(snapshot, 'KubernetesNetworkPolicy'),
    ...ofKind(snapshot, 'StagedKubernetesNetworkPolicy'),
    ...ofKind(snapshot, 'KubernetesClusterNetworkPolicy'),
  ]
  const made = [...resources.map(policyOf), ...kubernetes.map(kubernetesPolicyOf)]
  const policies = made.map(m => note(m).policy)
  const profiles = [...ofKind(snapshot, 'Profile')].map(r => note(profileOf(r)).profile)
  const tiers = [...ofKind(snapshot, 'Tier')].map(tierOf)
  const isStaged = (p: Policy): boolean => p.stagedFor !== undefined
  const replaced = new Set(policies.map(p => p.stagedFor))
  return {
    tiers: inOrder(
      tiers,
      policies.filter(p => !isStaged(p)),
    ),
    ...(policies.some(isStaged) && {
      staged: inOrder(
        tiers,
        policies.filter(p => !p.deletes && !replaced.has(p.key)),
      ),
    }),
    profiles: new Map(profiles.map(p => [p.name, p])),
    problems,
  }
}

function denyAll(policy: ResourceKey): Record<Direction, Rule[]> {
  const rule = (direction: Direction): Rule => ({
    ref: { policy, direction, index: 0 },
    action: 'Deny',
    families: [4, 6],
    source: {},
    destination: {},
  })
  return { ingress: [rule('ingress')], egress: [rule('egress')] }
}
