// Which tiers and policies there are for a workload, and in what order they speak. Order numbers come first, no number is
// last; ties go by name: of tiers by the tier's, of policies by the text `name/namespace/kind`.
import type { Direction } from '../resources/cause.ts'
import {
  type GlobalNetworkPolicy,
  type NetworkPolicy,
  ofKind,
  type Resource,
  type Snapshot,
} from '../resources/resource.ts'
import { podOf } from './kubernetes-pods.ts'
import { type KubernetesPolicy, speaksOf, subjectMeans } from './kubernetes-policy.ts'
import {
  type Endpoint,
  NAMESPACE,
  selecting,
  selectingNamespace,
  selectingServiceAccount,
  type Test,
} from './members.ts'

export type TierView = {
  readonly name: string
  readonly order: number | undefined
  readonly defaultAction: 'Deny' | 'Pass'
  /** False: policies name a tier that is not there. It is judged after all others, with Deny. */
  readonly exists: boolean
}

const before = (a: number | undefined, b: number | undefined): number => {
  const [left, right] = [a ?? Number.POSITIVE_INFINITY, b ?? Number.POSITIVE_INFINITY]
  return left < right ? -1 : left > right ? 1 : 0
}
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The tiers that exist, then those that are only named, by name. */
export function tiersInOrder(resources: Snapshot): TierView[] {
  const existing = [...ofKind(resources, 'Tier')].map(({ metadata, spec }) => ({
    name: metadata.name,
    order: spec.order,
    defaultAction: spec.defaultAction,
    exists: true,
  }))
  const known = new Set(existing.map(tier => tier.name))
  const named = new Set(workloadPolicies(resources).map(tierOf))
  const missing = [...named].filter(name => !known.has(name)).sort(byText)
  return [
    ...existing.sort((a, b) => before(a.order, b.order) || byText(a.name, b.name)),
    ...missing.map(name => ({ name, order: undefined, defaultAction: 'Deny' as const, exists: false })),
  ]
}

export type CalicoPolicy = NetworkPolicy | GlobalNetworkPolicy
export type Policy = CalicoPolicy | KubernetesPolicy

export const isKubernetes = (resource: Resource): resource is KubernetesPolicy =>
  resource.kind === 'KubernetesNetworkPolicy' || resource.kind === 'KubernetesClusterNetworkPolicy'

/** preDNAT and doNotTrack policies are for host endpoints alone. */
const workloadPolicies = (resources: Snapshot): Policy[] => [
  ...ofKind(resources, 'NetworkPolicy'),
  ...[...ofKind(resources, 'GlobalNetworkPolicy')].filter(({ spec }) => !spec.preDNAT && !spec.doNotTrack),
  ...ofKind(resources, 'KubernetesNetworkPolicy'),
  // Of a tier that nobody knows, or about nobody, it is as if it were not there.
  ...[...ofKind(resources, 'KubernetesClusterNetworkPolicy')].filter(
    ({ spec }) => CLUSTER_TIERS.has(spec.tier) && (spec.subject.namespaces ?? spec.subject.pods) !== undefined,
  ),
]

const CLUSTER_TIERS: ReadonlyMap<string | undefined, string> = new Map([
  ['Admin', 'kube-admin'],
  ['Baseline', 'kube-baseline'],
])

/** Kubernetes' policies of namespaces stand in tier default, at order 1000. */
function tierOf(policy: Policy): string {
  if (policy.kind === 'KubernetesNetworkPolicy') return 'default'
  return policy.kind === 'KubernetesClusterNetworkPolicy' ? CLUSTER_TIERS.get(policy.spec.tier)! : policy.spec.tier
}
function orderOf(policy: Policy): number | undefined {
  if (policy.kind === 'KubernetesNetworkPolicy') return 1000
  return policy.kind === 'KubernetesClusterNetworkPolicy' ? policy.spec.priority : policy.spec.order
}

const tieName = ({ kind, metadata }: Policy): string => `${metadata.name}/${metadata.namespace ?? ''}/${kind}`

export const policiesOfTier = (resources: Snapshot, tier: string): Policy[] =>
  workloadPolicies(resources)
    .filter(policy => tierOf(policy) === tier)
    .sort((a, b) => before(orderOf(a), orderOf(b)) || byText(tieName(a), tieName(b)))

/** Whether a policy selects an endpoint, whatever the direction. */
export function governs(policy: Policy, endpoint: Endpoint, resources: Snapshot): boolean {
  if (!isKubernetes(policy)) return appliesTo(policy)(endpoint.labels)
  const pod = podOf(resources, endpoint)
  return pod !== undefined && subjectMeans(policy, pod)
}

/** Whether a policy of Calico selects what has some labels. */
export function appliesTo(policy: CalicoPolicy): Test {
  const { selector, serviceAccountSelector } = policy.spec
  const tests: Test[] = []
  if (selector !== undefined) tests.push(selecting(selector))
  if (serviceAccountSelector !== undefined) tests.push(selectingServiceAccount(serviceAccountSelector))
  if (policy.kind === 'NetworkPolicy') {
    const { namespace } = policy.metadata
    tests.push(labels => labels[NAMESPACE] === namespace)
  } else if (policy.spec.namespaceSelector !== undefined) tests.push(selectingNamespace(policy.spec.namespaceSelector))
  return labels => tests.every(test => test(labels))
}

export const hasDirection = (policy: Policy, direction: Direction): boolean =>
  isKubernetes(policy)
    ? speaksOf(policy, direction)
    : policy.spec.types.includes(direction === 'ingress' ? 'Ingress' : 'Egress')
