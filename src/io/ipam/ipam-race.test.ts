// IPAM of several hosts and processes at once, every interleaving chosen by fast-check's scheduler, some of them killed:
// no address twice, none lost, none leaked, both families or neither.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { decodeBlock } from '../../core/ipam/block.ts'
import { IpamError } from '../../core/ipam/plan.ts'
import { type Addr, addr } from '../../core/net/addr.ts'
import { prefix } from '../../core/net/prefix.ts'
import { openMemory } from '../store/memory.ts'
import { type Store, StoreError } from '../store/store.ts'
import { wrap } from '../store/testing.ts'
import { audit } from './audit.ts'
import { openIpam } from './ipam.ts'
import { ask, assertNothingLeft, deps, dyingStore, ipamError, Killed, pools } from './testing.ts'

type Action =
  | { readonly kind: 'assign'; readonly num4: number; readonly num6: number; readonly dies: number }
  /** Of one process, all at once: additions of so many addresses, and releases of so many of its handles. */
  | { readonly kind: 'burst'; readonly adds: readonly number[]; readonly releases: number; readonly dies: number }
  | { readonly kind: 'certain'; readonly last: number }
  | { readonly kind: 'release'; readonly which: number; readonly dies: number }
  | { readonly kind: 'releaseIp'; readonly which: number }
  | { readonly kind: 'leave'; readonly host: number }

const dies = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 8 }) },
)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('assign' as const), num4: fc.nat(3), num6: fc.nat(2), dies }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('burst' as const),
      adds: fc.array(fc.integer({ min: 1, max: 2 }), { maxLength: 4 }),
      releases: fc.nat(3),
      dies,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('certain' as const), last: fc.nat(15) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(20), dies }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('releaseIp' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), host: fc.nat(2) }) },
)
const history = fc.array(action, { maxLength: 10 })

/** What went right, wrong and was killed over all runs, so that the property cannot pass by doing nothing. */
const seen = { assigned: 0, refused: 0, killed: 0, released: 0, peaceful: 0, shared: 0 }

/** The store, where every step waits for its turn, and the scheduler gives the turns. */
function inTurns(store: Store, scheduler: fc.Scheduler): Store {
  const turn = () => scheduler.schedule(Promise.resolve(), 'step')
  return {
    ...wrap(store),
    get: key => turn().then(() => store.get(key)),
    list: prefix => turn().then(() => store.list(prefix)),
    put: (...args) => turn().then(() => store.put(...args)),
    delete: (...args) => turn().then(() => store.delete(...args)),
  }
}

/** The store, where a block in which a node takes addresses that is not its owner fails the test. */
const strictStore = (store: Store): Store => ({
  ...wrap(store),
  put: async (key, value, condition) => {
    const stored = await store.get(key)
    const written = await store.put(key, value, condition)
    const next = decodeBlock(value)
    const old = stored && stored.modRevision === condition?.ifRevision ? decodeBlock(stored.value) : undefined
    if (!next.ok || !old?.ok) return written
    next.value.allocations.forEach((index, ordinal) => {
      if (index === null || old.value.allocations[ordinal] !== null) return
      assert.equal(`host:${next.value.attributes[index]?.secondary.get('node')}`, next.value.affinity)
    })
    return written
  },
})

