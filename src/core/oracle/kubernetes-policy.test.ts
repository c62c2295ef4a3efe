// Kubernetes' policies by Kubernetes' rules: each case is a policy, the packets it lets through, and those it does not; and
// the same worlds through the compiler's calculation, for what it must say of rules that it cannot convert.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Resource, Snapshot } from '../resources/resource.ts'
import { decide } from './decide.ts'
import { explainDecision } from './explain-decision.ts'
import { type Fields, gnp, kcnp, knp, np, outcome, packet, pod, tier, v3, world } from './world.fixture.ts'

function check(snapshot: Snapshot, rows: Record<string, string>): void {
  for (const [text, expected] of Object.entries(rows)) {
    const lines = explainDecision(decide(snapshot, packet(text))).join('\n')
    assert.equal(outcome(snapshot, text), expected, `${text}\n${lines}`)
  }
}

const explain = (snapshot: Snapshot, text: string): string => explainDecision(decide(snapshot, packet(text))).join('\n')

const BACKEND = { podSelector: { matchLabels: { role: 'backend' } } }

/** One ingress rule at `default/backend`: which packets does it let in? */
function lets(rule: Fields, yes: string[], no: string[], ...more: Resource[]): void {
  const policy = knp('default/p', { ...BACKEND, policyTypes: ['Ingress'], ingress: [rule] })
  check(
    world(policy, ...more),
    Object.fromEntries([
      ...yes.map(text => [text, 'allow: KubernetesNetworkPolicy default/p ingress[0] Allow']),
      ...no.map(text => [text, 'deny: Tier default ingress default Deny']),
    ]),
  )
}

test('NetworkPolicy: peers', () => {
  const [own, other, client, outside] = [
    'frontend backend tcp/80',
    'prodfrontend backend tcp/80',
    'client backend tcp/80',
    'outside backend tcp/80',
  ]
  const from = (...peers: Fields[]): Fields => ({ from: peers })
  const set = v3('NetworkSet', 'default/set', { nets: ['192.0.2.0/24'] }, { role: 'frontend' })
  lets({}, [own, other, outside, 'outside6 backend6 icmpv6/128'], [])
  lets({ from: [] }, [own, outside], [])
  // Only pods are selected, no sets; of the policy's own namespace unless another is asked for.
  lets(from({ podSelector: {} }), [own, client], [other, outside], set)
  lets(from({ podSelector: { matchLabels: { role: 'frontend' } } }), [own], [other, client, outside], set)
  lets(from({ namespaceSelector: {} }), [own, other, client], [outside], set)
  lets(from({ namespaceSelector: { matchLabels: { team: 'red' } } }), [other], [own, outside])
  const prod = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'prod' } } }
  lets(from(prod), [other, 'prodbackend backend tcp/80'], [own])
  // One peer asks for both, two peers for either.
  const backends = { podSelector: { matchLabels: { role: 'backend' } } }
  lets(from({ ...prod, ...backends }), ['prodbackend backend tcp/80'], [other, own])
  lets(from(prod, { podSelector: { matchLabels: { role: 'client' } } }), [other, client], [own])
  lets(
    from({ ipBlock: { cidr: '192.0.2.0/24', except: ['192.0.2.8/30'] } }),
    ['192.0.2.1 backend tcp/80'],
    [outside, own],
  )
  lets(from({ ipBlock: { cidr: '10.0.0.0/8' } }), [own, other], [outside, 'outside6 backend6 tcp/80'])
  lets(from({ ipBlock: { cidr: '::/0' } }), ['outside6 backend6 tcp/80'], [own])
})

test('NetworkPolicy: expressions', () => {
  const from = (operator: string, key: string, ...values: string[]): Fields => ({
    from: [{ podSelector: { matchExpressions: [{ key, operator, ...(values.length > 0 && { values }) }] } }],
  })
  const [frontend, client, bare] = ['frontend backend tcp/80', 'client backend tcp/80', '10.0.0.9 backend tcp/80']
  const without = pod('default/bare', { ips: ['10.0.0.9'] })
  lets(from('In', 'role', 'frontend', 'x'), [frontend], [client, bare], without)
  lets(from('NotIn', 'role', 'frontend'), [client, bare], [frontend], without)
  lets(from('Exists', 'role'), [frontend, client], [bare], without)
  lets(from('DoesNotExist', 'role'), [bare], [frontend, client], without)
})

