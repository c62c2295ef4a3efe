// Kubernetes' policies, judged by Kubernetes' own rules, told from the resources themselves. A NetworkPolicy isolates the
// pods it selects in the directions of its policyTypes and allows what any of its rules allows; a rule is met when one of
// its peers and one of its ports are. A ClusterNetworkPolicy is a list: the first rule that is met decides.
//
// A rule that cannot be understood must not open anything: of a NetworkPolicy it allows nothing; of a ClusterNetworkPolicy
// it accepts nothing, or, if its action is another, denies everything.
import type { Packet } from '../net/packet.ts'
import { protocolNumber } from '../net/protocol.ts'
import type { Direction } from '../resources/cause.ts'
import {
  type ClusterPeer,
  type ClusterProtocol,
  clusterRules,
  type JudgedClusterRule,
} from '../resources/kinds/cluster-network-policy.ts'
import {
  type JudgedRule,
  kubernetesRules,
  type PolicyPeer,
  type PolicyPort,
} from '../resources/kinds/kubernetes-policy.ts'
import type {
  KubernetesClusterNetworkPolicy,
  KubernetesNetworkPolicy,
  Snapshot,
  StagedKubernetesNetworkPolicy,
} from '../resources/resource.ts'
import type { Case } from './criteria.ts'
import type { Failure } from './decision.ts'
import { blockHolds, hasNamedPort, type Pod, podsAmong, selectorHolds } from './kubernetes-pods.ts'
import { clusterPeerText, peerText, portText, protocolText, ruleText } from './kubernetes-words.ts'
import type { NamedPort } from './members.ts'

export type KubernetesPolicy = KubernetesNetworkPolicy | StagedKubernetesNetworkPolicy | KubernetesClusterNetworkPolicy

/** A rule and what became of it. */
export type Verdict = {
  readonly index: number
  readonly action: 'Allow' | 'Deny' | 'Pass'
  readonly text: string
  readonly failures: readonly Failure[]
}

/** Whether a policy governs a pod, whatever the direction. A subject with both fields is that of its namespaces. */
export function subjectMeans(policy: KubernetesPolicy, pod: Pod): boolean {
  if (policy.kind !== 'KubernetesClusterNetworkPolicy') {
    return pod.namespace === policy.metadata.namespace && selectorHolds(policy.spec.podSelector, pod.labels)
  }
  const { namespaces, pods } = policy.spec.subject
  if (namespaces) return selectorHolds(namespaces, pod.namespaceLabels)
  return pods !== undefined && podsHold(pods, pod)
}

/** Whether it says anything in a direction: a NetworkPolicy by its policyTypes, the other by having rules that stand. */
export function speaksOf(policy: KubernetesPolicy, direction: Direction): boolean {
  if (policy.kind !== 'KubernetesClusterNetworkPolicy') {
    return policy.spec.policyTypes.includes(direction === 'ingress' ? 'Ingress' : 'Egress')
  }
  return clusterRules(policy, direction).some(rule => rule.problems.length === 0 || rule.action !== 'Accept')
}

/** The rules of a direction in order, each with what keeps the packet from meeting it. */
export function kubernetesVerdicts(
  policy: KubernetesPolicy,
  direction: Direction,
  { resources, judged }: { readonly resources: Snapshot; readonly judged: Case },
): Verdict[] {
  const sight = look(resources, direction, judged)
  return policy.kind !== 'KubernetesClusterNetworkPolicy'
    ? kubernetesRules(policy, direction).map(rule => ofNamespaced(rule, policy.metadata.namespace ?? '', sight))
    : clusterRules(policy, direction).map(rule => ofCluster(rule, sight))
}

/** The packet from the policy's side: who is at the other end, and who could have the port that it goes to. */
type Sight = {
  readonly packet: Packet
  readonly direction: Direction
  readonly peer: Case['source']
  readonly peerName: 'source' | 'destination'
  readonly pods: readonly Pod[]
  /** Whatever has ports at the destination; of any orchestrator. */
  readonly owners: readonly { readonly ports: readonly NamedPort[] }[]
}

function look(resources: Snapshot, direction: Direction, judged: Case): Sight {
  const peerName = direction === 'ingress' ? 'source' : 'destination'
  const peer = judged[peerName]
  const pods = podsAmong(resources, peer.members)
  return { packet: judged.packet, direction, peer, peerName, pods, owners: judged.destination.members }
}

const podsHold = ({ namespaceSelector, podSelector }: NonNullable<ClusterPeer['pods']>, pod: Pod): boolean =>
  selectorHolds(namespaceSelector, pod.namespaceLabels) && selectorHolds(podSelector, pod.labels)

const broken = (text: string): Failure => ({ text: `it cannot be understood: ${text}`, wanted: 'it were mended' })

function ofNamespaced(rule: JudgedRule, namespace: string, sight: Sight): Verdict {
  const { index, peers, ports, problems } = rule
  const base = { index, action: 'Allow' } as const
  const [problem] = problems
  if (problem) {
    return { ...base, text: 'Allow nothing', failures: [broken(`${problem.path}: ${problem.message}`)] }
  }
  const words = { peers: peers.map(peer => peerText(peer, namespace)), ports: ports.map(portText) }
  const failures = meet({
    sight,
    words,
    peers: peers.map(peer => (peer.ipBlock ? inBlock(peer.ipBlock, sight) : podsMeeting(peer, sight, namespace))),
    ports: ports.map(port => (owners: Owners) => portHolds(port, owners, sight.packet)),
  })
  return { ...base, text: `Allow ${ruleText(words, sight.direction)}`, failures }
}

