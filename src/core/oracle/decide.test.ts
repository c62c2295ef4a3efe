// Tables of cases: a few resources, and what becomes of packets. The resources go through the same decoding as a user's
// YAML, so that a case that no user could write cannot pass for one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr, familyOf } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { protocolNumber } from '../net/protocol.ts'
import { printCause, printRule } from '../resources/cause.ts'
import { decodeResource, type Resource, type Snapshot, snapshotOf } from '../resources/resource.ts'
import { decide } from './decide.ts'
import { explainDecision } from './explain-decision.ts'

type Fields = Record<string, unknown>

function resource(document: Fields): Resource {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded.ok ? '' : decoded.problems))
  return decoded.value
}

const v3 = (kind: string, name: string, spec: Fields, labels: Fields = {}): Resource => {
  const [namespace, rest] = name.includes('/') ? name.split('/') : [undefined, name]
  return resource({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name: rest, namespace, labels }, spec })
}
const np = (name: string, spec: Fields): Resource => v3('NetworkPolicy', name, spec)
const gnp = (name: string, spec: Fields): Resource => v3('GlobalNetworkPolicy', name, spec)
const tier = (name: string, spec: Fields): Resource => v3('Tier', name, spec)
const namespace = (name: string, labels: Fields = {}): Resource =>
  resource({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })

type PodSpec = { ips: string[]; labels?: Fields; serviceAccount?: string; ports?: Fields[] }
function pod(name: string, { ips, labels = {}, serviceAccount, ports = [] }: PodSpec): Resource {
  const [ns, rest] = name.split('/')
  return resource({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: rest, namespace: ns, labels },
    spec: { nodeName: 'node-a', serviceAccountName: serviceAccount, containers: [{ ports }] },
    status: { podIPs: ips.map(ip => ({ ip })) },
  })
}

const HTTP = [{ name: 'http', containerPort: 8080, protocol: 'TCP' }]
const PODS = [
  namespace('default', { team: 'blue' }),
  namespace('prod', { team: 'red' }),
  resource({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'robot', namespace: 'default', labels: { kind: 'machine' } },
  }),
  pod('default/frontend', { ips: ['10.0.0.1', 'fd00::1'], labels: { role: 'frontend' }, serviceAccount: 'robot' }),
  pod('default/backend', { ips: ['10.0.0.2', 'fd00::2'], labels: { role: 'backend' }, ports: HTTP }),
  pod('default/client', { ips: ['10.0.0.3', 'fd00::3'], labels: { role: 'client' } }),
  pod('prod/frontend', { ips: ['10.0.1.1', 'fd00::101'], labels: { role: 'frontend' } }),
  pod('prod/backend', { ips: ['10.0.1.2', 'fd00::102'], labels: { role: 'backend' } }),
]
const DEFAULT_TIER = tier('default', { order: 1000000 })

const NAMES: Record<string, string> = {
  frontend: '10.0.0.1',
  backend: '10.0.0.2',
  client: '10.0.0.3',
  prodfrontend: '10.0.1.1',
  prodbackend: '10.0.1.2',
  frontend6: 'fd00::1',
  backend6: 'fd00::2',
  outside: '192.0.2.9',
  other: '198.51.100.7',
  outside6: '2001:db8::9',
}

/** `frontend backend tcp/80`, `a b udp/53<1000` (source port 1000), `a b icmp/8/0`, `a b 47`. */
function packet(text: string): Packet {
  const [from = '', to = '', what = ''] = text.split(' ')
  const [src, dst] = [addr(NAMES[from] ?? from), addr(NAMES[to] ?? to)]
  const [name = '', first, second] = what.split(/[/<]/)
  const protocol = protocolNumber(name)!
  const base = { family: familyOf(src), protocol, src, dst }
  if ([6, 17, 132].includes(protocol)) {
    const sport = what.includes('<') ? Number(second) : 40000
    return { ...base, sport, dport: Number(first) }
  }
  if (protocol === 1 || protocol === 58) return { ...base, icmp: { type: Number(first), code: Number(second ?? 0) } }
  return base
}

const world = (...resources: Resource[]): Snapshot => snapshotOf([...PODS, DEFAULT_TIER, ...resources])

