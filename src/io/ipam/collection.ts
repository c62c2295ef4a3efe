// The collector's view of IPAM over a store: what there is to judge, and core's plans that take back. It does not wait
// for the allocations of its own process: compare-and-set orders them, as it does those of other nodes.
import type { Block } from '../../core/ipam/block.ts'
import type { CountedHandle, EmptyBlock, Leak } from '../../core/ipam/collect.ts'
import { decodeHandle } from '../../core/ipam/handle.ts'
import { handleKey, hostOwner, type Owner, ownerOfKey, ownersPrefix } from '../../core/ipam/keys.ts'
import { releaseEmptyBlock, releaseLeak, repairHandle } from '../../core/ipam/reclaim.ts'
import { releaseOwner } from '../../core/ipam/release.ts'
import type { Addr } from '../../core/net/addr.ts'
import type { Store } from '../store/store.ts'
import { readBlocks, runPlan } from './ipam.ts'

export type IpamCollection = {
  /** All blocks that can be read. */
  blocks(): Promise<readonly Block[]>
  handles(): Promise<readonly CountedHandle[]>
  /** The hosts that have affinities. */
  owners(): Promise<readonly Owner[]>
  /** All addresses of the handle, if they are still those of the leak, else none. */
  releaseLeak(leak: Leak): Promise<readonly Addr[]>
  /** True if the block was still empty and unchanged, and is gone. */
  releaseEmptyBlock(block: EmptyBlock): Promise<boolean>
  repairHandle(id: string): Promise<void>
  /** Gives up all that a node owns; addresses in use stay. */
  releaseNode(node: string): Promise<void>
}

export function openCollection(store: Store): IpamCollection {
  return {
    blocks: () => readBlocks(store),
    handles: async () => {
      const prefix = handleKey('')
      const { entries } = await store.list(prefix)
      return entries.flatMap(({ key, value, modRevision }) => {
        const handle = decodeHandle(value)
        return handle ? [{ id: key.slice(prefix.length), revision: modRevision, counts: handle.counts }] : []
      })
    },
    owners: async () => {
      const { entries } = await store.list(ownersPrefix('host'))
      return [...new Set(entries.flatMap(({ key }) => ownerOfKey(key) ?? []))]
    },
    releaseLeak: leak => runPlan(store, releaseLeak(leak)),
    releaseEmptyBlock: block => runPlan(store, releaseEmptyBlock(block)),
    repairHandle: id => runPlan(store, repairHandle(id)),
    releaseNode: async node => void (await runPlan(store, releaseOwner(hostOwner(node)))),
  }
}
