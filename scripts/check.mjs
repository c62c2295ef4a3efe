// `npm run check`: types (the whole tree, and core without Node's) and lint; nothing is written.
import { spawnSync } from 'node:child_process'
import { ENVIRONMENT, main, ROOT } from './run.mjs'

const CHECKS = [
  ['types', 'tsc', ['-p', '.']],
  ['types of core, without those of Node', 'tsc', ['-p', 'src/core']],
  ['lint and format', 'biome', ['check', '--error-on-warnings']],
]

/** Runs every check, even after one failed, and returns the number of failed ones. */
export function check() {
  let failed = 0
  for (const [name, program, args] of CHECKS) {
    console.log(`[check] ${name}`)
    const { status } = spawnSync(program, args, { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit' })
    if (status !== 0) failed++
  }
  console.log(failed === 0 ? '[check] all passed' : `[check] FAILED: ${failed} of ${CHECKS.length}`)
  return failed
}

if (process.argv[1] === `${ROOT}/scripts/check.mjs`) await main(() => (check() === 0 ? 0 : 1))
