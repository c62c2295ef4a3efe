// A cluster as its IPAM sees it: a store, nodes that live or not, pods that exist or not, and what each pod was told it
// has. It knows at any moment which addresses must not be given again, and runs the nodes' collectors on a clock of its own.
import assert from 'node:assert/strict'
import { IpamCollector, LEAK_GRACE_MS } from '../../src/apps/agent/ipam-collect.ts'
import type { Addr } from '../../src/core/net/addr.ts'
import { type ResourceKey, resourceKey } from '../../src/core/resources/cause.ts'
import type { Resource } from '../../src/core/resources/resource.ts'
import { audit } from '../../src/io/ipam/audit.ts'
import { type IpamCollection, openCollection } from '../../src/io/ipam/collection.ts'
import { type Logger, openLog } from '../../src/io/log.ts'
import { notFound } from '../../src/io/store/resource-error.ts'
import type { Store } from '../../src/io/store/store.ts'
import { resource } from './resources.ts'

const NAMESPACE = 'default'

/** The attributes that the CNI plugin gives the addresses of a pod whose name is the handle. */
export const podAttributes = (handle: string) => ({ pod: handle, namespace: NAMESPACE })

const silent: Logger = openLog({ name: 'ipam', level: 'fatal' })

export type Reclaimed = { addresses: number; blocks: number; handles: number; nodes: number }

export class IpamWorld {
  readonly store: Store
  readonly resources = new Map<ResourceKey, Resource>()
  /** Address → handle, of all that were told they have it and have not given it back. */
  readonly held = new Map<Addr, string>()
  readonly reclaimed: Reclaimed = { addresses: 0, blocks: 0, handles: 0, nodes: 0 }
  #now = 0
  /** What the agents' watches have told them of `resources`. */
  #told: ReadonlyMap<ResourceKey, Resource> = new Map()
  readonly #collectors = new Map<string, IpamCollector>()

  constructor(store: Store, nodes: readonly string[]) {
    this.store = store
    for (const name of nodes) this.addNode(name)
  }

  get nodes(): string[] {
    return [...this.resources.values()].filter(r => r.kind === 'Node').map(r => r.metadata.name)
  }

  addNode(name: string): void {
    const node = resource({ apiVersion: 'projectcalico.org/v3', kind: 'Node', metadata: { name }, spec: {} })
    this.resources.set(resourceKey('Node', '', name), node)
  }

  /** The node is gone from the cluster, its pods with it; what it was doing in IPAM stays as it is. */
  removeNode(name: string): void {
    this.resources.delete(resourceKey('Node', '', name))
    this.#collectors.delete(name)
    for (const r of [...this.resources.values()]) {
      if (r.kind === 'Pod' && r.spec.nodeName === name) this.removePod(r.metadata.name)
    }
  }

  addPod(handle: string, nodeName: string): void {
    const metadata = { name: handle, namespace: NAMESPACE }
    const pod = resource({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName } })
    this.resources.set(resourceKey('Pod', NAMESPACE, handle), pod)
  }

  /** The pod is gone without anybody having released its addresses. */
  removePod(handle: string): void {
    this.resources.delete(resourceKey('Pod', NAMESPACE, handle))
    this.drop(handle)
  }

  /** The handle was told that these are its own. */
  take(addresses: readonly Addr[], handle: string): void {
    for (const address of addresses) {
      const holder = this.held.get(address)
      assert.ok(holder === undefined || holder === handle, `${address} given to ${holder} and to ${handle}`)
      this.held.set(address, handle)
    }
  }

  drop(handle: string): void {
    for (const [address, holder] of this.held) if (holder === handle) this.held.delete(address)
  }

  /** The watches catch up; until then the collectors see an older cluster. */
  tell(): void {
    this.#told = new Map(this.resources)
  }

  /** A collector of the node over a store of its own, with marks of its own. */
  collector(node: string, ipam: IpamCollection = openCollection(this.store)): IpamCollector {
    const get = async (kind: string, { name, namespace }: { name: string; namespace?: string }) => {
      const key = resourceKey(kind, namespace ?? '', name)
      const found = this.resources.get(key)
      if (!found) throw notFound(key)
      return found
    }
    return new IpamCollector({
      node,
      ipam,
      snapshot: () => this.#told,
      resources: { get, list: async () => ({ items: [], undecodable: [], revision: 0 }) } as never,
      now: () => this.#now,
      log: silent,
      onCollected: ({ reclaimed, blocks, handles, nodes }) => {
        this.reclaimed.addresses += reclaimed
        this.reclaimed.blocks += blocks
        this.reclaimed.handles += handles
        this.reclaimed.nodes += nodes
      },
    })
  }

  #collectorOf(node: string): IpamCollector {
    const found = this.#collectors.get(node) ?? this.collector(node)
    this.#collectors.set(node, found)
    return found
  }

  /** One look of every living node's collector, then time passes. */
  async collect(passMs = LEAK_GRACE_MS): Promise<void> {
    this.tell()
    for (const node of this.nodes) await this.#collectorOf(node).tick()
    this.#now += passMs
  }

  passTime(ms: number): void {
    this.#now += ms
  }

  /** Nothing is given twice, and every address that somebody has is still his. */
  async assertSound(where: string): Promise<void> {
    const { broken, allocated } = await audit(this.store)
    assert.deepEqual(broken, [], where)
    for (const [address, handle] of this.held) assert.equal(allocated.get(address), handle, `${where}: ${address} lost`)
  }

  /** After collection: what is allocated is what somebody has, and no handle says anything else. */
  async assertNoLeak(where: string): Promise<void> {
    const { broken, unfinished, allocated } = await audit(this.store)
    assert.deepEqual(broken, [], where)
    const sorted = (entries: Iterable<readonly [Addr, string | undefined]>) => [...entries].map(e => e.join(' ')).sort()
    assert.deepEqual(sorted(allocated), sorted(this.held), where)
    assert.deepEqual(
      unfinished.filter(line => line.includes('/handle/')),
      [],
      where,
    )
  }
}
