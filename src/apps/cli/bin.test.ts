// bin/gingham itself: from anywhere, through symbolic links, and what it says when something is missing.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'

const BIN = path.join(import.meta.dirname, '../../../bin/gingham')
let dir: string
before(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'gingham-bin-'))
})
after(() => rm(dir, { recursive: true }))

function gingham(bin: string, args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(bin, args, {
    cwd: dir,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env },
  })
  return { code: status, out: stdout, err: stderr }
}

test('it runs through a chain of symbolic links, absolute and relative', async () => {
  await mkdir(path.join(dir, 'a'))
  await symlink(BIN, path.join(dir, 'a', 'first'))
  await symlink('a/first', path.join(dir, 'second'))
  const { code, out } = gingham(path.join(dir, 'second'), ['version', '--client'])
  assert.equal(code, 0)
  assert.match(out, /^Client Version: {4}v\d+\.\d+\.\d+\n$/)
})

test('without a datastore it says where it looked and what to do', () => {
  const advice = 'start the lab with npm start, or set GINGHAM_DATASTORE'
  const run = gingham(BIN, ['get', 'nodes'], { GINGHAM_RUN: dir })
  assert.deepEqual(run, { code: 1, out: '', err: `Error: no datastore at ${dir}/datastore.sock: ${advice}\n` })
  const named = gingham(BIN, ['get', 'nodes'], { GINGHAM_RUN: dir, GINGHAM_DATASTORE: `${dir}/other.sock` })
  assert.equal(named.err, `Error: no datastore at ${dir}/other.sock: ${advice}\n`)
})

test('without node_modules it says how to get them', async () => {
  await mkdir(path.join(dir, 'copy', 'bin'), { recursive: true })
  await copyFile(BIN, path.join(dir, 'copy', 'bin', 'gingham'))
  const { code, err } = gingham(path.join(dir, 'copy', 'bin', 'gingham'), ['version'])
  assert.equal(code, 1)
  assert.match(err, /^gingham: .*copy\/node_modules is missing or incomplete: run 'npm start' in .*copy once\n$/)
})
