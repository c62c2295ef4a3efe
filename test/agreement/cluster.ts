// Random clusters and packets for the judges: few names, addresses and ports, so that everything overlaps with everything.
import fc from 'fast-check'
import { type Addr, addr, familyOf } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { decodeResource, type Resource, type Snapshot, snapshotOf } from '../../src/core/resources/resource.ts'
import { PROFILE } from './featured-policy.ts'
import { clusterPolicy, networkPolicy } from './kubernetes-policies.ts'

const NAMESPACES = ['default', 'prod'] as const
const LABELS = { app: ['web', 'db'], role: ['front', 'back'], env: ['p'] } as const
const PORT_NAMES = ['http', 'dns'] as const
const PROTOCOLS = ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6', 'UDPLite', 47] as const
const PORTS = [53, 80, 81, 443, 8080] as const
const NETS4 = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '10.1.2.1/32', '192.0.2.0/24', '192.0.2.8/29'] as const
const NETS6 = ['fd00::/8', 'fd00:1::/32', 'fd00:1::1/128', '2001:db8::/32'] as const
const OUTSIDE = ['192.0.2.9', '192.0.2.200', '198.51.100.7', '2001:db8::9', '2001:dead::1'].map(addr)
const TIERS = ['security', 'default', 'nowhere'] as const

const label = fc.constantFrom(...Object.keys(LABELS)) as fc.Arbitrary<keyof typeof LABELS>
const labels = fc
  .record({ app: fc.constantFrom(...LABELS.app), role: fc.constantFrom(...LABELS.role), env: fc.constantFrom('p') })
  .chain(all => fc.subarray(Object.entries(all)).map(entries => Object.fromEntries(entries)))

const term = fc.oneof(
  label.chain(k => fc.constantFrom(...LABELS[k]).map(v => `${k} == '${v}'`)),
  label.chain(k => fc.constantFrom(...LABELS[k]).map(v => `${k} != '${v}'`)),
  label.map(k => `has(${k})`),
  label.map(k => `!has(${k})`),
  label.map(k => `${k} in {'web', 'back', 'p'}`),
  fc.constant('all()'),
)
const selector = fc.oneof(
  { weight: 3, arbitrary: term },
  { weight: 1, arbitrary: fc.tuple(term, fc.constantFrom('&&', '||'), term).map(([a, op, b]) => `${a} ${op} ${b}`) },
)
const namespaceSelector = fc.constantFrom(
  'all()',
  'global()',
  "projectcalico.org/name == 'prod'",
  "team == 'a'",
  "team != 'a'",
  '!all()',
  "all() && team == 'a'",
  "all() && team != 'a'",
  "!all() || team == 'a'",
  "!(all() && team != 'a')",
)
const serviceAccountSelector = fc.constantFrom(
  "tier == 'gold'",
  "tier != 'gold'",
  'all()',
  '!all()',
  "all() && tier != 'gold'",
  "!all() || tier == 'gold'",
)

/** An entry that is present now and then. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, weight = 1): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 30, arbitrary: fc.constant(undefined) }, { weight: weight * 10, arbitrary })

const port = fc.oneof(
  fc.constantFrom<number | string>(...PORTS),
  fc.constantFrom<number | string>('80:443', '50:8080', '8000:9000'),
  fc.constantFrom<number | string>(...PORT_NAMES),
)
const ports = fc.uniqueArray(port, { minLength: 1, maxLength: 3 })

const entity = (nets: readonly string[]) =>
  fc.record({
    selector: maybe(selector),
    notSelector: maybe(selector, 0.5),
    namespaceSelector: maybe(namespaceSelector, 0.7),
    serviceAccounts: maybe(
      fc.oneof(
        fc.constant({ names: ['sa1'] }),
        serviceAccountSelector.map(text => ({ selector: text })),
      ),
      0.4,
    ),
    nets: maybe(fc.subarray([...nets], { minLength: 1, maxLength: 2 }), 0.5),
    notNets: maybe(fc.subarray([...nets], { minLength: 1, maxLength: 2 }), 0.5),
  })

const SERVICES = ['s0', 's1', 's2'] as const
/** Without a namespace: that of the policy. */
const service = fc.record({
  name: fc.constantFrom(...SERVICES),
  namespace: fc.constantFrom(...NAMESPACES, ...NAMESPACES, undefined),
})

