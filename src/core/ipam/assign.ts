// Giving addresses: from the owner's blocks, then from a new block, then from a block of others. Blocks are read, then the
// handle is written, with the counts that they will have, then the blocks: a process killed in between leaves a handle that
// says too much, which the handle's release repairs, and never an address that nobody knows of.
import { type Addr, FAMILIES, type Family, familyOf, toNumber } from '../net/addr.ts'
import { type Prefix, prefixContains, prefixCovers, prefixFamily } from '../net/prefix.ts'
import { claimBlock, openBlock, readBlock, type StoredBlock, settleAffinity } from './affinity.ts'
import {
  type Attribute,
  addressAt,
  allocate,
  encodeBlock,
  freeOrdinals,
  type Moment,
  mentionsOwner,
  ordinalOf,
  ordinalsOf,
} from './block.ts'
import { blockLimit, type IpamConfig } from './config.ts'
import { EMPTY_HANDLE, encodeHandle, withCount } from './handle.ts'
import { affinitiesPrefix, blockKey, blocksPrefix, cidrOfKey, handleKey, type Owner } from './keys.ts'
import { IpamError, list, type Plan, put, retry, type Write, writeAll } from './plan.ts'
import { blockOf, blocksFrom, type IPPoolLike, shuffle } from './pools.ts'
import { readHandle, releaseFrom, type StoredHandle } from './release.ts'

/** What all kinds of allocation need to know; time and chance among it. */
export type AssignContext = {
  readonly owner: Owner
  /** Under which name the addresses can be released. */
  readonly handle: string
  /** There should be no such handle yet, and nobody looks: throws `exists`, with nothing given, if there is. */
  readonly isNewHandle?: boolean
  /** Calico's `secondary`: pod, namespace, node, timestamp, type. */
  readonly attributes: Readonly<Record<string, string>>
  readonly config: IpamConfig
  /** CIDRs of IPReservations: never given by automatic assignment. */
  readonly reserved: readonly Prefix[]
  readonly now: Moment
  readonly seed: number
}

export type AutoAssign = AssignContext & {
  readonly wanted: Readonly<Record<Family, { readonly count: number; readonly pools: readonly IPPoolLike[] }>>
  /** A limit of this request beside the configured one; 0: none. */
  readonly maxBlocksPerHost: number
}

export type Assigned = Readonly<Record<Family, readonly Addr[]>>

/** Gives all the addresses wanted in both families, or none: what was got is given back before it throws. */
export function* autoAssign(request: AutoAssign): Plan<Assigned> {
  const got: Record<Family, Addr[]> = { 4: [], 6: [] }
  const work: Work = { ...request, got, promises: new Promises(request) }
  try {
    const own = { 4: yield* ownBlocks(4, work), 6: yield* ownBlocks(6, work) }
    for (;;) {
      // One block of each family at a time: the handle is written once for both.
      const sources = FAMILIES.flatMap(family => (missing(work, family) > 0 ? (own[family].sources.shift() ?? []) : []))
      if (sources.length === 0) break
      yield* assignFrom(sources, work)
    }
    for (const family of FAMILIES) if (missing(work, family) > 0) yield* assignFromMore(family, own[family], work)
  } catch (error) {
    const mine = [...got[4], ...got[6]]
    for (const cidr of work.promises.made.keys()) {
      yield* releaseFrom(cidr, [request.handle], block =>
        ordinalsOf(block, request.handle).filter(ordinal => mine.includes(addressAt(cidr, ordinal))),
      )
    }
    throw error
  }
  return got
}

type Work = AutoAssign & {
  /** Filled as addresses are given, so that a failure half way knows what there is to give back. */
  readonly got: Record<Family, Addr[]>
  readonly promises: Promises
}

const missing = ({ wanted, got }: Work, family: Family): number => wanted[family].count - got[family].length

const inPools = ({ wanted }: Work, cidr: Prefix): boolean =>
  wanted[prefixFamily(cidr)].pools.some(pool => prefixCovers(pool.cidr, cidr))

const isReservedIn =
  ({ reserved }: AssignContext) =>
  (address: Addr): boolean =>
    reserved.some(range => prefixContains(range, address))

/** A block to take addresses from, as it was read last, before anything was written; only if it has this affinity, if any. */
type Source = { readonly cidr: Prefix; readonly affinity: Owner | undefined; readonly known: StoredBlock | undefined }

/** What the owner has of a family: blocks with something free, all that have an affinity, and how many are its own. */
type Own = { readonly sources: Source[]; readonly listed: ReadonlySet<Prefix | undefined>; readonly count: number }

