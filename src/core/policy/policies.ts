// All policies, tiers and profiles of a snapshot, in the model. A policy that cannot be translated becomes one that
// denies: it selects what it selects, and allows nothing.

import { DIRECTIONS, type Direction, type ResourceKey, resourceKey } from '../resources/cause.ts'
import type { GlobalNetworkPolicy, NetworkPolicy, PolicyRule, Snapshot } from '../resources/resource.ts'
import { ofKind } from '../resources/resource.ts'
import { ALL, and, equals, type Selector } from '../selector/selector.ts'
import type { Policy, Profile, Rule, Tier } from './model.ts'
import { NAMESPACE, namespaceSelector, PolicyError, ruleOf, selectorOf, serviceAccountSelector } from './rules.ts'

export type Policies = {
  /** In order of evaluation: tier, then policy. Only tiers that exist, then those only named by policies. */
  readonly tiers: readonly { readonly tier: Tier; readonly policies: readonly Policy[] }[]
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

function whom(policy: NetworkPolicy | GlobalNetworkPolicy): Selector {
  const { spec } = policy
  const terms: Selector[] = []
  if (spec.selector) terms.push(selectorOf(spec.selector))
  if (policy.kind === 'NetworkPolicy') terms.push(equals(NAMESPACE, policy.metadata.namespace ?? ''))
  else if (policy.spec.namespaceSelector) terms.push(namespaceSelector(policy.spec.namespaceSelector))
  if (spec.serviceAccountSelector) terms.push(serviceAccountSelector(spec.serviceAccountSelector))
  return terms.length === 0 ? ALL : and(...terms)
}

/** The selector of a policy that cannot be translated: its own if that can be read, else everything it might mean. */
function whomAtMost(policy: NetworkPolicy | GlobalNetworkPolicy): Selector {
  try {
    return whom(policy)
  } catch {
    return policy.kind === 'NetworkPolicy' ? equals(NAMESPACE, policy.metadata.namespace ?? '') : ALL
  }
}

export function policiesOf(snapshot: Snapshot): Policies {
  const problems: string[] = []
  const policies: Policy[] = []
  for (const kind of ['NetworkPolicy', 'GlobalNetworkPolicy'] as const) {
    for (const resource of ofKind(snapshot, kind)) {
      const { spec, metadata } = resource
      // These two are judged before connection tracking or address translation, at host endpoints only.
      if (resource.kind === 'GlobalNetworkPolicy' && (resource.spec.doNotTrack || resource.spec.preDNAT)) continue
      const namespace = resource.kind === 'NetworkPolicy' ? resource.metadata.namespace : undefined
      const key = resourceKey(kind, namespace, metadata.name)
      const base = { key, tier: spec.tier ?? 'default', order: orderOf(spec.order), types: typesOf(spec.types) }
      try {
        policies.push({ ...base, selector: whom(resource), rules: rulesOf(spec, key, namespace) })
      } catch (error) {
        if (!(error instanceof PolicyError)) throw error
        problems.push(`${kind} ${namespace ? `${namespace}/` : ''}${metadata.name} denies all: ${error.message}`)
        policies.push({ ...base, selector: whomAtMost(resource), rules: denyAll(key) })
      }
    }
  }
  return { tiers: inOrder(snapshot, policies), profiles: profilesOf(snapshot, problems), problems }
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

function inOrder(snapshot: Snapshot, policies: readonly Policy[]): Policies['tiers'] {
  const tiers: Tier[] = [...ofKind(snapshot, 'Tier')].map(({ metadata, spec }) => ({
    name: metadata.name,
    order: orderOf(spec.order),
    defaultAction: spec.defaultAction ?? 'Deny',
  }))
  const known = new Set(tiers.map(t => t.name))
  const byOrder = (a: { order: number; name: string }, b: { order: number; name: string }): number =>
    a.order === b.order ? (a.name < b.name ? -1 : a.name > b.name ? 1 : 0) : a.order < b.order ? -1 : 1
  const strays = [...new Set(policies.map(p => p.tier))].filter(name => !known.has(name)).sort()
  const all = [
    ...tiers.sort(byOrder),
    // A tier that is only named comes after all others, and denies.
    ...strays.map((name): Tier => ({ name, order: Number.POSITIVE_INFINITY, defaultAction: 'Deny' })),
  ]
  /** Ties are broken by the text `name/namespace/kind`. */
  const tie = (p: Policy): string => {
    const [kind, namespace, name] = p.key.split('/')
    return `${name}/${namespace}/${kind}`
  }
  return all.map(tier => ({
    tier,
    policies: policies
      .filter(p => p.tier === tier.name)
      .sort((a, b) => byOrder({ order: a.order, name: tie(a) }, { order: b.order, name: tie(b) })),
  }))
}

function profilesOf(snapshot: Snapshot, problems: string[]): Map<string, Profile> {
  const profiles = new Map<string, Profile>()
  for (const { metadata, spec } of ofKind(snapshot, 'Profile')) {
    const key = resourceKey('Profile', undefined, metadata.name)
    try {
      profiles.set(metadata.name, { name: metadata.name, rules: rulesOf(spec, key, undefined) })
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      problems.push(`Profile ${metadata.name} denies all: ${error.message}`)
      profiles.set(metadata.name, { name: metadata.name, rules: denyAll(key) })
    }
  }
  return profiles
}
