// The elements of one set, out of the kernel's answers. A table has hundreds of thousands of them, so the bytes are read where
// they stand and nothing is made but the elements themselves. Strict: a timeout or an expression is a DecodeError.
import { AttributeWalk } from '../netlink/attributes.ts'
import { be32At, DecodeError, fromUtf8, Reader } from '../netlink/bytes.ts'
import { CATCH_ALL, compareBytes, INTERVAL_END, isPipapo, isTree, type Shape } from './elements.ts'
import type { Element, KeyPart, Scalar, Verdict } from './objects.ts'
import { keyLength, TYPES, takeScalar } from './types.ts'
import { readElementData } from './userdata.ts'
import { decodeVerdict } from './verdict.ts'

/** Attributes of an entry, and of the data in it. */
const ENTRY = { KEY: 1, DATA: 2, FLAGS: 3, USERDATA: 6, KEY_END: 10 } as const
const DATA = { VALUE: 1, VERDICT: 2 } as const
const VERDICT = { CODE: 1, CHAIN: 2 } as const

/** Where a tree's interval begins, or (without an element) where one ends. */
type Point = { readonly key: Uint8Array; readonly start: Omit<Element, 'key'> | undefined }
/** A stretch of the bytes; `from` is -1 for what is not there. */
type Span = { from: number; to: number }

export class ElementDump {
  readonly #shape: Shape
  readonly #isTree: boolean
  readonly #isPipapo: boolean
  readonly #keyLength: number
  #elements: Element[] = []
  #points: Point[] = []
  // The message at hand, and the parts of the entry at hand.
  #bytes = new Uint8Array()
  #walk = new AttributeWalk(this.#bytes)
  #inner = new AttributeWalk(this.#bytes)
  #scalars = new Reader(this.#bytes)
  readonly #key: Span = { from: -1, to: 0 }
  readonly #keyEnd: Span = { from: -1, to: 0 }
  readonly #value: Span = { from: -1, to: 0 }
  #verdict: Verdict | undefined
  #flags = 0
  #comment: string | undefined

  constructor(shape: Shape) {
    this.#shape = shape
    this.#isTree = isTree(shape)
    this.#isPipapo = isPipapo(shape)
    this.#keyLength = keyLength(shape.key)
  }

  /** How many entries came that have a key. */
  get keyed(): number {
    return this.#points.length + this.#elements.reduce((sum, e) => (e.key === '*' ? sum : sum + 1), 0)
  }

  /** Takes the contents of one NFTA_SET_ELEM_LIST_ELEMENTS. */
  take(list: Reader): void {
    this.#bytes = list.bytes as Uint8Array<ArrayBuffer>
    this.#walk = new AttributeWalk(list.bytes)
    this.#inner = new AttributeWalk(list.bytes)
    this.#scalars = new Reader(list.bytes)
    const entries = new AttributeWalk(list.bytes)
    entries.within(list.at, list.end)
    while (entries.next()) {
      if (entries.type !== 1) throw new DecodeError(`unknown attribute ${entries.type} in a list`, entries.from)
      this.#split(entries.from, entries.to)
      this.#put()
    }
  }

  /** All elements, a tree's by their keys. */
  result(): Element[] {
    return this.#isTree ? [...this.#intervals(), ...this.#elements] : this.#elements
  }

