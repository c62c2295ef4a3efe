// Tracked connections as ctnetlink tells them (linux/netfilter/nfnetlink_conntrack.h): what a packet of the connection
// looks like in each direction, and the number that tells an entry from a later one of the same tuple.
import { type Addr, type Family, familyOf } from '../net/addr.ts'
import { type AttributeTable, attributes, be16, be32, u8, type Values } from './attributes.ts'
import { DecodeError, type Reader, type Writer } from './bytes.ts'
import { putGenHeader, takeGenHeader } from './nfgenmsg.ts'
import { address, afOf } from './rtnetlink.ts'

const SUBSYSTEM = 1 << 8
/** Message types, with the subsystem's number as headers have it. */
export const CT = { NEW: SUBSYSTEM, GET: SUBSYSTEM | 1, DELETE: SUBSYSTEM | 2 } as const

/** Ports and ICMP's fields, by protocol; the kernel sends those that the protocol has, and wants them back. */
const PROTOCOL = {
  number: [1, u8],
  sport: [2, be16],
  dport: [3, be16],
  icmpId: [4, be16],
  icmpType: [5, u8],
  icmpCode: [6, u8],
  icmp6Id: [7, be16],
  icmp6Type: [8, u8],
  icmp6Code: [9, u8],
} as const satisfies AttributeTable
const IP = attributes({ src4: [1, address], dst4: [2, address], src6: [3, address], dst6: [4, address] })
const TUPLE = attributes({ ip: [1, IP], protocol: [2, attributes(PROTOCOL)], zone: [3, be16] })
const ENTRY = attributes({
  original: [1, TUPLE],
  reply: [2, TUPLE],
  id: [12, be32],
  zone: [18, be16],
})

export type Tuple = {
  readonly src: Addr
  readonly dst: Addr
  readonly protocol: Values<typeof PROTOCOL>
  readonly zone?: number | undefined
}

export type Connection = {
  /** As the first packet was before, and as answers are after, all translation of addresses. */
  readonly original: Tuple
  readonly reply: Tuple
  readonly id: number
  readonly zone?: number | undefined
}

/** Whether one of the addresses is at either end; translation of addresses may show it in one direction only. */
export const involves = ({ original, reply }: Connection, addresses: ReadonlySet<Addr>): boolean =>
  [original.src, original.dst, reply.src, reply.dst].some(address => addresses.has(address))

const AF_UNSPEC = 0

/** Body of CT.GET with DUMP: all connections of a family, or of both. */
export const encodeGetConnections = (w: Writer, family?: Family): void =>
  putGenHeader(w, family === undefined ? AF_UNSPEC : afOf(family))

/** Body of CT.DELETE: this entry, and no later one of the same tuple. */
export function encodeDeleteConnection(w: Writer, { original, id, zone }: Connection): void {
  const { src, dst, protocol, zone: tupleZone } = original
  const family = familyOf(src)
  putGenHeader(w, afOf(family))
  const ip = { [`src${family}`]: src, [`dst${family}`]: dst }
  ENTRY.encode(w, { original: { ip, protocol, zone: tupleZone }, id, zone })
}

/** Body of a CT.NEW message; throws a DecodeError if it is no whole connection. */
export function decodeConnection(r: Reader): Connection {
  const at = r.at
  takeGenHeader(r)
  const { original, reply, id, zone } = ENTRY.decode(r)
  if (id === undefined) throw new DecodeError('a connection without a number', at)
  return { original: tuple(original, at), reply: tuple(reply, at), id, zone }
}

function tuple(values: ReturnType<typeof TUPLE.decode> | undefined, at: number): Tuple {
  const { ip, protocol, zone } = values ?? {}
  const [src, dst] = [ip?.src4 ?? ip?.src6, ip?.dst4 ?? ip?.dst6]
  if (src === undefined || dst === undefined || protocol === undefined)
    throw new DecodeError('a connection without addresses', at)
  return { src, dst, protocol, zone }
}
