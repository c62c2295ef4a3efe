// Every write boundary of every operation, for three hosts: one is stopped there, another then does each operation, and
// the collection mends the rest. Counted, so that nothing is enumerated that is not there.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { IpamWorld, podAttributes } from '../../../test/support/ipam-world.ts'
import { IpamError } from '../../core/ipam/plan.ts'
import { type Addr, addr } from '../../core/net/addr.ts'
import { prefix } from '../../core/net/prefix.ts'
import { openMemory } from '../store/memory.ts'
import { audit } from './audit.ts'
import { type Ipam, openIpam } from './ipam.ts'
import { ask, deps, dyingStore, Killed, pools } from './testing.ts'

const HOSTS = ['a', 'b', 'c'] as const
type Host = (typeof HOSTS)[number]
/** Each host has the block of four with its number; 10.0.0.12/30 is nobody's. */
const base = (host: Host): number => 4 * HOSTS.indexOf(host)
const ownAddress = (host: Host): Addr => addr(`10.0.0.${base(host)}`)
const next = (host: Host): Host => HOSTS[(HOSTS.indexOf(host) + 1) % 3]!

type Step = {
  /** Under the name of which the operation's addresses are, undefined if it gives none. */
  readonly handle?: string
  /** Handles that the operation gives up. */
  readonly drops?: readonly string[]
  readonly run: (ipam: Ipam) => Promise<readonly Addr[]>
}

const assign = (host: Host, handle: string, more: object): Step => ({
  handle,
  run: async ipam => {
    const { v4, v6 } = await ipam.autoAssign(ask(host, handle, { attributes: podAttributes(handle), ...more }))
    return [...v4, ...v6]
  },
})

const release = (drops: readonly string[], work: (ipam: Ipam) => Promise<unknown>): Step => ({
  drops,
  run: async ipam => {
    await work(ipam)
    return []
  },
})

const OPERATIONS: Readonly<Record<string, (host: Host, time: string) => Step>> = {
  'assign from the own block': (host, time) =>
    assign(host, `${host}-own-${time}`, { num4: 1, num6: 1, isNewHandle: true }),
  'assign and claim a block': (host, time) => assign(host, `${host}-claim-${time}`, { num4: 4 }),
  'assign and borrow': (host, time) => {
    const pool = { name: 'other', cidr: prefix(`10.0.0.${base(next(host))}/30`), blockSize: 30 }
    return assign(host, `${host}-borrow-${time}`, { num4: 2, pools: [pool] })
  },
  'assign a certain address': (host, time) => {
    const handle = `${host}-certain-${time}`
    const address = addr(`10.0.0.${12 + HOSTS.indexOf(host)}`)
    return {
      handle,
      run: async ipam => {
        await ipam.assignIp(address, { node: host, handle, pools, attributes: podAttributes(handle) })
        return [address]
      },
    }
  },
  'release by address': host =>
    release([`${host}-first`], ipam => ipam.releaseIps([{ address: ownAddress(host), handle: `${host}-first` }])),
  'release by handle': host => release([`${host}-second`], ipam => ipam.releaseByHandle(`${host}-second`)),
  'release of the own host': host => release([], ipam => ipam.releaseHost(host)),
  'release of the next host': host => release([], ipam => ipam.releaseHost(next(host))),
}

/** Three hosts with a block, two pods and one IPv6 address in all. */
async function openWorld(): Promise<IpamWorld> {
  const world = new IpamWorld(openMemory(), HOSTS)
  const ipam = openIpam(world.store, deps)
  for (const host of HOSTS) {
    for (const [name, offset] of [
      ['first', 0],
      ['second', 1],
    ] as const) {
      const handle = `${host}-${name}`
      const address = addr(`10.0.0.${base(host) + offset}`)
      world.addPod(handle, host)
      await ipam.assignIp(address, { node: host, handle, pools, attributes: podAttributes(handle) })
      world.take([address], handle)
    }
  }
  return world
}

