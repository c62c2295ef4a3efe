// Assignments, and releases, that come to one process at the same time: what they write, and that none pays for another.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { prefix } from '../../core/net/prefix.ts'
import { type Store, StoreError } from '../store/store.ts'
import { wrap } from '../store/testing.ts'
import { audit } from './audit.ts'
import { openIpam } from './ipam.ts'
import { ask, assertNothingLeft, assertSound, deps, ipamError, open, pools } from './testing.ts'

const WAITING = 20
const wide = [
  { name: 'four', cidr: prefix('10.0.0.0/16') },
  { name: 'six', cidr: prefix('fd00::/112') },
]
const wideAsk = (handle: string, more = {}) => ask('a', handle, { pools: wide, num6: 1, isNewHandle: true, ...more })
const handles = Array.from({ length: WAITING }, (_, i) => `h${i}`)

/** The store, with the keys of its writes, and a say in what becomes of them. */
function listening(store: Store, before: (key: string) => unknown = () => {}): { store: Store; written: string[] } {
  const written: string[] = []
  const heard = async <T>(key: string, write: () => Promise<T>): Promise<T> => {
    await before(key)
    written.push(key)
    return write()
  }
  const put: Store['put'] = (key, ...rest) => heard(key, () => store.put(key, ...rest))
  return {
    store: { ...wrap(store), put, delete: (key, ...rest) => heard(key, () => store.delete(key, ...rest)) },
    written,
  }
}

/** Writes by what they are of. */
const counted = (written: readonly string[]) => ({
  handles: written.filter(key => key.includes('/handle/')).length,
  blocks4: written.filter(key => key.includes('/assignment/ipv4/')).length,
  blocks6: written.filter(key => key.includes('/assignment/ipv6/')).length,
  others: written.filter(key => key.includes('/host/')).length,
})

const refusal = (key: string) => new StoreError('unavailable', 'refused', { key })
const isRefusal = (error: unknown) => error instanceof StoreError && error.message.includes('refused')

describe('at the same time', () => {
  it('twenty assignments write each block at most twice', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(wideAsk('first'))
    const { store: heard, written } = listening(store)
    const busy = openIpam(heard, deps)
    const given = await Promise.all(handles.map(handle => busy.autoAssign(wideAsk(handle))))
    assert.equal(new Set(given.flatMap(({ v4, v6 }) => [...v4, ...v6])).size, 2 * WAITING)
    const { handles: ofHandles, blocks4, blocks6, others } = counted(written)
    assert.deepEqual([ofHandles, others], [WAITING, 0])
    assert.ok(blocks4 <= 2 && blocks6 <= 2, `${blocks4} and ${blocks6} writes of blocks`)
    await assertSound(store)
  })

  it('twenty releases write each block at most twice', async () => {
    const { store, ipam } = open()
    await Promise.all(handles.map(handle => ipam.autoAssign(wideAsk(handle))))
    const { store: heard, written } = listening(store)
    const busy = openIpam(heard, deps)
    const released = await Promise.all(handles.map(handle => busy.releaseByHandle(handle)))
    for (const addresses of released) assert.equal(addresses.length, 2)
    const { handles: ofHandles, blocks4, blocks6, others } = counted(written)
    assert.deepEqual([ofHandles, others], [WAITING, 0])
    assert.ok(blocks4 <= 2 && blocks6 <= 2, `${blocks4} and ${blocks6} writes of blocks`)
    await ipam.releaseHost('a')
    await assertNothingLeft(store)
  })

  it('more than a block has: the rest share the next one, and no block is claimed in vain', async () => {
    const { store, ipam } = open()
    const given = await Promise.all(handles.slice(0, 10).map(handle => ipam.autoAssign(ask('a', handle))))
    assert.equal(new Set(given.flatMap(({ v4 }) => v4)).size, 10)
    assert.equal((await ipam.blocksOf('a')).own.length, 3)
    await assertSound(store)
  })

  it('one handle twice: the new one is given once, a known one what both ask for', async () => {
    const { store, ipam } = open()
    const twice = await Promise.allSettled([1, 2].map(() => ipam.autoAssign(ask('a', 'h', { isNewHandle: true }))))
    assert.deepEqual(twice.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    await Promise.all([1, 2].map(() => ipam.autoAssign(ask('a', 'h'))))
    assert.equal((await audit(store)).allocated.size, 3)
    await assertSound(store)
    const released = await Promise.all([1, 2].map(() => ipam.releaseByHandle('h')))
    assert.ok(released.some(addresses => addresses.length === 3))
    await ipam.releaseHost('a')
    await assertNothingLeft(store)
  })
})

