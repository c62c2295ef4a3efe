// No packet in between: while another processor sends new flows without a pause, policy is edited again and again, and not
// one packet passes that neither the old nor the new policy allows, none is dropped that both allow. The same watch catches
// two writers that do without the update discipline.
//
// GINGHAM_SOAK_MINUTES set: 10,000 edits of each sort instead of a few hundred in all.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import pino from 'pino'
import { PolicyDataplane } from '../../src/apps/agent/dataplane.ts'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { difference } from '../../src/core/base/change.ts'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import type { NftOp, NftTable } from '../../src/core/nft/objects.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { derived } from '../../src/core/resources/derive.ts'
import type { Snapshot } from '../../src/core/resources/resource.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { Conntrack } from '../support/conntrack.ts'
import { loadTable, oneTransaction } from '../support/load-table.ts'
import { openLab, type PodLab } from '../support/pod-lab.ts'
import { BEYOND, FLOWS, MARKER, NODE, PODS, type State, states } from '../support/policy-edits.ts'
import { type Misjudged, Traffic, type TrafficReport } from '../support/traffic.ts'

const EDITS = process.env.GINGHAM_SOAK_MINUTES ? 10_000 : 150
/** A writer without discipline must be caught within this many edits. */
const PATIENCE = 100_000
const ROUND = 1000
/** The ports of the flows that its edits are about. */
const CONCERNED: Readonly<Record<Misjudged['kind'], readonly number[]>> = { dropped: [80, 82, 8250], passed: [81] }
/** For whoever waits for a test that never ends. */
const LIMIT = { timeout: process.env.GINGHAM_SOAK_MINUTES ? 1_800_000 : 120_000 } as const

/** Brings the kernel to the snapshot; returns when it is in force. */
type Writer = { write(snapshot: Snapshot): void; close(): void }

let lab: PodLab
let nft: NftConnection
const { all, bySort } = states()

before(() => {
  lab = openLab({ name: `gnp${process.pid}`, pods: PODS, beyond: BEYOND })
  nft = openNft(lab.node)
})
after(() => {
  nft?.close()
  lab?.close()
})

const state = (index: number): State => all[index]!
const indexes = (sort: string): readonly number[] => bySort.get(sort)!

/** The agent's own. */
function dataplane(): Writer {
  let known: Snapshot = new Map()
  let revision = 0
  const plane = new PolicyDataplane({
    ...{ node: NODE, kernel: nft, log: pino({ level: 'silent' }), metrics: new Metrics() },
    onProgrammed: () => undefined,
  })
  return {
    write(snapshot) {
      const wanted = derived(snapshot)
      plane.apply(difference(known, wanted), ++revision)
      known = wanted
      const { problems, programmedRevision } = plane.status()
      assert.deepEqual(problems, [])
      assert.equal(programmedRevision, revision)
    },
    close: () => plane.stop(),
  }
}

const tableOf = (snapshot: Snapshot): NftTable =>
  canonicalTable(policyTable(classify(computeIntent(derived(snapshot), NODE))))

/**
 * Everything in one transaction, what is not wanted any more deleted with it. All ways from table to table are known
 * beforehand, so that many edits fit into little time.
 */
function hasty(change: (table: NftTable) => NftTable, sort: string): Writer {
  const tables = new Map(indexes(sort).map(i => [state(i).snapshot, change(tableOf(state(i).snapshot))]))
  const ways = new Map<NftTable, Map<NftTable, NftOp[]>>()
  for (const from of tables.values())
    ways.set(from, new Map([...tables.values()].map(to => [to, oneTransaction(tableState(from), to)])))
  let now: NftTable | undefined
  return {
    write(snapshot) {
      const table = tables.get(snapshot)!
      if (now) nft.writeBatch(ways.get(now)!.get(table)!, table)
      else loadTable(nft, table)
      now = table
    },
    close: () => undefined,
  }
}

/** Where the end of a chain means allow. */
const openEnded = (table: NftTable): NftTable => ({
  ...table,
  chains: table.chains.map(c => (c.base ? { ...c, base: { ...c.base, policy: 'accept' as const } } : c)),
})

type Watch = {
  readonly writer: Writer
  readonly sort: string
  readonly edits: number
  /** All, unless only some matter. */
  readonly flows?: readonly number[]
  /** Without: every state is met by whole batches before the next edit begins. */
  readonly hurried?: boolean
}

