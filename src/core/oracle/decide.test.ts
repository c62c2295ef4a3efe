// Who speaks, and in what order: tiers, policies, profiles, directions.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printCause, printRule } from '../resources/cause.ts'
import type { Resource, Snapshot } from '../resources/resource.ts'
import { decide } from './decide.ts'
import { explainDecision } from './explain-decision.ts'
import { gnp, np, outcome, packet, tier, v3, world } from './world.fixture.ts'

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
test('both directions must allow, and both are told', () => {
  const out = np('default/out', { selector: "role == 'client'", types: ['Egress'] })
  const into = np('default/into', { selector: "role == 'backend'", types: ['Ingress'] })
  const decision = decide(world(out, into), packet('client backend tcp/80'))
  assert.equal(decision.verdict, 'deny')
  assert.equal(decision.egress!.verdict, 'deny')
  assert.equal(decision.ingress!.verdict, 'deny')
  assert.equal(decide(world(out), packet('client backend tcp/80')).ingress!.verdict, 'allow')
})
