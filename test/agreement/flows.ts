// Flows aimed at the rules of a case. Of those that come by chance those are kept that show new pairs of features, as many
// allowed as denied where both are to be had.
import { type Addr, addr, familyOf } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { parsePrefix, prefixBase } from '../../src/core/net/prefix.ts'
import { hasPorts, protocolNumber } from '../../src/core/net/protocol.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { ofKind, type PolicyRule, type Snapshot } from '../../src/core/resources/resource.ts'
import { type Dice, dice, pick } from '../support/dice.ts'
import { type Coverage, pairsSeen } from './coverage.ts'
import type { Pair } from './features.ts'
import { type Flow, HOST, placeOf, type Shape, UPLINKS } from './flow.ts'
import { byOracle, checksConnections, type Judged, type World } from './judges.ts'

const CANDIDATES = 50
/** Of no workload: within and without the nets that cluster.ts and featured-policy.ts name, and at their very ends. */
const OUTSIDE = [
  ...['192.0.2.9', '192.0.2.200', '198.51.100.7', '192.0.2.8', '192.0.2.15', '192.0.2.16', '192.0.2.255', '10.0.0.0'],
  ...[
    '10.255.255.255',
    '11.0.0.0',
    '10.1.0.0',
    '10.1.255.255',
    '10.1.2.0',
    '10.1.2.255',
    '10.1.3.0',
    '10.1.0.3',
    '10.1.0.4',
  ],
  ...['2001:db8::9', '2001:dead::1', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 'fd00:1::3', 'fd00:2::1'],
].map(addr)
const KNOWN_PORTS = [53, 80, 81, 443, 8080, 40000, 1, 22, 179, 8500, 65535] as const

/** What packets are aimed at: the rules of policies, and failsafe ports, as if rules spoke of them. */
function* rulesOf(snapshot: Snapshot): Generator<PolicyRule> {
  for (const { spec } of ofKind(snapshot, 'FelixConfiguration'))
    for (const { protocol, port } of [
      ...(spec.failsafeInboundHostPorts ?? []),
      ...(spec.failsafeOutboundHostPorts ?? []),
    ])
      for (const side of ['source', 'destination'] as const)
        yield { action: 'Allow', protocol: protocol ?? 'TCP', [side]: { ports: [port] } }
  for (const { kind, spec } of snapshot.values()) {
    if (!/^(Staged)?(Global)?NetworkPolicy$|^Profile$/.test(kind)) continue
    const { ingress, egress } = spec as { ingress?: readonly PolicyRule[]; egress?: readonly PolicyRule[] }
    yield* ingress ?? []
    yield* egress ?? []
  }
}

type Ports = NonNullable<NonNullable<PolicyRule['source']>['ports']>

/** A port that a list means, or any other. `named`: of the endpoint. */
function aimedPort(d: Dice, ports: Ports | undefined, named: readonly number[]): number {
  const wanted = ports && d(8) > 0 ? pick(d, ports) : undefined
  const range = /^(\d+)(?::(\d+))?$/.exec(String(wanted ?? ''))
  if (!range) return pick(d, wanted !== undefined && named.length > 0 && d(4) > 0 ? named : KNOWN_PORTS)
  return pick(d, [Number(range[1]), Number(range[2] ?? range[1])])
}

/** A packet that a rule may be meant for. */
function aimed(d: Dice, rule: PolicyRule | undefined, ends: { src: Addr; dst: Addr }, ports: Named): Packet {
  const family = familyOf(ends.src)
  const asked = rule?.protocol === undefined ? undefined : protocolNumber(rule.protocol)
  const own = family === 4 ? 1 : 58
  const protocol = (d(6) > 0 ? asked : undefined) ?? pick(d, [6, 6, 6, 17, 17, 132, own, 136, 47, 50, 1, 58])
  const icmp =
    protocol === own
      ? {
          type:
            (d(3) > 0 ? rule?.icmp?.type : undefined) ??
            pick(d, family === 4 ? [8, 8, 13, 3, 0] : [128, 128, 139, 3, 135, 134]),
          code: (d(3) > 0 ? rule?.icmp?.code : undefined) ?? pick(d, [0, 3]),
        }
      : undefined
  return {
    family,
    protocol,
    ...ends,
    ...(hasPorts(protocol) && {
      sport: aimedPort(d, rule?.source?.ports, ports.get(ends.src) ?? []),
      dport: aimedPort(d, rule?.destination?.ports ?? rule?.destination?.notPorts, ports.get(ends.dst) ?? []),
    }),
    ...(icmp && { icmp }),
  }
}

type Named = ReadonlyMap<Addr, readonly number[]>
type Peers = {
  /** Of this node's pods, of all pods, of whoever is not behind this node, of the node itself. */
  readonly local: readonly Addr[]
  readonly pods: readonly Addr[]
  readonly beyond: readonly Addr[]
  readonly host: readonly Addr[]
  readonly ports: Named
}

function peersOf(snapshot: Snapshot, world: World, family: 4 | 6): Peers {
  const ofFamily = (a: Addr): boolean => familyOf(a) === family
  const local = world.intent.endpoints.flatMap(e => e.addresses).filter(ofFamily)
  const endpoints = [...ofKind(derived(snapshot), 'WorkloadEndpoint')].map(({ spec }) => ({
    addresses: (spec.ipNetworks ?? []).map(n => prefixBase(parsePrefix(n)!)),
    ports: (spec.ports ?? []).map(p => p.port),
  }))
  const hosts = [...ofKind(snapshot, 'HostEndpoint')].map(({ spec }) => ({
    addresses: spec.expectedIPs ?? [],
    ports: (spec.ports ?? []).map(p => p.port),
  }))
  const pods = endpoints.flatMap(e => e.addresses).filter(ofFamily)
  const ports = new Map([...endpoints, ...hosts].flatMap(e => e.addresses.map(a => [a, e.ports] as const)))
  const beyond = [...pods, ...OUTSIDE.filter(ofFamily)].filter(a => !local.includes(a))
  return { local, pods, beyond, host: HOST.filter(ofFamily), ports }
}

