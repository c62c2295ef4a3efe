// Staged policies: they decide nothing, and the other view tells what would be if they were enforced.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Resource } from '../resources/resource.ts'
import { decide } from './decide.ts'
import { explainStaged } from './explain-decision.ts'
import { type Fields, gnp, np, outcome, packet, tier, v3, world } from './world.fixture.ts'

const PACKET = 'client backend tcp/80'
const snp = (name: string, spec: Fields): Resource => v3('StagedNetworkPolicy', name, spec)
const wouldBe = (...resources: Resource[]): string => {
  const snapshot = world(...resources)
  return explainStaged(decide(snapshot, packet(PACKET)), decide(snapshot, packet(PACKET), 'staged')).join('\n')
}
const ALLOWED = 'allow: Profile kns.default ingress[0] Allow'
const closed = { selector: "role == 'backend'", types: ['Ingress'] }

test('a tier whose only policy is staged does not deny', () => {
  const staged = snp('default/p', closed)
  assert.equal(outcome(world(staged), PACKET), ALLOWED)
  assert.equal(
    wouldBe(staged),
    'if the staged policies were enforced: DENIED instead\n' +
      '  ingress of default/backend: DENIED at the end of tier default: its policies select this pod and no rule allows this',
  )
})

test('a staged policy stands in the place of the enforced one of its name, and may delete it', () => {
  const enforced = np('default/p', { ...closed, ingress: [{ action: 'Allow' }] })
  const opens = snp('default/p', { ...closed, ingress: [{ action: 'Allow', source: { selector: "role == 'x'" } }] })
  assert.equal(outcome(world(enforced, opens), PACKET), 'allow: NetworkPolicy default/p ingress[0] Allow')
  assert.match(wouldBe(enforced, opens), /DENIED instead/)
  const shut = np('default/p', closed)
  const deleted = snp('default/p', { stagedAction: 'Delete' })
  assert.equal(outcome(world(shut, deleted), PACKET), 'deny: Tier default ingress default Deny')
  assert.equal(
    wouldBe(shut, deleted),
    'if the staged policies were enforced: ALLOWED instead\n' +
      '  ingress of default/backend: allowed by Profile kns.default ingress[0] Allow',
  )
})

test('the reason may change where the verdict does not, and nothing is told where neither does', () => {
  const enforced = np('default/p', { ...closed, ingress: [{ action: 'Allow' }] })
  const earlier = snp('default/a', { ...closed, order: 1, ingress: [{ action: 'Allow', protocol: 'TCP' }] })
  assert.equal(
    wouldBe(enforced, earlier),
    'if the staged policies were enforced: still ALLOWED\n' +
      '  ingress of default/backend: allowed by StagedNetworkPolicy default/a ingress[0] Allow',
  )
  assert.equal(wouldBe(enforced, snp('default/z', { ...closed, selector: "role == 'nobody'" })), '')
})

test('global ones too, in tiers of their own, in order with the enforced', () => {
  const first = tier('first', { order: 1 })
  const staged = v3('StagedGlobalNetworkPolicy', 'g', { ...closed, tier: 'first', ingress: [{ action: 'Pass' }] })
  const denies = gnp('g2', { ...closed, tier: 'first', order: 5, ingress: [{ action: 'Deny' }] })
  assert.equal(outcome(world(first, staged, denies), PACKET), 'deny: GlobalNetworkPolicy g2 ingress[0] Deny')
  // Without an order it comes last in its tier, after the denial.
  assert.equal(wouldBe(first, staged, denies), '')
  const earlier = v3('StagedGlobalNetworkPolicy', 'g', { ...staged.spec, order: 1 })
  assert.match(wouldBe(first, earlier, denies), /ALLOWED instead/)
})
