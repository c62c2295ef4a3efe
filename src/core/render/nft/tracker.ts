// Wanted against found, for one nftables table, and the plan that turns found into wanted. Only what somebody touched is
// compared, so that a pod coming or going costs what it changes and not what there is.
//
// The update discipline (docs/design/nftables.md): a transaction is not atomic to a packet that makes several lookups, so
// a change is written in three steps. `create` adds what nothing points at yet; `move` swaps what packets start from, each
// swap atomic by itself, in an order in which every mix is either the old or the new decision; `stale` is what nothing
// points at any more, to be removed when no packet can still be on its way through it.
import type { Element, NftChain, NftOp, NftSet, NftTable } from '../../nft/objects.ts'
import {
  applyOps,
  type ChainState,
  chainBody,
  elementKey,
  sameValue,
  setShape,
  type TableState,
  tableState,
} from '../../nft/table-state.ts'

import { HOST_LEGS } from '../../resources/cause.ts'
import { atMap } from './layout.ts'

/** Elements in one batch at most: a batch blocks other writers and must fit a socket buffer. */
const SLICE = 5000

export type Stale =
  | { readonly id: string; readonly kind: 'element'; readonly set: string; readonly key: string }
  | { readonly id: string; readonly kind: 'chain'; readonly name: string }
  | { readonly id: string; readonly kind: 'set'; readonly name: string }

export type Plan = {
  /** Batches, in order. */
  readonly create: readonly (readonly NftOp[])[]
  readonly move: readonly (readonly NftOp[])[]
}

/**
 * Where packets start from. What disappears here disappears at once; elements of other maps only when they are stale, unless
 * they can still be met (`isLive`).
 *
 * The order of moving: which atom an address is, then the rows of atoms, then what an interface may do. An address moves
 * into an atom that has its rows already in every group's map, and an edit never makes atoms coarser (the calculator keeps
 * what was asked until the kernel has moved on), so every packet sees the old or the new decision.
 */
const ADDRESS_SETS: readonly (readonly string[])[] = [['pod4', 'pod6'], ['net4'], ['net6']]
const DISPATCH_SETS: readonly (readonly string[])[] = [
  ['spoofed4'],
  ['spoofed6'],
  ['pools4', 'pools6', 'masquerade4', 'masquerade6'],
  ['sources4', 'sources6', 'from_workload', 'to_workload'],
  HOST_LEGS.map(leg => atMap(leg)),
]
const NO_ELEMENTS: ReadonlyMap<string, Element> = new Map()
const ENTRIES = new Set([...ADDRESS_SETS, ...DISPATCH_SETS].flat())

type SetDiff = { readonly set: NftSet; added: Element[]; changed: Element[]; gone: Element[]; replaced: Element[] }

const slices = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(items.length / SLICE) }, (_, i) => items.slice(i * SLICE, (i + 1) * SLICE))
const remove = (set: NftSet, elements: readonly Element[]): NftOp[] =>
  elements.length === 0 ? [] : [{ op: 'delete-elements', set, elements }]
const add = (set: NftSet, elements: readonly Element[]): NftOp[] =>
  elements.length === 0 ? [] : [{ op: 'add-elements', set, elements }]

const elementsIn = (batch: readonly NftOp[]): number =>
  batch.reduce((sum, op) => sum + (op.op === 'add-elements' ? op.elements.length : 1), 0)

/** Neighbouring batches in one as long as they are small: the kernel looks at the whole table once for each. */
function packed(batches: readonly NftOp[][]): NftOp[][] {
  const out: NftOp[][] = []
  let size = Number.POSITIVE_INFINITY
  for (const batch of batches) {
    const more = elementsIn(batch)
    if (size + more <= SLICE) {
      out.at(-1)!.push(...batch)
      size += more
    } else {
      out.push([...batch])
      size = more
    }
  }
  return out
}

export class TableTracker {
  readonly wanted: TableState = tableState(undefined)
  #found: TableState
  /** What may differ: keys by set, and the sets of which any element may. */
  readonly #elements = new Map<string, Set<string>>()
  readonly #whole = new Set<string>()
  readonly #chains = new Set<string>()
  readonly #sets = new Set<string>()
  readonly #stale = new Map<string, Stale>()

  /** Whether packets may still come to an element that is not wanted: then it goes at once and not when it is stale. */
  isLive: (set: string, key: string) => boolean = () => false

  constructor(found: TableState) {
    this.#found = found
  }

  get found(): TableState {
    return this.#found
  }

  /** Everything that is there and not wanted, except what `plan` removes at once. */
  get stale(): Iterable<Stale> {
    return this.#stale.values()
  }

