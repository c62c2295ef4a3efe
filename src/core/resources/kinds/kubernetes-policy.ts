// Kubernetes' own NetworkPolicy (networking.k8s.io/v1), which is called KubernetesNetworkPolicy here as in Calico. What a
// user writes is judged as the API server judges it, with its defaults. What is stored is taken as it is: a rule that cannot
// be understood is left out of it and told, and the rest stays in force, which is safe because rules only ever allow.
import { z } from 'zod'
import { joinPath, type Problem } from '../../base/problem.ts'
import { type ParsedPrefix, parsePrefixDetail, prefixCovers } from '../../net/prefix.ts'
import type { Direction } from '../cause.ts'
import { describeIssues } from '../issues.ts'
import { type DeepReadonly, kubernetesKind } from '../kind.ts'
import { metadata } from '../metadata.ts'
import { checkLabelSelector, labelSelector } from './label-selector.ts'

export const PORT_PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const

const port = z.strictObject({
  protocol: z.enum(PORT_PROTOCOLS).optional(),
  /** A number, or the name of a container's port. */
  port: z.union([z.number(), z.string()]).optional(),
  endPort: z.number().optional(),
})
const peer = z.strictObject({
  podSelector: labelSelector.optional(),
  namespaceSelector: labelSelector.optional(),
  ipBlock: z.strictObject({ cidr: z.string(), except: z.array(z.string()).optional() }).optional(),
})
const RULES = {
  ingress: z.strictObject({ ports: z.array(port).optional(), from: z.array(peer).optional() }),
  egress: z.strictObject({ ports: z.array(port).optional(), to: z.array(peer).optional() }),
} as const

export type PolicyPort = DeepReadonly<z.output<typeof port>>
export type PolicyPeer = DeepReadonly<z.output<typeof peer>>

const TYPES = ['Ingress', 'Egress'] as const
type PolicyType = (typeof TYPES)[number]
const isType = (type: string): type is PolicyType => TYPES.includes(type as PolicyType)

const head = {
  kind: z.enum(['NetworkPolicy', 'KubernetesNetworkPolicy']).transform(() => 'KubernetesNetworkPolicy' as const),
  apiVersion: z.literal('networking.k8s.io/v1'),
  metadata,
}
const anyRules = z.array(z.looseObject({})).optional()
const status = z.looseObject({}).optional()

/** The fields as they are stored, and what they mean when types are left out. */
export const storedFields = {
  podSelector: labelSelector.prefault({}),
  ingress: anyRules,
  egress: anyRules,
  policyTypes: z.array(z.string()).default([]),
}
export function withStoredTypes<T extends { readonly policyTypes: string[] }>(spec: T) {
  const types = spec.policyTypes.filter(isType)
  return { ...spec, policyTypes: types.length > 0 ? types : ['Ingress' as PolicyType] }
}

/** The fields as a user writes them; the API server fills in types: Egress only if there are rules for it. */
export const writtenFields = {
  podSelector: labelSelector.prefault({}),
  ingress: z.array(RULES.ingress).optional(),
  egress: z.array(RULES.egress).optional(),
  policyTypes: z.array(z.enum(TYPES)).max(2).default([]),
}
export function withWrittenTypes<T extends { readonly policyTypes: PolicyType[]; readonly egress?: unknown }>(spec: T) {
  const hasEgress = Array.isArray(spec.egress) && spec.egress.length > 0
  const guessed: PolicyType[] = hasEgress ? ['Ingress', 'Egress'] : ['Ingress']
  return { ...spec, policyTypes: spec.policyTypes.length > 0 ? spec.policyTypes : guessed }
}

const stored = z.strictObject({
  ...head,
  spec: z.strictObject(storedFields).transform(withStoredTypes).prefault({}),
  status,
})

const written = z.strictObject({
  ...head,
  spec: z.strictObject(writtenFields).transform(withWrittenTypes).prefault({}),
  status,
})

type Policy = { readonly spec: DeepReadonly<z.output<typeof stored>>['spec'] }

/** A rule of either direction, judged: one with problems is not to be used. */
export type JudgedRule = {
  readonly index: number
  /** None: anybody. */
  readonly peers: readonly PolicyPeer[]
  /** None: everything. */
  readonly ports: readonly PolicyPort[]
  readonly problems: readonly Problem[]
}

/** The rules of a policy, whether it was written here or only stored; paths begin at `spec`. */
export const kubernetesRules = (policy: Policy, direction: Direction): JudgedRule[] =>
  (policy.spec[direction] ?? []).map((rule, index) => judgeRule(rule, { direction, index }))

type Place = { readonly direction: Direction; readonly index: number }

