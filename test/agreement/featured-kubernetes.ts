// A policy of Kubernetes with one rule that has the features asked for, as featured-policy.ts makes Calico's. The names, labels
// and addresses are those of cluster.ts.
import { type Dice, pick } from '../support/dice.ts'
import { dimensionOf, type Feature, valueIn } from './features.ts'
import { KUBERNETES_KINDS, OF_CLUSTER, OF_NAMESPACE } from './kubernetes-features.ts'

type Labels = Readonly<Record<string, readonly string[]>>
const PODS: Labels = { app: ['web', 'db'], role: ['front', 'back'] }
const NAMESPACES: Labels = { team: ['a'], 'kubernetes.io/metadata.name': ['default', 'prod'] }
const BLOCKS = ['10.0.0.0/8', '10.1.0.0/16', '192.0.2.0/24', 'fd00::/8', '2001:db8::/32', '0.0.0.0/0', '::/0'] as const
const EXCEPTS = [
  { cidr: '10.0.0.0/8', except: ['10.1.2.0/24'] },
  { cidr: '0.0.0.0/0', except: ['192.0.2.0/24', '10.1.3.1/32'] },
  { cidr: 'fd00::/8', except: ['fd00:1::2/127'] },
  { cidr: '::/0', except: ['2001:db8::/32'] },
] as const
const NUMBERS = [53, 80, 81, 443, 8080] as const
const RANGES = [
  [80, 443],
  [50, 8080],
  [8000, 9000],
] as const

function selector(d: Dice, labels: Labels, kind: string): object {
  const key = pick(d, Object.keys(labels))
  if (kind === 'empty') return {}
  if (kind === 'matchLabels') return { matchLabels: { [key]: pick(d, labels[key]!) } }
  const values = kind.endsWith('In') ? { values: [pick(d, labels[key]!)] } : {}
  return { matchExpressions: [{ key, operator: kind, ...values }] }
}

function peer(d: Dice, sort: string, kind: string): object {
  const pods = selector(d, PODS, kind)
  const namespaces = selector(d, NAMESPACES, sort === 'both' || sort === 'pods' ? 'empty' : kind)
  switch (sort) {
    case 'podSelector':
      return { podSelector: pods }
    case 'namespaceSelector':
      return { namespaceSelector: namespaces }
    case 'both':
      return { podSelector: pods, namespaceSelector: namespaces }
    case 'ipBlock':
      return { ipBlock: { cidr: pick(d, BLOCKS) } }
    case 'except':
      return { ipBlock: pick(d, EXCEPTS) }
    case 'namespaces':
      return { namespaces }
    case 'pods':
      return { pods: { namespaceSelector: namespaces, podSelector: pods } }
    default:
      return { networks: [pick(d, BLOCKS), pick(d, BLOCKS)] }
  }
}

function port(d: Dice, sort: string, protocol: string): object {
  const [first, last] = pick(d, RANGES)
  if (sort === 'protocol') return { protocol }
  if (sort === 'range') return { protocol, port: first, endPort: last }
  return { protocol, port: sort === 'name' ? pick(d, ['http', 'dns']) : pick(d, NUMBERS) }
}

function clusterPort(d: Dice, sort: string, protocol: string): object {
  const [start, end] = pick(d, RANGES)
  if (sort === 'name') return { destinationNamedPort: pick(d, ['http', 'dns']) }
  const destinationPort = sort === 'range' ? { range: { start, end } } : { number: pick(d, NUMBERS) }
  return { [protocol.toLowerCase()]: { destinationPort } }
}

/** A document of one policy whose only rule has these features. */
export function featuredKubernetes(features: readonly Feature[], name: string, d: Dice): object {
  const values = (dimension: string): string[] => features.filter(f => dimensionOf(f) === dimension).map(valueIn)
  const one = (dimension: string, ...others: readonly string[]): string => values(dimension)[0] ?? pick(d, others)
  const isOf = (which: RegExp): boolean => features.some(f => which.test(f))
  const networks = isOf(/^kube peers=networks$/)
  const direction = one('direction', ...(networks ? [] : ['ingress']), 'egress')
  const [namespaced, staged, cluster] = KUBERNETES_KINDS
  const isCluster = isOf(OF_CLUSTER) || isOf(/^action=(Deny|Pass)$/)
  const kind = one('kind', ...(isCluster ? [cluster] : isOf(OF_NAMESPACE) ? [namespaced, staged] : KUBERNETES_KINDS))
  const selectors = values('kube selector')
  const selectorKind = selectors[0] ?? pick(d, ['matchLabels', 'Exists', 'empty', 'NotIn'])
  const wanted = values('kube peers').filter(sort => sort !== 'anybody')
  const common = kind === cluster ? 'namespaces' : 'podSelector'
  // Of addresses alone there are no labels to select.
  const isMissing = selectors.length > 0 && wanted.every(sort => ['ipBlock', 'except', 'networks'].includes(sort))
  const isAnybody = kind !== cluster && (isOf(/^kube peers=anybody$/) || d(4) === 0)
  if (isMissing || (wanted.length === 0 && !isAnybody)) wanted.push(common)
  const peers = wanted.map(sort => peer(d, sort, selectorKind))
  const protocols = values('kube protocol')
  const asked = values('kube ports')
  const sorts = asked.length > 0 ? asked : [protocols.length > 0 ? 'number' : pick(d, ['all', 'all', 'number'])]
  const makePort = kind === cluster ? clusterPort : port
  const protocol = protocols[0] ?? pick(d, ['TCP', 'TCP', 'UDP', 'SCTP'])
  const ports = sorts.filter(sort => sort !== 'all').map(sort => makePort(d, sort, protocol))
  // A named port of a cluster's policy says no protocol.
  if (kind === cluster && protocols.length > 0 && sorts.includes('name')) ports.push(makePort(d, 'number', protocol))
  const field = direction === 'ingress' ? 'from' : 'to'
  if (kind !== cluster) {
    const podSelector = pick(d, [{}, { matchLabels: { app: 'web' } }, selector(d, PODS, 'Exists')])
    const rule = { [field]: peers, ...(ports.length > 0 && { ports }) }
    return {
      apiVersion: kind === staged ? 'projectcalico.org/v3' : 'networking.k8s.io/v1',
      kind: kind === staged ? kind : 'NetworkPolicy',
      metadata: { name, namespace: pick(d, ['default', 'prod']) },
      spec: { podSelector, policyTypes: [direction === 'ingress' ? 'Ingress' : 'Egress'], [direction]: [rule] },
    }
  }
  const action = one('action', 'Allow', 'Allow', 'Deny', 'Pass').replace('Allow', 'Accept')
  const rule = { action, [field]: peers, ...(ports.length > 0 && { protocols: ports }) }
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name },
    spec: {
      tier: one('kube tier', 'Admin', 'Baseline'),
      priority: pick(d, [0, 5, 10]),
      subject: peer(d, one('kube subject', 'namespaces', 'pods'), 'empty'),
      [direction]: [rule],
    },
  }
}