/** Rows `packet: verdict [deciding cause]`. */
function check(snapshot: Snapshot, rows: Record<string, string>): void {
  for (const [text, expected] of Object.entries(rows)) {
    const decision = decide(snapshot, packet(text))
    const directions = [decision.egress, decision.ingress].filter(d => d !== undefined)
    const deciding = directions.find(d => d.verdict === 'deny') ?? directions.at(-1)
    const cause = deciding ? printCause(deciding.cause) : 'nobody'
    assert.equal(`${decision.verdict}: ${cause}`, expected, `${text}\n${explainDecision(decision).join('\n')}`)
  }
}

const ALLOW_ALL = 'allow: Profile kns.default ingress[0] Allow'
const SEED = np('default/seed', {
  selector: "role == 'frontend'",
  order: 100,
  types: ['Ingress', 'Egress'],
  ingress: [{ action: 'Allow', source: { selector: "role == 'backend'" } }],
  egress: [{ action: 'Allow', destination: { selector: "role == 'backend'" } }],
})

test('without policies the profile of the namespace allows', () => {
  check(world(), {
    'frontend backend tcp/80': ALLOW_ALL,
    'frontend6 backend6 tcp/80': ALLOW_ALL,
    'outside frontend tcp/80': ALLOW_ALL,
    'frontend outside tcp/80': 'allow: Profile kns.default egress[0] Allow',
    'outside other tcp/80': 'allow: nobody',
  })
})

test('the founding example, in both families', () => {
  check(world(SEED), {
    'backend frontend tcp/80': 'allow: NetworkPolicy default/seed ingress[0] Allow',
    'backend6 frontend6 icmpv6/128': 'allow: NetworkPolicy default/seed ingress[0] Allow',
    'frontend backend tcp/80': ALLOW_ALL,
    'client frontend tcp/80': 'deny: Tier default ingress default Deny',
    'frontend client tcp/80': 'deny: Tier default egress default Deny',
    'frontend outside tcp/80': 'deny: Tier default egress default Deny',
    'outside frontend tcp/80': 'deny: Tier default ingress default Deny',
    // A backend of another namespace is not meant: the selector of a NetworkPolicy sees its own.
    'prodbackend frontend tcp/80': 'deny: Tier default ingress default Deny',
    'client backend tcp/80': ALLOW_ALL,
  })
})

test('two tiers, the first passes by a rule, the second denies by default', () => {
  const first = gnp('first', { tier: 'early', selector: 'all()', ingress: [{ action: 'Pass' }], types: ['Ingress'] })
  const second = np('default/second', { selector: "role == 'backend'", types: ['Ingress'] })
  check(world(tier('early', { order: 1 }), first, second), {
    'client backend tcp/80': 'deny: Tier default ingress default Deny',
    'backend client tcp/80': ALLOW_ALL,
  })
})

test('a tier with default action Pass goes on; a Deny in it is final', () => {
  const spec = { tier: 'early', selector: "role == 'backend'", types: ['Ingress'] }
  const deny = gnp('deny', { ...spec, ingress: [{ action: 'Deny', source: { selector: "role == 'client'" } }] })
  const allow = np('default/allow', { selector: 'all()', ingress: [{ action: 'Allow' }] })
  check(world(tier('early', { order: 1, defaultAction: 'Pass' }), deny, allow), {
    'client backend tcp/80': 'deny: GlobalNetworkPolicy deny ingress[0] Deny',
    'frontend backend tcp/80': 'allow: NetworkPolicy default/allow ingress[0] Allow',
  })
})

test('tiers: order, no order last, ties by name, unknown ones after all with Deny', () => {
  const decides = (name: string, action: string): Resource =>
    gnp(`in-${name}`, { tier: name, selector: "role == 'backend'", ingress: [{ action }], types: ['Ingress'] })
  const allows = (name: string): string => `allow: GlobalNetworkPolicy in-${name} ingress[0] Allow`
  const probe = 'client backend tcp/80'
  check(world(tier('z', { order: 1 }), tier('a', { order: 2 }), decides('z', 'Allow'), decides('a', 'Deny')), {
    [probe]: allows('z'),
  })
  check(world(tier('a', {}), tier('z', { order: 9e9 }), decides('z', 'Allow'), decides('a', 'Deny')), {
    [probe]: allows('z'),
  })
  check(world(tier('a', {}), tier('b', {}), decides('b', 'Deny'), decides('a', 'Allow')), { [probe]: allows('a') })
  check(world(tier('a', {}), decides('a', 'Allow'), decides('0', 'Deny')), { [probe]: allows('a') })
  check(world(gnp('lost', { tier: 'nowhere', selector: "role == 'backend'" })), {
    [probe]: 'deny: Tier nowhere ingress default Deny',
    'backend client tcp/80': ALLOW_ALL,
  })
})

