// Giving addresses: from the owner's blocks, then from a new block, then from a block of others. For each block the
// handle is written before the block, with the count the block will have, so that a process killed between the two leaves
// a handle that says too much, which the handle's release repairs, and never an address that nobody knows of.
import { type Addr, FAMILIES, type Family, familyOf, toNumber } from '../net/addr.ts'
import { type Prefix, prefixContains, prefixCovers } from '../net/prefix.ts'
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
import { encodeHandle, withCount } from './handle.ts'
import { affinitiesPrefix, blockKey, blocksPrefix, cidrOfKey, handleKey, type Owner } from './keys.ts'
import { IpamError, list, type Plan, put, retry } from './plan.ts'
import { blockOf, blocksFrom, type IPPoolLike, shuffle } from './pools.ts'
import { readHandle, releaseFrom, type StoredHandle } from './release.ts'

/** What all kinds of allocation need to know; time and chance among it. */
export type AssignContext = {
  readonly owner: Owner
  /** Under which name the addresses can be released. */
  readonly handle: string
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
  const touched = new Set<Prefix>()
  const promises = new Promises(request.handle)
  try {
    for (const family of FAMILIES) {
      const { count, pools } = request.wanted[family]
      if (count > 0) yield* assignFamily({ ...request, family, pools, count, got: got[family], touched, promises })
    }
  } catch (error) {
    const mine = [...got[4], ...got[6]]
    for (const cidr of touched) {
      yield* releaseFrom(cidr, [request.handle], block =>
        ordinalsOf(block, request.handle).filter(ordinal => mine.includes(addressAt(cidr, ordinal))),
      )
    }
    throw error
  }
  return got
}

type FamilyRequest = AutoAssign & {
  readonly family: Family
  readonly pools: readonly IPPoolLike[]
  readonly count: number
  /** Filled here, so that a failure half way knows what there is to give back. */
  readonly got: Addr[]
  readonly touched: Set<Prefix>
  readonly promises: Promises
}

function* assignFamily(request: FamilyRequest): Plan<void> {
  const { owner, family, pools, count, got, config, now } = request
  const inPools = (cidr: Prefix): boolean => pools.some(pool => prefixCovers(pool.cidr, cidr))
  const affinities = yield* list(affinitiesPrefix(owner, family))
  let owned = affinities.length
  for (const affinity of affinities) {
    if (got.length === count) return
    const cidr = cidrOfKey(affinity.key)
    if (cidr === undefined || !inPools(cidr)) continue
    const settled = yield* settleAffinity(owner, cidr, { affinity, now })
    if (settled === undefined) owned--
    else if (settled !== 'corrupt') yield* assignFrom({ cidr, affinity: owner, known: settled }, request)
  }
  if (got.length === count) return

  const existing = (yield* list(blocksPrefix(family))).flatMap(stored => {
    const cidr = cidrOfKey(stored.key)
    return cidr !== undefined && inPools(cidr) ? [{ cidr, stored }] : []
  })
  const listed = new Set(affinities.map(({ key }) => cidrOfKey(key)))
  for (const { cidr, stored } of existing) {
    // Ours by the block alone: what a killed claim may leave.
    if (listed.has(cidr) || !mentionsOwner(stored.value, owner)) continue
    const claimed = yield* claimBlock(owner, cidr, now)
    if (claimed === undefined) continue
    owned++
    yield* assignFrom({ cidr, affinity: owner, known: claimed }, request)
    if (got.length === count) return
  }
  if (config.autoAllocateBlocks) {
    const limit = blockLimit(config, request.maxBlocksPerHost)
    const taken = new Set(existing.map(({ cidr }) => cidr))
    for (const cidr of candidates(request, taken)) {
      if (owned >= limit) {
        const message = `Need to allocate an IPAM block but could not - limit of ${limit} blocks reached for this node`
        throw new IpamError('block-limit', message)
      }
      const claimed = yield* claimBlock(owner, cidr, now)
      if (claimed === undefined) continue
      owned++
      yield* assignFrom({ cidr, affinity: owner, known: claimed }, request)
      if (got.length === count) return
    }
  }

  if (!config.strictAffinity) {
    for (const { cidr, stored } of shuffle(existing, request.seed)) {
      const opened = openBlock(stored)
      if (opened === 'corrupt' || opened.block.affinity === owner || opened.block.unallocated.length === 0) continue
      yield* assignFrom({ cidr, affinity: undefined, known: undefined }, request)
      if (got.length === count) return
    }
  }
  throw new IpamError('exhausted', `no free IPv${family} address: ${got.length} of ${count} in ${printPools(pools)}`)
}

