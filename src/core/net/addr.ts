// IP addresses as branded canonical strings (RFC 5952 for IPv6): the map key, the log word and the test literal at once.
// Bytes exist only inside codecs; arithmetic is done on bigints.

export type Family = 4 | 6
export type Addr = string & { readonly __addr: true }

export const FAMILIES: readonly Family[] = [4, 6]
export const BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 }
/** The highest address of a family as a number. */
export const MAX: Readonly<Record<Family, bigint>> = { 4: (1n << 32n) - 1n, 6: (1n << 128n) - 1n }

export const familyOf = (addr: string): Family => (addr.includes(':') ? 6 : 4)

/** The number of a dotted quad, which ends at `end`; undefined if it is not the canonical spelling of one. */
export function parseQuad(text: string, end = text.length): number | undefined {
  let n = 0
  let part = -1
  let dots = 0
  for (let i = 0; i < end; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit === -2 && part >= 0 && dots < 3) {
      n = n * 256 + part
      part = -1
      dots++
      // No sign, no leading zero, no hexadecimal.
    } else if (digit >= 0 && digit <= 9 && part !== 0) {
      part = (part < 0 ? 0 : part * 10) + digit
      if (part > 255) return undefined
    } else return undefined
  }
  return dots === 3 && part >= 0 ? n * 256 + part : undefined
}

function parse4(text: string): bigint | undefined {
  const n = parseQuad(text)
  return n === undefined ? undefined : BigInt(n)
}

function parse6(text: string): bigint | undefined {
  let body = text
  // A dotted quad may stand for the last two groups.
  const dot = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  if (dot) {
    const low = parse4(dot[2]!)
    if (low === undefined) return undefined
    body = `${dot[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`
  }
  const halves = body.split('::')
  if (halves.length > 2) return undefined
  const groups = (half: string): string[] => (half === '' ? [] : half.split(':'))
  const head = groups(halves[0]!)
  const tail = halves.length === 2 ? groups(halves[1]!) : []
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  let n = 0n
  for (const group of [...head, ...Array<string>(halves.length === 2 ? missing : 0).fill('0'), ...tail]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined
    n = (n << 16n) | BigInt(`0x${group}`)
  }
  return n
}

function print4(n: bigint): string {
  const v = Number(n)
  return `${v >>> 24}.${(v >>> 16) & 255}.${(v >>> 8) & 255}.${v & 255}`
}

function print6(n: bigint): string {
  const groups: string[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(((n >> shift) & 0xffffn).toString(16))
  // RFC 5952 4.2: shorten the longest run of at least two zero groups, the first of equals.
  let best = { start: 0, length: 1 }
  for (let i = 0; i < 8; ) {
    let j = i
    while (j < 8 && groups[j] === '0') j++
    if (j - i > best.length) best = { start: i, length: j - i }
    i = Math.max(j, i + 1)
  }
  if (best.length < 2) return groups.join(':')
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`
}

/** The address as a number, from any accepted spelling; `undefined` if it is none. Zones (`%eth0`) are not accepted. */
export function parseNumber(text: string): { family: Family; n: bigint } | undefined {
  const family = familyOf(text)
  const n = family === 4 ? parse4(text) : parse6(text)
  return n === undefined ? undefined : { family, n }
}

/** Canonical form of an address, or `undefined` if the text is none. */
export function parseAddr(text: string): Addr | undefined {
  const parsed = parseNumber(text)
  return parsed && fromNumber(parsed.family, parsed.n)
}

/** The canonical address of a literal in code; throws on a mistake. */
export function addr(text: string): Addr {
  const parsed = parseAddr(text)
  if (parsed === undefined) throw new Error(`not an IP address: ${text}`)
  return parsed
}

export const fromNumber = (family: Family, n: bigint): Addr => (family === 4 ? print4(n) : print6(n)) as Addr

export function toNumber(address: Addr): bigint {
  const parsed = parseNumber(address)
  if (parsed === undefined) throw new Error(`not an IP address: ${address}`)
  return parsed.n
}

/** Network-order bytes: 4 or 16. */
export function toBytes(address: Addr): Uint8Array {
  const size = BITS[familyOf(address)] / 8
  const bytes = new Uint8Array(size)
  let n = toNumber(address)
  for (let i = size - 1; i >= 0; i--) {
    bytes[i] = Number(n & 255n)
    n >>= 8n
  }
  return bytes
}

/** The inverse of `toBytes`; the length decides the family. */
export function fromBytes(bytes: Uint8Array): Addr {
  if (bytes.length !== 4 && bytes.length !== 16) throw new Error(`an address has 4 or 16 bytes, not ${bytes.length}`)
  let n = 0n
  for (const byte of bytes) n = (n << 8n) | BigInt(byte)
  return fromNumber(bytes.length === 4 ? 4 : 6, n)
}
