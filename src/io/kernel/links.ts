// Network interfaces of the namespace that the socket was opened in.
import {
  decodeLink,
  encodeChangeLink,
  encodeDeleteLink,
  encodeDeleteLinks,
  encodeGetLink,
  encodeNewLink,
  type Link,
  type LinkSpec,
  type NewLink,
} from '../../core/netlink/link.ts'
import { NLM_F } from '../../core/netlink/message.ts'
import { RTM } from '../../core/netlink/rtnetlink.ts'
import type { NetlinkSocket } from './netlink-socket.ts'

export function readLinks(socket: NetlinkSocket): Link[] {
  return socket.dump({ op: 'read links', type: RTM.GETLINK, body: w => encodeGetLink(w) }, m => decodeLink(m.body))
}

/** By name or index; undefined when there is none. */
export function readLink(socket: NetlinkSocket, which: string | number): Link | undefined {
  const query = typeof which === 'number' ? { index: which } : { name: which }
  return socket.get(
    { op: 'read link', object: String(which), type: RTM.GETLINK, body: w => encodeGetLink(w, query) },
    m => decodeLink(m.body),
  )
}

/** Creates a link; `isPresent` when the name (or the peer's) is taken. */
export function createLink(socket: NetlinkSocket, link: NewLink): void {
  socket.request({
    op: `create ${link.kind} link`,
    object: link.name,
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: w => encodeNewLink(w, link),
  })
}

/** Changes what `spec` names; a new name needs the link to be down (or a kernel from 6.2 on). */
export function writeLink(socket: NetlinkSocket, index: number, spec: LinkSpec): void {
  socket.request({
    op: 'change link',
    object: String(index),
    type: RTM.NEWLINK,
    body: w => encodeChangeLink(w, index, spec),
  })
}

export function deleteLink(socket: NetlinkSocket, index: number): void {
  socket.request({ op: 'delete link', object: String(index), type: RTM.DELLINK, body: w => encodeDeleteLink(w, index) })
}

/** All of a group at once; `isMissing` when there is none. */
export function deleteLinks(socket: NetlinkSocket, group: number): void {
  socket.request({
    op: 'delete links of group',
    object: String(group),
    type: RTM.DELLINK,
    body: w => encodeDeleteLinks(w, group),
  })
}
