// The canary's two links, made as pods' are, each to a network namespace that has no name: it is there as long as this
// process holds it, and the kernel removes it and its link with the process, however that ends.
import { CANARIES, CANARY, CANARY_PORTS, type CanaryEndpoint } from '../../core/calc/canary.ts'
import { FAMILIES, type Family, familyOf } from '../../core/net/addr.ts'
import { hostPrefix } from '../../core/net/prefix.ts'
import { type Route, TABLE_MAIN } from '../../core/netlink/route.ts'
import type { CanaryFacts, CanarySeen } from '../../core/node/canary.ts'
import { CanarySockets } from '../kernel/canary-sockets.ts'
import { readLink } from '../kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../kernel/netlink-socket.ts'
import { newNetns } from '../kernel/netns.ts'
import { readRoutes } from '../kernel/routes.ts'
import { close } from '../kernel/sys.ts'
import { readSysctl } from '../kernel/sysctl.ts'
import { connectPod, type HostNetwork, hasIpv6 } from './pod-network.ts'

/** The alias of the host's ends: no container has it, so that no collection of containers takes them. */
const OWNER = 'gingham canary'
const FORWARDING: Readonly<Record<Family, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
}

export class CanaryLinks {
  /** Those that the kernel knows. */
  readonly families: readonly Family[]
  readonly #host: HostNetwork
  readonly #held: readonly number[]
  readonly #sockets: CanarySockets

  private constructor(host: HostNetwork, held: readonly number[], sockets: CanarySockets, families: readonly Family[]) {
    this.#host = host
    this.#held = held
    this.#sockets = sockets
    this.families = families
  }

  /** Makes them; what an earlier agent left of them goes first. */
  static async open(host: HostNetwork = {}): Promise<CanaryLinks> {
    const families = FAMILIES.filter(family => family === 4 || hasIpv6(host))
    const held: number[] = []
    const lay = async ({ interfaceName, addresses }: CanaryEndpoint): Promise<string> => {
      const fd = newNetns()
      held.push(fd)
      const netns = `/proc/self/fd/${fd}`
      const wiring = { netns, interface: 'eth0', hostInterface: interfaceName, owner: OWNER, allowForwarding: false }
      await connectPod({ ...wiring, addresses: addresses.filter(a => families.includes(familyOf(a))) }, host)
      return netns
    }
    try {
      const [receiver, sender] = [await lay(CANARY.receiver), await lay(CANARY.sender)]
      return new CanaryLinks(
        host,
        held,
        new CanarySockets({ receiver, sender, families, ports: CANARY_PORTS }),
        families,
      )
    } catch (error) {
      for (const fd of held) close(fd)
      throw error
    }
  }

  send(family: Family, ms: number): Promise<CanarySeen> {
    return this.#sockets.send(family, ms)
  }

  /** What on this node may be why packets go wrong. */
  look(): CanaryFacts {
    const { hostNetns } = this.#host
    using socket = new NetlinkSocket(NETLINK.ROUTE, hostNetns)
    const routes = readRoutes(socket, { table: TABLE_MAIN })
    const links = CANARIES.map(({ interfaceName, addresses }) => {
      const link = readLink(socket, interfaceName)
      const isRoute = ({ dst, type }: Route, to: string): boolean => dst === to && type === 'unicast'
      const unrouted = addresses
        .filter(a => this.families.includes(familyOf(a)))
        .filter(a => !routes.some(r => isRoute(r, hostPrefix(a)) && r.link === link?.index))
      return { name: interfaceName, state: link ? (link.up ? 'up' : 'down') : 'gone', unrouted } as const
    })
    const count = (name: string): number => Number(readSysctl(`net/netfilter/nf_conntrack_${name}`, hostNetns) ?? 0)
    return {
      notForwarded: this.families.filter(f => readSysctl(FORWARDING[f], hostNetns) !== '1'),
      links,
      connections: { count: count('count'), max: count('max') },
    }
  }

  /** The kernel takes the links away with the namespaces, some time later. */
  close(): void {
    this.#sockets.close()
    for (const fd of this.#held) close(fd)
  }
}
