// Taking addresses back. The order of reads and writes is the safety: read the handle, read the block, write the block,
// write the handle. An allocation reads the block before it writes the handle, so whichever of the two comes late finds
// either the block or the handle changed and starts again; no address is left that its handle does not name.
import type { Outcome } from '../base/problem.ts'
import { type Addr, BITS, FAMILIES, familyOf, toNumber } from '../net/addr.ts'
import { makePrefix, type Prefix } from '../net/prefix.ts'
import { readBlock, releaseAffinity } from './affinity.ts'
import { freeAll } from './batch.ts'
import {
  addressAt,
  type Block,
  encodeBlock,
  free,
  handleAt,
  isEmpty,
  MAX_HOST_BITS,
  mentionsOwner,
  ordinalOf,
  ordinalsOf,
  touch,
} from './block.ts'
import { decodeHandle, EMPTY_HANDLE, encodeHandle, type Handle, withCount } from './handle.ts'
import { affinitiesPrefix, blockKey, blocksPrefix, cidrOfKey, handleKey, type Owner } from './keys.ts'
import {
  get,
  getAll,
  IpamError,
  list,
  type Plan,
  put,
  remove,
  retry,
  type Write,
  writeAll,
  writeApart,
} from './plan.ts'
import { DEFAULT_BLOCK_SIZE } from './pools.ts'

export type StoredHandle = { readonly handle: Handle; readonly revision: number }

/** A handle as it is, or the empty one at revision 0. */
export function* readHandle(id: string): Plan<StoredHandle> {
  const [found] = yield* readHandles([id])
  if (found instanceof Error) throw found
  return found!
}

/** Of handles that make no sense the error. */
export function* readHandles(ids: readonly string[]): Plan<readonly (StoredHandle | IpamError)[]> {
  return (yield* getAll(ids.map(handleKey))).map((stored, i) => {
    if (!stored) return { handle: EMPTY_HANDLE, revision: 0 }
    const handle = decodeHandle(stored.value)
    if (!handle) return new IpamError('corrupt', `the IPAM handle ${ids[i]} cannot be read`)
    return { handle, revision: stored.revision }
  })
}

/**
 * Frees the ordinals that `pick` chooses and sets the counts of `handles`, and of the handles that lost addresses, to
 * what the block then holds. Called with nothing to free it repairs the handles. Gives the ordinals freed.
 */
export function* releaseFrom(
  cidr: Prefix,
  handles: Iterable<string>,
  pick: (block: Block) => readonly number[],
): Plan<readonly number[]> {
  const known = new Set(handles)
  // Chosen once: in a later round the same ordinal may be another's.
  let released: readonly number[] | undefined
  return yield* retry(function* (): Plan<readonly number[] | undefined> {
    const read: [string, StoredHandle][] = []
    for (const id of known) read.push([id, yield* readHandle(id)])
    const found = yield* readBlock(cidr)
    if (found === 'corrupt') throw new IpamError('corrupt', `the IPAM block ${cidr} cannot be read`)
    const chosen = found && released === undefined ? pick(found.block) : []
    const holders = found ? chosen.flatMap(ordinal => handleAt(found.block, ordinal) ?? []) : []
    if (holders.some(id => !known.has(id))) {
      for (const id of holders) known.add(id)
      return undefined
    }
    const next = found && (chosen.length > 0 ? free(found.block, chosen) : touch(found.block))
    const actual = (id: string): number => (next ? ordinalsOf(next, id).length : 0)
    const wrong = read.filter(([id, { handle }]) => (handle.counts.get(cidr) ?? 0) !== actual(id))
    if (found && next && (chosen.length > 0 || wrong.length > 0)) {
      const [written] = yield* writeAll([blockWrite(next, found.revision)])
      if (written === undefined) return undefined
    }
    released ??= chosen
    let settled = true
    for (const [id, { handle, revision }] of wrong) {
      const counted = withCount(handle, cidr, actual(id))
      const written =
        counted.counts.size === 0
          ? revision === 0 || (yield* remove(handleKey(id), revision))
          : (yield* put(handleKey(id), encodeHandle(counted), revision)) !== undefined
      if (!written) settled = false
    }
    return settled ? released : undefined
  })
}

/** What writes a block that lost addresses: nobody's, and empty, it goes. */
const blockWrite = (block: Block, ifRevision: number): Write => ({
  key: blockKey(block.cidr),
  value: isEmpty(block) && block.affinity === null ? undefined : encodeBlock(block),
  ifRevision,
})

/** The release of one handle among several. */
type Leaving = { readonly id: string; readonly addresses: Addr[]; error?: Error }
type Named = { readonly leaving: Leaving; readonly stored: StoredHandle }

/** Releases every address of handles, and the handles; gives them. A handle that is not there has none. */
export function* releaseByHandle(ids: readonly string[]): Plan<readonly Outcome<readonly Addr[]>[]> {
  const all = ids.map((id): Leaving => ({ id, addresses: [] }))
  let left = all
  try {
    yield* retry(function* (): Plan<true | undefined> {
      const found = yield* readHandles(left.map(({ id }) => id))
      const named = left.flatMap((leaving, i) => {
        const stored = found[i]!
        if (!(stored instanceof Error)) return [{ leaving, stored }]
        leaving.error = stored
        return []
      })
      yield* empty(named)
      const emptied = named.filter(({ leaving, stored }) => leaving.error === undefined && stored.revision !== 0)
      const removals = emptied.map(({ leaving: { id }, stored: { revision } }) => ({
        key: handleKey(id),
        value: undefined,
        ifRevision: revision,
      }))
      const removed = removals.length === 0 ? [] : yield* writeApart(removals)
      left = emptied.flatMap(({ leaving }, i) => {
        const outcome = removed[i]
        if (outcome instanceof Error) leaving.error = outcome
        return outcome === undefined ? [leaving] : []
      })
      return left.length === 0 || undefined
    })
  } catch (error) {
    for (const leaving of left) leaving.error ??= error as Error
  }
  return all.map(({ addresses, error }) =>
    error === undefined ? { ok: true, value: addresses } : { ok: false, error },
  )
}

