// Which tiers and policies there are for a workload, and in what order they speak. Order numbers come first, no number is
// last; ties go by name: of tiers by the tier's, of policies by the text `name/namespace/kind`.
import type { Direction, HostHook } from '../resources/cause.ts'
import { type GlobalNetworkPolicy, type NetworkPolicy, ofKind, type Snapshot } from '../resources/resource.ts'
import { NAMESPACE, selecting, selectingNamespace, selectingServiceAccount, type Test } from './members.ts'

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
  const named = new Set(allPolicies(resources).map(policy => policy.spec.tier))
  const missing = [...named].filter(name => !known.has(name)).sort(byText)
  return [
    ...existing.sort((a, b) => before(a.order, b.order) || byText(a.name, b.name)),
    ...missing.map(name => ({ name, order: undefined, defaultAction: 'Deny' as const, exists: false })),
  ]
}

export type Policy = NetworkPolicy | GlobalNetworkPolicy

const allPolicies = (resources: Snapshot): Policy[] => [
  ...ofKind(resources, 'NetworkPolicy'),
  ...ofKind(resources, 'GlobalNetworkPolicy'),
]

/** preDNAT and doNotTrack policies are for host endpoints alone; what is forwarded asks those that apply to it. */
function isAskedAt(policy: Policy, hook: HostHook): boolean {
  const {
    preDNAT = false,
    doNotTrack = false,
    applyOnForward = false,
  } = policy.kind === 'GlobalNetworkPolicy' ? policy.spec : {}
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

const tieName = ({ kind, metadata }: Policy): string => `${metadata.name}/${metadata.namespace ?? ''}/${kind}`

/** Workloads are asked as `host` is. */
export const policiesOfTier = (resources: Snapshot, tier: string, hook: HostHook = 'host'): Policy[] =>
  allPolicies(resources)
    .filter(policy => policy.spec.tier === tier && isAskedAt(policy, hook))
    .sort((a, b) => before(a.spec.order, b.spec.order) || byText(tieName(a), tieName(b)))

/** Whether a policy selects an endpoint with some labels, whatever the direction. */
export function appliesTo(policy: Policy): Test {
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
  policy.spec.types.includes(direction === 'ingress' ? 'Ingress' : 'Egress')
