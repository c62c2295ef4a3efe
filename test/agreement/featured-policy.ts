// A policy or profile with one rule that has the features asked for: how the generator reaches pairs of features that a
// random rule has once in ten thousand. The names, labels and addresses are those of cluster.ts.
import { type Dice, pick } from '../support/dice.ts'
import { featuredKubernetes } from './featured-kubernetes.ts'
import { dimensionOf, type Feature, valueIn } from './features.ts'
import { isOfKubernetes } from './kubernetes-features.ts'

type Fields = Record<string, unknown>
type Draft = {
  direction: 'ingress' | 'egress'
  kind: string
  spec: Fields
  readonly rule: Fields
  readonly sides: { own: Fields; peer: Fields }
  readonly source: Fields
  readonly destination: Fields
}
type Write = (draft: Draft, value: string, d: Dice) => void

const V3 = 'projectcalico.org/v3'
const NETS = {
  4: ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '10.1.2.1/32', '192.0.2.0/24', '10.1.0.0/30', '198.51.100.0/24'],
  6: ['fd00::/8', 'fd00:1::/32', 'fd00:1::2/128', '2001:db8::/32', 'fd00:1::/126', '2001:dead::/64'],
} as const
const SELECTORS: Readonly<Record<string, readonly string[]>> = {
  '==': ["app == 'web'", "role == 'back'"],
  '!=': ["app != 'web'", "role != 'front'"],
  has: ['has(app)', 'has(env)'],
  not: ['!has(role)', "!(app == 'web')"],
  in: ["app in {'web', 'db'}", "role in {'front'}"],
  'not in': ["app not in {'db'}", "role not in {'front', 'back'}"],
  contains: ["app contains 'e'", "role contains 'on'"],
  'starts with': ["app starts with 'w'", "role starts with 'f'"],
  all: ['all()'],
  and: ["has(app) && role != 'front'", "app == 'web' && has(role)"],
  or: ["app == 'db' || has(env)", "!has(app) || role == 'front'"],
}
const NAMESPACES: Readonly<Record<string, readonly string[]>> = {
  label: ["team == 'a'", "team != 'a'", "projectcalico.org/name == 'prod'"],
  all: ['all()'],
  global: ['global()'],
  not: ['!all()', "!(team == 'a')"],
}
const SERVICE_ACCOUNTS = ['all()', "tier == 'gold'", "tier != 'gold'"] as const
const NUMBERS = [53, 80, 81, 443, 8080, 40000] as const
const RANGES = ['80:443', '50:8080', '8000:9000', '30000:50000'] as const
const TIERS: Readonly<Record<string, string>> = {
  ordered: 'early',
  unordered: 'late',
  default: 'default',
  absent: 'nowhere',
}
const KIND_PARTS = { given: ['selector', 'serviceAccountSelector', 'namespaceSelector'] } as const

/** What makes a policy be asked somewhere. */
const AT: Readonly<Record<string, Fields>> = {
  forward: { applyOnForward: true },
  prednat: { applyOnForward: true, preDNAT: true },
  untracked: { applyOnForward: true, doNotTrack: true },
}

const add = (fields: Fields, name: string, value: unknown): void => {
  fields[name] = [...((fields[name] as unknown[] | undefined) ?? []), value]
}
const port = (d: Dice, kind: string): number | string =>
  kind === 'number' ? pick(d, NUMBERS) : kind === 'range' ? pick(d, RANGES) : pick(d, ['http', 'dns'])
const ports =
  (side: 'source' | 'destination', field: string): Write =>
  (draft, kind, d) =>
    add(draft[side], field, port(d, kind))
const icmp =
  (field: string): Write =>
  (draft, kind, d) => {
    const other = (draft.rule.icmp ?? draft.rule.notICMP) as { type: number } | undefined
    const type = other && d(3) > 0 ? other.type : pick(d, [8, 128, 13])
    draft.rule[field] = { type, ...(kind === 'code' && { code: pick(d, [0, 3]) }) }
  }

