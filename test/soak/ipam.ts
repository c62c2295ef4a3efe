// The long round of IPAM: a million operations, or as many as the time allows. Its seed is new every time and printed; a
// failure names the seed of its history, which `GINGHAM_SOAK_SEED` repeats.
import { addCounts, type HistoryCounts, runHistories } from '../support/ipam-history.ts'

const OPERATIONS = 1_000_000
const milliseconds = Number(process.env.GINGHAM_SOAK_SECONDS ?? 600) * 1000
const seed = Number(process.env.GINGHAM_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31))
const SLICE = 50_000

const end = performance.now() + milliseconds
let counts: Partial<HistoryCounts> = {}
for (let i = 0; (counts.operations ?? 0) < OPERATIONS && performance.now() < end; i++) {
  const left = {
    operations: Math.min(SLICE, OPERATIONS - (counts.operations ?? 0)),
    milliseconds: end - performance.now(),
  }
  counts = addCounts(counts, await runHistories({ ...left, seed: seed + i * SLICE }))
  console.log(`ipam, seed ${seed}: ${JSON.stringify(counts)}`)
}
const { operations = 0 } = counts
console.log(
  operations >= OPERATIONS
    ? `ipam: ${operations} operations; no address given twice, none leaked after collection`
    : `ipam: the time was over after ${operations} of ${OPERATIONS} operations; until then no address given twice, none leaked`,
)