function ofCluster({ index, name, action, peers, protocols, problems }: JudgedClusterRule, sight: Sight): Verdict {
  const [problem] = problems
  if (problem) {
    const why = `${problem.path}: ${problem.message}`
    if (action === 'Accept') return { index, action: 'Allow', text: 'Accept nothing', failures: [broken(why)] }
    return { index, action: 'Deny', text: `Deny everything, for it cannot be understood: ${why}`, failures: [] }
  }
  const words = { peers: peers.map(clusterPeerText), ports: protocols.map(protocolText) }
  const failures = meet({
    sight,
    words,
    peers: peers.map(peer => clusterPeerMeets(peer, sight)),
    ports: protocols.map(protocol => (owners: Owners) => protocolHolds(protocol, owners, sight.packet)),
  })
  const named = name === undefined ? '' : ` (${name})`
  const text = `${action} ${ruleText(words, sight.direction)}${named}`
  return { index, action: action === 'Accept' ? 'Allow' : action!, text, failures }
}

type Owners = Sight['owners']
/** How a peer is met: not at all, or by pods that may then have the port, or by an address that says nothing of pods. */
type Meeting = readonly Pod[] | 'by address' | undefined

/** Whether a peer means a pod; `namespace`: that of a namespaced policy, in which a podSelector alone looks. */
export function podsMean(peer: PolicyPeer & ClusterPeer, pod: Pod, namespace?: string): boolean {
  const { podSelector, namespaceSelector, namespaces, pods } = peer
  if (namespaces) return selectorHolds(namespaces, pod.namespaceLabels)
  if (pods) return podsHold(pods, pod)
  if (!podSelector && !namespaceSelector) return false
  const there = namespaceSelector ? selectorHolds(namespaceSelector, pod.namespaceLabels) : pod.namespace === namespace
  return there && selectorHolds(podSelector ?? {}, pod.labels)
}

const podsMeeting = (peer: PolicyPeer & ClusterPeer, { pods }: Sight, namespace?: string): Meeting => {
  const found = pods.filter(pod => podsMean(peer, pod, namespace))
  return found.length > 0 ? found : undefined
}

function inBlock({ cidr, except = [] }: NonNullable<PolicyPeer['ipBlock']>, { peer }: Sight): Meeting {
  return blockHolds(cidr, peer.addr) && !except.some(inner => blockHolds(inner, peer.addr)) ? 'by address' : undefined
}

function clusterPeerMeets(peer: ClusterPeer, sight: Sight): Meeting {
  if (!peer.networks) return podsMeeting(peer, sight)
  return peer.networks.some(net => blockHolds(net, sight.peer.addr)) ? 'by address' : undefined
}

type Question = {
  readonly sight: Sight
  readonly words: { readonly peers: readonly string[]; readonly ports: readonly string[] }
  /** None: anybody. */
  readonly peers: readonly Meeting[]
  /** None: everything. A named port is that of one of the owners. */
  readonly ports: readonly ((owners: Owners) => boolean)[]
}

/** What is missing: a peer, a port, or both. */
function meet({ sight, words, peers, ports }: Question): Failure[] {
  const met = peers.length === 0 ? ['by address' as const] : peers.filter(meeting => meeting !== undefined)
  // The port of a pod that is meant as the peer is that pod's; in ingress it is the policy's own pod's.
  const ownersBy = (meeting: NonNullable<Meeting>): Owners =>
    sight.direction === 'egress' && meeting !== 'by address' ? meeting : sight.owners
  const served = (owners: Owners): boolean => ports.length === 0 || ports.some(holds => holds(owners))
  if (met.some(meeting => served(ownersBy(meeting)))) return []
  const failures: Failure[] = []
  if (met.length === 0) {
    const is = sight.pods[0] ? podText(sight.pods[0]) : `${sight.peer.addr} is no pod`
    const wanted = words.peers.join(' or ')
    failures.push({
      text: `the ${sight.peerName} is not among ${wanted} (${is})`,
      wanted: `the ${sight.peerName} were among ${wanted}`,
    })
  }
  if (!served(met[0] === undefined ? sight.owners : ownersBy(met[0]))) {
    const wanted = words.ports.join(' or ')
    failures.push({ text: `it is not ${wanted}`, wanted: `it were ${wanted}` })
  }
  return failures
}

const podText = ({ name, labels }: Pod): string => {
  const own = Object.entries(labels).filter(([key]) => !key.startsWith('projectcalico.org/'))
  const words = own.map(([key, value]) => `${key}=${value}`).join(', ')
  return `${name} has ${words === '' ? 'no labels' : words}`
}

function portHolds({ protocol = 'TCP', port, endPort }: PolicyPort, owners: Owners, packet: Packet): boolean {
  if (protocolNumber(protocol) !== packet.protocol) return false
  if (port === undefined) return true
  if (typeof port === 'string') return owners.some(owner => hasNamedPort(owner, port, packet))
  return packet.dport !== undefined && port <= packet.dport && packet.dport <= (endPort ?? port)
}

const FIELDS = { tcp: 6, udp: 17, sctp: 132 } as const

function protocolHolds(entry: ClusterProtocol, owners: Owners, packet: Packet): boolean {
  const { destinationNamedPort: name } = entry
  if (name !== undefined) return owners.some(owner => hasNamedPort(owner, name, packet))
  return (['tcp', 'udp', 'sctp'] as const).some(field => {
    const wanted = entry[field]?.destinationPort
    if (wanted === undefined || FIELDS[field] !== packet.protocol || packet.dport === undefined) return false
    const { number, range } = wanted
    return range ? range.start <= packet.dport && packet.dport <= range.end : packet.dport === number
  })
}