function writeSide(fields: Fields, field: string, value: string, d: Dice): void {
  switch (field) {
    case 'selector':
      fields.selector = pick(d, SELECTORS[value]!)
      break
    case 'notSelector':
      fields.notSelector = pick(d, ["app == 'db'", 'has(env)', "role == 'front'"])
      break
    case 'namespaceSelector':
      fields.namespaceSelector = pick(d, NAMESPACES[value]!)
      break
    case 'serviceAccounts':
      fields.serviceAccounts =
        value === 'names' ? { names: [pick(d, ['sa1', 'default'])] } : { selector: pick(d, SERVICE_ACCOUNTS) }
      break
    case 'services':
      fields.services = { name: pick(d, ['s0', 's1', 's2']), namespace: pick(d, ['default', 'prod']) }
      break
    default:
      add(fields, field, pick(d, NETS[value as '4']))
  }
}

const POLICY_PARTS: Readonly<Record<(typeof KIND_PARTS)['given'][number], readonly string[]>> = {
  selector: ['all()', 'has(app) || !has(app)', "role != 'front'", 'has(app)'],
  serviceAccountSelector: SERVICE_ACCOUNTS,
  namespaceSelector: ['all()', "team == 'a'", "team != 'a'"],
}

const WRITERS: Readonly<Record<string, Write>> = {
  direction: () => undefined,
  family: () => undefined,
  kind: (draft, value) => {
    draft.kind = value
  },
  at: (draft, value) => {
    Object.assign(draft.spec, AT[value])
  },
  action: (draft, value) => {
    draft.rule.action = value
  },
  tier: (draft, value) => {
    draft.spec.tier = TIERS[value]
  },
  order: (draft, _, d) => {
    draft.spec.order = pick(d, [1, 2, 30])
  },
  protocol: (draft, value, d) => {
    draft.rule.protocol = value === 'number' ? pick(d, [6, 17, 47, 1, 58]) : value
  },
  notProtocol: (draft, _, d) => {
    draft.rule.notProtocol = pick(d, ['TCP', 'UDP', 'UDPLite', 'SCTP', 47])
  },
  ipVersion: (draft, value) => {
    draft.rule.ipVersion = Number(value)
  },
  icmp: icmp('icmp'),
  notICMP: icmp('notICMP'),
  ports: ports('destination', 'ports'),
  notPorts: ports('destination', 'notPorts'),
  'source ports': ports('source', 'ports'),
  'source notPorts': ports('source', 'notPorts'),
}

function write(draft: Draft, feature: Feature, d: Dice): void {
  const [dimension, value] = [dimensionOf(feature), valueIn(feature)]
  const [first, rest = ''] = dimension.split(' ')
  if (first === 'own' || first === 'peer') writeSide(draft.sides[first], rest, value, d)
  else if (first === 'policy') draft.spec[rest] = pick(d, POLICY_PARTS[rest as 'selector'])
  else WRITERS[dimension]!(draft, value, d)
}

/** What a rule cannot do without: ports a protocol that has them, ICMP its own. */
function complete(draft: Draft, d: Dice): void {
  const { rule, source, destination } = draft
  rule.action ??= pick(d, ['Allow', 'Allow', 'Allow', 'Deny'])
  if (rule.icmp) rule.protocol ??= (rule.icmp as { type: number }).type === 128 ? 'ICMPv6' : 'ICMP'
  const lists = [source.ports, source.notPorts, destination.ports, destination.notPorts]
  const all = lists.flatMap(list => (list as (string | number)[] | undefined) ?? [])
  if (all.some(p => typeof p === 'number' || p.includes(':'))) rule.protocol ??= pick(d, ['TCP', 'TCP', 'UDP', 'SCTP'])
  if (all.length > 0 && typeof rule.protocol === 'number') rule.protocol = pick(d, [6, 17])
  if (rule.icmp && typeof rule.protocol === 'number') rule.protocol = pick(d, [1, 58])
}

