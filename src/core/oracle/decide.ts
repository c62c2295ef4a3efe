// decide(): what the policies mean for one packet, told a second time and apart from the compiler. Slow and plain: it reads
// the resources as they are, keeps nothing between calls, and is what the compiler, the kernel and `why` are judged by.
//
// The order of things (Calico): tiers by order, in each tier the policies that select the endpoint and have the
// direction; the first rule that matches decides (Log goes on, Pass leaves the tier); a tier that was entered and did not
// decide applies its default action; after the last tier the endpoint's profiles in order; after them, deny.
import type { Packet } from '../net/packet.ts'
import {
  type Cause,
  causeVerdict,
  type Direction,
  type HostHook,
  type ResourceKey,
  type RuleRef,
  resourceKey,
} from '../resources/cause.ts'
import { derived } from '../resources/derive.ts'
import { find, keyOf, type PolicyRule as Rule, type Snapshot } from '../resources/resource.ts'
import { type Case, ruleFailures, unjudged } from './criteria.ts'
import type { Decision, DirectionDecision, Step } from './decision.ts'
import { kubernetesVerdicts, type Verdict } from './kubernetes-policy.ts'
import { type Endpoint, endpointAt, membersAt } from './members.ts'
import { governs, hasDirection, isKubernetes, policiesOfTier, tiersInOrder, type View } from './order.ts'
import { printRuleText } from './rule-text.ts'
import { servedAt } from './services.ts'

/**
 * Judges the first packet of a connection. Addresses that belong to no workload are outside and have no policy here.
 * `view`: by what is enforced, or by what would be if the staged policies were.
 */
export function decide(snapshot: Snapshot, packet: Packet, view: View = 'enforced'): Decision {
  const resources = derived(snapshot)
  const { src, dst } = packet
  const judged = caseOf(resources, packet)
  const from = endpointAt(resources, src)
  const to = endpointAt(resources, dst)
  const egress = from && decideDirection(resources, from, 'egress', { judged, view })
  const ingress = to && decideDirection(resources, to, 'ingress', { judged, view })
  const allowed = [egress, ingress].every(decision => decision === undefined || decision.verdict === 'allow')
  return {
    verdict: allowed ? 'allow' : 'deny',
    packet,
    source: from?.name ?? src,
    destination: to?.name ?? dst,
    ...(egress && { egress }),
    ...(ingress && { ingress }),
  }
}

type Question = { readonly judged: Case; readonly hook?: HostHook; readonly view?: View }
type Search = Question & { readonly trail: Step[]; readonly logs: RuleRef[] }
/** What a list of rules came to: decided, or Pass, or nothing matched. */
type Found =
  | { readonly kind: 'decided'; readonly cause: Cause }
  | { readonly kind: 'pass' }
  | { readonly kind: 'nothing' }

export function caseOf(resources: Snapshot, packet: Packet): Case {
  const { src, dst, sport, dport } = packet
  return {
    packet,
    source: { addr: src, port: sport, members: membersAt(resources, src), served: servedAt(resources, src) },
    destination: { addr: dst, port: dport, members: membersAt(resources, dst), served: servedAt(resources, dst) },
  }
}

/** `hook`: of a host endpoint; only at `host` its profiles, or their absence, decide what no tier decided. */
export function decideDirection(
  resources: Snapshot,
  endpoint: Endpoint,
  direction: Direction,
  question: Question,
): DirectionDecision {
  const { hook } = question
  const search: Search = { trail: [], logs: [], ...question }
  const hasProfiles = hook === undefined || hook === 'host'
  const cause =
    searchTiers(resources, endpoint, direction, search) ??
    (hasProfiles ? searchProfiles(resources, endpoint, direction, search) : undefined) ??
    ({ kind: hasProfiles ? 'no-profile' : 'undecided', direction } as const)
  return {
    ...(hook && { hook }),
    endpoint: endpoint.key,
    endpointName: endpoint.name,
    direction,
    verdict: causeVerdict(cause),
    cause,
    logs: search.logs,
    trail: search.trail,
  }
}

