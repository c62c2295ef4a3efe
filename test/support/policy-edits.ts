// A small cluster and the sorts of edits that a policy writer must get through without a wrong packet. Every sort changes one
// resource between a few variants; the verdict of every flow in every variant comes from the oracle, which knows nothing of tables.
import { addr, familyOf } from '../../src/core/net/addr.ts'
import { decideAtNode } from '../../src/core/oracle/decide-at-node.ts'
import { keyOf, type Resource, type Snapshot, snapshotOf } from '../../src/core/resources/resource.ts'
import { TCP, UDP } from './frames.ts'
import { DEFAULT_TIER, endpoint, globalPolicy, resource } from './resources.ts'
import type { Flow } from './traffic.ts'

export const NODE = 'node0'
/** The pods of the node; `a` sends, `m` receives what every state allows. */
export const PODS = { a: '10.65.0.2', b: '10.65.0.3', c: '10.65.0.4', m: '10.65.0.9' } as const
export const BEYOND = ['10.66.0.0/16'] as const
const TEAMS = ['red', 'blue', 'green'] as const
const REMOTE = 9
const PORTS = [80, 81, 82, 8000, 8050, 8150, 8250] as const

type Labels = Readonly<Record<string, string>>
const local = (name: keyof typeof PODS, labels: Labels) =>
  endpoint({ name, node: NODE, addresses: [PODS[name]], labels })
const remoteAddress = (n: number): string => `10.66.0.${n + 1}`
const remote = (n: number, labels: Labels) =>
  endpoint({ name: `r${n}`, node: 'node1', addresses: [remoteAddress(n)], labels })

type Rule = Readonly<Record<string, unknown>>
const both = (rule: Rule): Rule[] => ['TCP', 'UDP'].map(protocol => ({ ...rule, protocol }))
const ingress = (order: number, selector: string, rules: readonly Rule[]) => ({
  ...{ order, selector, types: ['Ingress'], ingress: rules },
})
/** Without a selector: from anywhere. */
const from = (selector: string | undefined, ports: readonly (number | string)[], action = 'Allow'): Rule[] =>
  both({ action, ...(selector ? { source: { selector } } : {}), destination: { ports } })

const server = (rules: readonly Rule[]) =>
  globalPolicy('server', ingress(20, "role == 'server'", [...rules, ...from("team == 'blue'", [82])]))
const ofRed = (selector = "team == 'red'", range = '8000:8100') => server(from(selector, [80, range]))
const guard = (rules: readonly Rule[]) => globalPolicy('guard', ingress(10, 'has(role)', rules))
const extra = (selector: string) => globalPolicy('extra', ingress(30, selector, from("team != 'red'", [80, 81])))
const client = (spec: object) =>
  globalPolicy('client', { order: 10, selector: "role == 'client'", types: ['Egress'], ...spec })

/** Denies of port 81, told in other words and places. */
const denies: readonly (readonly Rule[])[] = [
  from(undefined, [81], 'Deny'),
  [...from("team == 'nobody'", [82], 'Deny'), ...from(undefined, [81], 'Deny')],
  [...from("team == 'red'", [81], 'Deny'), ...from("!has(team) || team != 'red'", [81], 'Deny')],
  [
    ...from("team == 'nobody'", [1], 'Deny'),
    ...from("team == 'nobody'", [2], 'Deny'),
    ...from(undefined, [81], 'Deny'),
  ],
]

/** The node's own interface, through which everything from beyond comes. */
const host = (label: string, spec: object = {}): Resource =>
  resource({
    ...{
      apiVersion: 'projectcalico.org/v3',
      kind: 'HostEndpoint',
      metadata: { name: 'way-in', labels: { host: label } },
    },
    spec: { node: NODE, interfaceName: 'uplink', ...spec },
  })
const through = (selector: string, rules: readonly Rule[]) =>
  globalPolicy('through', { ...ingress(10, selector, [...rules, { action: 'Allow' }]), applyOnForward: true })
const ofHost = "host == 'open'"

