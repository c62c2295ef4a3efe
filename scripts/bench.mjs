// `npm run bench`: every benchmark, one after the other, each of which writes its section of docs/performance.md.
// `-- --only NAME,...` runs some of them; `-- --quick` runs short rounds, to see that they work, and writes nothing.
// Whatever a benchmark leaves behind when it is interrupted or dies is removed after it.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { ENVIRONMENT, main, NODE, ROOT, run, SetUpError } from './run.mjs'
import { setUp } from './setup.mjs'

/** About how many seconds each takes on two cores, in full and in short, and what makes it short. */
const BENCHES = {
  packets: { seconds: [400, 60], quick: ['--runs', '3', '--rules', '10,100'] },
  elements: { seconds: [60, 15], quick: ['--changes', '20', '--policies', '1,100'] },
  enforcement: { seconds: [240, 40], quick: ['--changes', '20', '--policies', '1,100'] },
  calculation: {
    seconds: [60, 10],
    node: ['--expose-gc'],
    quick: ['--endpoints', '10000', '--policies', '500', '--runs', '3'],
  },
  restart: { seconds: [100, 10], quick: ['--policies', '100', '--runs', '3'] },
  cni: { seconds: [120, 40], quick: ['--pods', '5', '--rounds', '1'] },
  memory: { seconds: [180, 40], quick: ['--sizes', '1x10,100x1000'] },
}
const USAGE = 'Use: npm run bench [-- --quick] [--only NAME,...]'
const LOUD = 1.5

function readArguments(args) {
  let quick = false
  let names = Object.keys(BENCHES)
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--quick') quick = true
    else if (args[i] === '--only') names = (args[++i] ?? '').split(',')
    else throw new SetUpError(`There is no option ${args[i]}.`, USAGE)
  }
  const unknown = names.find(name => !(name in BENCHES))
  if (unknown !== undefined)
    throw new SetUpError(`There is no benchmark ${unknown}.`, `There are: ${Object.keys(BENCHES).join(', ')}.`)
  return { quick, names }
}

/** Who adds a benchmark adds it here: a file of bench/ that reads arguments is one. */
function checkComplete() {
  const found = readdirSync(join(ROOT, 'bench')).filter(file =>
    readFileSync(join(ROOT, 'bench', file), 'utf8').includes('parseArgs('),
  )
  const missing = found.map(file => file.replace(/\.ts$/, '')).find(name => !(name in BENCHES))
  if (missing !== undefined) throw new SetUpError(`bench/${missing}.ts is in no round.`, 'Add it to scripts/bench.mjs.')
}

const minutes = seconds => (seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`)

/** Ends what still runs in the namespaces of a benchmark's process, whose number is in their names, and removes them, and its files. */
function sweep(pid) {
  const own = new RegExp(`^gb[a-z]*${pid}(?!\\d)`)
  const names = run('ip', ['netns', 'list'])
    .output.split('\n')
    .map(line => line.split(' ')[0])
    .filter(name => own.test(name))
  for (const name of names) {
    for (const left of run('ip', ['netns', 'pids', name]).output.split(/\s+/).filter(Boolean)) {
      try {
        process.kill(Number(left), 'SIGKILL')
      } catch {
        // It ended meanwhile.
      }
    }
    run('ip', ['netns', 'del', name])
  }
  const folders = readdirSync(os.tmpdir()).filter(name => name.startsWith(`gingham-${pid}-`))
  for (const folder of folders) rmSync(join(os.tmpdir(), folder), { recursive: true, force: true })
  const left = [...names, ...folders]
  if (left.length > 0) console.log(`[bench] removed what it left: ${left.join(', ')}`)
}

/** Runs one benchmark in a process group of its own; gives its exit code, 128 if it was interrupted. */
async function runBench(name, quick) {
  const { node = [], quick: short } = BENCHES[name]
  const args = [...node, join('bench', `${name}.ts`), ...(quick ? short : ['--write'])]
  const child = spawn(NODE, args, { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit', detached: true })
  const group = signal => {
    try {
      process.kill(-child.pid, signal)
    } catch {
      // All of it ended.
    }
  }
  let interrupted = false
  const interrupt = () => {
    interrupted = true
    group('SIGTERM')
    // A benchmark that measures without a pause hears nothing.
    setTimeout(() => group('SIGKILL'), 20_000).unref()
  }
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', status => resolve(status ?? 1))
  })
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  group('SIGKILL')
  sweep(child.pid)
  return interrupted ? 128 : code
}

await main(async () => {
  const { quick, names } = readArguments(process.argv.slice(2))
  checkComplete()
  await setUp({ for: 'bench' })
  const about = name => BENCHES[name].seconds[quick ? 1 : 0]
  const results = []
  for (const [i, name] of names.entries()) {
    const left = names.slice(i).reduce((sum, n) => sum + about(n), 0)
    const load = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0])
    console.log(
      `[bench] ${name} (${i + 1} of ${names.length}): about ${minutes(about(name))}, ${minutes(left)} with all that follow`,
    )
    if (load > LOUD && i === 0) console.log(`[bench] the machine is busy (load ${load}): the figures will be too`)
    const began = Date.now()
    const code = await runBench(name, quick)
    results.push({ name, code, seconds: Math.round((Date.now() - began) / 1000) })
    // An interrupted one is the end of all.
    if (code >= 128) break
  }
  for (const { name, code, seconds } of results)
    console.log(`[bench] ${name}: ${code === 0 ? 'done' : `FAILED (exit code ${code})`} after ${seconds} s`)
  if (!quick) console.log('[bench] the sections of docs/performance.md are written; its first table is written by hand')
  return results.length === names.length && results.every(({ code }) => code === 0) ? 0 : 1
})