async function runHistories(
  scheduler: fc.Scheduler,
  histories: readonly (readonly Action[])[],
  strict: boolean,
): Promise<void> {
  const store = openMemory()
  if (strict)
    await openIpam(store, deps).setConfig({ strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 2 })
  const scheduled = inTurns(strict ? strictStore(store) : store, scheduler)
  let killed = 0
  const held = new Map<Addr, string>()
  const handles = new Set<string>()
  const uncertain = new Set<string>()
  const take = (addresses: readonly Addr[], handle: string) => {
    for (const address of addresses) {
      assert.equal(held.get(address), undefined, `${address} given twice`)
      held.set(address, handle)
    }
  }
  const drop = (handle: string) => {
    for (const [address, holder] of held) if (holder === handle) held.delete(address)
  }
  const expected = (error: unknown) => {
    if (error instanceof Killed) killed++
    else if (error instanceof IpamError && error.code !== 'corrupt' && error.code !== 'retries') seen.refused++
    else throw error
    return error instanceof Killed
  }

  const live = async (host: number, actions: readonly Action[]) => {
    const node = `host${host}`
    const own: string[] = []
    const start = (dies: number) => openIpam(dies > 0 ? dyingStore(scheduled, dies, dies % 2 === 0) : scheduled, deps)
    const ipam = start(0)
    for (const [i, step] of actions.entries()) {
      const handle = `${node}.${i}`
      switch (step.kind) {
        case 'assign':
        case 'certain':
          handles.add(handle)
          try {
            if (step.kind === 'certain') {
              const address = addr(`10.0.0.${step.last}`)
              await ipam.assignIp(address, { node, handle, pools })
              take([address], handle)
            } else {
              const { v4, v6 } = await start(step.dies).autoAssign(
                ask(node, handle, { num4: step.num4, num6: step.num6 }),
              )
              assert.deepEqual([v4.length, v6.length], [step.num4, step.num6])
              take([...v4, ...v6], handle)
            }
            seen.assigned++
            own.push(handle)
          } catch (error) {
            if (expected(error)) {
              uncertain.add(handle)
              own.push(handle)
            } else {
              assert.ok(![...(await audit(store)).allocated.values()].includes(handle), 'a refusal left an address')
            }
          }
          break
        case 'burst': {
          const ipam = start(step.dies)
          const leaving = own.splice(0, step.releases)
          for (const target of leaving) {
            drop(target)
            uncertain.add(target)
          }
          const settle = async (work: Promise<unknown>, done: () => void, failed: () => void): Promise<void> => {
            try {
              await work
            } catch (error) {
              return expected(error) ? failed() : undefined
            }
            done()
          }
          const additions = step.adds.map((num4, j) => {
            const burst = `${handle}.${j}`
            handles.add(burst)
            const given = ipam.autoAssign(ask(node, burst, { num4, num6: j % 2, isNewHandle: true }))
            const taken = given.then(({ v4, v6 }) => take([...v4, ...v6], burst))
            return settle(
              taken,
              () => {
                own.push(burst)
                seen.assigned++
              },
              () => {
                own.push(burst)
                uncertain.add(burst)
              },
            )
          })
          const releases = leaving.map(target =>
            settle(
              ipam.releaseByHandle(target),
              () => {
                uncertain.delete(target)
                seen.released++
              },
              () => {},
            ),
          )
          await Promise.all([...additions, ...releases])
          if (additions.length > 1 || releases.length > 1) seen.shared++
          break
        }
        case 'release': {
          const [target] = own.splice(step.which % Math.max(own.length, 1), 1)
          if (target === undefined) break
          drop(target)
          uncertain.add(target)
          try {
            await start(step.dies).releaseByHandle(target)
            uncertain.delete(target)
            seen.released++
          } catch (error) {
            expected(error)
          }
          break
        }
        case 'releaseIp': {
          const mine = [...held].filter(([, holder]) => own.includes(holder))
          const chosen = mine[step.which % Math.max(mine.length, 1)]
          if (!chosen) break
          held.delete(chosen[0])
          assert.deepEqual(await ipam.releaseIps([{ address: chosen[0], handle: chosen[1] }]), [])
          break
        }
        case 'leave':
          await ipam.releaseHost(`host${step.host}`)
      }
      const { broken } = await audit(store)
      assert.deepEqual(broken, [])
    }
  }
  await scheduler.waitFor(Promise.all(histories.map((actions, host) => live(host, actions))))
  seen.killed += killed
  seen.peaceful += killed === 0 ? 1 : 0

  const { broken, unfinished, allocated } = await audit(store)
  assert.deepEqual(broken, [])
  if (killed === 0) assert.deepEqual(unfinished, [], 'nobody died, so nothing is half done')
  for (const [address, handle] of held) assert.equal(allocated.get(address), handle, `${address} lost`)
  for (const [address, handle] of allocated) {
    assert.ok(held.has(address) || uncertain.has(handle!), `${address} leaked under ${handle}`)
  }
  const ipam = openIpam(store, deps)
  for (const handle of handles) await ipam.releaseByHandle(handle)
  for (const host of [0, 1, 2]) await ipam.releaseHost(`host${host}`)
  if (strict) await store.delete('/calico/ipam/v2/config')
  await assertNothingLeft(store)
}

