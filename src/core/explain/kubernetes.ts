// Kubernetes' policies in sentences and warnings, in Kubernetes' own words: peers and ports as the policy says them, and what
// the two kinds do with what no rule decides.
import type { Problem } from '../base/problem.ts'
import type { Pod } from '../oracle/kubernetes-pods.ts'
import { podsMean, subjectMeans } from '../oracle/kubernetes-policy.ts'
import {
  clusterPeerText,
  peerText,
  portText,
  protocolText,
  ruleText,
  selectorText,
} from '../oracle/kubernetes-words.ts'
import { DIRECTIONS, type Direction } from '../resources/cause.ts'
import { type ClusterPeer, clusterRules } from '../resources/kinds/cluster-network-policy.ts'
import { kubernetesRules, type PolicyPeer } from '../resources/kinds/kubernetes-policy.ts'
import { isEmptySelector } from '../resources/kinds/label-selector.ts'
import type {
  KubernetesClusterNetworkPolicy,
  KubernetesNetworkPolicy,
  StagedKubernetesNetworkPolicy,
} from '../resources/resource.ts'
import { cut, list, plural } from './words.ts'

type Namespaced = KubernetesNetworkPolicy | StagedKubernetesNetworkPolicy
type Policy = Namespaced | KubernetesClusterNetworkPolicy

/** Which pods a policy is about. */
export function kubernetesSubject(policy: Policy): string {
  if (policy.kind === 'KubernetesClusterNetworkPolicy') return clusterPeerText(policy.spec.subject)
  const { podSelector } = policy.spec
  return isEmptySelector(podSelector) ? 'all pods of the namespace' : `pods with ${selectorText(podSelector)}`
}

export const describeKubernetes = (policy: Policy): string =>
  policy.kind !== 'KubernetesClusterNetworkPolicy' ? describeNamespaced(policy) : describeCluster(policy)

const trafficOf = (direction: Direction, who: string): string =>
  direction === 'ingress' ? `ingress traffic to ${who}` : `egress traffic from ${who}`

function describeNamespaced(policy: Namespaced): string {
  const who = kubernetesSubject(policy)
  const namespace = policy.metadata.namespace ?? ''
  const aspects = DIRECTIONS.filter(direction => isOn(policy, direction)).map(direction => ({
    direction,
    rules: kubernetesRules(policy, direction),
  }))
  if (aspects.every(({ rules }) => rules.length === 0)) {
    const directions = list(
      aspects.map(({ direction }) => direction),
      'or',
    )
    return `It isolates ${who}: no ${directions} traffic is allowed unless another policy allows it.`
  }
  return aspects
    .map(({ direction, rules }) => {
      const traffic = trafficOf(direction, who)
      if (rules.length === 0) return `It allows no ${traffic} unless another policy does.`
      if (rules.some(({ peers, ports }) => peers.length + ports.length === 0)) return `It allows all ${traffic}.`
      const words = rules.map(({ peers, ports }) =>
        ruleText({ peers: peers.map(peer => peerText(peer, namespace)), ports: ports.map(portText) }, direction),
      )
      return `It restricts ${traffic} to only: ${cut(words, n => `and what ${plural(n, 'more rule')} allow`).join('; ')}.`
    })
    .join(' ')
}

const VERBS = { Accept: 'accepts', Deny: 'denies', Pass: 'leaves to the next tier' } as const
const PLACES: ReadonlyMap<string | undefined, string> = new Map([
  ['Admin', 'It is judged before all policies of namespaces.'],
  ['Baseline', 'It is judged only where no policy of a namespace decides.'],
])

function describeCluster(policy: KubernetesClusterNetworkPolicy): string {
  const who = kubernetesSubject(policy)
  const aspects = DIRECTIONS.flatMap(direction => {
    const rules = clusterRules(policy, direction)
    if (rules.length === 0) return []
    const words = rules.map(({ action, peers, protocols }) => {
      const words = { peers: peers.map(clusterPeerText), ports: protocols.map(protocolText) }
      return `${VERBS[action ?? 'Deny']} ${ruleText(words, direction)}`
    })
    const steps = cut(words, n => `follows ${plural(n, 'more rule')}`)
    const end = 'what no rule decides goes on to the next tier'
    return [`For ${trafficOf(direction, who)}, in this order, it ${[...steps, end].join('; ')}.`]
  })
  if (aspects.length === 0) return `It has no rules, and so no effect on ${who}.`
  return [...aspects, PLACES.get(policy.spec.tier) ?? ''].join(' ').trim()
}