test('NetworkPolicy: ports', () => {
  const on = (...ports: Fields[]): Fields => ({ ports })
  const tcp = (port: number): string => `client backend tcp/${port}`
  lets(on({ port: 80 }), [tcp(80)], [tcp(81), 'client backend udp/80', 'client backend icmp/8'])
  lets(on({ protocol: 'UDP', port: 53 }), ['client backend udp/53'], [tcp(53)])
  lets(on({ protocol: 'SCTP' }), ['client backend sctp/9'], [tcp(9)])
  lets(on({}), [tcp(1), tcp(65535)], ['client backend udp/1', 'client backend icmp/8'])
  lets(on({ port: 80, endPort: 90 }), [tcp(80), tcp(90)], [tcp(79), tcp(91)])
  lets(on({ port: 'http' }), [tcp(8080)], [tcp(80), 'client backend udp/8080'])
  lets(on({ port: 'http', protocol: 'UDP' }), [], [tcp(8080)])
  lets(on({ port: 1 }, { port: 'http' }, { protocol: 'UDP' }), [tcp(1), tcp(8080), 'client backend udp/7'], [tcp(2)])
  lets(
    { ...on({ port: 80 }), from: [{ podSelector: { matchLabels: { role: 'client' } } }] },
    [tcp(80)],
    [tcp(81), 'frontend backend tcp/80'],
  )
})

test('NetworkPolicy: egress, and named ports of the pods that it goes to', () => {
  const to = (rule: Fields, yes: string[], no: string[]): void => {
    const policy = knp('default/p', { policyTypes: ['Egress'], podSelector: {}, egress: [rule] })
    const snapshot = world(policy)
    for (const text of yes) {
      assert.equal(outcome(snapshot, text).startsWith('allow'), true, `${text}\n${explain(snapshot, text)}`)
    }
    for (const text of no) assert.equal(outcome(snapshot, text), 'deny: Tier default egress default Deny', text)
  }
  to({ ports: [{ port: 'http' }] }, ['client backend tcp/8080'], ['client backend tcp/80', 'client frontend tcp/8080'])
  const backend = { podSelector: { matchLabels: { role: 'backend' } } }
  to({ to: [backend], ports: [{ port: 'http' }] }, ['client backend tcp/8080'], ['client frontend tcp/8080'])
  const frontend = { podSelector: { matchLabels: { role: 'frontend' } } }
  to({ to: [frontend], ports: [{ port: 'http' }] }, [], ['client backend tcp/8080', 'client frontend tcp/8080'])
  const block = { ipBlock: { cidr: '10.0.0.0/24' } }
  to({ to: [block], ports: [{ port: 'http' }] }, ['client backend tcp/8080'], ['client prodbackend tcp/8080'])
  // One peer and one port, not any of each.
  to({ to: [frontend, block], ports: [{ port: 'http' }] }, ['client backend tcp/8080'], ['client frontend tcp/8080'])
})

test('NetworkPolicy: isolation by direction, the union of policies, and no rules at all', () => {
  const isolates = (policyTypes: string[]): Resource => knp('default/p', { ...BACKEND, policyTypes })
  check(world(isolates(['Ingress'])), {
    'client backend tcp/80': 'deny: Tier default ingress default Deny',
    'backend client tcp/80': 'allow: Profile kns.default ingress[0] Allow',
    'client frontend tcp/80': 'allow: Profile kns.default ingress[0] Allow',
    // The namespace of the policy alone.
    'client prodbackend tcp/80': 'allow: Profile kns.prod ingress[0] Allow',
  })
  check(world(isolates(['Egress'])), {
    'backend client tcp/80': 'deny: Tier default egress default Deny',
    'client backend tcp/80': 'allow: Profile kns.default ingress[0] Allow',
  })
  const a = knp('default/a', { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] })
  const b = knp('default/b', { ...BACKEND, ingress: [{ ports: [{ port: 81 }] }, { ports: [{ port: 80 }] }] })
  check(world(a, b), {
    'client backend tcp/80': 'allow: KubernetesNetworkPolicy default/a ingress[0] Allow',
    'client backend tcp/81': 'allow: KubernetesNetworkPolicy default/b ingress[0] Allow',
    'client backend tcp/82': 'deny: Tier default ingress default Deny',
  })
})

test('NetworkPolicy: among policies of Calico it stands in tier default at order 1000; ties go by name/namespace/kind', () => {
  const theirs = knp('default/m', { ...BACKEND, ingress: [{}] })
  const ours = (name: string, order: number | undefined): Resource =>
    np(`default/${name}`, { order, selector: "role == 'backend'", ingress: [{ action: 'Deny' }] })
  const text = 'client backend tcp/80'
  const kubernetes = 'allow: KubernetesNetworkPolicy default/m ingress[0] Allow'
  check(world(theirs, ours('z', 999)), { [text]: 'deny: NetworkPolicy default/z ingress[0] Deny' })
  check(world(theirs, ours('a', 1001)), { [text]: kubernetes })
  check(world(theirs, ours('a', undefined)), { [text]: kubernetes })
  check(world(theirs, ours('a', 1000)), { [text]: 'deny: NetworkPolicy default/a ingress[0] Deny' })
  check(world(theirs, ours('z', 1000)), { [text]: kubernetes })
  // Of one name: KubernetesNetworkPolicy comes before NetworkPolicy.
  check(world(theirs, ours('m', 1000)), { [text]: kubernetes })
  // A lower order wins against an allow of Kubernetes, a later one does not.
  const global = (order: number): Resource =>
    gnp('g', { order, selector: 'all()', types: ['Ingress'], ingress: [{ action: 'Deny' }] })
  check(world(theirs, global(1)), { [text]: 'deny: GlobalNetworkPolicy g ingress[0] Deny' })
  check(world(theirs, global(2000)), { [text]: kubernetes })
})

