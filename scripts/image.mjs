// `npm run image`: the set-up, then the container images, which are built from what the set-up made.
import { spawnSync } from 'node:child_process'
import { ENVIRONMENT, main, NODE, ROOT } from './run.mjs'
import { setUp } from './setup.mjs'

await main(async () => {
  await setUp({ for: 'image' })
  const { status } = spawnSync(NODE, ['src/apps/image/main.ts'], { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit' })
  return status ?? 1
})
