// A logged packet as the kernel's own log has it (net/netfilter/nf_log_syslog.c), field by field, so that what reads the
// one reads the other. Total: a packet that is cut short or senseless has a line too, which says INCOMPLETE.
import { be32At } from './bytes.ts'

export type LogLine = {
  readonly prefix: string
  /** Names of the interfaces; empty for none. */
  readonly in: string
  readonly out: string
  readonly mark: number
  readonly linkHeader: Uint8Array
  readonly payload: Uint8Array
}

export function printLogLine({ prefix, in: iif, out, mark, linkHeader, payload }: LogLine): string {
  const marked = mark === 0 ? [] : [`MARK=0x${mark.toString(16)}`]
  const mac = iif === '' ? [] : [`MAC=${hexBytes(linkHeader).join(':')}`]
  const version = (payload[0] ?? 0) >>> 4
  const packet = version === 6 ? ipv6(payload) : ipv4(payload)
  return `${prefix}${[`IN=${iif}`, `OUT=${out}`, ...mac, ...packet, ...marked].join(' ')}`
}

const hexBytes = (bytes: Uint8Array): string[] => Array.from(bytes, b => b.toString(16).padStart(2, '0'))
const be16At = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
const hex2 = (n: number): string => `0x${n.toString(16).toUpperCase().padStart(2, '0')}`
const incomplete = (left: number): string => `INCOMPLETE [${Math.max(left, 0)} bytes]`

const IP = 20
const FLAGS = [
  [0x8000, 'CE'],
  [0x4000, 'DF'],
  [0x2000, 'MF'],
] as const
const FRAGMENT = 0x1fff

function ipv4(b: Uint8Array): string[] {
  if (b.length < IP) return [incomplete(b.length)]
  const [tos, flags] = [b[1]!, be16At(b, 6)]
  const offset = flags & FRAGMENT
  const words = [
    `SRC=${b.subarray(12, 16).join('.')}`,
    `DST=${b.subarray(16, 20).join('.')}`,
    `LEN=${be16At(b, 2)}`,
    `TOS=${hex2(tos & 0x1e)}`,
    `PREC=${hex2(tos & 0xe0)}`,
    `TTL=${b[8]}`,
    `ID=${be16At(b, 4)}`,
    ...FLAGS.filter(([bit]) => flags & bit).map(([, name]) => name),
    ...(offset === 0 ? [] : [`FRAG:${offset}`]),
  ]
  return [...words, ...transport(b[9]!, b.subarray((b[0]! & 15) * 4), offset > 0)]
}

const IP6 = 40
const HOP_BY_HOP = 0
const ROUTING = 43
const FRAGMENT_HEADER = 44
const DESTINATION = 60

function ipv6(b: Uint8Array): string[] {
  if (b.length < IP6) return [incomplete(b.length)]
  const first = be32At(b, 0)
  const words = [
    `SRC=${groups(b.subarray(8, 24))}`,
    `DST=${groups(b.subarray(24, 40))}`,
    `LEN=${be16At(b, 4) + IP6}`,
    `TC=${(first >>> 20) & 0xff}`,
    `HOPLIMIT=${b[7]}`,
    `FLOWLBL=${first & 0xfffff}`,
  ]
  let protocol = b[6]!
  let isFragment = false
  let at = IP6
  while ([HOP_BY_HOP, ROUTING, FRAGMENT_HEADER, DESTINATION].includes(protocol)) {
    if (b.length < at + 8) return [...words, incomplete(b.length - at)]
    if (protocol === FRAGMENT_HEADER) {
      const place = be16At(b, at + 2)
      isFragment = place >= 8
      words.push(
        `FRAG:${place & 0xfff8}`,
        ...(place & 1 ? ['INCOMPLETE'] : []),
        `ID:${hexBytes(b.subarray(at + 4, at + 8)).join('')}`,
      )
    }
    const length = protocol === FRAGMENT_HEADER ? 8 : (b[at + 1]! + 1) * 8
    protocol = b[at]!
    at += length
    // What follows is no header of the protocol.
    if (isFragment) break
  }
  return [...words, ...transport(protocol, b.subarray(at), isFragment)]
}

/** All digits, as the kernel's %pI6 has them. */
const groups = (b: Uint8Array): string =>
  Array.from({ length: 8 }, (_, i) =>
    be16At(b, 2 * i)
      .toString(16)
      .padStart(4, '0'),
  ).join(':')

const TCP_FLAGS = [
  [0x80, 'CWR'],
  [0x40, 'ECE'],
  [0x20, 'URG'],
  [0x10, 'ACK'],
  [0x08, 'PSH'],
  [0x04, 'RST'],
  [0x02, 'SYN'],
  [0x01, 'FIN'],
] as const

const portsOf = (b: Uint8Array): string[] => [`SPT=${be16At(b, 0)}`, `DPT=${be16At(b, 2)}`]
const echo = (b: Uint8Array): string[] => [`ID=${be16At(b, 4)}`, `SEQ=${be16At(b, 6)}`]
const icmp =
  (echoes: readonly number[]) =>
  (b: Uint8Array): string[] => [`TYPE=${b[0]}`, `CODE=${b[1]}`, ...(echoes.includes(b[0]!) ? echo(b) : [])]

type Header = { readonly name: string; readonly bytes: number; readonly print: (b: Uint8Array) => string[] }
const udp = (name: string): Header => ({
  name,
  bytes: 8,
  print: b => [...portsOf(b), `LEN=${be16At(b, 4)}`],
})
const HEADERS: Readonly<Record<number, Header>> = {
  1: { name: 'ICMP', bytes: 8, print: icmp([0, 8]) },
  6: {
    name: 'TCP',
    bytes: 20,
    print: b => [
      ...portsOf(b),
      `WINDOW=${be16At(b, 14)}`,
      `RES=0x${((b[12]! & 15) << 2).toString(16).padStart(2, '0')}`,
      ...TCP_FLAGS.filter(([bit]) => b[13]! & bit).map(([, name]) => name),
      `URGP=${be16At(b, 18)}`,
    ],
  },
  17: udp('UDP'),
  58: { name: 'ICMPv6', bytes: 8, print: icmp([128, 129]) },
  136: udp('UDPLITE'),
}

function transport(protocol: number, b: Uint8Array, isFragment: boolean): string[] {
  const header = HEADERS[protocol]
  if (!header) return [`PROTO=${protocol}`]
  const name = `PROTO=${header.name}`
  if (isFragment) return [name]
  return b.length < header.bytes ? [name, incomplete(b.length)] : [name, ...header.print(b)]
}