const typeOf = (direction: Direction): 'Ingress' | 'Egress' => (direction === 'ingress' ? 'Ingress' : 'Egress')

const isOn = (policy: Policy, direction: Direction): boolean =>
  policy.kind === 'KubernetesClusterNetworkPolicy' || policy.spec.policyTypes.includes(typeOf(direction))

/** What has no effect; with the pods of the cluster also what means none of them at present. */
export function kubernetesWarnings(policy: Policy, pods?: readonly Pod[]): Problem[] {
  const found = DIRECTIONS.flatMap(direction => switchedOff(policy, direction))
  if (!pods) return found
  const subject = pods.filter(pod => subjectMeans(policy, pod))
  if (subject.length === 0) {
    const path = policy.kind !== 'KubernetesClusterNetworkPolicy' ? 'spec.podSelector' : 'spec.subject'
    found.push({ path, message: 'selects no pod at present: the policy has no effect until one comes' })
  }
  for (const direction of DIRECTIONS)
    if (isOn(policy, direction)) found.push(...meansNobody(policy, direction, { pods, subject }))
  return found
}

function switchedOff(policy: Policy, direction: Direction): Problem[] {
  const rules = policy.spec[direction] ?? []
  if (policy.kind === 'KubernetesClusterNetworkPolicy' || rules.length === 0 || isOn(policy, direction)) return []
  const message = `${plural(rules.length, `${direction} rule`)} without effect: spec.policyTypes is ${policy.spec.policyTypes.join(', ')}`
  return [{ path: `spec.${direction}`, message, fix: `add ${typeOf(direction)} to spec.policyTypes` }]
}

type Rule = {
  readonly index: number
  readonly peers: readonly (PolicyPeer & ClusterPeer)[]
  /** The names of ports that it asks for, with their place in the rule. */
  readonly names: readonly { readonly at: string; readonly name: string }[]
}

function rulesOf(policy: Policy, direction: Direction): Rule[] {
  if (policy.kind !== 'KubernetesClusterNetworkPolicy') {
    return kubernetesRules(policy, direction).map(({ index, peers, ports }) => ({
      index,
      peers,
      names: ports.flatMap(({ port }, i) => (typeof port === 'string' ? [{ at: `ports[${i}].port`, name: port }] : [])),
    }))
  }
  return clusterRules(policy, direction).map(({ index, peers, protocols }) => ({
    index,
    peers,
    names: protocols.flatMap(({ destinationNamedPort: name }, i) =>
      name === undefined ? [] : [{ at: `protocols[${i}].destinationNamedPort`, name }],
    ),
  }))
}

type Pods = { readonly pods: readonly Pod[]; readonly subject: readonly Pod[] }

function meansNobody(policy: Policy, direction: Direction, { pods, subject }: Pods): Problem[] {
  const namespace = policy.kind !== 'KubernetesClusterNetworkPolicy' ? policy.metadata.namespace : undefined
  return rulesOf(policy, direction).flatMap(({ index, peers, names }) => {
    const path = `spec.${direction}[${index}]`
    const byAddress = peers.some(peer => peer.ipBlock ?? peer.networks)
    const meant = peers.map(peer => pods.filter(pod => podsMean(peer, pod, namespace)))
    const empty = peers.flatMap((peer, i): Problem[] => {
      if (peer.ipBlock ?? peer.networks ?? meant[i]![0]) return []
      const at = `${path}.${direction === 'ingress' ? 'from' : 'to'}[${i}]`
      const message = 'matches no pod at present'
      const own = namespace !== undefined && peer.namespaceSelector === undefined
      const elsewhere = own && pods.some(pod => podsMean({ ...peer, namespaceSelector: {} }, pod, namespace))
      if (!elsewhere) return [{ path: at, message }]
      return [
        { path: at, message: `${message} in namespace ${namespace}`, fix: 'add a namespaceSelector to look in others' },
      ]
    })
    // The port is that of the pods that the traffic goes to.
    const owners = direction === 'ingress' ? subject : peers.length === 0 || byAddress ? pods : meant.flat()
    const nameless = names
      .filter(({ name }) => !owners.some(pod => pod.ports.some(port => port.name === name)))
      .map(({ at, name }) => ({
        path: `${path}.${at}`,
        message: `no pod meant here has a port named ${name} at present`,
      }))
    return [...empty, ...nameless]
  })
}