/** Edits under traffic. */
async function watch({
  writer,
  sort,
  edits,
  flows = FLOWS.map((_, i) => i),
  hurried = false,
}: Watch): Promise<TrafficReport> {
  const variants = indexes(sort)
  nft.deleteTable('gingham')
  const conntrack = new Conntrack(lab.node)
  conntrack.flush()
  conntrack.close()
  writer.write(state(variants[0]!).snapshot)
  const traffic = new Traffic({
    ...{ lab, marker: MARKER, maxChanges: edits, initial: variants[0]! },
    flows: flows.map(f => FLOWS[f]!),
    allowed: all.map(s => flows.map(f => s.allowed[f]!)),
  })
  try {
    await traffic.batches(2)
    let at = 0
    for (let edit = 0; edit < edits; edit++) {
      // Every way from one variant to another comes up: steps of 1, 2, 3, 1, ... around the circle.
      at = (at + 1 + (edit % (variants.length - 1))) % variants.length
      traffic.begin(variants[at]!)
      writer.write(state(variants[at]!).snapshot)
      traffic.done()
      if (!hurried) await traffic.batches(2)
    }
    return await traffic.stop()
  } finally {
    await traffic.close()
  }
}

function describeWrong(sort: string, { kind, flow, from, to, packets }: Misjudged): string {
  const { packet, from: wire } = FLOWS[flow]!
  const policy = from === to ? `while policy stood still (edit ${from})` : `during edit ${to}`
  return `${sort}: ${packets} of ${wire} ${packet.src} to ${packet.dst} ${packet.protocol}/${packet.dport} ${kind} ${policy}`
}

const totals = { edits: 0, packets: 0, arrived: 0, seconds: 0, straddling: 0 }

describe('no packet in between', () => {
  it('has flows that the sorts of edits open, close and leave alone', () => {
    for (const [sort, variants] of bySort) {
      const differ = FLOWS.filter((_, f) => new Set(variants.map(v => state(v).allowed[f])).size > 1).length
      const always = FLOWS.filter((_, f) => variants.every(v => state(v).allowed[f])).length
      const never = FLOWS.filter((_, f) => variants.every(v => !state(v).allowed[f])).length
      assert.ok(sort === 'deny to deny' ? differ === 0 : differ > 0, `${sort}: ${differ} flows change`)
      assert.ok(always > 0 && never > 0, `${sort}: ${always} always, ${never} never`)
    }
  })

  for (const sort of bySort.keys()) {
    it(`when ${sort} changes`, LIMIT, async t => {
      const writer = dataplane()
      t.after(() => writer.close())
      const report = await watch({ writer, sort, edits: EDITS })
      assert.deepEqual(
        report.misjudged.map(m => describeWrong(sort, m)),
        [],
      )
      assert.ok(report.straddling > 0, 'no packet was sent during an edit')
      totals.edits += EDITS
      for (const key of ['packets', 'arrived', 'seconds', 'straddling'] as const) totals[key] += report[key]
    })
  }

  it('is told of enough packets', () => {
    const rate = Math.round(totals.packets / totals.seconds)
    console.log(`# ${totals.edits} edits, ${totals.packets} packets (${rate} a second), ${totals.arrived} arrived`)
    assert.ok(totals.packets > totals.edits * FLOWS.length && totals.arrived > 0)
  })
})

describe('a writer without the discipline is caught', () => {
  /** Edits until a packet is seen to be misjudged; only flows that every variant judges alike are sent. */
  const edits = async (make: (sort: string) => Writer, sort: string, kind: Misjudged['kind']): Promise<number> => {
    const alike = (f: number): boolean => indexes(sort).every(v => state(v).allowed[f] === (kind === 'dropped'))
    const flows = FLOWS.flatMap(({ packet }, f) => (alike(f) && CONCERNED[kind].includes(packet.dport!) ? [f] : []))
    assert.ok(flows.length > 10)
    for (let done = ROUND; done <= PATIENCE; done += ROUND) {
      const { misjudged } = await watch({ writer: make(sort), sort, edits: ROUND, flows, hurried: true })
      if (misjudged.some(m => m.kind === kind)) return done
    }
    throw new Error(`no packet was ${kind} in ${PATIENCE} edits`)
  }

  it('that writes everything in one transaction', LIMIT, async () => {
    const within = await edits(sort => hasty(t => t, sort), 'the set of a rule', 'dropped')
    console.log(`# a packet that both allow was dropped within ${within} edits`)
  })

  it('whose chains end in an allow', LIMIT, async () => {
    const within = await edits(sort => hasty(openEnded, sort), 'deny to deny', 'passed')
    console.log(`# a packet that neither allows passed within ${within} edits`)
  })
})
