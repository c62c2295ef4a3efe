// A node as a network namespace with the interfaces of the judges' worlds, and everything beyond it as a second one: the
// far ends of the pods' wires and of the uplinks, where packet sockets send and see. The node itself sends by raw sockets. Nobody out there answers: neighbour
// entries name a MAC address that nobody has.
import { execFileSync } from 'node:child_process'
import type { Addr } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { prefixFamily } from '../../src/core/net/prefix.ts'
import { ERRNO, KernelError } from '../../src/io/kernel/kernel-error.ts'
import { inNetns, namedNetns } from '../../src/io/kernel/netns.ts'
import {
  AF,
  bind,
  close,
  inetAddress,
  recvFrom,
  SO,
  SOCK,
  SOL,
  send,
  sendTo,
  setOption,
  socket,
} from '../../src/io/kernel/sys.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { Conntrack } from '../support/conntrack.ts'
import { HOST, ROUTES, UPLINKS } from './flow.ts'
import { ETHERNET, idOf, type Link } from './raw-frames.ts'

const NODE_MAC = 'ee:ee:ee:ee:ee:ee'
const FAR_MAC = '02:00:00:00:00:02'
const NOBODY = '02:00:00:00:00:01'
const GATEWAY = { 4: '169.254.7.1', 6: 'fe80::7' } as const
const WIRES = 6
const ETH_P_ALL = 0x0300
const IPPROTO_RAW = 255
const PACKET_OUTGOING = 4
const SETTINGS = {
  'net/ipv4/ip_forward': 1,
  'net/ipv6/conf/all/forwarding': 1,
  'net/ipv4/conf/all/rp_filter': 0,
  'net/ipv4/conf/default/rp_filter': 0,
  // A redirect holds the packet that it is about, and would be taken for it.
  'net/ipv4/conf/all/send_redirects': 0,
  'net/netfilter/nf_conntrack_checksum': 0,
} as const

/** Where a flow comes out of the node. */
export type Seen = { readonly id: number; readonly at: string }

export class RealLab {
  readonly node: string
  readonly far: string
  readonly #name: string
  readonly #made: string[] = []
  readonly #indexes = new Map<string, number>()
  readonly #names = new Map<number, string>()
  readonly #senders = new Map<string, number>()
  readonly #conntrack: Conntrack
  readonly #sniffer: number
  readonly #own: Readonly<Record<4 | 6, number>>
  #routes = ''

