// The same as frames.ts over IPv6, where everything after the IP header lies 20 bytes further on. The checksums are wrong on
// purpose: the namespaces that forward do not look (nf_conntrack_checksum is off), and the pod that gets such a packet
// throws it away once the packet sockets have seen it, instead of answering.
import { toBytes } from '../../src/core/net/addr.ts'
import { type FrameSpec, frame, UDP } from './frames.ts'

const ETHERNET = 14
const IP4 = 20
const IP6 = 40
const LONGER = IP6 - IP4
const WRONG = 0x1234

/** A frame of either family that no receiver answers. */
export function unanswered(spec: FrameSpec): Uint8Array {
  const six = spec.src.includes(':')
  // Addresses of IPv4 stand in until the header is replaced.
  const bytes = six ? widened(spec) : frame(spec)
  const transport = ETHERNET + (six ? IP6 : IP4)
  const checksum = transport + (spec.protocol === UDP ? 6 : 16)
  new DataView(bytes.buffer).setUint16(checksum, WRONG)
  return bytes
}

function widened(spec: FrameSpec): Uint8Array {
  const { src, dst } = spec
  const none = '0.0.0.0' as typeof src
  const narrow = frame({ ...spec, src: none, dst: none })
  const bytes = new Uint8Array(narrow.length + LONGER)
  bytes.set(narrow.subarray(0, ETHERNET))
  bytes.set(narrow.subarray(ETHERNET + IP4), ETHERNET + IP6)
  const view = new DataView(bytes.buffer)
  view.setUint16(12, 0x86dd)
  view.setUint32(ETHERNET, 6 << 28)
  view.setUint16(ETHERNET + 4, bytes.length - ETHERNET - IP6)
  view.setUint8(ETHERNET + 6, spec.protocol)
  view.setUint8(ETHERNET + 7, 64)
  bytes.set(toBytes(src), ETHERNET + 8)
  bytes.set(toBytes(dst), ETHERNET + 24)
  return bytes
}

/** How much further on than over IPv4 a field after the IP header is. */
export const further = (family: 4 | 6): number => (family === 6 ? LONGER : 0)
