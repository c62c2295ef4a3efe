// Routes (RTM_*ROUTE), both families. A route is identified by destination, table and metric (and, for IPv6, its next hop).
import { type Addr, BITS, type Family, familyOf, fromNumber, toNumber } from '../net/addr.ts'
import { makePrefix, type Prefix, prefixBase, prefixFamily, prefixLength } from '../net/prefix.ts'
import { attributes, type Codec, u32 } from './attributes.ts'
import { DecodeError, type Reader, type Writer } from './bytes.ts'
import { address, afOf, familyOfAf } from './rtnetlink.ts'

/** RTN_*: what happens to a packet that takes it. Another number stays a number. */
const TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const
export type RouteType = keyof typeof TYPES
const TYPE_NAMES = new Map<number, RouteType>((Object.keys(TYPES) as RouteType[]).map(name => [TYPES[name], name]))

/** Who made a route: RTPROT_*. Ours has a number of its own in the register of scarce names. */
export const RTPROT = { KERNEL: 2, BOOT: 3, STATIC: 4, BIRD: 12 } as const
export const TABLE_MAIN = 254
const SCOPES = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const
export type RouteScope = keyof typeof SCOPES
const SCOPE_NAMES = new Map<number, RouteScope>((Object.keys(SCOPES) as RouteScope[]).map(name => [SCOPES[name], name]))
const RTNH_F_ONLINK = 4

export type NextHop = {
  /** Index of the outgoing interface. */
  readonly link?: number | undefined
  readonly gateway?: Addr | undefined
  /** The gateway is taken to be on the link although no address says so. */
  readonly onlink?: boolean | undefined
  /** From 1 to 256, of a route with several. */
  readonly weight?: number | undefined
}

export type Route = NextHop & {
  readonly dst: Prefix
  readonly type: RouteType
  /** 254 is the main table. */
  readonly table: number
  readonly protocol: number
  /** IPv4 only: `link` for a neighbour without gateway. The kernel reports `global` for IPv6. */
  readonly scope: RouteScope
  /** Lower wins; the kernel turns an absent one into 1024 for IPv6, and reports none for 0. */
  readonly metric?: number | undefined
  /** The preferred source of packets that start here. */
  readonly source?: Addr | undefined
  readonly mtu?: number | undefined
  /** Several next hops, instead of one of its own. */
  readonly nextHops?: readonly NextHop[] | undefined
}

const HOP = attributes({ gateway: [5, address] })

/** struct rtnexthop and its attributes, one after the other. */
const MULTIPATH: Codec<readonly NextHop[]> = {
  encode: (w, hops) => {
    for (const hop of hops) {
      const at = w.reserve(8)
      w.bytes[at + 2] = hop.onlink ? RTNH_F_ONLINK : 0
      w.bytes[at + 3] = (hop.weight ?? 1) - 1
      w.setU32(at + 4, hop.link ?? 0)
      HOP.encode(w, { gateway: hop.gateway })
      w.setU16(at, w.length - at)
    }
  },
  decode: r => {
    const hops: NextHop[] = []
    while (r.left >= 8) {
      const length = r.u16()
      const flags = r.u8()
      const weight = r.u8() + 1
      const link = r.u32()
      if (length < 8) throw new DecodeError(`a next hop of ${length} bytes`, r.at)
      const { gateway } = HOP.decode(r.window(length - 8))
      hops.push({ link, gateway, onlink: (flags & RTNH_F_ONLINK) !== 0 || undefined, weight })
    }
    return hops
  },
}

const METRICS = attributes({ mtu: [2, u32] })
const ROUTE = attributes({
  dst: [1, address],
  link: [4, u32],
  gateway: [5, address],
  metric: [6, u32],
  source: [7, address],
  metrics: [8, METRICS],
  multipath: [9, MULTIPATH],
  table: [15, u32],
})

/** Body of RTM_NEWROUTE and RTM_DELROUTE. */
export function encodeRoute(w: Writer, route: Route): void {
  const length = prefixLength(route.dst)
  w.u8(afOf(prefixFamily(route.dst)))
  w.u8(length)
  w.u16(0) // source length, type of service
  w.u8(route.table < 256 ? route.table : 0)
  w.u8(route.protocol)
  w.u8(SCOPES[route.scope])
  w.u8(TYPES[route.type])
  w.u32(route.onlink ? RTNH_F_ONLINK : 0)
  ROUTE.encode(w, {
    dst: length === 0 ? undefined : prefixBase(route.dst),
    link: route.link,
    gateway: route.gateway,
    metric: route.metric,
    source: route.source,
    metrics: route.mtu === undefined ? undefined : { mtu: route.mtu },
    multipath: route.nextHops,
    table: route.table,
  })
}

/** Body of RTM_GETROUTE (with DUMP). With strict checking the kernel itself picks the table and protocol; 0 is any. */
export function encodeGetRoutes(
  w: Writer,
  family: Family,
  which: { readonly table?: number; readonly protocol?: number } = {},
): void {
  w.u8(afOf(family))
  w.u8(0)
  w.u16(0)
  w.u8(0)
  w.u8(which.protocol ?? 0)
  w.u16(0)
  w.u32(0)
  ROUTE.encode(w, { table: which.table })
}

/** A route, or undefined for another family than IPv4 and IPv6, a cached clone, or a type without a name. */
export function decodeRoute(r: Reader): Route | undefined {
  const family = familyOfAf(r.u8())
  const length = r.u8()
  r.u16()
  const table = r.u8()
  const protocol = r.u8()
  const scope = SCOPE_NAMES.get(r.u8())
  const type = TYPE_NAMES.get(r.u8())
  const flags = r.u32()
  if (family === undefined || type === undefined || flags & 0x200) return undefined
  const at = r.at
  if (length > BITS[family]) throw new DecodeError(`a prefix of ${length} bits`, at)
  const v = ROUTE.decode(r)
  const base = v.dst ?? fromNumber(family, 0n)
  if (familyOf(base) !== family) throw new DecodeError('a destination of the other family', at)
  return {
    dst: makePrefix(family, toNumber(base), length),
    type,
    table: v.table ?? table,
    protocol,
    scope: scope ?? 'global',
    link: v.link,
    gateway: v.gateway,
    onlink: (flags & RTNH_F_ONLINK) !== 0 || undefined,
    metric: v.metric,
    source: v.source,
    mtu: v.metrics?.mtu,
    nextHops: v.multipath,
  }
}
