import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr } from '../net/addr.ts'
import { type CanaryFacts, type CanarySeen, canaryFaults, canaryFix } from './canary.ts'

const WELL: CanarySeen = { family: 4, arrived: ['allowed'], answered: true }
const LOST: CanarySeen = { family: 4, arrived: [], answered: false }

test('what went otherwise than policy wants, in words', () => {
  const rows: readonly (readonly [CanarySeen, string[]])[] = [
    [WELL, []],
    [LOST, ['IPv4 allow: did not arrive']],
    [{ ...WELL, family: 6, answered: false }, ['IPv6 allow: its answer did not come back']],
    [{ ...WELL, arrived: ['allowed', 'deniedEgress'] }, ['IPv4 deny (egress): arrived']],
    [
      { ...LOST, arrived: ['deniedIngress'], error: 'no route' },
      ['IPv4 deny (ingress): arrived', 'IPv4 allow: could not be sent (no route)'],
    ],
  ]
  for (const [seen, faults] of rows) assert.deepEqual(canaryFaults(seen), faults)
})

test('the likeliest reason is the nearest that the node can see', () => {
  const up = { name: 'calicanary0', state: 'up', unrouted: [] } as const
  const fine: CanaryFacts = { notForwarded: [], links: [up], connections: { count: 5, max: 100 } }
  const rows: readonly (readonly [CanarySeen, Partial<CanaryFacts>, why: RegExp])[] = [
    [LOST, {}, /something between two pods/],
    [LOST, { notForwarded: [4] }, /net\.ipv4\.ip_forward is not 1/],
    // Of the other family: no reason.
    [LOST, { notForwarded: [6] }, /something between/],
    [LOST, { links: [{ ...up, state: 'down' }], notForwarded: [4] }, /calicanary0 is down/],
    [LOST, { links: [{ ...up, state: 'gone' }] }, /calicanary0 is gone/],
    [LOST, { links: [{ ...up, unrouted: [addr('198.18.213.1')] }] }, /the route to 198\.18\.213\.1 is gone/],
    [LOST, { connections: { count: 100, max: 100 } }, /100 connections are tracked/],
    [{ ...WELL, arrived: ['deniedEgress'] }, { notForwarded: [4] }, /policy is not enforced/],
  ]
  for (const [seen, facts, why] of rows) {
    const found = canaryFix([seen], { ...fine, ...facts })
    assert.match(found.why, why)
    assert.ok(found.fix)
  }
})
