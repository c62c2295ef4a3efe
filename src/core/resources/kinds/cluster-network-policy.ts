// ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2), the cluster administrator's policy: before those of namespaces
// (tier Admin) or after them (Baseline). It is called KubernetesClusterNetworkPolicy here, as in Calico. As with
// NetworkPolicy, what is stored is taken as it is; a rule that cannot be understood fails closed by its action.
import { z } from 'zod'
import { joinPath, type Problem } from '../../base/problem.ts'
import type { Direction } from '../cause.ts'
import { describeIssues } from '../issues.ts'
import { type DeepReadonly, kubernetesKind } from '../kind.ts'
import { metadata } from '../metadata.ts'
import { cidrOf, isPortName, PORT_NAME_RULE } from './kubernetes-policy.ts'
import { checkLabelSelector, labelSelector } from './label-selector.ts'

export const CLUSTER_TIERS = { Admin: 'kube-admin', Baseline: 'kube-baseline' } as const
export type ClusterTier = keyof typeof CLUSTER_TIERS
export const CLUSTER_ACTIONS = ['Accept', 'Deny', 'Pass'] as const
export type ClusterAction = (typeof CLUSTER_ACTIONS)[number]

const namespacedPods = z.strictObject({ namespaceSelector: labelSelector.prefault({}), podSelector: labelSelector })
const number = z.int().min(1).max(65535)
const destinationPort = z.strictObject({
  number: number.optional(),
  range: z.strictObject({ start: number, end: number }).optional(),
})
const withPort = z.strictObject({ destinationPort: destinationPort.optional() })
const protocol = z.strictObject({
  tcp: withPort.optional(),
  udp: withPort.optional(),
  sctp: withPort.optional(),
  destinationNamedPort: z.string().optional(),
})
const pods = { namespaces: labelSelector.optional(), pods: namespacedPods.optional() }
const ingressPeer = z.strictObject(pods)
const egressPeer = z.strictObject({
  ...pods,
  networks: z.array(z.string()).min(1).max(25).optional(),
  // Valid, and enforced by nobody here: see `checkPeer`.
  nodes: labelSelector.optional(),
  domainNames: z.array(z.string()).min(1).max(25).optional(),
})
const rule = {
  name: z.string().max(100).optional(),
  action: z.enum(CLUSTER_ACTIONS),
  protocols: z.array(protocol).min(1).max(25).optional(),
}
const RULES = {
  ingress: z.strictObject({ ...rule, from: z.array(ingressPeer).min(1).max(25) }),
  egress: z.strictObject({ ...rule, to: z.array(egressPeer).min(1).max(25) }),
} as const

export type ClusterPeer = DeepReadonly<z.output<typeof egressPeer>>
export type ClusterProtocol = DeepReadonly<z.output<typeof protocol>>

const head = {
  kind: z
    .enum(['ClusterNetworkPolicy', 'KubernetesClusterNetworkPolicy'])
    .transform(() => 'KubernetesClusterNetworkPolicy' as const),
  apiVersion: z.literal('policy.networking.k8s.io/v1alpha2'),
  metadata,
}
const priority = z.int().min(0).max(1000)
const subject = z.strictObject({ namespaces: labelSelector.optional(), pods: namespacedPods.optional() })
const anyRules = z.array(z.looseObject({})).optional()
const status = z.looseObject({}).optional()

const stored = z.strictObject({
  ...head,
  spec: z.strictObject({
    tier: z.string().optional(),
    priority,
    subject: subject.prefault({}),
    ingress: anyRules,
    egress: anyRules,
  }),
  status,
})
const written = z.strictObject({
  ...head,
  spec: z.strictObject({
    tier: z.enum(Object.keys(CLUSTER_TIERS) as ClusterTier[]),
    priority,
    subject,
    ingress: z.array(RULES.ingress).max(25).optional(),
    egress: z.array(RULES.egress).max(25).optional(),
  }),
  status,
})

type Policy = DeepReadonly<z.output<typeof stored>>

export type JudgedClusterRule = {
  readonly index: number
  readonly name: string | undefined
  /** As written, also where the rule has problems; absent if it is none of the three. */
  readonly action: ClusterAction | undefined
  readonly peers: readonly ClusterPeer[]
  /** None: everything. */
  readonly protocols: readonly ClusterProtocol[]
  readonly problems: readonly Problem[]
}

/** The rules of a policy, whether it was written here or only stored; paths begin at `spec`. */
export const clusterRules = (policy: Policy, direction: Direction): JudgedClusterRule[] =>
  (policy.spec[direction] ?? []).map((rule, index) => judgeRule(rule, { direction, index }))

type Place = { readonly direction: Direction; readonly index: number }

