// `npm run agree -- --minutes N [--seed N]`: the judges of test/agreement go on with new seeds until the time is over or two
// disagree. `npm run agree -- --faults`: every planted fault, and who found it.
import { spawnSync } from 'node:child_process'
import { ENVIRONMENT, main, NODE, ROOT, SetUpError } from './run.mjs'
import { setUp } from './setup.mjs'

const USAGE = 'Use: npm run agree -- --minutes N [--seed N], or npm run agree -- --faults'

function readArguments(args) {
  const found = { minutes: 10, seed: Math.floor(Date.now() / 1000), faults: false }
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--minutes') found.minutes = Number(args[++i])
    else if (args[i] === '--seed') found.seed = Number(args[++i])
    else if (args[i] === '--faults') found.faults = true
    else throw new SetUpError(`There is no option ${args[i]}.`, USAGE)
  }
  if (!(found.minutes > 0)) throw new SetUpError('--minutes takes a number above 0.', USAGE)
  if (!Number.isInteger(found.seed)) throw new SetUpError('--seed takes a whole number.', USAGE)
  return found
}

await main(async () => {
  const { minutes, seed, faults } = readArguments(process.argv.slice(2))
  await setUp({ for: 'test' })
  const file = faults ? 'test/agreement/planted-faults.test.ts' : 'test/agreement/judged-by-four.test.ts'
  const more = faults ? { AGREE_FAULTS: 'all' } : { AGREE_SECONDS: String(minutes * 60), AGREE_SEED: String(seed) }
  console.log(`[agree] ${faults ? 'every planted fault' : `${minutes} minutes from seed ${seed}`}`)
  const { status } = spawnSync(NODE, ['--test', '--test-reporter=spec', file], {
    cwd: ROOT,
    env: { ...ENVIRONMENT, ...more },
    stdio: 'inherit',
  })
  return status ?? 1
})
