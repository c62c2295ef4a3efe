// Cases for the judges: a random cluster (cluster.ts) with a few policies made for pairs of features that nobody has seen
// yet, and flows aimed at its rules. Of the flows that come by chance those are kept that show new pairs, as many allowed
// as denied where both are to be had.
import fc from 'fast-check'
import type { NodeSettings } from '../../src/core/calc/intent.ts'
import { BUDGET } from '../../src/core/classify/split.ts'
import { type Addr, addr, familyOf } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { parsePrefix, prefixBase } from '../../src/core/net/prefix.ts'
import { hasPorts, protocolNumber } from '../../src/core/net/protocol.ts'
import type { RuleStep } from '../../src/core/oracle/decision.ts'
import { derived } from '../../src/core/resources/derive.ts'
import {
  decodeResource,
  isTieredPolicy,
  ofKind,
  type PolicyRule,
  type Resource,
  type Snapshot,
  snapshotOf,
} from '../../src/core/resources/resource.ts'
import { type Dice, dice, pick } from '../support/dice.ts'
import { cluster } from './cluster.ts'
import { FEATURED_FIXED, featuredPolicy } from './featured-policy.ts'
import { type Feature, featuresOf, membersOf, type Pair, pairsOf, WANTED, whyImpossible } from './features.ts'
import { type Flow, HOST, type Shape } from './flow.ts'
import { byOracle, type Case, type Judged, NODE, type World } from './judges.ts'

const FEATURED = 5
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
const KNOWN_PORTS = [53, 80, 81, 443, 8080, 40000, 1, 8500, 65535] as const

/** Pairs of features that a rule which some judged flow was held against has had. */
export class Coverage {
  readonly #missing = new Set<Pair>(WANTED)

  get share(): number {
    return 1 - this.#missing.size / WANTED.length
  }

  get missing(): readonly Pair[] {
    return [...this.#missing]
  }

  /** How many of these are new. */
  count(pairs: Iterable<Pair>): number {
    let found = 0
    for (const pair of pairs) if (this.#missing.has(pair)) found++
    return found
  }

  add(pairs: Iterable<Pair>): void {
    for (const pair of pairs) this.#missing.delete(pair)
  }
}

const isRule = (step: { readonly kind: string }): step is RuleStep => step.kind === 'rule'

/** The pairs of every rule that a flow was held against. */
export function pairsSeen(snapshot: Snapshot, flow: Flow, judged: Judged): Set<Pair> {
  const pairs = new Set<Pair>()
  for (const { trail } of judged.decisions)
    for (const step of trail.filter(isRule))
      for (const pair of pairsOf(featuresOf(snapshot, step, flow.packet.family))) pairs.add(pair)
  return pairs
}

/** Features that the compiler makes something of together; each set is one rule, and rules of one list follow each other. */
const INTERPLAY: readonly (readonly (readonly Feature[])[])[] = [
  [['icmp=type', 'notICMP=code', 'action=Allow']],
  [['own selector=has', 'ports=name', 'direction=ingress', 'kind=GlobalNetworkPolicy', 'protocol=TCP', 'tier=ordered']],
  [['own selector===', 'source ports=name', 'direction=egress', 'protocol=TCP']],
  [['peer selector=has', 'ports=name', 'direction=egress', 'kind=GlobalNetworkPolicy', 'protocol=TCP', 'tier=ordered']],
  [['icmp=code', 'action=Allow', 'tier=ordered', 'kind=GlobalNetworkPolicy']],
  [
    ['action=Deny', 'ports=number', 'protocol=TCP', 'tier=ordered', 'direction=ingress', 'kind=GlobalNetworkPolicy'],
    ['action=Allow', 'protocol=TCP', 'tier=ordered', 'direction=ingress', 'kind=GlobalNetworkPolicy'],
  ],
  [
    ['action=Pass', 'source ports=number', 'tier=ordered', 'direction=egress', 'protocol=TCP'],
    ['action=Allow', 'source ports=range', 'tier=default', 'direction=egress', 'protocol=TCP'],
  ],
  [
    ['action=Pass', 'own nets=4', 'tier=ordered', 'direction=ingress'],
    ['action=Allow', 'source notPorts=range', 'tier=default', 'direction=ingress'],
  ],
  [
    ['action=Log', 'own nets=6', 'tier=ordered', 'direction=egress'],
    ['action=Deny', 'own notNets=6', 'tier=ordered', 'direction=egress'],
  ],
  [
    ['kind=StagedGlobalNetworkPolicy', 'action=Pass', 'source ports=number', 'tier=ordered', 'direction=ingress'],
    ['action=Allow', 'own nets=4', 'tier=ordered', 'direction=ingress'],
  ],
]

/** A few features that can stand together, among them two that are wanted. */
function featureSet(wanted: readonly Pair[], d: Dice, given: readonly Feature[] = []): Feature[] {
  const features = [...given]
  for (let i = 0; i < 3; i++) {
    const [a, b] = membersOf(pick(d, wanted.length > 0 ? wanted : WANTED))
    for (const f of [a, b]) {
      const same = features.some(g => g.split('=')[0] === f.split('=')[0])
      if (!same && features.every(g => whyImpossible(f, g) === undefined)) features.push(f)
    }
  }
  return features
}

const SETTINGS = {
  endpointToHostAction: ['Drop', 'Accept', 'Return', 'Reject'],
  conntrackInvalidCheck: [true, true, false],
  wrapped: [true, false],
  vxlanPort: [4789, 8500],
} as const
/**
 * Where nothing is said about them. Denied packets are dropped: the answer of a reject holds the packet that it is about,
 * and would be taken for it.
 */
export const OTHER_SETTINGS = {
  logPrefix: 'calico-packet',
  logLimit: { rate: 100, per: 'second', burst: 5 },
  denyAction: 'Drop',
  failsafeInbound: [],
  failsafeOutbound: [],
  allowVXLAN: true,
  allowIPIP: true,
  vxlanPort: 4789,
  sourceSpoofing: false,
  excludedInterfaces: [],
} as const satisfies Partial<NodeSettings>
/** Small ones cut the tables into parts. */
const BUDGETS = [BUDGET, BUDGET, 20, 4, 1] as const

/** Random rules deny more than they allow: what is left over at the end of the default tier is let through, now and then. */
const OPEN = (d: Dice): object => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'GlobalNetworkPolicy',
  metadata: { name: 'open' },
  spec: {
    order: 5000,
    selector: pick(d, ['has(role)', "has(role) || env != 'p'", "role != 'back'"]),
    types: ['Ingress', 'Egress'],
    ingress: [{ action: 'Allow' }],
    egress: [{ action: 'Allow' }],
  },
})