describe('one of several', () => {
  it('that cannot be served does not keep the others from their addresses', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(ask('a', 'taken'))
    await store.put('/calico/ipam/v2/handle/unreadable', 'no JSON')
    const { store: heard } = listening(store, key => {
      if (key.endsWith('/handle/forbidden')) throw refusal(key)
    })
    const busy = openIpam(heard, deps)
    const works = [
      busy.autoAssign(ask('a', 'good1', { num6: 1 })),
      busy.autoAssign(ask('a', 'taken', { isNewHandle: true })),
      busy.autoAssign(ask('a', 'unreadable')),
      busy.autoAssign(ask('a', 'forbidden', { isNewHandle: true })),
      busy.autoAssign(ask('a', 'toomany', { num4: 1, num6: 9 })),
      busy.autoAssign(ask('a', 'good2', { num6: 1 })),
    ] as const
    await Promise.allSettled(works)
    for (const good of [works[0], works[5]]) {
      const { v4, v6 } = await good
      assert.deepEqual([v4.length, v6.length], [1, 1])
    }
    await assert.rejects(works[1], ipamError('exists'))
    await assert.rejects(works[2], ipamError('corrupt'))
    await assert.rejects(works[3], isRefusal)
    await assert.rejects(works[4], ipamError('exhausted'))
    await store.delete('/calico/ipam/v2/handle/unreadable')
    assert.deepEqual([...new Set((await audit(store)).allocated.values())].sort(), ['good1', 'good2', 'taken'])
    await assertSound(store)
  })

  it('that cannot be released does not keep the others from their release', async () => {
    const { store, ipam } = open()
    for (const handle of ['good1', 'forbidden', 'good2']) await ipam.autoAssign(ask('a', handle))
    await store.put('/calico/ipam/v2/handle/unreadable', 'no JSON')
    const { store: heard } = listening(store, key => {
      if (key.endsWith('/handle/forbidden')) throw refusal(key)
    })
    const busy = openIpam(heard, deps)
    const works = ['good1', 'unreadable', 'forbidden', 'good2'].map(handle => busy.releaseByHandle(handle))
    await Promise.allSettled(works)
    assert.deepEqual([(await works[0])!.length, (await works[3])!.length], [1, 1])
    await assert.rejects(works[1]!, ipamError('corrupt'))
    await assert.rejects(works[2]!, isRefusal)
    await store.delete('/calico/ipam/v2/handle/unreadable')
    await ipam.releaseByHandle('forbidden')
    await ipam.releaseHost('a')
    await assertNothingLeft(store)
  })
})

describe('a write of a block', () => {
  it('that another process was faster with is made again, for all', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(wideAsk('first'))
    let rivals = 3
    const { store: heard } = listening(store, async key => {
      if (key.includes('/assignment/ipv4/') && rivals-- > 0) await ipam.autoAssign(wideAsk(`rival${rivals}`))
    })
    const busy = openIpam(heard, deps)
    await Promise.all(handles.map(handle => busy.autoAssign(wideAsk(handle))))
    assert.equal((await audit(store)).allocated.size, 2 * (1 + 3 + WAITING))
    await assertSound(store)
  })

  it('that fails fails all that were in it, and they may come again', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(ask('a', 'first'))
    let isAway = true
    const { store: heard } = listening(store, key => {
      if (isAway && key.includes('/assignment/')) throw refusal(key)
    })
    const busy = openIpam(heard, deps)
    const few = handles.slice(0, 3)
    for (const { status, reason } of (await Promise.allSettled(
      few.map(handle => busy.autoAssign(ask('a', handle))),
    )) as PromiseRejectedResult[]) {
      assert.equal(status, 'rejected')
      assert.ok(isRefusal(reason))
    }
    assert.equal((await audit(store)).allocated.size, 1)
    isAway = false
    await Promise.all(few.map(handle => busy.autoAssign(ask('a', handle, { pools }))))
    assert.equal((await audit(store)).allocated.size, 4)
    await assertSound(store)
  })
})
