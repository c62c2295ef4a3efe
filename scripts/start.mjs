// `npm start`: the set-up, then the lab under the packaged Node, with the terminal, the signals and the exit code passed through.
// `npm start -- --kubernetes`: the same with a real Kubernetes, whose nodes need more of the machine.
import { spawn } from 'node:child_process'
import { ENVIRONMENT, main, NODE, ROOT } from './run.mjs'
import { setUp } from './setup.mjs'

await main(async () => {
  await setUp({ for: process.argv.includes('--kubernetes') ? 'kubernetes' : 'lab' })
  const child = spawn(NODE, ['src/apps/lab/main.ts', ...process.argv.slice(2)], {
    cwd: ROOT,
    env: ENVIRONMENT,
    stdio: 'inherit',
  })
  // A terminal sends Ctrl-C to both processes; this one only stays until the lab has cleaned up and ended.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1)))
  })
})
