// The server as a process, with real clients: the store's conformance, the lock, sockets left behind, malformed frames,
// connections that break between a write and its answer, watchers that do not read.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { collect, eventRevision, printEvent, storeConformance } from '../../io/store/conformance.ts'
import { openEmbedded } from '../../io/store/embedded.ts'
import { StoreError } from '../../io/store/store.ts'
import { type Datastore, startDatastore, temporaryDirectory } from './spawn.ts'

type Place = { readonly directory: string; readonly server: Datastore }

async function withServer(args: readonly string[], body: (place: Place) => Promise<void>): Promise<void> {
  const { path, remove } = temporaryDirectory()
  const server = await startDatastore(path, args)
  try {
    await body({ directory: path, server })
  } finally {
    await server.stop('SIGKILL')
    remove()
  }
}

storeConformance('embedded', async () => {
  const { path, remove } = temporaryDirectory()
  const server = await startDatastore(path)
  return {
    store: openEmbedded({ socket: server.socket }),
    done: async () => {
      await server.stop()
      remove()
    },
  }
})

/** Sends bytes on a fresh connection, half-closes if told, and gives all that comes back until the server ends it. */
async function converse(socket: string, bytes: Uint8Array): Promise<string> {
  const connection = connect(socket)
  let text = ''
  connection.setEncoding('utf8').on('data', part => {
    text += part
  })
  connection.on('error', () => {})
  connection.end(bytes)
  await new Promise(resolve => connection.on('close', resolve))
  return text
}

describe('the datastore process', () => {
  it('keeps everything over a clean end, and removes its socket', async () => {
    const { path, remove } = temporaryDirectory()
    try {
      const first = await startDatastore(path)
      const store = openEmbedded({ socket: first.socket })
      const watch = collect(store, '', 0)
      await store.put('/a', '1')
      await store.put('/b', '2')
      await watch.until(2)
      assert.equal(statSync(first.file).mode & 0o077, 0)
      assert.equal(statSync(first.socket).mode & 0o077, 0)
      assert.equal(await first.stop(), 0)
      assert.ok(!existsSync(first.socket))
      const second = await startDatastore(path)
      assert.equal((await store.get('/b'))?.modRevision, 2)
      await store.delete('/a')
      await watch.until(3)
      assert.deepEqual(watch.events.map(printEvent), ['put /a=1@1', 'put /b=2@2', 'delete /a@3'])
      store.close()
      await second.stop()
    } finally {
      remove()
    }
  })

  it('refuses a file that a live server holds, and the socket of another one', async () => {
    await withServer([], async ({ directory, server }) => {
      await assert.rejects(startDatastore(directory), /another live process holds/)
      const elsewhere = join(directory, 'other.db')
      await assert.rejects(startDatastore(directory, ['--file', elsewhere]), /another process serves/)
      const store = openEmbedded({ socket: server.socket })
      await store.put('/a', '1')
      store.close()
    })
  })

  it('takes the place of a killed server, but not that of another file', async () => {
    const { path, remove } = temporaryDirectory()
    try {
      const first = await startDatastore(path)
      await first.stop('SIGKILL')
      assert.ok(existsSync(first.socket))
      const second = await startDatastore(path)
      assert.equal(await second.stop(), 0)
      writeFileSync(first.socket, 'precious')
      await assert.rejects(startDatastore(path), /is no socket/)
      assert.ok(existsSync(first.socket))
    } finally {
      remove()
    }
  })

  it('says what it takes, and what it does not', async () => {
    const { path, remove } = temporaryDirectory()
    try {
      await assert.rejects(startDatastore(path, ['--history', '0']), /a whole number/)
      await assert.rejects(startDatastore(path, ['--log-level', 'loud']), /one of debug/)
    } finally {
      remove()
    }
  })

  it('answers a malformed frame once, closes that connection, and serves the others', async () => {
    await withServer([], async ({ server }) => {
      const frames = [
        'nonsense',
        '{"id":7,"op":"fly"}',
        '{"id":7,"op":"get"}',
        '{"id":7,"op":"get","key":"/a","more":1}',
        '{"id":-1,"op":"get","key":"/a"}',
        '{"id":1,"op":"put","key":"/a","value":{},"request":"r"}',
        '[]',
        '',
      ]
      for (const frame of frames) {
        const replies = (await converse(server.socket, Buffer.from(`${frame}\n{"id":9,"op":"get","key":"/a"}\n`)))
          .trim()
          .split('\n')
          .map(line => JSON.parse(line))
        assert.equal(replies.length, 2, frame.slice(0, 60))
        assert.equal(replies[1].error.code, 'invalid')
      }
      // The answer to an endless frame may be lost, since the client is still writing when the server hangs up.
      await converse(server.socket, Buffer.alloc(17 * 1024 * 1024, 'x'))
      assert.match(server.log(), /frame longer than/)
      const invalidBytes = await converse(server.socket, Buffer.from([0x22, 0xff, 0x22, 10]))
      assert.match(invalidBytes, /not UTF-8/)
      const store = openEmbedded({ socket: server.socket })
      assert.equal((await store.list('')).revision, 0)
      store.close()
    })
  })

  it('survives any bytes (fuzz)', async () => {
    await withServer(['--log-level', 'error'], async ({ server }) => {
      const store = openEmbedded({ socket: server.socket })
      const word = fc.constantFrom(
        ...[
          '{',
          '}',
          '"id":',
          '"op":"put"',
          '"op":"watch"',
          '"key":"/k"',
          ',',
          '\n',
          '1',
          '1e99',
          '"after":',
          '"prefix":""',
        ],
        ...[
          'null',
          '"value":"v"',
          '"request":"r"',
          '\u0000',
          '{"id":1,"op":"list","prefix":""}\n',
          '{"id":2,"op":"compact"',
        ],
      )
      const text = fc.array(word, { maxLength: 40 }).map(words => Buffer.from(words.join('')))
      const bytes = fc.uint8Array({ maxLength: 400 }).map(array => Buffer.from(array))
      await fc.assert(
        fc.asyncProperty(fc.oneof(text, bytes), async input => {
          const replies = (await converse(server.socket, input)).trim().split('\n')
          for (const reply of replies) JSON.parse(reply)
        }),
        { numRuns: 500 },
      )
      await store.put('/alive', '1')
      assert.equal((await store.get('/alive'))?.value, '1')
      assert.equal(server.process.exitCode, null)
      store.close()
    })
  })
})

