// `npm test`: the set-up, the checks, then one `node --test` run over every test of the tree.
// `npm test -- FILE...` runs the tests of some files or folders only, without the checks.
// The tests of test/kubernetes need a real API server. While its programs are not built they are not part of the run, which
// is said aloud, so that no test that did not run looks like one that passed.
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { check } from './check.mjs'
import { missingComponents } from './kubernetes-build.mjs'
import { ENVIRONMENT, main, NODE, ROOT, SetUpError } from './run.mjs'
import { setUp } from './setup.mjs'

const KUBERNETES = join('test', 'kubernetes')
/** What the tests of that folder start. */
const KUBERNETES_PROGRAMS = ['kube-apiserver', 'etcd', 'kubectl']

/** The test files at or below a path, sorted. (fs.globSync is younger than Node 18.) */
function testFiles(path) {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path]
  return readdirSync(join(ROOT, path), { withFileTypes: true })
    .flatMap(entry => {
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(join(path, entry.name))
      return entry.name.endsWith('.test.ts') ? [join(path, entry.name)] : []
    })
    .sort()
}

function chosenFiles(paths) {
  try {
    return paths.flatMap(testFiles)
  } catch (error) {
    if (error.code === 'ENOENT')
      throw new SetUpError(`There is no ${error.path}.`, 'Name test files or folders from the root of the project.')
    throw error
  }
}

await main(async () => {
  await setUp({ for: 'test' })
  const chosen = process.argv.slice(2)
  const all = chosen.length === 0
  // At once, and before the tests: behind their minutes of lines that are all ok, a failed check goes unseen.
  if (all && check() > 0) return 1
  const found = chosenFiles(all ? ['src', 'test'] : chosen)
  const missing = all ? missingComponents(KUBERNETES_PROGRAMS) : []
  const files = missing.length > 0 ? found.filter(file => !file.startsWith(KUBERNETES)) : found
  console.log(`[test] ${files.length} files`)
  // The tests start many processes and wait for the kernel much of the time: not fewer than two files at once.
  const workers = Math.max(2, os.availableParallelism?.() ?? 2)
  const { status } = spawnSync(
    NODE,
    [
      '--test',
      '--test-reporter=./scripts/reporter.mjs',
      '--test-reporter-destination=stdout',
      `--test-concurrency=${workers}`,
      '--test-timeout=600000',
      ...files,
    ],
    {
      cwd: ROOT,
      env: {
        ...ENVIRONMENT,
        GINGHAM_TEST_ALL: all ? '1' : '0',
        GINGHAM_TEST_LEFT_OUT: files.length < found.length ? KUBERNETES : '',
      },
      stdio: 'inherit',
    },
  )
  return status === 0 ? 0 : 1
})