  constructor(name: string) {
    this.#name = name
    try {
      for (const part of ['node', 'far']) {
        execFileSync('ip', ['netns', 'add', `${name}-${part}`])
        this.#made.push(`${name}-${part}`)
      }
      this.node = namedNetns(`${name}-node`)
      this.far = namedNetns(`${name}-far`)
      // No router solicitations and the like on our wires: what is counted is ours.
      for (const netns of [this.node, this.far])
        for (const each of ['all', 'default']) writeSysctl(`net/ipv6/conf/${each}/addr_gen_mode`, 1, netns)
      const wires = [...Array.from({ length: WIRES }, (_, i) => `cali${i}`), ...UPLINKS]
      writeSysctl('net/ipv4/conf/default/send_redirects', 0, this.node)
      this.#ip('far', ['link set lo up'])
      this.#ip('node', [
        'link set lo up',
        // Of no wire: an address of its own makes an interface speak.
        ...HOST.map(a => `addr add ${a} dev lo`),
        ...wires.flatMap(w => [
          `link add ${w} address ${NODE_MAC} type veth peer name ${w} address ${FAR_MAC} netns ${name}-far`,
          `link set ${w} up`,
        ]),
      ])
      this.#ip(
        'far',
        wires.map(w => `link set ${w} up`),
      )
      for (const [setting, value] of Object.entries(SETTINGS)) writeSysctl(setting, value, this.node)
      this.#ip('node', [
        ...UPLINKS.flatMap(uplink =>
          Object.values(GATEWAY).map(a => `neigh replace ${a} lladdr ${NOBODY} nud permanent dev ${uplink}`),
        ),
        ...ROUTES.map(
          ({ uplink, net }) => `route replace ${net} via ${GATEWAY[prefixFamily(net)]} dev ${uplink} onlink`,
        ),
      ])
      for (const wire of wires) this.#open(wire)
      this.#conntrack = new Conntrack(this.node)
      this.#sniffer = inNetns(this.far, () => socket(AF.PACKET, SOCK.RAW, ETH_P_ALL))
      const raw = (family: number): number => inNetns(this.node, () => socket(family, SOCK.RAW, IPPROTO_RAW))
      this.#own = { 4: raw(AF.INET), 6: raw(AF.INET6) }
    } catch (error) {
      this.close()
      throw error
    }
  }

  #ip(part: 'node' | 'far', lines: readonly string[]): void {
    execFileSync('ip', ['-n', `${this.#name}-${part}`, '-force', '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }

  #open(wire: string): void {
    const index = Number(
      JSON.parse(execFileSync('ip', ['-n', `${this.#name}-far`, '-j', 'link', 'show', wire], { encoding: 'utf8' }))[0]
        .ifindex,
    )
    this.#indexes.set(wire, index)
    this.#names.set(index, wire)
    const fd = inNetns(this.far, () => socket(AF.PACKET, SOCK.RAW, 0))
    // struct sockaddr_ll
    const address = new Uint8Array(20)
    const view = new DataView(address.buffer)
    view.setUint16(0, AF.PACKET, true)
    view.setInt32(4, index, true)
    bind(fd, address)
    setOption(fd, SOL.SOCKET, SO.SNDBUFFORCE, 1 << 22)
    this.#senders.set(wire, fd)
  }

  close(): void {
    for (const fd of this.#senders.values()) close(fd)
    this.#senders.clear()
    if (this.#sniffer !== undefined) close(this.#sniffer)
    for (const fd of Object.values(this.#own ?? {})) close(fd)
    this.#conntrack?.close()
    for (const name of this.#made.splice(0)) execFileSync('ip', ['netns', 'del', name])
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Routes to the endpoints' addresses, and neighbours, as a CNI plugin makes them. */
  route(endpoints: readonly { readonly interfaceName: string; readonly addresses: readonly Addr[] }[]): void {
    const lines = endpoints.flatMap(({ interfaceName, addresses }) =>
      addresses.flatMap(a => [
        `neigh replace ${a} lladdr ${NOBODY} nud permanent dev ${interfaceName}`,
        `route replace ${a} dev ${interfaceName}`,
      ]),
    )
    const wanted = lines.join('\n')
    if (wanted === this.#routes) return
    this.#ip('node', [
      ...this.#routes
        .split('\n')
        .filter(l => l !== '')
        .map(l => l.replace(' replace ', ' del ')),
      ...lines,
    ])
    this.#routes = wanted
  }

  get link(): Link {
    return { dstMac: NODE_MAC, srcMac: FAR_MAC }
  }

  forget(): void {
    this.#conntrack.flush()
  }

  send(wire: string, frame: Uint8Array): void {
    if (send(this.#senders.get(wire)!, frame) === undefined) throw new Error(`${wire} takes no more frames`)
  }

  /** The node sends a frame's packet itself, unless somebody in it forbids that. */
  sendOwn({ family, dst }: Packet, frame: Uint8Array): void {
    try {
      sendTo(this.#own[family], frame.subarray(ETHERNET), inetAddress(dst, 0))
    } catch (error) {
      if (!(error instanceof KernelError && error.errno === ERRNO.EPERM)) throw error
    }
  }

  /** Every flow that has come out of the node since the last time. */
  receive(): Seen[] {
    const seen: Seen[] = []
    const buffer = new Uint8Array(2048)
    for (;;) {
      const got = recvFrom(this.#sniffer, buffer)
      if (!got) return seen
      const from = new DataView(got.from.buffer, got.from.byteOffset)
      if (from.getUint8(10) === PACKET_OUTGOING) continue
      const id = idOf(buffer.subarray(0, got.length))
      if (id !== undefined) seen.push({ id, at: this.#names.get(from.getInt32(4, true)) ?? '' })
    }
  }

  nft(args: readonly string[], input = ''): string {
    return execFileSync('ip', ['netns', 'exec', `${this.#name}-node`, 'nft', ...args], {
      encoding: 'utf8',
      input,
      maxBuffer: 1 << 28,
    })
  }
}
