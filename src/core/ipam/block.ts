// A block: a fixed run of a pool's addresses, Calico's unit of allocation, as a value. `allocations[ordinal]` is an index
// into `attributes` or null; `unallocated` is the queue of free ordinals, so that an address is reused as late as possible.

import { failed, ok, type Result } from '../base/problem.ts'
import { type Addr, BITS, fromNumber, toNumber } from '../net/addr.ts'
import {
  type Prefix,
  parsePrefixDetail,
  prefixBase,
  prefixContains,
  prefixFamily,
  prefixLength,
} from '../net/prefix.ts'
import { isObject, type Json, type JsonObject, parseJson, printJson } from './json.ts'

/** Who holds addresses; all addresses with equal handle and secondary share one. Fields unknown here are kept in `rest`. */
export type Attribute = {
  readonly handleId: string | undefined
  readonly secondary: ReadonlyMap<string, string>
  readonly rest: JsonObject
}

export type Block = {
  readonly cidr: Prefix
  /** `host:<node>`, `virtual:<name>`, or nobody's. */
  readonly affinity: string | null
  /** RFC 3339, whole seconds. */
  readonly affinityClaimTime: string | undefined
  readonly allocations: readonly (number | null)[]
  readonly unallocated: readonly number[]
  readonly attributes: readonly Attribute[]
  /** Begins with the clock in nanoseconds and grows by one with every write. */
  readonly sequenceNumber: bigint
  /** By ordinal: the block's number when the address was given. */
  readonly sequenceNumberForAllocation: ReadonlyMap<string, bigint>
  readonly deleted: boolean
  readonly rest: JsonObject
}

/** Blocks are at most this big: /20 and /116. */
export const MAX_HOST_BITS = 12

export const blockCapacity = (cidr: Prefix): number => 2 ** (BITS[prefixFamily(cidr)] - prefixLength(cidr))

export const addressAt = (cidr: Prefix, ordinal: number): Addr =>
  fromNumber(prefixFamily(cidr), toNumber(prefixBase(cidr)) + BigInt(ordinal))

/** The address's place in the block; undefined if it is outside. */
export const ordinalOf = (cidr: Prefix, address: Addr): number | undefined =>
  prefixContains(cidr, address) ? Number(toNumber(address) - toNumber(prefixBase(cidr))) : undefined

/** A point in time as the caller's clock gives it: RFC 3339 in whole seconds (UTC), and nanoseconds since 1970. */
export type Moment = { readonly rfc3339: string; readonly unixNano: bigint }

/** An empty block; `now` gives the claim time and the first sequence number, as Calico's do. */
export function newBlock(cidr: Prefix, affinity: string, now: Moment): Block {
  const ordinals = Array.from({ length: blockCapacity(cidr) }, (_, i) => i)
  return {
    cidr,
    affinity,
    affinityClaimTime: now.rfc3339,
    allocations: ordinals.map(() => null),
    unallocated: ordinals,
    attributes: [],
    sequenceNumber: now.unixNano,
    sequenceNumberForAllocation: new Map(),
    deleted: false,
    rest: {},
  }
}

export const isEmpty = (block: Block): boolean => block.allocations.every(index => index === null)

/** Whether a block's text names this owner: cheap enough to ask of every block there is. */
export const mentionsOwner = (text: string, owner: string): boolean => text.includes(`"affinity":${printJson(owner)}`)

/** Handle of an address, undefined if it is free or has none. */
export function handleAt(block: Block, ordinal: number): string | undefined {
  const index = block.allocations[ordinal]
  return index === null || index === undefined ? undefined : block.attributes[index]?.handleId
}

export const ordinalsOf = (block: Block, handle: string): number[] =>
  block.allocations.flatMap((_, ordinal) => (handleAt(block, ordinal) === handle ? [ordinal] : []))

const sameMap = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)

const sameAttribute = (a: Attribute, b: Attribute): boolean =>
  a.handleId === b.handleId &&
  sameMap(a.secondary, b.secondary) &&
  Object.keys(a.rest).length === 0 &&
  Object.keys(b.rest).length === 0

/** The first `count` free ordinals of the queue that are not reserved; fewer if there are not so many. */
export function freeOrdinals(block: Block, count: number, isReserved: (address: Addr) => boolean): number[] {
  const free: number[] = []
  for (const ordinal of block.unallocated) {
    if (free.length === count) break
    if (!isReserved(addressAt(block.cidr, ordinal))) free.push(ordinal)
  }
  return free
}

/** The block with these free ordinals given to the attribute, and its sequence number moved on. */
export function allocate(block: Block, ordinals: readonly number[], attribute: Attribute): Block {
  const known = block.attributes.findIndex(other => sameAttribute(other, attribute))
  const index = known < 0 ? block.attributes.length : known
  const taken = new Set(ordinals)
  return touch({
    ...block,
    allocations: block.allocations.map((old, ordinal) => (taken.has(ordinal) ? index : old)),
    unallocated: block.unallocated.filter(ordinal => !taken.has(ordinal)),
    attributes: known < 0 ? [...block.attributes, attribute] : block.attributes,
    sequenceNumberForAllocation: new Map([
      ...block.sequenceNumberForAllocation,
      ...ordinals.map(ordinal => [String(ordinal), block.sequenceNumber] as const),
    ]),
  })
}

/** The block with these ordinals at the end of the free queue, and attributes that nobody has any more left out. */
export function free(block: Block, ordinals: readonly number[]): Block {
  const gone = new Set(ordinals)
  const left = block.allocations.map((index, ordinal) => (gone.has(ordinal) ? null : index))
  const used = new Set(left)
  const kept = block.attributes.flatMap((_, index) => (used.has(index) ? [index] : []))
  const renumbered = new Map(kept.map((index, i) => [index, i]))
  return touch({
    ...block,
    allocations: left.map(index => (index === null ? null : renumbered.get(index)!)),
    unallocated: [...block.unallocated, ...ordinals],
    attributes: kept.map(index => block.attributes[index]!),
    sequenceNumberForAllocation: new Map(
      [...block.sequenceNumberForAllocation].filter(([ordinal]) => !gone.has(Number(ordinal))),
    ),
  })
}

