// What there is and what is used, from the blocks as they are stored: numbers per pool and block as `ipam show` prints
// them, and one node's share as routing needs it.
import { type Addr, BITS } from '../net/addr.ts'
import { type Prefix, prefixContains, prefixCovers, prefixFamily, prefixLength, prefixRange } from '../net/prefix.ts'
import { addressAt, type Block } from './block.ts'
import { hostOwner } from './keys.ts'
import type { IPPoolLike } from './pools.ts'

/** Counts of addresses; one may be both in use and reserved, `free` is what is neither. Large ones are rounded (doubles). */
export type Counts = {
  readonly capacity: number
  readonly inUse: number
  readonly reserved: number
  readonly free: number
}

export type BlockUse = Counts & { readonly cidr: Prefix; readonly affinity: string | null }
export type PoolUtilisation = Counts & {
  readonly name: string
  readonly cidr: Prefix
  readonly blocks: readonly BlockUse[]
}

const capacityOf = (cidr: Prefix): number => 2 ** (BITS[prefixFamily(cidr)] - prefixLength(cidr))

/** Reservations without those inside others: what remains does not overlap. */
export const disjoint = (cidrs: readonly Prefix[]): Prefix[] => {
  const once = [...new Set(cidrs)]
  return once.filter(inner => !once.some(outer => outer !== inner && prefixCovers(outer, inner)))
}

/** Addresses of a CIDR that disjoint reservations cover. */
function reservedIn(cidr: Prefix, reserved: readonly Prefix[]): number {
  if (reserved.some(range => prefixCovers(range, cidr))) return capacityOf(cidr)
  return reserved.reduce((sum, range) => (prefixCovers(cidr, range) ? sum + capacityOf(range) : sum), 0)
}

function blockUse(block: Block, reserved: readonly Prefix[]): BlockUse {
  const used = block.allocations.flatMap((index, ordinal) => (index === null ? [] : [addressAt(block.cidr, ordinal)]))
  const both = used.filter(address => reserved.some(range => prefixContains(range, address))).length
  const capacity = block.allocations.length
  const taken = reservedIn(block.cidr, reserved)
  return {
    cidr: block.cidr,
    affinity: block.affinity,
    capacity,
    inUse: used.length,
    reserved: taken,
    free: capacity - used.length - taken + both,
  }
}

/** Use of every pool and of the blocks in it, in the pools' order, blocks by address. */
export function utilisation(
  pools: readonly IPPoolLike[],
  blocks: readonly Block[],
  reservations: readonly Prefix[] = [],
): PoolUtilisation[] {
  const reserved = disjoint(reservations)
  const first = (cidr: Prefix): bigint => prefixRange(cidr).first
  return pools.map(({ name, cidr }) => {
    const inside = blocks.filter(block => prefixCovers(cidr, block.cidr)).map(block => blockUse(block, reserved))
    const sum = (count: (use: BlockUse) => number): number => inside.reduce((total, use) => total + count(use), 0)
    const capacity = capacityOf(cidr)
    const taken = reservedIn(cidr, reserved)
    const both = sum(use => use.inUse + use.reserved + use.free - use.capacity)
    const inUse = sum(use => use.inUse)
    return {
      name,
      cidr,
      capacity,
      inUse,
      reserved: taken,
      free: capacity - inUse - taken + both,
      blocks: inside.sort((a, b) => (first(a.cidr) < first(b.cidr) ? -1 : 1)),
    }
  })
}

/** A node's blocks, and its addresses out of blocks that are not its own: both are routes to it. */
export type NodeBlocks = { readonly own: readonly Prefix[]; readonly borrowed: readonly Addr[] }

export function blocksOf(node: string, blocks: readonly Block[]): NodeBlocks {
  const owner = hostOwner(node)
  const own = blocks.filter(({ affinity }) => affinity === owner).map(({ cidr }) => cidr)
  const borrowed = blocks.flatMap(block =>
    block.affinity === owner
      ? []
      : block.allocations.flatMap((index, ordinal) =>
          index !== null && block.attributes[index]?.secondary.get('node') === node
            ? [addressAt(block.cidr, ordinal)]
            : [],
        ),
  )
  return { own, borrowed }
}
