// decideFlow(): decide(), and what the host endpoints at either end say, where an address is known to be one's: by its
// expectedIPs, or as an address of a Node whose every interface is guarded. What lies between is not asked.
import type { Addr } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { prefix, prefixBase } from '../net/prefix.ts'
import { printCause } from '../resources/cause.ts'
import { derived } from '../resources/derive.ts'
import { type HostEndpoint, ofKind, type Snapshot } from '../resources/resource.ts'
import { decide } from './decide.ts'
import { decideAtNode, type NodeDecision } from './decide-at-node.ts'
import type { Decision, DirectionDecision, Verdict } from './decision.ts'
import { endpointAt } from './members.ts'
import type { View } from './order.ts'

export type HostDecision = NodeDecision & { readonly node: string; readonly endpoint: string }
/** `hosts`: the sender's node first; absent where no host endpoint is at either end. */
export type FlowDecision = Decision & { readonly hosts?: readonly HostDecision[] }

/** What is asked in both views and decided by something else, now and then. */
export const stagedChanges = (decision: FlowDecision, staged: FlowDecision): [DirectionDecision, DirectionDecision][] =>
  directionsOf(decision).flatMap(now => {
    const then = directionsOf(staged).find(
      d => d.endpoint === now.endpoint && d.direction === now.direction && d.hook === now.hook,
    )
    return then && printCause(now.cause) !== printCause(then.cause) ? [[now, then]] : []
  })

export const directionsOf = ({ egress, ingress, hosts = [] }: FlowDecision): DirectionDecision[] => [
  ...[egress, ingress].filter(d => d !== undefined),
  ...hosts.flatMap(h => h.asked),
]

/** The addresses by which the resources know a node. */
export function nodeAddresses(resources: Snapshot, node: string): Addr[] {
  const found = [...ofKind(resources, 'Node')].find(n => n.metadata.name === node)?.spec
  const texts = [found?.bgp?.ipv4Address, found?.bgp?.ipv6Address, ...(found?.addresses ?? []).map(a => a.address)]
  return texts.flatMap(text => (text === undefined ? [] : prefixBase(prefix(text))))
}

/** The host endpoint of an address. */
function hostAt(resources: Snapshot, address: Addr): HostEndpoint | undefined {
  const all = [...ofKind(resources, 'HostEndpoint')].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  return (
    all.find(h => h.spec.expectedIPs?.includes(address)) ??
    all.find(h => h.spec.interfaceName === '*' && nodeAddresses(resources, h.spec.node ?? '').includes(address))
  )
}

export function decideFlow(snapshot: Snapshot, packet: Packet, view: View = 'enforced'): FlowDecision {
  const resources = derived(snapshot)
  const decision = decide(snapshot, packet, view)
  const [from, to] = [hostAt(resources, packet.src), hostAt(resources, packet.dst)]
  const ask = (host: HostEndpoint, address: Addr, end: 'in' | 'out'): HostDecision[] => {
    const { node = '', interfaceName } = host.spec
    const name = interfaceName === undefined || interfaceName === '*' ? 'any' : interfaceName
    const way = { node, interfaces: new Map([[name, [address]]]), [end]: name, view }
    return [{ ...decideAtNode(snapshot, packet, way), node, endpoint: `HostEndpoint ${host.metadata.name}` }]
  }
  /** Between a node and its own pods there is no interface of its own. */
  const isWithin = (host: HostEndpoint, pod: Addr): boolean => {
    const endpoint = endpointAt(resources, pod)
    return [...ofKind(resources, 'WorkloadEndpoint')].some(
      w => w.spec.node === host.spec.node && w.metadata.name === endpoint?.key.split('/')[2],
    )
  }
  const hosts = [
    ...(from && !isWithin(from, packet.dst) ? ask(from, packet.src, 'out') : []),
    ...(to && !isWithin(to, packet.src) ? ask(to, packet.dst, 'in') : []),
  ]
  if (hosts.length === 0) return decision
  const allowed = decision.verdict === 'allow' && hosts.every(h => h.verdict === 'allow')
  const verdict: Verdict = allowed ? 'allow' : 'deny'
  return {
    ...decision,
    verdict,
    ...(from && { source: `HostEndpoint ${from.metadata.name}` }),
    ...(to && { destination: `HostEndpoint ${to.metadata.name}` }),
    hosts,
  }
}
