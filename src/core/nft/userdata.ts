// What nft remembers in objects' user data: comments, and of sets the byte order and shape of their types. Without the
// latter a listing prints `400:0` for `0:4`. Entries are type, length (one byte each) and value (libnftnl's udata.h).

import { DecodeError, fromUtf8, Reader, utf8, Writer } from '../netlink/bytes.ts'
import { EncodeError } from './encode-error.ts'
import { TYPES, type ValueType } from './types.ts'

/** nft's limit, without the closing zero. */
const COMMENT_MAX = 127
/** Comments: 0 of rules, chains and elements, 7 of sets. */
const COMMENT = 0
const SET_COMMENT = 7
const ELEMENT_FLAGS = 1
const INTERVAL_OPEN = 1

function putEntry(w: Writer, type: number, value: Uint8Array): void {
  w.u8(type)
  w.u8(value.length)
  w.put(value)
}

const word = (n: number): Uint8Array => {
  const w = new Writer(4)
  w.u32(n)
  return w.result()
}

function comment(w: Writer, type: number, text: string): void {
  const bytes = utf8(`${text}\0`)
  if (bytes.length > COMMENT_MAX + 1) throw new EncodeError(`a comment has at most ${COMMENT_MAX} bytes: ${text}`)
  putEntry(w, type, bytes)
}

function* entries(bytes: Uint8Array): Generator<{ type: number; value: Uint8Array; at: number }> {
  const r = new Reader(bytes)
  while (r.left > 0) {
    const at = r.at
    const type = r.u8()
    yield { type, value: r.slice(r.u8()), at }
  }
}

function commentText(value: Uint8Array, at: number): string {
  if (value.at(-1) !== 0) throw new DecodeError('a comment without its end', at)
  return fromUtf8(value.subarray(0, -1), at)
}

/** User data of a rule or chain: its comment. */
export function commentData(text: string): Uint8Array {
  const w = new Writer(text.length + 8)
  comment(w, COMMENT, text)
  return w.result()
}

/** The comment in a rule's or chain's user data; a DecodeError for anything else in it. */
export function readComment(bytes: Uint8Array): string | undefined {
  let found: string | undefined
  for (const { type, value, at } of entries(bytes)) {
    if (type !== COMMENT) throw new DecodeError(`unknown user data ${type}`, at)
    found = commentText(value, at)
  }
  return found
}

/** User data of an element; `open`: its interval has no end. Undefined when there is nothing to say. */
export function elementData(text: string | undefined, open: boolean): Uint8Array | undefined {
  if (text === undefined && !open) return undefined
  const w = new Writer(16)
  if (text !== undefined) comment(w, COMMENT, text)
  if (open) putEntry(w, ELEMENT_FLAGS, word(INTERVAL_OPEN))
  return w.result()
}

export function readElementData(bytes: Uint8Array): string | undefined {
  let found: string | undefined
  for (const { type, value, at } of entries(bytes)) {
    if (type === COMMENT) found = commentText(value, at)
    else if (type !== ELEMENT_FLAGS) throw new DecodeError(`unknown user data ${type}`, at)
  }
  return found
}

export type SetData = {
  readonly key: readonly ValueType[]
  /** The type of a map's values; `verdict` has no byte order. */
  readonly value?: ValueType | 'verdict' | undefined
  /** An anonymous set of ranges: nft merges what touches. */
  readonly merge?: boolean
  readonly comment?: string | undefined
}

/** NFTNL_UDATA_SET_*. */
const KEY_ORDER = 0
const DATA_ORDER = 1
const MERGE = 2
const KEY_TYPEOF = 3
const DATA_INTERVAL = 6
/** How nft says "an expression that is a concatenation" and nothing more. */
const CONCATENATION = Uint8Array.of(0, 4, 13, 0, 0, 0, 1, 0)

const orderOf = (type: ValueType | 'verdict'): number => (type === 'verdict' ? 0 : TYPES[type].order === 'host' ? 1 : 2)

export function setData({ key, value, merge = false, comment: text }: SetData): Uint8Array {
  const w = new Writer(64)
  putEntry(w, KEY_ORDER, word(key.length > 1 ? 0 : orderOf(key[0]!)))
  if (value !== undefined) putEntry(w, DATA_ORDER, word(orderOf(value)))
  if (merge) putEntry(w, MERGE, word(1))
  if (key.length > 1) putEntry(w, KEY_TYPEOF, CONCATENATION)
  if (value !== undefined) putEntry(w, DATA_INTERVAL, word(0))
  if (text !== undefined) comment(w, SET_COMMENT, text)
  return w.result()
}

/** The comment in a set's user data; the rest repeats what the set's own attributes say. */
export function readSetComment(bytes: Uint8Array): string | undefined {
  let found: string | undefined
  for (const { type, value, at } of entries(bytes)) if (type === SET_COMMENT) found = commentText(value, at)
  return found
}
