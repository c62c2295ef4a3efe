// Address translations, from the kernel's expressions: what becomes of the source, in words that the intent's can be held
// against, or to which destination a packet goes on. Only what is fixed is followed: one address, one range of ports.
import { type Family, fromNumber } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import type { Prim } from './raw.ts'
import type { Piece } from './value.ts'

export type Destination = { readonly address: Prim; readonly port?: number }

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
  const address = range(r, { min: NAT.addressMin, max: NAT.addressMax, size: r.family === 4 ? 4 : 16 })
  const toPorts = ports(r, NAT.portMin, NAT.portMax)
  const to = address !== undefined && address.first === address.last ? address.first : undefined
  if (r.number(NAT.type) === NAT_SOURCE)
    return source(to === undefined ? undefined : fromNumber(r.family, BigInt(to)), toPorts)
  const fixed = toPorts !== 'unknown' && toPorts?.first === toPorts?.last
  if (to === undefined || !fixed) return { what: 'translation' }
  return { what: 'translation', to: { address: to, ...(toPorts && { port: toPorts.first }) } }
}

const source = (to: string | undefined, toPorts: PortRange | 'unknown' | undefined): Nat => ({
  what: to === undefined || toPorts === 'unknown' ? 'another source' : natText(to, toPorts),
})

function ports(r: Registers, min: number, max: number): PortRange | 'unknown' | undefined {
  if (r.number(min) === undefined) return undefined
  const found = range(r, { min, max, size: 2 })
  return found ? { first: Number(found.first), last: Number(found.last) } : 'unknown'
}

/** Of two registers that attributes name, the second being the first where it is absent; undefined unless both are fixed. */
function range(
  r: Registers,
  { min, max, size }: { min: number; max: number; size: number },
): { first: Prim; last: Prim } | undefined {
  const of = (register: number | undefined): Prim | undefined => {
    const [p, more] = register === undefined ? [] : r.read(register, size)
    return p?.source.at === 'const' && !more ? p.source.value : undefined
  }
  const [first, last] = [of(r.number(min)), of(r.number(max) ?? r.number(min))]
  return first === undefined || last === undefined ? undefined : { first, last }
}
