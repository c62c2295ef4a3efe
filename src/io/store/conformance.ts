// What every store must do, as one suite that each driver's tests run against a fresh store. It says what a caller may
// rely on; a driver's own strengths (restart, retry) are tested beside that driver.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Store, StoreError, type StoreEvent, type Watch } from './store.ts'

export type StoreUnderTest = { readonly store: Store; readonly done: () => Promise<void> | void }

/** `put /a=1@3` or `delete /a@4`. */
export const printEvent = (event: StoreEvent): string =>
  event.kind === 'put'
    ? `put ${event.entry.key}=${event.entry.value}@${event.entry.modRevision}`
    : `delete ${event.key}@${event.revision}`

export const eventRevision = (event: StoreEvent): number =>
  event.kind === 'put' ? event.entry.modRevision : event.revision

/** Collects a watch's events; `until` waits for a number of them or for the end of the watch. */
export function collect(store: Store, prefix: string, after: number) {
  const events: StoreEvent[] = []
  const batches: { readonly size: number; readonly revision: number }[] = []
  let ended: { error: StoreError | undefined } | undefined
  let wake = () => {}
  const watch: Watch = store.watch(prefix, after, {
    events: (more, revision) => {
      events.push(...more)
      batches.push({ size: more.length, revision })
      wake()
    },
    closed: error => {
      ended = { error }
      wake()
    },
  })
  const wait = async (holds: () => boolean) => {
    while (!holds()) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  return {
    events,
    batches,
    watch,
    until: (count: number) => wait(() => events.length >= count),
    end: async () => {
      await wait(() => ended !== undefined)
      return ended!.error
    },
  }
}

const code = (expected: StoreError['code'], currentRevision?: number) => (error: unknown) => {
  assert.ok(error instanceof StoreError, String(error))
  assert.equal(error.code, expected)
  if (currentRevision !== undefined) assert.equal(error.currentRevision, currentRevision)
  return true
}

type Case = readonly [name: string, body: (store: Store) => Promise<void>]

const cases: readonly Case[] = [
  [
    'a key that is not there is undefined, its deletion false',
    async store => {
      assert.equal(await store.get('/a'), undefined)
      assert.equal(await store.delete('/a'), false)
      assert.deepEqual(await store.list('/'), { entries: [], revision: 0 })
    },
  ],
  [
    'one revision counts all writes; creation is remembered until the deletion',
    async store => {
      assert.deepEqual(await store.put('/a', '1'), { key: '/a', value: '1', modRevision: 1, createRevision: 1 })
      await store.put('/b', '2')
      assert.deepEqual(await store.put('/a', '3'), { key: '/a', value: '3', modRevision: 3, createRevision: 1 })
      assert.deepEqual(await store.get('/a'), { key: '/a', value: '3', modRevision: 3, createRevision: 1 })
      assert.equal(await store.delete('/a'), true)
      assert.equal((await store.put('/a', '4')).createRevision, 5)
      assert.equal((await store.list('')).revision, 5)
    },
  ],
  [
    'a put of the same value is a write',
    async store => {
      await store.put('/a', '1')
      assert.equal((await store.put('/a', '1')).modRevision, 2)
    },
  ],
  [
    'a list is sorted by UTF-8 bytes and holds the prefix only',
    async store => {
      const keys = ['/a', '/a/', '/a/b', '/a0', '/ab', '/b', '/a/\u{1f600}', '/a/\uffee', '/a/é', '/A', '/a/b/c']
      for (const key of keys) await store.put(key, '{}')
      const listed = async (prefix: string) => (await store.list(prefix)).entries.map(({ key }) => key)
      assert.deepEqual(await listed('/a/'), ['/a/', '/a/b', '/a/b/c', '/a/é', '/a/\uffee', '/a/\u{1f600}'])
      assert.deepEqual(await listed('/a/b'), ['/a/b', '/a/b/c'])
      assert.deepEqual(await listed('/zzz'), [])
      assert.equal((await listed('')).length, keys.length)
    },
  ],
  [
    'compare-and-set: a write with a revision needs that revision',
    async store => {
      const made = await store.put('/a', '1', { ifRevision: 0 })
      await assert.rejects(store.put('/a', '2', { ifRevision: 0 }), code('conflict', 1))
      const next = await store.put('/a', '2', { ifRevision: made.modRevision })
      await assert.rejects(store.put('/a', '3', { ifRevision: made.modRevision }), code('conflict', 2))
      await assert.rejects(store.delete('/a', { ifRevision: made.modRevision }), code('conflict', 2))
      await assert.rejects(store.put('/none', '1', { ifRevision: 7 }), code('conflict', 0))
      await assert.rejects(store.delete('/none', { ifRevision: 7 }), code('conflict', 0))
      assert.equal(await store.delete('/a', { ifRevision: next.modRevision }), true)
      assert.equal((await store.list('')).revision, 3, 'a refused write is no revision')
    },
  ],
  [
    'of many writes with the same condition one wins',
    async store => {
      const tries = Array.from({ length: 20 }, (_, i) => store.put('/a', String(i), { ifRevision: 0 }))
      const results = await Promise.allSettled(tries)
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
      assert.equal((await store.list('')).revision, 1)
    },
  ],
  [
    'values come back exactly as written',
    async store => {
      const values = ['{"n":1795500659674108644}', '{"a":"\u2028\\u0000\u{1f600}\\n"}', ' [1 , 2]\n', '', '"\u007f\\""']
      for (const [i, value] of values.entries()) await store.put(`/v${i}`, value)
      const watch = collect(store, '/v', 0)
      await watch.until(values.length)
      const { entries } = await store.list('/v')
      assert.deepEqual(
        entries.map(({ value }) => value),
        values,
      )
      for (const [i, value] of values.entries()) assert.equal((await store.get(`/v${i}`))?.value, value)
      assert.deepEqual(
        watch.events.map(event => event.kind === 'put' && event.entry.value),
        values,
      )
      watch.watch.close()
    },
  ],
  [
    'what would not come back as written is invalid',
    async store => {
      await assert.rejects(store.put('', '1'), code('invalid'))
      await assert.rejects(store.put('/a\0b', '1'), code('invalid'))
      await assert.rejects(store.put('/\ud800', '1'), code('invalid'))
      await assert.rejects(store.put('/a', '\ud800'), code('invalid'))
      await assert.rejects(store.put('/a', 'x'.repeat(1536 * 1024 + 1)), code('invalid'))
      await assert.rejects(store.delete(''), code('invalid'))
      await store.put('/big', 'é'.repeat(768 * 1024))
      assert.equal((await store.get('/big'))?.value.length, 768 * 1024)
      assert.equal((await store.list('')).revision, 1)
    },
  ],
  [
    'a watch brings the past, then the present, in order, its prefix only',
    async store => {
      await store.put('/a/1', '1')
      await store.put('/b/1', '1')
      await store.put('/a/2', '1')
      await store.delete('/a/1')
      const all = collect(store, '/a/', 0)
      const later = collect(store, '/a/', 3)
      const live = collect(store, '/a/', 4)
      await all.until(3)
      await store.put('/a/1', '2')
      await store.put('/b/1', '2')
      await store.delete('/a/2')
      await Promise.all([all.until(5), later.until(3), live.until(2)])
      const past = ['put /a/1=1@1', 'put /a/2=1@3', 'delete /a/1@4']
      const present = ['put /a/1=2@5', 'delete /a/2@7']
      assert.deepEqual(all.events.map(printEvent), [...past, ...present])
      assert.deepEqual(later.events.map(printEvent), ['delete /a/1@4', ...present])
      assert.deepEqual(live.events.map(printEvent), present)
      const recreated = all.events[3]
      assert.equal(recreated?.kind === 'put' && recreated.entry.createRevision, 5)
      for (const { watch } of [all, later, live]) watch.close()
    },
  ],
  [
    'a watch misses nothing while writes go on, and its revisions only grow',
    async store => {
      const writes = Array.from({ length: 500 }, (_, i) => store.put(`/k${i % 7}`, String(i)))
      const { revision } = await store.list('')
      const watch = collect(store, '', revision)
      await Promise.all(writes)
      await store.put('/last', '1')
      await watch.until(501 - revision)
      assert.deepEqual(
        watch.events.map(eventRevision),
        Array.from({ length: 501 - revision }, (_, i) => revision + 1 + i),
      )
      let seen = 0
      for (const { size, revision: upTo } of watch.batches) {
        seen += size
        assert.equal(upTo, eventRevision(watch.events[seen - 1]!), 'a batch ends at its last revision')
      }
      watch.watch.close()
    },
  ],
  [
    'a closed watch is silent',
    async store => {
      const closed = collect(store, '', 0)
      const open = collect(store, '', 0)
      closed.watch.close()
      await store.put('/a', '1')
      await open.until(1)
      await store.get('/a')
      assert.equal(closed.events.length, 0)
      closed.watch.close()
      open.watch.close()
    },
  ],
  [
    'compaction: the present stays, watches that need the past end, others go on',
    async store => {
      for (let i = 1; i <= 10; i++) await store.put('/a', String(i))
      const live = collect(store, '', 8)
      await live.until(2)
      await store.compact(5)
      await store.compact(3)
      const gone = collect(store, '', 4)
      const reaching = collect(store, '', 5)
      const end = await gone.end()
      assert.equal(end?.code, 'compacted')
      assert.equal(gone.events.length, 0)
      await reaching.until(5)
      assert.equal(printEvent(reaching.events[0]!), 'put /a=6@6')
      assert.equal((await store.get('/a'))?.modRevision, 10)
      await store.put('/a', '11')
      await Promise.all([live.until(3), reaching.until(6)])
      await assert.rejects(store.compact(1000), code('invalid'))
      live.watch.close()
      reaching.watch.close()
    },
  ],
  [
    'a watch from the future ends with compacted, for it comes from another store',
    async store => {
      await store.put('/a', '1')
      assert.equal((await collect(store, '', 99).end())?.code, 'compacted')
    },
  ],
  [
    'after close nothing answers, and watches have ended without error',
    async store => {
      const watch = collect(store, '', 0)
      store.close()
      assert.equal(await watch.end(), undefined)
      await assert.rejects(store.get('/a'), code('unavailable'))
      await assert.rejects(store.put('/a', '1'), code('unavailable'))
    },
  ],
]

/** Declares the suite; `open` gives a fresh, empty store for each case. */
export function storeConformance(name: string, open: () => Promise<StoreUnderTest> | StoreUnderTest): void {
  describe(`${name} is a store`, () => {
    for (const [title, body] of cases) {
      it(title, async () => {
        const { store, done } = await open()
        try {
          await body(store)
        } finally {
          store.close()
          await done()
        }
      })
    }
  })
}
