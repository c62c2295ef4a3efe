// struct nfgenmsg (linux/netfilter/nfnetlink.h): the four bytes that begin every message of netfilter, whichever subsystem's.
import type { Reader, Writer } from './bytes.ts'

/** `resource`: the group of NFLOG, the subsystem in the ends of a batch of nftables, else 0. */
export function putGenHeader(w: Writer, family: number, resource = 0): void {
  w.u8(family)
  w.u8(0)
  w.be16(resource)
}

/** The resource of an answer of nftables is the low half of the ruleset's generation, of a packet of NFLOG its group. */
export function takeGenHeader(r: Reader): { family: number; resource: number } {
  const family = r.u8()
  r.u8()
  return { family, resource: r.be16() }
}
