// The list-watch of all resources: what a receiver is told equals what the store holds, whatever happens in between.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { applyChanges } from '../../core/base/change.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import type { Resource } from '../../core/resources/resource.ts'
import { openMemory } from './memory.ts'
import { type ResourceHandlers, readSnapshot, type WatchAllOptions, watchAll } from './resource-watch.ts'
import { type Store, StoreError } from './store.ts'
import { wrap } from './testing.ts'

const PREFIX = '/calico/resources/v3/projectcalico.org/'
const KEY = `${PREFIX}globalnetworksets/`
const text = (name: string, spec: object = {}): string =>
  JSON.stringify({ kind: 'GlobalNetworkSet', apiVersion: 'projectcalico.org/v3', metadata: { name }, spec })

/** A receiver that keeps what it is told. */
function receive(store: Store, options: WatchAllOptions = {}, more: Partial<ResourceHandlers> = {}) {
  const held = new Map<ResourceKey, Resource>()
  const bad = new Map<ResourceKey, number>()
  let synced = 0
  const watch = watchAll(
    store,
    {
      changes: changes => void applyChanges(held, changes),
      inSync: () => void synced++,
      undecodable: (key, problems) => void (problems.length > 0 ? bad.set(key, problems.length) : bad.delete(key)),
      ...more,
    },
    options,
  )
  return { held, bad, watch, synced: () => synced }
}

/** Lets everything that is under way in this process finish. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
}

test('what is there, then inSync, then what happens', async () => {
  const store = openMemory()
  await store.put(`${KEY}a`, text('a'))
  await store.put(
    '/registry/namespaces/n',
    JSON.stringify({ kind: 'Namespace', apiVersion: 'v1', metadata: { name: 'n' } }),
  )
  await store.put('/calico/ipam/v2/config', '{}')
  const seen: string[] = []
  const watch = watchAll(store, {
    changes: changes => void seen.push(...changes.map(({ key, value }) => `${value ? '+' : '-'}${key}`)),
    inSync: () => void seen.push('in sync'),
    undecodable: key => void seen.push(`?${key}`),
  })
  assert.deepEqual(seen, [])
  await settle()
  assert.deepEqual(seen.splice(0), ['+GlobalNetworkSet//a', '+Namespace//n', 'in sync'])
  await store.put(`${KEY}b`, text('b'))
  await store.delete(`${KEY}a`)
  await settle()
  assert.deepEqual(seen.splice(0), ['+GlobalNetworkSet//b', '-GlobalNetworkSet//a'])
  await store.put(`${KEY}c`, 'junk')
  await settle()
  assert.deepEqual(seen.splice(0), ['?GlobalNetworkSet//c'])
  watch.close()
  await store.put(`${KEY}d`, text('d'))
  await settle()
  assert.deepEqual(seen, [])
})

test('a resource that becomes unreadable stays as it was last meant, and is reported until it is well', async () => {
  const store = openMemory()
  const { held, bad, watch } = receive(store)
  await store.put(`${KEY}a`, text('a', { nets: ['10.0.0.1'] }))
  await settle()
  await store.put(`${KEY}a`, text('a', { nets: ['nonsense'] }))
  await settle()
  const key = 'GlobalNetworkSet//a' as ResourceKey
  assert.deepEqual([...bad.keys()], [key])
  assert.deepEqual(held.get(key)?.spec, { nets: ['10.0.0.1'] })
  await store.put(`${KEY}a`, text('a', { nets: ['10.0.0.2'] }))
  await settle()
  assert.deepEqual([...bad.keys()], [])
  assert.deepEqual(held.get(key)?.spec, { nets: ['10.0.0.2'] })
  await store.put(`${KEY}a`, 'junk')
  await store.delete(`${KEY}a`)
  await settle()
  assert.deepEqual([held.size, bad.size], [0, 0])
  watch.close()
})

test('fields of a newer version are reported', async () => {
  const store = openMemory()
  const unknown: string[] = []
  const { held, watch } = receive(
    store,
    {},
    { unknownFields: (_, problems) => void unknown.push(...problems.map(p => p.path)) },
  )
  await store.put(`${KEY}a`, text('a', { shiny: true }))
  await settle()
  assert.deepEqual([unknown, held.size], [['spec.shiny'], 1])
  watch.close()
})

test('after compaction the list is read anew and the difference told', async () => {
  const inner = openMemory()
  // The watch ends as if history had been dropped while the receiver was away.
  let end: (() => void) | undefined
  let live = true
  const store: Store = {
    ...wrap(inner),
    watch: (prefix, after, handlers) => {
      end = () => handlers.closed(new StoreError('compacted', 'gone'))
      return live ? inner.watch(prefix, after, handlers) : { close: () => {} }
    },
  }
  await inner.put(`${KEY}a`, text('a'))
  await inner.put(`${KEY}b`, text('b'))
  live = false
  const { held, watch, synced } = receive(store, { prefixes: [PREFIX] })
  await settle()
  await inner.delete(`${KEY}a`)
  await inner.put(`${KEY}c`, text('c'))
  await settle()
  assert.deepEqual([...held.keys()], ['GlobalNetworkSet//a', 'GlobalNetworkSet//b'])
  live = true
  end?.()
  await settle()
  assert.deepEqual([...held.keys()], ['GlobalNetworkSet//b', 'GlobalNetworkSet//c'])
  await inner.put(`${KEY}d`, text('d'))
  await settle()
  assert.deepEqual([...held.keys()], ['GlobalNetworkSet//b', 'GlobalNetworkSet//c', 'GlobalNetworkSet//d'])
  assert.equal(synced(), 1)
  watch.close()
})

test('a store that is away is tried again', async () => {
  const inner = openMemory()
  await inner.put(`${KEY}a`, text('a'))
  let failures = 2
  const errors: unknown[] = []
  const store: Store = {
    ...wrap(inner),
    list: prefix => (failures-- > 0 ? Promise.reject(new StoreError('unavailable', 'away')) : inner.list(prefix)),
  }
  const done = Promise.withResolvers<void>()
  const handlers = { unavailable: (error: unknown) => void errors.push(error), inSync: done.resolve }
  const { held, watch } = receive(store, { prefixes: [PREFIX], retryAfter: 1 }, handlers)
  await done.promise
  assert.deepEqual([errors.length, held.size], [2, 1])
  watch.close()
})

test('for random histories the receiver holds what a fresh reader would', async () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const step = fc.oneof(
    fc.record({ put: name, nets: fc.subarray(['10.0.0.1', '10.0.0.2', 'bad']) }),
    fc.record({ delete: name }),
    fc.constant({ compact: true }),
    fc.constant({ settle: true }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async steps => {
      const store = openMemory()
      const { held, bad, watch } = receive(store)
      for (const action of steps) {
        if ('put' in action) await store.put(KEY + action.put, text(action.put, { nets: action.nets }))
        else if ('delete' in action) await store.delete(KEY + action.delete)
        else if ('compact' in action) await store.compact((await store.list('/')).revision)
        else await settle()
      }
      await settle()
      watch.close()
      const fresh = await readSnapshot(store)
      assert.deepEqual([...bad.keys()].sort(), fresh.undecodable.map(({ key }) => key).sort())
      for (const key of bad.keys()) held.delete(key)
      assert.deepEqual(new Map([...held].sort()), new Map([...fresh.snapshot].sort()))
    }),
    { numRuns: 100 },
  )
})