/** Affinities that are half done are finished on the way. */
function* ownBlocks(family: Family, work: Work): Plan<Own> {
  const { owner, now } = work
  const sources: Source[] = []
  if (missing(work, family) === 0) return { sources, listed: new Set(), count: 0 }
  const affinities = yield* list(affinitiesPrefix(owner, family))
  let count = affinities.length
  for (const affinity of affinities) {
    const cidr = cidrOfKey(affinity.key)
    if (cidr === undefined || !inPools(work, cidr)) continue
    const known = yield* settleAffinity(owner, cidr, { affinity, now })
    if (known === undefined) count--
    else if (known !== 'corrupt' && freeOrdinals(known.block, 1, isReservedIn(work)).length > 0)
      sources.push({ cidr, affinity: owner, known })
  }
  return { sources, listed: new Set(affinities.map(({ key }) => cidrOfKey(key))), count }
}

/** What the owner's blocks do not have: from blocks that are its own by the block alone, from new ones, from others'. */
function* assignFromMore(family: Family, own: Own, work: Work): Plan<void> {
  const { owner, config, now } = work
  const { count, pools } = work.wanted[family]
  let owned = own.count
  const existing = (yield* list(blocksPrefix(family))).flatMap(stored => {
    const cidr = cidrOfKey(stored.key)
    return cidr !== undefined && inPools(work, cidr) ? [{ cidr, stored }] : []
  })
  for (const { cidr, stored } of existing) {
    // What a killed claim may leave.
    if (own.listed.has(cidr) || !mentionsOwner(stored.value, owner)) continue
    const known = yield* claimBlock(owner, cidr, now)
    if (known === undefined) continue
    owned++
    yield* assignFrom([{ cidr, affinity: owner, known }], work)
    if (missing(work, family) === 0) return
  }
  if (config.autoAllocateBlocks) {
    const limit = blockLimit(config, work.maxBlocksPerHost)
    const taken = new Set(existing.map(({ cidr }) => cidr))
    for (const cidr of candidates(pools, work, taken)) {
      if (owned >= limit) {
        const message = `Need to allocate an IPAM block but could not - limit of ${limit} blocks reached for this node`
        throw new IpamError('block-limit', message)
      }
      const known = yield* claimBlock(owner, cidr, now)
      if (known === undefined) continue
      owned++
      yield* assignFrom([{ cidr, affinity: owner, known }], work)
      if (missing(work, family) === 0) return
    }
  }

  if (!config.strictAffinity) {
    for (const { cidr, stored } of shuffle(existing, work.seed)) {
      const opened = openBlock(stored)
      if (opened === 'corrupt' || opened.block.affinity === owner || opened.block.unallocated.length === 0) continue
      yield* assignFrom([{ cidr, affinity: undefined, known: undefined }], work)
      if (missing(work, family) === 0) return
    }
  }
  const got = `${count - missing(work, family)} of ${count}`
  throw new IpamError('exhausted', `no free IPv${family} address: ${got} in ${printPools(pools)}`)
}

const printPools = (pools: readonly IPPoolLike[]): string => pools.map(({ cidr }) => cidr).join(', ')

/** Blocks that nobody has yet, pool by pool; those wholly reserved are left out. */
function* candidates(
  pools: readonly IPPoolLike[],
  { owner, reserved }: AssignContext,
  taken: ReadonlySet<Prefix>,
): Generator<Prefix> {
  for (const pool of pools) {
    for (const cidr of blocksFrom(pool, owner)) {
      if (!taken.has(cidr) && !reserved.some(range => prefixCovers(range, cidr))) yield cidr
    }
  }
}

/** Takes as many addresses as are still wanted from blocks, at most one of each family. */
function* assignFrom(sources: readonly Source[], work: Work): Plan<void> {
  const { handle, got, promises } = work
  let left = sources
  yield* retry(function* (): Plan<true | undefined> {
    const takes: { readonly source: Source; readonly chosen: readonly number[]; readonly write: Write }[] = []
    const totals = new Map<Prefix, number>()
    for (const source of left) {
      const { cidr, affinity } = source
      const found = source.known ?? (yield* readBlock(cidr))
      if (found === undefined || found === 'corrupt') continue
      const { block, revision } = found
      if (affinity !== undefined && block.affinity !== affinity) continue
      const chosen = freeOrdinals(block, missing(work, prefixFamily(cidr)), isReservedIn(work))
      if (chosen.length === 0) continue
      const value = encodeBlock(allocate(block, chosen, toAttribute(work)))
      takes.push({ source, chosen, write: { key: blockKey(cidr), value, ifRevision: revision } })
      totals.set(cidr, ordinalsOf(block, handle).length + chosen.length)
    }
    if (takes.length === 0) return true
    yield* promises.make(totals)
    const written = yield* writeAll(takes.map(({ write }) => write))
    left = []
    for (const [i, { source, chosen }] of takes.entries()) {
      const { cidr } = source
      if (written[i] === undefined) left = [...left, { ...source, known: undefined }]
      else {
        got[prefixFamily(cidr)].push(...chosen.map(ordinal => addressAt(cidr, ordinal)))
        promises.keep(cidr, totals.get(cidr)!)
      }
    }
    return left.length === 0 || undefined
  })
  for (const { cidr } of sources) yield* promises.settle(cidr)
}

