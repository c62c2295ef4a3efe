// The reaper of IPAM: looks every few minutes at the blocks of this node, and, on one node of the cluster, at those of
// nodes that are gone; takes back addresses whose holder does not exist, empty blocks and handles of killed processes.
// An agent that is out of sync with the datastore collects nothing.
import { setTimeout as sleep } from 'node:timers/promises'
import { type CollectState, caretaker, type Leak, look, NOTHING_SEEN } from '../../core/ipam/collect.ts'
import { type Holders, holders, isHeld } from '../../core/ipam/holder.ts'
import type { Addr } from '../../core/net/addr.ts'
import { derived } from '../../core/resources/derive.ts'
import { type Resource, type Snapshot, snapshotOf } from '../../core/resources/resource.ts'
import type { IpamCollection } from '../../io/ipam/collection.ts'
import type { Logger } from '../../io/log.ts'
import type { ResourceClient } from '../../io/store/resource-client.ts'
import { isNotFound } from './cni-deps.ts'

export const COLLECT_PERIOD_MS = 5 * 60_000
/** Calico's leakGracePeriod. */
export const LEAK_GRACE_MS = 15 * 60_000

export type Collected = {
  /** Handles that are ownerless now, those taken back left out: Calico's ipam_gc_candidates. */
  readonly candidates: number
  /** Addresses taken back: Calico's ipam_gc_reclamations counts them. */
  readonly reclaimed: number
  readonly blocks: number
  readonly handles: number
  readonly nodes: number
}

export type CollectorDeps = {
  readonly node: string
  readonly ipam: IpamCollection
  /** All resources, pods' endpoints among them, as the agent knows them; undefined while it is out of sync. */
  readonly snapshot: () => Snapshot | undefined
  /** Asked about a holder just before its addresses are taken: the snapshot may be old. */
  readonly resources: Pick<ResourceClient, 'get' | 'list'>
  /** Milliseconds of a clock that never jumps, such as performance.now. */
  readonly now: () => number
  readonly log: Logger
  /** 0 switches the collection off, but for nodes that are gone. */
  readonly graceMs?: number
  readonly periodMs?: number
  /** After each look. */
  readonly onCollected?: (collected: Collected) => void
  /** Addresses that may be given to others from now on. */
  readonly onReleased?: (addresses: readonly Addr[]) => void
}

const NOTHING: Collected = { candidates: 0, reclaimed: 0, blocks: 0, handles: 0, nodes: 0 }

export class IpamCollector {
  readonly #deps: CollectorDeps
  readonly #ended = new AbortController()
  #state: CollectState = NOTHING_SEEN
  #running: Promise<Collected> | undefined

  constructor(deps: CollectorDeps) {
    this.#deps = deps
  }