/** A socket that forwards to the server and cuts connections at random places of either stream. */
function cuttingProxy(path: string, target: string, random: () => number) {
  const open = new Set<Socket>()
  let cuts = 0
  let on = true
  const proxy = createServer(client => {
    const server = connect(target)
    const cut = () => {
      cuts++
      client.destroy()
      server.destroy()
    }
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      open.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
      from.on('data', chunk => {
        const cutHere = on && random() < 0.15
        if (cutHere) to.write((chunk as Uint8Array).subarray(0, Math.floor(random() * (chunk.length + 1))), cut)
        else to.write(chunk)
      })
    }
  })
  return new Promise<{ cuts: () => number; calm: () => void; close: () => void }>(resolve => {
    proxy.listen(path, () =>
      resolve({
        cuts: () => cuts,
        calm: () => {
          on = false
        },
        close: () => {
          proxy.close()
          for (const socket of open) socket.destroy()
        },
      }),
    )
  })
}

describe('the embedded client', () => {
  it('applies each write once, whatever connections do', async () => {
    await withServer([], async ({ directory, server }) => {
      const path = join(directory, 'proxy.sock')
      const proxy = await cuttingProxy(path, server.socket, Math.random)
      const stores = Array.from({ length: 4 }, () => openEmbedded({ socket: path }))
      const watches = stores.map(store => collect(store, '', 0))
      let conflicts = 0
      // Everybody counts on one key by compare-and-set, and writes and deletes keys of his own.
      const count = async (store: (typeof stores)[number], name: number) => {
        for (let i = 0; i < 30; ) {
          const old = await store.get('/count')
          try {
            await store.put('/count', String(Number(old?.value ?? 0) + 1), { ifRevision: old?.modRevision ?? 0 })
            i++
          } catch (error) {
            assert.ok(error instanceof StoreError && error.code === 'conflict', String(error))
            conflicts++
          }
        }
        for (let i = 0; i < 20; i++) {
          const made = await store.put(`/own/${name}`, String(i), { ifRevision: 0 })
          assert.equal(await store.delete(`/own/${name}`, { ifRevision: made.modRevision }), true)
        }
      }
      await Promise.all(stores.map(count))
      proxy.calm()
      const revision = 4 * 30 + 4 * 20 * 2
      const direct = openEmbedded({ socket: server.socket })
      assert.equal((await direct.get('/count'))?.value, '120')
      assert.equal((await direct.list('')).revision, revision)
      for (const watch of watches) {
        await watch.until(revision)
        assert.deepEqual(
          watch.events.map(eventRevision),
          Array.from({ length: revision }, (_, i) => i + 1),
        )
      }
      assert.ok(proxy.cuts() > 20, `only ${proxy.cuts()} connections were cut`)
      assert.ok(conflicts > 0)
      for (const store of [...stores, direct]) store.close()
      proxy.close()
    })
  })

  it('a compaction does not make the server forget which writes it has applied', async () => {
    await withServer([], async ({ server }) => {
      const ask = async (frames: readonly object[]) => {
        const lines = await converse(
          server.socket,
          Buffer.from(frames.map(frame => `${JSON.stringify(frame)}\n`).join('')),
        )
        return lines.trim().split('\n').slice(1)
      }
      const write = { id: 1, op: 'put', key: '/a', value: '1', ifRevision: 0, request: 'mine' }
      const first = await ask([write])
      const store = openEmbedded({ socket: server.socket })
      await store.put('/a', '2')
      await store.compact(2)
      assert.deepEqual(await ask([write]), first)
      assert.equal((await store.get('/a'))?.value, '2')
      store.close()
    })
  })

  it('gives up after its time limit and says that the outcome is open', async () => {
    const { path, remove } = temporaryDirectory()
    const store = openEmbedded({ socket: join(path, 'nobody.sock'), requestTimeoutMs: 50 })
    await assert.rejects(store.put('/a', '1'), /may have been applied/)
    await assert.rejects(store.get('/a'), error => error instanceof StoreError && error.code === 'unavailable')
    store.close()
    remove()
  })

  it('is told when the datastore behind the socket is another one', async () => {
    const { path, remove } = temporaryDirectory()
    try {
      const first = await startDatastore(path)
      const store = openEmbedded({ socket: first.socket })
      await store.put('/a', '1')
      const watch = collect(store, '', 1)
      await first.stop()
      const second = await startDatastore(path, ['--file', join(path, 'fresh.db')])
      assert.equal((await watch.end())?.code, 'compacted')
      assert.equal(await store.get('/a'), undefined)
      store.close()
      await second.stop()
    } finally {
      remove()
    }
  })
})

