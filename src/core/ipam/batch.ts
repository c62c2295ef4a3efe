// What several ask of one block at the same time, as one change of it: one write instead of one for each.
import type { Addr } from '../net/addr.ts'
import { type Attribute, addressAt, allocate, type Block, free, freeOrdinals, touch } from './block.ts'

export type Wish = { readonly count: number; readonly isReserved: (address: Addr) => boolean }

/** For each wish in turn the first free ordinals that those before it leave; fewer, or none, where there are not so many. */
export function takeInTurn(block: Block, wishes: readonly Wish[]): readonly (readonly number[])[] {
  const taken = new Set<Addr>()
  return wishes.map(({ count, isReserved }) => {
    const ordinals = freeOrdinals(block, count, address => taken.has(address) || isReserved(address))
    for (const ordinal of ordinals) taken.add(addressAt(block.cidr, ordinal))
    return ordinals
  })
}

/** The block with each one's ordinals given to it, as if one after the other. */
export const allocateAll = (
  block: Block,
  takes: readonly { readonly ordinals: readonly number[]; readonly attribute: Attribute }[],
): Block => takes.reduce((next, { ordinals, attribute }) => allocate(next, ordinals, attribute), block)

/** The block without these; changed in any case, so that an allocation that has read it fails. */
export const freeAll = (block: Block, ordinals: ReadonlySet<number>): Block =>
  ordinals.size > 0 ? free(block, [...ordinals]) : touch(block)
