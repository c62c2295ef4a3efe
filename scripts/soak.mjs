// `npm run soak -- --minutes N [NAME...]`: the long rounds, one after the other. The files of test/soak get an equal share of
// the time; the tests that `npm test` runs for a short while are run with their full numbers, however long that takes. What a round did is its own print; the exit code is 1 if one failed. A round that has done all that it
// wants ends early, and the time it leaves goes to those after it.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ENVIRONMENT, main, NODE, ROOT, SetUpError } from './run.mjs'
import { setUp } from './setup.mjs'

const FOLDER = join('test', 'soak')
/** Tests with a long round, and what asks for it. */
const LONG_TESTS = {
  'no-packet-between': ['test/kernel/no-packet-between.test.ts', { GINGHAM_SOAK_MINUTES: '1' }],
  hitless: ['test/cluster/hitless.test.ts', { GINGHAM_SOAK_MINUTES: '1' }],
  agreement: ['test/agreement/tables.test.ts', { AGREE_RUNS: '20000' }],
  incremental: ['test/agreement/incremental.test.ts', { AGREE_RUNS: '2000' }],
  proof: ['test/kernel/proof.test.ts', { PROOF_EDITS: '10000' }],
}
const USAGE = 'Use: npm run soak -- --minutes N [NAME...]'

function readArguments(args) {
  let minutes = 30
  const names = []
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--minutes') minutes = Number(args[++i])
    else if (args[i].startsWith('-')) throw new SetUpError(`There is no option ${args[i]}.`, USAGE)
    else names.push(args[i])
  }
  if (!(minutes > 0)) throw new SetUpError('--minutes takes a number above 0.', USAGE)
  return { minutes, names }
}

function roundsOf(names) {
  const timed = readdirSync(join(ROOT, FOLDER))
    .filter(file => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map(file => file.slice(0, -'.ts'.length))
    .sort()
  const all = [...timed, ...Object.keys(LONG_TESTS)]
  const unknown = names.find(name => !all.includes(name))
  if (unknown !== undefined) throw new SetUpError(`There is no soak ${unknown}.`, `There are: ${all.join(', ')}.`)
  return names.length === 0 ? all : names
}

/** Runs one round; gives its exit code. */
function runRound(name, seconds) {
  const [file, more] = LONG_TESTS[name] ?? []
  const args = file ? ['--test', file] : [join(FOLDER, `${name}.ts`)]
  const env = { ...ENVIRONMENT, GINGHAM_SOAK_SECONDS: String(seconds), ...more }
  return new Promise((resolve, reject) => {
    const child = spawn(NODE, args, { cwd: ROOT, env, stdio: 'inherit' })
    const forward = signal => child.kill(signal)
    process.once('SIGINT', forward).once('SIGTERM', forward)
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', forward).off('SIGTERM', forward)
      resolve(code ?? (signal === null ? 1 : 128))
    })
  })
}

await main(async () => {
  const { minutes, names } = readArguments(process.argv.slice(2))
  const rounds = roundsOf(names)
  await setUp({ for: 'test' })
  const end = Date.now() + minutes * 60_000
  const results = []
  for (const [i, name] of rounds.entries()) {
    const seconds = Math.max(1, Math.round((end - Date.now()) / 1000 / (rounds.length - i)))
    console.log(`[soak] ${name}: ${LONG_TESTS[name] ? 'until it is done' : `up to ${seconds} s`}`)
    const started = Date.now()
    const code = await runRound(name, seconds)
    results.push({ name, code, seconds: Math.round((Date.now() - started) / 1000) })
    // An interrupted round is the end of all.
    if (code >= 128) break
  }
  for (const { name, code, seconds } of results)
    console.log(`[soak] ${name}: ${code === 0 ? 'passed' : `FAILED (exit code ${code})`} after ${seconds} s`)
  return results.length === rounds.length && results.every(({ code }) => code === 0) ? 0 : 1
})
