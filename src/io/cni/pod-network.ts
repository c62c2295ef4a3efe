// A pod's link to its node, made the way Calico makes it: a veth pair whose host end answers for the gateway, addresses
// of full length in the pod, one route per address on the host. Everything works at once when `connectPod` returns.
import { statSync } from 'node:fs'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { GATEWAY4, GATEWAY6, HOST_MAC, POD_ROUTE_PROTOCOL } from '../../core/base/register.ts'
import { type Addr, addr, BITS, type Family, familyOf } from '../../core/net/addr.ts'
import { EVERYWHERE, hostPrefix, type Prefix, prefixBase, prefixFamily, prefixLength } from '../../core/net/prefix.ts'
import { IFA_F } from '../../core/netlink/address.ts'
import type { Link } from '../../core/netlink/link.ts'
import { NUD } from '../../core/netlink/neighbour.ts'
import { type Route, TABLE_MAIN } from '../../core/netlink/route.ts'
import { addAddress } from '../kernel/addresses.ts'
import { ERRNO, KernelError } from '../kernel/kernel-error.ts'
import { deleteLinkAside } from '../kernel/link-reaper.ts'
import { createLink, deleteLink, readLink, readLinks, writeLink } from '../kernel/links.ts'
import { writeNeighbour } from '../kernel/neighbours.ts'
import { NETLINK, NetlinkSocket } from '../kernel/netlink-socket.ts'
import { addRoute, readRoutes, replaceRoute } from '../kernel/routes.ts'
import { close, open } from '../kernel/sys.ts'
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts'

export type PodWiring = {
  /** Path of the pod's network namespace. */
  readonly netns: string
  /** The interface inside, `eth0`. */
  readonly interface: string
  /** The host's end, `cali<11 hex>`. */
  readonly hostInterface: string
  /** Whose it is: kept as the host end's alias, where a later DEL finds it without a datastore. */
  readonly owner: string
  /** At most one of a family. */
  readonly addresses: readonly Addr[]
  /** What it reaches over its interface, through the node; everything without. */
  readonly routes?: readonly Prefix[] | undefined
  readonly mtu?: number | undefined
  /** Of both ends, in each direction; the kernel makes as many as there are processors without. */
  readonly queues?: number | undefined
  /** Of the pod's end; the kernel's choice without. */
  readonly mac?: string | undefined
  /** Whether the pod may forward packets (container_settings.allow_ip_forwarding). */
  readonly allowForwarding: boolean
  /** Whether it may send from addresses that are not routed to it. */
  readonly spoofs?: boolean
}

/** The pod's end as it came out. */
export type ConnectedPod = { readonly mac: string; readonly mtu: number }

/** Where the host's ends are: another namespace than the process's own, for tests. */
export type HostNetwork = { readonly hostNetns?: string | undefined }

export const GATEWAYS: Readonly<Record<Family, Addr>> = { 4: addr(GATEWAY4), 6: addr(GATEWAY6) }
const SCOPE_LINK = 253
const TABLE_LOCAL = 255
const PATIENCE_MS = 5000
/** So many looks at the kernel follow each other at once: some two milliseconds. */
const QUICK_LOOKS = 100
const LOOPBACK = 1

/** Settings of the host's end, in the order of writing: those of IPv6 before the link is up, so that nothing is tentative. */
const HOST_SETTINGS: Readonly<Record<Family, (name: string) => readonly (readonly [string, number])[]>> = {
  4: name => [
    [`net/ipv4/conf/${name}/route_localnet`, 1],
    [`net/ipv4/neigh/${name}/proxy_delay`, 0],
    [`net/ipv4/conf/${name}/proxy_arp`, 1],
    [`net/ipv4/conf/${name}/forwarding`, 1],
    [`net/ipv4/conf/${name}/rp_filter`, 1],
  ],
  6: name => [
    [`net/ipv6/conf/${name}/accept_dad`, 0],
    // We give it the gateway's address ourselves: the kernel would do so later, in a work queue.
    [`net/ipv6/conf/${name}/addr_gen_mode`, 1],
    [`net/ipv6/conf/${name}/disable_ipv6`, 0],
    [`net/ipv6/conf/${name}/proxy_ndp`, 1],
    [`net/ipv6/conf/${name}/forwarding`, 1],
    [`net/ipv6/conf/${name}/accept_ra`, 0],
  ],
}

const familiesOf = (addresses: readonly Addr[]): Family[] => [...new Set(addresses.map(familyOf))]

/** The pod's own routes that go with an address. */
export const routesOf = ({ routes = EVERYWHERE }: Pick<PodWiring, 'routes'>, address: Addr): Prefix[] =>
  routes.filter(dst => prefixFamily(dst) === familyOf(address))

/** The host's routes to the pod: protocol and metric as Calico's, so that either recognises the other's. */
export const hostRoutes = (addresses: readonly Addr[], link: number): Route[] =>
  addresses.map(address => ({
    dst: hostPrefix(address),
    type: 'unicast',
    table: TABLE_MAIN,
    protocol: POD_ROUTE_PROTOCOL,
    scope: 'link',
    link,
    ...(familyOf(address) === 6 ? { metric: 1024 } : {}),
  }))