const printPools = (pools: readonly IPPoolLike[]): string => pools.map(({ cidr }) => cidr).join(', ')

/** Blocks that nobody has yet, pool by pool; those wholly reserved are left out. */
function* candidates({ pools, owner, reserved }: FamilyRequest, taken: ReadonlySet<Prefix>): Generator<Prefix> {
  for (const pool of pools) {
    for (const cidr of blocksFrom(pool, owner)) {
      if (!taken.has(cidr) && !reserved.some(range => prefixCovers(range, cidr))) yield cidr
    }
  }
}

/** `known`: the block as it was read last, before anything was written. */
type Source = {
  readonly cidr: Prefix
  readonly affinity: Owner | undefined
  readonly known: StoredBlock | undefined
}

/** Takes as many addresses as are still wanted from one block, if it (still) has the affinity asked for. */
function* assignFrom({ cidr, affinity, known }: Source, request: FamilyRequest): Plan<void> {
  const { handle, got, count, reserved, promises } = request
  const isReserved = (address: Addr): boolean => reserved.some(range => prefixContains(range, address))
  let promised = 0
  let held = 0
  let first = known
  const ordinals = yield* retry(function* (): Plan<readonly number[] | undefined> {
    const found = first ?? (yield* readBlock(cidr))
    first = undefined
    if (found === undefined || found === 'corrupt') return []
    const { block, revision } = found
    if (affinity !== undefined && block.affinity !== affinity) return []
    const chosen = freeOrdinals(block, count - got.length, isReserved)
    if (chosen.length === 0) return []
    request.touched.add(cidr)
    const total = ordinalsOf(block, handle).length + chosen.length
    promised = Math.max(promised, total)
    yield* promises.make(cidr, total)
    const next = allocate(block, chosen, toAttribute(request))
    if ((yield* put(blockKey(cidr), encodeBlock(next), revision)) === undefined) return undefined
    held = total
    return chosen
  })
  got.push(...ordinals.map(ordinal => addressAt(cidr, ordinal)))
  // An earlier try promised more than this block had in the end.
  if (promised > held) yield* releaseFrom(cidr, [handle], () => [])
}

/** Writes into a handle what its blocks will hold. It remembers what it wrote: the next block needs no look at it. */
class Promises {
  readonly #id: string
  #known: StoredHandle | undefined

  constructor(id: string) {
    this.#id = id
  }

  /** That the block will hold this many of its addresses; always a write, so that a release notices. */
  *make(cidr: Prefix, count: number): Plan<void> {
    yield* retry(() => this.#write(cidr, count))
  }

  *#write(cidr: Prefix, count: number): Plan<true | undefined> {
    const { handle, revision } = this.#known ?? (yield* readHandle(this.#id))
    this.#known = undefined
    const counted = withCount(handle, cidr, Math.max(count, handle.counts.get(cidr) ?? 0))
    const written = yield* put(handleKey(this.#id), encodeHandle(counted), revision)
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
  const promises = new Promises(handle)
  let promised = 0
  let held = 0
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
      promised = Math.max(promised, total)
      yield* promises.make(cidr, total)
      const next = allocate(block, [ordinal], toAttribute(context))
      if ((yield* put(blockKey(cidr), encodeBlock(next), revision)) === undefined) return undefined
      held = total
      return true
    })
  } finally {
    if (promised > held) yield* releaseFrom(cidr, [handle], () => [])
  }
}
