// Do the judges judge? Faults are planted into the compiler one by one, and each must be found. `npm test` plants some, others
// every day; `npm run agree -- --faults` plants all and prints by whom and after how many flows each was found.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { JUDGES, type JudgeName } from './agreement.ts'
import { makeCase } from './cases.ts'
import { Coverage } from './coverage.ts'
import { CLASSIFIER_FAULTS, type Fault, TABLE_FAULTS } from './faults.ts'
import type { Flow, Told } from './flow.ts'
import { type Chosen, chooseFlows } from './flows.ts'
import { HOST_FAULTS } from './host-faults.ts'
import {
  byClassification,
  byTrace,
  type Case,
  type Compiler,
  type Judged,
  sameTold,
  tableOf,
  worldOf,
} from './judges.ts'
import { checkFault, loadCompiler } from './mutants.ts'
import { RealLab } from './real-lab.ts'
import { RealPackets } from './real-packets.ts'

const ALL = process.env.AGREE_FAULTS === 'all'
const SAMPLE = { classifier: 12, table: 3, host: 4 } as const
const FLOWS_PER_CASE = 24
/** Cases before which a fault must be found. */
const MAX_CASES = { classifier: 400, table: 150 } as const
const DAY_MS = 86_400_000

let lab: RealLab
let real: RealPackets
before(() => {
  lab = new RealLab(`gingham-faults-${process.pid}`)
  // Here much does not come out that should.
  real = new RealPackets(lab, { patienceMs: 300 })
})
after(() => lab?.close())

type Prepared = Case & { readonly wanted: readonly Chosen[] }
const prepared: Prepared[] = []
const coverage = new Coverage()
let right: Compiler | undefined

/** The n-th case with the oracle's judgements: the same for every fault. */
async function caseOf(n: number): Promise<Prepared> {
  right ??= await loadCompiler()
  while (prepared.length <= n) {
    const seed = 1_000 + prepared.length
    const made = makeCase(seed, coverage.missing)
    const world = worldOf(made, right)
    prepared.push({ ...made, wanted: chooseFlows(world, seed, { count: FLOWS_PER_CASE, coverage }) })
  }
  return prepared[n]!
}

type Found = { readonly judges: readonly (JudgeName | 'compiler')[]; readonly flows: number }

/** Who disagrees on a case. The table is asked only for its own faults, or once the classification has shown where. */
async function judgesThatSee(compiler: Compiler, c: Prepared, isTable: boolean): Promise<readonly JudgeName[]> {
  const world = worldOf(c, compiler)
  const differing = (say: (flow: Flow, judged: Judged) => Told) =>
    c.wanted
      .map(({ flow, judged }) => ({ flow, judged, told: judged.told }))
      .filter(({ flow, judged, told }) => !sameTold(say(flow, judged), told))
  const byClasses = differing((flow, judged) => byClassification(world, flow, judged))
  if (byClasses.length === 0 && !isTable) return []
  const listing = real.load(world, tableOf(world), 'print')
  const byTable = differing(flow => byTrace(world, listing, flow))
  if (byClasses.length === 0 && byTable.length === 0) return []
  const byPackets = await real.judge(byTable.slice(0, 3))
  const seen = [byClasses.length, byTable.length, byPackets.size]
  return JUDGES.filter((_, i) => seen[i]! > 0)
}

async function find(fault: Fault, isTable: boolean): Promise<Found | undefined> {
  const compiler = await loadCompiler(fault)
  let flows = 0
  for (let n = 0; n < MAX_CASES[isTable ? 'table' : 'classifier']; n++) {
    const c = await caseOf(n)
    flows += c.wanted.length
    try {
      const judges = await judgesThatSee(compiler, c, isTable)
      if (judges.length > 0) return { judges, flows }
    } catch (error) {
      if (process.env.AGREE_VERBOSE) console.log(fault.name, error)
      return { judges: ['compiler'], flows }
    }
  }
  return undefined
}

/** So many of a list, others every day. */
function sample<T>(list: readonly T[], count: number): readonly T[] {
  if (ALL) return list
  const day = Math.floor(Date.now() / DAY_MS)
  return Array.from({ length: count }, (_, i) => list[(day * count + i) % list.length]!)
}

test('every fault can be planted into the sources as they are', () => {
  for (const fault of [...CLASSIFIER_FAULTS, ...TABLE_FAULTS, ...HOST_FAULTS]) checkFault(fault)
  assert.ok(CLASSIFIER_FAULTS.length >= 50)
})

test('planted faults are found', async () => {
  const missed: string[] = []
  const plant = async (fault: Fault, isTable: boolean): Promise<void> => {
    const found = await find(fault, isTable)
    console.log(
      `# ${fault.file}: ${fault.name}: ${found ? `${found.judges.join(', ')} after ${found.flows}` : 'NOT FOUND'}`,
    )
    if (!found) missed.push(fault.name)
  }
  for (const fault of sample(CLASSIFIER_FAULTS, SAMPLE.classifier)) await plant(fault, false)
  for (const fault of [...sample(TABLE_FAULTS, SAMPLE.table), ...sample(HOST_FAULTS, SAMPLE.host)])
    await plant(fault, true)
  console.log(`# ${coverage.share * 100} % of the pairs of features in ${prepared.length} clusters`)
  assert.deepEqual(missed, [])
})
