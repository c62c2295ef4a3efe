// The datastore killed 200 times with SIGKILL, most times in the middle of writes, while clients write and watch.
// Every acknowledged write must be there with the revision that was acknowledged, every write must have been applied
// once, and every watcher must have seen every revision once and in order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spawnDatastore, temporaryDirectory } from '../../src/apps/datastore/spawn.ts'
import { collect, eventRevision, printEvent } from '../../src/io/store/conformance.ts'
import { openEmbedded } from '../../src/io/store/embedded.ts'
import { type Store, StoreError, type StoreEvent } from '../../src/io/store/store.ts'

const KILLS = 200
const CLIENTS = 4
const LOOPS = 3

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

test(`${KILLS} kills: no write lost, none twice, no watcher misled`, async t => {
  const { path, remove } = temporaryDirectory()
  const acknowledged = new Map<number, string>()
  let inFlight = 0
  let increments = 0
  let deletions = 0
  let stopping = false

  const write = async (store: Store, key: string, value: string, ifRevision?: number) => {
    inFlight++
    try {
      const entry = await store.put(key, value, ifRevision === undefined ? {} : { ifRevision })
      assert.ok(!acknowledged.has(entry.modRevision), 'two writes acknowledged with one revision')
      acknowledged.set(entry.modRevision, `put ${key}=${value}@${entry.modRevision}`)
      return entry
    } finally {
      inFlight--
    }
  }

  /** Own keys by compare-and-set, where a write applied twice or lost would show as a conflict; deletions among them. */
  const ownKeys = async (store: Store, name: string) => {
    let revision = 0
    for (let i = 0; !stopping; i++) {
      revision = (await write(store, `/own/${name}`, String(i), revision)).modRevision
      if (i % 7 !== 6) continue
      inFlight++
      assert.equal(await store.delete(`/own/${name}`, { ifRevision: revision }), true)
      inFlight--
      deletions++
      revision = 0
    }
  }
  /** One counter for all. */
  const counter = async (store: Store) => {
    while (!stopping) {
      const old = await store.get('/count')
      try {
        await write(store, '/count', String(Number(old?.value ?? 0) + 1), old?.modRevision ?? 0)
        increments++
      } catch (error) {
        assert.ok(error instanceof StoreError && error.code === 'conflict', String(error))
      }
    }
  }
  /** Unconditional writes of some size. */
  const plain = async (store: Store, name: string) => {
    for (let i = 0; !stopping; i++) await write(store, `/plain/${name}`, `${i}:${'x'.repeat(i % 3000)}`)
  }

  let killedInFlight = 0
  const stores: Store[] = []
  let server = spawnDatastore(path, ['--log-level', 'warn'])
  try {
    await server.ready
    for (let i = 0; i < CLIENTS; i++) stores.push(openEmbedded({ socket: server.socket, requestTimeoutMs: 60_000 }))
    const watches = stores.map(store => collect(store, '', 0))
    const ownOnly = collect(stores[0]!, '/own/', 0)
    const late: { from: number; watch: ReturnType<typeof collect> }[] = []
    const work = stores.flatMap((store, client) =>
      Array.from({ length: LOOPS }, (_, loop) =>
        loop === 0 ? ownKeys(store, `${client}`) : loop === 1 ? counter(store) : plain(store, `${client}`),
      ),
    )
    const working = Promise.all(work)
    working.catch(() => {
      stopping = true
    })

    for (let kill = 0; kill < KILLS && !stopping; kill++) {
      if (kill % 5 === 4) {
        // In the middle of its start: recovery of the log, the lock, the socket.
        await sleep(Math.random() * 150)
        await server.stop('SIGKILL')
      } else {
        await server.ready
        const before = acknowledged.size
        const wanted = 1 + Math.floor(Math.random() * 30)
        while (acknowledged.size < before + wanted && !stopping) await sleep(1)
        await sleep(Math.random() * 5)
        if (inFlight > 0) killedInFlight++
        await server.stop('SIGKILL')
      }
      if (kill % 20 === 10) {
        const from = Math.max(...acknowledged.keys())
        late.push({ from, watch: collect(stores[kill % CLIENTS]!, '', from) })
      }
      server = spawnDatastore(path, ['--log-level', 'warn'])
    }
    await server.ready
    stopping = true
    await working

    const { entries, revision } = await stores[0]!.list('')
    t.diagnostic(
      `${KILLS} kills, ${killedInFlight} with writes in flight; ${acknowledged.size} writes, revision ${revision}`,
    )
    assert.ok(killedInFlight >= KILLS / 2)
    // Every write that was begun has been answered, so every revision is one acknowledged write.
    assert.equal(revision, acknowledged.size + deletions)

    const upTo = (from: number) => Array.from({ length: revision - from }, (_, i) => from + 1 + i)
    const all = watches[0]!
    for (const watch of watches) {
      await watch.until(revision)
      assert.deepEqual(watch.events.map(eventRevision), upTo(0))
      assert.deepEqual(watch.events, all.events)
    }
    for (const { from, watch } of late) {
      await watch.until(revision - from)
      assert.deepEqual(watch.events, all.events.slice(from))
    }
    const own = all.events.filter(event => (event.kind === 'put' ? event.entry.key : event.key).startsWith('/own/'))
    await ownOnly.until(own.length)
    assert.deepEqual(ownOnly.events, own)

    const printed = all.events.map(printEvent)
    for (const [at, text] of acknowledged) assert.equal(printed[at - 1], text)
    assert.deepEqual(new Map(entries.map(entry => [entry.key, entry])), replay(all.events))
    assert.equal(entries.find(({ key }) => key === '/count')?.value, String(increments))
  } finally {
    stopping = true
    for (const store of stores) store.close()
    await server.stop('SIGKILL')
    remove()
  }
})

function replay(events: readonly StoreEvent[]) {
  const entries = new Map()
  for (const event of events) {
    if (event.kind === 'put') entries.set(event.entry.key, event.entry)
    else entries.delete(event.key)
  }
  return entries
}
