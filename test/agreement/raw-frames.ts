// Ethernet frames of any protocol and either family, whole, in fragments or too short, for the fourth judge. The last eight
// bytes of the last frame tell which flow it was. Transport checksums are wrong or none: the lab's node does not look.
import { toBytes } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { checksum, macBytes } from '../support/frames.ts'
import { type Flow, icmpOf } from './flow.ts'

export const ETHERNET = 14
const MAC_BYTES = 6
const MORE_FRAGMENTS = 0x2000
const FRAGMENT_HEADER = 44
const MAGIC = 0x47494e47
const MARK_BYTES = 8
/**
 * Where a datagram is cut in two: over IPv4 within the header of TCP, over IPv6 behind it, because there the kernel throws a
 * first fragment away that has not all of its headers (RFC 8200, 4.5).
 */
const CUT = { 4: 16, 6: 24 } as const
/** Of a header that is too short for its protocol. */
const SHORT = 2

/** What a protocol's header holds besides ports, by offset; SCTP's is one INIT chunk, of which our mark is a parameter. */
type Header = {
  readonly size: number
  readonly fields: readonly (readonly [at: number, size: 1 | 2 | 4, value: number])[]
}
const HEADERS: Readonly<Record<number, Header>> = {
  6: {
    size: 20,
    fields: [
      [4, 4, 1000],
      [12, 1, 5 << 4],
      [13, 1, 2],
      [14, 2, 65535],
    ],
  },
  17: { size: 8, fields: [[4, 2, 8 + 16 + MARK_BYTES]] },
  132: {
    size: 32,
    fields: [
      [12, 1, 1],
      [14, 2, 20 + 16 + MARK_BYTES],
      [16, 4, 77],
      [20, 4, 65535],
      [24, 2, 1],
      [26, 2, 1],
    ],
  },
  136: {
    size: 8,
    fields: [
      [0, 2, 7],
      [2, 2, 7],
      [4, 2, 8],
      [6, 2, 0x1234],
    ],
  },
}
const OTHER: Header = { size: 8, fields: [] }

/** The transport header and what follows; `id` tells ICMP's connections apart, and is the mark. */
function datagram(packet: Packet, id: number): Uint8Array {
  const { protocol, sport, dport } = packet
  const header = HEADERS[protocol] ?? OTHER
  const bytes = new Uint8Array(header.size + 16 + MARK_BYTES)
  const view = new DataView(bytes.buffer)
  for (const [at, size, value] of header.fields) {
    if (size === 1) view.setUint8(at, value)
    else if (size === 2) view.setUint16(at, value)
    else view.setUint32(at, value)
  }
  if (sport !== undefined) view.setUint16(0, sport)
  if (dport !== undefined) view.setUint16(2, dport)
  if (protocol === 1 || protocol === 58) {
    const { type, code } = icmpOf(packet)
    view.setUint8(0, type)
    view.setUint8(1, code)
    view.setUint16(4, id & 0xffff)
  }
  view.setUint32(bytes.length - 8, MAGIC)
  view.setUint32(bytes.length - 4, id)
  return bytes
}

type Sent = Pick<Flow, 'packet' | 'shape'>
export type Link = { readonly dstMac: string; readonly srcMac: string }
type Piece = { readonly bytes: Uint8Array; readonly at: number; readonly more: boolean }

function wrapped({ packet, shape }: Sent, piece: Piece, { link, id }: { link: Link; id: number }): Uint8Array {
  const six = packet.family === 6
  const isFragment = shape === 'fragments'
  const extra = six && isFragment ? 8 : 0
  const header = (six ? 40 : 20) + extra
  const bytes = new Uint8Array(ETHERNET + header + piece.bytes.length)
  const view = new DataView(bytes.buffer)
  bytes.set(macBytes(link.dstMac), 0)
  bytes.set(macBytes(link.srcMac), MAC_BYTES)
  view.setUint16(12, six ? 0x86dd : 0x0800)
  bytes.set(piece.bytes, ETHERNET + header)
  if (six) {
    view.setUint8(ETHERNET, 6 << 4)
    view.setUint16(ETHERNET + 4, bytes.length - ETHERNET - 40)
    view.setUint8(ETHERNET + 6, isFragment ? FRAGMENT_HEADER : packet.protocol)
    view.setUint8(ETHERNET + 7, 64)
    bytes.set(toBytes(packet.src), ETHERNET + 8)
    bytes.set(toBytes(packet.dst), ETHERNET + 24)
    if (isFragment) {
      view.setUint8(ETHERNET + 40, packet.protocol)
      view.setUint16(ETHERNET + 42, piece.at | (piece.more ? 1 : 0))
      view.setUint32(ETHERNET + 44, id)
    }
    return bytes
  }
  view.setUint8(ETHERNET, 0x45)
  view.setUint16(ETHERNET + 2, bytes.length - ETHERNET)
  view.setUint16(ETHERNET + 4, id & 0xffff)
  view.setUint16(ETHERNET + 6, (piece.at >> 3) | (piece.more ? MORE_FRAGMENTS : 0))
  view.setUint8(ETHERNET + 8, 64)
  view.setUint8(ETHERNET + 9, packet.protocol)
  bytes.set(toBytes(packet.src), ETHERNET + 12)
  bytes.set(toBytes(packet.dst), ETHERNET + 16)
  view.setUint16(ETHERNET + 10, checksum(view, ETHERNET, 20))
  return bytes
}

/** The frames of a flow, to be sent in this order. */
export function framesOf(flow: Sent, id: number, link: Link): Uint8Array[] {
  const whole = datagram(flow.packet, id)
  const frame = (piece: Piece): Uint8Array => wrapped(flow, piece, { link, id })
  if (flow.shape === 'short') return [frame({ bytes: whole.subarray(0, SHORT), at: 0, more: false })]
  if (flow.shape === 'whole') return [frame({ bytes: whole, at: 0, more: false })]
  const cut = CUT[flow.packet.family]
  return [
    frame({ bytes: whole.subarray(0, cut), at: 0, more: true }),
    frame({ bytes: whole.subarray(cut), at: cut, more: false }),
  ]
}

/** The flow that a frame belongs to; undefined for one that is not ours, or the first of several. */
export function idOf(frame: Uint8Array): number | undefined {
  if (frame.length < ETHERNET + MARK_BYTES) return undefined
  const view = new DataView(frame.buffer, frame.byteOffset + frame.length - MARK_BYTES)
  return view.getUint32(0) === MAGIC ? view.getUint32(4) : undefined
}
