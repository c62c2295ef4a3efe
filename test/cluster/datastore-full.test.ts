// The datastore on a disk that fills up (a small tmpfs in a mount namespace of its own): writes are refused with a reason,
// what was acknowledged stays, reads and watches go on, and it writes again when there is room.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryDirectory } from '../../src/apps/datastore/spawn.ts'
import { collect } from '../../src/io/store/conformance.ts'
import { openEmbedded } from '../../src/io/store/embedded.ts'
import { StoreError } from '../../src/io/store/store.ts'

const MAIN = fileURLToPath(new URL('../../src/apps/datastore/main.ts', import.meta.url))

test('a full disk refuses writes, keeps what it has, and recovers', async () => {
  const { path, remove } = temporaryDirectory()
  const disk = join(path, 'disk')
  const socket = join(path, 'store.sock')
  mkdirSync(disk)
  const script = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" "$3" --file "$1/store.db" --socket "$4"'
  const server = spawn('unshare', ['-m', 'sh', '-c', script, 'sh', disk, process.execPath, MAIN, socket], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  server.stderr.setEncoding('utf8').on('data', text => {
    log += text
  })
  const exit = once(server, 'exit')
  await once(server.stdout, 'data')
  const store = openEmbedded({ socket })
  try {
    const watch = collect(store, '', 0)
    let written = 0
    let refusal: unknown
    while (refusal === undefined && written < 1000) {
      await store.put(`/k${written}`, 'x'.repeat(20_000)).then(
        () => written++,
        error => {
          refusal = error
        },
      )
    }
    assert.ok(refusal instanceof StoreError && refusal.code === 'unavailable', String(refusal))
    assert.match(refusal.message, /no space left/)
    for (let i = 0; i < 20; i++) await assert.rejects(store.put('/big', 'x'.repeat(1_000_000)), /no space left/)
    const { entries, revision } = await store.list('')
    assert.deepEqual([entries.length, revision], [written, written])
    await watch.until(written)
    assert.ok(log.split('\n').filter(line => line.includes('disk full')).length <= 2, 'said once, not with every write')

    // Somebody makes room.
    execFileSync('nsenter', ['-t', String(server.pid), '-m', 'mount', '-o', 'remount,size=16m', disk])
    await store.put('/big', 'x'.repeat(1_000_000))
    await store.compact(revision)
    await watch.until(written + 1)
    server.kill('SIGTERM')
    assert.deepEqual(await exit, [0, null])
  } finally {
    store.close()
    server.kill('SIGKILL')
    remove()
  }
})
