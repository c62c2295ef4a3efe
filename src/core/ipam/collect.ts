// Which addresses, blocks and handles nobody needs any more. A collection looks again and again: what it finds
// ownerless is marked, what is still so, unchanged, after the grace period is ripe. What to do about it is reclaim.ts;
// whoever does it asks the datastore once more first, because the resources seen here may be old.
import type { Addr } from '../net/addr.ts'
import { type Prefix, prefixFamily } from '../net/prefix.ts'
import { addressAt, type Block, handleAt, isEmpty, ordinalsOf } from './block.ts'
import { type Holder, type Holders, holderOf, isHeld } from './holder.ts'
import type { Owner } from './keys.ts'

/** One address as it was given: a later allocation of the same address has another sequence number. */
export type Allocation = {
  readonly address: Addr
  readonly cidr: Prefix
  readonly sequence: bigint | undefined
  readonly holder: Holder
  /** The node that asked for it. */
  readonly node: string | undefined
}

/** All addresses of a handle, which go together or not at all. */
export type Leak = {
  readonly handle: string
  readonly allocations: readonly Allocation[]
  /** The node that is gone, which spared the grace period; whoever releases must not find it alive. */
  readonly goneNodes: readonly string[]
}

export type EmptyBlock = { readonly cidr: Prefix; readonly affinity: Owner | null; readonly sequence: bigint }

/** A handle as it is stored. */
export type CountedHandle = {
  readonly id: string
  readonly revision: number
  readonly counts: ReadonlyMap<Prefix, number>
}

type Mark<T> = { readonly since: number; readonly of: T }

/** What earlier looks found and when, in the clock of `CollectFacts.now`. */
export type CollectState = {
  readonly leaks: ReadonlyMap<string, Mark<ReadonlyMap<Addr, bigint | undefined>>>
  readonly blocks: ReadonlyMap<Prefix, Mark<bigint>>
  readonly handles: ReadonlyMap<string, Mark<number>>
  readonly goneNodes: ReadonlySet<string>
}

export const NOTHING_SEEN: CollectState = {
  leaks: new Map(),
  blocks: new Map(),
  handles: new Map(),
  goneNodes: new Set(),
}

export type CollectFacts = {
  /** The collecting node. */
  readonly node: string
  /** Milliseconds of a clock that never jumps. */
  readonly now: number
  /** Milliseconds; 0 switches off all collection but that of nodes that are gone (Calico's leakGracePeriod). */
  readonly grace: number
  readonly blocks: readonly Block[]
  readonly known: Holders
  /** All handles, and the owners of all affinities: only the node that looks after what is nobody's needs them. */
  readonly handles?: readonly CountedHandle[]
  readonly owners?: readonly Owner[]
}

export type CollectStep = {
  readonly state: CollectState
  /** Handles that are ownerless, ripe or not. */
  readonly candidates: number
  readonly leaks: readonly Leak[]
  readonly blocks: readonly EmptyBlock[]
  /** Handles whose counts are not what the blocks hold: left by a killed process. */
  readonly handles: readonly string[]
  /** Nodes that are gone and have no address any more. */
  readonly nodes: readonly string[]
}

const nodeOf = (affinity: string | null): string | undefined =>
  affinity?.startsWith('host:') ? affinity.slice('host:'.length) : undefined

/** The node that looks after the blocks of nodes that are gone, and those that are nobody's. */
export const caretaker = (nodes: ReadonlySet<string>): string | undefined =>
  [...nodes].reduce<string | undefined>(
    (least, name) => (least === undefined || name < least ? name : least),
    undefined,
  )

/** One look: new marks, and what is ripe. */
export function look(state: CollectState, facts: CollectFacts): CollectStep {
  const { known, node } = facts
  const isCaretaker = caretaker(known.nodes) === node
  const isGone = (name: string | undefined): boolean => name !== undefined && isNodeGone(name, facts)
  const isOurs = ({ affinity }: Block): boolean => {
    const owner = nodeOf(affinity)
    return owner === node || (isCaretaker && (owner === undefined || isGone(owner)))
  }
  const leaks = lookForLeaks(state, facts, { isOurs, isGone })
  const blocks = lookForEmptyBlocks(state, facts, { isOurs, isGone })
  const handles = isCaretaker ? lookForWrongHandles(state, facts) : { marks: new Map(), ripe: [] }
  const goneNodes = isCaretaker ? lookForGoneNodes(facts, isGone) : []
  return {
    state: { leaks: leaks.marks, blocks: blocks.marks, handles: handles.marks, goneNodes: new Set(goneNodes) },
    candidates: leaks.marks.size,
    leaks: leaks.ripe,
    blocks: blocks.ripe,
    handles: handles.ripe,
    nodes: goneNodes.filter(name => state.goneNodes.has(name)),
  }
}

/** Where no node is known at all, nodes are not kept in this datastore, and their absence says nothing. */
const isNodeGone = (name: string, { known }: CollectFacts): boolean => known.nodes.size > 0 && !known.nodes.has(name)

