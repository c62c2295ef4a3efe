// The compiled tables against the oracle: for random clusters and packets, both directions of both nodes must give the
// same verdict, for the same cause, with the same logs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { type Classification, classify } from '../../src/core/classify/classify.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { decide } from '../../src/core/oracle/decide.ts'
import { DIRECTIONS, type Direction, printCause, printRule } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { cluster, packet } from './cluster.ts'
import { type Judged, judgeAt } from './follow.ts'

const judge = (c: Classification, direction: Direction, p: Packet): Judged[] =>
  c.dispatch
    .filter(d => d.endpoint.addresses.includes(direction === 'ingress' ? p.dst : p.src))
    .map(d => judgeAt(c, d.groups[direction], p))

/** Small ones cut the tables into parts. */
const budgets = fc.constantFrom(1, 4, 20, 1_000_000)

test('the tables of both nodes decide as the oracle does, for the same cause', () => {
  const seen = { allow: 0, deny: 0, byRule: 0, conditions: 0, staged: 0 }
  fc.assert(
    fc.property(cluster, fc.array(packet, { minLength: 20, maxLength: 20 }), budgets, (snapshot, packets, budget) => {
      const view = derived(snapshot)
      const nodes = new Map(['node0', 'node1'].map(node => [node, classify(computeIntent(view, node), { budget })]))
      for (const p of packets) {
        const decision = decide(snapshot, p)
        const wouldBe = decide(snapshot, p, 'staged')
        for (const direction of DIRECTIONS) {
          const expected = decision[direction]
          const found = [...nodes.values()].flatMap(c => judge(c, direction, p))
          assert.equal(found.length, expected ? 1 : 0, `${direction}: one endpoint decides, or none`)
          if (!expected) continue
          const [{ cause, logs, staged, conditional }] = found as [ReturnType<typeof judge>[number]]
          assert.equal(printCause(cause), printCause(expected.cause), JSON.stringify(p))
          assert.deepEqual(logs, expected.logs.map(printRule))
          const { cause: then } = wouldBe[direction]!
          // Without a second judgement nothing staged concerns the endpoint.
          assert.equal(printCause(staged ?? cause), printCause(then), JSON.stringify(p))
          if (printCause(then) !== printCause(cause)) seen.staged++
          seen[expected.verdict]++
          if (expected.cause.kind === 'rule') seen.byRule++
          if (conditional) seen.conditions++
        }
      }
    }),
    { numRuns: Number(process.env.AGREE_RUNS ?? 400) },
  )
  const total = seen.allow + seen.deny
  console.log(
    `# ${total} decisions: ${seen.allow} allowed, ${seen.byRule} by a rule, ${seen.conditions} under conditions, ${seen.staged} otherwise if staged`,
  )
  assert.ok(seen.allow / total > 0.1 && seen.deny / total > 0.1, 'both verdicts must be well represented')
  assert.ok(seen.conditions > 0)
  assert.ok(seen.staged > 0)
})
