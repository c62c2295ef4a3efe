// CIDR prefixes as branded canonical strings `address/length`, host bits zero.
import { type Addr, BITS, type Family, familyOf, fromNumber, parseNumber, parseQuad, toNumber } from './addr.ts'

export type Prefix = string & { readonly __prefix: true }
/** Addresses `first` to `last`, both included, of one family. */
export type Range = { readonly family: Family; readonly first: bigint; readonly last: bigint }

const hostMask = (family: Family, length: number): bigint => (1n << BigInt(BITS[family] - length)) - 1n

export type ParsedPrefix = { readonly prefix: Prefix; readonly hadLength: boolean; readonly strict: boolean }

/**
 * Parses `10.0.0.0/8` or a bare address (which gets the full length). `strict` tells whether the host bits were zero,
 * `hadLength` whether a length was written; the prefix itself is always canonical.
 */
export function parsePrefixDetail(text: string): ParsedPrefix | undefined {
  // What nearly every endpoint has, and a cluster has very many of them.
  if (text.endsWith('/32') && parseQuad(text, text.length - 3) !== undefined)
    return { prefix: text as Prefix, hadLength: true, strict: true }
  const slash = text.indexOf('/')
  const parsed = parseNumber(slash < 0 ? text : text.slice(0, slash))
  if (!parsed) return undefined
  const bits = BITS[parsed.family]
  const lengthText = slash < 0 ? String(bits) : text.slice(slash + 1)
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined
  const length = Number(lengthText)
  if (length > bits) return undefined
  const base = parsed.n & ~hostMask(parsed.family, length)
  return { prefix: makePrefix(parsed.family, base, length), hadLength: slash >= 0, strict: base === parsed.n }
}

/** The canonical prefix of a text, or `undefined`; host bits are cleared. */
export const parsePrefix = (text: string): Prefix | undefined => parsePrefixDetail(text)?.prefix

/** The canonical prefix of a literal in code; throws on a mistake. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new Error(`not a CIDR: ${text}`)
  return parsed
}

export const makePrefix = (family: Family, base: bigint, length: number): Prefix =>
  `${fromNumber(family, base & ~hostMask(family, length))}/${length}` as Prefix

/** The prefixes that hold every address of a family, IPv4 first. */
export const EVERYWHERE: readonly Prefix[] = [prefix('0.0.0.0/0'), prefix('::/0')]

export const hostPrefix = (addr: Addr): Prefix => `${addr}/${BITS[familyOf(addr)]}` as Prefix
export const prefixFamily = (p: Prefix): Family => familyOf(p)
export const prefixLength = (p: Prefix): number => Number(p.slice(p.indexOf('/') + 1))
export const prefixBase = (p: Prefix): Addr => p.slice(0, p.indexOf('/')) as Addr

export function prefixRange(p: Prefix): Range {
  const family = prefixFamily(p)
  const first = toNumber(prefixBase(p))
  return { family, first, last: first | hostMask(family, prefixLength(p)) }
}

export function prefixContains(p: Prefix, addr: Addr): boolean {
  if (prefixFamily(p) !== familyOf(addr)) return false
  const { first, last } = prefixRange(p)
  const n = toNumber(addr)
  return first <= n && n <= last
}

/** Whether `outer` holds every address of `inner`. */
export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return prefixLength(outer) <= prefixLength(inner) && prefixContains(outer, prefixBase(inner))
}

export const prefixesOverlap = (a: Prefix, b: Prefix): boolean => prefixCovers(a, b) || prefixCovers(b, a)
