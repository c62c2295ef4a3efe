// The cached store passes what every store passes, and asks the store behind it no more than it must.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { CachedStore } from './cached.ts'
import { collect, printEvent, storeConformance } from './conformance.ts'
import { openMemory } from './memory.ts'
import type { Store } from './store.ts'
import { wrap } from './testing.ts'

storeConformance('cached', () => ({ store: new CachedStore(openMemory(), ['/']), done: () => {} }))
storeConformance('cached in part', () => ({ store: new CachedStore(openMemory(), ['/a/', '/x/']), done: () => {} }))

/** Two clients of one store; reads that reach it are counted. */
function world() {
  const inner = openMemory()
  const asked: string[] = []
  const counted: Store = {
    get: key => {
      asked.push(`get ${key}`)
      return inner.get(key)
    },
    list: prefix => {
      asked.push(`list ${prefix}`)
      return inner.list(prefix)
    },
    put: (key, value, condition) => inner.put(key, value, condition),
    delete: (key, condition) => inner.delete(key, condition),
    watch: (prefix, after, handlers) => inner.watch(prefix, after, handlers),
    compact: revision => inner.compact(revision),
    close: () => {},
  }
  return { other: inner, asked, store: new CachedStore(counted, ['/b/']) }
}

describe('a cached store', () => {
  it('reads a collection once, and hears of what others write', async () => {
    const { other, asked, store } = world()
    await other.put('/b/1', '1')
    assert.equal((await store.get('/b/1'))?.value, '1')
    await other.put('/b/1', '2')
    await other.put('/b/2', '2')
    await turn()
    assert.equal((await store.get('/b/1'))?.value, '2')
    assert.deepEqual(
      (await store.list('/b/')).entries.map(({ key }) => key),
      ['/b/1', '/b/2'],
    )
    await other.delete('/b/1')
    await turn()
    assert.equal(await store.get('/b/1'), undefined)
    assert.deepEqual(asked, ['list /b/'])
    await store.get('/c')
    assert.deepEqual(asked, ['list /b/', 'get /c'])
  })

  it('shows its own writes at once', async () => {
    const { asked, store } = world()
    await store.list('/b/')
    const entry = await store.put('/b/1', '1', { ifRevision: 0 })
    assert.deepEqual(await store.get('/b/1'), entry)
    await store.delete('/b/1', { ifRevision: entry.modRevision })
    assert.equal(await store.get('/b/1'), undefined)
    await turn()
    assert.equal(await store.get('/b/1'), undefined)
    assert.deepEqual((await store.list('/b/')).entries, [])
    assert.ok(asked.length <= 3, asked.join(', '))
  })

  it('reads from the store after a write that an old answer made fail', async () => {
    const { other, asked, store } = world()
    const first = await store.put('/b/1', '1')
    await store.get('/b/1')
    await other.put('/b/1', 'theirs')
    await assert.rejects(store.put('/b/1', 'mine', { ifRevision: first.modRevision }), /conflict|changed|revision/)
    const now = await store.get('/b/1')
    assert.equal(now?.value, 'theirs')
    await store.put('/b/1', 'mine', { ifRevision: now!.modRevision })
    assert.equal((await other.get('/b/1'))?.value, 'mine')
    assert.ok(asked.includes('get /b/1'))
  })

  it('gives who follows a list from here each event once, in order', async () => {
    const { other, store } = world()
    await other.put('/b/0', '0')
    const { revision } = await store.list('/b/')
    const seen = collect(store, '/b/', revision)
    await other.put('/b/1', '1')
    await store.put('/b/2', '2')
    await other.delete('/b/0')
    await seen.until(3)
    assert.deepEqual(seen.events.map(printEvent), ['put /b/1=1@2', 'put /b/2=2@3', 'delete /b/0@4'])
    seen.watch.close()
  })

  it('remembers what it wrote itself of a collection that it does not follow', async () => {
    const { other, asked, store: behind } = world()
    const store = new CachedStore({ ...wrap(behind), watch: () => assert.fail('followed') }, [], '/own/')
    const entry = await store.put('/own/1', '1', { ifRevision: 0 })
    assert.deepEqual(await store.get('/own/1'), entry)
    assert.deepEqual(asked, [])
    await other.put('/own/1', 'theirs')
    await assert.rejects(store.put('/own/1', '2', { ifRevision: entry.modRevision }))
    assert.equal((await store.get('/own/1'))?.value, 'theirs')
    await store.put('/own/1', '3')
    await store.delete('/own/1')
    assert.equal(await store.get('/own/1'), undefined)
    assert.deepEqual(asked, ['get /own/1', 'get /own/1'])
  })

  it('tries again when the first list failed', async () => {
    const inner = openMemory()
    let fail = true
    const list: Store['list'] = prefix => (fail ? Promise.reject(new Error('away')) : inner.list(prefix))
    const store = new CachedStore({ ...wrap(inner), list }, ['/b/'])
    await assert.rejects(store.get('/b/1'), /away/)
    fail = false
    assert.equal(await store.get('/b/1'), undefined)
  })
})
