// What registers hold while a rule is read: pieces of data, each from a known place (a constant, a field of the packet, the
// priority, a set's answer) with what was done to it since (cut, masked, byte-swapped). Data are big-endian numbers of
// the register's bytes, so that comparing numbers is comparing memory, as the kernel does.
import type { Prim } from './raw.ts'
import type { Dim } from './space.ts'

export type Among = { readonly from: number; readonly to: number }
export type StateName = 'priority' | 'mark'

export type Source =
  | { readonly at: 'const'; readonly value: Prim }
  | { readonly at: 'dim'; readonly dim: Dim }
  /** Bytes of the transport header, of which only ICMP's are not ports. */
  | { readonly at: 'transport'; readonly from: number }
  /** An interface's number: only 0 (none) and 1 (loopback) are known. */
  | { readonly at: 'index'; readonly dim: 'iif' | 'oif' }
  | { readonly at: 'state'; readonly name: StateName }
  | { readonly at: 'ct state' }
  /** Only what is known of a connection's first packet: whether its addresses were translated on the way. */
  | { readonly at: 'ct status' }
  /** What an earlier lookup of the same rule found. */
  | { readonly at: 'found'; readonly slot: number }
  /** `among`: one of these numbers, host byte order; which, nobody knows. */
  | { readonly at: 'opaque'; readonly what: string; readonly among?: Among }

export type Op =
  | { readonly op: 'cut'; readonly from: number; readonly size: number; readonly of: number }
  | { readonly op: 'mask'; readonly mask: Prim; readonly xor: Prim }
  | { readonly op: 'swap'; readonly unit: 2 | 4; readonly of: number }

/** `key` says the operations in words: equal sources with equal keys are equal. */
export type Piece = {
  readonly source: Source
  readonly size: number
  readonly ops: readonly Op[]
  readonly key: string
}

export const piece = (source: Source, size: number): Piece => ({ source, size, ops: [], key: '' })
export const constant = (value: Prim, size: number): Piece => piece({ at: 'const', value }, size)
export const opaque = (what: string, size: number): Piece => piece({ at: 'opaque', what }, size)

const ones = (size: number): bigint => (1n << BigInt(8 * size)) - 1n
/** The number in the form for its size. */
export const sized = (value: bigint, size: number): Prim => (size <= 4 ? Number(value) : value)

export const swap4 = (v: number): number =>
  (((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0
const swap2 = (v: number): number => ((v & 0xff) << 8) | ((v >>> 8) & 0xff)

export function applyOp(v: Prim, op: Op): Prim {
  switch (op.op) {
    case 'cut': {
      const shift = 8 * (op.of - op.from - op.size)
      return sized((BigInt(v) >> BigInt(shift)) & ones(op.size), op.size)
    }
    case 'mask':
      if (typeof v === 'number') return ((v & Number(op.mask)) ^ Number(op.xor)) >>> 0
      return (v & BigInt(op.mask)) ^ BigInt(op.xor)
    case 'swap': {
      const n = v as number
      if (op.unit === 4) return swap4(n)
      return op.of === 2 ? swap2(n) : ((swap2(n >>> 16) << 16) | swap2(n & 0xffff)) >>> 0
    }
  }
}

export const applyOps = (v: Prim, ops: readonly Op[]): Prim => ops.reduce(applyOp, v)

const opKey = (op: Op): string =>
  op.op === 'cut'
    ? `[${op.from}+${op.size}]`
    : op.op === 'mask'
      ? `&${op.mask.toString(16)}^${op.xor.toString(16)}`
      : `~${op.unit}`

/** A piece with one more operation; constants are computed at once. */
export function withOp(p: Piece, op: Op): Piece {
  const size = op.op === 'cut' ? op.size : p.size
  if (op.op === 'cut' && op.from === 0 && op.size === op.of) return p
  if (p.source.at === 'const') return constant(applyOp(p.source.value, op), size)
  if (p.source.at === 'transport' && op.op === 'cut')
    return piece({ at: 'transport', from: p.source.from + op.from }, size)
  return { ...p, size, ops: [...p.ops, op], key: p.key + opKey(op) }
}

/** Bytes of dimensions of more than one: the questions to them must be turned into ranges beforehand. */
const WIDTH: Readonly<Partial<Record<Dim, (v6: boolean) => number>>> = {
  iif: () => 16,
  oif: () => 16,
  src: v6 => (v6 ? 16 : 4),
  dst: v6 => (v6 ? 16 : 4),
  sport: () => 2,
  dport: () => 2,
}
export const widthOf = (dim: Dim, family: 4 | 6): number => WIDTH[dim]?.(family === 6) ?? 1

/** The values of a dimension whose piece lies between two answers; undefined when those are no single range. */
export function rangeOf(
  p: Piece,
  dim: Dim,
  family: 4 | 6,
  answers: { from: Prim; to: Prim },
): [Prim, Prim] | undefined {
  const width = widthOf(dim, family)
  const [op, more] = p.ops
  let [low, high] = [BigInt(answers.from), BigInt(answers.to)]
  if (more) return undefined
  if (op?.op === 'swap') return undefined
  if (op?.op === 'cut') {
    if (op.from !== 0) return undefined
    const shift = BigInt(8 * (width - op.size))
    low <<= shift
    high = (high << shift) | ((1n << shift) - 1n)
  }
  if (op?.op === 'mask') {
    const rest = ones(width) ^ BigInt(op.mask)
    if (BigInt(op.xor) !== 0n || (rest & (rest + 1n)) !== 0n) return undefined
    if ((low & rest) !== 0n) low = (low | rest) + 1n
    high |= rest
  }
  return [sized(low, width), sized(high, width)]
}

/** Whether every question to this piece can be turned into ranges of the dimension. */
export const isInvertible = (p: Piece, dim: Dim, family: 4 | 6): boolean =>
  widthOf(dim, family) === 1 || rangeOf(p, dim, family, { from: 0, to: 0 }) !== undefined
