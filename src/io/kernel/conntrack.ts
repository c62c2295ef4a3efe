// Forgetting tracked connections. An address that is given to another pod must not inherit what its last holder was
// allowed: packets of a connection that the kernel remembers are not judged anew.
import { type Addr, familyOf, toBytes } from '../../core/net/addr.ts'
import type { Writer } from '../../core/netlink/bytes.ts'
import {
  type Connection,
  CT,
  decodeConnection,
  encodeDeleteConnection,
  encodeGetConnections,
  encodeGetFamily,
} from '../../core/netlink/conntrack.ts'
import { KernelError } from './kernel-error.ts'
import { NETLINK, NetlinkSocket, type Request } from './netlink-socket.ts'

/** An address may be at either end; translation of addresses may show it in one direction only. */
const ENDS = (['original', 'reply'] as const).flatMap(direction =>
  (['src', 'dst'] as const).map(side => ({ direction, side })),
)

/**
 * Deletes every connection that involves one of the addresses, and says how many there were. `netns`: path of the
 * namespace, the process's own without.
 */
export function flushAddresses(addresses: readonly Addr[], netns?: string): number {
  if (addresses.length === 0) return 0
  using socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  const found = new Map<number, Connection>()
  for (const address of addresses) {
    const told = familyOf(address) === 4 ? matching(socket, address) : containing(socket, address)
    for (const connection of told) if (involves(connection, address)) found.set(connection.id, connection)
  }
  for (const connection of found.values()) deleteConnection(socket, connection)
  return found.size
}

const involves = (connection: Connection, address: Addr): boolean =>
  ENDS.some(({ direction, side }) => connection[direction][side] === address)

/** The kernel looks through its table once for each end and tells what matches; an older one tells everything. */
function matching(socket: NetlinkSocket, address: Addr): Connection[] {
  return ENDS.flatMap(end =>
    socket.dump(
      dumpOf(address, w => encodeGetConnections(w, { address, ...end })),
      ({ body }) => decodeConnection(body),
    ),
  )
}

/**
 * Of IPv6 the kernel (to Linux 6.18 at least) tells the others instead: its filter takes the outcome of the comparison
 * the wrong way round. So everything is read, and what does not hold the address's bytes is not looked at any further.
 */
function containing(socket: NetlinkSocket, address: Addr): Connection[] {
  const wanted = toBytes(address)
  const found = socket.dump(
    dumpOf(address, w => encodeGetFamily(w, 6)),
    ({ body }) => {
      const bytes = Buffer.from(body.bytes.buffer, body.bytes.byteOffset + body.at, body.left)
      return bytes.includes(wanted) ? decodeConnection(body) : undefined
    },
  )
  return found.filter(connection => connection !== undefined)
}

const dumpOf = (object: Addr, body: (w: Writer) => void): Request => ({
  op: 'list connections',
  object,
  type: CT.GET,
  body,
})

function deleteConnection(socket: NetlinkSocket, connection: Connection): void {
  const { src, dst } = connection.original
  try {
    socket.request({
      op: 'delete connection',
      object: `${src} to ${dst}`,
      type: CT.DELETE,
      body: w => encodeDeleteConnection(w, connection),
    })
  } catch (error) {
    // It ended by itself meanwhile.
    if (!(error instanceof KernelError && error.isMissing)) throw error
  }
}
