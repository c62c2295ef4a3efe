// Which tiers and policies there are for a workload, and in what order they speak. Order numbers come first, no number is
// last; ties go by name: of tiers by the tier's, of policies by the text `name/namespace/kind`.
import { type Direction, type HostHook, type ResourceKey, resourceKey, splitKey } from '../resources/cause.ts'
import { keyOf, ofKind, type Resource, type Snapshot, type TieredPolicy } from '../resources/resource.ts'
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
export function tiersInOrder(resources: Snapshot, view?: View): TierView[] {
  const existing = [...ofKind(resources, 'Tier')].map(({ metadata, spec }) => ({
    name: metadata.name,
    order: spec.order,
    defaultAction: spec.defaultAction,
    exists: true,
  }))
  const known = new Set(existing.map(tier => tier.name))
  const named = new Set(allPolicies(resources, view).map(tierOf))
  const missing = [...named].filter(name => !known.has(name)).sort(byText)
  return [
    ...existing.sort((a, b) => before(a.order, b.order) || byText(a.name, b.name)),
    ...missing.map(name => ({ name, order: undefined, defaultAction: 'Deny' as const, exists: false })),
  ]
}

export type Policy = TieredPolicy | KubernetesPolicy

export const isKubernetes = (resource: Resource): resource is KubernetesPolicy =>
  resource.kind === 'KubernetesNetworkPolicy' ||
  resource.kind === 'StagedKubernetesNetworkPolicy' ||
  resource.kind === 'KubernetesClusterNetworkPolicy'

/** `staged`: what would be if the staged policies were enforced, each in the place of the one of its name. */
export const VIEWS = ['enforced', 'staged'] as const
export type View = (typeof VIEWS)[number]

function allPolicies(resources: Snapshot, view: View = 'enforced'): Policy[] {
  const enforced: Policy[] = [
    ...ofKind(resources, 'NetworkPolicy'),
    ...ofKind(resources, 'GlobalNetworkPolicy'),
    ...ofKind(resources, 'KubernetesNetworkPolicy'),
    // Of a tier that nobody knows, or about nobody, it is as if it were not there.
    ...[...ofKind(resources, 'KubernetesClusterNetworkPolicy')].filter(
      ({ spec }) => CLUSTER_TIERS.has(spec.tier) && (spec.subject.namespaces ?? spec.subject.pods) !== undefined,
    ),
  ]
  if (view === 'enforced') return enforced
  const staged = [
    ...ofKind(resources, 'StagedNetworkPolicy'),
    ...ofKind(resources, 'StagedGlobalNetworkPolicy'),
    ...ofKind(resources, 'StagedKubernetesNetworkPolicy'),
  ]
  const replaced = new Set(staged.map(policy => enforcedKey(keyOf(policy))))
  return [
    ...enforced.filter(policy => !replaced.has(keyOf(policy))),
    ...staged.filter(({ spec }) => spec.stagedAction !== 'Delete'),
  ]
}

/** The policy for which a staged one stands; an enforced one for itself. */
function enforcedKey(key: ResourceKey): ResourceKey {
  const { kind, namespace, name } = splitKey(key)
  return resourceKey(kind.replace(/^Staged/, ''), namespace, name)
}

/** preDNAT and doNotTrack policies are for host endpoints alone; what is forwarded asks those that apply to it. */
function isAskedAt(policy: Policy, hook: HostHook): boolean {
  const isGlobal = policy.kind === 'GlobalNetworkPolicy' || policy.kind === 'StagedGlobalNetworkPolicy'
  const { preDNAT = false, doNotTrack = false, applyOnForward = false } = isGlobal ? policy.spec : {}
  switch (hook) {
    case 'untracked':
      return doNotTrack
    case 'prednat':
      return preDNAT
    case 'forward':
      return applyOnForward && !preDNAT && !doNotTrack
    case 'host':
      return !preDNAT && !doNotTrack
  }
}

const CLUSTER_TIERS: ReadonlyMap<string | undefined, string> = new Map([
  ['Admin', 'kube-admin'],
  ['Baseline', 'kube-baseline'],
])

/** Kubernetes' policies of namespaces stand in tier default, at order 1000. */
function tierOf(policy: Policy): string {
  if (!isKubernetes(policy)) return policy.spec.tier
  return policy.kind === 'KubernetesClusterNetworkPolicy' ? CLUSTER_TIERS.get(policy.spec.tier)! : 'default'
}
function orderOf(policy: Policy): number | undefined {
  if (!isKubernetes(policy)) return policy.spec.order
  return policy.kind === 'KubernetesClusterNetworkPolicy' ? policy.spec.priority : 1000
}

const tieName = ({ kind, metadata }: Policy): string =>
  `${metadata.name}/${metadata.namespace ?? ''}/${kind.replace(/^Staged/, '')}`

type Asked = { readonly view?: View; readonly hook?: HostHook }

/** Workloads are asked as `host` is. */
export const policiesOfTier = (resources: Snapshot, tier: string, { view, hook = 'host' }: Asked): Policy[] =>
  allPolicies(resources, view)
    .filter(policy => tierOf(policy) === tier && isAskedAt(policy, hook))
    .sort((a, b) => before(orderOf(a), orderOf(b)) || byText(tieName(a), tieName(b)))

/** Whether a policy selects an endpoint, whatever the direction. */
export function governs(policy: Policy, endpoint: Endpoint, resources: Snapshot): boolean {
  if (!isKubernetes(policy)) return appliesTo(policy)(endpoint.labels)
  const pod = podOf(resources, endpoint)
  return pod !== undefined && subjectMeans(policy, pod)
}

/** Whether a policy of Calico selects what has some labels. */
export function appliesTo(policy: TieredPolicy): Test {
  const { selector, serviceAccountSelector } = policy.spec
  const tests: Test[] = []
  if (selector !== undefined) tests.push(selecting(selector))
  if (serviceAccountSelector !== undefined) tests.push(selectingServiceAccount(serviceAccountSelector))
  if (policy.kind === 'NetworkPolicy' || policy.kind === 'StagedNetworkPolicy') {
    const { namespace } = policy.metadata
    tests.push(labels => labels[NAMESPACE] === namespace)
  } else if (policy.spec.namespaceSelector !== undefined) tests.push(selectingNamespace(policy.spec.namespaceSelector))
  return labels => tests.every(test => test(labels))
}

export const hasDirection = (policy: Policy, direction: Direction): boolean =>
  isKubernetes(policy)
    ? speaksOf(policy, direction)
    : policy.spec.types.includes(direction === 'ingress' ? 'Ingress' : 'Egress')
