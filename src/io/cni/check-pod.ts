// Whether a pod's link to its node is still what ADD made, said in words: the kernel is asked, nothing is mended.
import { HOST_MAC } from '../../core/base/register.ts'
import { BITS, familyOf } from '../../core/net/addr.ts'
import { EVERYWHERE, hostPrefix } from '../../core/net/prefix.ts'
import { readAddresses } from '../kernel/addresses.ts'
import { KernelError } from '../kernel/kernel-error.ts'
import { readLink } from '../kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../kernel/netlink-socket.ts'
import { readRoutes } from '../kernel/routes.ts'
import { GATEWAYS, type HostNetwork, type PodWiring, routesOf } from './pod-network.ts'

export type ExpectedWiring = Pick<
  PodWiring,
  'netns' | 'interface' | 'hostInterface' | 'owner' | 'addresses' | 'mac' | 'routes'
>

/** What is wrong, one sentence each; nothing if all is right. */
export function checkPod(expected: ExpectedWiring, { hostNetns }: HostNetwork = {}): string[] {
  try {
    using host = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
    using pod = new NetlinkSocket(NETLINK.ROUTE, expected.netns)
    return [...checkHost(host, expected), ...checkInside(pod, expected)]
  } catch (error) {
    if (error instanceof KernelError && error.op === 'open') return [`there is no network namespace ${expected.netns}`]
    throw error
  }
}

function* checkHost(host: NetlinkSocket, { hostInterface: name, owner, addresses }: ExpectedWiring): Iterable<string> {
  const link = readLink(host, name)
  if (link === undefined) {
    yield `there is no interface ${name} on the host`
    return
  }
  if (!link.up) yield `${name} is down`
  else if (!link.running) yield `${name} has no carrier`
  if (link.mac !== HOST_MAC) yield `${name} has the MAC address ${link.mac}, not ${HOST_MAC}`
  if (link.alias !== owner) yield `${name} belongs to ${link.alias ?? 'nobody'}, not to ${owner}`
  const routes = readRoutes(host, { table: 254 })
  for (const address of addresses) {
    const dst = hostPrefix(address)
    if (!routes.some(route => route.dst === dst && route.link === link.index))
      yield `there is no route to ${dst} over ${name}`
  }
}

function* checkInside(
  pod: NetlinkSocket,
  { interface: name, addresses, mac, routes: wanted }: ExpectedWiring,
): Iterable<string> {
  const link = readLink(pod, name)
  if (link === undefined) {
    yield `there is no interface ${name} in the pod`
    return
  }
  if (!link.up) yield `${name} is down in the pod`
  if (mac !== undefined && link.mac !== mac) yield `${name} has the MAC address ${link.mac} in the pod, not ${mac}`
  const found = readAddresses(pod, link.index)
  const routes = readRoutes(pod, { table: 254 })
  for (const address of addresses) {
    const family = familyOf(address)
    if (!found.some(entry => entry.address === address && entry.prefixLength === BITS[family])) {
      yield `${name} does not have the address ${hostPrefix(address)} in the pod`
    }
    for (const dst of routesOf({ routes: wanted }, address)) {
      if (routes.some(route => route.dst === dst && route.gateway === GATEWAYS[family])) continue
      yield `the pod has no ${EVERYWHERE.includes(dst) ? 'default route' : `route to ${dst}`} via ${GATEWAYS[family]}`
    }
  }
}