function judgeRule(input: Readonly<Record<string, unknown>>, { direction, index }: Place): JudgedClusterRule {
  const path = `spec.${direction}[${index}]`
  const schema = RULES[direction]
  const parsed = schema.safeParse(input)
  if (!parsed.success) {
    const action = CLUSTER_ACTIONS.find(known => known === input.action)
    const problems = describeIssues(parsed.error.issues, { schema, input, at: path })
    return { index, name: undefined, action, peers: [], protocols: [], problems }
  }
  const { name, action, protocols = [], ...rest } = parsed.data
  const field = direction === 'ingress' ? 'from' : 'to'
  const peers = (rest as { readonly [field in 'from' | 'to']?: readonly ClusterPeer[] })[field] ?? []
  const problems = [
    ...peers.flatMap((entry, i) => checkPeer(entry, joinPath(`${path}.${field}`, i))),
    ...protocols.flatMap((entry, i) => checkProtocol(entry, joinPath(`${path}.protocols`, i))),
  ]
  const named = protocols.findIndex(entry => entry.destinationNamedPort !== undefined)
  if (named >= 0 && peers.some(({ networks, nodes, domainNames }) => networks ?? nodes ?? domainNames)) {
    const message = 'only pods have named ports, and a peer of this rule is none'
    problems.push({ path: `${path}.protocols[${named}].destinationNamedPort`, message, fix: 'write the number' })
  }
  return { index, name, action, peers, protocols, problems }
}

/** Exactly one field of an object must be set. */
function checkOne(object: object, path: string): Problem[] {
  const given = Object.entries(object).flatMap(([field, value]) => (value === undefined ? [] : [field]))
  if (given.length === 1) return []
  const message =
    given.length === 0
      ? 'is empty: exactly one field must be set'
      : `has ${given.join(' and ')}: exactly one field must be set`
  return [{ path, message }]
}

function checkPods(value: Policy['spec']['subject'], path: string): Problem[] {
  return [
    ...checkLabelSelector(value.namespaces, `${path}.namespaces`),
    ...checkLabelSelector(value.pods?.namespaceSelector, `${path}.pods.namespaceSelector`),
    ...checkLabelSelector(value.pods?.podSelector, `${path}.pods.podSelector`),
  ]
}

function checkPeer(peer: ClusterPeer, path: string): Problem[] {
  const problems = [...checkOne(peer, path), ...checkPods(peer, path)]
  for (const field of ['nodes', 'domainNames'] as const) {
    if (peer[field] === undefined) continue
    const message = `peers by ${field} are not supported`
    problems.push({ path: `${path}.${field}`, message, fix: 'name their addresses in networks' })
  }
  peer.networks?.forEach((text, i) => {
    if (cidrOf(text) === undefined)
      problems.push({ path: `${path}.networks[${i}]`, message: 'is not a CIDR', value: text })
  })
  return problems
}

function checkProtocol(entry: ClusterProtocol, path: string): Problem[] {
  const problems = checkOne(entry, path)
  const { destinationNamedPort: name } = entry
  if (name !== undefined && !isPortName(name)) {
    problems.push({ path: `${path}.destinationNamedPort`, message: PORT_NAME_RULE, value: name })
  }
  for (const field of ['tcp', 'udp', 'sctp'] as const) {
    const wanted = entry[field]
    if (wanted === undefined) continue
    const at = `${path}.${field}.destinationPort`
    if (wanted.destinationPort === undefined) {
      problems.push({ path: at, message: 'is required', fix: 'range: {start: 1, end: 65535} for every port' })
      continue
    }
    problems.push(...checkOne(wanted.destinationPort, at))
    const { range } = wanted.destinationPort
    if (range && range.start >= range.end) {
      problems.push({ path: `${at}.range`, message: 'start must be below end', fix: 'write one port as number' })
    }
  }
  return problems
}

export const kubernetesClusterNetworkPolicy = kubernetesKind({
  kind: 'KubernetesClusterNetworkPolicy',
  documentKind: 'ClusterNetworkPolicy',
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  plural: 'clusternetworkpolicies',
  namespaced: false,
  aliases: ['clusternetworkpolicy', 'kcnp', 'clusternetworkpolicies.policy.networking.k8s.io'],
  storePrefix: '/registry/policy.networking.k8s.io/clusternetworkpolicies/',
  schema: stored,
  check: ({ spec }) => checkPods(spec.subject, 'spec.subject'),
  written: {
    schema: written,
    check: policy => [
      ...checkOne(policy.spec.subject, 'spec.subject'),
      ...(['ingress', 'egress'] as const).flatMap(direction =>
        clusterRules(policy, direction).flatMap(rule => rule.problems),
      ),
    ],
  },
})
