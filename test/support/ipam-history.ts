// Random histories of IPAM: several processes on each of three nodes allocate, repeat, release, lose and collect at once
// over one store, every step in a random order, some killed at a write, nodes coming and going between. The clock of the
// collectors runs hours while an allocation waits for its turn.
import assert from 'node:assert/strict'
import { setImmediate as drained } from 'node:timers/promises'
import type { IpamCollector } from '../../src/apps/agent/ipam-collect.ts'
import { IpamError } from '../../src/core/ipam/plan.ts'
import type { IPPoolLike } from '../../src/core/ipam/pools.ts'
import { type Addr, fromNumber, toNumber } from '../../src/core/net/addr.ts'
import { prefix, prefixBase } from '../../src/core/net/prefix.ts'
import { audit } from '../../src/io/ipam/audit.ts'
import { openCollection } from '../../src/io/ipam/collection.ts'
import { openIpam } from '../../src/io/ipam/ipam.ts'
import { dyingStore, Killed, pools as smallPools } from '../../src/io/ipam/testing.ts'
import { openMemory } from '../../src/io/store/memory.ts'
import type { Store } from '../../src/io/store/store.ts'
import { wrap } from '../../src/io/store/testing.ts'
import { IpamWorld, podAttributes } from './ipam-world.ts'

const NODES = ['node-a', 'node-b', 'node-c']
const PROCESSES_OF_A_NODE = 2
const OPERATIONS_OF_A_PROCESS = 10
const MINUTE = 60_000

export type Dice = (below: number) => number

