// Pods as Kubernetes' policies see them, and what its selectors and ports ask of them: told from the resources again, by
// Kubernetes' rules, and apart from the compiler's conversion. Only pods are ever selected: no network set, no endpoint of
// another orchestrator.
import type { Addr } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { parsePrefix, prefixContains } from '../net/prefix.ts'
import type { LabelSelector } from '../resources/kinds/label-selector.ts'
import { find, type Snapshot } from '../resources/resource.ts'
import type { Labels } from '../selector/match.ts'
import type { Member, NamedPort } from './members.ts'

export type Pod = {
  readonly name: string
  readonly namespace: string
  /** Its own; what its namespace and service account lend is not asked. */
  readonly labels: Labels
  readonly namespaceLabels: Labels
  readonly ports: readonly NamedPort[]
}

/** The pod behind something that an address belongs to, if there is one. */
export function podOf(resources: Snapshot, member: Member): Pod | undefined {
  const workload = resources.get(member.key)
  if (workload?.kind !== 'WorkloadEndpoint' || workload.spec.orchestrator !== 'k8s') return undefined
  const { namespace = '', labels = {} } = workload.metadata
  // An endpoint has the labels of its namespace by that profile, as every endpoint of a pod that the plugin makes does.
  const isMember = workload.spec.profiles?.includes(`kns.${namespace}`)
  const found = isMember ? find(resources, 'Namespace', { name: namespace }) : undefined
  // Calico lends the name under a label of its own too, and people select by it.
  const namespaceLabels = found ? { ...found.metadata.labels, 'projectcalico.org/name': namespace } : {}
  return { name: member.name, namespace, labels, namespaceLabels, ports: member.ports }
}

export const podsAmong = (resources: Snapshot, members: readonly Member[]): Pod[] =>
  members.flatMap(member => podOf(resources, member) ?? [])

/** All terms must hold; a missing label meets NotIn and DoesNotExist. */
export function selectorHolds({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  const value = (key: string): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined)
  return (
    Object.entries(matchLabels ?? {}).every(([key, wanted]) => value(key) === wanted) &&
    (matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const is = value(key)
      if (operator === 'Exists') return is !== undefined
      if (operator === 'DoesNotExist') return is === undefined
      const among = is !== undefined && values.includes(is)
      return operator === 'In' ? among : !among
    })
  )
}

export const blockHolds = (cidr: string, addr: Addr): boolean => {
  const net = parsePrefix(cidr)
  return net !== undefined && prefixContains(net, addr)
}

/** Whether the packet goes to a port of this name, of its own protocol. */
export const hasNamedPort = (
  { ports }: { readonly ports: readonly NamedPort[] },
  name: string,
  packet: Packet,
): boolean => ports.some(port => port.name === name && port.port === packet.dport && port.protocol === packet.protocol)