/** Rules that the schema refuses are filtered out by decoding the whole policy. */
const rule = fc.constantFrom(NETS4, NETS6).chain(nets =>
  fc
    .record({
      action: fc.constantFrom('Allow', 'Allow', 'Deny', 'Pass', 'Log'),
      ipVersion: maybe(fc.constantFrom(4, 6), 0.3),
      protocol: maybe(fc.constantFrom<string | number>(...PROTOCOLS), 4),
      notProtocol: maybe(fc.constantFrom<string | number>(...PROTOCOLS), 0.3),
      icmp: fc.constantFrom({ type: 8 }, { type: 8, code: 0 }, { type: 128 }, { type: 3, code: 1 }, undefined),
      notICMP: maybe(fc.constantFrom({ type: 8 }, { type: 8, code: 0 }), 0.3),
      source: entity(nets),
      destination: entity(nets),
      ports: maybe(ports, 2),
      notPorts: maybe(ports, 0.5),
      sports: maybe(ports, 0.4),
      services: maybe(service, 0.6),
    })
    .map(({ ports: dports, notPorts, sports, ...r }) => {
      const withPorts = ['TCP', 'UDP', 'SCTP', undefined].includes(r.protocol as string | undefined)
      const named = (list: readonly (number | string)[] | undefined) =>
        r.protocol === undefined ? list?.filter(p => PORT_NAMES.includes(p as 'http')) : list
      const sideOf = (list: readonly (number | string)[] | undefined): (string | number)[] | undefined => {
        const kept = withPorts ? named(list) : undefined
        return kept && kept.length > 0 ? [...kept] : undefined
      }
      return {
        ...r,
        icmp: r.protocol === 'ICMP' || r.protocol === 'ICMPv6' ? r.icmp : undefined,
        source: { ...r.source, ports: sideOf(sports) },
        destination: { ...r.destination, ports: sideOf(dports), notPorts: sideOf(notPorts) },
      }
    }),
)

type Sides = {
  readonly services: unknown
  readonly source: { readonly ports: unknown }
  readonly destination: object
}

/** A service takes the place of everything else that could be asked of the peer; a source may still have ports. */
function withService(side: 'source' | 'destination') {
  return <R extends Sides>({ services, ...r }: R): object => {
    if (services === undefined) return r
    return { ...r, [side]: { services, ...(side === 'source' && { ports: r.source.ports }) } }
  }
}

const spec = fc.record({
  tier: fc.constantFrom(...TIERS),
  order: maybe(fc.constantFrom(10, 20, 1000)),
  selector: maybe(selector, 3),
  serviceAccountSelector: maybe(serviceAccountSelector, 0.3),
  types: fc.constantFrom(['Ingress'], ['Egress'], ['Ingress', 'Egress'], undefined),
  ingress: fc.array(rule.map(withService('source')), { maxLength: 4 }),
  egress: fc.array(rule.map(withService('destination')), { maxLength: 4 }),
})
/** What only host endpoints look at; what does not fit together the schema refuses. */
const hostFields = fc.constantFrom(
  {},
  {},
  { applyOnForward: true },
  { applyOnForward: true, preDNAT: true, egress: undefined },
  { applyOnForward: true, doNotTrack: true },
)

