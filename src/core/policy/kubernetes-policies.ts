// Kubernetes' policies in the model, as Calico converts them: a NetworkPolicy is a policy of tier default at order 1000 that
// only allows, a ClusterNetworkPolicy one of kube-admin or kube-baseline at its priority. Both speak of pods alone. A rule of
// Kubernetes becomes a rule of the model for each peer and protocol; all of them bear its own number.
import { FAMILIES, type Family } from '../net/addr.ts'
import { mergeRanges, type PortRange } from '../net/ports.ts'
import { type Prefix, prefixFamily } from '../net/prefix.ts'
import { protocolNumber } from '../net/protocol.ts'
import { DIRECTIONS, type Direction, printKey, type RuleRef, resourceKey } from '../resources/cause.ts'
import {
  CLUSTER_TIERS,
  type ClusterPeer,
  type ClusterProtocol,
  clusterRules,
  type JudgedClusterRule,
} from '../resources/kinds/cluster-network-policy.ts'
import { cidrOf, kubernetesRules, type PolicyPeer, type PolicyPort } from '../resources/kinds/kubernetes-policy.ts'
import type { LabelSelector } from '../resources/kinds/label-selector.ts'
import { ORCHESTRATOR_LABEL } from '../resources/kinds/workload-endpoint.ts'
import type {
  KubernetesClusterNetworkPolicy,
  KubernetesNetworkPolicy,
  StagedKubernetesNetworkPolicy,
} from '../resources/resource.ts'
import { ALL, and, equals, has, inSet, not, prefixKeys, type Selector } from '../selector/selector.ts'
import type { Entity, Policy, Ports, Rule } from './model.ts'
import { NAMESPACE } from './rules.ts'

/** Where the NetworkPolicies of Kubernetes stand among the policies of tier default. */
export const KUBERNETES_ORDER = 1000

/** A policy, and what of it is not enforced as it was meant. */
export type Converted = { readonly policy: Policy; readonly problem?: string }

type Namespaced = KubernetesNetworkPolicy | StagedKubernetesNetworkPolicy

export function kubernetesPolicyOf(resource: Namespaced | KubernetesClusterNetworkPolicy): Converted {
  return resource.kind !== 'KubernetesClusterNetworkPolicy' ? namespacedPolicy(resource) : clusterPolicy(resource)
}

const IS_POD = equals(ORCHESTRATOR_LABEL, 'k8s')

type Operator = NonNullable<LabelSelector['matchExpressions']>[number]['operator']
const OPERATORS: Readonly<Record<Operator, (key: string, values: readonly string[]) => Selector>> = {
  In: (key, values) => inSet(key, 'in', values),
  NotIn: (key, values) => inSet(key, 'not in', values),
  Exists: key => has(key),
  DoesNotExist: key => not(has(key)),
}

function labelTerms({ matchLabels = {}, matchExpressions = [] }: LabelSelector): Selector[] {
  const equal = Object.entries(matchLabels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([label, value]) => equals(label, value))
  const expressions = matchExpressions.map(({ key, operator, values = [] }) => OPERATORS[operator](key, values))
  return [...equal, ...expressions]
}

/** Over the labels that the namespace lends to its pods. */
const namespaceTerms = (selector: LabelSelector): Selector[] =>
  labelTerms(selector).map(term => prefixKeys(term, 'pcns.'))

type PodsOf = { readonly namespaceSelector: LabelSelector; readonly podSelector: LabelSelector }
const podsOf = ({ namespaceSelector, podSelector }: PodsOf): Selector =>
  and(IS_POD, ...namespaceTerms(namespaceSelector), ...labelTerms(podSelector))

/** What a rule matches of protocols and ports: one alternative. Empty is everything. */
type Service = { readonly protocol?: number; readonly ports?: Ports }

