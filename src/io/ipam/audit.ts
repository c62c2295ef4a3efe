// Reads a whole store's IPAM and says what is wrong with it: the rules that hold at any moment, even after a crash, and
// the stricter ones that hold when nothing is half done. For tests, and for whoever checks a cluster.
import { decodeAffinity, openBlock } from '../../core/ipam/affinity.ts'
import { addressAt, type Block, handleAt, ordinalsOf } from '../../core/ipam/block.ts'
import { decodeHandle } from '../../core/ipam/handle.ts'
import { affinityKey, blockKey, blocksPrefix, cidrOfKey, handleKey, type Owner } from '../../core/ipam/keys.ts'
import type { Addr } from '../../core/net/addr.ts'
import { FAMILIES } from '../../core/net/addr.ts'
import { prefixesOverlap } from '../../core/net/prefix.ts'
import type { Store } from '../store/store.ts'

export type Audit = {
  /** Wrong at any moment: an address could be given twice, or never come back. */
  readonly broken: readonly string[]
  /** Left by an interrupted step; the next operation of the same node or handle mends it. */
  readonly unfinished: readonly string[]
  readonly allocated: ReadonlyMap<Addr, string | undefined>
}

const AFFINITY = /^\/calico\/ipam\/v2\/(host|virtual)\/([^/]+)\/ipv[46]\/block\//

export async function audit(store: Store): Promise<Audit> {
  const broken: string[] = []
  const unfinished: string[] = []
  const allocated = new Map<Addr, string | undefined>()
  const { entries } = await store.list('/calico/ipam/v2/')
  const values = new Map(entries.map(({ key, value }) => [key, value]))
  const blocks: Block[] = []
  for (const { key, value, modRevision } of entries.filter(({ key }) =>
    FAMILIES.some(f => key.startsWith(blocksPrefix(f))),
  )) {
    const opened = openBlock({ key, value, revision: modRevision })
    if (opened === 'corrupt') broken.push(`${key} cannot be read`)
    else blocks.push(opened.block)
  }
  for (const [i, block] of blocks.entries()) {
    for (const other of blocks.slice(i + 1)) {
      if (prefixesOverlap(block.cidr, other.cidr)) broken.push(`${block.cidr} and ${other.cidr} overlap`)
    }
    if (block.affinity !== null && !values.has(affinityKey(block.affinity as Owner, block.cidr))) {
      unfinished.push(`${block.cidr} belongs to ${block.affinity}, which has no affinity for it`)
    }
    block.allocations.forEach((index, ordinal) => {
      if (index === null) return
      const handle = handleAt(block, ordinal)
      allocated.set(addressAt(block.cidr, ordinal), handle)
      const stored = handle === undefined ? undefined : values.get(handleKey(handle))
      const count = (stored === undefined ? undefined : decodeHandle(stored))?.counts.get(block.cidr) ?? 0
      if (handle !== undefined && count < ordinalsOf(block, handle).length) {
        broken.push(`${handle} holds ${addressAt(block.cidr, ordinal)} and does not say so`)
      }
    })
  }
  const byCidr = new Map(blocks.map(block => [block.cidr, block]))
  for (const { key, value } of entries) {
    const affinity = AFFINITY.exec(key)
    const cidr = cidrOfKey(key)
    if (affinity && cidr) {
      const state = decodeAffinity(value)
      const owner = byCidr.get(cidr)?.affinity
      if (state !== 'confirmed') unfinished.push(`${key} is ${state}`)
      else if (owner !== `${affinity[1]}:${affinity[2]}`)
        unfinished.push(`${key}, but ${blockKey(cidr)} is of ${owner}`)
    }
    if (!key.startsWith(handleKey(''))) continue
    const counts = decodeHandle(value)?.counts
    if (!counts || counts.size === 0) unfinished.push(`${key} names no block`)
    for (const [block, count] of counts ?? []) {
      const found = byCidr.get(block)
      const actual = found ? ordinalsOf(found, key.slice(handleKey('').length)).length : 0
      if (actual !== count) unfinished.push(`${key} says ${count} in ${block}, which has ${actual}`)
    }
  }
  return { broken, unfinished, allocated }
}
