// The kernel's ruleset as it came over netlink: message bodies, each beginning with its four bytes of nfgenmsg (the first
// is the address family). Who reads them (io) understands nothing of them; who judges them (here) has a decoder of its own.

export type RawRuleset = {
  /** The ruleset's generation while all of this was read; it did not change meanwhile. */
  readonly generation: number
  readonly tables: readonly Uint8Array[]
  readonly chains: readonly Uint8Array[]
  readonly sets: readonly Uint8Array[]
  /** Bodies of NEWSETELEM messages of every set, anonymous ones too. */
  readonly elements: readonly Uint8Array[]
  /** In the order of the dump, which is the order of evaluation within a chain. */
  readonly rules: readonly Uint8Array[]
}

/** What a proof's reader sees as attributes: the number, and the payload's place in the body. */
export type Attr = { readonly type: number; readonly at: number; readonly end: number }

export class RawError extends Error {
  override readonly name = 'RawError'
}

const GENMSG = 4

/** The attributes between two offsets (linux/netlink.h: length with header, number with two flag bits, padding to 4). */
export function attrs(b: Uint8Array, from: number, to: number): Attr[] {
  const found: Attr[] = []
  for (let at = from; at + 4 <= to; ) {
    const length = b[at]! | (b[at + 1]! << 8)
    if (length < 4 || at + length > to) throw new RawError(`an attribute of ${length} bytes, ${to - at} left`)
    found.push({ type: (b[at + 2]! | (b[at + 3]! << 8)) & 0x3fff, at: at + 4, end: at + length })
    at += (length + 3) & ~3
  }
  return found
}

export const bodyAttrs = (b: Uint8Array): Attr[] => attrs(b, GENMSG, b.length)
export const inner = (b: Uint8Array, a: Attr): Attr[] => attrs(b, a.at, a.end)

/** A big-endian number of the payload's bytes: up to 4 bytes a number, beyond a bigint. The one form of data here. */
export type Prim = number | bigint

export function prim(b: Uint8Array, at: number, end: number): Prim {
  if (end > b.length) throw new RawError(`data to byte ${end} of ${b.length}`)
  const length = end - at
  if (length <= 4) {
    let n = 0
    for (let i = at; i < end; i++) n = n * 256 + b[i]!
    return n
  }
  let n = 0n
  for (let i = at; i < end; i += 4) {
    const size = Math.min(4, end - i)
    n = (n << BigInt(8 * size)) | BigInt(prim(b, i, i + size) as number)
  }
  return n
}

/** Of a payload of 4 bytes in network order, as nf_tables writes its numbers. */
export function be32(b: Uint8Array, a: Attr | undefined): number | undefined {
  if (!a) return undefined
  if (a.end - a.at !== 4) throw new RawError(`a number of ${a.end - a.at} bytes`)
  return prim(b, a.at, a.end) as number
}

/** A payload's text without its closing zero; bytes beyond ASCII are kept one character each (names only are compared). */
export function text(b: Uint8Array, a: Attr | undefined): string | undefined {
  if (!a) return undefined
  let s = ''
  for (let i = a.at; i < a.end && b[i] !== 0; i++) s += String.fromCharCode(b[i]!)
  return s
}

export const byType = (list: readonly Attr[]): ReadonlyMap<number, Attr> => new Map(list.map(a => [a.type, a]))
