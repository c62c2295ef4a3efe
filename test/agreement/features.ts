// What a rule is made of, as names that can be counted: every field and every sort of value in it, told from the side that
// the endpoint owns and the side of its peer. Two features are a pair that the judges must have seen in one rule, unless
// validation never lets them stand together, which is said here and held against the schema by a test.
import { isKubernetes } from '../../src/core/oracle/order.ts'
import { type HostHook, type RuleRef, splitKey } from '../../src/core/resources/cause.ts'
import type { EntityRule, PolicyRule, Snapshot, Tier } from '../../src/core/resources/resource.ts'
import { find } from '../../src/core/resources/resource.ts'
import { parseSelector } from '../../src/core/selector/parse.ts'
import {
  KUBERNETES_DIMENSIONS,
  KUBERNETES_IMPOSSIBLE,
  KUBERNETES_KINDS,
  kubernetesFeatures,
} from './kubernetes-features.ts'

const SELECTORS = ['==', '!=', 'has', 'not', 'in', 'not in', 'contains', 'starts with', 'all', 'and', 'or'] as const
const SIDE = {
  selector: SELECTORS,
  notSelector: ['given'],
  namespaceSelector: ['label', 'all', 'global', 'not'],
  serviceAccounts: ['names', 'selector'],
  nets: ['4', '6'],
  notNets: ['4', '6'],
} as const
const PORTS = ['number', 'range', 'name'] as const

/** Each dimension with its values. A rule may have several values of one dimension (ports of two sorts), or none. */
export const DIMENSIONS: Readonly<Record<string, readonly string[]>> = {
  action: ['Allow', 'Deny', 'Pass', 'Log'],
  direction: ['ingress', 'egress'],
  kind: [
    ...['NetworkPolicy', 'GlobalNetworkPolicy', 'Profile', 'StagedNetworkPolicy', 'StagedGlobalNetworkPolicy'],
    ...KUBERNETES_KINDS,
  ],
  /** Whose endpoint asked: a pod's, or a host endpoint at one of its hooks. */
  at: ['pod', 'host', 'forward', 'prednat', 'untracked'],
  tier: ['ordered', 'unordered', 'default', 'absent'],
  order: ['given'],
  'policy selector': ['given'],
  'policy serviceAccountSelector': ['given'],
  'policy namespaceSelector': ['given'],
  protocol: ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6', 'UDPLite', 'number'],
  notProtocol: ['given'],
  icmp: ['type', 'code'],
  notICMP: ['type', 'code'],
  ipVersion: ['4', '6'],
  ports: PORTS,
  notPorts: PORTS,
  'source ports': PORTS,
  'source notPorts': PORTS,
  ...Object.fromEntries(
    ['own', 'peer'].flatMap(side => Object.entries(SIDE).map(([field, values]) => [`${side} ${field}`, values])),
  ),
  'peer services': ['given'],
  ...KUBERNETES_DIMENSIONS,
  family: ['4', '6'],
}

/** `dimension=value`. */
export type Feature = string
export const dimensionOf = (feature: Feature): string => feature.slice(0, feature.indexOf('='))
export const valueIn = (feature: Feature): string => feature.slice(feature.indexOf('=') + 1)
export const FEATURES: readonly Feature[] = Object.entries(DIMENSIONS).flatMap(([d, values]) =>
  values.map(v => `${d}=${v}`),
)

const protocols = (...names: readonly string[]): RegExp => new RegExp(`^protocol=(${names.join('|')})$`)
const PORT_FEATURE = /^(source )?(ports|notPorts)=/
const NETS = (family: 4 | 6): RegExp => new RegExp(`^(own|peer) (nets|notNets)=${family}$`)

