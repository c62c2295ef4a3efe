// What a packet can be asked for: the type of each field, how it is loaded into a register, and which protocol must be
// known first. nft puts the questions `meta nfproto` and `meta l4proto` before a field that needs them, and so do we.
import type { Field } from './objects.ts'
import type { ValueType } from './types.ts'

/** NFT_PAYLOAD_* bases. */
export const NETWORK = 1
export const TRANSPORT = 2

export type Load =
  | { readonly name: 'meta'; readonly key: number }
  | { readonly name: 'ct'; readonly key: number }
  | { readonly name: 'fib'; readonly result: number; readonly flags: number }
  | { readonly name: 'payload'; readonly base: number; readonly offset: number; readonly length: number }

export type FieldInfo = {
  readonly type: ValueType
  readonly load: Load
  /** The nfproto (2 or 10) and the protocol that the field's header belongs to. */
  readonly nfproto?: number
  readonly l4proto?: number
}

const meta = (type: ValueType, key: number): FieldInfo => ({ type, load: { name: 'meta', key } })
const payload = (base: number, offset: number, length: number): Load => ({ name: 'payload', base, offset, length })
const ip = (type: ValueType, offset: number): FieldInfo => ({ type, load: payload(NETWORK, offset, 4), nfproto: 2 })
const ip6 = (type: ValueType, offset: number): FieldInfo => ({ type, load: payload(NETWORK, offset, 16), nfproto: 10 })
const icmp = (type: ValueType, offset: number): FieldInfo => ({
  type,
  load: payload(TRANSPORT, offset, 1),
  nfproto: 2,
  l4proto: 1,
})
const icmp6 = (type: ValueType, offset: number): FieldInfo => ({
  type,
  load: payload(TRANSPORT, offset, 1),
  nfproto: 10,
  l4proto: 58,
})
const port = (offset: number): FieldInfo => ({ type: 'inet_service', load: payload(TRANSPORT, offset, 2) })

/** Numbers from linux/netfilter/nf_tables.h. */
export const FIELDS: Readonly<Record<Field, FieldInfo>> = {
  'meta priority': meta('classid', 2),
  'meta mark': meta('mark', 3),
  iif: meta('ifindex', 4),
  oif: meta('ifindex', 5),
  iifname: meta('ifname', 6),
  oifname: meta('ifname', 7),
  'meta nfproto': meta('nfproto', 15),
  'meta l4proto': meta('inet_proto', 16),
  'ip saddr': ip('ipv4_addr', 12),
  'ip daddr': ip('ipv4_addr', 16),
  'ip6 saddr': ip6('ipv6_addr', 8),
  'ip6 daddr': ip6('ipv6_addr', 24),
  'th sport': port(0),
  'th dport': port(2),
  'icmp type': icmp('icmp_type', 0),
  'icmp code': icmp('icmp_code', 1),
  'icmpv6 type': icmp6('icmpv6_type', 0),
  'icmpv6 code': icmp6('icmpv6_code', 1),
  'ct state': { type: 'ct_state', load: { name: 'ct', key: 0 } },
  'fib daddr type': { type: 'fib_addrtype', load: { name: 'fib', result: 3, flags: 2 } },
}

const NAMES = Object.keys(FIELDS) as Field[]

/** The fields that a load may stand for; those of a header that is known not to be there are left out. */
export function fieldsOf(
  load: Load,
  known: { readonly nfproto?: number | undefined; readonly l4proto?: number | undefined },
): Field[] {
  return NAMES.filter(name => {
    const field = FIELDS[name]
    if (
      field.l4proto !== undefined
        ? known.l4proto !== field.l4proto
        : field.nfproto !== undefined && known.nfproto !== field.nfproto
    )
      return false
    return sameLoad(field.load, load)
  })
}

function sameLoad(a: Load, b: Load): boolean {
  const [x, y]: Readonly<Record<string, unknown>>[] = [a, b]
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every(key => x![key] === y![key])
}

/**
 * The byteorder expression that nft puts after a load whose value is compared in big-endian: [length, size]. In a
 * concatenation it also converts one-byte host values, by words of two, which changes nothing; we write what it writes.
 */
export function conversion(name: Field, inConcatenation: boolean): readonly [length: number, size: number] | undefined {
  if (['meta priority', 'meta mark', 'iif', 'oif', 'ct state', 'fib daddr type'].includes(name)) return [4, 4]
  return inConcatenation && (name === 'meta l4proto' || name === 'meta nfproto') ? [1, 2] : undefined
}
