// decideAtNode(): what becomes of the first packet of a connection at one node, where the node's own interfaces have host
// endpoints: told like decide(), plainly, from the resources, and apart from the compiler. A packet is asked for in this
// order (Calico): before connection tracking, before translation, then as it comes in, at the pods at either end, and as it
// goes out. What an untracked or preDNAT policy allows is not asked again as it comes in.
import type { Addr } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { parsePrefix, prefixContains } from '../net/prefix.ts'
import { protocolNumber } from '../net/protocol.ts'
import type { Direction, HostHook } from '../resources/cause.ts'
import { derived } from '../resources/derive.ts'
import { parametersOf } from '../resources/felix-parameters.ts'
import { type FelixConfiguration, type HostEndpoint, ofKind, type Snapshot } from '../resources/resource.ts'
import { caseOf, decideDirection } from './decide.ts'
import type { DirectionDecision, Verdict } from './decision.ts'
import { endpointAt, hostMember, selecting } from './members.ts'
import { VIEWS, type View } from './order.ts'

/** Where a packet meets a node. */
export type NodeWay = {
  readonly node: string
  /** The node's interfaces, with their addresses. */
  readonly interfaces: ReadonlyMap<string, readonly Addr[]>
  /** Absent: the node itself sends. */
  readonly in?: string
  /** Absent: it is for the node itself. */
  readonly out?: string
  /** The packet as it arrived, if its destination was translated since. */
  readonly arrived?: Packet
  /** As in `decide`. */
  readonly view?: View
}

export type NodeDecision = {
  readonly verdict: Verdict
  /** Who was asked, in order; the last one decided. */
  readonly asked: readonly DirectionDecision[]
  /** What let it pass or stopped it besides policy, in words; the failsafe ports, for instance. */
  readonly because?: string
  /** False if connection tracking does not see it. */
  readonly tracked: boolean
}

type Spec = Partial<FelixConfiguration['spec']>
type Failsafes = readonly { readonly protocol?: string; readonly port: number; readonly net?: string }[]

const tcp = (...ports: number[]): Failsafes => ports.map(port => ({ protocol: 'TCP', port }))
const udp = (...ports: number[]): Failsafes => ports.map(port => ({ protocol: 'UDP', port }))
const SAFE: Readonly<Record<Direction, Failsafes>> = {
  ingress: [...tcp(22), ...udp(68), ...tcp(179, 2379, 2380, 5473, 6443, 6666, 6667)],
  egress: [...udp(53, 67), ...tcp(179, 2379, 2380, 5473, 6443, 6666, 6667)],
}
/** ICMPv6 neighbour and listener discovery, without which there is no IPv6 at all. */
const DISCOVERY: readonly number[] = [130, 131, 132, 133, 135, 136, 143]
const isDiscovery = ({ family, icmp }: Packet): boolean =>
  family === 6 && icmp !== undefined && DISCOVERY.includes(icmp.type)

/** A node's settings: those of its environment and file, then its own, then those for nodes with its labels (the oldest), then the default ones. */
function settingsFor(resources: Snapshot, node: string): Spec {
  const all = [...ofKind(resources, 'FelixConfiguration')]
  const named = (name: string): Spec => all.find(c => c.metadata.name === name)?.spec ?? {}
  const self = [...ofKind(resources, 'Node')].find(n => n.metadata.name === node)
  const scoped = all
    .filter(c => c.spec.nodeSelector !== undefined && selecting(c.spec.nodeSelector)(self?.metadata.labels ?? {}))
    .map(c => ({ spec: c.spec, age: [c.metadata.creationTimestamp ?? '', c.metadata.name].join(' ') }))
    .sort((a, b) => (a.age < b.age ? -1 : 1))
  return { ...named('default'), ...scoped[0]?.spec, ...named(`node.${node}`), ...parametersOf(self) }
}

class Judge {
  readonly #resources: Snapshot
  readonly #way: NodeWay
  readonly #settings: Spec
  readonly #view: { readonly view?: View }
  readonly asked: DirectionDecision[] = []
  /** What went past policy last. */
  passed: string | undefined

  constructor(snapshot: Snapshot, way: NodeWay) {
    this.#resources = derived(snapshot)
    this.#way = way
    this.#view = way.view === undefined ? {} : { view: way.view }
    this.#settings = settingsFor(this.#resources, way.node)
  }