const V3 = 'projectcalico.org/v3'
const POD_COUNT = 5
const policy = (index: number) =>
  fc
    .tuple(
      spec,
      fc.constantFrom(undefined, ...NAMESPACES),
      maybe(namespaceSelector, 0.4),
      hostFields,
      maybe(fc.constantFrom('Set', 'Delete'), 0.7),
    )
    .map(([body, namespace, namespaces, host, staged]) => {
      const { tier: of } = body
      const global = { namespaceSelector: namespaces, ...host, ...('preDNAT' in host && { types: ['Ingress'] }) }
      const full = { ...body, ...(namespace === undefined && global) }
      return {
        apiVersion: V3,
        kind: `${staged ? 'Staged' : ''}${namespace ? 'NetworkPolicy' : 'GlobalNetworkPolicy'}`,
        metadata: { name: `p${index % 3}`, namespace },
        spec: staged === 'Delete' ? { tier: of, stagedAction: staged } : { ...full, stagedAction: staged },
      }
    })

const pod = (index: number) =>
  fc
    .record({
      namespace: fc.constantFrom(...NAMESPACES),
      labels,
      sa: fc.constantFrom('default', 'sa1'),
      port: fc.constantFrom(...PORTS),
    })
    .map(({ namespace, labels: own, sa, port: number }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `pod${index}`, namespace, labels: own },
      spec: {
        nodeName: `node${index % 2}`,
        serviceAccountName: sa,
        containers: [
          {
            ports: [
              { name: 'http', containerPort: number, protocol: 'TCP' },
              { name: index % 2 ? 'dns' : 'http', containerPort: 53, protocol: 'UDP' },
            ],
          },
        ],
      },
      status: { podIPs: [{ ip: `10.1.${index}.1` }, { ip: `fd00:1::${index}` }], podIP: `10.1.${index}.1` },
    }))

/**
 * A workload beside the pods: one that is no pod, which Kubernetes' policies do not mean, or a pod's endpoint that somebody
 * stored without the profile of its namespace, which lends no labels then. Its number follows those of the pods.
 */
const workload = fc
  .record({
    namespace: fc.constantFrom(...NAMESPACES),
    labels,
    port: fc.constantFrom(...PORTS),
    isPod: fc.boolean(),
  })
  .map(({ namespace, labels: own, port: number, isPod }) => ({
    apiVersion: V3,
    kind: 'WorkloadEndpoint',
    metadata: { name: isPod ? 'node1-k8s-stored-eth0' : 'node1-cni-c0ffee-eth0', namespace, labels: own },
    spec: {
      ...(isPod ? { orchestrator: 'k8s', pod: 'stored' } : { orchestrator: 'cni', containerID: 'c0ffee' }),
      ...{ node: 'node1', endpoint: 'eth0', interfaceName: 'calic0ffee' },
      ipNetworks: [`10.1.${POD_COUNT}.1/32`, `fd00:1::${POD_COUNT}/128`],
      profiles: isPod ? [] : [`kns.${namespace}`],
      ports: [{ name: 'http', port: number, protocol: 'TCP' }],
    },
  }))

