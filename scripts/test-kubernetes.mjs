// `npm run test:kubernetes [-- OPTIONS]`: the set-up, then Kubernetes' own end-to-end suite on a real cluster; see
// src/apps/lab/kubernetes/conformance-main.ts.
import { spawn } from 'node:child_process'
import { ENVIRONMENT, main, NODE, ROOT } from './run.mjs'
import { setUp } from './setup.mjs'

await main(async () => {
  await setUp({ for: 'kubernetes' })
  const args = ['src/apps/lab/kubernetes/conformance-main.ts', ...process.argv.slice(2)]
  const child = spawn(NODE, args, { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit' })
  // Both get Ctrl-C from the terminal; this one waits until everything is taken down.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', code => resolve(code ?? 1))
  })
})
