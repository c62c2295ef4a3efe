// The set-up that `npm start` and `npm test` begin with: check the machine, install what is missing, build the two C programs.
// When everything is there it only looks, without a lock; otherwise one set-up at a time does what still needs doing.
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { installDebianPackages, missingDebianPackages } from './debian-packages.mjs'
import { withLock } from './lock.mjs'
import { checkMachine, checkNftables } from './machine.mjs'
import { installNpmPackages, npmPackagesPresent } from './npm-packages.mjs'
import { main, ROOT, SetUpError } from './run.mjs'

const COMMANDS = {
  lab: 'npm start',
  test: 'npm test',
  image: 'npm run image',
  bench: 'npm run bench',
  kubernetes: 'npm start -- --kubernetes',
  suite: 'npm run test:kubernetes',
}

const say = text => console.log(`[set-up] ${text}`)

/** A C program of the tree is present when it is newer than its source; its build script says what is wrong in one sentence. */
const built = (name, { output, source, script, build }) => ({
  name,
  present: () => existsSync(join(ROOT, output)) && timeOf(output) > timeOf(source),
  doing: 'building',
  install: async () => {
    const module = await import(pathToFileURL(join(ROOT, script)).href)
    try {
      build(module)
    } catch (error) {
      throw new SetUpError(error.message, '')
    }
  },
})

const timeOf = file => statSync(join(ROOT, file)).mtimeMs

const STEPS = [
  {
    name: 'Debian packages',
    present: purpose => missingDebianPackages(purpose).length === 0,
    doing: purpose => `installing ${missingDebianPackages(purpose).join(', ')}`,
    install: installDebianPackages,
  },
  { name: 'npm packages', present: npmPackagesPresent, doing: 'installing', install: installNpmPackages },
  built('kernel addon', {
    output: 'build/gingham.node',
    source: 'src/io/kernel/native/addon.c',
    script: 'src/io/kernel/native/build.mjs',
    build: module => module.buildAddon(),
  }),
  built('CNI client', {
    output: 'build/cni/gingham',
    source: 'src/apps/cni/client.c',
    script: 'src/apps/cni/build-client.mjs',
    build: module => module.buildClient(),
  }),
]

/** Prepares this machine. `for` is what for: `lab`, `test`, `bench`, `image` or `kubernetes`; throws a `SetUpError` with the fix in it. */
export async function setUp({ for: purpose }) {
  checkMachine(COMMANDS[purpose])
  for (const step of STEPS) {
    if (!step.present(purpose)) {
      await withLock(say, async () => {
        // Another set-up may have done it while this one waited.
        if (step.present(purpose)) return
        say(`${step.name}: ${typeof step.doing === 'function' ? step.doing(purpose) : step.doing}`)
        await step.install(purpose)
      })
    }
    say(`${step.name}: present`)
  }
  checkNftables()
}

if (process.argv[1] === join(ROOT, 'scripts/setup.mjs')) await main(() => setUp({ for: 'lab' }))