function searchTiers(resources: Snapshot, endpoint: Endpoint, direction: Direction, search: Search): Cause | undefined {
  for (const tier of tiersInOrder(resources, search.view)) {
    const selecting = policiesOfTier(resources, tier.name, search).filter(p => governs(p, endpoint, resources))
    // A tier none of whose policies has this direction is skipped; what was left out is told all the same.
    if (selecting.length === 0) continue
    const entered = selecting.some(policy => hasDirection(policy, direction))
    if (entered) search.trail.push({ kind: 'tier', tier: tier.name, order: tier.order, exists: tier.exists })
    let found: Found = { kind: 'nothing' }
    for (const policy of selecting) {
      const considered = hasDirection(policy, direction)
      const key = keyOf(policy)
      search.trail.push({ kind: 'policy', policy: key, considered })
      if (!considered) continue
      if (isKubernetes(policy)) {
        found = searchKubernetes(kubernetesVerdicts(policy, direction, { resources, judged: search.judged }), {
          ...{ policy: key, direction, search },
        })
        if (found.kind !== 'nothing') break
        continue
      }
      const rules = policy.spec[direction] ?? []
      found = searchRules({ policy: key, rules, namespace: policy.metadata.namespace, direction }, search)
      if (found.kind !== 'nothing') break
    }
    if (found.kind === 'decided') return found.cause
    if (!entered || found.kind === 'pass') continue
    // Before connection tracking and translation a tier only says what its rules say.
    const early = search.hook === 'prednat' || search.hook === 'untracked'
    const action = early ? 'Pass' : tier.defaultAction
    search.trail.push({ kind: 'tier-default', tier: tier.name, action })
    if (action === 'Deny') return { kind: 'tier', tier: tier.name, direction }
  }
  return undefined
}

function searchProfiles(
  resources: Snapshot,
  endpoint: Endpoint,
  direction: Direction,
  search: Search,
): Cause | undefined {
  for (const name of endpoint.profiles) {
    const key = resourceKey('Profile', undefined, name)
    const profile = find(resources, 'Profile', { name })
    search.trail.push({ kind: 'profile', profile: key, exists: profile !== undefined })
    // A profile that is named and does not exist denies until it does.
    if (!profile) return { kind: 'no-profile', direction }
    const rules = profile.spec[direction] ?? []
    const found = searchRules({ policy: key, rules, namespace: undefined, direction }, search)
    // Pass has no tier to go to from a profile: it ends this profile only.
    if (found.kind === 'decided') return found.cause
  }
  return undefined
}

type KubernetesSearch = { readonly policy: ResourceKey; readonly direction: Direction; readonly search: Search }

function searchKubernetes(verdicts: readonly Verdict[], { policy, direction, search }: KubernetesSearch): Found {
  for (const { index, action, text, failures } of verdicts) {
    const rule: RuleRef = { policy, direction, index }
    search.trail.push({ kind: 'rule', rule, action, text, failures })
    if (failures.length > 0) continue
    return action === 'Pass' ? { kind: 'pass' } : { kind: 'decided', cause: { kind: 'rule', rule, action } }
  }
  return { kind: 'nothing' }
}

type RuleList = {
  readonly policy: ResourceKey
  readonly rules: readonly Rule[]
  readonly namespace: string | undefined
  readonly direction: Direction
}

function searchRules({ policy, rules, namespace, direction }: RuleList, search: Search): Found {
  for (const [index, rule] of rules.entries()) {
    const ref: RuleRef = { policy, direction, index }
    const failures = ruleFailures(rule, namespace, search.judged)
    const unknown = unjudged(rule)
    const note =
      unknown &&
      `${unknown}: ${rule.action === 'Deny' ? 'counts as met, because the rule denies' : 'counts as not met'}`
    search.trail.push({
      kind: 'rule',
      rule: ref,
      action: rule.action,
      text: printRuleText(rule),
      failures,
      ...(note && { note }),
    })
    if (failures.length > 0 || (unknown !== undefined && rule.action !== 'Deny')) continue
    switch (rule.action) {
      case 'Log':
        search.logs.push(ref)
        break
      case 'Pass':
        return { kind: 'pass' }
      case 'Allow':
      case 'Deny':
        return { kind: 'decided', cause: { kind: 'rule', rule: ref, action: rule.action } }
    }
  }
  return { kind: 'nothing' }
}
