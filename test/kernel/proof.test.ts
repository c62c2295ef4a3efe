// The proof against a real kernel: the tables of random clusters are proved; of random edits of the live table every one
// that changes a verdict is found with a packet, and none that changes nothing is called wrong. Whether it does is decided
// by a tracer of nft's own listing (proof-trace.ts), which shares nothing with the proof.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { computeIntent } from '../../src/core/calc/compute.ts'
import type { Failsafe, Intent, NodeSettings } from '../../src/core/calc/intent.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { addr } from '../../src/core/net/addr.ts'
import { prefix } from '../../src/core/net/prefix.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { type Difference, type PlacedPacket, printDifference } from '../../src/core/proof/difference.ts'
import { decodeRuleset } from '../../src/core/proof/model.ts'
import { type Proof, prove } from '../../src/core/proof/prove.ts'
import { planUpdate } from '../../src/core/render/nft/plan.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { RawRulesetReader } from '../../src/io/kernel/raw-ruleset.ts'
import { cluster, HOST_INTERFACES } from '../agreement/cluster.ts'
import { dice } from '../support/dice.ts'
import { netnsOfFile } from './netns.ts'
import { parseListing, randomEdit } from './proof-edits.ts'
import { packetsOf, Values } from './proof-packets.ts'
import { type Traced, trace, tracer } from './proof-trace.ts'
import { show } from './proofs.ts'

const NETNS = `gingham-proof-${process.pid}`
let nft: NftConnection
let reader: RawRulesetReader

const path = netnsOfFile(NETNS)
before(() => {
  nft = openNft(path)
  reader = new RawRulesetReader(path)
})
after(() => {
  nft?.close()
  reader?.close()
})

const failsafes = fc.subarray<Failsafe>([
  { protocol: 6, port: 22 },
  { protocol: 17, port: 53 },
  { protocol: 6, port: 443, net: prefix('192.0.2.0/24') },
  { protocol: 6, port: 80, net: prefix('2001:db8::/32') },
])

const settings = fc.record<NodeSettings>({
  interfacePrefixes: fc.constantFrom(['cali'], ['cali', 'veth']),
  endpointToHostAction: fc.constantFrom('Drop', 'Accept', 'Return', 'Reject'),
  conntrackInvalidCheck: fc.boolean(),
  logPrefix: fc.constant('calico-packet'),
  logLimit: fc.constantFrom({ rate: 100, per: 'second', burst: 5 }, { rate: 7, per: 'hour', burst: 2 }),
  denyAction: fc.constantFrom('Drop', 'Reject'),
  failsafeInbound: failsafes,
  failsafeOutbound: failsafes,
  allowVXLAN: fc.boolean(),
  allowIPIP: fc.boolean(),
  vxlanPort: fc.constantFrom(4789, 8472),
  sourceSpoofing: fc.boolean(),
  excludedInterfaces: fc.constant([]),
})
const nat = fc.record(
  {
    natInterface: fc.constantFrom('eth0', 'eth*'),
    natAddress: fc.constant(addr('192.0.2.1')),
    natPorts: fc.constantFrom({ first: 1024, last: 65535 }, { first: 9, last: 9 }),
  },
  { requiredKeys: [] },
)
const POOLS = ['10.1.0.0/16', '10.8.0.0/24', '10.8.1.0/24', 'fd00:1::/32'].map(prefix)
const pools = fc.tuple(fc.subarray(POOLS), fc.subarray(POOLS))

/** What a node of a random cluster must enforce, with settings and pools of its own. */
const intents: fc.Arbitrary<Intent> = fc
  .tuple(cluster, settings, pools, nat, fc.boolean())
  .map(([snapshot, s, [masqueradePools, more], n, canary]) => ({
    ...computeIntent(derived(snapshot), 'node0', HOST_INTERFACES.get('node0'), { canary }),
    settings: { ...s, ...n },
    masqueradePools,
    allPools: [...new Set([...masqueradePools, ...more])],
  }))

function write(intent: Intent, budget: number): void {
  spawnSync('ip', ['netns', 'exec', NETNS, 'nft', 'flush', 'ruleset'])
  const table = canonicalTable(policyTable(classify(intent, { budget })))
  const plan = planUpdate(tableState(undefined), table)
  for (const batch of [...plan.create, ...plan.move]) nft.writeBatch(batch, table)
}

const proveLive = (intent: Intent): Proof => prove(decodeRuleset(reader.read()), intent)
const run = (args: readonly string[], input = '') =>
  spawnSync('ip', ['netns', 'exec', NETNS, 'nft', ...args], { encoding: 'utf8', input, maxBuffer: 1 << 28 })

/** With the small one tables are cut into parts. */
const BUDGETS = [250_000, 250_000, 8]