  /** Finds the parts of an entry. */
  #split(from: number, to: number): void {
    this.#key.from = this.#keyEnd.from = this.#value.from = -1
    this.#verdict = undefined
    this.#flags = 0
    this.#comment = undefined
    const walk = this.#walk
    walk.within(from, to)
    while (walk.next()) {
      switch (walk.type) {
        case ENTRY.KEY:
          this.#data(this.#key)
          break
        case ENTRY.KEY_END:
          this.#data(this.#keyEnd)
          break
        case ENTRY.DATA:
          this.#data(this.#value)
          break
        case ENTRY.FLAGS:
          this.#flags = this.#word(walk)
          break
        case ENTRY.USERDATA:
          this.#comment = readElementData(this.#bytes.slice(walk.from, walk.to))
          break
        default:
          throw new DecodeError(`unknown attribute ${walk.type}`, walk.from)
      }
    }
  }

  /** Data is a value or a verdict. */
  #data(span: Span): void {
    const inner = this.#inner
    inner.within(this.#walk.from, this.#walk.to)
    while (inner.next()) {
      if (inner.type === DATA.VALUE) {
        span.from = inner.from
        span.to = inner.to
      } else if (inner.type === DATA.VERDICT && span === this.#value) {
        this.#verdict = this.#takeVerdict(inner.from, inner.to)
        return
      } else throw new DecodeError(`unknown attribute ${inner.type}`, inner.from)
    }
  }

  #takeVerdict(from: number, to: number): Verdict {
    const inner = this.#inner
    inner.within(from, to)
    let code: number | undefined
    let chain: string | undefined
    while (inner.next()) {
      if (inner.type === VERDICT.CODE) code = this.#word(inner)
      else if (inner.type === VERDICT.CHAIN) {
        const end = this.#bytes.indexOf(0, inner.from)
        chain = fromUtf8(this.#bytes.subarray(inner.from, end < 0 ? inner.to : Math.min(end, inner.to)), inner.from)
      } else throw new DecodeError(`unknown attribute ${inner.type}`, inner.from)
    }
    return decodeVerdict({ ...(code !== undefined && { code }), ...(chain !== undefined && { chain }) })
  }

  #word({ from, to }: AttributeWalk): number {
    if (to - from !== 4) throw new DecodeError(`a word of ${to - from} bytes`, from)
    return be32At(this.#bytes, from)
  }

  #put(): void {
    const known = this.#isTree ? CATCH_ALL | INTERVAL_END : CATCH_ALL
    if (this.#flags & ~known) throw new DecodeError(`unknown element flags ${this.#flags}`, 0)
    if (this.#flags & CATCH_ALL) this.#elements.push(this.#element('*'))
    else if (this.#isTree) {
      const { from, to } = this.#checked(this.#key)
      const start = this.#flags & INTERVAL_END ? undefined : this.#element([])
      this.#points.push({ key: this.#bytes.slice(from, to), start })
    } else this.#elements.push(this.#element(this.#keyParts()))
  }

  #checked(span: Span): Span {
    const length = span.from < 0 ? 0 : span.to - span.from
    if (length !== this.#keyLength) throw new DecodeError(`a key of ${length} bytes`, 0)
    return span
  }

  #keyParts(): KeyPart[] {
    const { from } = this.#checked(this.#key)
    const parts = decodeKey(this.#shape, this.#scalars, from)
    if (!this.#isPipapo || this.#keyEnd.from < 0) return parts
    return ranges(parts, decodeKey(this.#shape, this.#scalars, this.#checked(this.#keyEnd).from))
  }

  #element(key: Element['key']): Element {
    const value = this.#decodeValue()
    if (this.#comment !== undefined) return { key, ...(value !== undefined && { value }), comment: this.#comment }
    return value === undefined ? { key } : { key, value }
  }

  #decodeValue(): Scalar | Verdict | undefined {
    const type = this.#shape.value
    const { from, to } = this.#value
    if (type === undefined) {
      if (from >= 0 || this.#verdict) throw new DecodeError('a value in a set', 0)
      return undefined
    }
    if (type === 'verdict') return this.#verdict ?? decodeVerdict(undefined)
    if (from < 0 || to - from !== TYPES[type].size) throw new DecodeError('a value of the wrong size', 0)
    this.#scalars.at = from
    return takeScalar(this.#scalars, type)
  }

  /** A tree's intervals are told by starts and ends together. */
  #intervals(): Element[] {
    const found: Element[] = []
    const shape = this.#shape
    const points = this.#points.sort((a, b) => compareBytes(a.key, b.key) || rank(a) - rank(b))
    let open: Point | undefined
    const close = (last: Uint8Array): void => {
      if (!open) return
      const key = ranges(decodeKey(shape, new Reader(open.key), 0), decodeKey(shape, new Reader(last), 0))
      found.push({ ...open.start, key })
    }
    for (const point of points) {
      // An end also closes nothing: nft writes one at the bottom of the space. A start right after a start closes it too.
      close(before(point.key))
      open = point.start && point
    }
    close(new Uint8Array(this.#keyLength).fill(255))
    return found
  }
}

/** Of one key, ends come before starts. */
const rank = (point: Point): number => (point.start ? 1 : 0)

/** The parts of the key that stands at `at`. */
function decodeKey({ key, interval }: Shape, r: Reader, at: number): Scalar[] {
  r.at = at
  if (key.length === 1) return [takeScalar(r, key[0]!, interval)]
  return key.map(type => {
    const part = takeScalar(r, type, interval)
    r.take(-TYPES[type].size & 3)
    return part
  })
}

const ranges = (from: readonly Scalar[], to: readonly Scalar[]): KeyPart[] =>
  from.map((low, i) => (low === to[i] ? low : { from: low, to: to[i]! }))

function before(key: Uint8Array): Uint8Array {
  const bytes = key.slice()
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = (bytes[i]! - 1) & 255
    if (bytes[i] !== 255) break
  }
  return bytes
}
