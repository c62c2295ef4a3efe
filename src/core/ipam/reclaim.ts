// Taking back what a collection found ripe. Each plan looks once more at what it is about to free and frees it only if
// it is still exactly that, by compare-and-set; whoever claims a marked address meanwhile renews it, and keeps it.
import type { Addr } from '../net/addr.ts'
import type { Prefix } from '../net/prefix.ts'
import { decodeAffinity, encodeAffinity, readBlock } from './affinity.ts'
import { addressAt, type Block, encodeBlock, isEmpty, ordinalsOf, renew } from './block.ts'
import type { EmptyBlock, Leak } from './collect.ts'
import { affinityKey, blockKey, handleKey } from './keys.ts'
import { get, type Plan, put, remove, retry } from './plan.ts'
import { readHandle, releaseFrom } from './release.ts'

/** Whether the block holds for the handle just these addresses, given when they were seen. */
function isUnchanged(block: Block, handle: string, seen: ReadonlyMap<Addr, bigint | undefined>): boolean {
  const ordinals = ordinalsOf(block, handle)
  return (
    ordinals.length === seen.size &&
    ordinals.every(ordinal => {
      const address = addressAt(block.cidr, ordinal)
      return seen.has(address) && seen.get(address) === block.sequenceNumberForAllocation.get(String(ordinal))
    })
  )
}

/** Releases all addresses of the handle if they are still those that were seen; gives what was released: all or none. */
export function* releaseLeak({ handle, allocations }: Leak): Plan<Addr[]> {
  const seen = new Map<Prefix, Map<Addr, bigint | undefined>>()
  for (const { cidr, address, sequence } of allocations) {
    const inBlock = seen.get(cidr) ?? new Map<Addr, bigint | undefined>()
    seen.set(cidr, inBlock.set(address, sequence))
  }
  const stored = yield* readHandle(handle)
  for (const cidr of new Set([...stored.handle.counts.keys(), ...seen.keys()])) {
    const found = yield* readBlock(cidr)
    if (found === 'corrupt') return []
    const expected = seen.get(cidr) ?? new Map()
    if (found === undefined ? expected.size > 0 : !isUnchanged(found.block, handle, expected)) return []
  }
  const released: Addr[] = []
  for (const [cidr, expected] of seen) {
    const ordinals = yield* releaseFrom(cidr, [handle], block =>
      isUnchanged(block, handle, expected) ? ordinalsOf(block, handle) : [],
    )
    // Renewed between the look above and this: what is left is the owner's, who asks for what it lacks.
    if (ordinals.length === 0) break
    released.push(...ordinals.map(ordinal => addressAt(cidr, ordinal)))
  }
  return released
}

/** Gives up a block that is still empty and was not written since; true if it is gone. */
export function* releaseEmptyBlock({ cidr, affinity, sequence }: EmptyBlock): Plan<boolean> {
  return yield* retry(function* (): Plan<boolean | undefined> {
    const isSame = (block: Block): boolean =>
      block.sequenceNumber === sequence && block.affinity === affinity && isEmpty(block)
    const found = yield* readBlock(cidr)
    if (found === undefined || found === 'corrupt' || !isSame(found.block)) return false
    if (affinity === null) return (yield* remove(blockKey(cidr), found.revision)) || undefined
    const key = affinityKey(affinity, cidr)
    const stored = yield* get(key)
    // An affinity that is half done belongs to whoever is doing it, or to the owner's next allocation.
    if (stored === undefined || decodeAffinity(stored.value) !== 'confirmed') return false
    const leaving = yield* put(key, encodeAffinity('pendingDeletion'), stored.revision)
    if (leaving === undefined) return undefined
    if (!(yield* remove(blockKey(cidr), found.revision))) {
      // Somebody took an address of it just now: it stays.
      yield* put(key, encodeAffinity('confirmed'), leaving)
      return false
    }
    yield* remove(key, leaving)
    return true
  })
}

/** Sets a handle's counts to what the blocks hold; one that holds nothing goes. */
export function* repairHandle(id: string): Plan<void> {
  const { handle, revision } = yield* readHandle(id)
  for (const cidr of handle.counts.keys()) yield* releaseFrom(cidr, [id], () => [])
  if (revision !== 0 && handle.counts.size === 0) yield* remove(handleKey(id), revision)
}

/**
 * The addresses that a handle has, as if they had been given just now: a collection that is about to release them finds
 * them changed. For whoever wants to go on with them.
 */
export function* renewHandle(id: string): Plan<Addr[]> {
  const addresses: Addr[] = []
  const { handle } = yield* readHandle(id)
  for (const cidr of handle.counts.keys()) {
    const ordinals = yield* retry(function* (): Plan<readonly number[] | undefined> {
      const found = yield* readBlock(cidr)
      if (found === undefined || found === 'corrupt') return []
      const held = ordinalsOf(found.block, id)
      if (held.length === 0) return []
      const written = yield* put(blockKey(cidr), encodeBlock(renew(found.block, held)), found.revision)
      return written === undefined ? undefined : held
    })
    addresses.push(...ordinals.map(ordinal => addressAt(cidr, ordinal)))
  }
  return addresses
}
