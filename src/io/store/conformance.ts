// What every store must do, as one suite that each driver's tests run against a fresh store. It says what a caller may
// rely on; a driver's own strengths (restart, retry) are tested beside that driver. Stores that keep what they are given, byte
// for byte and with a count of their own, have a second suite; the API server keeps objects, and counts for all its clients.
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

/** What a store calls the keys and values of the suite. */
export type Dialect = {
  /** Keys of different names are different, sort as their names do, and begin with those of `prefix`. */
  readonly key: (name: string) => string
  readonly prefix: string
  /** A value that differs for each number. */
  readonly value: (n: number) => string
  /** The number of a value as it came back. */
  readonly number: (text: string) => number
}

const PLAIN: Dialect = {
  key: name => `/${name}`,
  prefix: '/',
  value: n => String(n),
  number: text => Number(text),
}

type Case = readonly [name: string, body: (store: Store, dialect: Dialect) => Promise<void>]

/** `put /a=1`, `delete /a`: without revisions. */
const told = ({ number }: Dialect, events: readonly StoreEvent[]): string[] =>
  events.map(event =>
    event.kind === 'put' ? `put ${event.entry.key}=${number(event.entry.value)}` : `delete ${event.key}`,
  )

const ascending = (revisions: readonly number[]): boolean => revisions.every((r, i) => i === 0 || r > revisions[i - 1]!)