test('policies: order, no order last, ties by name/namespace/kind', () => {
  const allow = { selector: "role == 'backend'", types: ['Ingress'], ingress: [{ action: 'Allow' }] }
  const deny = { ...allow, ingress: [{ action: 'Deny' }] }
  const cases: [Resource, Resource, string][] = [
    [
      gnp('b', { ...deny, order: 1 }),
      np('default/a', { ...allow, order: 2 }),
      'deny: GlobalNetworkPolicy b ingress[0] Deny',
    ],
    [
      gnp('b', { ...deny, order: -1.5 }),
      np('default/a', { ...allow, order: 0 }),
      'deny: GlobalNetworkPolicy b ingress[0] Deny',
    ],
    [gnp('a', deny), np('default/b', { ...allow, order: 5000 }), 'allow: NetworkPolicy default/b ingress[0] Allow'],
    [np('default/b', deny), np('default/a', allow), 'allow: NetworkPolicy default/a ingress[0] Allow'],
    // `a//GlobalNetworkPolicy` sorts before `a/default/NetworkPolicy`.
    [np('default/a', deny), gnp('a', allow), 'allow: GlobalNetworkPolicy a ingress[0] Allow'],
  ]
  for (const [one, two, expected] of cases) {
    check(world(one, two), { 'client backend tcp/80': expected })
    check(world(two, one), { 'client backend tcp/80': expected })
  }
})

test('a policy without the direction does not isolate in it', () => {
  check(world(np('default/a', { selector: "role == 'backend'", types: ['Ingress'], egress: [{ action: 'Deny' }] })), {
    'backend client tcp/80': ALLOW_ALL,
    'client backend tcp/80': 'deny: Tier default ingress default Deny',
  })
})

test('Log is told and goes on', () => {
  const spec = {
    selector: "role == 'backend'",
    ingress: [{ action: 'Log' }, { action: 'Log', protocol: 'UDP' }, { action: 'Allow' }],
  }
  const { ingress } = decide(world(np('default/log', spec)), packet('client backend tcp/80'))
  assert.deepEqual(ingress!.logs.map(printRule), ['NetworkPolicy default/log ingress[0]'])
  assert.equal(printCause(ingress!.cause), 'NetworkPolicy default/log ingress[2] Allow')
})

test('profiles: in order, Pass ends one, a missing one and none at all deny', () => {
  const wep = (profiles: string[]): Resource =>
    v3(
      'WorkloadEndpoint',
      'default/node--a-cni-x-eth0',
      {
        node: 'node-a',
        orchestrator: 'cni',
        containerID: 'x',
        endpoint: 'eth0',
        interfaceName: 'cali1',
        ipNetworks: ['10.0.9.9/32'],
        profiles,
      },
      { role: 'plain' },
    )
  const profile = (name: string, action: string): Resource =>
    v3('Profile', name, { ingress: [{ action }], egress: [{ action }] })
  const rows = (profiles: string[], expected: string): void =>
    check(world(wep(profiles), profile('allow', 'Allow'), profile('deny', 'Deny'), profile('pass', 'Pass')), {
      'client 10.0.9.9 tcp/80': expected,
    })
  rows([], 'deny: no profile allows ingress')
  rows(['gone', 'allow'], 'deny: no profile allows ingress')
  rows(['allow', 'gone'], 'allow: Profile allow ingress[0] Allow')
  rows(['deny', 'allow'], 'deny: Profile deny ingress[0] Deny')
  rows(['pass', 'allow'], 'allow: Profile allow ingress[0] Allow')
  rows(['pass'], 'deny: no profile allows ingress')
  rows(['projectcalico-default-allow'], 'allow: Profile projectcalico-default-allow ingress[0] Allow')
})

test('preDNAT and doNotTrack policies do not concern workloads', () => {
  const host = { selector: 'all()', applyOnForward: true, ingress: [{ action: 'Deny' }], types: ['Ingress'] }
  check(world(gnp('dnat', { ...host, preDNAT: true }), gnp('raw', { ...host, doNotTrack: true })), {
    'client backend tcp/80': ALLOW_ALL,
  })
})