test('NetworkPolicy: pods alone are isolated; a rule that is not understood allows nothing', () => {
  const other = v3('WorkloadEndpoint', 'default/node1-cni-c1-eth0', {
    ...{ orchestrator: 'cni', node: 'node1', containerID: 'c1', endpoint: 'eth0', interfaceName: 'calic1' },
    ...{ ipNetworks: ['10.0.0.77/32'], profiles: ['kns.default'] },
  })
  check(world(knp('default/p', {}), other), {
    'client 10.0.0.77 tcp/80': 'allow: Profile kns.default ingress[0] Allow',
    'client backend tcp/80': 'deny: Tier default ingress default Deny',
  })
  const bad = knp('default/p', { ingress: [{ from: [{ nodeSelector: {} }] }, { ports: [{ port: 80 }] }] })
  check(world(bad), {
    'client backend tcp/80': 'allow: KubernetesNetworkPolicy default/p ingress[1] Allow',
    'client backend tcp/81': 'deny: Tier default ingress default Deny',
  })
  assert.match(
    explain(world(bad), 'client backend tcp/81'),
    /ingress\[0\] Allow nothing: no: it cannot be understood: spec\.ingress\[0\]/,
  )
})

test('why speaks in the words of Kubernetes', () => {
  const policy = knp('default/web', {
    ...BACKEND,
    ingress: [
      {
        from: [
          { podSelector: { matchLabels: { role: 'frontend' } } },
          { ipBlock: { cidr: '172.16.0.0/12', except: ['172.16.1.0/24'] } },
        ],
        ports: [
          { port: 80, endPort: 90 },
          { port: 'http', protocol: 'UDP' },
        ],
      },
    ],
  })
  const lines = explain(world(policy), 'client backend tcp/80')
  const peers = 'pods with role=frontend in namespace default or 172.16.0.0/12 except 172.16.1.0/24'
  assert.ok(
    lines.includes(
      `near miss  KubernetesNetworkPolicy default/web ingress[0]: Allow TCP 80-90, UDP http from ${peers}`,
    ),
    lines,
  )
  assert.ok(lines.includes(`but the source is not among ${peers} (default/client has role=client)`), lines)
  assert.match(explain(world(policy), 'frontend backend tcp/7'), /but it is not TCP 80-90 or UDP http\n/)
})

const TIERS = [
  tier('kube-admin', { order: 1000, defaultAction: 'Pass' }),
  tier('kube-baseline', { order: 1e7, defaultAction: 'Pass' }),
]
const clusterWorld = (...more: Resource[]): Snapshot => world(...TIERS, ...more)
const BACKENDS = { pods: { podSelector: { matchLabels: { role: 'backend' } } } }
const admin = (spec: Fields, name = 'a'): Resource =>
  kcnp(name, { tier: 'Admin', priority: 1, subject: BACKENDS, ...spec })
const EVERYBODY = [{ namespaces: {} }]