describe('one handle added and deleted at once, after a killed addition', () => {
  it('leaves no address that the handle does not name', async () => {
    const deaths = fc.integer({ min: 0, max: 8 })
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        deaths,
        fc.array(fc.boolean(), { minLength: 2, maxLength: 4 }),
        fc.boolean(),
        async (scheduler, death, adds, isOneProcess) => {
          const store = openMemory()
          await openIpam(dyingStore(store, death, true), deps)
            .autoAssign(ask('a', 'h'))
            .catch(() => {})
          const scheduled = inTurns(store, scheduler)
          const process = openIpam(scheduled, deps)
          const work = adds.map((add, i) => {
            const ipam = isOneProcess ? process : openIpam(scheduled, deps)
            return add ? ipam.autoAssign(ask(i % 2 === 0 ? 'a' : 'b', 'h')) : ipam.releaseByHandle('h')
          })
          await scheduler.waitFor(Promise.all(work))
          assert.deepEqual((await audit(store)).broken, [])
          const ipam = openIpam(store, deps)
          await ipam.releaseByHandle('h')
          for (const node of ['a', 'b']) await ipam.releaseHost(node)
          await assertNothingLeft(store)
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('a release by address that has to start again', () => {
  it('does not take what has been given to another meanwhile', async () => {
    const pair = [{ name: 'pair', cidr: prefix('10.0.0.0/31'), blockSize: 31 }]
    let given = 0
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), async scheduler => {
        const store = openMemory()
        await openIpam(store, deps).autoAssign(ask('a', 'h', { pools: pair, num4: 2 }))
        const scheduled = inTurns(store, scheduler)
        const releases = [0, 1].map(i => openIpam(scheduled, deps).releaseIps([{ address: addr(`10.0.0.${i}`) }]))
        const got = ['x', 'y'].map(async handle => {
          try {
            const { v4 } = await openIpam(scheduled, deps).autoAssign(ask('b', handle, { pools: pair }))
            return [v4[0]!, handle] as const
          } catch (error) {
            ipamError('exhausted')(error)
            return undefined
          }
        })
        await scheduler.waitFor(Promise.all([...releases, ...got]))
        const { broken, unfinished, allocated } = await audit(store)
        assert.deepEqual([broken, unfinished], [[], []])
        const expected = (await Promise.all(got)).flatMap(pair => (pair ? [pair] : []))
        assert.deepEqual(allocated, new Map(expected))
        given += expected.length
      }),
      { numRuns: 300 },
    )
    assert.ok(given > 30, `only ${given} addresses were given meanwhile`)
  })
})

describe('three hosts at once', () => {
  it('give no address twice, lose none, leak none, and give both families or neither', async () => {
    await fc.assert(fc.asyncProperty(fc.scheduler(), fc.tuple(history, history, history), fc.boolean(), runHistories), {
      numRuns: 400,
    })
    for (const [what, count] of Object.entries(seen)) assert.ok(count > 20, `${what}: ${count}`)
  })

  it('says so when there is no end to the conflicts', async () => {
    const store = openMemory()
    const contested: Store = {
      ...wrap(store),
      put: async (key, value, condition) => {
        if (key.includes('/assignment/') && condition?.ifRevision !== 0)
          throw new StoreError('conflict', 'always', { key })
        return store.put(key, value, condition)
      },
    }
    await assert.rejects(
      openIpam(contested, deps).autoAssign(ask('a', 'h')),
      ipamError('retries', /^Max retries hit - excessive concurrent IPAM requests$/),
    )
  })
})