/**
 * Makes the pair, addresses and routes. An older pair of the host's name is removed first, so that a repeated call is
 * safe. Throws the KernelError of the first step that failed; what was made until then goes with `disconnectPod`.
 */
export async function connectPod(wiring: PodWiring, { hostNetns }: HostNetwork = {}): Promise<ConnectedPod> {
  using host = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
  using pod = new NetlinkSocket(NETLINK.ROUTE, wiring.netns)
  if (isSameNetns(wiring.netns, hostNetns)) throw new Error(`${wiring.netns} is the host's own network namespace`)
  const families = familiesOf(wiring.addresses)
  removeLink(host, wiring.hostInterface)
  preparePod(wiring, families)
  const ends = createPair(wiring, { host, pod })
  writeLink(host, ends.host.index, { alias: wiring.owner })
  for (const family of families) {
    for (const [setting, value] of HOST_SETTINGS[family](wiring.hostInterface)) writeSysctl(setting, value, hostNetns)
  }
  // The policy table knows every source that a pod may have; the kernel's check knows its routes only.
  if (wiring.spoofs) writeSysctl(`net/ipv4/conf/${wiring.hostInterface}/rp_filter`, 0, hostNetns)
  if (families.includes(6)) {
    writeSysctl(`net/ipv6/conf/${wiring.interface}/accept_dad`, 0, wiring.netns)
    writeSysctl(`net/ipv6/conf/${wiring.interface}/disable_ipv6`, 0, wiring.netns)
  }
  writeLink(host, ends.host.index, { up: true })
  writeLink(pod, LOOPBACK, { up: true })
  writeLink(pod, ends.pod.index, { up: true })
  await until('carrier', () => isRunning(host, ends.host.index) && isRunning(pod, ends.pod.index))
  if (families.includes(6)) {
    const { index } = ends.host
    addAddress(host, { link: index, address: GATEWAYS[6], prefixLength: 64, scope: SCOPE_LINK, flags: IFA_F.NODAD })
  }
  for (const address of wiring.addresses)
    addInPod(pod, { address, link: ends.pod.index, routes: routesOf(wiring, address) })
  const { mac = '', mtu } = ends.pod
  for (const address of wiring.addresses) {
    // Usable at once, confirmed by the kernel when used: the pod's end may not listen to solicitations yet.
    writeNeighbour(host, { kind: 'neighbour', link: ends.host.index, address, mac, state: NUD.STALE })
  }
  for (const route of hostRoutes(wiring.addresses, ends.host.index)) replaceRoute(host, route)
  const sixes = wiring.addresses.filter(address => familyOf(address) === 6)
  if (sixes.length > 0) {
    await until('IPv6 addresses', () => areLocal(pod, sixes) && areLocal(host, [GATEWAYS[6]]))
  }
  return { mac, mtu }
}

/** What is written into a pod's namespace would take the node off the network in its own. */
function isSameNetns(netns: string, hostNetns = '/proc/thread-self/ns/net'): boolean {
  const [a, b] = [statSync(netns), statSync(hostNetns)]
  return a.dev === b.dev && a.ino === b.ino
}

/** Settings of the whole namespace; a new one takes over some of the host's (net.core.devconf_inherit_init_net). */
function preparePod({ netns, allowForwarding }: PodWiring, families: readonly Family[]): void {
  const forward = allowForwarding ? 1 : 0
  if (families.includes(4)) writeSysctl('net/ipv4/ip_forward', forward, netns)
  if (families.includes(6)) {
    for (const scope of ['all', 'default', 'lo']) writeSysctl(`net/ipv6/conf/${scope}/disable_ipv6`, 0, netns)
    writeSysctl('net/ipv6/conf/all/forwarding', forward, netns)
  }
}

type Sockets = { readonly host: NetlinkSocket; readonly pod: NetlinkSocket }

/** Both ends, still down. The pod's end never exists outside of its namespace, where its name could be taken. */
function createPair(wiring: PodWiring, { host, pod }: Sockets): { readonly host: Link; readonly pod: Link } {
  const { hostInterface: name, mtu, queues } = wiring
  const fd = open(wiring.netns)
  try {
    createLink(host, {
      kind: 'veth',
      name,
      mac: HOST_MAC,
      mtu,
      queues,
      peer: { name: wiring.interface, netnsFd: fd, mtu, queues, mac: wiring.mac },
    })
  } finally {
    close(fd)
  }
  return { host: presentLink(host, name), pod: presentLink(pod, wiring.interface) }
}

/** Asks the kernel again until its work queues have done something; they take about a millisecond. */
async function until(what: string, isDone: () => boolean): Promise<void> {
  const began = performance.now()
  for (let looks = 0; !isDone(); looks++) {
    if (performance.now() - began > PATIENCE_MS)
      throw new Error(`the kernel did not finish within ${PATIENCE_MS} ms: ${what}`)
    // A timer is late by more than what is mostly waited for; what waits beside us has its turn all the same.
    await (looks < QUICK_LOOKS ? turn() : sleep(1))
  }
}

