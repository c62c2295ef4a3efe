// Forgetting tracked connections. An address that is given to another pod must not inherit what its last holder was
// allowed: packets of a connection that the kernel remembers are not judged anew.
import { setImmediate as turn } from 'node:timers/promises'
import { type Addr, FAMILIES, familyOf, toBytes } from '../../core/net/addr.ts'
import {
  type Connection,
  CT,
  decodeConnection,
  encodeDeleteConnection,
  encodeGetConnections,
  involves,
} from '../../core/netlink/conntrack.ts'
import { KernelError } from './kernel-error.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'

/** Deletions until others get the processor: some 10 ms. */
const SLICE = 250

/**
 * Deletes every connection that involves one of the addresses, and says how many there were. `netns`: path of the
 * namespace, the process's own without.
 *
 * The whole table of a family is read once, about 2.5 µs a connection. The kernel could select, but for IPv6 (to Linux 6.18
 * at least) it takes the outcome of the comparison the wrong way round and tells the others, and for IPv4 the four walks
 * that four ends of a connection need gain little.
 */
export async function flushAddresses(addresses: readonly Addr[], netns?: string): Promise<number> {
  if (addresses.length === 0) return 0
  using socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  const found = FAMILIES.flatMap(family => {
    const own = addresses.filter(address => familyOf(address) === family)
    return own.length === 0 ? [] : connectionsOf(socket, own)
  })
  for (const [index, connection] of found.entries()) {
    if (index % SLICE === SLICE - 1) await turn()
    deleteConnection(socket, connection)
  }
  return found.length
}

/** Of addresses of one family. What does not hold the bytes of one of them is not looked at any further. */
function connectionsOf(socket: NetlinkSocket, addresses: readonly Addr[]): Connection[] {
  const wanted = addresses.map(toBytes)
  const request = {
    op: 'list connections',
    object: addresses.join(' '),
    type: CT.GET,
    body: (w: Parameters<typeof encodeGetConnections>[0]) => encodeGetConnections(w, familyOf(addresses[0]!)),
  }
  const told = socket.dump(request, ({ body }) => {
    const bytes = Buffer.from(body.bytes.buffer, body.bytes.byteOffset + body.at, body.left)
    return wanted.some(address => bytes.includes(address)) ? decodeConnection(body) : undefined
  })
  return told.filter(c => c !== undefined).filter(c => addresses.some(address => involves(c, address)))
}

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
