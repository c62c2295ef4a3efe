// Addresses on the interfaces of the socket's namespace.
import { decodeAddress, encodeAddress, encodeGetAddresses, type LinkAddress } from '../../core/netlink/address.ts'
import { NLM_F } from '../../core/netlink/message.ts'
import { RTM } from '../../core/netlink/rtnetlink.ts'
import type { NetlinkSocket } from './netlink-socket.ts'

const name = (a: LinkAddress): string => `${a.address}/${a.prefixLength} on link ${a.link}`

/** Of both families; of one interface only, when its index is given. */
export function readAddresses(socket: NetlinkSocket, link = 0): LinkAddress[] {
  return socket.dump({ op: 'read addresses', type: RTM.GETADDR, body: w => encodeGetAddresses(w, 0, link) }, m =>
    decodeAddress(m.body),
  )
}

/** `isPresent` when the link has it already. */
export function addAddress(socket: NetlinkSocket, address: LinkAddress): void {
  socket.request({
    op: 'add address',
    object: name(address),
    type: RTM.NEWADDR,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: w => encodeAddress(w, address),
  })
}

export function deleteAddress(socket: NetlinkSocket, address: LinkAddress): void {
  socket.request({
    op: 'delete address',
    object: name(address),
    type: RTM.DELADDR,
    body: w => encodeAddress(w, address),
  })
}