/** The first variant of each sort is the cluster as it begins. */
export const SORTS: Readonly<Record<string, readonly Resource[]>> = {
  'deny to deny': denies.map(guard),
  'the set of a rule': ["team == 'red'", "team in {'red', 'green'}", 'has(zone)', "team != 'blue'"].map(s => ofRed(s)),
  // The sets of these rules are asked for by the policy `web` as well: the atoms stay, only the group's rows go.
  'a rule that comes and goes': [ofRed(), server([]), server(from("team == 'green'", [81])), ofRed("team == 'green'")],
  'an address to another atom': [
    remote(0, { team: 'red', zone: 'x' }),
    remote(0, { team: 'blue' }),
    remote(0, { team: 'green', zone: 'x' }),
    remote(0, { zone: 'y' }),
  ],
  'the policies of a group': [
    "role == 'server'",
    "role == 'nobody'",
    "has(role) && role != 'client'",
    'ring == "one"',
  ].map(extra),
  'a port range': ['8000:8100', '8050:8200', '8150:8300', '8000:8010'].map(range => ofRed(undefined, range)),
  'a pod to another group': [
    local('b', { role: 'server', ring: 'one' }),
    local('b', { role: 'web', ring: 'one' }),
    local('b', { role: 'server' }),
    local('b', { role: 'client' }),
  ],
  'what a pod may send': [
    { egress: [{ action: 'Allow' }] },
    { egress: both({ action: 'Allow', destination: { ports: [80, 8050] } }) },
    { egress: [{ action: 'Deny', destination: { selector: "ring == 'one'" } }, { action: 'Allow' }] },
    { egress: both({ action: 'Allow', destination: { selector: "role == 'server'" } }) },
  ].map(client),
  // Some of these ask about the receiver too, which is the host endpoint's own side.
  'what passes a host endpoint': [
    through("host == 'nobody'", []),
    through(ofHost, from("team == 'red'", [80, 81], 'Deny')),
    through(ofHost, both({ action: 'Deny', destination: { selector: "role == 'web'", ports: [80, 82] } })),
    through(
      ofHost,
      both({ action: 'Deny', source: { selector: 'has(zone)' }, destination: { nets: ['10.65.0.3/32'] } }),
    ),
  ],
  'a host endpoint and its interface': [
    host('open'),
    host('wall'),
    host('wall', { interfaceName: '*' }),
    host('wall', { node: 'node1' }),
  ],
}

const FIXED: readonly Resource[] = [
  DEFAULT_TIER,
  globalPolicy('wall', {
    ...ingress(10, "host == 'wall'", [...from(undefined, [8250], 'Deny'), { action: 'Allow' }]),
    applyOnForward: true,
  }),
  globalPolicy('everyone', ingress(90, 'has(role)', from(undefined, [8250]))),
  globalPolicy('web', ingress(20, "role == 'web'", [...from("team == 'red'", [80]), ...from("team == 'green'", [82])])),
  local('a', { role: 'client', team: 'red' }),
  local('c', { role: 'web' }),
  local('m', {}),
  ...Array.from({ length: REMOTE - 1 }, (_, i) => {
    const team = TEAMS[i % 4]
    return remote(i + 1, { ...(team ? { team } : {}), ...(i % 3 === 0 ? { zone: 'x' } : {}) })
  }),
]

export const START: Snapshot = snapshotOf([...FIXED, ...Object.values(SORTS).map(variants => variants[0]!)])
export const edited = (resource: Resource): Snapshot => new Map(START).set(keyOf(resource), resource)

const flow = (wire: string, src: string, [to, protocol, dport]: readonly [keyof typeof PODS, number, number]): Flow => {
  const [s, dst] = [addr(src), addr(PODS[to])]
  return { from: wire, to, packet: { family: familyOf(s), protocol, src: s, dst, sport: 1024, dport } }
}
const targets = (['b', 'c'] as const).flatMap(to =>
  [TCP, UDP].flatMap(protocol => PORTS.map(dport => [to, protocol, dport] as const)),
)
export const FLOWS: readonly Flow[] = [
  ...Array.from({ length: REMOTE }, (_, n) => targets.map(t => flow('uplink', remoteAddress(n), t))).flat(),
  ...targets.map(t => flow('a', PODS.a, t)),
]
export const MARKER: Flow = flow('uplink', remoteAddress(0), ['m', UDP, 9])

export type State = { readonly sort: string; readonly snapshot: Snapshot; readonly allowed: readonly boolean[] }

function isAllowed(snapshot: Snapshot, { from: wire, to, packet }: Flow): boolean {
  const name = wire === 'uplink' ? wire : `cali${wire}`
  const way = { node: NODE, interfaces: new Map(), in: name, out: `cali${to}` }
  return decideAtNode(snapshot, packet, way).verdict === 'allow'
}

/** Every variant of every sort with the oracle's verdicts, and the states of each sort by index. */
export function states(): { readonly all: readonly State[]; readonly bySort: ReadonlyMap<string, readonly number[]> } {
  const all: State[] = []
  const bySort = new Map<string, number[]>()
  for (const [sort, variants] of Object.entries(SORTS)) {
    for (const variant of variants) {
      const snapshot = edited(variant)
      bySort.set(sort, [...(bySort.get(sort) ?? []), all.length])
      all.push({ sort, snapshot, allowed: FLOWS.map(f => isAllowed(snapshot, f)) })
    }
  }
  return { all, bySort }
}