test('which endpoints a policy selects', () => {
  const rows = (policy: Resource, selected: string[]): void => {
    const names = ['frontend', 'backend', 'client', 'prodfrontend', 'prodbackend']
    const found = names.filter(name => decide(world(policy), packet(`outside ${name} tcp/80`)).verdict === 'deny')
    assert.deepEqual(found, selected, JSON.stringify(policy))
  }
  const types = ['Ingress']
  rows(np('default/p', { types }), ['frontend', 'backend', 'client'])
  rows(np('prod/p', { types, selector: 'all()' }), ['prodfrontend', 'prodbackend'])
  rows(np('default/p', { types, serviceAccountSelector: "kind == 'machine'" }), ['frontend'])
  rows(np('default/p', { types, serviceAccountSelector: "projectcalico.org/name == 'robot'" }), ['frontend'])
  rows(np('default/p', { types, serviceAccountSelector: 'all()' }), ['frontend'])
  rows(gnp('p', { types }), ['frontend', 'backend', 'client', 'prodfrontend', 'prodbackend'])
  rows(gnp('p', { types, selector: "role == 'backend'" }), ['backend', 'prodbackend'])
  rows(gnp('p', { types, namespaceSelector: "team == 'red'" }), ['prodfrontend', 'prodbackend'])
  rows(gnp('p', { types, namespaceSelector: 'all()' }), [
    'frontend',
    'backend',
    'client',
    'prodfrontend',
    'prodbackend',
  ])
  rows(gnp('p', { types, serviceAccountSelector: 'all()' }), ['frontend'])
  rows(gnp('p', { types, selector: "pcns.team == 'blue' && has(role)" }), ['frontend', 'backend', 'client'])
})

/** One Allow rule at `default/backend`: which packets does it let in? */
function matches(rule: Fields, yes: string[], no: string[], ...more: Resource[]): void {
  const policy = np('default/p', {
    selector: "role == 'backend'",
    ingress: [{ action: 'Allow', ...rule }],
    types: ['Ingress'],
  })
  const snapshot = world(policy, ...more)
  const rows = Object.fromEntries([
    ...yes.map(text => [text, 'allow: NetworkPolicy default/p ingress[0] Allow']),
    ...no.map(text => [text, 'deny: Tier default ingress default Deny']),
  ])
  check(snapshot, rows)
}

test('protocols and families', () => {
  const [tcp, udp, tcp6] = ['client backend tcp/80', 'client backend udp/80', 'outside6 backend6 tcp/80']
  const [ping, ping6] = ['client backend icmp/8', 'outside6 backend6 icmpv6/128']
  matches({ protocol: 'TCP' }, [tcp, tcp6], [udp, ping])
  matches({ protocol: 6 }, [tcp, tcp6], [udp])
  matches({ notProtocol: 'TCP' }, [udp, ping, ping6, 'client backend 47'], [tcp])
  matches({ protocol: 47 }, ['client backend 47'], [tcp])
  matches({ ipVersion: 6 }, [tcp6], [tcp])
  matches({ protocol: 'ICMP' }, [ping], [ping6, 'outside6 backend6 icmp/8'])
  // By number, ICMP implies no family.
  matches({ protocol: 1 }, [ping, 'outside6 backend6 icmp/8'], [ping6])
  matches({ protocol: 'ICMPv6' }, [ping6], [ping])
  matches({ notProtocol: 'ICMPv6' }, [tcp6, tcp], [ping6])
})

test('ICMP types and codes', () => {
  matches(
    { protocol: 'ICMP', icmp: { type: 8 } },
    ['client backend icmp/8/0', 'client backend icmp/8/3'],
    ['client backend icmp/0/0'],
  )
  matches({ protocol: 'ICMP', icmp: { type: 3, code: 1 } }, ['client backend icmp/3/1'], ['client backend icmp/3/2'])
  matches(
    { protocol: 'ICMPv6', icmp: { type: 128 } },
    ['outside6 backend6 icmpv6/128'],
    ['outside6 backend6 icmpv6/129'],
  )
  matches({ protocol: 'ICMP', notICMP: { type: 8 } }, ['client backend icmp/0'], ['client backend icmp/8'])
  matches(
    { protocol: 'ICMP', notICMP: { type: 3, code: 1 } },
    ['client backend icmp/3/2', 'client backend icmp/8'],
    ['client backend icmp/3/1'],
  )
  matches({ protocol: 'TCP', notICMP: { type: 8 } }, [], ['client backend tcp/80', 'client backend icmp/8'])
})

