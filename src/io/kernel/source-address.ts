// From which address the kernel would speak to another: it decides when a datagram socket is connected, and nothing is sent.
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { type Addr, type Family, parseAddr } from '../../core/net/addr.ts'

/** Any port: none is used. */
const PORT = 9

/** `target` is an address or a host name. Undefined if it has no address of the family, or there is no way to it. */
export async function readSourceAddress(target: string, family: Family): Promise<Addr | undefined> {
  const found = await lookup(target, { family }).catch(() => undefined)
  if (found === undefined) return undefined
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
  try {
    return await new Promise<Addr | undefined>(resolve => {
      socket.on('error', () => resolve(undefined))
      socket.connect(PORT, found.address, () => resolve(parseAddr(socket.address().address)))
    })
  } finally {
    socket.close()
  }
}
