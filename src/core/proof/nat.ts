// Address translations, from the kernel's expressions: what becomes of the source, in words that the intent's can be held
// against, or to which destination a packet goes on. Only what is one address and one range of ports is followed.
import { type Family, fromNumber } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import type { Prim } from './raw.ts'
import type { Piece } from './value.ts'

/** Pieces: a service proxy may have a map choose the two. */
export type Destination = { readonly address: Piece; readonly port?: Piece }

/**
 * `what`: the new source as `natText` says it, or `another source`, or `translation`: of the destination, then `to` says to
 * what, where that is known.
 */
export type Nat = { readonly what: string; readonly to?: Destination }

/** NFT_NAT_SNAT. */
const NAT_SOURCE = 0
/** NFTA_NAT_*, and NFTA_MASQ_* of the ports. */
const NAT = { type: 1, addressMin: 3, addressMax: 4, portMin: 5, portMax: 6 } as const
const MASQ = { portMin: 2, portMax: 3 } as const

/** `masquerade`, or the new source, with the ports if they are given. */
export const natText = (to: string, ports: PortRange | undefined): string =>
  ports ? `${to} ports ${ports.first}-${ports.last}` : to

type Registers = {
  readonly family: Family
  /** Its attributes that are numbers. */
  readonly number: (attribute: number) => number | undefined
  readonly read: (register: number, size: number) => readonly Piece[]
}

/** What a `masq`, `nat` or `redir` does. */
export function readNat(expression: string, r: Registers): Nat {
  if (expression === 'masq') return source('masquerade', ports(r, MASQ.portMin, MASQ.portMax))
  if (expression === 'redir') return { what: 'translation' }
  const size = r.family === 4 ? 4 : 16
  if (r.number(NAT.type) === NAT_SOURCE) {
    const address = range(r, { min: NAT.addressMin, max: NAT.addressMax, size })
    const to = address !== undefined && address.first === address.last ? address.first : undefined
    return source(to === undefined ? undefined : fromNumber(r.family, BigInt(to)), ports(r, NAT.portMin, NAT.portMax))
  }
  const address = single(r, { min: NAT.addressMin, max: NAT.addressMax, size })
  const port = single(r, { min: NAT.portMin, max: NAT.portMax, size: 2 })
  if (!address || address === 'several' || port === 'several') return { what: 'translation' }
  return { what: 'translation', to: { address, ...(port && { port }) } }
}

const source = (to: string | undefined, toPorts: PortRange | 'unknown' | undefined): Nat => ({
  what: to === undefined || toPorts === 'unknown' ? 'another source' : natText(to, toPorts),
})

function ports(r: Registers, min: number, max: number): PortRange | 'unknown' | undefined {
  if (r.number(min) === undefined) return undefined
  const found = range(r, { min, max, size: 2 })
  return found ? { first: Number(found.first), last: Number(found.last) } : 'unknown'
}

/** What a register of the two holds, where there is no second one, or it holds the same; undefined if none is named. */
function single(
  r: Registers,
  { min, max, size }: { min: number; max: number; size: number },
): Piece | 'several' | undefined {
  const from = r.number(min)
  if (from === undefined) return undefined
  const [piece, more] = r.read(from, size)
  const to = r.number(max) ?? from
  const [other] = to === from ? [piece] : r.read(to, size)
  const isSame = to === from || (isConstant(piece) && isConstant(other) && piece.source.value === other.source.value)
  return piece && !more && isSame ? piece : 'several'
}

type Constant = Piece & { readonly source: { readonly at: 'const'; readonly value: Prim } }
const isConstant = (p: Piece | undefined): p is Constant => p?.source.at === 'const'

/** Of two registers that attributes name, the second being the first where it is absent; undefined unless both are fixed. */
function range(
  r: Registers,
  { min, max, size }: { min: number; max: number; size: number },
): { first: Prim; last: Prim } | undefined {
  const of = (register: number | undefined): Prim | undefined => {
    const [p, more] = register === undefined ? [] : r.read(register, size)
    return isConstant(p) && !more ? p.source.value : undefined
  }
  const [first, last] = [of(r.number(min)), of(r.number(max) ?? r.number(min))]
  return first === undefined || last === undefined ? undefined : { first, last }
}
