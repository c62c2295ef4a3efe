// The types of data in keys and values: nft's number and length of each, and its bytes. Network-order types look the same
// everywhere; host-order ones (mark, classid, index, states) are big-endian inside interval sets, because the kernel's
// trees compare bytes (a rule that looks them up converts first, see fields.ts).

import { DecodeError, fromUtf8, type Reader, utf8, type Writer } from '../netlink/bytes.ts'
import { putAddress, takeAddress } from './address-bytes.ts'
import { EncodeError } from './encode-error.ts'
import type { DataType, Scalar } from './objects.ts'

/** DataType, and the types that only rules have. */
export type ValueType = Exclude<DataType, 'verdict'> | 'ifindex' | 'nfproto' | 'ct_state' | 'fib_addrtype'

type Kind = 'address' | 'name' | 'number'
export type TypeInfo = {
  /** nft's TYPE_* (its datatype.h). */
  readonly code: number
  readonly size: number
  readonly kind: Kind
  readonly order: 'network' | 'host'
}

const number = (code: number, size: number, order: TypeInfo['order']): TypeInfo => ({
  code,
  size,
  kind: 'number',
  order,
})

export const TYPES: Readonly<Record<ValueType, TypeInfo>> = {
  nfproto: number(2, 1, 'host'),
  ipv4_addr: { code: 7, size: 4, kind: 'address', order: 'network' },
  ipv6_addr: { code: 8, size: 16, kind: 'address', order: 'network' },
  inet_proto: number(12, 1, 'network'),
  inet_service: number(13, 2, 'network'),
  icmp_type: number(14, 1, 'network'),
  mark: number(19, 4, 'host'),
  ifindex: number(20, 4, 'host'),
  classid: number(23, 4, 'host'),
  ct_state: number(26, 4, 'host'),
  icmpv6_type: number(29, 1, 'network'),
  icmp_code: number(32, 1, 'network'),
  icmpv6_code: number(33, 1, 'network'),
  fib_addrtype: number(38, 4, 'host'),
  ifname: { code: 41, size: 16, kind: 'name', order: 'host' },
}

const BY_CODE = new Map((Object.keys(TYPES) as ValueType[]).map(name => [TYPES[name].code, name]))
export const typeByCode = (code: number): ValueType | undefined => BY_CODE.get(code)

/** NFT_DATA_VERDICT, as the type of a map's values. */
export const VERDICT_CODE = 0xffffff00

/** nft's number for a key: a concatenation has six bits for each of its types. */
export const keyCode = (key: readonly ValueType[]): number =>
  key.reduce((code, type) => code * 64 + TYPES[type].code, 0)

/** The types of a key's number, first first; undefined for a type that is not ours. */
export function keyTypes(code: number): ValueType[] | undefined {
  const types: ValueType[] = []
  for (let rest = code; rest > 0; rest = Math.floor(rest / 64)) {
    const type = BY_CODE.get(rest % 64)
    if (type === undefined) return undefined
    types.unshift(type)
  }
  return types.length > 0 ? types : undefined
}

/** Bytes of a key; every part of a concatenation fills whole words. */
export function keyLength(key: readonly ValueType[]): number {
  if (key.length === 1) return TYPES[key[0]!].size
  return key.reduce((sum, type) => sum + ((TYPES[type].size + 3) & ~3), 0)
}

/** Writes one datum in its size. `bigEndian` turns the host-order types round (interval sets). */
export function putScalar(w: Writer, type: ValueType, value: Scalar, bigEndian = false): void {
  const { size, kind, order } = TYPES[type]
  if (kind === 'address') {
    if (typeof value !== 'string' || !putAddress(w, value, size)) throw new EncodeError(`no ${type}: ${value}`)
    return
  }
  if (kind === 'name') {
    putName(w, value)
    return
  }
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size))
    throw new EncodeError(`no ${type}: ${value}`)
  if (size === 1) w.u8(value)
  else if (size === 2) w.be16(value)
  else if (order === 'network' || bigEndian) w.be32(value)
  else w.u32(value)
}

function putName(w: Writer, value: Scalar): void {
  const bytes = utf8(String(value))
  // A star at the end would look like a wildcard, which only a comparison can have.
  if (bytes.length === 0 || bytes.length > 15 || bytes.includes(0) || bytes.at(-1) === 42)
    throw new EncodeError(`no interface name: ${value}`)
  w.put(bytes)
  w.reserve(16 - bytes.length)
}

/** The inverse of `putScalar`. */
export function takeScalar(r: Reader, type: ValueType, bigEndian = false): Scalar {
  const { size, kind, order } = TYPES[type]
  if (kind === 'address') return takeAddress(r, size)
  if (kind === 'name') return takeName(r)
  if (size === 1) return r.u8()
  if (size === 2) return r.be16()
  return order === 'network' || bigEndian ? r.be32() : r.u32()
}

function takeName(r: Reader): string {
  const at = r.at
  const bytes = r.slice(16)
  const zero = bytes.indexOf(0)
  const length = zero < 0 ? 16 : zero
  if (length === 0 || bytes.subarray(length).some(b => b !== 0)) throw new DecodeError('no interface name', at)
  return fromUtf8(bytes.subarray(0, length), at)
}