  wantSet(set: NftSet): void {
    const bare = { ...set, elements: [] }
    const state = this.wanted.sets.get(set.name)
    if (!state) {
      this.wanted.sets.set(set.name, { set: bare, elements: new Map() })
      // It may be on its way out, with elements that were wanted when it was dropped.
      if (this.#found.sets.has(set.name)) this.#whole.add(set.name)
    }
    this.#sets.add(set.name)
    for (const element of set.elements) this.wantElement(set.name, element)
  }

  dropSet(name: string): void {
    this.wanted.sets.delete(name)
    this.#sets.add(name)
  }

  wantElement(set: string, element: Element): void {
    const key = elementKey(element)
    this.wanted.sets.get(set)!.elements.set(key, element)
    this.#touch(set, key)
  }

  dropElement(set: string, key: string): void {
    this.wanted.sets.get(set)?.elements.delete(key)
    this.#touch(set, key)
  }

  wantChain(chain: NftChain): void {
    this.wanted.chains.set(chain.name, { chain, body: chainBody(chain) })
    this.#chains.add(chain.name)
  }

  dropChain(name: string): void {
    this.wanted.chains.delete(name)
    this.#chains.add(name)
  }

  /** The whole table at once; what is not in it is not wanted. */
  wantTable(table: NftTable): void {
    const next = tableState(table)
    for (const name of this.wanted.chains.keys()) if (!next.chains.has(name)) this.dropChain(name)
    for (const [name, { elements }] of this.wanted.sets) {
      const state = next.sets.get(name)
      if (!state) this.dropSet(name)
      else for (const key of elements.keys()) if (!state.elements.has(key)) this.dropElement(name, key)
    }
    for (const set of table.sets) this.wantSet(set)
    for (const chain of table.chains) this.wantChain(chain)
  }

  /** What the kernel holds was read anew: everything is compared again. */
  reset(found: TableState): void {
    this.#found = found
    this.#stale.clear()
    for (const state of [this.wanted, found]) {
      for (const name of state.chains.keys()) this.#chains.add(name)
      for (const name of state.sets.keys()) {
        this.#sets.add(name)
        this.#whole.add(name)
      }
    }
  }

  /** The kernel accepted a batch. */
  wrote(ops: readonly NftOp[]): void {
    applyOps(this.#found, ops)
  }

  /** A set that has another type than it must have: only a new table helps. */
  get needsRebuild(): boolean {
    return [...this.#sets].some(name => {
      const [found, wanted] = [this.#found.sets.get(name), this.wanted.sets.get(name)]
      return found && wanted && setShape(found.set) !== setShape(wanted.set)
    })
  }

  /** The batches for everything touched since the last plan. They must be written in order; after a failure `reset`. */
  plan(): Plan {
    // An element that nothing could meet when it was given up, and that can be met again, has to go at once.
    for (const s of this.#stale.values()) {
      if (s.kind === 'element' && this.isLive(s.set, s.key)) this.#touch(s.set, s.key)
    }
    const diffs = this.#diffs()
    const chains = [...this.#chains].flatMap(name => this.#chainDiff(name))
    const sets = [...this.#sets].flatMap(name => this.#newSet(name))
    this.#elements.clear()
    this.#whole.clear()
    this.#chains.clear()
    this.#sets.clear()
    const fresh = chains.filter(c => !c.base && !this.#found.chains.has(c.name))
    // Chains first without rules: rules may then point at any of them.
    const declare: NftOp[] = [
      ...(this.#found.exists ? [] : [{ op: 'add-table' } as const]),
      ...sets.map((set): NftOp => ({ op: 'add-set', set })),
      ...fresh.map((chain): NftOp => ({ op: 'add-chain', chain: { ...chain, rules: [] } })),
      ...fresh.map((chain): NftOp => ({ op: 'replace-rules', chain })),
    ]
    const inner = diffs.filter(d => !ENTRIES.has(d.set.name))
    const create = packed([declare, ...inner.flatMap(d => slices(d.added).map(elements => add(d.set, elements)))])
    const byName = new Map(diffs.map(d => [d.set.name, d]))
    const entries = (sets: readonly (readonly string[])[]): NftOp[][] =>
      sets.flatMap(names => moveEntries(names.flatMap(n => byName.get(n) ?? [])))
    const swapped = chains.filter(c => !c.base && this.#found.chains.has(c.name))
    const move: NftOp[][] = [
      ...entries(ADDRESS_SETS),
      [
        ...inner.flatMap(d => [...remove(d.set, [...d.gone, ...d.replaced]), ...add(d.set, d.changed)]),
        ...swapped.map((chain): NftOp => ({ op: 'replace-rules', chain })),
      ],
      ...entries(DISPATCH_SETS),
      chains
        .filter(c => c.base)
        .map((chain): NftOp => ({ op: this.#found.chains.has(chain.name) ? 'replace-rules' : 'add-chain', chain })),
    ]
    return { create: create.filter(b => b.length > 0), move: move.filter(b => b.length > 0) }
  }

  /** One batch that removes stale objects: elements, then chains (emptied first, so that none holds another), then sets. */
  removal(stale: readonly Stale[]): NftOp[] {
    const bySet = new Map<string, Element[]>()
    const take = (set: string, element: Element | undefined): void => {
      if (!element) return
      const list = bySet.get(set)
      if (list) list.push(element)
      else bySet.set(set, [element])
    }
    const chains: string[] = []
    const sets: string[] = []
    for (const s of stale) {
      this.#stale.delete(s.id)
      if (s.kind === 'element') take(s.set, this.#found.sets.get(s.set)?.elements.get(s.key))
      else if (s.kind === 'chain') chains.push(s.name)
      else sets.push(s.name)
    }
    // A map that goes away may hold the last verdicts that point at the chains.
    for (const name of sets) {
      const { set, elements } = this.#found.sets.get(name)!
      if (set.value === 'verdict') for (const element of elements.values()) take(name, element)
    }
    const found = (name: string): ChainState => this.#found.chains.get(name)!
    return [
      ...[...bySet].flatMap(([name, elements]) => remove(this.#found.sets.get(name)!.set, elements)),
      ...chains.map((name): NftOp => ({ op: 'replace-rules', chain: { ...found(name).chain, rules: [] } })),
      ...chains.map((name): NftOp => ({ op: 'delete-chain', name })),
      ...sets.map((name): NftOp => ({ op: 'delete-set', name })),
    ]
  }

  #touch(set: string, key: string): void {
    if (this.#whole.has(set)) return
    const keys = this.#elements.get(set)
    if (keys) keys.add(key)
    else this.#elements.set(set, new Set([key]))
  }

  #setStale(stale: Stale, isStale: boolean): void {
    if (isStale) this.#stale.set(stale.id, stale)
    else this.#stale.delete(stale.id)
  }

  #diffs(): SetDiff[] {
    const diffs: SetDiff[] = []
    for (const name of new Set([...this.#whole, ...this.#elements.keys()])) {
      const wanted = this.wanted.sets.get(name)
      // The elements of a set that goes as a whole go with it.
      if (!wanted) continue
      const diff: SetDiff = { set: wanted.set, added: [], changed: [], gone: [], replaced: [] }
      const found = this.#found.sets.get(name)?.elements ?? NO_ELEMENTS
      if (this.#whole.has(name)) {
        for (const [key, want] of wanted.elements) this.#elementDiff(diff, key, [want, found.get(key)])
        for (const [key, have] of found) {
          if (!wanted.elements.has(key)) this.#elementDiff(diff, key, [undefined, have])
        }
      } else {
        for (const key of this.#elements.get(name)!)
          this.#elementDiff(diff, key, [wanted.elements.get(key), found.get(key)])
      }
      diffs.push(diff)
    }
    return diffs
  }

  #elementDiff(diff: SetDiff, key: string, [want, have]: [Element | undefined, Element | undefined]): void {
    const { name } = diff.set
    if (want && !have) diff.added.push(want)
    else if (want && have && !sameValue(want, have)) {
      diff.changed.push(want)
      diff.replaced.push(have)
    }
    const isUnwanted = !want && have !== undefined
    const isStale = isUnwanted && !ENTRIES.has(name) && !this.isLive(name, key)
    if (isUnwanted && !isStale) diff.gone.push(have)
    if (isStale || this.#stale.size > 0)
      this.#setStale({ id: `element ${name} ${key}`, kind: 'element', set: name, key }, isStale)
  }

  #chainDiff(name: string): NftChain[] {
    const [wanted, found] = [this.wanted.chains.get(name), this.#found.chains.get(name)]
    this.#setStale({ id: `chain ${name}`, kind: 'chain', name }, !wanted && found !== undefined)
    return wanted && wanted.body !== found?.body ? [wanted.chain] : []
  }

  #newSet(name: string): NftSet[] {
    const [wanted, found] = [this.wanted.sets.get(name), this.#found.sets.get(name)]
    this.#setStale({ id: `set ${name}`, kind: 'set', name }, !wanted && found !== undefined)
    if (!wanted) for (const id of this.#stale.keys()) if (id.startsWith(`element ${name} `)) this.#stale.delete(id)
    return wanted && !found ? [wanted.set] : []
  }
}

/** One batch for changes and removals, and slices of additions before it. */
function moveEntries(diffs: readonly SetDiff[]): NftOp[][] {
  const interval = diffs.some(d => d.set.interval)
  const swap = diffs.flatMap(d => [
    ...remove(d.set, [...d.gone, ...d.replaced]),
    ...add(d.set, interval ? [...d.changed, ...d.added] : d.changed),
  ])
  // Neighbouring intervals are one change: what is added replaces what goes.
  if (interval) return [swap]
  return [...diffs.flatMap(d => slices(d.added).map(elements => add(d.set, elements))), swap]
}