type Ends = { readonly src: Addr; readonly dst: Addr; readonly sender: Flow['sender'] }
type Way = (d: Dice, peers: Peers) => Ends

/** The ways of a packet through a node. */
const outOfPod: Way = (d, { local, pods, beyond, host }) => {
  const src = pick(d, local)
  return { src, dst: d(8) === 0 ? pick(d, host) : pick(d, d(2) === 0 ? pods : beyond), sender: src }
}
const intoPod: Way = (d, { local, pods, beyond, host }) => {
  const src = d(15) === 0 ? pick(d, host) : pick(d, d(2) === 0 ? pods : beyond)
  const sender = host.includes(src) ? 'node' : local.includes(src) ? src : pick(d, UPLINKS)
  return { src, dst: pick(d, local), sender }
}
const toNode: Way = (d, { beyond, host }) => ({ src: pick(d, beyond), dst: pick(d, host), sender: pick(d, UPLINKS) })
const byNode: Way = (d, { beyond, host }) => ({
  src: pick(d, d(6) === 0 ? beyond : host),
  dst: pick(d, beyond),
  sender: 'node',
})
const through: Way = (d, { beyond }) => ({ src: pick(d, beyond), dst: pick(d, beyond), sender: pick(d, UPLINKS) })
const POD_WAYS: readonly Way[] = [outOfPod, intoPod]
const HOST_WAYS: readonly Way[] = [toNode, byNode, through]

function randomFlow(d: Dice, rules: readonly PolicyRule[], { world, peers }: Aim): Flow {
  const hasHosts = world.intent.hostInterfaces.length > 0
  for (;;) {
    const rule = rules.length > 0 && d(4) > 0 ? pick(d, rules) : undefined
    const family = pick(d, rule?.ipVersion && d(4) > 0 ? [rule.ipVersion] : ([4, 6] as const))
    const of = peers[family]
    const { sender: honest, ...ends } = pick(d, d(hasHosts ? 2 : 8) === 0 ? HOST_WAYS : POD_WAYS)(d, of)
    const sender = of.local.includes(honest as Addr) && d(12) === 0 ? pick(d, [...of.local, ...UPLINKS]) : honest
    const packet = aimed(d, rule, ends, of.ports)
    const shape: Shape = d(12) === 0 ? 'fragments' : d(30) === 0 ? 'short' : 'whole'
    const flow = { packet, shape, sender }
    if (ends.src !== ends.dst && isJudged(flow, world)) return flow
  }
}

/** Whether the kernel's answer says anything about policy. */
function isJudged(flow: Flow, { intent, snapshot }: World): boolean {
  const { in: incoming, out } = placeOf(intent.endpoints, flow)
  const { shape, packet } = flow
  // The node would send it back to where it came from.
  if (incoming === out) return false
  // Reassembled IPv6 has an interface that it came in by, also where the node itself sent it in pieces.
  if (incoming === undefined && packet.family === 6 && shape === 'fragments') return false
  if (shape !== 'short') return true
  // Policy would read what is not there: they are judged only where they are dropped for being what they are.
  const isDropped = checksConnections(snapshot) && ![47, 50].includes(packet.protocol)
  const isUntracked = intent.hostInterfaces.some(h => h.guards.some(g => g.hook === 'untracked'))
  return isDropped && incoming !== undefined && out !== undefined && !isUntracked
}

type Aim = { readonly world: World; readonly peers: Readonly<Record<4 | 6, Peers>> }

export type Chosen = { readonly flow: Flow; readonly judged: Judged; readonly pairs: ReadonlySet<Pair> }

/** The flows of a case, with the oracle's judgement. */
export function chooseFlows(world: World, seed: number, o: { count: number; coverage: Coverage }): Chosen[] {
  const d = dice(seed ^ 0x5bd1e995)
  const { snapshot } = world
  if (!world.intent.endpoints.some(e => e.addresses.length > 1)) return []
  const rules = [...rulesOf(snapshot)]
  const peers = { 4: peersOf(snapshot, world, 4), 6: peersOf(snapshot, world, 6) }
  const seen = new Set<string>()
  let candidates: Chosen[] = []
  for (let i = 0; i < CANDIDATES; i++) {
    const flow = randomFlow(d, rules, { world, peers })
    const key = JSON.stringify(flow)
    if (seen.has(key)) continue
    seen.add(key)
    const judged = byOracle(world, flow)
    candidates.push({ flow, judged, pairs: pairsSeen(snapshot, flow, judged) })
  }
  const chosen: Chosen[] = []
  while (chosen.length < o.count && candidates.length > 0) {
    const wanted = chosen.length % 2 === 0 ? 'allow' : 'deny'
    const right = candidates.filter(c => c.judged.told.verdict === wanted)
    const from = right.length > 0 ? right : candidates
    const worth = new Map(from.map(c => [c, o.coverage.count(c.pairs)]))
    const best = from.reduce((a, b) => (worth.get(b)! > worth.get(a)! ? b : a))
    o.coverage.add(best.pairs)
    chosen.push(best)
    candidates = candidates.filter(c => c !== best)
  }
  return chosen
}