const sharedCases: readonly Case[] = [
  [
    'a key that is not there is undefined, its deletion false',
    async (store, { key, prefix }) => {
      assert.equal(await store.get(key('a')), undefined)
      assert.equal(await store.delete(key('a')), false)
      assert.deepEqual((await store.list(prefix)).entries, [])
    },
  ],
  [
    'what was put is got and listed, with the revision of its last write',
    async (store, { key, value, number, prefix }) => {
      const first = await store.put(key('a'), value(1))
      const other = await store.put(key('b'), value(2))
      const second = await store.put(key('a'), value(3))
      assert.ok(ascending([first, other, second].map(({ modRevision }) => modRevision)))
      assert.equal(second.key, key('a'))
      assert.equal(number(second.value), 3)
      assert.equal((await store.get(key('a')))?.modRevision, second.modRevision)
      const { entries, revision } = await store.list(prefix)
      assert.deepEqual(
        entries.map(entry => [entry.key, number(entry.value), entry.modRevision]),
        [
          [key('a'), 3, second.modRevision],
          [key('b'), 2, other.modRevision],
        ],
      )
      assert.ok(revision >= second.modRevision)
      assert.equal(await store.delete(key('a')), true)
      assert.equal(await store.get(key('a')), undefined)
      assert.ok((await store.put(key('a'), value(4))).modRevision > second.modRevision)
    },
  ],
  [
    'a list is sorted and holds the prefix only',
    async (store, { key, value, prefix }) => {
      const names = ['b', 'a.b', 'a', 'a0', 'ab', 'z']
      for (const name of names) await store.put(key(name), value(0))
      const listed = async (at: string) => (await store.list(at)).entries.map(entry => entry.key)
      assert.deepEqual(await listed(prefix), [...names].sort().map(key))
      assert.deepEqual(await listed(key('a')), ['a', 'a.b', 'a0', 'ab'].map(key))
      assert.deepEqual(await listed(key('zzz')), [])
    },
  ],
  [
    'compare-and-set: a write with a revision needs that revision',
    async (store, { key, value, number }) => {
      const a = key('a')
      const made = await store.put(a, value(1), { ifRevision: 0 })
      await assert.rejects(store.put(a, value(2), { ifRevision: 0 }), code('conflict', made.modRevision))
      const next = await store.put(a, value(2), { ifRevision: made.modRevision })
      const stale = { ifRevision: made.modRevision }
      await assert.rejects(store.put(a, value(3), stale), code('conflict', next.modRevision))
      await assert.rejects(store.delete(a, stale), code('conflict', next.modRevision))
      await assert.rejects(store.put(key('none'), value(1), { ifRevision: 7 }), code('conflict', 0))
      await assert.rejects(store.delete(key('none'), { ifRevision: 7 }), code('conflict', 0))
      assert.equal(number((await store.get(a))!.value), 2)
      assert.equal(await store.delete(a, { ifRevision: next.modRevision }), true)
    },
  ],
  [
    'of many writes with the same condition one wins',
    async (store, { key, value, number }) => {
      const tries = Array.from({ length: 20 }, (_, i) => store.put(key('a'), value(i), { ifRevision: 0 }))
      const results = await Promise.allSettled(tries)
      const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []))
      assert.equal(winners.length, 1)
      assert.equal(number((await store.get(key('a')))!.value), winners[0])
    },
  ],
  [
    'a watch brings the past, then the present, in order, its prefix only',
    async (store, dialect) => {
      const { key, value, prefix } = dialect
      const before = await store.put(key('x'), value(0))
      const middle = await store.put(key('a1'), value(1))
      await store.put(key('b1'), value(1))
      await store.put(key('a2'), value(1))
      await store.delete(key('a1'))
      const now = (await store.list(prefix)).revision
      const all = collect(store, key('a'), before.modRevision)
      const later = collect(store, key('a'), middle.modRevision)
      const live = collect(store, key('a'), now)
      await all.until(3)
      await store.put(key('a1'), value(2))
      await store.put(key('b1'), value(2))
      await store.delete(key('a2'))
      await Promise.all([all.until(5), later.until(4), live.until(2)])
      const past = [`put ${key('a1')}=1`, `put ${key('a2')}=1`, `delete ${key('a1')}`]
      const present = [`put ${key('a1')}=2`, `delete ${key('a2')}`]
      assert.deepEqual(told(dialect, all.events), [...past, ...present])
      assert.deepEqual(told(dialect, later.events), [...past.slice(1), ...present])
      assert.deepEqual(told(dialect, live.events), present)
      assert.ok(ascending(all.events.map(eventRevision)))
      for (const { watch } of [all, later, live]) watch.close()
    },
  ],
  [
    'a watch misses nothing while writes go on, and its revisions only grow',
    async (store, { key, value, number, prefix }) => {
      const { revision } = await store.list(prefix)
      const first = await store.put(key('first'), value(0))
      const watch = collect(store, prefix, revision || first.modRevision - 1)
      // Seven writers, each a row of values.
      const writer = async (w: number) => {
        for (let n = 1; n <= 60; n++) await store.put(key(`k${w}`), value(n))
      }
      await Promise.all(Array.from({ length: 7 }, (_, w) => writer(w)))
      await watch.until(421)
      assert.ok(ascending(watch.events.map(eventRevision)))
      for (let w = 0; w < 7; w++) {
        const seen = watch.events.flatMap(event =>
          event.kind === 'put' && event.entry.key === key(`k${w}`) ? [number(event.entry.value)] : [],
        )
        assert.deepEqual(
          seen,
          Array.from({ length: 60 }, (_, i) => i + 1),
        )
      }
      let count = 0
      for (const { size, revision: upTo } of watch.batches) {
        count += size
        assert.equal(upTo, eventRevision(watch.events[count - 1]!), 'a batch ends at its last revision')
      }
      watch.watch.close()
    },
  ],
  [
    'a closed watch is silent',
    async (store, { key, value, prefix }) => {
      const { modRevision } = await store.put(key('x'), value(0))
      const closed = collect(store, prefix, modRevision)
      const open = collect(store, prefix, modRevision)
      closed.watch.close()
      await store.put(key('a'), value(1))
      await open.until(1)
      await store.get(key('a'))
      assert.equal(closed.events.length, 0)
      closed.watch.close()
      open.watch.close()
    },
  ],
  [
    'after close nothing answers, and watches have ended without error',
    async (store, { key, value, prefix }) => {
      const { modRevision } = await store.put(key('x'), value(0))
      const watch = collect(store, prefix, modRevision)
      store.close()
      assert.equal(await watch.end(), undefined)
      await assert.rejects(store.get(key('a')), code('unavailable'))
      await assert.rejects(store.put(key('a'), value(1)), code('unavailable'))
    },
  ],
]

/** For stores that keep bytes and count their writes. */
const countingCases: readonly (readonly [name: string, body: (store: Store) => Promise<void>])[] = [
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
]

function declare(
  title: string,
  cases: readonly Case[],
  open: () => Promise<StoreUnderTest> | StoreUnderTest,
  dialect: Dialect,
) {
  describe(title, () => {
    for (const [name, body] of cases) {
      it(name, async () => {
        const { store, done } = await open()
        try {
          await body(store, dialect)
        } finally {
          store.close()
          await done()
        }
      })
    }
  })
}

/** Declares the suite that holds for every store; `open` gives a fresh, empty store for each case. */
export const sharedConformance = (
  name: string,
  open: () => Promise<StoreUnderTest> | StoreUnderTest,
  dialect: Dialect,
): void => declare(`${name} is a store`, sharedCases, open, dialect)

/** Declares both suites; `open` gives a fresh, empty store for each case. */
export function storeConformance(name: string, open: () => Promise<StoreUnderTest> | StoreUnderTest): void {
  declare(`${name} is a store`, [...sharedCases, ...countingCases], open, PLAIN)
}
