// The interfaces of a node as the search for its address and the size of pods' packets see them.
import type { Addr } from '../../core/net/addr.ts'
import { readAddresses } from './addresses.ts'
import { readLinks } from './links.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'

export type Interface = {
  readonly name: string
  readonly up: boolean
  readonly mtu: number
  readonly addresses: readonly { readonly address: Addr; readonly length: number }[]
}

/** In the kernel's order. */
export function readInterfaces(netns?: string): Interface[] {
  using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
  const addresses = readAddresses(socket)
  return readLinks(socket).map(({ index, name, up, mtu }) => ({
    name,
    up,
    mtu,
    addresses: addresses
      .filter(({ link }) => link === index)
      .map(({ address, prefixLength }) => ({ address, length: prefixLength })),
  }))
}
