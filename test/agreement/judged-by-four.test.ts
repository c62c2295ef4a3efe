// The oracle, the classification, a trace of the printed table and the kernel itself must say the same of every flow through a
// node, whether pods or host endpoints are asked about it: one verdict, for one cause. `npm run agree` goes on with new seeds; a disagreement is made small and printed as a file for
// test/agreement/kept.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { HOST_LEGS } from '../../src/core/resources/cause.ts'
import { agree, JUDGES, judgeCase, printStats } from './agreement.ts'
import { COMPILER } from './compiler.ts'
import { RealLab } from './real-lab.ts'
import { RealPackets } from './real-packets.ts'
import { parseCase, printCase, shrink } from './shrink.ts'

const FLOWS_PER_CASE = 24
/** Enough to cover what must be. */
const ENOUGH = 150
const CASES = Number(process.env.AGREE_CASES ?? ENOUGH)
const SECONDS = Number(process.env.AGREE_SECONDS ?? 0)
const SEED = Number(process.env.AGREE_SEED ?? 1)
const KEPT = join(import.meta.dirname, 'kept')

let lab: RealLab
let real: RealPackets
before(() => {
  lab = new RealLab(`gingham-four-${process.pid}`)
  real = new RealPackets(lab)
})
after(() => lab?.close())

test('four judges give one verdict for one cause', async () => {
  const end = Date.now() + SECONDS * 1000
  const agreement = await agree({
    compiler: COMPILER,
    seed: SEED,
    flows: FLOWS_PER_CASE,
    judges: JUDGES,
    real,
    goesOn: ({ cases, flows, allowed }) => {
      if (SECONDS > 0 && cases % 200 === 199)
        console.log(`# seed ${SEED}: ${cases} clusters, ${flows} flows, ${allowed} allowed`)
      return SECONDS > 0 ? Date.now() < end : cases < CASES
    },
  })
  console.log(`# seed ${SEED}: ${printStats(agreement)}`)
  const { stats, coverage, disagreement } = agreement
  if (disagreement) {
    const { judges } = disagreement
    const small = await shrink(disagreement, kept => judgeCase(kept, { compiler: COMPILER, judges, real }))
    const says = `oracle: ${small.wanted}\n${small.judges.join(' and ')}: ${small.found}`
    assert.fail(`the judges disagree; keep this in test/agreement/kept:\n${printCase(small, says)}`)
  }
  const share = stats.allowed / stats.flows
  assert.ok(share > 0.3 && share < 0.7, `${share} of the flows are allowed`)
  // A run that was given less time has not had the cases for more.
  if (stats.cases < ENOUGH) return
  assert.ok(coverage >= 0.95, `${coverage} of the pairs of features are covered`)
  const legs = HOST_LEGS.map(({ hook, direction }) => `asked at ${hook} ${direction}`)
  for (const sort of ['fragments', 'short', 'spoofed', 'protocol 132', 'protocol 136', 'protocol 47', ...legs])
    assert.ok(stats.sorts.get(sort), `no flow is ${sort}`)
})

test('the cases that were kept are judged alike', async t => {
  const files = readdirSync(KEPT).filter(name => name.endsWith('.yaml'))
  assert.ok(files.length > 0)
  for (const name of files) {
    await t.test(name, async () => {
      const kept = parseCase(readFileSync(join(KEPT, name), 'utf8'))
      for (const how of [0, 1]) {
        const found = await judgeCase(kept, { compiler: COMPILER, judges: JUDGES, real, how })
        assert.ok(!found, `${found?.judges}: ${found?.found}; the oracle: ${found?.wanted}`)
      }
    })
  }
})