const isPorts = (feature: Feature): boolean => /^(ports|notPorts)=/.test(feature)

/** A document of one policy whose only rule has these features. It may still be one that validation refuses. */
export function featuredPolicy(features: readonly Feature[], name: string, d: Dice): object {
  if (features.some(isOfKubernetes)) return featuredKubernetes(features, name, d)
  const given = features.find(f => f.startsWith('direction='))
  // Policy before translation is for what comes in; a service called has ports of its own.
  const isIncoming =
    features.includes('at=prednat') || (features.includes('peer services=given') && features.some(isPorts))
  const sorts = isIncoming ? (['ingress'] as const) : (['ingress', 'egress'] as const)
  const direction = given ? (valueIn(given) as 'ingress' | 'egress') : pick(d, sorts)
  const [source, destination]: Fields[] = [{}, {}]
  const sides = direction === 'ingress' ? { own: destination!, peer: source! } : { own: source!, peer: destination! }
  const draft: Draft = {
    direction,
    kind: pick(d, ['NetworkPolicy', 'GlobalNetworkPolicy', 'GlobalNetworkPolicy']),
    spec: {},
    rule: {},
    sides,
    source: source!,
    destination: destination!,
  }
  if (features.some(f => /^(policy namespaceSelector=|at=(?!pod))/.test(f))) draft.kind = 'GlobalNetworkPolicy'
  for (const feature of features) write(draft, feature, d)
  complete(draft, d)
  const { kind, spec, rule } = draft
  const full = {
    ...rule,
    ...(Object.keys(source!).length > 0 && { source }),
    ...(Object.keys(destination!).length > 0 && { destination }),
  }
  if (kind === 'Profile')
    return { apiVersion: V3, kind, metadata: { name: PROFILE }, spec: { ...spec, [direction]: [full] } }
  spec.tier ??= pick(d, ['early', 'early', 'default'])
  const namespace = kind.endsWith('GlobalNetworkPolicy') ? undefined : pick(d, ['default', 'prod'])
  return {
    apiVersion: V3,
    kind,
    metadata: { name, ...(namespace !== undefined && { namespace }) },
    spec: { ...spec, types: [direction === 'ingress' ? 'Ingress' : 'Egress'], [direction]: [full] },
  }
}

/** The profile that `FEATURED_FIXED`’s endpoints have. */
export const PROFILE = 'custom'

/** What a cluster needs besides, so that every feature has a place: tiers, and endpoints with a profile of their own. */
export const FEATURED_FIXED: readonly object[] = [
  { apiVersion: V3, kind: 'Tier', metadata: { name: 'early' }, spec: { order: 1, defaultAction: 'Pass' } },
  { apiVersion: V3, kind: 'Tier', metadata: { name: 'late' }, spec: { defaultAction: 'Pass' } },
  // No pods: they have no profile of their namespace, by which Kubernetes' policies would know it.
  ...[7, 8].map(n => ({
    apiVersion: V3,
    kind: 'WorkloadEndpoint',
    metadata: {
      name: `node${n - 7}-cni-own${n}-eth0`,
      namespace: n === 7 ? 'default' : 'prod',
      labels: { app: 'web', env: 'p' },
    },
    spec: {
      ...{
        orchestrator: 'cni',
        node: `node${n - 7}`,
        containerID: `own${n}`,
        endpoint: 'eth0',
        interfaceName: `caliown${n}`,
      },
      // Two addresses of a family: a rule's own side may be met by one of them only.
      ipNetworks: [`10.1.${n}.1/32`, `192.0.2.${n + 3}/32`, `fd00:1::${n}/128`, `2001:db8::${n}/128`],
      serviceAccountName: 'sa1',
      profiles: [PROFILE],
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    },
  })),
]