/** One alternative for each protocol; an entry without a port means all ports of its protocol. */
function servicesOf(ports: readonly PolicyPort[]): Service[] {
  if (ports.length === 0) return [{}]
  const byProtocol = new Map<number, { all: boolean; readonly ranges: PortRange[]; readonly names: Set<string> }>()
  for (const { protocol = 'TCP', port, endPort } of ports) {
    const number = protocolNumber(protocol)!
    const found = byProtocol.get(number) ?? { all: false, ranges: [], names: new Set() }
    byProtocol.set(number, found)
    if (port === undefined) found.all = true
    else if (typeof port === 'string') found.names.add(port)
    else found.ranges.push({ first: port, last: endPort ?? port })
  }
  return [...byProtocol].map(([protocol, { all, ranges, names }]) => ({
    protocol,
    ...(!all && { ports: { ranges: mergeRanges(ranges), names: [...names] } }),
  }))
}

const CLUSTER_PROTOCOLS = [
  ['tcp', 6],
  ['udp', 17],
  ['sctp', 132],
] as const

function clusterServices(protocols: readonly ClusterProtocol[]): Service[] {
  if (protocols.length === 0) return [{}]
  const services: Service[] = []
  for (const [field, protocol] of CLUSTER_PROTOCOLS) {
    const ranges = protocols.flatMap((entry): PortRange[] => {
      const port = entry[field]?.destinationPort
      if (port?.range) return [{ first: port.range.start, last: port.range.end }]
      return port?.number === undefined ? [] : [{ first: port.number, last: port.number }]
    })
    if (ranges.length > 0) services.push({ protocol, ports: { ranges: mergeRanges(ranges), names: [] } })
  }
  const names = protocols.flatMap(entry => entry.destinationNamedPort ?? [])
  // Whatever protocol the pod's port of this name has.
  if (names.length > 0) services.push({ ports: { ranges: [], names: [...new Set(names)] } })
  return services
}

const prefixes = (texts: readonly string[]): Prefix[] => texts.flatMap(text => cidrOf(text)?.prefix ?? [])

function namespacedPeer({ podSelector, namespaceSelector, ipBlock }: PolicyPeer, namespace: string): Entity {
  if (ipBlock) {
    const notNets = prefixes(ipBlock.except ?? [])
    return { nets: prefixes([ipBlock.cidr]), ...(notNets.length > 0 && { notNets }) }
  }
  const where = namespaceSelector ? namespaceTerms(namespaceSelector) : [equals(NAMESPACE, namespace)]
  return { selector: and(IS_POD, ...where, ...labelTerms(podSelector ?? {})) }
}

/** A peer without a field that is known here matches nothing; such rules have problems and do not come here. */
function clusterPeer({ namespaces, pods, networks }: ClusterPeer): Entity {
  if (networks) return { nets: prefixes(networks) }
  return {
    selector: namespaces ? podsOf({ namespaceSelector: namespaces, podSelector: {} }) : pods ? podsOf(pods) : not(ALL),
  }
}

const familiesOf = ({ nets }: Entity): Family[] =>
  FAMILIES.filter(family => nets === undefined || nets.some(net => prefixFamily(net) === family))

type Meaning = {
  readonly ref: RuleRef
  readonly action: Rule['action']
  readonly peers: readonly Entity[]
  readonly services: readonly Service[]
}

/** One rule of the model for each alternative. Ports are always those of the destination. */
const alternatives = ({ ref, action, peers, services }: Meaning): Rule[] =>
  services.flatMap(({ protocol, ports }) =>
    (peers.length === 0 ? [{}] : peers).map((peer): Rule => {
      const destination = ports ? { ports } : {}
      return {
        ref,
        action,
        families: familiesOf(peer),
        ...(protocol !== undefined && { protocol }),
        ...(ref.direction === 'ingress'
          ? { source: peer, destination }
          : { source: {}, destination: { ...peer, ...destination } }),
      }
    }),
  )

const typeOf = (direction: Direction): 'Ingress' | 'Egress' => (direction === 'ingress' ? 'Ingress' : 'Egress')