/** What validation refuses, and what is never asked; either way round. */
const IMPOSSIBLE: readonly { readonly why: string; readonly a: RegExp; readonly b: RegExp }[] = [
  ...KUBERNETES_IMPOSSIBLE,
  { why: 'a service says who the peer is', a: /^peer services=/, b: /^peer (?!services)/ },
  { why: 'before translation packets only come in', a: /^at=prednat$/, b: /^direction=egress$/ },
  { why: 'profiles are not asked there', a: /^at=(forward|prednat|untracked)$/, b: /^kind=Profile$/ },
  { why: 'a host has no namespace', a: /^at=(?!pod)/, b: /^kind=(Staged)?NetworkPolicy$/ },
  { why: 'only three protocols have ports', a: PORT_FEATURE, b: protocols('ICMP', 'ICMPv6', 'UDPLite') },
  { why: 'icmp needs a protocol that has no ports', a: PORT_FEATURE, b: /^icmp=/ },
  { why: 'icmp needs its protocol', a: /^icmp=/, b: protocols('TCP', 'UDP', 'SCTP', 'UDPLite') },
  { why: 'a rule holds nets of one family', a: NETS(4), b: NETS(6) },
  { why: 'nets are of the rule’s family', a: NETS(4), b: /^ipVersion=6$/ },
  { why: 'nets are of the rule’s family', a: NETS(6), b: /^ipVersion=4$/ },
  { why: 'a protocol of one family', a: protocols('ICMP'), b: /^ipVersion=6$/ },
  { why: 'a protocol of one family', a: protocols('ICMPv6'), b: /^ipVersion=4$/ },
  { why: 'a profile is no policy', a: /^kind=Profile$/, b: /^(tier|order|policy .*)=/ },
  {
    why: 'a namespaced policy has no namespaceSelector',
    a: /^kind=(Staged)?NetworkPolicy$/,
    b: /^policy namespaceSelector=/,
  },
]

export const whyImpossible = (a: Feature, b: Feature): string | undefined =>
  IMPOSSIBLE.find(i => (i.a.test(a) && i.b.test(b)) || (i.a.test(b) && i.b.test(a)))?.why

/** Two features, in the order of `FEATURES`. */
export type Pair = `${Feature} & ${Feature}`
const rank = new Map(FEATURES.map((f, i) => [f, i]))
export const pairOf = (a: Feature, b: Feature): Pair => (rank.get(a)! < rank.get(b)! ? `${a} & ${b}` : `${b} & ${a}`)
export const membersOf = (pair: Pair): [Feature, Feature] => pair.split(' & ') as [Feature, Feature]

/** Every pair of features of two dimensions. */
export const EVERY_PAIR: readonly Pair[] = FEATURES.flatMap((a, i) =>
  FEATURES.slice(i + 1)
    .filter(b => dimensionOf(a) !== dimensionOf(b))
    .map(b => pairOf(a, b)),
)
export const WANTED: readonly Pair[] = EVERY_PAIR.filter(p => whyImpossible(...membersOf(p)) === undefined)

type PortList = NonNullable<EntityRule['ports']>
const portKinds = (ports: PortList | undefined): string[] =>
  (ports ?? []).map(p => (typeof p === 'number' || /^\d+$/.test(p) ? 'number' : p.includes(':') ? 'range' : 'name'))

function selectorKind(text: string): string {
  const parsed = parseSelector(text)
  return parsed.ok ? parsed.value.op : 'none'
}

function namespaceKind(text: string): string {
  const op = selectorKind(text)
  return op === 'all' || op === 'global' || op === 'not' ? op : 'label'
}

function* sideFeatures(side: 'own' | 'peer', entity: EntityRule | undefined): Generator<Feature> {
  if (!entity) return
  const { selector, notSelector, namespaceSelector, serviceAccounts, nets, notNets, services } = entity
  if (services) yield `${side} services=given`
  if (selector) yield `${side} selector=${selectorKind(selector)}`
  if (notSelector) yield `${side} notSelector=given`
  if (namespaceSelector) yield `${side} namespaceSelector=${namespaceKind(namespaceSelector)}`
  if (serviceAccounts?.names?.length) yield `${side} serviceAccounts=names`
  if (serviceAccounts?.selector) yield `${side} serviceAccounts=selector`
  for (const net of nets ?? []) yield `${side} nets=${net.includes(':') ? 6 : 4}`
  for (const net of notNets ?? []) yield `${side} notNets=${net.includes(':') ? 6 : 4}`
}

