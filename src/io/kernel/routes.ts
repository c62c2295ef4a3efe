// Routes of the socket's namespace.

import { FAMILIES, type Family } from '../../core/net/addr.ts'
import { NLM_F } from '../../core/netlink/message.ts'
import { decodeRoute, encodeGetRoutes, encodeRoute, type Route } from '../../core/netlink/route.ts'
import { RTM } from '../../core/netlink/rtnetlink.ts'
import { KernelError } from './kernel-error.ts'
import type { NetlinkSocket } from './netlink-socket.ts'

export type RouteFilter = { readonly families?: readonly Family[]; readonly table?: number; readonly protocol?: number }

const name = (r: Route): string =>
  `${r.type} ${r.dst}${r.gateway ? ` via ${r.gateway}` : ''}${r.link ? ` dev ${r.link}` : ''} table ${r.table}`

/** The routes that the filter lets through, of all tables unless it names one. */
export function readRoutes(socket: NetlinkSocket, filter: RouteFilter = {}): Route[] {
  const found = (filter.families ?? FAMILIES).flatMap(family => dump(socket, family, filter))
  // The kernel filters too, but not every kernel by everything.
  return found.filter(
    (r): r is Route =>
      r !== undefined &&
      (filter.table === undefined || r.table === filter.table) &&
      (filter.protocol === undefined || r.protocol === filter.protocol),
  )
}

function dump(socket: NetlinkSocket, family: Family, filter: RouteFilter): (Route | undefined)[] {
  try {
    return socket.dump({ op: 'read routes', type: RTM.GETROUTE, body: w => encodeGetRoutes(w, family, filter) }, m =>
      decodeRoute(m.body),
    )
  } catch (error) {
    // A table that nobody has put a route into does not exist.
    if (filter.table !== undefined && isMissing(error)) return []
    throw error
  }
}

const isMissing = (error: unknown): boolean => error instanceof KernelError && error.isMissing

/** `isPresent` when there is one for the same destination, table and metric. */
export const addRoute = (socket: NetlinkSocket, route: Route): void =>
  put(socket, 'add route', route, NLM_F.CREATE | NLM_F.EXCL)

/** Adds it, or takes the place of the one for the same destination, table and metric. */
export const replaceRoute = (socket: NetlinkSocket, route: Route): void =>
  put(socket, 'replace route', route, NLM_F.CREATE | NLM_F.REPLACE)

function put(socket: NetlinkSocket, op: string, route: Route, flags: number): void {
  socket.request({ op, object: name(route), type: RTM.NEWROUTE, flags, body: w => encodeRoute(w, route) })
}

/** `isMissing` when there is none. */
export function deleteRoute(socket: NetlinkSocket, route: Route): void {
  socket.request({ op: 'delete route', object: name(route), type: RTM.DELROUTE, body: w => encodeRoute(w, route) })
}
