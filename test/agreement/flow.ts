// A packet on its way through one node, as all judges are asked about it: where it comes in, where routing sends it, and
// what connection tracking says of it.
import type { LocalEndpoint } from '../../src/core/calc/intent.ts'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { prefix, prefixContains } from '../../src/core/net/prefix.ts'
import type { PlacedPacket } from '../../src/core/proof/difference.ts'
import { HOST_INTERFACES } from './cluster.ts'

export const NODE = 'node0'
/** By whose addresses host endpoints are found. */
export const INTERFACES = HOST_INTERFACES.get(NODE)!

/** The node's interfaces besides those of pods, and what is routed to each: the first that holds the destination. */
const ROUTED = [
  ['eth1', ['192.0.2.0/24', '10.1.1.0/24', '2001:db8::/32', 'fd00:1::1/128']],
  ['eth2', ['198.51.100.0/24', '10.1.3.0/24', '2001:dead::/32', 'fd00:2::/32']],
  ['eth0', ['0.0.0.0/0', '::/0']],
] as const
export type Uplink = (typeof ROUTED)[number][0]
export const UPLINKS: readonly Uplink[] = ROUTED.map(([name]) => name)
export const ROUTES = ROUTED.flatMap(([uplink, nets]) => nets.map(net => ({ uplink, net: prefix(net) })))
export const uplinkTo = (a: Addr): Uplink => ROUTES.find(({ net }) => prefixContains(net, a))!.uplink

/** The node's own addresses; some are in nets that policies name, some are those that host endpoints expect. */
export const HOST: readonly Addr[] = [...['10.200.0.1', 'fd00:ffff::1'].map(addr), ...[...INTERFACES.values()].flat()]
const isHost = (a: Addr): boolean => HOST.includes(a)

/** `fragments`: in two pieces, the transport header cut in the middle. `short`: too short for its transport header. */
export type Shape = 'whole' | 'fragments' | 'short'
export type Flow = {
  readonly packet: Packet
  readonly shape: Shape
  /** The pod that has this address, whatever the packet's source says; or the uplink that it comes by; or the node. */
  readonly sender: Addr | Uplink | 'node'
}

export type Endpoint = Pick<LocalEndpoint, 'interfaceName' | 'addresses'>

export type Place = {
  /** The interface that it comes in by; absent: the node sends it. */
  readonly in?: string
  /** That it leaves by; absent: it is for the node. */
  readonly out?: string
  /** The pod that really sends it. */
  readonly from?: Endpoint
  readonly connection: 'new' | 'invalid' | 'untracked'
}

/** ICMP and ICMPv6 types that may begin a connection (nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c). */
const REQUESTS: Readonly<Record<number, readonly number[]>> = { 1: [8, 13, 15, 17], 58: [128, 139] }

/** ICMPv6 that is never tracked: discovery of neighbours, routers and listeners (nf_conntrack_proto_icmpv6.c). */
const UNTRACKED = [130, 131, 132, 133, 134, 135, 136, 143]

/** The type that is sent where the packet's description has none: an ICMP of the other family. */
export const icmpOf = ({ protocol, icmp }: Packet): { type: number; code: number } =>
  icmp ?? { type: REQUESTS[protocol]![0]!, code: 0 }

/** What the kernel's connection tracking says of the first packet of its kind. */
export function connectionOf({ packet, shape }: Pick<Flow, 'packet' | 'shape'>): Place['connection'] {
  if (shape === 'short') return 'invalid'
  if (packet.family === 6 && packet.icmp && UNTRACKED.includes(packet.icmp.type)) return 'untracked'
  const requests = REQUESTS[packet.protocol]
  if (!requests) return 'new'
  // The ICMP of the other family is never a connection.
  return packet.icmp && requests.includes(packet.icmp.type) ? 'new' : 'invalid'
}

export function placeOf(endpoints: readonly Endpoint[], flow: Flow): Place {
  const { sender, packet } = flow
  const at = (a: string): Endpoint | undefined => endpoints.find(e => e.addresses.some(b => a === b))
  const from = at(sender)
  const incoming = from?.interfaceName ?? sender
  return {
    ...(incoming !== 'node' && { in: incoming }),
    ...(!isHost(packet.dst) && { out: at(packet.dst)?.interfaceName ?? uplinkTo(packet.dst) }),
    ...(from && { from }),
    connection: connectionOf(flow),
  }
}

export const placed = ({ packet }: Flow, { in: iif = '', out, connection }: Place): PlacedPacket => ({
  ...packet,
  iif,
  ...(out !== undefined && { oif: out }),
  connection,
})

/** What one direction of one endpoint came to. `staged`: what would be decided if the staged policies were enforced. */
export type Part = {
  readonly cause: string
  readonly staged: string
  readonly logs: readonly string[]
}
/** The judgement of a flow: everybody who was asked, in the order in which the packet met them. */
export type Told = {
  readonly verdict: 'allow' | 'deny'
  readonly parts: readonly Part[]
  /** It passes, and connection tracking does not know it. */
  readonly untracked: boolean
}