describe('history', () => {
  it('is compacted by itself; a watcher who stopped reading ends with compacted, others see all', async () => {
    await withServer(['--history', '1000'], async ({ server }) => {
      const store = openEmbedded({ socket: server.socket })
      const keen = collect(store, '/big', 0)
      const elsewhere = collect(store, '/small', 0)
      // Watches and does not read: its socket fills, then the server waits for it, then history passes it by.
      const lazy = connect(server.socket)
      await once(lazy, 'data')
      lazy.pause()
      lazy.write('{"id":1,"op":"watch","prefix":"","after":0}\n')
      const value = JSON.stringify('x'.repeat(10_000))
      for (let i = 0; i < 60; i++) await Promise.all(Array.from({ length: 50 }, () => store.put(`/big/${i}`, value)))
      await keen.until(3000)
      let text = ''
      lazy.setEncoding('utf8').on('data', part => {
        text += part
        if (text.includes('"code":"compacted"')) lazy.destroy()
      })
      lazy.resume()
      await once(lazy, 'close')
      const events = text
        .trim()
        .split('\n')
        .slice(0, -1)
        .flatMap(line => JSON.parse(line).events)
      assert.deepEqual(
        events.map(eventRevision),
        Array.from({ length: events.length }, (_, i) => i + 1),
      )
      assert.ok(events.length < 2100)
      assert.equal((await collect(store, '', 1).end())?.code, 'compacted')
      // A watcher whose prefix was silent for longer than history is still no victim of the compaction.
      await store.put('/small', '1')
      await elsewhere.until(1)
      assert.equal(printEvent(elsewhere.events[0]!), 'put /small=1@3001')
      store.close()
    })
  })
})
