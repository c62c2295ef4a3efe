// A packet on its way through one node, as all judges are asked about it: where it comes in, where routing sends it, and
// what of it is decided before policy is asked (whose source it has, whether connection tracking knows such a packet).
import type { LocalEndpoint, NodeSettings } from '../../src/core/calc/intent.ts'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import type { PlacedPacket } from '../../src/core/proof/difference.ts'
import type { Direction } from '../../src/core/resources/cause.ts'

/** `fragments`: in two pieces, the transport header cut in the middle. `short`: too short for its transport header. */
export type Shape = 'whole' | 'fragments' | 'short'
export type Flow = {
  readonly packet: Packet
  readonly shape: Shape
  /** The address of the pod that really sends; absent: it comes over the uplink, whatever its source says. */
  readonly sender?: Addr
}

export const UPLINK = 'uplink'
/** The node's own addresses. They are in nets that policies name, and in no pool. */
export const HOST: Readonly<Record<4 | 6, Addr>> = { 4: addr('10.200.0.1'), 6: addr('fd00:ffff::1') }

export type Endpoint = Pick<LocalEndpoint, 'interfaceName' | 'addresses'>

export type Place = {
  readonly from?: Endpoint
  readonly to?: Endpoint
  readonly toHost: boolean
  readonly connection: 'new' | 'invalid'
}

const isHost = (a: Addr): boolean => a === HOST[4] || a === HOST[6]

/** ICMP and ICMPv6 types that may begin a connection (nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c). */
const REQUESTS: Readonly<Record<number, readonly number[]>> = { 1: [8, 13, 15, 17], 58: [128, 139] }

/** The type that is sent where the packet's description has none: an ICMP of the other family. */
export const icmpOf = ({ protocol, icmp }: Packet): { type: number; code: number } =>
  icmp ?? { type: REQUESTS[protocol]![0]!, code: 0 }

/** What the kernel's connection tracking says of the first packet of its kind. */
export function connectionOf({ packet, shape }: Flow): 'new' | 'invalid' {
  if (shape === 'short') return 'invalid'
  const requests = REQUESTS[packet.protocol]
  if (!requests) return 'new'
  // The ICMP of the other family is never a connection.
  return packet.icmp && requests.includes(packet.icmp.type) ? 'new' : 'invalid'
}

export function placeOf(endpoints: readonly Endpoint[], flow: Flow): Place {
  const at = (a: Addr | undefined): Endpoint | undefined =>
    a === undefined ? undefined : endpoints.find(e => e.addresses.includes(a))
  const [from, to] = [at(flow.sender), at(flow.packet.dst)]
  return {
    ...(from && { from }),
    ...(to && { to }),
    toHost: isHost(flow.packet.dst),
    connection: connectionOf(flow),
  }
}

export const placed = (flow: Flow, { from, to, toHost, connection }: Place): PlacedPacket => ({
  ...flow.packet,
  iif: from?.interfaceName ?? UPLINK,
  ...(!toHost && { oif: to?.interfaceName ?? UPLINK }),
  connection,
})

/** A packet in a packet, which a pod may not send unless the settings let it. */
const isWrapped = ({ protocol, dport }: Packet, { allowVXLAN, allowIPIP, vxlanPort }: NodeSettings): boolean =>
  (protocol === 4 && !allowIPIP) || (protocol === 17 && dport === vxlanPort && !allowVXLAN)

/** What one direction of one endpoint came to. `staged`: what would be decided if the staged policies were enforced. */
export type Part = {
  readonly cause: string
  readonly staged: string
  readonly logs: readonly string[]
}
export type Told = { readonly verdict: 'allow' | 'deny'; readonly parts: readonly Part[] }

/** The judgement of a flow, given that of each direction: a sender is judged first, and its denial is the end. */
export function tell(
  flow: Flow,
  { place, settings }: { place: Place; settings: NodeSettings },
  decide: (direction: Direction) => Part & { readonly allow: boolean },
): Told {
  const { from, to, toHost, connection } = place
  if (from && !from.addresses.includes(flow.packet.src)) return { verdict: 'deny', parts: [] }
  const judgesConnection = !toHost || from !== undefined
  if (connection === 'invalid' && settings.conntrackInvalidCheck && judgesConnection)
    return { verdict: 'deny', parts: [] }
  if (from && isWrapped(flow.packet, settings)) return { verdict: 'deny', parts: [] }
  const parts: Part[] = []
  for (const direction of [...(from ? ['egress' as const] : []), ...(to ? ['ingress' as const] : [])]) {
    const { allow, ...part } = decide(direction)
    parts.push(part)
    if (!allow) return { verdict: 'deny', parts }
  }
  const open = !toHost || !from || ['Accept', 'Return'].includes(settings.endpointToHostAction)
  return { verdict: open ? 'allow' : 'deny', parts }
}
