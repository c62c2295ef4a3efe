// Random policies of Kubernetes, for the judges: NetworkPolicies and ClusterNetworkPolicies over the same few labels, addresses
// and ports as Calico's. Some have rules that nobody understands, as a datastore may hold them.
import fc from 'fast-check'

const LABELS = { app: ['web', 'db'], role: ['front', 'back'], env: ['p'] } as const
const PORTS = [53, 80, 81, 443, 8080] as const
const PORT_NAMES = ['http', 'dns'] as const
const BLOCKS = [
  { cidr: '10.0.0.0/8' },
  { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] },
  { cidr: '10.1.2.0/16', except: ['10.1.2.0/24', '10.1.3.1/32'] },
  { cidr: '0.0.0.0/0', except: ['192.0.2.0/24'] },
  { cidr: '192.0.2.0/24', except: ['192.0.2.8/29'] },
  { cidr: 'fd00::/8', except: ['fd00:1::/64'] },
  { cidr: '::/0' },
] as const
const NETWORKS = [['10.0.0.0/8'], ['192.0.2.0/24', 'fd00:1::1/128'], ['2001:db8::/32'], ['0.0.0.0/0', '::/0']] as const
const PROTOCOLS = ['TCP', 'UDP', 'SCTP', undefined] as const

const expressions = (keys: Readonly<Record<string, readonly string[]>>) =>
  fc
    .constantFrom(...Object.keys(keys))
    .chain(key =>
      fc.constantFrom(
        { key, operator: 'Exists' },
        { key, operator: 'DoesNotExist' },
        { key, operator: 'In', values: [keys[key]![0]] },
        { key, operator: 'In', values: [...keys[key]!, 'other'] },
        { key, operator: 'NotIn', values: [keys[key]![0]] },
      ),
    )
const pairs = (keys: Readonly<Record<string, readonly string[]>>) =>
  fc
    .constantFrom(...Object.keys(keys))
    .chain(key => fc.constantFrom(...keys[key]!).map(value => ({ [key]: value }) as Record<string, string>))

const selectorOver = (keys: Readonly<Record<string, readonly string[]>>) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant({}) },
    { weight: 3, arbitrary: pairs(keys).map(matchLabels => ({ matchLabels })) },
    {
      weight: 2,
      arbitrary: fc.array(expressions(keys), { maxLength: 2 }).map(matchExpressions => ({ matchExpressions })),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(pairs(keys), expressions(keys))
        .map(([matchLabels, expression]) => ({ matchLabels, matchExpressions: [expression] })),
    },
  )
const podSelector = selectorOver(LABELS)
const namespaceSelector = selectorOver({
  team: ['a', 'b'],
  'kubernetes.io/metadata.name': ['default', 'prod'],
  'projectcalico.org/name': ['prod'],
})

const peer = fc.oneof(
  podSelector.map(pods => ({ podSelector: pods })),
  namespaceSelector.map(namespaces => ({ namespaceSelector: namespaces })),
  fc.record({ podSelector, namespaceSelector }),
  fc.constantFrom(...BLOCKS).map(ipBlock => ({ ipBlock })),
)
const port = fc.oneof(
  fc.record({
    protocol: fc.constantFrom(...PROTOCOLS),
    port: fc.constantFrom<number | string>(...PORTS, ...PORT_NAMES),
  }),
  fc.record({ protocol: fc.constantFrom(...PROTOCOLS) }),
  fc.constantFrom({ port: 80, endPort: 443 }, { protocol: 'UDP', port: 50, endPort: 8080 }, { port: 53, endPort: 53 }),
)
const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(fc.array(arbitrary, { maxLength: 3 }), { nil: undefined })

