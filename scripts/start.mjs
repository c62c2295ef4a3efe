// `npm start`: the set-up, then the lab under the packaged Node, with the terminal, the signals and the exit code passed through.
// `npm start -- --kubernetes`: the same with a real Kubernetes, whose nodes need more of the machine.
import { main, runInForeground } from './run.mjs'
import { setUp } from './setup.mjs'

await main(async () => {
  await setUp({ for: process.argv.includes('--kubernetes') ? 'kubernetes' : 'lab' })
  return runInForeground('src/apps/lab/main.ts', process.argv.slice(2))
})