/** Frees what handles have in blocks. Each block is written, once for all, so that an allocation that has read it fails. */
function* empty(named: readonly Named[]): Plan<void> {
  let left: readonly Prefix[] = [...new Set(named.flatMap(({ stored }) => [...stored.handle.counts.keys()]))]
  yield* retry(function* (): Plan<true | undefined> {
    const writes: { readonly cidr: Prefix; readonly freed: ReadonlyMap<Leaving, number[]>; readonly write: Write }[] =
      []
    for (const cidr of left) {
      const holders = named.filter(({ stored }) => stored.handle.counts.has(cidr)).map(({ leaving }) => leaving)
      const found = yield* readBlock(cidr)
      if (found === undefined) continue
      if (found === 'corrupt') {
        for (const holder of holders) holder.error = new IpamError('corrupt', `the IPAM block ${cidr} cannot be read`)
        continue
      }
      const freed = new Map(holders.map(holder => [holder, ordinalsOf(found.block, holder.id)]))
      const next = freeAll(found.block, new Set([...freed.values()].flat()))
      writes.push({ cidr, freed, write: blockWrite(next, found.revision) })
    }
    const written = writes.length === 0 ? [] : yield* writeAll(writes.map(({ write }) => write))
    left = writes.flatMap(({ cidr }, i) => (written[i] === undefined ? [cidr] : []))
    for (const { cidr, freed } of writes) {
      if (left.includes(cidr)) continue
      for (const [{ addresses }, ordinals] of freed)
        addresses.push(...ordinals.map(ordinal => addressAt(cidr, ordinal)))
    }
    return left.length === 0 || undefined
  })
}

/** An address to take back; with a handle or a sequence number, only if it is still that allocation. */
export type Release = { readonly address: Addr; readonly handle?: string; readonly sequence?: bigint }

/** Releases addresses; gives those that were free already. Throws `handle` or `sequence` if one is another allocation. */
export function* releaseIps(releases: readonly Release[]): Plan<Addr[]> {
  const alreadyFree: Addr[] = []
  const byBlock = new Map<Prefix, Release[]>()
  for (const release of releases) {
    const cidr = yield* findBlock(release.address, byBlock.keys())
    if (cidr === undefined) alreadyFree.push(release.address)
    else byBlock.set(cidr, [...(byBlock.get(cidr) ?? []), release])
  }
  for (const [cidr, wanted] of byBlock) {
    const handles = wanted.flatMap(({ handle }) => handle ?? [])
    const ordinals = yield* releaseFrom(cidr, handles, block => wanted.flatMap(release => allocated(block, release)))
    const freed = new Set(ordinals.map(ordinal => addressAt(cidr, ordinal)))
    alreadyFree.push(...wanted.map(({ address }) => address).filter(address => !freed.has(address)))
  }
  return alreadyFree
}

function allocated(block: Block, { address, handle, sequence }: Release): readonly number[] {
  const ordinal = ordinalOf(block.cidr, address)
  if (ordinal === undefined || block.allocations[ordinal] === null) return []
  const holder = handleAt(block, ordinal)
  if (handle !== undefined && handle !== holder) {
    throw new IpamError('handle', `${address} is not of handle ${handle} but of ${holder ?? 'none'}`)
  }
  const given = block.sequenceNumberForAllocation.get(String(ordinal))
  if (sequence !== undefined && given !== undefined && sequence !== given) {
    throw new IpamError('sequence', `${address} has been given to another since`)
  }
  return [ordinal]
}

/** The block that has an address, whatever its size: the default size first. */
export function* findBlock(address: Addr, known: Iterable<Prefix> = []): Plan<Prefix | undefined> {
  for (const cidr of known) if (ordinalOf(cidr, address) !== undefined) return cidr
  const family = familyOf(address)
  const usual = DEFAULT_BLOCK_SIZE[family]
  const sizes = Array.from({ length: MAX_HOST_BITS + 1 }, (_, i) => BITS[family] - i)
  for (const size of [usual, ...sizes.filter(size => size !== usual)]) {
    const cidr = makePrefix(family, toNumber(address), size)
    if (yield* get(blockKey(cidr))) return cidr
  }
  return undefined
}

/** Gives up all of an owner's blocks, as when a node is gone; addresses in use stay until they are released. */
export function* releaseOwner(owner: Owner): Plan<readonly Prefix[]> {
  const released: Prefix[] = []
  for (const family of FAMILIES) {
    const affinities = yield* list(affinitiesPrefix(owner, family))
    const blocks = (yield* list(blocksPrefix(family))).filter(({ value }) => mentionsOwner(value, owner))
    for (const cidr of new Set([...affinities, ...blocks].map(({ key }) => cidrOfKey(key)))) {
      if (cidr === undefined) continue
      yield* releaseAffinity(owner, cidr)
      released.push(cidr)
    }
  }
  return released
}
