// Forgetting tracked connections. An address that is given to another pod must not inherit what its last holder was
// allowed: packets of a connection that the kernel remembers are not judged anew.
import { type Addr, familyOf, toBytes } from '../../core/net/addr.ts'
import {
  type Connection,
  CT,
  decodeConnection,
  encodeDeleteConnection,
  encodeGetConnections,
  involves,
} from '../../core/netlink/conntrack.ts'
import { aside } from './aside.ts'
import { KernelError } from './kernel-error.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'

type Job = { readonly addresses: readonly Addr[]; readonly netns: string | undefined }

const flush = aside('conntrack', import.meta.url, ({ addresses, netns }: Job): number => {
  using socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  const found = connectionsOf(socket, addresses)
  for (const connection of found) deleteConnection(socket, connection)
  return found.length
})

/** Who asks while the kernel's table is walked shares the next walk. */
type Walk = { readonly addresses: Set<Addr>; readonly ended: Promise<number> }
const next = new Map<string | undefined, Walk>()
let last: Promise<unknown> = Promise.resolve()

/**
 * Deletes every connection that involves one of the addresses, and says how many there were (with those of others who asked
 * meanwhile). `netns`: path of the namespace, the process's own without.
 *
 * The whole table is read, about 2.5 µs a connection; and the kernel walks all its buckets, of all namespaces, for 10 to 30 ms
 * where nothing is in them. It could select, but for IPv6 (to Linux 6.18 at least) it takes the outcome of the comparison the
 * wrong way round and tells the others, and for IPv4 the four walks that four ends of a connection need gain little.
 */
export async function flushAddresses(addresses: readonly Addr[], netns?: string): Promise<number> {
  if (addresses.length === 0) return 0
  const shared = next.get(netns)
  if (shared) {
    for (const address of addresses) shared.addresses.add(address)
    return shared.ended
  }
  const own = new Set(addresses)
  const ended = last.then(() => {
    next.delete(netns)
    return flush({ addresses: [...own], netns })
  })
  last = ended.catch(() => {})
  next.set(netns, { addresses: own, ended })
  return ended
}

/** What does not hold the bytes of one of the addresses is not looked at any further. */
function connectionsOf(socket: NetlinkSocket, addresses: readonly Addr[]): Connection[] {
  const wanted = addresses.map(toBytes)
  const [family, other] = new Set(addresses.map(familyOf))
  const request = {
    op: 'list connections',
    object: addresses.join(' '),
    type: CT.GET,
    body: (w: Parameters<typeof encodeGetConnections>[0]) => encodeGetConnections(w, other ? undefined : family),
  }
  const told = socket.dump(request, ({ body }) => {
    const bytes = Buffer.from(body.bytes.buffer, body.bytes.byteOffset + body.at, body.left)
    return wanted.some(address => bytes.includes(address)) ? decodeConnection(body) : undefined
  })
  const own = new Set(addresses)
  return told.filter(c => c !== undefined).filter(c => involves(c, own))
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
