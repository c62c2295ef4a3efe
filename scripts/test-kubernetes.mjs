// `npm run test:kubernetes [-- OPTIONS]`: the set-up, then Kubernetes' own end-to-end suite on a real cluster; see
// src/apps/lab/kubernetes/conformance-main.ts. With `--smoke` nothing is built: without the programs it says so and ends.
import { missingComponents } from './kubernetes-build.mjs'
import { main, runInForeground } from './run.mjs'
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
  await setUp({ for: 'suite' })
  return runInForeground('src/apps/lab/kubernetes/conformance-main.ts', options)
})