/** What is decided depends on the seed and on what is still wanted. */
export function makeCase(seed: number, wanted: readonly Pair[]): Case {
  const d = dice(seed)
  const [base] = fc.sample(cluster, { numRuns: 1, seed })
  const ofProfile = wanted.filter(pair => pair.includes('kind=Profile'))
  const together = pick(d, INTERPLAY).map((features, i) => featuredPolicy(features, `t${i}`, d))
  const made = [
    ...together,
    ...Array.from({ length: FEATURED }, (_, i) => featuredPolicy(featureSet(wanted, d), `f${i}`, d)),
    featuredPolicy(featureSet(ofProfile.length > 0 ? ofProfile : wanted, d, ['kind=Profile']), '', d),
  ]
  const open = d(4) > 0 ? [OPEN(d)] : []
  const kept = [...base!.values()].filter(r => !isTieredPolicy(r) || d(3) > 0)
  const decoded = [...FEATURED_FIXED, ...made, ...open].flatMap((document): Resource[] => {
    const result = decodeResource(document)
    return result.ok ? [result.value] : []
  })
  return {
    snapshot: snapshotOf([...kept, ...decoded]),
    settings: {
      interfacePrefixes: ['cali'],
      endpointToHostAction: pick(d, SETTINGS.endpointToHostAction),
      conntrackInvalidCheck: pick(d, SETTINGS.conntrackInvalidCheck),
      ...OTHER_SETTINGS,
      allowVXLAN: pick(d, SETTINGS.wrapped),
      allowIPIP: pick(d, SETTINGS.wrapped),
      vxlanPort: pick(d, SETTINGS.vxlanPort),
    },
    budget: pick(d, BUDGETS),
  }
}

function* rulesOf(snapshot: Snapshot): Generator<PolicyRule> {
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
            (d(3) > 0 ? rule?.icmp?.type : undefined) ?? pick(d, family === 4 ? [8, 8, 13, 3, 0] : [128, 128, 139, 3]),
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
type Peers = Readonly<Record<'local' | 'pods' | 'all', readonly Addr[]>> & { readonly ports: Named }

function peersOf(snapshot: Snapshot, world: World, family: 4 | 6): Peers {
  const ofFamily = (a: Addr): boolean => familyOf(a) === family
  const local = world.intent.endpoints.flatMap(e => e.addresses).filter(ofFamily)
  const endpoints = [...ofKind(derived(snapshot), 'WorkloadEndpoint')].map(({ spec }) => ({
    addresses: (spec.ipNetworks ?? []).map(n => prefixBase(parsePrefix(n)!)),
    ports: (spec.ports ?? []).map(p => p.port),
  }))
  const pods = endpoints.flatMap(e => e.addresses).filter(ofFamily)
  const ports = new Map(endpoints.flatMap(e => e.addresses.map(a => [a, e.ports] as const)))
  return { local, pods, all: [...pods, ...OUTSIDE.filter(ofFamily)], ports }
}

function randomFlow(d: Dice, rules: readonly PolicyRule[], peers: Readonly<Record<4 | 6, Peers>>): Flow {
  for (;;) {
    const rule = rules.length > 0 && d(4) > 0 ? pick(d, rules) : undefined
    const family = pick(d, rule?.ipVersion && d(4) > 0 ? [rule.ipVersion] : ([4, 6] as const))
    const { local, pods, all, ports } = peers[family]
    const mine = pick(d, local)
    const peer = d(15) === 0 ? HOST[family] : pick(d, d(2) === 0 ? pods : all)
    const ends = d(2) === 0 ? { src: mine, dst: peer } : { src: peer, dst: mine }
    if (ends.src === ends.dst || ends.src === HOST[family]) continue
    const packet = aimed(d, rule, ends, ports)
    const honest = local.includes(ends.src) ? ends.src : undefined
    const sender = d(25) === 0 ? pick(d, [...local, undefined]) : honest
    // A packet that the node would send back to where it came from says nothing about policy.
    if (sender === ends.dst) continue
    const shape: Shape = d(12) === 0 ? 'fragments' : d(30) === 0 ? 'short' : 'whole'
    return { packet, shape, ...(sender !== undefined && { sender }) }
  }
}

/** Short packets are judged only where the kernel drops them for being what they are: policy reads what is not there. */
const isJudged = ({ shape, packet }: Flow, settings: NodeSettings): boolean =>
  shape !== 'short' ||
  (settings.conntrackInvalidCheck && ![47, 50].includes(packet.protocol) && packet.dst !== HOST[packet.family])

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
    const flow = randomFlow(d, rules, peers)
    const key = JSON.stringify(flow)
    if (seen.has(key) || !isJudged(flow, world.intent.settings)) continue
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

export { NODE }
