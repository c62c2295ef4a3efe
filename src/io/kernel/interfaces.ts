// The interfaces of the namespace with their addresses, read when the kernel says that something about them changed.
import type { Addr } from '../../core/net/addr.ts'
import { RTNLGRP } from '../../core/netlink/rtnetlink.ts'
import { readAddresses } from './addresses.ts'
import { readLinks } from './links.ts'
import { NETLINK, NetlinkSocket, subscribe } from './netlink-socket.ts'

/** Changes come in bursts: a pod's link alone makes several. */
const QUIET_MS = 100

export function readInterfaces(netns?: string): Map<string, readonly Addr[]> {
  using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
  const found = new Map<number, { readonly name: string; readonly addresses: Addr[] }>()
  for (const { index, name } of readLinks(socket)) found.set(index, { name, addresses: [] })
  for (const { link, address } of readAddresses(socket)) found.get(link)?.addresses.push(address)
  return new Map([...found.values()].map(({ name, addresses }) => [name, addresses.sort()]))
}

/** Calls `changed` some time after links or addresses changed, until the returned function is called. */
export function watchInterfaces(changed: () => void, netns?: string): () => void {
  let timer: NodeJS.Timeout | undefined
  const soon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      changed()
    }, QUIET_MS).unref()
  }
  const groups = [RTNLGRP.LINK, RTNLGRP.IPV4_IFADDR, RTNLGRP.IPV6_IFADDR]
  const stop = subscribe(
    { protocol: NETLINK.ROUTE, groups, ...(netns !== undefined && { netns }) },
    { messages: soon, overrun: soon },
  )
  return () => {
    clearTimeout(timer)
    stop()
  }
}
