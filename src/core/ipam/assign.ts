// Giving addresses: from the owner's blocks, then from a new block, then from a block of others. What handles say comes
// before what blocks say (promises.ts). Who asks at the same time shares the writes of the blocks.
import type { Outcome } from '../base/problem.ts'
import { type Addr, FAMILIES, type Family } from '../net/addr.ts'
import { type Prefix, prefixContains, prefixCovers, prefixFamily } from '../net/prefix.ts'
import { claimBlock, openBlock, readBlock, type StoredBlock, settleAffinity } from './affinity.ts'
import { allocateAll, takeInTurn } from './batch.ts'
import { type Attribute, addressAt, type Block, encodeBlock, type Moment, mentionsOwner, ordinalsOf } from './block.ts'
import { blockLimit, type IpamConfig } from './config.ts'
import { affinitiesPrefix, blockKey, blocksPrefix, cidrOfKey, type Owner } from './keys.ts'
import { IpamError, list, type Plan, retry, writeAll } from './plan.ts'
import { blocksFrom, type IPPoolLike, shuffle } from './pools.ts'
import { Promises, promiseAll } from './promises.ts'
import { releaseFrom } from './release.ts'

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

/**
 * Gives to each all the addresses that it wants in both families, or none. What the owner's blocks have is given to all of
 * them at once: each block is written once.
 */
export function* autoAssign(requests: readonly AutoAssign[]): Plan<readonly Outcome<Assigned>[]> {
  const works = requests.map(
    (request): Work => ({ ...request, got: { 4: [], 6: [] }, promises: new Promises(request) }),
  )
  for (const ofOwner of Map.groupBy(works, ({ owner }) => owner).values()) yield* assign(ofOwner)
  return works.map(({ got, error }) => (error === undefined ? { ok: true, value: got } : { ok: false, error }))
}

/** One request on its way. */
type Work = AutoAssign & {
  /** Filled as addresses are given, so that a failure half way knows what there is to give back. */
  readonly got: Record<Family, Addr[]>
  readonly promises: Promises
  error?: Error
}

function* assign(works: readonly Work[]): Plan<void> {
  for (let left = works; left.length > 0; left = left.filter(isWaiting)) {
    const own = yield* attempt(left, assignFromOwn(left))
    const first = left.find(isWaiting)
    // The others find room in the block that it claims, or in what it gives back.
    if (own && first) yield* attempt([first], assignFromMore(first, own))
    for (const work of left) if (!isWaiting(work)) yield* attempt([work], finish(work))
  }
}

/** A plan on whose failure nobody fails but these. */
function* attempt<T>(works: readonly Work[], plan: Plan<T>): Plan<T | undefined> {
  try {
    return yield* plan
  } catch (error) {
    for (const work of works) if (isWaiting(work)) work.error = error as Error
    return undefined
  }
}

/** All is given, or else what was got is given back. */
function* finish({ error, got, handle, promises }: Work): Plan<void> {
  if (error === undefined) return yield* promises.settle()
  // Where the datastore failed nothing more is asked of it: a release by handle finds what is left.
  if (!(error instanceof IpamError)) return
  const mine = [...got[4], ...got[6]]
  for (const cidr of promises.made.keys()) {
    yield* releaseFrom(cidr, [handle], block =>
      ordinalsOf(block, handle).filter(ordinal => mine.includes(addressAt(cidr, ordinal))),
    )
  }
}

const missing = ({ wanted, got }: Work, family: Family): number => wanted[family].count - got[family].length

const isWaiting = (work: Work): boolean =>
  work.error === undefined && FAMILIES.some(family => missing(work, family) > 0)

const inPools = ({ wanted }: Work, cidr: Prefix): boolean =>
  wanted[prefixFamily(cidr)].pools.some(pool => prefixCovers(pool.cidr, cidr))

const isReservedIn =
  ({ reserved }: AssignContext) =>
  (address: Addr): boolean =>
    reserved.some(range => prefixContains(range, address))

/** What the owner has of a family: its blocks, all that have an affinity, and how many are its own. */
type Own = {
  readonly blocks: readonly StoredBlock[]
  readonly listed: ReadonlySet<Prefix | undefined>
  readonly count: number
}

/** Gives what the owner's blocks have. They are read before anything is written, and again if others wrote one meanwhile. */
function* assignFromOwn(works: readonly Work[]): Plan<Readonly<Record<Family, Own>>> {
  return yield* retry(function* () {
    const own = { 4: yield* ownBlocks(4, works), 6: yield* ownBlocks(6, works) }
    return (yield* give(works, [...own[4].blocks, ...own[6].blocks])) ? own : undefined
  })
}

/** Affinities that are half done are finished on the way. */
function* ownBlocks(family: Family, works: readonly Work[]): Plan<Own> {
  const blocks: StoredBlock[] = []
  const wanting = works.filter(work => isWaiting(work) && missing(work, family) > 0)
  const [first] = wanting
  if (first === undefined) return { blocks, listed: new Set(), count: 0 }
  const { owner, now } = first
  const affinities = yield* list(affinitiesPrefix(owner, family))
  let count = affinities.length
  for (const affinity of affinities) {
    const cidr = cidrOfKey(affinity.key)
    if (cidr === undefined || !wanting.some(work => inPools(work, cidr))) continue
    const known = yield* settleAffinity(owner, cidr, { affinity, now })
    if (known === undefined) count--
    else if (known !== 'corrupt') blocks.push(known)
  }
  return { blocks, listed: new Set(affinities.map(({ key }) => cidrOfKey(key))), count }
}