function namespacedPolicy(resource: Namespaced): Converted {
  const { metadata, spec, kind } = resource
  const namespace = metadata.namespace ?? ''
  const key = resourceKey(kind, namespace, metadata.name)
  const notes: string[] = []
  const of = (direction: Direction): Rule[] =>
    kubernetesRules(resource, direction).flatMap(({ index, peers, ports, problems: [problem] }) => {
      if (problem) {
        notes.push(`${direction}[${index}] allows nothing: ${problem.path}: ${problem.message}`)
        return []
      }
      const ref = { policy: key, direction, index }
      const entities = peers.map(peer => namespacedPeer(peer, namespace))
      return alternatives({ ref, action: 'Allow', peers: entities, services: servicesOf(ports) })
    })
  const policy: Policy = {
    key,
    tier: 'default',
    order: KUBERNETES_ORDER,
    selector: and(IS_POD, equals(NAMESPACE, namespace), ...labelTerms(spec.podSelector)),
    hooks: ['host'],
    types: DIRECTIONS.filter(direction => spec.policyTypes.includes(typeOf(direction))),
    rules: { ingress: of('ingress'), egress: of('egress') },
    ...(resource.kind === 'StagedKubernetesNetworkPolicy' && {
      stagedFor: resourceKey('KubernetesNetworkPolicy', namespace, metadata.name),
      ...(resource.spec.stagedAction === 'Delete' && { deletes: true }),
    }),
  }
  return { policy, ...(notes.length > 0 && { problem: `${printKey(key)}: ${notes.join('; ')}` }) }
}

const ACTIONS = { Accept: 'Allow', Deny: 'Deny', Pass: 'Pass' } as const

function clusterPolicy(resource: KubernetesClusterNetworkPolicy): Converted {
  const { metadata, spec, kind } = resource
  const key = resourceKey(kind, undefined, metadata.name)
  const notes: string[] = []
  const of = (direction: Direction): Rule[] =>
    clusterRules(resource, direction).flatMap(rule => {
      const [problem] = rule.problems
      const ref = { policy: key, direction, index: rule.index }
      if (!problem) {
        const peers = rule.peers.map(clusterPeer)
        return alternatives({ ref, action: ACTIONS[rule.action!], peers, services: clusterServices(rule.protocols) })
      }
      notes.push(`${direction}[${rule.index}] ${failed(rule)}: ${problem.path}: ${problem.message}`)
      return rule.action === 'Accept' ? [] : alternatives({ ref, action: 'Deny', peers: [], services: [{}] })
    })
  const rules = { ingress: of('ingress'), egress: of('egress') }
  const tier = Object.entries(CLUSTER_TIERS).find(([name]) => name === spec.tier)?.[1]
  const { namespaces, pods } = spec.subject
  const selector = namespaces ? podsOf({ namespaceSelector: namespaces, podSelector: {} }) : pods && podsOf(pods)
  if (tier === undefined || selector === undefined) {
    const why = tier === undefined ? `there is no tier ${spec.tier}` : 'it has no subject'
    // It governs nobody, in no direction.
    const policy: Policy = {
      key,
      tier: 'default',
      order: 0,
      selector: not(ALL),
      hooks: ['host'],
      types: [],
      rules: { ingress: [], egress: [] },
    }
    return { policy, problem: `${printKey(key)} is passed over: ${why}` }
  }
  const types = DIRECTIONS.filter(direction => rules[direction].length > 0)
  const policy: Policy = { key, tier, order: spec.priority, selector, hooks: ['host'], types, rules }
  return { policy, ...(notes.length > 0 && { problem: `${printKey(key)}: ${notes.join('; ')}` }) }
}

/** A rule that cannot be understood must not open anything. */
const failed = ({ action }: JudgedClusterRule): string =>
  action === 'Accept' ? 'accepts nothing' : 'denies everything'