const FIXED: readonly object[] = [
  { apiVersion: V3, kind: 'Tier', metadata: { name: 'default' }, spec: { order: 1000000, defaultAction: 'Deny' } },
  { apiVersion: V3, kind: 'Tier', metadata: { name: 'kube-admin' }, spec: { order: 1000, defaultAction: 'Pass' } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default', labels: { team: 'a' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'prod', labels: {} } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'sa1', namespace: 'prod', labels: { tier: 'gold' } } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'prod' } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'default' } },
]

const tier = fc.record({ order: maybe(fc.constant(5)), defaultAction: fc.constantFrom('Deny', 'Pass') }).map(s => ({
  apiVersion: V3,
  kind: 'Tier',
  metadata: { name: 'security' },
  spec: s,
}))

/** Should always be there; where it is not, it denies what its policies speak of. */
const baseline = fc.constantFrom<object[]>(
  [],
  ...Array.from({ length: 4 }, () => [
    { apiVersion: V3, kind: 'Tier', metadata: { name: 'kube-baseline' }, spec: { order: 1e7, defaultAction: 'Pass' } },
  ]),
)

const networkSet = (index: number) =>
  fc
    .tuple(fc.constantFrom(undefined, ...NAMESPACES), labels, fc.subarray([...NETS4, ...NETS6]))
    .map(([namespace, own, nets]) => ({
      apiVersion: V3,
      kind: namespace ? 'NetworkSet' : 'GlobalNetworkSet',
      metadata: { name: `set${index}`, namespace, labels: own },
      spec: { nets },
    }))

/** Two nodes with two interfaces each; endpoints may name one, or be found by an address, or guard all. */
export const HOST_INTERFACES: ReadonlyMap<string, ReadonlyMap<string, readonly Addr[]>> = new Map(
  ['node0', 'node1'].map((node, i) => [
    node,
    new Map([
      ['eth0', [addr(`172.16.0.${i + 1}`), addr(`fd00:2::${i + 1}`)]],
      ['eth1', [addr(`172.16.1.${i + 1}`)]],
    ]),
  ]),
)

const hostEndpoint = (index: number) =>
  fc
    .record({
      interfaceName: fc.constantFrom('eth0', 'eth1', '*', undefined),
      expectedIPs: fc.constantFrom(
        [],
        [`172.16.0.${(index % 2) + 1}`, `fd00:2::${(index % 2) + 1}`],
        [`172.16.1.${(index % 2) + 1}`],
      ),
      labels,
      profiles: fc.constantFrom([], ['kns.default'], ['projectcalico-default-allow'], ['none'], [PROFILE], [PROFILE]),
      port: fc.constantFrom(...PORTS),
    })
    .map(({ labels: own, port: number, ...h }) => ({
      apiVersion: V3,
      kind: 'HostEndpoint',
      metadata: { name: `host${index}`, labels: own },
      spec: { node: `node${index % 2}`, ...h, ports: [{ name: 'http', protocol: 'TCP', port: number }] },
    }))

/** Of pods and outside, listed in slices too. */
const LISTED4 = [...Array.from({ length: POD_COUNT }, (_, i) => `10.1.${i}.1`), '192.0.2.9', '198.51.100.7']
const LISTED6 = [...Array.from({ length: POD_COUNT }, (_, i) => `fd00:1::${i}`), '2001:db8::9']

const slicePort = fc.record({
  protocol: maybe(fc.constantFrom('TCP', 'UDP', 'SCTP'), 4),
  port: fc.constantFrom(...PORTS, ...PORTS, undefined),
})
/** Several of one service, of none, of both families, overlapping, with endpoints in any condition. */
const slice = (index: number) =>
  fc
    .record({
      namespace: fc.constantFrom(...NAMESPACES),
      name: fc.constantFrom(...SERVICES, undefined),
      ports: maybe(fc.array(slicePort, { maxLength: 3 }), 20),
      family: fc.constantFrom('IPv4', 'IPv6'),
      picks: fc.array(fc.tuple(fc.nat(10), fc.boolean()), { maxLength: 4 }),
    })
    .map(({ namespace, name, ports: listed, family, picks }) => {
      const from = family === 'IPv4' ? LISTED4 : LISTED6
      return {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `slice${index}`, namespace, labels: name && { 'kubernetes.io/service-name': name } },
        addressType: family,
        ports: listed,
        endpoints: picks.map(([pick, ready]) => ({ addresses: [from[pick % from.length]], conditions: { ready } })),
      }
    })

const tuple = <T>(make: (index: number) => fc.Arbitrary<T>, count: number): fc.Arbitrary<T[]> =>
  fc.tuple(...Array.from({ length: count }, (_, i) => make(i)))

