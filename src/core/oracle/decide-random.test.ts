// What holds for any policies and any packet: random worlds, looked at as a whole.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printRule } from '../resources/cause.ts'
import { decide } from './decide.ts'
import { explainDecision } from './explain-decision.ts'
import { gnp, np, packet, tier, world } from './world.fixture.ts'

const role = fc.constantFrom('frontend', 'backend', 'client')
const peer = fc.record(
  {
    selector: role.map(name => `role == '${name}'`),
    notSelector: role.map(name => `role == '${name}'`),
    namespaceSelector: fc.constantFrom('all()', 'global()', "team == 'red'"),
    nets: fc.constantFrom(['10.0.0.0/24'], ['192.0.2.0/24', '10.0.1.0/30']),
    notNets: fc.constantFrom(['10.0.0.1/32']),
  },
  { requiredKeys: [] },
)
const anyRule = fc.record(
  {
    action: fc.constantFrom('Allow', 'Deny', 'Pass', 'Log'),
    protocol: fc.constantFrom('TCP', 'UDP', 'ICMP'),
    source: peer,
    destination: peer,
  },
  { requiredKeys: ['action'] },
)
const anySpec = fc.record(
  {
    tier: fc.constantFrom('default', 'early', 'missing'),
    order: fc.constantFrom(1, 1, 2, 3.5),
    selector: role.map(name => `role == '${name}'`),
    types: fc.constantFrom(['Ingress'], ['Egress'], ['Ingress', 'Egress']),
    ingress: fc.array(anyRule, { maxLength: 3 }),
    egress: fc.array(anyRule, { maxLength: 3 }),
  },
  { requiredKeys: ['types'] },
)
const anyPolicies = fc
  .array(fc.tuple(fc.constantFrom('', 'default/', 'prod/'), anySpec), { maxLength: 6 })
  .map(specs => specs.map(([ns, spec], i) => (ns === '' ? gnp(`p${i}`, spec) : np(`${ns}p${i}`, spec))))
const ends = fc.constantFrom('frontend', 'backend', 'client', 'prodfrontend', 'prodbackend', 'outside')
const anyPacket = fc
  .tuple(ends, ends, fc.constantFrom('tcp/80', 'udp/53', 'icmp/8'))
  .map(([from, to, what]) => packet(`${from} ${to} ${what}`))

test('the order in which resources arrive does not matter, and the trail ends in the cause', () => {
  const early = tier('early', { order: 1, defaultAction: 'Pass' })
  fc.assert(
    fc.property(anyPolicies, anyPacket, fc.infiniteStream(fc.nat()), (policies, probe, dice) => {
      const shuffled = [...policies].map(p => ({ p, at: dice.next().value })).sort((a, b) => a.at - b.at)
      const one = decide(world(early, ...policies), probe)
      assert.deepEqual(decide(world(...shuffled.map(({ p }) => p), early), probe), one)
      for (const direction of [one.egress, one.ingress]) {
        if (!direction) continue
        const last = direction.trail.at(-1)!
        if (direction.cause.kind === 'rule') {
          assert.equal(last.kind === 'rule' && printRule(last.rule), printRule(direction.cause.rule))
          assert.deepEqual(last.kind === 'rule' && last.failures, [])
        }
        if (direction.cause.kind === 'tier')
          assert.deepEqual(last, { kind: 'tier-default', tier: direction.cause.tier, action: 'Deny' })
      }
      assert.ok(explainDecision(one).length > 0)
    }),
    { numRuns: 500 },
  )
})

test('a policy that selects nothing changes no verdict; an Allow for everything before all others allows', () => {
  const ghost = gnp('ghost', { tier: 'early', order: 0, selector: "role == 'ghost'", types: ['Ingress', 'Egress'] })
  const open = [{ action: 'Allow' }]
  const first = gnp('first', {
    tier: 'first',
    selector: 'all()',
    types: ['Ingress', 'Egress'],
    ingress: open,
    egress: open,
  })
  const tiers = [tier('early', { order: 1 }), tier('first', { order: 0 })]
  fc.assert(
    fc.property(anyPolicies, anyPacket, (policies, probe) => {
      const before = decide(world(...tiers, ...policies), probe)
      assert.deepEqual(decide(world(...tiers, ...policies, ghost), probe), before)
      assert.equal(decide(world(...tiers, ...policies, first), probe).verdict, 'allow')
    }),
    { numRuns: 300 },
  )
})
