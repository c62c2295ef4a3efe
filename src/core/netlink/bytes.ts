// Reading and writing of netlink's bytes. A Writer grows one buffer, so that ten thousand set elements are one allocation
// story; a Reader is a bounded window, so that a wrong length is a DecodeError with its offset and never a crash.
// Host order is little-endian on the machines that we run on; network order is named `be`.

/** The bytes do not hold what they should: where (from the start of what was received) and why. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
  readonly offset: number
  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`)
    this.offset = offset
  }
}

export const align4 = (n: number): number => (n + 3) & ~3

/** The most that one attribute's 16 bit length can say. */
const ATTR_MAX = 0xffff

export class Writer {
  bytes: Uint8Array<ArrayBuffer>
  length = 0

  constructor(capacity = 4096) {
    this.bytes = new Uint8Array(capacity)
  }

  /** Forgets what was written; what `result` gave is overwritten from now on. */
  clear(): void {
    this.bytes.fill(0, 0, this.length)
    this.length = 0
  }

  /** The position of `n` fresh zero bytes. */
  reserve(n: number): number {
    const at = this.length
    if (at + n > this.bytes.length) {
      const grown = new Uint8Array(Math.max(at + n, this.bytes.length * 2))
      grown.set(this.bytes)
      this.bytes = grown
    }
    this.length = at + n
    return at
  }

  u8(n: number): void {
    const at = this.reserve(1)
    this.bytes[at] = n
  }
  u16(n: number): void {
    this.setU16(this.reserve(2), n)
  }
  u32(n: number): void {
    this.setU32(this.reserve(4), n)
  }
  be16(n: number): void {
    const at = this.reserve(2)
    this.bytes[at] = n >>> 8
    this.bytes[at + 1] = n
  }
  be32(n: number): void {
    const at = this.reserve(4)
    this.bytes[at] = n >>> 24
    this.bytes[at + 1] = n >>> 16
    this.bytes[at + 2] = n >>> 8
    this.bytes[at + 3] = n
  }
  /** Of a number up to 2^53. */
  be64(n: number): void {
    this.be32(Math.floor(n / 2 ** 32))
    this.be32(n % 2 ** 32)
  }
  put(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length)
    this.bytes.set(bytes, at)
  }
  pad(): void {
    this.reserve(align4(this.length) - this.length)
  }

  /** What was reserved before, in host order. */
  setU16(at: number, n: number): void {
    this.bytes[at] = n
    this.bytes[at + 1] = n >>> 8
  }
  setU32(at: number, n: number): void {
    this.setU16(at, n)
    this.setU16(at + 2, n >>> 16)
  }

  /** Begins an attribute; give the result to `end`. */
  begin(type: number): number {
    const at = this.reserve(4)
    this.setU16(at + 2, type)
    return at
  }
  end(at: number): void {
    const length = this.length - at
    if (length > ATTR_MAX) throw new RangeError(`an attribute holds at most ${ATTR_MAX} bytes, not ${length}`)
    this.setU16(at, length)
    this.pad()
  }

  /** What was written. */
  result(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length)
  }
}

export const u16At = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8)
export const be32At = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

/** A window on received bytes; `at` moves, `end` does not. Offsets in errors count from the start of `bytes`. */
export class Reader {
  readonly bytes: Uint8Array
  readonly end: number
  at: number

  constructor(bytes: Uint8Array, from = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = from
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  /** The position of the next `n` bytes, which are thereby consumed. */
  take(n: number): number {
    if (n > this.left) throw new DecodeError(`${n} bytes wanted, ${this.left} left`, this.at)
    const at = this.at
    this.at += n
    return at
  }

  u8(): number {
    return this.bytes[this.take(1)]!
  }
  u16(): number {
    return u16At(this.bytes, this.take(2))
  }
  u32(): number {
    const at = this.take(4)
    return (u16At(this.bytes, at) | (u16At(this.bytes, at + 2) << 16)) >>> 0
  }
  be16(): number {
    const at = this.take(2)
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!
  }
  be32(): number {
    return be32At(this.bytes, this.take(4))
  }
  be64(): number {
    return this.be32() * 2 ** 32 + this.be32()
  }

  /** A copy of the next `n` bytes, or of the rest. */
  slice(n = this.left): Uint8Array<ArrayBuffer> {
    const at = this.take(n)
    return this.bytes.slice(at, at + n) as Uint8Array<ArrayBuffer>
  }

  /** A window on the next `n` bytes. */
  window(n: number): Reader {
    const at = this.take(n)
    return new Reader(this.bytes, at, at + n)
  }
}

/** UTF-8 of a text; a lone surrogate becomes U+FFFD. (The language itself has no such function; core uses no platform.) */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  const w = new Writer(text.length + 4)
  for (const char of text) {
    const point = char.codePointAt(0)!
    const n = point >= 0xd800 && point <= 0xdfff ? 0xfffd : point
    if (n < 0x80) w.u8(n)
    else if (n < 0x800) putBytes(w, 0xc0 | (n >> 6), n & 63)
    else if (n < 0x10000) putBytes(w, 0xe0 | (n >> 12), (n >> 6) & 63, n & 63)
    else putBytes(w, 0xf0 | (n >> 18), (n >> 12) & 63, (n >> 6) & 63, n & 63)
  }
  return w.result()
}

function putBytes(w: Writer, first: number, ...rest: number[]): void {
  w.u8(first)
  for (const bits of rest) w.u8(0x80 | bits)
}

/** The text of UTF-8 bytes; a DecodeError when they are none. */
export function fromUtf8(bytes: Uint8Array, offset = 0): string {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! >= 0x80) return decodeUtf8(bytes, offset)
  // Spreading goes through an iterator: a fifth of the speed.
  return String.fromCharCode.apply(String, bytes as unknown as number[])
}

function decodeUtf8(bytes: Uint8Array, offset: number): string {
  let escaped = ''
  for (const byte of bytes) escaped += `%${byte.toString(16).padStart(2, '0')}`
  try {
    return decodeURIComponent(escaped)
  } catch {
    throw new DecodeError('no UTF-8 text', offset)
  }
}