/** A link that was just made; somebody may have deleted it since. */
function presentLink(socket: NetlinkSocket, which: string | number): Link {
  const link = readLink(socket, which)
  if (link === undefined) {
    throw new KernelError('connect pod', ERRNO.ENODEV, {
      object: String(which),
      detail: 'the link was deleted meanwhile',
    })
  }
  return link
}

/** Before it runs, an end's queue drops what is sent. */
const isRunning = (socket: NetlinkSocket, index: number): boolean => presentLink(socket, index).running === true

/** An IPv6 address is listed before packets to it are taken in: that begins with its route in the table `local`. */
function areLocal(socket: NetlinkSocket, addresses: readonly Addr[]): boolean {
  const routes = readRoutes(socket, { families: [6], table: TABLE_LOCAL })
  return addresses.every(address => routes.some(({ type, dst }) => type === 'local' && dst === hostPrefix(address)))
}

/** An address with the ways out of its family. */
function addInPod(
  pod: NetlinkSocket,
  { address, link, routes }: { readonly address: Addr; readonly link: number; readonly routes: readonly Prefix[] },
): void {
  const family = familyOf(address)
  const gateway = GATEWAYS[family]
  const base = { type: 'unicast', table: TABLE_MAIN, protocol: POD_ROUTE_PROTOCOL, link } as const
  addAddress(pod, { link, address, prefixLength: BITS[family], flags: family === 6 ? IFA_F.NODAD : undefined })
  // The gateway's MAC never changes, and knowing it saves two failures: proxy ARP stays silent on a node without any
  // route to the gateway's address, and the first solicitation may come before the host's end listens to it.
  writeNeighbour(pod, { kind: 'neighbour', link, address: gateway, mac: HOST_MAC, state: NUD.PERMANENT })
  if (family === 4) addRoute(pod, { ...base, dst: hostPrefix(gateway), scope: 'link' })
  for (const dst of routes) addRoute(pod, { ...base, dst, scope: 'global', gateway })
}

function removeLink(socket: NetlinkSocket, name: string): boolean {
  const link = readLink(socket, name)
  if (link === undefined) return false
  try {
    deleteLink(socket, link.index)
    return true
  } catch (error) {
    // Another one was faster, or the pod's namespace went and took the pair along.
    if (error instanceof KernelError && error.isMissing) return false
    throw error
  }
}

/** Removes the pair (the pod's end and all routes go with it) and says whether there was one. */
export const disconnectPod = (hostInterface: string, { hostNetns }: HostNetwork = {}): Promise<boolean> =>
  deleteLinkAside(hostInterface, hostNetns)

/** The pod's end as it is; undefined if there is none. */
export function readPodLink(wiring: Pick<PodWiring, 'netns' | 'interface'>): ConnectedPod | undefined {
  using pod = new NetlinkSocket(NETLINK.ROUTE, wiring.netns)
  const link = readLink(pod, wiring.interface)
  return link && { mac: link.mac ?? '', mtu: link.mtu }
}

/** The addresses that the host's end leads to, if it has this owner: what an ADD that is repeated finds. */
export function addressesOf(hostInterface: string, owner: string, { hostNetns }: HostNetwork = {}): Addr[] {
  using host = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
  const link = readLink(host, hostInterface)
  if (link?.alias !== owner) return []
  const routes = readRoutes(host, { table: TABLE_MAIN }).filter(route => route.link === link.index)
  return routes.flatMap(({ dst }) => (isHost(dst) ? [prefixBase(dst)] : []))
}

const isHost = (dst: Prefix): boolean => prefixLength(dst) === BITS[prefixFamily(dst)]

/** Who the host's end belongs to: '' if nobody wrote that down, undefined if there is no such interface. */
export function ownerOf(hostInterface: string, { hostNetns }: HostNetwork = {}): string | undefined {
  using host = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
  const link = readLink(host, hostInterface)
  return link && (link.alias ?? '')
}

/**
 * Whether the host's end was made by somebody who died before it was of any use: the kernel takes an alias only after the
 * link is there, and it is switched on later still. Whoever asks for its container's end may remove it.
 */
export function isUnfinished(hostInterface: string, { hostNetns }: HostNetwork = {}): boolean {
  using host = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
  const link = readLink(host, hostInterface)
  return link?.kind === 'veth' && !link.alias && !link.up
}

/** Host ends by their names that carry an owner. */
export function ownedInterfaces({ hostNetns }: HostNetwork = {}): ReadonlyMap<string, string> {
  using host = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
  const veths = readLinks(host).filter(link => link.kind === 'veth')
  return new Map(veths.flatMap(({ name, alias }) => (alias ? [[name, alias] as const] : [])))
}

/** Whether the kernel knows IPv6 at all (it may be booted without). */
export const hasIpv6 = ({ hostNetns }: HostNetwork = {}): boolean =>
  readSysctl('net/ipv6/conf/all/disable_ipv6', hostNetns) !== undefined
