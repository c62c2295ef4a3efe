// Elements of sets as bytes. A set of ranges with one key is a tree of starts and ends (each interval its own end, none at
// the top of the space); with several keys it is a pipapo, whose elements have two keys. Everything else is a hash.
// Writing goes straight into one buffer: ten thousand elements are a few milliseconds.

import { Writer } from '../netlink/bytes.ts'
import { EncodeError } from './encode-error.ts'
import { dataCodec } from './expressions.ts'
import type { Element, KeyPart, Scalar } from './objects.ts'
import { putScalar, TYPES, type ValueType } from './types.ts'
import { elementData } from './userdata.ts'
import { encodeVerdict } from './verdict.ts'

/** What the bytes of a set's elements depend on. */
export type Shape = {
  readonly key: readonly ValueType[]
  readonly value?: ValueType | 'verdict' | undefined
  readonly interval?: boolean | undefined
}

const NESTED = 0x8000
export const INTERVAL_END = 1
export const CATCH_ALL = 2

export const isTree = (shape: Shape): boolean => shape.interval === true && shape.key.length === 1
export const isPipapo = (shape: Shape): boolean => shape.interval === true && shape.key.length > 1

export const isRange = (part: KeyPart): part is { readonly from: Scalar; readonly to: Scalar } =>
  typeof part === 'object'
const lowest = (part: KeyPart): Scalar => (isRange(part) ? part.from : part)
const highest = (part: KeyPart): Scalar => (isRange(part) ? part.to : part)

function putKey(w: Writer, shape: Shape, parts: readonly KeyPart[], pick: (part: KeyPart) => Scalar): void {
  if (parts.length !== shape.key.length)
    throw new EncodeError(`a key of ${parts.length} parts, not ${shape.key.length}`)
  const start = w.length
  for (let i = 0; i < parts.length; i++) {
    const type = shape.key[i]!
    putScalar(w, type, pick(parts[i]!), shape.interval)
    // Not Writer.pad: the words of a key count from its own start.
    if (parts.length > 1) w.reserve(-(w.length - start) & 3)
  }
}

/** The bytes of a scalar, for comparisons in the kernel's order. */
export function scalarBytes(type: ValueType, value: Scalar, bigEndian = false): Uint8Array {
  const w = new Writer(16)
  putScalar(w, type, value, bigEndian)
  return w.result()
}

/** Turns the key just written, which begins at `at`, into the one after it; false at the top of the space. */
function increment(w: Writer, at: number): boolean {
  for (let i = w.length - 1; i >= at; i--) {
    const byte = (w.bytes[i]! + 1) & 255
    w.bytes[i] = byte
    if (byte !== 0) return true
  }
  return false
}

function putValue(w: Writer, shape: Shape, value: Element['value']): void {
  if (shape.value === undefined) return
  if (value === undefined) throw new EncodeError('an element of a map without a value')
  const at = w.begin(2 | NESTED)
  if (shape.value === 'verdict') {
    if (typeof value !== 'object') throw new EncodeError(`no verdict: ${value}`)
    dataCodec.encode(w, { verdict: encodeVerdict(value) })
  } else {
    if (typeof value === 'object') throw new EncodeError('a verdict in a map of data')
    const inner = w.begin(1)
    putScalar(w, shape.value, value)
    w.end(inner)
  }
  w.end(at)
}

function putFlags(w: Writer, flags: number): void {
  const at = w.begin(3)
  w.be32(flags)
  w.end(at)
}

function putKeyAttribute(
  w: Writer,
  type: number,
  shape: Shape,
  key: readonly KeyPart[],
  pick: (part: KeyPart) => Scalar,
): number {
  const at = w.begin(type | NESTED)
  const inner = w.begin(1)
  const start = w.length
  putKey(w, shape, key, pick)
  w.end(inner)
  w.end(at)
  return start
}

/** Appends one element: one entry of NFTA_SET_ELEM_LIST_ELEMENTS, or two for an interval of a tree. */
export function putElement(w: Writer, shape: Shape, element: Element): void {
  const { key, value, comment } = element
  const entry = w.begin(1 | NESTED)
  let end: 'none' | 'open' | 'closed' = 'none'
  if (key === '*') putFlags(w, CATCH_ALL)
  else {
    checkRanges(shape, key)
    const low = putKeyAttribute(w, 1, shape, key, lowest)
    if (isPipapo(shape)) checkOrder(shape, w, low, w, putKeyAttribute(w, 10, shape, key, highest))
    else if (isTree(shape)) end = writeEnd(shape, key, w, low)
  }
  putValue(w, shape, value)
  const data = elementData(comment, end === 'open')
  if (data !== undefined) {
    const at = w.begin(6)
    w.put(data)
    w.end(at)
  }
  w.end(entry)
  if (end !== 'closed') return
  const closing = w.begin(1 | NESTED)
  const outer = w.begin(1 | NESTED)
  const inner = w.begin(1)
  w.put(scratch.result())
  w.end(inner)
  w.end(outer)
  putFlags(w, INTERVAL_END)
  w.end(closing)
}

const scratch = new Writer(64)

/** Leaves the key just past an interval of a tree in `scratch`; open when the interval reaches the top of the space. */
function writeEnd(shape: Shape, key: readonly KeyPart[], w: Writer, low: number): 'open' | 'closed' {
  scratch.bytes.fill(0)
  scratch.length = 0
  putKey(scratch, shape, key, highest)
  checkOrder(shape, w, low, scratch, 0)
  return increment(scratch, 0) ? 'closed' : 'open'
}

function checkRanges(shape: Shape, key: readonly KeyPart[]): void {
  for (let i = 0; i < key.length; i++) {
    if (!isRange(key[i]!)) continue
    if (!shape.interval) throw new EncodeError('a range in a set without intervals')
    const type = shape.key[i]
    if (type !== undefined && TYPES[type].kind === 'name') throw new EncodeError('a range of interface names')
  }
}

/** Every part of the key at `from` must not be above its part of the key at `to`. */
function checkOrder(shape: Shape, a: Writer, from: number, b: Writer, to: number): void {
  let at = 0
  for (const type of shape.key) {
    const { size } = TYPES[type]
    for (let i = at; i < at + size; i++) {
      const difference = a.bytes[from + i]! - b.bytes[to + i]!
      if (difference > 0) throw new EncodeError(`a range of ${type} that ends before it begins`)
      if (difference < 0) break
    }
    at += (size + 3) & ~3
  }
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}
