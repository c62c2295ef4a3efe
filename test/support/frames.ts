// Ethernet frames of new flows: IPv4 with UDP or a TCP SYN, and a payload that tells what was sent. Only the source port
// and the payload change from packet to packet, and neither is under a checksum: UDP over IPv4 may have none, and where TCP
// is sent the namespace's nf_conntrack_checksum must be off.
import type { Addr } from '../../src/core/net/addr.ts'
import { toBytes } from '../../src/core/net/addr.ts'

export const TCP = 6
export const UDP = 17
const ETHERNET = 14
const IP = 20
const SYN = 2
const ACK = 16

export type FrameSpec = {
  readonly dstMac: string
  readonly srcMac: string
  readonly src: Addr
  readonly dst: Addr
  readonly protocol: typeof TCP | typeof UDP
  readonly sport?: number
  readonly dport: number
  /** Of TCP: the answer to a SYN instead of a SYN. */
  readonly answer?: boolean
}

const PAYLOAD_BYTES = 8
/** Offset of the source port in a frame. */
export const SPORT_AT = ETHERNET + IP
/** Offset of the payload, by protocol. */
export const PAYLOAD_AT = { [UDP]: SPORT_AT + 8, [TCP]: SPORT_AT + 20 } as const

export const macBytes = (mac: string): number[] => mac.split(':').map(part => Number.parseInt(part, 16))

/** The Internet checksum (RFC 1071) of an even number of bytes. */
export function checksum(view: DataView, at: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i += 2) sum += view.getUint16(at + i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

export function frame(spec: FrameSpec): Uint8Array {
  const payload = PAYLOAD_AT[spec.protocol]
  const bytes = new Uint8Array(payload + PAYLOAD_BYTES)
  const view = new DataView(bytes.buffer)
  bytes.set(macBytes(spec.dstMac), 0)
  bytes.set(macBytes(spec.srcMac), 6)
  view.setUint16(12, 0x0800)
  bytes[ETHERNET] = 0x45
  view.setUint16(ETHERNET + 2, bytes.length - ETHERNET)
  view.setUint16(ETHERNET + 6, 0x4000) // don't fragment
  bytes[ETHERNET + 8] = 64
  bytes[ETHERNET + 9] = spec.protocol
  bytes.set(toBytes(spec.src), ETHERNET + 12)
  bytes.set(toBytes(spec.dst), ETHERNET + 16)
  view.setUint16(ETHERNET + 10, checksum(view, ETHERNET, IP))
  view.setUint16(SPORT_AT, spec.sport ?? 1)
  view.setUint16(SPORT_AT + 2, spec.dport)
  if (spec.protocol === UDP) view.setUint16(SPORT_AT + 4, bytes.length - SPORT_AT)
  else {
    view.setUint32(SPORT_AT + 4, 1000) // sequence number
    view.setUint32(SPORT_AT + 8, spec.answer ? 1001 : 0)
    bytes[SPORT_AT + 12] = 5 << 4
    bytes[SPORT_AT + 13] = spec.answer ? SYN | ACK : SYN
    view.setUint16(SPORT_AT + 14, 65535)
  }
  return bytes
}
