// A packet as policy sees it: the first of a connection. Every judge (the oracle, the tables, the nft trace) takes this.
import type { Addr, Family } from './addr.ts'

export type Packet = {
  readonly family: Family
  /** IP protocol number, 1 to 255. */
  readonly protocol: number
  readonly src: Addr
  readonly dst: Addr
  /** Present for the protocols with ports (TCP, UDP, SCTP). */
  readonly sport?: number
  readonly dport?: number
  /** Present for ICMP (family 4) and ICMPv6 (family 6). */
  readonly icmp?: { readonly type: number; readonly code: number }
}