type Judge = {
  readonly isOurs: (block: Block) => boolean
  readonly isGone: (node: string | undefined) => boolean
}

/** Handles with all their allocations, and the block of the first one, whose collector is the handle's. */
function allocationsByHandle(blocks: readonly Block[]) {
  const byHandle = new Map<string, { readonly block: Block; readonly allocations: Allocation[] }>()
  for (const block of blocks) {
    for (const [ordinal, index] of block.allocations.entries()) {
      const handle = handleAt(block, ordinal)
      if (index === null || handle === undefined) continue
      const { secondary } = block.attributes[index]!
      const entry = byHandle.get(handle) ?? { block, allocations: [] }
      byHandle.set(handle, entry)
      entry.allocations.push({
        address: addressAt(block.cidr, ordinal),
        cidr: block.cidr,
        sequence: block.sequenceNumberForAllocation.get(String(ordinal)),
        holder: holderOf(handle, secondary),
        node: secondary.get('node'),
      })
    }
  }
  return byHandle
}

function lookForLeaks(state: CollectState, { blocks, known, now, grace }: CollectFacts, { isOurs, isGone }: Judge) {
  const marks = new Map<string, Mark<ReadonlyMap<Addr, bigint | undefined>>>()
  const ripe: Leak[] = []
  for (const [handle, { block, allocations }] of allocationsByHandle(blocks)) {
    if (!isOurs(block)) continue
    if (allocations.some(({ address, holder }) => isHeld({ address, handle, holder }, known))) continue
    const goneNodes = allocations.every(({ node }) => isGone(node)) ? allocations.map(({ node }) => node!) : []
    if (grace === 0 && goneNodes.length === 0) continue
    const seen = state.leaks.get(handle)
    const isSame = seen && allocations.every(a => seen.of.has(a.address) && seen.of.get(a.address) === a.sequence)
    const of = new Map(allocations.map(a => [a.address, a.sequence]))
    marks.set(handle, { since: isSame ? seen.since : now, of })
    if (!isSame || (goneNodes.length === 0 && now - seen.since < grace)) continue
    ripe.push({ handle, allocations, goneNodes: [...new Set(goneNodes)] })
  }
  return { marks, ripe }
}

function lookForEmptyBlocks(state: CollectState, { blocks, now, grace }: CollectFacts, { isOurs, isGone }: Judge) {
  const marks = new Map<Prefix, Mark<bigint>>()
  const ripe: EmptyBlock[] = []
  /** How many blocks of a family an owner would keep. */
  const kept = new Map<string, number>()
  const place = ({ affinity, cidr }: Block): string => `${prefixFamily(cidr)} ${affinity}`
  for (const block of blocks) kept.set(place(block), (kept.get(place(block)) ?? 0) + 1)
  for (const block of blocks) {
    const { cidr, affinity, sequenceNumber: sequence } = block
    if (!isEmpty(block) || !isOurs(block) || affinity?.startsWith('virtual:')) continue
    const gone = affinity !== null && isGone(nodeOf(affinity))
    if (grace === 0 && !gone) continue
    const seen = state.blocks.get(cidr)
    const isSame = seen?.of === sequence
    marks.set(cidr, { since: isSame ? seen.since : now, of: sequence })
    if (!isSame || (!gone && now - seen.since < grace)) continue
    // A node's next pod needs a block: the last one is not worth giving up.
    if (affinity !== null && !gone && kept.get(place(block)) === 1) continue
    kept.set(place(block), kept.get(place(block))! - 1)
    ripe.push({ cidr, affinity: affinity as Owner | null, sequence })
  }
  return { marks, ripe }
}

function lookForWrongHandles(state: CollectState, { handles = [], blocks, now, grace }: CollectFacts) {
  const marks = new Map<string, Mark<number>>()
  const ripe: string[] = []
  if (grace === 0) return { marks, ripe }
  const byCidr = new Map(blocks.map(block => [block.cidr, block]))
  const actual = (cidr: Prefix, id: string): number => {
    const block = byCidr.get(cidr)
    return block ? ordinalsOf(block, id).length : 0
  }
  for (const { id, revision, counts } of handles) {
    if (counts.size > 0 && [...counts].every(([cidr, count]) => actual(cidr, id) === count)) continue
    const seen = state.handles.get(id)
    const isSame = seen?.of === revision
    marks.set(id, { since: isSame ? seen.since : now, of: revision })
    if (isSame && now - seen.since >= grace) ripe.push(id)
  }
  return { marks, ripe }
}

/** Gone nodes that own something and have no address any more: what they own can go, also under others' addresses. */
function lookForGoneNodes({ owners = [], blocks }: CollectFacts, isGone: Judge['isGone']): string[] {
  const names = [...owners, ...blocks.map(({ affinity }) => affinity)].flatMap(owner => nodeOf(owner) ?? [])
  const busy = new Set(blocks.flatMap(({ attributes }) => attributes.map(({ secondary }) => secondary.get('node'))))
  return [...new Set(names)].filter(name => isGone(name) && !busy.has(name)).sort()
}