/** Writes into a handle what its blocks will hold. It remembers what it wrote: the next block needs no look at it. */
class Promises {
  readonly #id: string
  #known: StoredHandle | undefined
  readonly #isNew: boolean
  /** What was promised of each block at most, and what it holds. */
  readonly made = new Map<Prefix, { readonly promised: number; readonly held: number }>()

  constructor({ handle, isNewHandle = false }: AssignContext) {
    this.#id = handle
    this.#isNew = isNewHandle
  }

  /** That the blocks will hold this many of its addresses; always a write, so that a release notices. */
  *make(totals: ReadonlyMap<Prefix, number>): Plan<void> {
    yield* retry(() => this.#write(totals))
    for (const [cidr, total] of totals) {
      const { promised = 0, held = 0 } = this.made.get(cidr) ?? {}
      this.made.set(cidr, { promised: Math.max(promised, total), held })
    }
  }

  keep(cidr: Prefix, held: number): void {
    this.made.set(cidr, { promised: this.made.get(cidr)!.promised, held })
  }

  /** Takes back what an earlier try promised and the block does not have in the end. */
  *settle(cidr: Prefix): Plan<void> {
    const { promised = 0, held = 0 } = this.made.get(cidr) ?? {}
    if (promised > held) yield* releaseFrom(cidr, [this.#id], () => [])
  }

  *#write(totals: ReadonlyMap<Prefix, number>): Plan<true | undefined> {
    const isFirst = this.#isNew && this.made.size === 0
    const { handle, revision } =
      this.#known ?? (isFirst ? { handle: EMPTY_HANDLE, revision: 0 } : yield* readHandle(this.#id))
    this.#known = undefined
    let counted = handle
    for (const [cidr, total] of totals)
      counted = withCount(counted, cidr, Math.max(total, handle.counts.get(cidr) ?? 0))
    const written = yield* put(handleKey(this.#id), encodeHandle(counted), revision)
    if (written === undefined && isFirst) throw new IpamError('exists', `there is the handle ${this.#id} already`)
    if (written === undefined) return undefined
    this.#known = { handle: counted, revision: written }
    return true
  }
}

const toAttribute = ({ handle, attributes }: AssignContext): Attribute => ({
  handleId: handle,
  secondary: new Map(Object.entries(attributes)),
  rest: {},
})

/** Gives one certain address out of the pools (selected by the caller); reservations do not matter. */
export function* assignIp(address: Addr, pools: readonly IPPoolLike[], context: AssignContext): Plan<void> {
  const { owner, handle, config, now } = context
  const pool = pools.find(({ cidr }) => prefixContains(cidr, address))
  if (!pool) {
    throw new IpamError('no-pool', `the IP address ${address} is not in any enabled IPv${familyOf(address)} pool`)
  }
  const cidr = blockOf(pool, toNumber(address))
  const ordinal = ordinalOf(cidr, address)!
  const promises = new Promises(context)
  try {
    yield* retry(function* (): Plan<true | undefined> {
      const found = yield* readBlock(cidr)
      if (found === 'corrupt') throw new IpamError('corrupt', `the IPAM block ${cidr} cannot be read`)
      if (found === undefined) {
        yield* claimBlock(owner, cidr, now)
        return undefined
      }
      const { block, revision } = found
      if (block.allocations[ordinal] !== null) {
        throw new IpamError('assigned', `the IP address ${address} is already assigned`)
      }
      if (config.strictAffinity && block.affinity !== owner) {
        throw new IpamError('not-owned', `${address} is in the block ${cidr}, which is not affine to ${owner}`)
      }
      const total = ordinalsOf(block, handle).length + 1
      yield* promises.make(new Map([[cidr, total]]))
      const next = allocate(block, [ordinal], toAttribute(context))
      if ((yield* put(blockKey(cidr), encodeBlock(next), revision)) === undefined) return undefined
      promises.keep(cidr, total)
      return true
    })
  } finally {
    yield* promises.settle(cidr)
  }
}
