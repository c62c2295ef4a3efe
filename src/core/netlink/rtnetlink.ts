// What the kinds of rtnetlink messages share: their numbers (linux/rtnetlink.h) and the codecs of addresses and MACs.
import { type Addr, type Family, familyOf, fromBytes, toBytes } from '../net/addr.ts'
import type { Codec } from './attributes.ts'
import { DecodeError } from './bytes.ts'

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
} as const

/** Multicast groups of the route family, by number. */
export const RTNLGRP = { LINK: 1, NEIGH: 3, IPV4_IFADDR: 5, IPV4_ROUTE: 7, IPV6_IFADDR: 9, IPV6_ROUTE: 11 } as const

export const AF_INET = 2
export const AF_INET6 = 10
export const AF_BRIDGE = 7
export const afOf = (family: Family): number => (family === 4 ? AF_INET : AF_INET6)
export const familyOfAf = (af: number): Family | undefined => (af === AF_INET ? 4 : af === AF_INET6 ? 6 : undefined)
export const afOfAddr = (address: string): number => afOf(familyOf(address))

/** 4 or 16 bytes. */
export const address: Codec<Addr> = {
  encode: (w, value) => w.put(toBytes(value)),
  decode: r => {
    if (r.left !== 4 && r.left !== 16) throw new DecodeError(`an address of ${r.left} bytes`, r.at)
    return fromBytes(r.slice())
  },
}

/** A link-layer address as `ee:ee:ee:ee:ee:ee`; a tunnel's may have 4 or 16 bytes. */
export const mac: Codec<string> = {
  encode: (w, value) => {
    for (const part of value.split(':')) w.u8(Number.parseInt(part, 16))
  },
  decode: r => Array.from(r.slice(), byte => byte.toString(16).padStart(2, '0')).join(':'),
}
