// `npm run test:kubernetes [-- OPTIONS]`: the set-up, then Kubernetes' own end-to-end suite on a real cluster; see
// src/apps/lab/kubernetes/conformance-main.ts. With `--smoke` nothing is built: without the programs it says so and ends.
import { spawn } from 'node:child_process'
import { missingComponents } from './kubernetes-build.mjs'
import { ENVIRONMENT, main, NODE, ROOT } from './run.mjs'
import { setUp } from './setup.mjs'

/** Every component; asked for without names it would be the same list. */
const ALL = []

await main(async () => {
  const options = process.argv.slice(2)
  if (options.includes('--smoke')) {
    await setUp({ for: 'test' })
    const missing = missingComponents(ALL)
    if (missing.length > 0) {
      console.log(
        `[test] NOT RUN: the look at a real Kubernetes: ${missing.join(', ')} not built (npm run kubernetes:build)`,
      )
      return 0
    }
  }
  await setUp({ for: 'kubernetes' })
  const child = spawn(NODE, ['src/apps/lab/kubernetes/conformance-main.ts', ...options], {
    cwd: ROOT,
    env: ENVIRONMENT,
    stdio: 'inherit',
  })
  // Both get Ctrl-C from the terminal; this one waits until everything is taken down.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', code => resolve(code ?? 1))
  })
})