test('the live tables of random clusters are proved', () => {
  const seen = { tables: 0, classes: 0 }
  fc.assert(
    fc.property(intents, fc.constantFrom(...BUDGETS), (intent, budget) => {
      write(intent, budget)
      const proof = proveLive(intent)
      assert.ok(proof.proved, show(proof))
      assert.ok(proof.classes > 20)
      seen.tables++
      seen.classes += proof.classes
    }),
    { numRuns: Number(process.env.PROOF_RUNS ?? 100) },
  )
  console.log(`# ${seen.tables} tables proved, ${seen.classes} classes of packets`)
})

const OURS = 'inet gingham'

/** Whether the edit changed what a difference is about, for its packet. */
function isReal(d: Difference, was: Traced, is: Traced): boolean {
  if (d.kind === 'masquerade') return was.masquerade !== is.masquerade
  return d.kind === 'verdict' ? was.verdict !== is.verdict : was.causes.join() !== is.causes.join()
}

test('every edit of the live table that changes a verdict is found, and no other is called wrong', () => {
  const seed = Number(process.env.PROOF_SEED ?? 1)
  const edits = Number(process.env.PROOF_EDITS ?? 200)
  const d = dice(seed)
  const count = { edits: 0, verdict: 0, cause: 0, nothing: 0, open: 0, refused: 0, unlisted: 0 }
  const kinds = new Map<string, number>()
  for (let n = 0; count.edits < edits; n++) {
    const intent = fc.sample(intents, { numRuns: 1, seed: seed * 100_003 + n })[0]!
    if (intent.endpoints.length === 0) continue
    const budget = BUDGETS[n % BUDGETS.length]!
    write(intent, budget)
    const before = tracer(run(['-j', '-n', 'list', 'ruleset']).stdout)
    const values = new Values()
    values.addListing(before)
    const all = packetsOf(intent, values, { count: 1500, dice: d }).map(p => ({ p, was: trace(before, p) }))
    for (let i = 0; i < 8 && count.edits < edits; i++) {
      if (i > 0) write(intent, budget)
      const listing = parseListing(run(['-n', '-a', 'list', 'table', 'inet', 'gingham']).stdout)
      const { kind, script } = randomEdit(listing, d)
      const edited = run(['-f', '-'], script)
      if (edited.status !== 0) {
        count.refused++
        continue
      }
      const listed = run(['-j', '-n', 'list', 'ruleset'])
      if (listed.status !== 0) {
        // nft itself cannot list what it wrote: no second opinion.
        count.unlisted++
        continue
      }
      const after = tracer(listed.stdout)
      count.edits++
      if (count.edits % 200 === 0) console.log(`# ${count.edits} edits: ${JSON.stringify(count)}`)
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
      const proof = proveLive(intent)
      const story = `seed ${seed}, edit ${count.edits}, ${kind}:\n${script}\n${show(proof)}`
      for (const difference of proof.differences) {
        const [was, is] = [trace(before, difference.packet), trace(after, difference.packet)]
        assert.ok(
          isReal(difference, was, is),
          `called wrong: ${printDifference(difference)}\n${JSON.stringify([was, is])}\n${story}`,
        )
      }
      let [changed, caused]: (PlacedPacket | undefined)[] = []
      // What the edit itself speaks of, among what was there.
      const focused = new Values()
      focused.addScript(script)
      focused.addListing(after)
      const more = packetsOf(intent, focused, { count: 500, dice: d }).map(p => ({ p, was: trace(before, p) }))
      for (const { p, was } of [...all, ...more]) {
        const is = trace(after, p)
        if (was.verdict !== is.verdict || was.masquerade !== is.masquerade) changed ??= p
        // What another's table drops first, as ours would have, is no cause of ours.
        else if (was.causes.join() !== is.causes.join() && (is.droppedBy ?? OURS) === OURS) caused ??= p
      }
      const found = proof.differences.length > 0
      // A verdict that now hangs on what nobody can know (a limit) is not proved, with a packet, and not called wrong either.
      const named = found || proof.notUnderstood.some(what => what.includes(' from '))
      if (changed) assert.ok(named, `not found: ${JSON.stringify(changed)}\n${story}`)
      if (caused) assert.ok(named, `another cause not found: ${JSON.stringify(caused)}\n${story}`)
      if (proof.differences.some(x => x.kind !== 'cause')) count.verdict++
      else if (found) count.cause++
      else if (proof.proved) count.nothing++
      else count.open++
    }
  }
  console.log(`# seed ${seed}: ${JSON.stringify(count)}`)
  console.log(
    `# ${[...kinds]
      .sort()
      .map(([k, v]) => `${k} ${v}`)
      .join(', ')}`,
  )
  assert.ok(
    count.verdict / count.edits > 0.2 && (count.nothing + count.cause) / count.edits > 0.2,
    JSON.stringify(count),
  )
})
