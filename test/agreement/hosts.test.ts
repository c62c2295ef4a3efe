// Host endpoints: the compiled tables against the oracle. For random clusters and packets on any way through a node, whoever
// the oracle asks must be found in the tables, at the same interface and leg, with the same cause and logs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { decideAtNode } from '../../src/core/oracle/decide-at-node.ts'
import type { DirectionDecision } from '../../src/core/oracle/decision.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { type HostLeg, printCause, printRule } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { decodeResource, snapshotOf } from '../../src/core/resources/resource.ts'
import { cluster, HOST_INTERFACES, packet, wayOf } from './cluster.ts'
import { groupAt, hostGroupAt, judgeAt } from './follow.ts'

const interfaces = HOST_INTERFACES.get('node0')!

test('the tables of a node with host endpoints decide as the oracle does, at every leg, for the same cause', () => {
  const seen = { asked: 0, allowed: 0, byOwn: 0, byHook: new Map<string, number>() }
  fc.assert(
    fc.property(
      cluster,
      fc.array(fc.tuple(packet, wayOf), { minLength: 20, maxLength: 20 }),
      fc.constantFrom(2, 20, 1_000_000),
      (snapshot, packets, budget) => {
        const c = classify(computeIntent(derived(snapshot), 'node0', interfaces), { budget })
        for (const [p, ends] of packets) {
          const way = { node: 'node0', interfaces, ...ends }
          const { asked } = decideAtNode(snapshot, p, way)
          const wouldBe = decideAtNode(snapshot, p, { ...way, view: 'staged' }).asked
          const hosts = asked.filter((d): d is DirectionDecision & HostLeg => d.hook !== undefined)
          for (const decision of hosts) {
            const name = (decision.direction === 'ingress' ? ends.in : ends.out)!
            const leg = { interfaceName: name, direction: decision.direction, hook: decision.hook }
            const group = groupAt(c, leg, p)
            assert.ok(group, `${name} has nothing at ${decision.hook} ${decision.direction}`)
            const found = judgeAt(c, group, p)
            assert.equal(printCause(found.cause), printCause(decision.cause), JSON.stringify(p))
            assert.deepEqual(found.logs, decision.logs.map(printRule))
            // What is asked further on may depend on what was decided here.
            const then = wouldBe.find(d => d.hook === decision.hook && d.direction === decision.direction)
            if (then) assert.equal(printCause(found.staged ?? found.cause), printCause(then.cause), JSON.stringify(p))
            seen.asked++
            if (decision.verdict === 'allow') seen.allowed++
            if (hostGroupAt(c, leg)!.byOwn.size > 0) seen.byOwn++
            seen.byHook.set(decision.hook, (seen.byHook.get(decision.hook) ?? 0) + 1)
          }
        }
      },
    ),
    { numRuns: Number(process.env.AGREE_RUNS ?? 300) },
  )
  const hooks = [...seen.byHook].map(([hook, n]) => `${n} at ${hook}`).join(', ')
  console.log(`# ${seen.asked} decisions: ${seen.allowed} allowed, ${seen.byOwn} by the own address; ${hooks}`)
  assert.equal(seen.byHook.size, 4)
  assert.ok(seen.allowed > seen.asked / 20 && seen.byOwn > seen.asked / 20)
})

test('what a packet walks through at a host endpoint does not grow with the policies', () => {
  const V3 = 'projectcalico.org/v3'
  const roads = [1, 100].map(count => {
    const documents = [
      { apiVersion: V3, kind: 'Tier', metadata: { name: 'default' }, spec: { order: 1e6, defaultAction: 'Deny' } },
      {
        apiVersion: V3,
        kind: 'HostEndpoint',
        metadata: { name: 'h', labels: { h: '1' } },
        spec: { node: 'node0', interfaceName: '*' },
      },
      ...Array.from({ length: count }, (_, i) => ({
        apiVersion: V3,
        kind: 'GlobalNetworkPolicy',
        metadata: { name: `p${i}` },
        spec: {
          selector: "h == '1'",
          applyOnForward: true,
          ingress: [
            {
              action: 'Allow',
              protocol: 'TCP',
              source: { nets: [`10.${i}.0.0/16`] },
              destination: { nets: [`10.${i}.${i}.0/24`], ports: [1000 + i] },
            },
          ],
        },
      })),
    ]
    const resources = documents.map(document => {
      const decoded = decodeResource(document)
      if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
      return decoded.value
    })
    const table = policyTable(classify(computeIntent(derived(snapshotOf(resources)), 'node0')))
    // Of each kind of chain the longest: a packet meets one of each at a leg.
    const kindOf = (name: string): string => (/^[goh]_/.test(name) ? name.slice(0, 2) : name)
    const longest = new Map<string, number>()
    for (const { name, rules } of table.chains)
      longest.set(kindOf(name), Math.max(longest.get(kindOf(name)) ?? 0, rules.length))
    return [...longest].sort()
  })
  assert.deepEqual(roads[1], roads[0])
})