/** The same block as another write: whoever planned with the old one finds that it has changed. */
export const touch = (block: Block): Block => ({
  ...block,
  sequenceNumber: BigInt.asUintN(64, block.sequenceNumber + 1n),
})

/** The block with these addresses as if they had just been given. */
export const renew = (block: Block, ordinals: readonly number[]): Block =>
  touch({
    ...block,
    sequenceNumberForAllocation: new Map([
      ...block.sequenceNumberForAllocation,
      ...ordinals.map(ordinal => [String(ordinal), block.sequenceNumber] as const),
    ]),
  })

/** Calico's encoding, byte for byte. */
export function encodeBlock(block: Block): string {
  return printJson({
    cidr: block.cidr,
    affinity: block.affinity,
    ...(block.affinityClaimTime !== undefined && { affinity_claim_time: block.affinityClaimTime }),
    allocations: block.allocations,
    unallocated: block.unallocated,
    attributes: block.attributes.map(({ handleId, secondary, rest }) => ({
      ...(handleId !== undefined && { handle_id: handleId }),
      ...(secondary.size > 0 && { secondary }),
      ...rest,
    })),
    sequenceNumber: block.sequenceNumber,
    sequenceNumberForAllocation: block.sequenceNumberForAllocation,
    deleted: block.deleted,
    ...block.rest,
  })
}

/** A stored block, or what is wrong with it; a block that contradicts itself must not be allocated from. */
export function decodeBlock(text: string): Result<Block> {
  let json: Json
  try {
    json = parseJson(text)
  } catch {
    return failed({ path: '', message: 'not JSON' })
  }
  if (!isObject(json)) return failed({ path: '', message: 'not an object' })
  const { cidr, affinity, affinity_claim_time: claimTime, allocations, unallocated, attributes, ...others } = json
  const { sequenceNumber, sequenceNumberForAllocation, deleted, hostAffinity, ...rest } = others
  const bad = (path: string, message = 'malformed') => failed({ path, message })

  const parsed = typeof cidr === 'string' ? parsePrefixDetail(cidr) : undefined
  if (!parsed?.strict || !parsed.hadLength) return bad('cidr')
  if (BITS[prefixFamily(parsed.prefix)] - prefixLength(parsed.prefix) > MAX_HOST_BITS) return bad('cidr', 'too large')
  const size = blockCapacity(parsed.prefix)
  // Very old blocks name the host without its kind.
  const owner = affinity ?? (typeof hostAffinity === 'string' ? `host:${hostAffinity}` : null)
  if (owner !== null && typeof owner !== 'string') return bad('affinity')
  if (claimTime !== undefined && typeof claimTime !== 'string') return bad('affinity_claim_time')

  const holders = (attributes ?? []) as Json
  if (!Array.isArray(holders)) return bad('attributes')
  const decoded = holders.map(decodeAttribute)
  if (!decoded.every(attribute => attribute !== undefined)) return bad('attributes')

  if (!isIndexList(allocations, decoded.length, true) || allocations.length !== size) return bad('allocations')
  const queue = unallocated ?? []
  if (!isIndexList(queue, size, false)) return bad('unallocated')
  const freeSet = new Set(queue)
  const agrees = allocations.every((index, ordinal) => (index === null) === freeSet.has(ordinal))
  if (freeSet.size !== queue.length || !agrees) return bad('unallocated', 'contradicts allocations')

  const sequence = toUint64(sequenceNumber ?? 0)
  if (sequence === undefined) return bad('sequenceNumber')
  const numbers = sequenceNumberForAllocation ?? {}
  if (!isObject(numbers)) return bad('sequenceNumberForAllocation')
  const byOrdinal = Object.entries(numbers).map(([ordinal, n]) => [ordinal, toUint64(n)] as const)
  if (!byOrdinal.every((pair): pair is [string, bigint] => pair[1] !== undefined))
    return bad('sequenceNumberForAllocation')
  return ok({
    cidr: parsed.prefix,
    affinity: owner,
    affinityClaimTime: claimTime,
    allocations,
    unallocated: queue as readonly number[],
    attributes: decoded,
    sequenceNumber: sequence,
    sequenceNumberForAllocation: new Map(byOrdinal),
    deleted: deleted === true,
    rest,
  })
}

function decodeAttribute(json: Json): Attribute | undefined {
  if (!isObject(json)) return undefined
  const { handle_id: handleId, secondary, ...rest } = json
  const pairs = Object.entries(secondary ?? {})
  if (handleId !== undefined && handleId !== null && typeof handleId !== 'string') return undefined
  if (!pairs.every((pair): pair is [string, string] => typeof pair[1] === 'string')) return undefined
  return { handleId: handleId ?? undefined, secondary: new Map(pairs), rest }
}

/** Whole numbers below a bound, nulls among them where allowed. */
const isIndexList = (value: Json | undefined, bound: number, nulls: boolean): value is (number | null)[] =>
  Array.isArray(value) &&
  value.every(item =>
    item === null ? nulls : Number.isInteger(item) && (item as number) >= 0 && (item as number) < bound,
  )

function toUint64(value: Json): bigint | undefined {
  if (typeof value !== 'bigint' && !Number.isSafeInteger(value)) return undefined
  const n = BigInt(value as bigint | number)
  return n === BigInt.asUintN(64, n) ? n : undefined
}
