// IPAM killed between any two writes, or left half done: the next operations repair it.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { IpamError } from '../../core/ipam/plan.ts'
import { addr } from '../../core/net/addr.ts'
import { prefix } from '../../core/net/prefix.ts'
import type { Store } from '../store/store.ts'
import { audit } from './audit.ts'
import { type Ipam, openIpam } from './ipam.ts'
import { ask, assertNothingLeft, assertSound, deps, dyingStore, Killed, open, pools } from './testing.ts'

type Operation = {
  readonly name: string
  /** What it gives addresses to, or takes them from; `h` without. */
  readonly handles?: readonly string[]
  readonly prepare: (ipam: Ipam) => Promise<unknown>
  readonly run: (ipam: Ipam) => Promise<unknown>
}

const MANY = ['h', 'h2', 'h3']

/** All at once; a process that was killed was killed for all of them. */
async function atOnce(works: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(works)) if (outcome.status === 'rejected') throw outcome.reason
}

const operations: readonly Operation[] = [
  {
    name: 'the first assignment',
    prepare: async () => {},
    run: ipam => ipam.autoAssign(ask('a', 'h', { num4: 6, num6: 5 })),
  },
  {
    name: 'an assignment to a new handle from blocks at hand',
    prepare: async ipam => {
      await ipam.autoAssign(ask('a', 'i', { num4: 1, num6: 1 }))
    },
    run: ipam => ipam.autoAssign(ask('a', 'h', { num4: 1, num6: 1, isNewHandle: true })),
  },
  {
    name: 'assignments that share the writes of blocks, one of them refused',
    handles: MANY,
    prepare: ipam => ipam.autoAssign(ask('a', 'i', { num4: 1, num6: 1 })),
    run: ipam =>
      atOnce([
        ...MANY.map(handle => ipam.autoAssign(ask('a', handle, { num6: 1, isNewHandle: true }))),
        ipam.autoAssign(ask('a', 'i', { num6: 1, isNewHandle: true })).catch(error => {
          if (!(error instanceof IpamError)) throw error
        }),
      ]),
  },
  {
    name: 'assignments that share a new block',
    handles: MANY,
    prepare: ipam => ipam.autoAssign(ask('a', 'i', { num4: 3, num6: 1 })),
    run: ipam => atOnce(MANY.map(handle => ipam.autoAssign(ask('a', handle, { num6: 1, isNewHandle: true })))),
  },
  {
    name: 'releases that share the writes of blocks',
    handles: MANY,
    prepare: ipam => Promise.all(MANY.map(handle => ipam.autoAssign(ask('a', handle, { num4: 2, num6: 1 })))),
    run: ipam => atOnce(MANY.map(handle => ipam.releaseByHandle(handle))),
  },
  {
    name: 'borrowing',
    prepare: ipam => ipam.autoAssign(ask('b', 'b', { num4: 14 })),
    run: ipam => ipam.autoAssign(ask('a', 'h', { num4: 2 })),
  },
  {
    name: 'a failing assignment',
    prepare: ipam => ipam.autoAssign(ask('b', 'b', { num6: 1 })),
    run: ipam =>
      ipam.autoAssign(ask('a', 'h', { num4: 2, num6: 9 })).catch(error => {
        if (!(error instanceof IpamError)) throw error
      }),
  },
  {
    name: 'a certain address',
    prepare: async () => {},
    run: ipam => ipam.assignIp(addr('10.0.0.6'), { node: 'a', handle: 'h', pools }),
  },
  {
    name: 'release by handle',
    prepare: ipam => ipam.autoAssign(ask('a', 'h', { num4: 6, num6: 5 })),
    run: ipam => ipam.releaseByHandle('h'),
  },
  {
    name: 'release by address',
    prepare: async ipam => {
      await ipam.assignIp(addr('10.0.0.6'), { node: 'a', handle: 'h', pools })
      await ipam.assignIp(addr('10.0.0.9'), { node: 'a', handle: 'h', pools })
      await ipam.releaseHost('a')
    },
    run: ipam => ipam.releaseIps([{ address: addr('10.0.0.6') }, { address: addr('10.0.0.9') }]),
  },
  {
    name: 'release of a node',
    prepare: async ipam => {
      await ipam.autoAssign(ask('a', 'h', { num4: 4, num6: 1 }))
      await ipam.autoAssign(ask('a', 'i', { num4: 2 }))
      await ipam.releaseByHandle('i')
    },
    run: ipam => ipam.releaseHost('a'),
  },
]

describe('killed between any two writes', () => {
  for (const { name, handles = ['h'], prepare, run } of operations) {
    it(`${name}: the next operations repair it`, async () => {
      let places = 0
      for (let writes = 1; ; writes++) {
        let finished = false
        for (const applies of [false, true]) {
          const { store, ipam } = open()
          await prepare(ipam)
          const killed = await run(openIpam(dyingStore(store, writes, applies), deps)).then(
            () => false,
            error => {
              if (!(error instanceof Killed)) throw error
              return true
            },
          )
          if (!killed) {
            finished = true
            break
          }
          places++
          const at = `write ${writes}, ${applies ? 'done' : 'not done'}`
          assert.deepEqual((await audit(store)).broken, [], at)
          // The container runtime deletes what it was adding, and goes on; the node's next allocation settles its blocks.
          for (const handle of handles) await ipam.releaseByHandle(handle)
          const holders = new Set((await audit(store)).allocated.values())
          for (const handle of handles) assert.ok(!holders.has(handle), at)
          await ipam.autoAssign(ask('a', 'next', { num4: 1, num6: 1 }))
          const after = await audit(store)
          assert.deepEqual(after.broken, [], at)
          assert.deepEqual(
            after.unfinished.filter(line => line.includes('/handle/')),
            [],
            at,
          )
          for (const handle of ['next', 'b', 'i']) await ipam.releaseByHandle(handle)
          for (const node of ['a', 'b']) await ipam.releaseHost(node)
          await assertNothingLeft(store)
        }
        if (finished) break
      }
      assert.ok(places >= 4, `only ${places} places to be killed at`)
    })
  }
})

describe('half-done changes of affinity', () => {
  const one = [{ name: 'one', cidr: prefix('10.0.0.0/30'), blockSize: 30 }]
  const block = '/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30'
  const affinity = '/calico/ipam/v2/host/a/ipv4/block/10.0.0.0-30'
  const strict = { strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 0 }
  const states: readonly (readonly [name: string, make: (store: Store) => Promise<unknown>])[] = [
    ['a block that says whose it is, and no affinity', store => store.delete(affinity)],
    ['a claim whose block is there', store => store.put(affinity, '{"state":"pending","deleted":false}')],
    [
      'a claim without its block',
      async store => {
        await store.put(affinity, '{"state":"pending","deleted":false}')
        await store.delete(block)
      },
    ],
    ['a block that is being given up', store => store.put(affinity, '{"state":"pendingDeletion","deleted":false}')],
    ['a confirmed affinity without its block', store => store.delete(block)],
  ]
  for (const [name, make] of states) {
    it(`${name}: the next allocation has the block`, async () => {
      const { store, ipam } = open()
      await ipam.setConfig(strict)
      await ipam.autoAssign(ask('a', 'h', { pools: one }))
      await ipam.releaseByHandle('h')
      await make(store)
      await ipam.autoAssign(ask('a', 'i', { pools: one }))
      await assertSound(store)
      await ipam.releaseByHandle('i')
      await make(store)
      await ipam.releaseHost('a')
      await store.delete('/calico/ipam/v2/config')
      await assertNothingLeft(store)
    })
  }
})