test('ports', () => {
  const to = (ports: unknown[], key = 'ports'): Fields => ({ protocol: 'TCP', destination: { [key]: ports } })
  matches(to([80]), ['client backend tcp/80'], ['client backend tcp/81', 'client backend udp/80'])
  matches(
    to(['80:90', 100]),
    ['client backend tcp/80', 'client backend tcp/90', 'client backend tcp/100'],
    ['client backend tcp/91'],
  )
  matches(to(['80:90'], 'notPorts'), ['client backend tcp/91'], ['client backend tcp/85'])
  matches(
    { protocol: 'TCP', source: { ports: [1000] } },
    ['client backend tcp/80<1000'],
    ['client backend tcp/80<1001'],
  )
  matches(
    { protocol: 'TCP', source: { notPorts: [1000] } },
    ['client backend tcp/80<1001'],
    ['client backend tcp/80<1000'],
  )
})

test('named ports', () => {
  matches(
    { protocol: 'TCP', destination: { ports: ['http'] } },
    ['client backend tcp/8080'],
    ['client backend tcp/80', 'client backend udp/8080'],
  )
  matches(
    { destination: { ports: ['http'] } },
    ['client backend tcp/8080'],
    ['client backend udp/8080', 'client backend icmp/8'],
  )
  matches(
    { protocol: 'UDP', destination: { ports: ['http'] } },
    [],
    ['client backend udp/8080', 'client backend tcp/8080'],
  )
  matches({ protocol: 'TCP', destination: { ports: ['nobody'] } }, [], ['client backend tcp/8080'])
  matches(
    { protocol: 'TCP', destination: { ports: ['http', 22] } },
    ['client backend tcp/22', 'client backend tcp/8080'],
    ['client backend tcp/23'],
  )
  matches(
    { protocol: 'TCP', destination: { notPorts: ['http'] } },
    ['client backend tcp/80'],
    ['client backend tcp/8080'],
  )
  const server = pod('default/server', {
    ips: ['10.0.0.4'],
    labels: { role: 'server' },
    ports: [{ name: 'out', containerPort: 999 }],
  })
  matches(
    { protocol: 'TCP', source: { ports: ['out'] } },
    ['10.0.0.4 backend tcp/1<999'],
    ['10.0.0.4 backend tcp/1<998', 'client backend tcp/1<999'],
    server,
  )
  // The selector of the side limits whose ports count.
  matches(
    { protocol: 'TCP', destination: { selector: "role == 'other'", ports: ['http'] } },
    [],
    ['client backend tcp/8080'],
  )
})

test('selectors of a side, in a namespaced policy', () => {
  const from = (source: Fields): Fields => ({ source })
  const [own, other, outside] = ['frontend backend tcp/80', 'prodfrontend backend tcp/80', 'outside backend tcp/80']
  matches(from({ selector: "role == 'frontend'" }), [own], [other, outside, 'client backend tcp/80'])
  matches(from({ selector: 'all()' }), [own, 'client backend tcp/80'], [other, outside])
  matches(from({ namespaceSelector: 'all()' }), [own, other], [outside])
  matches(from({ namespaceSelector: "team == 'red'" }), [other], [own, outside])
  matches(
    from({ namespaceSelector: "projectcalico.org/name == 'prod'", selector: "role == 'backend'" }),
    ['prodbackend backend tcp/80'],
    [other, own],
  )
  matches(from({ namespaceSelector: 'global()' }), [], [own, other, outside])
  // notSelector looks everywhere, the rest of the side stays in the namespace.
  matches(from({ notSelector: "role == 'client'" }), [own], ['client backend tcp/80', other, outside])
  matches(
    from({ namespaceSelector: 'all()', notSelector: "role == 'client'" }),
    [own, other],
    ['client backend tcp/80', outside],
  )
  matches(from({ selector: 'has(role)', notSelector: "role == 'client'" }), [own], ['client backend tcp/80'])
  matches(from({ serviceAccounts: { names: ['robot', 'x'] } }), [own], ['client backend tcp/80', outside])
  matches(from({ serviceAccounts: { selector: "kind == 'machine'" } }), [own], ['client backend tcp/80', other])
  matches(from({ serviceAccounts: { names: ['robot'], selector: "kind == 'person'" } }), [], [own])
})

