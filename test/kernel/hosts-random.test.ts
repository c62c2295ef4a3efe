// Host endpoints of random clusters in a real kernel: its ruleset, read back raw and walked by random packets on any way
// through the node, gives the oracle's verdict, hook after hook, for the causes in their order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { familyOf } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { decideAtNode } from '../../src/core/oracle/decide-at-node.ts'
import { decodeRuleset } from '../../src/core/proof/model.ts'
import { walk } from '../../src/core/proof/walk.ts'
import { planUpdate } from '../../src/core/render/nft/plan.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { printCause, printRule } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { decodeResource, keyOf, type Snapshot } from '../../src/core/resources/resource.ts'
import { openNft } from '../../src/io/kernel/nft-table.ts'
import { RawRulesetReader } from '../../src/io/kernel/raw-ruleset.ts'
import { cluster, HOST_INTERFACES, packet } from '../agreement/cluster.ts'
import { freshNetns } from './netns.ts'

const interfaces = HOST_INTERFACES.get('node0')!

const failsafe = fc.record({
  protocol: fc.constantFrom('TCP', 'UDP'),
  port: fc.constantFrom(53, 80, 443, 8080, 40_000),
  net: fc.constantFrom(undefined, '192.0.2.0/24', 'fd00::/8'),
})
const settings = fc
  .record({
    failsafeInboundHostPorts: fc.option(fc.array(failsafe, { maxLength: 3 }), { nil: undefined }),
    failsafeOutboundHostPorts: fc.option(fc.array(failsafe, { maxLength: 3 }), { nil: undefined }),
    defaultEndpointToHostAction: fc.constantFrom('Drop', 'Accept', 'Return'),
    vxlanPort: fc.constantFrom(443, 4789),
    nftablesFilterDenyAction: fc.constantFrom('Drop', 'Reject'),
  })
  .map(spec => {
    const decoded = decodeResource({
      apiVersion: 'projectcalico.org/v3',
      kind: 'FelixConfiguration',
      metadata: { name: 'default' },
      spec,
    })
    if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
    return decoded.value
  })

const ends = fc.record({ from: fc.nat(6), to: fc.nat(6) })

/** A packet at the node: between its interfaces, its pods (with their own addresses), and itself. */
function place(p: Packet, { from, to }: { from: number; to: number }, pods: ReturnType<typeof podsOf>) {
  const all = [undefined, undefined, 'eth0', 'eth0', 'eth1', 'lo', 'pod'] as const
  const podAt = (n: number) => pods[n % Math.max(1, pods.length)]
  const end = (which: (typeof all)[number], n: number) => {
    const pod = which === 'pod' ? podAt(n) : undefined
    const address = pod?.addresses.find(a => familyOf(a) === p.family)
    if (which !== 'pod') return { name: which, address: undefined }
    return pod && address ? { name: pod.interfaceName, address } : { name: 'eth0', address: undefined }
  }
  const [source, target] = [end(all[from], to), end(all[to], from + 1)]
  const moved = { ...p, src: source.address ?? p.src, dst: target.address ?? p.dst }
  return { moved, in: source.name, out: target.name }
}

const podsOf = (snapshot: Snapshot) => computeIntent(derived(snapshot), 'node0').endpoints

test('the kernel’s ruleset gives packets on every way through a node with host endpoints the oracle’s verdict', t => {
  const { path } = freshNetns(t)
  const nft = openNft(path)
  t.after(() => nft.close())
  using reader = new RawRulesetReader(path)
  const seen = { packets: 0, allowed: 0, asked: new Map<number, number>() }
  fc.assert(
    fc.property(
      cluster,
      settings,
      fc.array(fc.tuple(packet, ends), { minLength: 40, maxLength: 40 }),
      (resources, felix, packets) => {
        const snapshot = new Map(resources).set(keyOf(felix), felix)
        const table = canonicalTable(policyTable(classify(computeIntent(derived(snapshot), 'node0', interfaces))))
        nft.deleteTable('gingham')
        const plan = planUpdate(tableState(undefined), table)
        for (const batch of [...plan.create, ...plan.move]) nft.writeBatch(batch, table)
        const ruleset = decodeRuleset(reader.read())
        const pods = podsOf(snapshot)
        for (const [p, e] of packets) {
          const { moved, ...way } = place(p, e, pods)
          if (way.in === undefined && way.out === undefined) continue
          const placed = { ...moved, iif: way.in ?? '', ...(way.out && { oif: way.out }), connection: 'new' as const }
          const wanted = decideAtNode(snapshot, moved, {
            node: 'node0',
            interfaces,
            ...(way.in && { in: way.in }),
            ...(way.out && { out: way.out }),
          })
          const found = walk(ruleset, placed)
          const story = JSON.stringify({ placed, wanted: wanted.verdict, found })
          assert.equal(found.verdict, wanted.verdict === 'allow' ? 'accept' : 'drop', story)
          const causes = wanted.asked.flatMap(d => [...d.logs.map(r => `Log ${printRule(r)}`), printCause(d.cause)])
          // What would be decided by what is staged is counted as well; agreement/hosts.test.ts judges that.
          const enforced = found.causes.filter(cause => !cause.startsWith('staged: '))
          assert.deepEqual(enforced, causes, story)
          seen.packets++
          if (wanted.verdict === 'allow') seen.allowed++
          seen.asked.set(wanted.asked.length, (seen.asked.get(wanted.asked.length) ?? 0) + 1)
        }
      },
    ),
    { numRuns: Number(process.env.AGREE_RUNS ?? 100) },
  )
  const times = [...seen.asked].sort().map(([n, count]) => `${count} asked ${n} times`)
  console.log(`# ${seen.packets} packets, ${seen.allowed} allowed; ${times.join(', ')}`)
  assert.ok(seen.allowed > seen.packets / 5 && seen.packets - seen.allowed > seen.packets / 5)
  assert.ok((seen.asked.get(2) ?? 0) > seen.packets / 100)
})
