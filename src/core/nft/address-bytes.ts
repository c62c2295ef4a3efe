// Addresses to bytes and back without big numbers: sets have hundreds of thousands. The accepted spellings are the canonical
// ones (dotted quad; RFC 5952 without a dotted tail); anything else goes the long way round.
import { type Addr, parseAddr, toBytes } from '../net/addr.ts'
import type { Reader, Writer } from '../netlink/bytes.ts'

/** Writes an address of 4 or 16 bytes; false (and nothing written) when the text is none of that size. */
export function putAddress(w: Writer, text: string, size: number): boolean {
  const at = w.reserve(size)
  if (size === 4 ? quad(w.bytes, at, text) : groups(w.bytes, at, text)) return true
  w.bytes.fill(0, at, at + size)
  w.length = at
  const address = parseAddr(text)
  const bytes = address && toBytes(address)
  if (bytes?.length !== size) return false
  w.put(bytes)
  return true
}

function quad(bytes: Uint8Array, at: number, text: string): boolean {
  let part = -1
  let index = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 46) {
      if (part < 0 || index === 3) return false
      bytes[at + index++] = part
      part = -1
    } else if (c >= 48 && c <= 57 && part !== 0) {
      part = (part < 0 ? 0 : part * 10) + c - 48
      if (part > 255) return false
    } else return false
  }
  if (part < 0 || index !== 3) return false
  bytes[at + 3] = part
  return true
}

/** Groups are written from the left; what stands behind `::` moves to the end. */
function groups(bytes: Uint8Array, at: number, text: string): boolean {
  let index = 0
  let gap = -1
  let i = 0
  while (i < text.length) {
    if (text.charCodeAt(i) === 58) {
      const double = text.charCodeAt(i + 1) === 58
      if (double ? gap >= 0 : i === 0 || i + 1 === text.length || text.charCodeAt(i - 1) === 58) return false
      if (double) gap = index
      i += double ? 2 : 1
      continue
    }
    let group = 0
    let digits = 0
    for (; i < text.length && text.charCodeAt(i) !== 58; i++, digits++) {
      const digit = hexDigit(text.charCodeAt(i))
      if (digit < 0 || digits === 4) return false
      group = group * 16 + digit
    }
    if (index === 8) return false
    bytes[at + index * 2] = group >> 8
    bytes[at + index * 2 + 1] = group & 255
    index++
  }
  if (gap < 0) return index === 8
  if (index === 8) return false
  const moved = (index - gap) * 2
  bytes.copyWithin(at + 16 - moved, at + gap * 2, at + index * 2)
  bytes.fill(0, at + gap * 2, at + 16 - moved)
  return true
}

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48
  const lower = c | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** The address of the next 4 or 16 bytes. */
export function takeAddress(r: Reader, size: number): Addr {
  if (size !== 4) return fromBytes16(r)
  const at = r.take(4)
  const { bytes } = r
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}` as Addr
}

function fromBytes16(r: Reader): Addr {
  const at = r.take(16)
  const group = (i: number): number => (r.bytes[at + i * 2]! << 8) | r.bytes[at + i * 2 + 1]!
  // RFC 5952 4.2: the longest run of at least two zero groups, the first of equals.
  let start = 0
  let length = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && group(end) === 0) end++
    if (end - i > length) [start, length] = [i, end - i]
    i = Math.max(i, end)
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (length > 1 && i === start) {
      text += '::'
      i += length - 1
    } else text += (text === '' || text.endsWith(':') ? '' : ':') + group(i).toString(16)
  }
  return text as Addr
}