test('ClusterNetworkPolicy: the first rule that is met decides; Admin, then the policies of namespaces, then Baseline', () => {
  const rules = [
    { action: 'Pass', from: [{ pods: { podSelector: { matchLabels: { role: 'frontend' } } } }] },
    {
      action: 'Accept',
      from: [{ namespaces: { matchLabels: { team: 'red' } } }],
      protocols: [{ tcp: { destinationPort: { number: 80 } } }],
    },
    { action: 'Deny', from: EVERYBODY },
  ]
  const isolating = knp('default/p', BACKENDS.pods)
  const text = (from: string): string => `${from} backend tcp/80`
  check(clusterWorld(admin({ ingress: rules })), {
    [text('frontend')]: 'allow: Profile kns.default ingress[0] Allow',
    // In both namespaces.
    [text('prodfrontend')]: 'allow: Profile kns.default ingress[0] Allow',
    [text('prodbackend')]: 'allow: KubernetesClusterNetworkPolicy a ingress[1] Allow',
    [text('client')]: 'deny: KubernetesClusterNetworkPolicy a ingress[2] Deny',
    // Nobody but pods is meant by a peer; what no rule decides goes on.
    [text('outside')]: 'allow: Profile kns.default ingress[0] Allow',
    'client frontend tcp/80': 'allow: Profile kns.default ingress[0] Allow',
    'prodfrontend prodbackend tcp/80': 'allow: Profile kns.prod ingress[0] Allow',
    'client prodbackend tcp/80': 'deny: KubernetesClusterNetworkPolicy a ingress[2] Deny',
  })
  // A Pass leaves it to the policies of the namespace, an Accept does not.
  check(clusterWorld(admin({ ingress: rules }), isolating), {
    [text('frontend')]: 'deny: Tier default ingress default Deny',
    [text('prodbackend')]: 'allow: KubernetesClusterNetworkPolicy a ingress[1] Allow',
  })
  const baseline = admin({ tier: 'Baseline', ingress: [{ action: 'Deny', from: EVERYBODY }] }, 'b')
  check(clusterWorld(baseline), {
    [text('client')]: 'deny: KubernetesClusterNetworkPolicy b ingress[0] Deny',
    [text('outside')]: 'allow: Profile kns.default ingress[0] Allow',
  })
  check(clusterWorld(baseline, knp('default/p', { ...BACKENDS.pods, ingress: [{}] })), {
    [text('client')]: 'allow: KubernetesNetworkPolicy default/p ingress[0] Allow',
  })
})

test('ClusterNetworkPolicy: priority, subjects, directions, networks, ports', () => {
  const deny = { ingress: [{ action: 'Deny', from: EVERYBODY }] }
  const accept = { ingress: [{ action: 'Accept', from: EVERYBODY }] }
  const text = 'client backend tcp/80'
  check(clusterWorld(admin({ ...deny, priority: 2 }), admin({ ...accept, priority: 1 }, 'b')), {
    [text]: 'allow: KubernetesClusterNetworkPolicy b ingress[0] Allow',
  })
  check(clusterWorld(admin(deny), admin(accept, 'b')), {
    [text]: 'deny: KubernetesClusterNetworkPolicy a ingress[0] Deny',
  })
  check(clusterWorld(admin({ ...deny, subject: { namespaces: { matchLabels: { team: 'red' } } } })), {
    [text]: 'allow: Profile kns.default ingress[0] Allow',
    'client prodbackend tcp/80': 'deny: KubernetesClusterNetworkPolicy a ingress[0] Deny',
  })
  const egress = (protocols: Fields[], to: Fields[] = EVERYBODY): Snapshot =>
    clusterWorld(admin({ egress: [{ action: 'Deny', to, protocols }] }))
  const denied = 'deny: KubernetesClusterNetworkPolicy a egress[0] Deny'
  check(
    egress([
      { udp: { destinationPort: { range: { start: 50, end: 60 } } } },
      { tcp: { destinationPort: { number: 7 } } },
    ]),
    {
      'backend client udp/50': denied,
      'backend client udp/60': denied,
      'backend client tcp/7': denied,
      'backend client tcp/50': 'allow: Profile kns.default ingress[0] Allow',
    },
  )
  check(egress([{ destinationNamedPort: 'http' }]), {
    'prodbackend backend tcp/8080': denied,
    'prodbackend backend udp/8080': 'allow: Profile kns.default ingress[0] Allow',
    'prodbackend frontend tcp/8080': 'allow: Profile kns.default ingress[0] Allow',
  })
  const nets = clusterWorld(
    admin({ egress: [{ action: 'Deny', to: [{ networks: ['192.0.2.0/24', '2001:db8::/32'] }] }] }),
  )
  check(nets, {
    'backend outside tcp/80': denied,
    'backend6 outside6 icmpv6/128': denied,
    'backend other tcp/80': 'allow: Profile kns.default egress[0] Allow',
  })
})

test('ClusterNetworkPolicy: what is not understood fails closed, and a policy about nobody is none', () => {
  const text = 'backend client tcp/80'
  const rule = (action: string): Snapshot => clusterWorld(admin({ egress: [{ action, to: [{ nodes: {} }] }] }))
  check(rule('Accept'), { [text]: 'allow: Profile kns.default ingress[0] Allow' })
  for (const action of ['Deny', 'Pass', 'Hmm']) {
    check(rule(action), { [text]: 'deny: KubernetesClusterNetworkPolicy a egress[0] Deny' })
  }
  assert.match(
    explain(rule('Deny'), text),
    /rule {7}Deny everything, for it cannot be understood: spec\.egress\[0\]\.to\[0\]\.nodes: /,
  )
  const deny = { ingress: [{ action: 'Deny', from: EVERYBODY }] }
  for (const spec of [{ tier: 'Tenant' }, { tier: undefined }, { subject: {} }]) {
    check(clusterWorld(admin({ ...deny, ...spec })), {
      'client backend tcp/80': 'allow: Profile kns.default ingress[0] Allow',
    })
  }
})