/**
 * Gives each what it still wants, as far as these blocks have it: the handles are written side by side, then the blocks. Who
 * fails does not keep the others from theirs. False if a block has been written by others since it was read.
 */
function* give(works: readonly Work[], blocks: readonly StoredBlock[]): Plan<boolean> {
  const planned = shareOut(works, blocks)
  const wanted = new Map<Promises, Map<Prefix, number>>()
  for (const { cidr, next, takes } of planned) {
    for (const { work } of takes) {
      const totals = wanted.get(work.promises) ?? new Map<Prefix, number>()
      wanted.set(work.promises, totals.set(cidr, ordinalsOf(next, work.handle).length))
    }
  }
  const failures = yield* promiseAll(wanted)
  for (const work of works) work.error ??= failures.get(work.promises)
  const changes = planned.flatMap(({ cidr, found, takes }) => {
    const kept = takes.filter(({ work }) => work.error === undefined)
    return kept.length === 0 ? [] : [{ cidr, found, kept, next: allocateAll(found.block, kept) }]
  })
  if (changes.length === 0) return true
  const written = yield* writeAll(
    changes.map(({ cidr, found, next }) => ({
      key: blockKey(cidr),
      value: encodeBlock(next),
      ifRevision: found.revision,
    })),
  )
  for (const [i, { cidr, next, kept }] of changes.entries()) {
    if (written[i] === undefined) continue
    for (const { work, ordinals } of kept) {
      work.got[prefixFamily(cidr)].push(...ordinals.map(ordinal => addressAt(cidr, ordinal)))
      work.promises.keep(cidr, ordinalsOf(next, work.handle).length)
    }
  }
  return written.every(revision => revision !== undefined)
}

type Take = { readonly work: Work; readonly ordinals: readonly number[]; readonly attribute: Attribute }
/** A block with what is taken of it, and as it will be. */
type Share = {
  readonly cidr: Prefix
  readonly found: StoredBlock
  readonly takes: readonly Take[]
  readonly next: Block
}

/** Who is to have what of blocks; those of which nobody has anything are left out. */
function shareOut(works: readonly Work[], blocks: readonly StoredBlock[]): Share[] {
  const left = new Map(works.map(work => [work, { 4: missing(work, 4), 6: missing(work, 6) }]))
  return blocks.flatMap(found => {
    const { cidr } = found.block
    const family = prefixFamily(cidr)
    const wanting = works.filter(work => isWaiting(work) && left.get(work)![family] > 0 && inPools(work, cidr))
    const wishes = wanting.map(work => ({ count: left.get(work)![family], isReserved: isReservedIn(work) }))
    const takes = takeInTurn(found.block, wishes).flatMap((ordinals, i): Take[] => {
      const work = wanting[i]!
      left.get(work)![family] -= ordinals.length
      return ordinals.length === 0 ? [] : [{ work, ordinals, attribute: toAttribute(work) }]
    })
    return takes.length === 0 ? [] : [{ cidr, found, takes, next: allocateAll(found.block, takes) }]
  })
}

/** What the owner's blocks do not have: from blocks that are its own by the block alone, from new ones, from others'. */
function* assignFromMore(work: Work, own: Readonly<Record<Family, Own>>): Plan<void> {
  for (const family of FAMILIES) if (missing(work, family) > 0) yield* assignFamilyFromMore(family, own[family], work)
}

function* assignFamilyFromMore(family: Family, own: Own, work: Work): Plan<void> {
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
    yield* assignFrom({ cidr, affinity: owner, known }, work)
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
      yield* assignFrom({ cidr, affinity: owner, known }, work)
      if (missing(work, family) === 0) return
    }
  }

  if (!config.strictAffinity) {
    for (const { cidr, stored } of shuffle(existing, work.seed)) {
      const opened = openBlock(stored)
      if (opened === 'corrupt' || opened.block.affinity === owner || opened.block.unallocated.length === 0) continue
      yield* assignFrom({ cidr, affinity: undefined, known: undefined }, work)
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

/** A block to take addresses from, as it was read last; only if it has this affinity, if any. */
type Source = { readonly cidr: Prefix; readonly affinity: Owner | undefined; readonly known: StoredBlock | undefined }

/** Takes as many addresses as are still wanted, and as the block has. */
function* assignFrom({ cidr, affinity, known }: Source, work: Work): Plan<void> {
  let last = known
  yield* retry(function* (): Plan<true | undefined> {
    const found = last ?? (yield* readBlock(cidr))
    last = undefined
    if (found === undefined || found === 'corrupt') return true
    if (affinity !== undefined && found.block.affinity !== affinity) return true
    return (yield* give([work], [found])) || undefined
  })
  if (work.error !== undefined) throw work.error
}

export const toAttribute = ({ handle, attributes }: AssignContext): Attribute => ({
  handleId: handle,
  secondary: new Map(Object.entries(attributes)),
  rest: {},
})