  /** Looks every period until `stop`; the first time after one period, when a node that starts has its pods again. */
  start(): void {
    const run = async (): Promise<void> => {
      const { periodMs = COLLECT_PERIOD_MS, log } = this.#deps
      for (;;) {
        await sleep(periodMs, undefined, { signal: this.#ended.signal, ref: false })
        await this.tick().catch(err => log.warn({ err }, 'IPAM could not be looked through; it will be tried again'))
      }
    }
    // Only the end of the sleep rejects.
    run().catch(() => {})
  }

  /** One look, and the taking back of what is ripe. One that is under way is waited for instead of another begun. */
  tick(): Promise<Collected> {
    this.#running ??= this.#tick().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  stop(): void {
    this.#ended.abort()
  }

  async #tick(): Promise<Collected> {
    const { node, ipam, now, graceMs = LEAK_GRACE_MS } = this.#deps
    const snapshot = this.#deps.snapshot()
    if (snapshot === undefined) return NOTHING
    const known = holders(snapshot.values())
    const isCaretaker = caretaker(known.nodes) === node
    // Handles before blocks: an address given in between makes its handle look wrong for one look only.
    const all = isCaretaker ? { handles: await ipam.handles(), owners: await ipam.owners() } : {}
    const facts = { node, now: now(), grace: graceMs, known, blocks: await ipam.blocks(), ...all }
    const step = look(this.#state, facts)
    this.#state = step.state
    let reclaimed = 0
    let released = 0
    for (const leak of step.leaks) {
      const addresses = await this.#attempt(`the addresses of ${leak.handle}`, () => this.#release(leak))
      if (!addresses?.length) continue
      reclaimed += addresses.length
      released++
    }
    const count = async <T>(items: readonly T[], what: (item: T) => string, work: (item: T) => Promise<boolean>) => {
      let done = 0
      for (const item of items) if (await this.#attempt(what(item), () => work(item))) done++
      return done
    }
    const collected: Collected = {
      candidates: step.candidates - released,
      reclaimed,
      blocks: await count(
        step.blocks,
        ({ cidr }) => `the empty block ${cidr}`,
        block => ipam.releaseEmptyBlock(block),
      ),
      handles: await count(
        step.handles,
        id => `the handle ${id}`,
        async id => {
          await ipam.repairHandle(id)
          return true
        },
      ),
      nodes: await count(
        step.nodes,
        name => `what node ${name} owned`,
        name => this.#releaseNode(name),
      ),
    }
    const { log, onCollected } = this.#deps
    if (released + collected.blocks + collected.handles + collected.nodes > 0) log.info(collected, 'IPAM: collected')
    onCollected?.(collected)
    return collected
  }

  /** One that fails is tried again at the next look, and the others go on. */
  async #attempt<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#ended.signal.aborted) return undefined
    try {
      return await work()
    } catch (err) {
      this.#deps.log.warn({ err }, `IPAM: ${what} could not be taken back`)
      return undefined
    }
  }

  async #release(leak: Leak): Promise<readonly Addr[]> {
    const { ipam, log, onReleased } = this.#deps
    const { handle, allocations } = leak
    const known = await this.#ask(leak)
    const isOwned = allocations.some(({ address, holder }) => isHeld({ address, handle, holder }, known))
    if (isOwned || leak.goneNodes.some(name => known.nodes.has(name))) return []
    const released = await ipam.releaseLeak(leak)
    if (released.length === 0) return []
    log.warn({ handle, addresses: released }, 'IPAM: addresses whose holder does not exist were taken back')
    onReleased?.(released)
    return released
  }

  async #releaseNode(name: string): Promise<boolean> {
    if ((await this.#find('Node', { name })).length > 0) return false
    await this.#deps.ipam.releaseNode(name)
    return true
  }

  /** The holders of a leak as the datastore has them now. A resource that cannot be read is an error: it may exist. */
  async #ask({ allocations, goneNodes }: Leak): Promise<Holders> {
    const found: Resource[] = []
    const nodes = new Set(goneNodes)
    const namespaces = new Set<string>()
    for (const { holder } of allocations) {
      if (holder.kind === 'node') nodes.add(holder.node)
      if (holder.kind === 'container') namespaces.add('default')
      if (holder.kind !== 'pod') continue
      const { namespace, name } = holder
      namespaces.add(namespace)
      found.push(...(await this.#find('Pod', { namespace, name })))
    }
    for (const name of nodes) found.push(...(await this.#find('Node', { name })))
    for (const namespace of namespaces) {
      const { items, undecodable } = await this.#deps.resources.list('WorkloadEndpoint', { namespace })
      if (undecodable.length > 0) throw new Error(`the endpoint ${undecodable[0]!.key} is not valid`)
      found.push(...items)
    }
    return holders(derived(snapshotOf(found)).values())
  }

  async #find(kind: 'Pod' | 'Node', identity: { readonly name: string; readonly namespace?: string }) {
    try {
      return [await this.#deps.resources.get(kind, identity)]
    } catch (error) {
      if (isNotFound(error)) return []
      throw error
    }
  }
}
