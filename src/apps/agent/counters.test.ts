// Counters by cause, Log rules among them; and how many packets came to Log rules, from reading to reading.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Outcome, OutcomeName, Step } from '../../core/classify/outcome.ts'
import { type RuleRef, resourceKey } from '../../core/resources/cause.ts'
import { type ChainCounters, LogCount, outcomeCounters } from './counters.ts'

const rule = (index: number): RuleRef => ({
  policy: resourceKey('GlobalNetworkPolicy', undefined, 'g'),
  direction: 'ingress',
  index,
})
const log = (index: number): Step => ({ kind: 'log', rule: rule(index), tier: 'default' })
const allow = { kind: 'rule', rule: rule(2), action: 'Allow' } as const
const outcome = (name: string, steps: readonly Step[]): Outcome => ({
  name: name as OutcomeName,
  direction: 'ingress',
  steps,
})
const counters = (found: Readonly<Record<string, readonly number[]>>): ChainCounters =>
  new Map(Object.entries(found).map(([name, list]) => [name, list.map(packets => ({ packets, bytes: packets * 60 }))]))

test('what is staged, the Log rules on the way and the verdict are counted, each by its cause', () => {
  const steps: Step[] = [{ kind: 'staged', cause: allow }, log(0), log(1), { kind: 'decide', cause: allow }]
  const found = outcomeCounters([outcome('o_1', steps), outcome('o_2', steps)], counters({ o_1: [9, 5, 4, 9] }))
  assert.deepEqual(
    found.map(c => [c.chain, c.cause, c.packets, c.bytes]),
    [
      ['o_1', 'staged: GlobalNetworkPolicy g ingress[2] Allow', 9, 540],
      ['o_1', 'Log GlobalNetworkPolicy g ingress[0]', 5, 300],
      ['o_1', 'Log GlobalNetworkPolicy g ingress[1]', 4, 240],
      ['o_1', 'GlobalNetworkPolicy g ingress[2] Allow', 9, 540],
    ],
  )
})

test('packets of Log rules are counted on through chains that are written anew, come and go', () => {
  const decide: Step = { kind: 'decide', cause: allow }
  const [one, two] = [outcome('o_1', [log(0), decide]), outcome('o_2', [log(0), log(1), decide])]
  const count = new LogCount()
  assert.equal(count.read([one], counters({ o_1: [5, 50] })), 5)
  assert.equal(count.read([one, two], counters({ o_1: [7, 70], o_2: [1, 2, 30] })), 5)
  // Written anew: from 7 to 3.
  assert.equal(count.read([one, two], counters({ o_1: [3, 3], o_2: [1, 2, 90] })), 3)
  assert.equal(count.read([two], counters({ o_2: [1, 3, 90] })), 1)
  assert.equal(count.read([one, two], counters({ o_1: [4, 4], o_2: [1, 3, 90] })), 4)
  assert.equal(count.read([one], counters({})), 0)
})
