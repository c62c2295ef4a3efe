// What a rule of a Kubernetes policy is made of, as features like those of Calico's rules (features.ts), and which of them
// no policy has together.
import type { Direction } from '../../src/core/resources/cause.ts'
import { type ClusterPeer, clusterRules } from '../../src/core/resources/kinds/cluster-network-policy.ts'
import { kubernetesRules, type PolicyPeer, type PolicyPort } from '../../src/core/resources/kinds/kubernetes-policy.ts'
import type {
  KubernetesClusterNetworkPolicy,
  KubernetesNetworkPolicy,
  StagedKubernetesNetworkPolicy,
} from '../../src/core/resources/resource.ts'

export const KUBERNETES_KINDS = [
  'KubernetesNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'KubernetesClusterNetworkPolicy',
] as const

export const KUBERNETES_DIMENSIONS = {
  'kube tier': ['Admin', 'Baseline'],
  'kube subject': ['namespaces', 'pods'],
  'kube peers': [
    ...['anybody', 'podSelector', 'namespaceSelector', 'both', 'ipBlock', 'except'],
    ...['namespaces', 'pods', 'networks'],
  ],
  'kube selector': ['matchLabels', 'In', 'NotIn', 'Exists', 'DoesNotExist', 'empty'],
  'kube ports': ['all', 'protocol', 'number', 'range', 'name'],
  'kube protocol': ['TCP', 'UDP', 'SCTP'],
} as const

/** Of a ClusterNetworkPolicy, and of the others. */
export const OF_CLUSTER = /^kube (tier|subject)=|^kube peers=(namespaces|pods|networks)$/
export const OF_NAMESPACE =
  /^kube peers=(anybody|podSelector|namespaceSelector|both|ipBlock|except)$|^kube ports=protocol$/
const KINDS = /^kind=(Staged)?Kubernetes/
const CALICO =
  /^kind=((Staged)?(Global)?NetworkPolicy|Profile)$|^(tier|order|protocol|notProtocol|icmp|notICMP|ipVersion|ports|notPorts)=|^(policy|source|own|peer) /

export const KUBERNETES_IMPOSSIBLE = [
  { why: 'a rule is Kubernetes’ or Calico’s', a: /^kube |^kind=(Staged)?Kubernetes/, b: CALICO },
  { why: 'Kubernetes’ policies are for pods', a: /^kube |^kind=(Staged)?Kubernetes/, b: /^at=(?!pod)/ },
  { why: 'Kubernetes’ rules do not log', a: /^kube |^kind=(Staged)?Kubernetes/, b: /^action=Log$/ },
  { why: 'a rule of a NetworkPolicy allows', a: /^kind=(Staged)?KubernetesNetworkPolicy$/, b: /^action=(Deny|Pass)$/ },
  { why: 'a rule of a NetworkPolicy allows', a: OF_NAMESPACE, b: /^action=(Deny|Pass)$/ },
  { why: 'only for a whole cluster', a: OF_CLUSTER, b: /^kind=(Staged)?KubernetesNetworkPolicy$/ },
  { why: 'only for a namespace', a: OF_NAMESPACE, b: /^kind=KubernetesClusterNetworkPolicy$/ },
  { why: 'a policy is for a namespace or the cluster', a: OF_CLUSTER, b: OF_NAMESPACE },
  { why: 'what comes in has no networks', a: /^kube peers=networks$/, b: /^direction=ingress$/ },
  { why: 'networks have no port names', a: /^kube peers=networks$/, b: /^kube ports=name$/ },
  { why: 'all ports are of all protocols', a: /^kube ports=all$/, b: /^kube protocol=/ },
  { why: 'anybody has any labels', a: /^kube peers=anybody$/, b: /^kube selector=/ },
] as const

export const isOfKubernetes = (feature: string): boolean => feature.startsWith('kube ') || KINDS.test(feature)

type Selector = PolicyPeer['podSelector']
const selectorKinds = (selector: Selector): string[] => {
  if (!selector) return []
  const { matchLabels = {}, matchExpressions = [] } = selector
  const kinds = matchExpressions.map(({ operator }) => operator as string)
  if (Object.keys(matchLabels).length > 0) kinds.push('matchLabels')
  return kinds.length > 0 ? kinds : ['empty']
}

function* peerFeatures(peer: PolicyPeer & ClusterPeer): Generator<string> {
  const { podSelector, namespaceSelector, ipBlock, namespaces, pods, networks } = peer
  if (podSelector) yield `kube peers=${namespaceSelector ? 'both' : 'podSelector'}`
  else if (namespaceSelector) yield 'kube peers=namespaceSelector'
  if (ipBlock) yield `kube peers=${ipBlock.except?.length ? 'except' : 'ipBlock'}`
  if (namespaces) yield 'kube peers=namespaces'
  if (pods) yield 'kube peers=pods'
  if (networks) yield 'kube peers=networks'
  const selectors = [podSelector, namespaceSelector, namespaces, pods?.podSelector, pods?.namespaceSelector]
  for (const kind of selectors.flatMap(selectorKinds)) yield `kube selector=${kind}`
}

const portKind = ({ port, endPort }: PolicyPort): string =>
  port === undefined ? 'protocol' : typeof port === 'string' ? 'name' : endPort === undefined ? 'number' : 'range'

type Policy = KubernetesNetworkPolicy | StagedKubernetesNetworkPolicy | KubernetesClusterNetworkPolicy

/** The features of a rule; none of one that nobody understands. */
export function* kubernetesFeatures(policy: Policy, direction: Direction, index: number): Generator<string> {
  if (policy.kind !== 'KubernetesClusterNetworkPolicy') {
    const { peers, ports, problems } = kubernetesRules(policy, direction)[index]!
    if (problems.length > 0) return
    yield 'action=Allow'
    if (peers.length === 0) yield 'kube peers=anybody'
    for (const peer of peers) yield* peerFeatures(peer)
    if (ports.length === 0) yield 'kube ports=all'
    for (const port of ports) {
      yield `kube ports=${portKind(port)}`
      yield `kube protocol=${port.protocol ?? 'TCP'}`
    }
    return
  }
  const { action, peers, protocols, problems } = clusterRules(policy, direction)[index]!
  if (problems.length > 0) return
  yield `action=${action === 'Accept' ? 'Allow' : action}`
  yield `kube tier=${policy.spec.tier}`
  yield `kube subject=${policy.spec.subject.namespaces ? 'namespaces' : 'pods'}`
  for (const peer of peers) yield* peerFeatures(peer)
  if (protocols.length === 0) yield 'kube ports=all'
  for (const { destinationNamedPort, ...of } of protocols) {
    if (destinationNamedPort !== undefined) yield 'kube ports=name'
    for (const [name, { destinationPort }] of Object.entries(of)) {
      yield `kube protocol=${name.toUpperCase()}`
      yield `kube ports=${destinationPort?.range ? 'range' : 'number'}`
    }
  }
}