function judgeRule(input: unknown, { direction, index }: Place): JudgedRule {
  const path = `spec.${direction}[${index}]`
  const schema = RULES[direction]
  const parsed = schema.safeParse(input)
  if (!parsed.success) {
    return { index, peers: [], ports: [], problems: describeIssues(parsed.error.issues, { schema, input, at: path }) }
  }
  const { ports = [], ...rest } = parsed.data
  const field = direction === 'ingress' ? 'from' : 'to'
  const peers = (rest as { readonly [field in 'from' | 'to']?: readonly PolicyPeer[] })[field] ?? []
  const problems = [
    ...ports.flatMap((entry, i) => checkPort(entry, joinPath(`${path}.ports`, i))),
    ...peers.flatMap((entry, i) => checkPeer(entry, joinPath(`${path}.${field}`, i))),
  ]
  return { index, peers, ports, problems }
}

const isPortNumber = (n: number): boolean => Number.isInteger(n) && n >= 1 && n <= 65535
const NUMBER = 'must be a port number from 1 to 65535'

/** Whether a text can name a container's port (IANA service names). */
export const isPortName = (name: string): boolean =>
  /^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/.test(name) && /[a-z]/.test(name) && !name.includes('--')

export const PORT_NAME_RULE = 'must be a name of at most 15 lower-case letters, digits and -, with at least one letter'

function checkPort({ port: wanted, endPort }: PolicyPort, path: string): Problem[] {
  const problems: Problem[] = []
  if (typeof wanted === 'number' && !isPortNumber(wanted))
    problems.push({ path: `${path}.port`, message: NUMBER, value: wanted })
  if (typeof wanted === 'string' && !isPortName(wanted)) {
    const digits = /^\d+$/.test(wanted) ? { fix: `write ${wanted} without quotes` } : {}
    problems.push({ path: `${path}.port`, message: PORT_NAME_RULE, value: wanted, ...digits })
  }
  if (endPort === undefined) return problems
  const at = { path: `${path}.endPort`, value: endPort }
  if (wanted === undefined) problems.push({ ...at, message: 'needs a port to begin at', fix: 'add port' })
  else if (typeof wanted === 'string')
    problems.push({ ...at, message: 'cannot follow a port name', fix: 'write port as a number' })
  else if (!isPortNumber(endPort)) problems.push({ ...at, message: NUMBER })
  else if (endPort < wanted) problems.push({ ...at, message: `must not be below port ${wanted}` })
  return problems
}

function checkPeer({ podSelector, namespaceSelector, ipBlock }: PolicyPeer, path: string): Problem[] {
  const problems = [
    ...checkLabelSelector(podSelector, `${path}.podSelector`),
    ...checkLabelSelector(namespaceSelector, `${path}.namespaceSelector`),
  ]
  const selects = podSelector !== undefined || namespaceSelector !== undefined
  if (ipBlock !== undefined && selects) {
    const message = 'cannot be combined with podSelector or namespaceSelector'
    problems.push({ path: `${path}.ipBlock`, message, fix: 'make it a peer of its own' })
  }
  if (ipBlock !== undefined) problems.push(...checkBlock(ipBlock, `${path}.ipBlock`))
  if (ipBlock === undefined && !selects) {
    const message = 'selects nothing: a peer has a podSelector, a namespaceSelector or an ipBlock'
    problems.push({ path, message, fix: 'podSelector: {} for all pods of the namespace' })
  }
  return problems
}

/** A CIDR with its length; bits after the length are allowed, as in Kubernetes, and mean nothing. */
export const cidrOf = (text: string): ParsedPrefix | undefined => {
  const parsed = parsePrefixDetail(text)
  return parsed?.hadLength ? parsed : undefined
}

function checkBlock({ cidr, except = [] }: NonNullable<PolicyPeer['ipBlock']>, path: string): Problem[] {
  const outer = cidrOf(cidr)
  if (outer === undefined) return [{ path: `${path}.cidr`, message: 'is not a CIDR', value: cidr }]
  return except.flatMap((text, i): Problem[] => {
    const at = { path: `${path}.except[${i}]`, value: text }
    const inner = cidrOf(text)
    if (inner === undefined) return [{ ...at, message: 'is not a CIDR' }]
    if (inner.prefix !== outer.prefix && prefixCovers(outer.prefix, inner.prefix)) return []
    return [{ ...at, message: `must lie inside ${cidr} and be smaller` }]
  })
}

/** What is wrong with the rules. */
export const ruleProblems = (policy: Policy): Problem[] =>
  (['ingress', 'egress'] as const).flatMap(direction =>
    kubernetesRules(policy, direction).flatMap(rule => rule.problems),
  )

export const kubernetesNetworkPolicy = kubernetesKind({
  kind: 'KubernetesNetworkPolicy',
  documentKind: 'NetworkPolicy',
  apiVersion: 'networking.k8s.io/v1',
  plural: 'kubernetesnetworkpolicies',
  namespaced: true,
  aliases: ['knp', 'netpol', 'networkpolicy.networking.k8s.io', 'networkpolicies.networking.k8s.io'],
  storePrefix: '/registry/networkpolicies/',
  schema: stored,
  check: ({ spec }) => checkLabelSelector(spec.podSelector, 'spec.podSelector'),
  written: { schema: written, check: ruleProblems },
})
