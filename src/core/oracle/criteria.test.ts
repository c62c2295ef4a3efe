// What the criteria of one rule mean: each case is a rule, the packets it matches, and those it does not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Resource, Snapshot } from '../resources/resource.ts'
import { decide } from './decide.ts'
import { explainDecision } from './explain-decision.ts'
import { type Fields, gnp, np, outcome, packet, pod, slice, v1, v3, world } from './world.fixture.ts'

/** Rows of a packet and what becomes of it. */
function check(snapshot: Snapshot, rows: Record<string, string>): void {
  for (const [text, expected] of Object.entries(rows)) {
    assert.equal(
      outcome(snapshot, text),
      expected,
      `${text}\n${explainDecision(decide(snapshot, packet(text))).join('\n')}`,
    )
  }
}

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
  // all() means "has a namespace" wherever it stands, also for what a set covers outside.
  const set = v3('GlobalNetworkSet', 'set', { nets: ['192.0.2.0/24'] })
  const inAll = (namespaceSelector: string, yes: string[], no: string[]): void =>
    matches(from({ namespaceSelector }), yes, no, set)
  inAll('all()', [own, other], [outside])
  inAll('!all()', [outside], [own, other])
  inAll("all() && team == 'red'", [other], [own, outside])
  inAll("all() && team != 'red'", [own], [other, outside])
  inAll("team != 'red'", [own, outside], [other])
  inAll("!all() || team == 'red'", [other, outside], [own])
  inAll("!(all() && team == 'red')", [own, outside], [other])
  const account = (selector: string, yes: string[], no: string[]): void =>
    matches(from({ serviceAccounts: { selector } }), yes, no, set)
  const client = 'client backend tcp/80'
  account('all()', [own], [client, other, outside])
  account("all() && kind != 'person'", [own], [client, outside])
  account("all() && kind == 'person'", [], [own, client, outside])
  account("!all() || kind == 'machine'", [own, client], [other, outside])
  account('!all()', [client], [own, other, outside])
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

test('what cannot be judged never allows', () => {
  const policy = np('default/p', {
    selector: "role == 'backend'",
    types: ['Ingress'],
    ingress: [{ action: 'Allow', http: { methods: ['GET'] } }, { action: 'Deny' }],
  })
  check(world(policy), { 'client backend tcp/80': 'deny: NetworkPolicy default/p ingress[1] Deny' })
  const lines = explainDecision(decide(world(policy), packet('client backend tcp/80'))).join('\n')
  assert.match(lines, /http cannot be judged: counts as not met/)
})

test('services: endpoints of slices by their label, with ports as a destination', () => {
  const slices = [
    // Not ready, going away: all the same an endpoint.
    slice('default/a-1', 'a', {
      endpoints: [
        { addresses: ['10.0.0.1'], conditions: { ready: false } },
        { addresses: ['192.0.2.9'], conditions: { terminating: true } },
      ],
      ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }, { name: 'any' }],
    }),
    slice('default/a-2', 'a', { endpoints: [{ addresses: ['10.0.0.3'] }], ports: [{ port: 81 }] }),
    slice('default/a-6', 'a', { addressType: 'IPv6', endpoints: [{ addresses: ['fd00::1'] }], ports: [{ port: 80 }] }),
    slice('prod/a-1', 'a', { endpoints: [{ addresses: ['10.0.1.1'] }], ports: [{ port: 80 }] }),
    slice('default/nobodys', undefined, { endpoints: [{ addresses: ['198.51.100.7'] }], ports: [{ port: 80 }] }),
    v1('Service', 'default/a', { clusterIP: '10.96.0.1', ports: [{ port: 80 }] }),
  ]
  const from = (services: Fields, yes: string[], no: string[]): void =>
    matches({ source: { services } }, yes, no, ...slices)
  // As a source: addresses alone, whatever the port.
  from(
    { name: 'a' },
    ['frontend backend tcp/1<1000', 'outside backend udp/9', 'client backend tcp/80', 'frontend6 backend6 icmpv6/128'],
    ['prodfrontend backend tcp/80', 'other backend tcp/80', '10.96.0.1 backend tcp/80'],
  )
  from({ name: 'a', namespace: 'prod' }, ['prodfrontend backend tcp/80'], ['frontend backend tcp/80'])
  from({ name: 'none' }, [], ['frontend backend tcp/80', 'other backend tcp/80'])
  const to = (rule: Fields, yes: string[], no: string[]): void => {
    const policy = np('default/p', {
      selector: "role == 'backend'",
      egress: [{ action: 'Allow', destination: { services: { name: 'a' } }, ...rule }],
      types: ['Egress'],
    })
    check(
      world(policy, ...slices),
      Object.fromEntries([
        ...yes.map(text => [text, 'allow: NetworkPolicy default/p egress[0] Allow']),
        ...no.map(text => [text, 'deny: Tier default egress default Deny']),
      ]),
    )
  }
  to(
    {},
    ['backend outside tcp/80', 'backend outside udp/53'],
    [
      'backend outside tcp/81',
      'backend outside udp/80',
      'backend outside icmp/8',
      'backend other tcp/80',
      'backend 10.96.0.1 tcp/80',
    ],
  )
  to({ protocol: 'UDP' }, ['backend outside udp/53'], ['backend outside tcp/80'])
  const lines = explainDecision(
    decide(
      world(
        np('default/p', { types: ['Egress'], egress: [{ action: 'Allow', destination: { services: { name: 'a' } } }] }),
        ...slices,
      ),
      packet('backend client tcp/80'),
    ),
  ).join('\n')
  assert.match(lines, /service default\/a serves on tcp\/81 only/)
})
