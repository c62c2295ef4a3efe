// `npm run kubernetes:build [-- --check] [NAME...]`: the set-up, then the build of Kubernetes' own programs, which the lab and
// the tests on a real API server run. They go into a cache outside the tree; see src/apps/lab/kubernetes/components.ts.
import { spawnSync } from 'node:child_process'
import { ENVIRONMENT, main, NODE, ROOT } from './run.mjs'
import { setUp } from './setup.mjs'

const BUILD = 'src/apps/lab/kubernetes/build-main.ts'

/** Which of the named components are not built yet. Needs the npm packages. */
export function missingComponents(names) {
  const { status, stdout } = spawnSync(NODE, [BUILD, '--check', ...names], {
    cwd: ROOT,
    env: ENVIRONMENT,
    encoding: 'utf8',
  })
  if (status === 0) return []
  const missing = stdout.split('\n').filter(line => line !== '')
  if (missing.length === 0) throw new Error(`${BUILD} --check fails without saying why`)
  return missing
}

if (process.argv[1]?.endsWith('kubernetes-build.mjs')) {
  await main(async () => {
    await setUp({ for: 'lab' })
    const child = spawnSync(NODE, [BUILD, ...process.argv.slice(2)], { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit' })
    return child.status ?? 1
  })
}
