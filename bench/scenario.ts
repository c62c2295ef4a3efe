// Clusters for the benchmarks, in the shape that a real Calico was measured with: policies of ten rules on one pod, each
// rule with a selector of its own that picks 20 addresses, and one UDP port; the last rule picks the pod that sends.
// Everything is a typed resource, so that a benchmark may change one and feed the change to whatever it measures.
import {
  type GlobalNetworkPolicy,
  type IPPool,
  type Resource,
  type Snapshot,
  snapshotOf,
  type WorkloadEndpoint,
} from '../src/core/resources/resource.ts'
import { DEFAULT_TIER, endpoint, globalPolicy, resource } from '../test/support/resources.ts'

export const NODE = 'node0'
/** The pods of the node: what they are called and where. */
export const SENDER = { name: 'a', address: '10.65.0.2' } as const
export const RECEIVER = { name: 'b', address: '10.65.0.3' } as const

export type Shape = {
  readonly policies: number
  readonly rulesPerPolicy: number
  /** Addresses that a rule's selector picks. */
  readonly members: number
  /** Addresses of one remote endpoint; more make the same sets with fewer resources. */
  readonly addressesPerEndpoint?: number
  /** With a pool whose pods are masqueraded when they speak to the world. */
  readonly masquerade?: boolean
  /** Of four rules one each asks for a prefix and a range of ports, for ICMP, and for a named port. */
  readonly mixed?: boolean
}

export type Scenario = {
  readonly resources: readonly Resource[]
  readonly snapshot: Snapshot
  readonly policies: readonly GlobalNetworkPolicy[]
  readonly remote: readonly WorkloadEndpoint[]
  /** The UDP port of the rule that lets the sender through. */
  readonly openPort: number
}

/** Every rule has its own up to this many; then they repeat, always with another selector. */
const PORTS = 20_000
const FIRST_PORT = 20_000

export const portOf = (rule: number): number => FIRST_PORT + (rule % PORTS)
export const setLabel = (rule: number): string => `s${rule}`

const POOL: IPPool = resource({
  apiVersion: 'projectcalico.org/v3',
  kind: 'IPPool',
  metadata: { name: 'pods' },
  spec: { cidr: '10.64.0.0/10', natOutgoing: true },
})

/** Every tenth rule, of which the last is one, is of the plain sort. */
function ruleOf(rule: number, mixed: boolean): object {
  const source = { selector: `set == '${setLabel(rule)}'` }
  switch (mixed && rule % 10 !== 9 ? rule % 4 : 0) {
    case 1:
      return { action: 'Allow', protocol: 'UDP', source: { nets: [netOf(rule)] }, destination: { ports: ['1:1023'] } }
    case 2:
      return { action: 'Allow', protocol: 'ICMP', icmp: { type: rule % 200 }, source }
    case 3:
      return { action: 'Allow', protocol: 'UDP', source, destination: { ports: [NAMED.name] } }
    default:
      return { action: 'Allow', protocol: 'UDP', source, destination: { ports: [portOf(rule)] } }
  }
}

const netOf = (rule: number): string => `10.${96 + (rule >> 12)}.${(rule >> 4) & 255}.${(rule & 15) << 4}/28`
const NAMED = { name: 'metrics', protocol: 'UDP', port: 9100 } as const

/** The policy with this number; its rules are those from `index * rulesPerPolicy` on. */
export function policy(index: number, rulesPerPolicy: number, mixed = false): GlobalNetworkPolicy {
  const first = index * rulesPerPolicy
  const ingress = Array.from({ length: rulesPerPolicy }, (_, i) => ruleOf(first + i, mixed))
  const name = `p${String(index).padStart(5, '0')}`
  return globalPolicy(name, { order: index, selector: "role == 'server'", types: ['Ingress'], ingress })
}

/** The n-th remote address. */
export const remoteAddress = (n: number): string => `10.${128 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`

export function scenario(shape: Shape): Scenario {
  const { members, rulesPerPolicy, addressesPerEndpoint = 1 } = shape
  const rules = shape.policies * rulesPerPolicy
  const policies = Array.from({ length: shape.policies }, (_, index) => policy(index, rulesPerPolicy, shape.mixed))
  const remote: WorkloadEndpoint[] = []
  for (let rule = 0; rule < rules; rule++) {
    for (let at = 0; at < members; at += addressesPerEndpoint) {
      const first = rule * members + at
      const count = Math.min(addressesPerEndpoint, members - at)
      const addresses = Array.from({ length: count }, (_, i) => remoteAddress(first + i))
      remote.push(endpoint({ name: `r${first}`, node: 'node1', addresses, labels: { set: setLabel(rule) } }))
    }
  }
  const last = { set: setLabel(rules - 1) }
  const resources: Resource[] = [
    DEFAULT_TIER,
    ...(shape.masquerade ? [POOL] : []),
    endpoint({ name: SENDER.name, node: NODE, addresses: [SENDER.address], labels: last }),
    withPort(endpoint({ name: RECEIVER.name, node: NODE, addresses: [RECEIVER.address], labels: { role: 'server' } })),
    ...remote,
    ...policies,
  ]
  return { resources, snapshot: snapshotOf(resources), policies, remote, openPort: portOf(rules - 1) }
}

const withPort = (of: WorkloadEndpoint): WorkloadEndpoint => ({
  ...of,
  spec: { ...of.spec, ports: [{ ...NAMED, hostPort: 0, hostIP: '' }] },
})