test('selectors of a side, in a global policy', () => {
  const rows = (source: Fields, yes: string[], no: string[]): void => {
    const policy = gnp('p', {
      selector: "role == 'backend'",
      types: ['Ingress'],
      ingress: [{ action: 'Allow', source }],
    })
    for (const name of yes) assert.equal(decide(world(policy), packet(`${name} backend tcp/80`)).verdict, 'allow', name)
    for (const name of no) assert.equal(decide(world(policy), packet(`${name} backend tcp/80`)).verdict, 'deny', name)
  }
  rows({ selector: "role == 'frontend'" }, ['frontend', 'prodfrontend'], ['client', 'outside'])
  // Nothing positive is asked, so the outside meets it too: it is nothing that the notSelector selects.
  rows({ notSelector: "role == 'frontend'" }, ['client', 'outside'], ['frontend', 'prodfrontend'])
  rows({ namespaceSelector: "team != 'red'" }, ['frontend', 'client'], ['prodfrontend', 'outside'])
  rows({ selector: '!has(role)' }, [], ['outside', 'client'])
})

test('nets', () => {
  const from = (source: Fields): Fields => ({ source })
  matches(
    from({ nets: ['10.0.0.0/24', '192.0.2.0/24'] }),
    ['client backend tcp/80', 'outside backend tcp/80'],
    ['prodbackend backend tcp/80', 'outside6 backend6 tcp/80'],
  )
  matches(
    from({ notNets: ['10.0.0.0/24'] }),
    ['outside backend tcp/80'],
    ['client backend tcp/80', 'outside6 backend6 tcp/80'],
  )
  matches(
    from({ nets: ['10.0.0.0/16'], notNets: ['10.0.1.0/24'] }),
    ['client backend tcp/80'],
    ['prodbackend backend tcp/80'],
  )
  matches(
    from({ nets: ['10.0.0.0/16'], selector: "role == 'client'" }),
    ['client backend tcp/80'],
    ['frontend backend tcp/80'],
  )
  matches({ destination: { nets: ['fd00::2/128'] } }, ['outside6 backend6 tcp/80'], ['outside backend tcp/80'])
})

test('network sets are selected by their labels, and by their namespace', () => {
  const global = v3('GlobalNetworkSet', 'friends', { nets: ['192.0.2.0/24', '2001:db8::9'] }, { who: 'friend' })
  const own = v3('NetworkSet', 'default/mine', { nets: ['198.51.100.7'] }, { who: 'friend' })
  const other = v3('NetworkSet', 'prod/theirs', { nets: ['203.0.113.0/24'] }, { who: 'friend' })
  const rows = (source: Fields, yes: string[], no: string[]): void =>
    matches(
      { source },
      yes.map(n => `${n} backend${n.endsWith('6') ? '6' : ''} tcp/80`),
      no.map(n => `${n} backend tcp/80`),
      global,
      own,
      other,
    )
  rows({ selector: "who == 'friend'" }, ['other'], ['outside', '203.0.113.5'])
  rows(
    { selector: "who == 'friend'", namespaceSelector: 'global()' },
    ['outside', 'outside6'],
    ['other', '203.0.113.5', 'client'],
  )
  rows({ selector: "who == 'friend'", namespaceSelector: 'all()' }, ['other', '203.0.113.5'], ['outside'])
  rows({ namespaceSelector: "team == 'red'" }, ['203.0.113.5', 'prodbackend'], ['other', 'client'])
  // A pod that a set covers belongs to both.
  const around = v3('NetworkSet', 'default/around', { nets: ['10.0.0.3/32'] }, { who: 'friend' })
  matches({ source: { selector: "who == 'friend'" } }, ['client backend tcp/80'], ['frontend backend tcp/80'], around)
  matches({ source: { selector: "who == 'friend' && role == 'client'" } }, [], ['client backend tcp/80'], around)
})

