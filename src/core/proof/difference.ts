// What a proof says when it fails: one packet, what the intent and what the kernel make of it, and the kernel's way.
import type { Addr, Family } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { hasPorts, protocolName } from '../net/protocol.ts'
import { ownMark } from './intent-walk.ts'
import { CT, type Hop } from './kernel-walk.ts'
import type { Road } from './program.ts'
import type { Cls, Domain, Domains } from './space.ts'

/**
 * A packet at a place: with the interfaces it comes and goes by, and its connection's state. Of protocols without ports,
 * `sport` and `dport` are what stands in their place (a rule that does not ask for the protocol reads it).
 */
export type PlacedPacket = Packet & {
  /** Empty: this host sends it itself. */
  readonly iif: string
  /** Absent: it is for this host. */
  readonly oif?: string
  readonly connection: 'new' | 'established' | 'invalid' | 'untracked'
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

/** The member of a dimension that makes the best example: the first wish that one fulfils, or any. */
function example(domain: Domain, ...wishes: readonly ((c: Cls) => boolean)[]): Cls {
  for (const wish of wishes) {
    const found = domain.members.find(wish)
    if (found) return found
  }
  return domain.members[0]!
}

const CONNECTIONS: Readonly<Record<number, PlacedPacket['connection']>> = {
  [CT.new]: 'new',
  [CT.invalid]: 'invalid',
  [CT.untracked]: 'untracked',
}

/** An example of a box: of what nothing tells apart, addresses that the interfaces' endpoints have, and TCP. */
export function packetOf(d: Domains, o: { family: Family; ctState: number; road: Road }): PlacedPacket {
  const [iif, oif] = [example(d.iif), example(d.oif, c => c !== d.iif.members[0])]
  const src = example(d.src, c => c.memberOf!.has(ownMark(iif.label)))
  const dst = example(
    d.dst,
    c => o.road !== 'input' && c.memberOf!.has(ownMark(oif.label)),
    c => c.value !== src.value,
  )
  const isProtocol = (n: number) => (c: Cls) => c.value === n
  const protocol = Number(example(d.proto, ...[6, 17, 132, 1, 58].map(isProtocol)).value)
  const number = (domain: Domain): number => Number(example(domain).value)
  return {
    family: o.family,
    protocol,
    src: src.label as Addr,
    dst: dst.label as Addr,
    dport: number(d.dport),
    ...(protocol === (o.family === 4 ? 1 : 58)
      ? { icmp: { type: number(d.type), code: number(d.code) } }
      : { sport: number(d.sport) }),
    iif: iif.label,
    ...(o.road !== 'input' && { oif: oif.label }),
    connection: CONNECTIONS[o.ctState] ?? 'established',
  }
}

/** `new tcp 10.0.0.1:0 → 10.0.0.2:80, cali1 to eth0`. */
export function printPacket(p: PlacedPacket): string {
  const port = (n: number | undefined): string => (hasPorts(p.protocol) ? ` port ${n}` : '')
  const icmp = p.icmp ? ` type ${p.icmp.type} code ${p.icmp.code}` : ''
  const words = [p.sport, p.dport].map(n => n ?? 0)
  const place =
    hasPorts(p.protocol) || words.every(n => n === 0) ? '' : ` with ${words.join(' and ')} in place of ports`
  const to = p.oif === undefined ? 'to this host' : `to ${p.oif}`
  const ends = `from ${p.src}${port(p.sport)} to ${p.dst}${port(p.dport)}`
  return `${p.connection} ${protocolName(p.protocol)}${icmp}${place} ${ends}, ${p.iif === '' ? 'this host' : p.iif} ${to}`
}

export const printHop = ({ chain, rule, verdict }: Hop): string => {
  const where = rule ? ` rule ${rule.model.index} (handle ${rule.model.handle})` : ''
  return `${chain.table} ${chain.name}${where}: ${verdict}`
}

export function printDifference(d: Difference): string {
  return [`${printPacket(d.packet)}: wanted ${d.wanted}, found ${d.found}`, ...d.path.map(hop => `  ${hop}`)].join('\n')
}
