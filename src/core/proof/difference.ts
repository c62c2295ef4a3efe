// What a proof says when it fails: one packet, what the intent and what the kernel make of it, and the kernel's way.
import type { Family } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { hasPorts, protocolName } from '../net/protocol.ts'
import { CT, type Hop } from './kernel-walk.ts'
import type { Cls, Dim, Domains } from './space.ts'

/** A packet at a place: with the interfaces it comes and goes by, and its connection's state. */
export type PlacedPacket = Packet & {
  readonly iif: string
  /** Absent: it is for this host. */
  readonly oif?: string
  readonly connection: 'new' | 'established' | 'invalid'
}

export type Difference = {
  /** `cause`: the verdict is right, but the rule that counts it names another cause. `masquerade`: the source address. */
  readonly kind: 'verdict' | 'cause' | 'masquerade'
  readonly packet: PlacedPacket
  readonly wanted: string
  readonly found: string
  /** The kernel's way: chain, rule and what it did. */
  readonly path: readonly string[]
}

/** The value of a class that a reader can use best: an own address rather than any. */
const member = (domains: Domains, dim: Dim): Cls => domains[dim].members[0]!

export function packetOf(domains: Domains, o: { family: Family; ctState: number; toHost: boolean }): PlacedPacket {
  const label = (dim: Dim): string => member(domains, dim).label
  const number = (dim: Dim): number => Number(member(domains, dim).value)
  // Among the protocols that nothing tells apart, a well-known one is the better example.
  const known = domains.proto.members.find(c => [6, 17, 132, 1, 58].includes(Number(c.value)))
  const protocol = Number((known ?? member(domains, 'proto')).value)
  return {
    family: o.family,
    protocol,
    src: label('src') as Packet['src'],
    dst: label('dst') as Packet['dst'],
    ...(hasPorts(protocol) && { sport: number('sport'), dport: number('dport') }),
    ...(protocol === (o.family === 4 ? 1 : 58) && { icmp: { type: number('type'), code: number('code') } }),
    iif: label('iif'),
    ...(!o.toHost && { oif: label('oif') }),
    connection: o.ctState === CT.new ? 'new' : o.ctState === CT.invalid ? 'invalid' : 'established',
  }
}

/** `new tcp 10.0.0.1:0 → 10.0.0.2:80, cali1 to eth0`. */
export function printPacket(p: PlacedPacket): string {
  const port = (n: number | undefined): string => (n === undefined ? '' : ` port ${n}`)
  const icmp = p.icmp ? ` type ${p.icmp.type} code ${p.icmp.code}` : ''
  const to = p.oif === undefined ? 'to this host' : `to ${p.oif}`
  return `${p.connection} ${protocolName(p.protocol)}${icmp} from ${p.src}${port(p.sport)} to ${p.dst}${port(p.dport)}, ${p.iif} ${to}`
}

export const printHop = ({ chain, rule, verdict }: Hop): string => {
  const where = rule ? ` rule ${rule.model.index} (handle ${rule.model.handle})` : ''
  return `${chain.table} ${chain.name}${where}: ${verdict}`
}

export function printDifference(d: Difference): string {
  return [`${printPacket(d.packet)}: wanted ${d.wanted}, found ${d.found}`, ...d.path.map(hop => `  ${hop}`)].join('\n')
}