  isPod(name: string | undefined): boolean {
    const prefixes = (this.#settings.interfacePrefix ?? 'cali').split(',')
    return name !== undefined && prefixes.some(p => p !== '' && name.startsWith(p))
  }

  get toHostAction(): 'allow' | 'deny' {
    return ['Accept', 'Return'].includes(this.#settings.defaultEndpointToHostAction ?? 'Drop') ? 'allow' : 'deny'
  }

  /** The endpoint of an interface: by name or address, the first by name; only if there is none, that of all interfaces. */
  #endpointOf(name: string): HostEndpoint | undefined {
    const mine = [...ofKind(this.#resources, 'HostEndpoint')]
      .filter(h => h.spec.node === this.#way.node)
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    const addresses = this.#way.interfaces.get(name) ?? []
    const own = mine.find(({ spec: { interfaceName, expectedIPs = [] } }) =>
      interfaceName === undefined ? expectedIPs.some(ip => addresses.includes(ip)) : interfaceName === name,
    )
    return own ?? mine.find(h => h.spec.interfaceName === '*')
  }

  /** Whether a port is one of those that are always open in a direction, to that other end. */
  #isSafe(direction: Direction, { protocol }: Packet, at: { port: number | undefined; peer: Addr }): boolean {
    const { failsafeInboundHostPorts, failsafeOutboundHostPorts } = this.#settings
    const set = direction === 'ingress' ? failsafeInboundHostPorts : failsafeOutboundHostPorts
    return (set ?? SAFE[direction]).some(safe => {
      if (safe.port !== at.port || protocolNumber(safe.protocol ?? 'TCP') !== protocol) return false
      const net = safe.net === undefined ? undefined : parsePrefix(safe.net)
      return net === undefined || prefixContains(net, at.peer)
    })
  }

  /** What a pod wraps up itself nobody could judge by what is in it. */
  isWrapped({ protocol, dport }: Packet): boolean {
    const { allowVXLANPacketsFromWorkloads, allowIPIPPacketsFromWorkloads, vxlanPort = 4789 } = this.#settings
    if (protocol === 4) return allowIPIPPacketsFromWorkloads !== true
    return protocol === 17 && dport === vxlanPort && allowVXLANPacketsFromWorkloads !== true
  }

  /** Asks the endpoint of an interface; `on`: it lets the packet go on without having allowed it. */
  host(name: string, hook: HostHook, direction: Direction, packet: Packet): 'on' | 'allow' | 'deny' {
    const host = this.#endpointOf(name)
    if (!host || (hook === 'untracked' && host.spec.interfaceName === '*')) return 'on'
    const [judged, member] = [caseOf(this.#resources, packet), hostMember(this.#resources, host)]
    const decide = (about: { readonly view?: View }): DirectionDecision =>
      decideDirection(this.#resources, member, direction, { judged, hook, ...about })
    const decision = decide(this.#view)
    // Where no tier has a policy for it, not even a staged one, a hook other than the host's own is not there.
    const isThere = (d: DirectionDecision): boolean => d.trail.some(step => step.kind === 'tier')
    if (hook !== 'host' && !VIEWS.some(view => isThere(decide({ view })))) return 'on'
    const pass = (what: string): 'on' => {
      this.passed = what
      return 'on'
    }
    if (hook !== 'forward') {
      if (isDiscovery(packet)) return pass('discovery')
      const [peer, other] = direction === 'ingress' ? [packet.src, 'egress' as const] : [packet.dst, 'ingress' as const]
      if (this.#isSafe(direction, packet, { port: packet.dport, peer })) return pass('a failsafe port')
      // Before connection tracking the answers of the other direction's connections look like packets of their own.
      if (hook === 'untracked' && this.#isSafe(other, packet, { port: packet.sport, peer }))
        return pass('an answer from a failsafe port')
    }
    this.asked.push(decision)
    return decision.cause.kind === 'undecided' ? 'on' : decision.verdict
  }

  pod(address: Addr, direction: Direction, packet: Packet): 'allow' | 'deny' {
    const endpoint = endpointAt(this.#resources, address)
    if (!endpoint) return 'deny'
    const decision = decideDirection(this.#resources, endpoint, direction, {
      judged: caseOf(this.#resources, packet),
      ...this.#view,
    })
    this.asked.push(decision)
    return decision.verdict
  }
}

export function decideAtNode(snapshot: Snapshot, packet: Packet, way: NodeWay): NodeDecision {
  const judge = new Judge(snapshot, way)
  const { in: from, out: to } = way
  const arrived = way.arrived ?? packet
  let tracked = true
  const end = (verdict: Verdict, because = judge.passed): NodeDecision => ({
    verdict,
    asked: judge.asked,
    tracked,
    ...(because !== undefined && { because }),
  })
  let accepted = false
  const early = (name: string, hook: HostHook, direction: Direction): boolean => {
    const said = judge.host(name, hook, direction, arrived)
    if (said === 'allow') accepted = true
    if (said === 'allow' && hook === 'untracked') tracked = false
    return said !== 'deny'
  }

  if (from === undefined) {
    if (to === undefined || judge.isPod(to)) return end('allow', 'what a node sends to its own pods is not judged')
    if (!early(to, 'untracked', 'egress')) return end('deny')
    return end(accepted || judge.host(to, 'host', 'egress', packet) !== 'deny' ? 'allow' : 'deny')
  }
  if (judge.isPod(from)) {
    // The node is its pods' router, whatever policy says.
    if (to === undefined && isDiscovery(packet)) return end('allow', 'discovery')
    if (judge.isWrapped(packet)) return end('deny', 'a packet within a packet')
    if (judge.pod(packet.src, 'egress', packet) === 'deny') return end('deny')
    if (to === undefined) return end(judge.toHostAction, 'defaultEndpointToHostAction')
  } else {
    if (!early(from, 'untracked', 'ingress')) return end('deny')
    if (!accepted && !early(from, 'prednat', 'ingress')) return end('deny')
    const hook = to === undefined ? 'host' : 'forward'
    if (!accepted && judge.host(from, hook, 'ingress', packet) === 'deny') return end('deny')
    if (to === undefined) return end('allow')
  }
  if (judge.isPod(to)) return end(judge.pod(packet.dst, 'ingress', packet))
  return end(judge.host(to, 'forward', 'egress', packet) === 'deny' ? 'deny' : 'allow')
}