/** mulberry32. */
export function dice(seed: number): Dice {
  let state = seed >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

export type HistoryCounts = Record<
  | 'operations'
  | 'steps'
  | 'assigned'
  | 'repeated'
  | 'refused'
  | 'killed'
  | 'released'
  | 'lost'
  | 'cameBack'
  | 'looks'
  | 'nodesGone'
  | 'settled'
  | 'reclaimedAddresses'
  | 'reclaimedBlocks'
  | 'reclaimedHandles'
  | 'reclaimedNodes',
  number
>

/** Store calls wait here; one at a time, chosen by the dice, goes on when nothing else moves. */
class Turns {
  readonly #dice: Dice
  readonly #waiting: (() => void)[] = []
  steps = 0

  constructor(dice: Dice) {
    this.#dice = dice
  }

  wait(): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  async run(work: Promise<unknown>): Promise<void> {
    let over = false
    const end = work.finally(() => {
      over = true
    })
    end.catch(() => {})
    while (!over) {
      await drained()
      const at = this.#dice(Math.max(this.#waiting.length, 1))
      const next = this.#waiting[at]
      if (next === undefined) continue
      this.#waiting[at] = this.#waiting.at(-1)!
      this.#waiting.pop()
      this.steps++
      next()
    }
    await end
  }
}

/** Few addresses, so that all is contended; many; and blocks so small that they are claimed and given up all the time. */
const POOLS: readonly (readonly IPPoolLike[])[] = [
  smallPools,
  [
    { name: 'wide4', cidr: prefix('10.0.0.0/25'), blockSize: 29 },
    { name: 'wide6', cidr: prefix('fd00::/122'), blockSize: 125 },
  ],
  [
    { name: 'split4', cidr: prefix('10.0.0.0/27'), blockSize: 31 },
    { name: 'split6', cidr: prefix('fd00::/124'), blockSize: 127 },
  ],
]

type Pod = { readonly handle: string; certain: boolean }

/** One history on one store, in rounds; `counts` are of all that was done. */
export class IpamHistory {
  readonly counts: HistoryCounts = {
    operations: 0,
    steps: 0,
    assigned: 0,
    repeated: 0,
    refused: 0,
    killed: 0,
    released: 0,
    lost: 0,
    cameBack: 0,
    looks: 0,
    nodesGone: 0,
    settled: 0,
    reclaimedAddresses: 0,
    reclaimedBlocks: 0,
    reclaimedHandles: 0,
    reclaimedNodes: 0,
  }
  readonly #dice: Dice
  readonly #store = openMemory()
  readonly #world = new IpamWorld(this.#store, NODES)
  readonly #pools: readonly IPPoolLike[]
  readonly #pods = new Map<string, Pod[]>()
  readonly #collectors = new Map<string, IpamCollector>()
  #turns: Turns
  #serial = 0
  /** Handles whose pods went without a release; a pod of the same name may come back for them. */
  readonly #lost: { readonly node: string; readonly handle: string }[] = []

  constructor(seed: number) {
    this.#dice = dice(seed)
    this.#turns = new Turns(this.#dice)
    this.#pools = POOLS[this.#dice(POOLS.length)]!
  }

  /** All nodes' processes do some operations at once; then what must hold at rest is judged. */
  async round(): Promise<void> {
    this.#turns = new Turns(this.#dice)
    const work = this.#world.nodes.flatMap(node =>
      Array.from({ length: PROCESSES_OF_A_NODE }, () => this.#process(node)),
    )
    await this.#turns.run(Promise.all(work))
    this.counts.steps += this.#turns.steps
    await this.#world.assertSound('at rest')
    if (this.#dice(5) === 0) this.#nodesComeAndGo()
    if (this.#dice(5) === 0) await this.settle()
    await this.#store.compact((await this.#store.list('/')).revision)
  }

  /** Nobody works, time passes, the collectors look: nothing stays that nobody has. */
  async settle(): Promise<void> {
    // A pod whose addition was killed and never repeated is deleted in the end.
    for (const pods of this.#pods.values()) {
      for (const pod of pods.filter(({ certain }) => !certain)) this.#world.removePod(pod.handle)
    }
    for (const [node, pods] of this.#pods) {
      this.#pods.set(
        node,
        pods.filter(({ certain }) => certain),
      )
    }
    for (let i = 0; i < 5; i++) await this.#world.collect()
    await this.#world.assertNoLeak('collected')
    this.counts.settled++
    const { addresses, blocks, handles, nodes } = this.#world.reclaimed
    Object.assign(this.counts, {
      reclaimedAddresses: addresses,
      reclaimedBlocks: blocks,
      reclaimedHandles: handles,
      reclaimedNodes: nodes,
    })
  }

  #nodesComeAndGo(): void {
    for (const node of NODES) if (!this.#world.nodes.includes(node)) this.#world.addNode(node)
    if (this.#dice(2) === 0) return
    const gone = NODES[this.#dice(NODES.length)]!
    this.#world.removeNode(gone)
    this.#pods.delete(gone)
    this.#collectors.delete(gone)
    this.counts.nodesGone++
  }

  /** A store that may die at one of its next writes. */
  #storeOf(mortal: boolean): Store {
    const store = this.#inTurns()
    return mortal && this.#dice(6) === 0 ? dyingStore(store, 1 + this.#dice(10), this.#dice(2) === 0) : store
  }

  #open(mortal: boolean) {
    return openIpam(this.#storeOf(mortal), { now: () => new Date(0), random: () => this.#dice(2 ** 30) / 2 ** 30 })
  }

  /** True if it came to its end, in success or refusal; false if it was killed. */
  async #attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      if (error instanceof Killed) {
        this.counts.killed++
        return false
      }
      if (!(error instanceof IpamError) || error.code === 'corrupt' || error.code === 'retries') throw error
      this.counts.refused++
      return true
    }
  }

  async #process(node: string): Promise<void> {
    const pods = this.#pods.get(node) ?? []
    this.#pods.set(node, pods)
    /** One process at a time works on a pod. */
    const takeOne = (): Pod | undefined => pods.splice(this.#dice(Math.max(pods.length, 1)), 1)[0]
    for (let i = 0; i < OPERATIONS_OF_A_PROCESS; i++) {
      this.counts.operations++
      const draw = this.#dice(100)
      if (draw < 40) await this.#add(node, pods)
      else if (draw < 46) await this.#repeat(node, pods, takeOne())
      else if (draw < 50) await this.#comeBack(node, pods)
      else if (draw < 70) await this.#delete(takeOne())
      else if (draw < 76) this.#lose(node, takeOne())
      else if (draw < 84) await this.#releaseOne(pods, takeOne())
      else if (draw < 87) await this.#attempt(async () => void (await this.#open(true).releaseHost(this.#anyNode())))
      else await this.#look(node)
    }
  }

  #anyNode = (): string => NODES[this.#dice(NODES.length)]!

  async #assign(node: string, handle: string, isNewHandle: boolean): Promise<void> {
    const request = { node, handle, pools: this.#pools, attributes: podAttributes(handle) }
    if (this.#dice(6) === 0) {
      const base = toNumber(prefixBase(this.#pools[0]!.cidr))
      const address = fromNumber(4, base + BigInt(this.#dice(16)))
      await this.#open(true).assignIp(address, request)
      this.#world.take([address], handle)
      return
    }
    const [num4, num6] = [1 + this.#dice(2), this.#dice(2)]
    const { v4, v6 } = await this.#open(true).autoAssign({ ...request, isNewHandle, num4, num6 })
    assert.deepEqual([v4.length, v6.length], [num4, num6])
    this.#world.take([...v4, ...v6], handle)
  }

  async #add(node: string, pods: Pod[]): Promise<void> {
    const handle = `net.${node}-${++this.#serial}`
    this.#world.addPod(handle, node)
    const pod = { handle, certain: true }
    const ended = await this.#attempt(() => this.#assign(node, handle, true))
    const has = [...this.#world.held.values()].includes(handle)
    if (has) this.counts.assigned++
    if (ended && !has) this.#world.removePod(handle)
    else pods.push({ ...pod, certain: ended })
  }

  async #repeat(node: string, pods: Pod[], pod: Pod | undefined): Promise<void> {
    if (pod === undefined) return
    const { handle } = pod
    const had = [...this.#world.held].flatMap(([address, holder]) => (holder === handle ? [address] : []))
    const ended = await this.#attempt(async () => {
      const held = await this.#open(true).renew(handle)
      this.counts.repeated++
      if (pod.certain) assert.deepEqual([...held].sort(), had.sort(), `${handle} has other addresses`)
      if (held.length > 0) return this.#world.take(held, handle)
      await this.#assign(node, handle, false)
    })
    pods.push({ handle, certain: ended && (pod.certain || [...this.#world.held.values()].includes(handle)) })
  }

  /** The pod of a lost handle is there again and asks for its addresses, while they may just be collected. */
  async #comeBack(node: string, pods: Pod[]): Promise<void> {
    const at = this.#lost.findIndex(lost => lost.node === node)
    const [lost] = at < 0 ? [] : this.#lost.splice(at, 1)
    if (lost === undefined) return
    this.#world.addPod(lost.handle, node)
    this.counts.cameBack++
    await this.#repeat(node, pods, { handle: lost.handle, certain: false })
  }

  async #delete(pod: Pod | undefined): Promise<void> {
    if (pod === undefined) return
    this.#world.drop(pod.handle)
    const ended = await this.#attempt(async () => void (await this.#open(true).releaseByHandle(pod.handle)))
    if (ended) this.counts.released++
    this.#world.removePod(pod.handle)
  }

  #lose(node: string, pod: Pod | undefined): void {
    if (pod === undefined) return
    this.#world.removePod(pod.handle)
    this.#lost.push({ node, handle: pod.handle })
    this.counts.lost++
  }

  async #releaseOne(pods: Pod[], pod: Pod | undefined): Promise<void> {
    if (pod === undefined) return
    const address = [...this.#world.held].find(([, holder]) => holder === pod.handle)?.[0] as Addr | undefined
    if (address !== undefined) {
      this.#world.held.delete(address)
      const release = () => this.#open(false).releaseIps([{ address, handle: pod.handle }])
      await this.#attempt(async () => assert.deepEqual(await release(), []))
    }
    pods.push(pod)
  }

  async #look(node: string): Promise<void> {
    this.#world.passTime(this.#dice(10) * MINUTE)
    if (this.#dice(3) === 0) this.#world.tell()
    this.counts.looks++
    const mortal = this.#dice(4) === 0
    const collector = mortal
      ? undefined
      : (this.#collectors.get(node) ?? this.#world.collector(node, openCollection(this.#inTurns())))
    if (collector) {
      this.#collectors.set(node, collector)
      await collector.tick()
      return
    }
    // One that dies on its way, after having seen everything already once.
    const dying = this.#world.collector(
      node,
      openCollection(dyingStore(this.#inTurns(), 1 + this.#dice(6), this.#dice(2) === 0)),
    )
    await this.#attempt(async () => void (await dying.tick()))
    this.#world.passTime(20 * MINUTE)
    await this.#attempt(async () => void (await dying.tick()))
    dying.stop()
  }

  /** The store by the turns of whichever round it is used in: collectors outlive rounds. */
  #inTurns(): Store {
    const wait = () => this.#turns.wait()
    return {
      ...wrap(this.#store),
      get: key => wait().then(() => this.#store.get(key)),
      list: prefix => wait().then(() => this.#store.list(prefix)),
      put: (...args) => wait().then(() => this.#store.put(...args)),
      delete: (...args) => wait().then(() => this.#store.delete(...args)),
    }
  }

  /** What there is at the end, for whoever prints it. */
  async allocated(): Promise<number> {
    return (await audit(this.#store)).allocated.size
  }
}

export const addCounts = (sum: Partial<HistoryCounts>, more: HistoryCounts): HistoryCounts =>
  Object.fromEntries(
    Object.entries(more).map(([name, n]) => [name, n + (sum[name as keyof HistoryCounts] ?? 0)]),
  ) as HistoryCounts

export type Patience = { readonly operations: number; readonly milliseconds?: number; readonly seed: number }

/** Histories one after the other, each some rounds on a store of its own, until as much was done or the time is over. */
export async function runHistories({ operations, milliseconds = Number.POSITIVE_INFINITY, seed }: Patience) {
  const end = performance.now() + milliseconds
  let sum: Partial<HistoryCounts> = {}
  for (let i = 0; (sum.operations ?? 0) < operations && performance.now() < end; i++) {
    const history = new IpamHistory(seed + i)
    try {
      for (let round = 0; round < 20; round++) await history.round()
      await history.settle()
    } catch (error) {
      throw new Error(`IPAM history with seed ${seed + i}`, { cause: error })
    }
    sum = addCounts(sum, history.counts)
  }
  return sum as HistoryCounts
}