/** An operation of a host that lives to see its end, in which it may be refused. */
async function runWhole(world: IpamWorld, host: Host, step: Step): Promise<'done' | 'refused'> {
  if (step.handle) world.addPod(step.handle, host)
  for (const handle of step.drops ?? []) world.drop(handle)
  try {
    world.take(await step.run(openIpam(world.store, deps)), step.handle ?? '')
    return 'done'
  } catch (error) {
    if (!(error instanceof IpamError) || ['corrupt', 'retries'].includes(error.code)) throw error
    return 'refused'
  } finally {
    for (const handle of step.drops ?? []) world.removePod(handle)
  }
}

const counts = { boundaries: 0, histories: 0, done: 0, refused: 0, leaked: 0 }

/** Runs the host's operation until it dies at a write; false if it does not come to that write. */
async function runUntil(world: IpamWorld, step: Step, at: { writes: number; applies: boolean }): Promise<boolean> {
  for (const handle of step.drops ?? []) world.drop(handle)
  try {
    await step.run(openIpam(dyingStore(world.store, at.writes, at.applies), deps))
    return false
  } catch (error) {
    if (error instanceof Killed) return true
    // What nobody else makes impossible is possible.
    throw error
  }
}

async function judge(dead: Host, name: string, at: { writes: number; applies: boolean }): Promise<boolean> {
  const step = OPERATIONS[name]!(dead, '1')
  const probe = await openWorld()
  if (!(await runUntil(probe, step, at))) return false
  counts.boundaries++
  for (const other of HOSTS.filter(host => host !== dead)) {
    for (const [otherName, operation] of Object.entries(OPERATIONS)) {
      for (const comesBack of [false, true]) {
        const where = `${dead}: ${name}, write ${at.writes} ${at.applies ? 'done' : 'not done'}; ${other}: ${otherName}`
        const world = await openWorld()
        if (comesBack && step.handle) world.addPod(step.handle, dead)
        await runUntil(world, step, at)
        await world.assertSound(where)
        counts.histories++
        counts[await runWhole(world, other, operation(other, '2'))]++
        await world.assertSound(where)
        // The dead host's pod never got its address: either the pod goes, or the node with all its pods.
        if (comesBack) {
          if (step.handle) world.removePod(step.handle)
          for (const handle of step.drops ?? []) world.removePod(handle)
        } else world.removeNode(dead)
        const before = (await audit(world.store)).allocated.size - world.held.size
        counts.leaked += before
        for (let look = 0; look < 4; look++) await world.collect()
        await world.assertNoLeak(`${where}; collected`)
        // And all that lives goes on, with every address that is free.
        for (const host of world.nodes as Host[]) await runWhole(world, host, assign(host, `${host}-last`, { num4: 1 }))
        await world.assertSound(`${where}; after`)
        const { unfinished } = await audit(world.store)
        // A living host's half-done claim or release is settled when it next goes through its blocks.
        const settles = [...(comesBack ? [dead] : []), ...(name === 'release of the next host' ? [next(dead)] : [])]
        const left = unfinished.filter(line => !settles.some(host => new RegExp(`host[/:]${host}\\b`).test(line)))
        assert.deepEqual(left, [], `${where}; after`)
      }
    }
  }
  return true
}

describe('every write boundary, for three hosts', () => {
  for (const name of Object.keys(OPERATIONS)) {
    it(`${name}: nothing is given twice, nothing stays leaked`, async () => {
      const before = counts.boundaries
      for (const applies of [false, true]) {
        let writes = 1
        while (await judge('a', name, { writes, applies })) writes++
        assert.ok(writes > 2, `${name} has ${writes - 1} writes`)
      }
      assert.ok(counts.boundaries > before)
    })
  }

  it('were many', () => {
    console.log(`# IPAM boundaries: ${JSON.stringify(counts)}`)
    assert.ok(counts.boundaries >= 60, JSON.stringify(counts))
    assert.ok(counts.histories === counts.boundaries * 2 * 2 * Object.keys(OPERATIONS).length)
    assert.ok(counts.leaked > 20 && counts.done > counts.refused, JSON.stringify(counts))
  })
})
