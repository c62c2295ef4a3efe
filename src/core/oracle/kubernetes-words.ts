// Kubernetes' selectors, peers and ports in its own words, on one line: `pods with app=web in namespaces with team=a`.
import type { ClusterPeer, ClusterProtocol } from '../resources/kinds/cluster-network-policy.ts'
import type { PolicyPeer, PolicyPort } from '../resources/kinds/kubernetes-policy.ts'
import { isEmptySelector, type LabelSelector } from '../resources/kinds/label-selector.ts'

/** `app=web, tier in (a, b), !old`: as kubectl prints selectors. */
export function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const equal = Object.entries(matchLabels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
  const expressions = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(', ')})`
  })
  return [...equal, ...expressions].join(', ')
}

const things = (noun: string, selector: LabelSelector): string =>
  isEmptySelector(selector) ? `all ${noun}` : `${noun} with ${selectorText(selector)}`

const NAME = 'kubernetes.io/metadata.name'
/** A namespace that is asked for by name is told by its name. */
function namespacesText(selector: LabelSelector): string {
  const name = selector.matchLabels?.[NAME]
  return name !== undefined && selectorText(selector) === `${NAME}=${name}`
    ? `namespace ${name}`
    : things('namespaces', selector)
}

/** `namespace`: the policy's own, which a podSelector alone looks in. */
export function peerText({ podSelector, namespaceSelector, ipBlock }: PolicyPeer, namespace: string): string {
  if (ipBlock) {
    const { cidr, except = [] } = ipBlock
    return except.length > 0 ? `${cidr} except ${except.join(', ')}` : cidr
  }
  const where = namespaceSelector ? namespacesText(namespaceSelector) : `namespace ${namespace}`
  return `${things('pods', podSelector ?? {})} in ${where}`
}

/** Who a rule or subject of a ClusterNetworkPolicy is about. */
export function clusterPeerText({ namespaces, pods, networks, nodes, domainNames }: ClusterPeer): string {
  if (namespaces) return `all pods in ${namespacesText(namespaces)}`
  if (pods) return `${things('pods', pods.podSelector)} in ${namespacesText(pods.namespaceSelector)}`
  if (networks) return networks.join(', ')
  if (nodes) return things('nodes', nodes)
  return domainNames ? domainNames.join(', ') : 'nothing that is known'
}

/** `TCP 80`, `TCP 8000-9000`, `UDP dns`, `SCTP`. */
export function portText({ protocol = 'TCP', port, endPort }: PolicyPort): string {
  if (port === undefined) return protocol
  return `${protocol} ${port}${endPort === undefined || endPort === port ? '' : `-${endPort}`}`
}

export function protocolText({ destinationNamedPort, ...entry }: ClusterProtocol): string {
  if (destinationNamedPort !== undefined) return `port ${destinationNamedPort}`
  return (['tcp', 'udp', 'sctp'] as const)
    .flatMap(field => {
      const port = entry[field]?.destinationPort
      if (port === undefined) return []
      return [`${field.toUpperCase()} ${port.range ? `${port.range.start}-${port.range.end}` : port.number}`]
    })
    .join(', ')
}

type RuleWords = { readonly peers: readonly string[]; readonly ports: readonly string[] }

/** `TCP 80 from all pods in namespace a`, `everything`. */
export function ruleText({ peers, ports }: RuleWords, direction: 'ingress' | 'egress'): string {
  const what = ports.length === 0 ? 'everything' : ports.join(', ')
  const word = direction === 'ingress' ? 'from' : 'to'
  return peers.length === 0 ? what : `${what} ${word} ${peers.join(' or ')}`
}
