// Netlink attributes as data: one table of (name, number, codec) gives the type, the encoder and the decoder.
// An attribute is length, type, payload, padded to four bytes; nesting is an attribute whose payload is attributes.
import { align4, DecodeError, fromUtf8, type Reader, u16At, utf8, Writer } from './bytes.ts'

export type Codec<T> = {
  readonly encode: (w: Writer, value: T) => void
  /** The reader is a window on exactly this value; what is left in it afterwards is an error of the caller's. */
  readonly decode: (r: Reader) => T
  /** Its payload is attributes itself: the type carries NLA_F_NESTED. */
  readonly nested?: boolean
}

/** Any codec, for tables: what it takes and gives is inferred where the table is used. */
export type AnyCodec = {
  readonly encode: (w: Writer, value: never) => void
  readonly decode: (r: Reader) => unknown
  readonly nested?: boolean
}

const NESTED = 0x8000
const TYPE_MASK = 0x3fff

export const u8: Codec<number> = { encode: (w, n) => w.u8(n), decode: r => r.u8() }
export const u16: Codec<number> = { encode: (w, n) => w.u16(n), decode: r => r.u16() }
export const u32: Codec<number> = { encode: (w, n) => w.u32(n), decode: r => r.u32() }
export const be16: Codec<number> = { encode: (w, n) => w.be16(n), decode: r => r.be16() }
export const be32: Codec<number> = { encode: (w, n) => w.be32(n), decode: r => r.be32() }
export const be64: Codec<number> = { encode: (w, n) => w.be64(n), decode: r => r.be64() }
export const bytes: Codec<Uint8Array> = { encode: (w, value) => w.put(value), decode: r => r.slice() }
export const flag: Codec<true> = { encode: () => {}, decode: () => true }

/** Zero-terminated; the kernel leaves the zero out of some of its own. */
export const text: Codec<string> = {
  encode: (w, value) => {
    w.put(utf8(value))
    w.u8(0)
  },
  decode: r => {
    const at = r.at
    const all = r.slice()
    const zero = all.indexOf(0)
    return fromUtf8(zero < 0 ? all : all.subarray(0, zero), at)
  },
}

export type Attribute = { readonly type: number; readonly payload: Reader }

/** The next attribute of a window: its number and a window on its payload. */
function takeAttribute(r: Reader): Attribute | undefined {
  // Fewer than four bytes are padding.
  if (r.left < 4) return undefined
  const at = r.at
  const length = r.u16()
  const type = r.u16() & TYPE_MASK
  if (length < 4) throw new DecodeError(`an attribute of ${length} bytes`, at)
  const payload = r.window(length - 4)
  r.take(Math.min(align4(length) - length, r.left))
  return { type, payload }
}

/** Every attribute of a window. */
export function* eachAttribute(r: Reader): Generator<Attribute> {
  for (let found = takeAttribute(r); found; found = takeAttribute(r)) yield found
}

/** Every attribute in place, without an object for each: for what comes by the hundred thousand. */
export class AttributeWalk {
  readonly #bytes: Uint8Array
  #next = 0
  #end = 0
  type = 0
  /** The payload, until `to`. */
  from = 0
  to = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Walks these bytes from now on. */
  within(from: number, to: number): void {
    this.#next = from
    this.#end = to
  }

  /** Goes to the next attribute; false when there is none. */
  next(): boolean {
    const at = this.#next
    const left = this.#end - at
    if (left < 4) return false
    const length = u16At(this.#bytes, at)
    if (length < 4 || length > left) throw new DecodeError(`an attribute of ${length} bytes, ${left} left`, at)
    this.type = u16At(this.#bytes, at + 2) & TYPE_MASK
    this.from = at + 4
    this.to = at + length
    this.#next = at + align4(length)
    return true
  }
}

/** Writes one attribute. */
export function putAttribute<T>(w: Writer, type: number, codec: Codec<T>, value: T): void {
  const at = w.begin(codec.nested ? type | NESTED : type)
  codec.encode(w, value)
  w.end(at)
}

export type AttributeTable = { readonly [name: string]: readonly [type: number, codec: AnyCodec] }
export type Values<T extends AttributeTable> = {
  readonly [K in keyof T]?: T[K][1] extends Codec<infer V> ? V : never
}

/**
 * Attributes by name. Encoding writes the present ones in the table's order. Decoding takes the last of a kind; a number
 * that the table does not have is passed over, or is a DecodeError with `strict` (where understanding must be complete).
 */
export function attributes<T extends AttributeTable>(table: T, strict = false): Codec<Values<T>> {
  const names = Object.keys(table)
  const byType = new Map(names.map(name => [table[name]![0], name]))
  return {
    nested: true,
    encode: (w, values) => {
      for (const name of names) {
        const value = values[name as keyof T]
        const [type, codec] = table[name]!
        if (value !== undefined) putAttribute(w, type, codec as Codec<unknown>, value)
      }
    },
    decode: r => {
      const values: Record<string, unknown> = {}
      for (let found = takeAttribute(r); found; found = takeAttribute(r)) {
        const { type, payload } = found
        const name = byType.get(type)
        if (name !== undefined) {
          values[name] = table[name]![1].decode(payload)
          if (payload.left > 0 && !table[name]![1].nested)
            throw new DecodeError(`${name}: ${payload.left} bytes too many`, payload.at)
        } else if (strict) throw new DecodeError(`unknown attribute ${type}`, payload.at)
      }
      return values as Values<T>
    },
  }
}

/** A nested list of attributes of one number. */
export function list<T>(type: number, codec: Codec<T>): Codec<readonly T[]> {
  return {
    nested: true,
    encode: (w, values) => {
      for (const value of values) putAttribute(w, type, codec, value)
    },
    decode: r => {
      const values: T[] = []
      for (const attribute of eachAttribute(r)) {
        if (attribute.type !== type)
          throw new DecodeError(`unknown attribute ${attribute.type} in a list`, attribute.payload.at)
        values.push(codec.decode(attribute.payload))
      }
      return values
    },
  }
}

/** The payload of one codec's value, for comparisons and tests. */
export function encodeValue<T>(codec: Codec<T>, value: T): Uint8Array<ArrayBuffer> {
  const w = new Writer(256)
  codec.encode(w, value)
  return w.result()
}