const broken = fc.constantFrom<object>(
  { ports: [{ port: 80, endPort: 70 }] },
  { ports: [{ port: 80 }, { protocol: 'ICMP' }] },
  { from: [{}], to: [{}] },
  { from: [{ nodeSelector: {} }], to: [{ nodeSelector: {} }] },
  { peers: [] },
)
const rule = (field: 'from' | 'to') =>
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ peers: some(peer), ports: some(port) }).map(r => ({ [field]: r.peers, ports: r.ports })),
    },
    {
      weight: 1,
      arbitrary: broken.map(r =>
        Object.fromEntries(Object.entries(r).filter(([key]) => key !== (field === 'from' ? 'to' : 'from'))),
      ),
    },
  )

export const networkPolicy = (index: number) =>
  fc
    .record({
      namespace: fc.constantFrom('default', 'prod'),
      podSelector,
      policyTypes: fc.constantFrom(['Ingress'], ['Egress'], ['Ingress', 'Egress'], undefined),
      ingress: some(rule('from')),
      egress: some(rule('to')),
      stagedAction: fc.constantFrom(undefined, undefined, 'Set', 'Delete'),
    })
    .map(({ namespace, stagedAction, ...spec }) => ({
      apiVersion: stagedAction ? 'projectcalico.org/v3' : 'networking.k8s.io/v1',
      kind: stagedAction ? 'StagedKubernetesNetworkPolicy' : 'NetworkPolicy',
      // The same names as Calico's policies have: of equal orders the kind decides.
      metadata: { name: `p${index % 3}`, namespace },
      spec: stagedAction === 'Delete' ? { stagedAction } : { ...spec, stagedAction },
    }))

const pods = fc.record({ namespaceSelector, podSelector })
const subject = fc.oneof(
  namespaceSelector.map(namespaces => ({ namespaces })),
  pods.map(selected => ({ pods: selected })),
)
const clusterPeer = (egress: boolean) =>
  fc.oneof(
    { weight: 30, arbitrary: subject },
    { weight: egress ? 20 : 0, arbitrary: fc.constantFrom(...NETWORKS).map(networks => ({ networks })) },
    { weight: egress ? 3 : 0, arbitrary: fc.constantFrom<object>({ nodes: {} }, { domainNames: ['a.example'] }) },
  )
const destinationPort = fc.oneof(
  fc.constantFrom(...PORTS).map(number => ({ number })),
  fc.constantFrom({ range: { start: 50, end: 100 } }, { range: { start: 8000, end: 9000 } }),
)
const protocol = fc.oneof(
  fc
    .constantFrom('tcp', 'tcp', 'udp', 'sctp')
    .chain(name => destinationPort.map(to => ({ [name]: { destinationPort: to } }))),
  fc.constantFrom(...PORT_NAMES).map(destinationNamedPort => ({ destinationNamedPort })),
)
const clusterRule = (field: 'from' | 'to') =>
  fc
    .record({
      action: fc.constantFrom('Accept', 'Accept', 'Deny', 'Pass'),
      name: fc.constantFrom('a rule', undefined),
      peers: fc.array(clusterPeer(field === 'to'), { minLength: 1, maxLength: 2 }),
      protocols: fc.option(fc.array(protocol, { minLength: 1, maxLength: 3 }), { nil: undefined }),
      broken: fc.integer({ min: 0, max: 25 }),
    })
    .map(({ peers, broken: dice, ...r }) => ({
      ...r,
      [field]: dice === 0 ? [] : peers,
      ...(dice === 1 && { action: 'Hmm' }),
    }))

export const clusterPolicy = (index: number) =>
  fc
    .record({
      tier: fc.constantFrom('Admin', 'Admin', 'Baseline', 'Baseline', 'Tenant'),
      priority: fc.constantFrom(0, 10, 10, 1000),
      subject: fc.oneof({ weight: 9, arbitrary: subject }, { weight: 1, arbitrary: fc.constant({}) }),
      ingress: fc.array(clusterRule('from'), { maxLength: 3 }),
      egress: fc.array(clusterRule('to'), { maxLength: 3 }),
    })
    .map(spec => ({
      apiVersion: 'policy.networking.k8s.io/v1alpha2',
      kind: 'ClusterNetworkPolicy',
      metadata: { name: `c${index}` },
      spec,
    }))