const icmpKind = (m: { readonly code?: number | undefined }): string => (m.code === undefined ? 'type' : 'code')

function* ruleFeatures(rule: PolicyRule, direction: 'ingress' | 'egress'): Generator<Feature> {
  yield `action=${rule.action}`
  yield `direction=${direction}`
  if (rule.protocol !== undefined) yield `protocol=${typeof rule.protocol === 'number' ? 'number' : rule.protocol}`
  if (rule.notProtocol !== undefined) yield 'notProtocol=given'
  if (rule.icmp) yield `icmp=${icmpKind(rule.icmp)}`
  if (rule.notICMP) yield `notICMP=${icmpKind(rule.notICMP)}`
  if (rule.ipVersion !== undefined) yield `ipVersion=${rule.ipVersion}`
  for (const kind of portKinds(rule.destination?.ports)) yield `ports=${kind}`
  for (const kind of portKinds(rule.destination?.notPorts)) yield `notPorts=${kind}`
  for (const kind of portKinds(rule.source?.ports)) yield `source ports=${kind}`
  for (const kind of portKinds(rule.source?.notPorts)) yield `source notPorts=${kind}`
  const [own, peer] = direction === 'ingress' ? [rule.destination, rule.source] : [rule.source, rule.destination]
  yield* sideFeatures('own', own)
  yield* sideFeatures('peer', peer)
}

type PolicySpec = {
  readonly tier?: string
  readonly order?: number
  readonly selector?: string
  readonly serviceAccountSelector?: string
  readonly namespaceSelector?: string
}

function tierKind(name: string, tier: Tier | undefined): string {
  if (!tier) return 'absent'
  if (name === 'default') return name
  return tier.spec.order === undefined ? 'unordered' : 'ordered'
}

/** A rule that was considered for a packet of a family; `hook`: by a host endpoint. */
export type Considered = { readonly rule: RuleRef; readonly hook?: HostHook | undefined; readonly family: 4 | 6 }

/** Its features; only those that `DIMENSIONS` knows. */
export function featuresOf(snapshot: Snapshot, { rule: ref, hook, family }: Considered): Feature[] {
  const { policy: key, direction, index } = ref
  const policy = snapshot.get(key)
  if (!policy) return []
  const { kind } = splitKey(key)
  const found = new Set<Feature>([`kind=${kind}`, `at=${hook ?? 'pod'}`, `family=${family}`])
  if (isKubernetes(policy)) {
    for (const f of [`direction=${direction}`, ...kubernetesFeatures(policy, direction, index)]) found.add(f)
    return [...found].filter(f => rank.has(f))
  }
  const spec = policy.spec as PolicySpec & { readonly [d in 'ingress' | 'egress']?: readonly PolicyRule[] }
  const rule = spec[direction]?.[index]
  if (!rule) return []
  for (const f of ruleFeatures(rule, direction)) found.add(f)
  if (kind !== 'Profile') {
    const tier = spec.tier ?? 'default'
    found.add(`tier=${tierKind(tier, find(snapshot, 'Tier', { name: tier }))}`)
    if (spec.order !== undefined) found.add('order=given')
    if (spec.selector) found.add('policy selector=given')
    if (spec.serviceAccountSelector) found.add('policy serviceAccountSelector=given')
    if (spec.namespaceSelector) found.add('policy namespaceSelector=given')
  }
  return [...found].filter(f => rank.has(f))
}

/** The pairs of one rule. */
export function* pairsOf(features: readonly Feature[]): Generator<Pair> {
  for (const [i, a] of features.entries())
    for (const b of features.slice(i + 1)) if (dimensionOf(a) !== dimensionOf(b)) yield pairOf(a, b)
}
