// Neighbour entries (RTM_*NEIGH): who has which link-layer address, proxy entries, and a VXLAN device's forwarding table.
import type { Addr } from '../net/addr.ts'
import { attributes } from './attributes.ts'
import type { Reader, Writer } from './bytes.ts'
import { AF_BRIDGE, address, afOfAddr, mac } from './rtnetlink.ts'

/** NUD_* bits. */
export const NUD = {
  INCOMPLETE: 1,
  REACHABLE: 2,
  STALE: 4,
  DELAY: 8,
  PROBE: 0x10,
  FAILED: 0x20,
  NOARP: 0x40,
  PERMANENT: 0x80,
} as const
const NTF_SELF = 2
const NTF_PROXY = 8

export type Neighbour =
  /** `mac` is absent in a proxy entry and in one that is not resolved. */
  | {
      readonly kind: 'neighbour' | 'proxy'
      readonly link: number
      readonly address: Addr
      readonly mac?: string | undefined
      readonly state: number
    }
  /** Frames for `mac` leave the VXLAN device `link` to the host `address`. */
  | {
      readonly kind: 'fdb'
      readonly link: number
      readonly address: Addr
      readonly mac: string
      readonly state: number
    }

const NEIGHBOUR = attributes({ address: [1, address], mac: [2, mac] })

/** Body of RTM_NEWNEIGH and RTM_DELNEIGH. */
export function encodeNeighbour(w: Writer, n: Neighbour): void {
  w.u32(n.kind === 'fdb' ? AF_BRIDGE : afOfAddr(n.address))
  w.u32(n.link)
  w.u16(n.state)
  w.u8(n.kind === 'proxy' ? NTF_PROXY : n.kind === 'fdb' ? NTF_SELF : 0)
  w.u8(0)
  NEIGHBOUR.encode(w, { address: n.address, mac: n.mac })
}

/** Body of RTM_GETNEIGH (with DUMP): one kind of entry, of `link` only unless it is 0. */
export function encodeGetNeighbours(w: Writer, kind: Neighbour['kind'], af = 0): void {
  w.u32(kind === 'fdb' ? AF_BRIDGE : af)
  w.u32(0)
  w.u16(0)
  w.u8(kind === 'proxy' ? NTF_PROXY : 0)
  w.u8(0)
}

/** An entry; undefined for one that has no IP address (a bridge's own forwarding entries). */
export function decodeNeighbour(r: Reader): Neighbour | undefined {
  const af = r.u8()
  r.take(3)
  const link = r.u32()
  const state = r.u16()
  const flags = r.u8()
  r.u8()
  const values = NEIGHBOUR.decode(r)
  if (values.address === undefined) return undefined
  if (af !== AF_BRIDGE)
    return { kind: flags & NTF_PROXY ? 'proxy' : 'neighbour', link, address: values.address, mac: values.mac, state }
  return values.mac === undefined ? undefined : { kind: 'fdb', link, address: values.address, mac: values.mac, state }
}