/** Kubernetes' policies: of some clusters many, of others none. */
const theirs = fc.oneof(
  { weight: 1, arbitrary: fc.constant([]) },
  { weight: 3, arbitrary: tuple<object>(networkPolicy, 3) },
  { weight: 2, arbitrary: tuple<object>(clusterPolicy, 3) },
  { weight: 2, arbitrary: fc.tuple(networkPolicy(1), clusterPolicy(0), clusterPolicy(1)) },
)

/** Most clusters have some. */
const hosts = fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 2, arbitrary: tuple(hostEndpoint, 4) })

/** A cluster of two nodes; documents that the schema refuses are left out. `refused` counts them. */
export const cluster: fc.Arbitrary<Snapshot> = fc
  .tuple(
    tuple(pod, POD_COUNT),
    tuple(networkSet, 3),
    tuple(slice, 4),
    tuple(policy, 7),
    theirs,
    fc.tuple(tier, workload),
    fc.tuple(baseline, hosts),
  )
  .map(([pods, sets, slices, policies, kubernetes, more, [last, heps]]) => {
    const resources: Resource[] = []
    for (const document of [
      ...FIXED,
      ...more,
      ...last,
      ...pods,
      ...sets,
      ...heps,
      ...slices,
      ...policies,
      ...kubernetes,
    ]) {
      // As a datastore holds them: Kubernetes' policies may then have rules that are not valid.
      const decoded = decodeResource(document, { stored: true })
      if (decoded.ok) resources.push(decoded.value)
    }
    return snapshotOf(resources)
  })

/** Addresses of pods, the other workload, and of the world outside. */
const peers4: Addr[] = [
  ...Array.from({ length: POD_COUNT + 1 }, (_, i) => addr(`10.1.${i}.1`)),
  ...OUTSIDE.filter(a => familyOf(a) === 4),
  ...[...HOST_INTERFACES.values()].flatMap(names => [...names.values()].flat()).filter(a => familyOf(a) === 4),
]
const peers6: Addr[] = [
  ...Array.from({ length: POD_COUNT + 1 }, (_, i) => addr(`fd00:1::${i}`)),
  ...OUTSIDE.filter(a => familyOf(a) === 6),
  ...[...HOST_INTERFACES.values()].flatMap(names => [...names.values()].flat()).filter(a => familyOf(a) === 6),
]

export const packet: fc.Arbitrary<Packet> = fc.constantFrom<4 | 6>(4, 6).chain(family =>
  fc
    .record({
      src: fc.constantFrom(...(family === 4 ? peers4 : peers6)),
      dst: fc.constantFrom(...(family === 4 ? peers4 : peers6)),
      protocol: fc.constantFrom(6, 6, 6, 17, 17, 132, family === 4 ? 1 : 58, 1, 58, 136, 47, 50),
      sport: fc.constantFrom(53, 80, 8080, 40000),
      dport: fc.constantFrom(1, 53, 80, 81, 100, 443, 8080, 8500, 65535),
      icmp: fc.constantFrom(
        { type: 8, code: 0 },
        { type: 8, code: 3 },
        { type: 3, code: 1 },
        { type: 128, code: 0 },
        { type: 0, code: 0 },
      ),
    })
    .filter(p => p.src !== p.dst)
    .map(({ src, dst, protocol, sport, dport, icmp }) => ({
      family,
      protocol,
      src,
      dst,
      ...([6, 17, 132].includes(protocol) && { sport, dport }),
      ...(protocol === (family === 4 ? 1 : 58) && { icmp }),
    })),
)

/** How a packet passes node0: between its own interfaces, pods of it, and itself. */
export const wayOf: fc.Arbitrary<{ readonly in?: string; readonly out?: string }> = fc
  .record(
    {
      in: fc.constantFrom('eth0', 'eth1', 'lo'),
      out: fc.constantFrom('eth0', 'eth1', 'lo'),
    },
    { requiredKeys: [] },
  )
  .filter(way => way.in !== undefined || way.out !== undefined)
