// A node and its pods as network namespaces, wired as a CNI plugin wires them: a veth whose host end is named `cali…`, a
// route to the pod's one address, forwarding on. Traffic is made and seen by packet sockets at the far ends, so a pod has
// no address and no stack that could answer; its neighbour entry is permanent and names nobody's MAC address, so that the
// pod's kernel lets go of a packet as soon as the sockets have seen it. `uplink` is a wire to the rest of the cluster.
import { execFileSync } from 'node:child_process'
import { HOST_MAC, INTERFACE_PREFIX } from '../../src/core/base/register.ts'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import { parsePrefix } from '../../src/core/net/prefix.ts'
import { NUD } from '../../src/core/netlink/neighbour.ts'
import { RTPROT, TABLE_MAIN } from '../../src/core/netlink/route.ts'
import { createLink, readLink, writeLink } from '../../src/io/kernel/links.ts'
import { writeNeighbour } from '../../src/io/kernel/neighbours.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { addRoute } from '../../src/io/kernel/routes.ts'
import { close, open } from '../../src/io/kernel/sys.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'

/** The far end of a wire to the node: a pod's only interface, or the uplink's. */
export type Wire = {
  readonly name: string
  /** The namespace of the far end, and the interface's index there. */
  readonly netns: string
  readonly index: number
  /** The near end, in the node. */
  readonly interfaceName: string
  readonly mac: string
}

export type Pod = Wire & { readonly address: Addr }

export type LabSpec = {
  /** Of the namespaces; unique on this machine. */
  readonly name: string
  /** Pod name → address. */
  readonly pods: Readonly<Record<string, string>>
  /** The networks behind the uplink. */
  readonly beyond?: readonly string[]
}

export type PodLab = {
  readonly node: string
  readonly pods: Readonly<Record<string, Pod>>
  readonly uplink: Wire
  readonly close: () => void
}

/** Of no interface: frames to it are for "another host", and end at the packet sockets. */
const NOBODY = '02:00:00:00:00:01'
const ETH = 'eth0'
const UPLINK = 'uplink'

const NODE_SETTINGS = {
  'net/ipv4/ip_forward': 1,
  'net/ipv4/conf/all/rp_filter': 0,
  'net/ipv4/conf/default/rp_filter': 0,
  // The frames of our tools carry no TCP checksum.
  'net/netfilter/nf_conntrack_checksum': 0,
  'net/ipv6/conf/all/disable_ipv6': 1,
  'net/ipv6/conf/default/disable_ipv6': 1,
} as const

export function openLab(spec: LabSpec): PodLab {
  const made: string[] = []
  const closeLab = (): void => {
    for (const name of made.splice(0)) execFileSync('ip', ['netns', 'del', name])
  }
  const netns = (part: string): string => {
    const name = `${spec.name}-${part}`
    execFileSync('ip', ['netns', 'add', name])
    made.push(name)
    return namedNetns(name)
  }
  try {
    const node = netns('node')
    for (const [setting, value] of Object.entries(NODE_SETTINGS)) writeSysctl(setting, value, node)
    using socket = new NetlinkSocket(NETLINK.ROUTE, node)
    // Without a local address the kernel takes no gateway.
    writeLink(socket, readLink(socket, 'lo')!.index, { up: true })
    const lay = (name: string, interfaceName: string, dst: readonly string[]): Wire =>
      layWire(socket, { name, interfaceName, netns: netns(name), dst })
    const pods = Object.entries(spec.pods).map(([name, text]): [string, Pod] => {
      const address = addr(text)
      return [name, { ...lay(name, `${INTERFACE_PREFIX}${name}`, [`${address}/32`]), address }]
    })
    const uplink = lay(UPLINK, UPLINK, spec.beyond ?? [])
    return { node, pods: Object.fromEntries(pods), uplink, close: closeLab }
  } catch (error) {
    closeLab()
    throw error
  }
}

type WireSpec = { name: string; interfaceName: string; netns: string; dst: readonly string[] }

function layWire(node: NetlinkSocket, { name, interfaceName, netns, dst }: WireSpec): Wire {
  writeSysctl('net/ipv6/conf/default/disable_ipv6', 1, netns)
  const netnsFd = open(netns)
  try {
    createLink(node, { kind: 'veth', name: interfaceName, mac: HOST_MAC, peer: { name: ETH, netnsFd } })
  } finally {
    close(netnsFd)
  }
  using far = new NetlinkSocket(NETLINK.ROUTE, netns)
  const end = readLink(far, ETH)!
  writeLink(far, end.index, { up: true })
  const link = readLink(node, interfaceName)!.index
  writeLink(node, link, { up: true })
  for (const text of dst) {
    const to = { dst: parsePrefix(text)!, type: 'unicast', table: TABLE_MAIN, protocol: RTPROT.BOOT, link } as const
    if (text.endsWith('/32')) {
      addRoute(node, { ...to, scope: 'link' })
      const address = addr(text.slice(0, -3))
      writeNeighbour(node, { kind: 'neighbour', link, address, mac: NOBODY, state: NUD.PERMANENT })
    } else {
      const gateway = addr('169.254.1.2')
      writeNeighbour(node, { kind: 'neighbour', link, address: gateway, mac: NOBODY, state: NUD.PERMANENT })
      addRoute(node, { ...to, scope: 'global', gateway, onlink: true })
    }
  }
  return { name, netns, index: end.index, interfaceName, mac: end.mac! }
}
