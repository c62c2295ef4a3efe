// Addresses of interfaces (RTM_*ADDR). An address with a peer (point to point) is told apart by `peer`.
import type { Addr } from '../net/addr.ts'
import { attributes, u32 } from './attributes.ts'
import { DecodeError, type Reader, type Writer } from './bytes.ts'
import { address, afOfAddr } from './rtnetlink.ts'

export type LinkAddress = {
  /** Index of its interface. */
  readonly link: number
  readonly address: Addr
  readonly prefixLength: number
  readonly peer?: Addr | undefined
  /** 0 global, 253 link, 254 host. */
  readonly scope?: number | undefined
  /** IFA_F_* bits: 0x02 no duplicate detection, 0x40 tentative, 0x80 permanent, 0x200 no prefix route. */
  readonly flags?: number | undefined
}

export const IFA_F = { NODAD: 2, TENTATIVE: 0x40, PERMANENT: 0x80, NOPREFIXROUTE: 0x200 } as const

const ADDRESS = attributes({ address: [1, address], local: [2, address], flags: [8, u32] })

/** Body of RTM_NEWADDR and RTM_DELADDR. */
export function encodeAddress(w: Writer, a: LinkAddress): void {
  w.u8(afOfAddr(a.address))
  w.u8(a.prefixLength)
  w.u8(0)
  w.u8(a.scope ?? 0)
  w.u32(a.link)
  ADDRESS.encode(w, { address: a.peer ?? a.address, local: a.address, flags: a.flags })
}

/** Body of RTM_GETADDR (with DUMP); `af` 0 is all families, `link` 0 all interfaces. */
export function encodeGetAddresses(w: Writer, af = 0, link = 0): void {
  w.u32(af)
  w.u32(link)
}

export function decodeAddress(r: Reader): LinkAddress {
  const at = r.at
  r.u8()
  const prefixLength = r.u8()
  const low = r.u8()
  const scope = r.u8()
  const link = r.u32()
  const { address: remote, local, flags } = ADDRESS.decode(r)
  const own = local ?? remote
  if (own === undefined) throw new DecodeError('an interface address without an address', at)
  return { link, address: own, prefixLength, peer: remote === own ? undefined : remote, scope, flags: flags ?? low }
}
