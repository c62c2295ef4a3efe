// Neighbour, proxy and VXLAN forwarding entries of the socket's namespace.
import { NLM_F } from '../../core/netlink/message.ts'
import { decodeNeighbour, encodeGetNeighbours, encodeNeighbour, type Neighbour } from '../../core/netlink/neighbour.ts'
import { RTM } from '../../core/netlink/rtnetlink.ts'
import type { NetlinkSocket } from './netlink-socket.ts'

const name = (n: Neighbour): string => `${n.kind} ${n.address}${n.mac ? ` ${n.mac}` : ''} on link ${n.link}`

/** All entries of one kind, of all interfaces; of one family only, when `af` (2 or 10) is given. */
export function readNeighbours(socket: NetlinkSocket, kind: Neighbour['kind'], af = 0): Neighbour[] {
  return socket
    .dump({ op: 'read neighbours', type: RTM.GETNEIGH, body: w => encodeGetNeighbours(w, kind, af) }, m =>
      decodeNeighbour(m.body),
    )
    .filter((n): n is Neighbour => n !== undefined && n.kind === kind)
}

/** Adds it, or takes the place of the entry for the same address on the same link. */
export function writeNeighbour(socket: NetlinkSocket, neighbour: Neighbour): void {
  socket.request({
    op: 'write neighbour',
    object: name(neighbour),
    type: RTM.NEWNEIGH,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    body: w => encodeNeighbour(w, neighbour),
  })
}

export function deleteNeighbour(socket: NetlinkSocket, neighbour: Neighbour): void {
  socket.request({
    op: 'delete neighbour',
    object: name(neighbour),
    type: RTM.DELNEIGH,
    body: w => encodeNeighbour(w, neighbour),
  })
}