test('what cannot be judged never allows, and denies', () => {
  const source = { services: { name: 'x' } }
  const policy = (action: string): Resource =>
    np('default/p', {
      selector: "role == 'backend'",
      types: ['Ingress'],
      ingress: [{ action, source }, { action: action === 'Deny' ? 'Allow' : 'Deny' }],
    })
  check(world(policy('Allow')), { 'client backend tcp/80': 'deny: NetworkPolicy default/p ingress[1] Deny' })
  check(world(policy('Deny')), { 'client backend tcp/80': 'deny: NetworkPolicy default/p ingress[0] Deny' })
  const lines = explainDecision(decide(world(policy('Deny')), packet('client backend tcp/80'))).join('\n')
  assert.match(lines, /source\.services cannot be judged: counts as met, because the rule denies/)
})

test('both directions must allow, and both are told', () => {
  const out = np('default/out', { selector: "role == 'client'", types: ['Egress'] })
  const into = np('default/into', { selector: "role == 'backend'", types: ['Ingress'] })
  const decision = decide(world(out, into), packet('client backend tcp/80'))
  assert.equal(decision.verdict, 'deny')
  assert.equal(decision.egress!.verdict, 'deny')
  assert.equal(decision.ingress!.verdict, 'deny')
  assert.equal(decide(world(out), packet('client backend tcp/80')).ingress!.verdict, 'allow')
})

test('an explanation gives the answer, the reason, the near miss, and the way there', () => {
  const into = np('default/into', {
    selector: "role == 'backend'",
    types: ['Ingress'],
    ingress: [
      { action: 'Allow', protocol: 'TCP', source: { selector: "role == 'admin'" }, destination: { ports: [22] } },
      {
        action: 'Allow',
        protocol: 'TCP',
        source: { selector: "role == 'client'" },
        destination: { ports: ['http', 80] },
      },
    ],
  })
  const other = np('default/other', { selector: 'all()', types: ['Egress'], egress: [{ action: 'Allow' }] })
  assert.deepEqual(explainDecision(decide(world(into, other), packet('client backend tcp/81'))), [
    'DENIED default/client -> default/backend tcp/81 (10.0.0.3 -> 10.0.0.2)',
    '',
    'ingress of default/backend: DENIED at the end of tier default: its policies select this pod and no rule allows this',
    "  near miss  NetworkPolicy default/into ingress[1]: Allow protocol: TCP, source.selector: role == 'client', destination.ports: [http, 80]",
    '             but destination port 81 is not in http, 80 (http is 8080/TCP)',
    '  allowed if the destination port were http or 80',
    '  in order',
    '    tier default (order 1000000)',
    '      NetworkPolicy default/into',
    "        ingress[0] Allow protocol: TCP, source.selector: role == 'admin', destination.ports: [22]: no: source does not match role == 'admin' (labels role=client) (and 1 more)",
    "        ingress[1] Allow protocol: TCP, source.selector: role == 'client', destination.ports: [http, 80]: no: destination port 81 is not in http, 80 (http is 8080/TCP)",
    '      NetworkPolicy default/other selects this pod, but its types leave out ingress',
    '      end of tier default: default action Deny',
    '',
    'egress of default/client: allowed by NetworkPolicy default/other egress[0] Allow',
    '  rule       Allow everything',
    '  in order',
    '    tier default (order 1000000)',
    '      NetworkPolicy default/other',
    '        egress[0] Allow everything: MATCHES',
  ])
  assert.deepEqual(explainDecision(decide(world(), packet('outside other udp/53'))), [
    'ALLOWED 192.0.2.9 -> 198.51.100.7 udp/53',
    '',
    'neither address belongs to a workload: no policy is asked',
  ])
})

test('words for what did not match', () => {
  const policy = np('default/p', {
    selector: "role == 'backend'",
    types: ['Ingress'],
    ingress: [{ action: 'Allow', source: { selector: "role == 'backend'" } }],
  })
  const first = (text: string): string => {
    const steps = decide(world(policy), packet(text)).ingress!.trail
    return steps.flatMap(step => (step.kind === 'rule' ? step.failures.map(f => f.text) : [])).join('; ')
  }
  assert.equal(first('client backend tcp/80'), "source does not match role == 'backend' (labels role=client)")
  assert.equal(first('prodbackend backend tcp/80'), 'source does not match namespace default (it is in namespace prod)')
  assert.equal(
    first('outside backend tcp/80'),
    "source does not match namespace default and role == 'backend' (192.0.2.9 belongs to no workload or network set)",
  )
})
