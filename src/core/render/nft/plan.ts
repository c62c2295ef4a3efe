// The update discipline (docs/design/nftables.md): a transaction is not atomic to a packet that makes several lookups, so
// a change is written in three steps. `create` adds what nothing points at yet; `move` swaps what packets start from, each
// swap atomic by itself, in an order in which every mix is either the old or the new decision; `stale` is what nothing
// points at any more, to be removed when no packet can still be on its way through it.
import type { Element, NftOp, NftSet, NftTable } from '../../nft/objects.ts'
import { elementKey, elementValue, setShape, type TableState, tableState } from '../../nft/table-state.ts'

/** Elements in one batch at most: a batch blocks other writers and must fit a socket buffer. */
const SLICE = 5000

export type Stale =
  | { readonly id: string; readonly kind: 'element'; readonly set: NftSet; readonly element: Element }
  | { readonly id: string; readonly kind: 'chain'; readonly name: string }
  | { readonly id: string; readonly kind: 'set'; readonly name: string }

export type Plan = {
  /** Batches, in order. */
  readonly create: readonly (readonly NftOp[])[]
  readonly move: readonly (readonly NftOp[])[]
  readonly stale: readonly Stale[]
  /** A declared set has another type than it must have: only a new table helps. */
  readonly rebuild: boolean
}

/**
 * Where packets start from, in the order of moving: the rows of atoms first, then which atom an address is, then what an
 * interface may do. What disappears here disappears at once; elements of all other maps only when stale.
 */
const ENTRY_SETS: readonly (readonly string[])[] = [
  ['pod4', 'pod6'],
  ['net4'],
  ['net6'],
  ['pools4', 'pools6', 'masquerade4', 'masquerade6'],
  ['sources4', 'sources6', 'from_workload', 'to_workload'],
]
const ENTRIES = new Set(ENTRY_SETS.flat())
/** Dispatch waits for everything that it leads to; it is filled in `move` even when its set is new. */
const isEntry = (name: string): boolean => ENTRIES.has(name)

type SetDiff = { readonly set: NftSet; added: Element[]; changed: Element[]; gone: Element[]; replaced: Element[] }

function diffSet(found: TableState, wanted: NftSet): SetDiff {
  const old = found.sets.get(wanted.name)?.elements
  const set = { ...wanted, elements: [] }
  const diff: SetDiff = { set, added: [], changed: [], gone: [], replaced: [] }
  const keys = new Set<string>()
  for (const element of wanted.elements) {
    const key = elementKey(element)
    keys.add(key)
    const before = old?.get(key)
    if (!before) diff.added.push(element)
    else if (elementValue(before) !== elementValue(element)) {
      diff.changed.push(element)
      diff.replaced.push(before)
    }
  }
  for (const [key, element] of old ?? []) if (!keys.has(key)) diff.gone.push(element)
  return diff
}

const slices = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(items.length / SLICE) }, (_, i) => items.slice(i * SLICE, (i + 1) * SLICE))

const remove = (set: NftSet, elements: readonly Element[]): NftOp[] =>
  elements.length === 0 ? [] : [{ op: 'delete-elements', set, elements }]
const add = (set: NftSet, elements: readonly Element[]): NftOp[] =>
  elements.length === 0 ? [] : [{ op: 'add-elements', set, elements }]

export function planUpdate(found: TableState, wanted: NftTable): Plan {
  const rebuild = wanted.sets.some(s => {
    const old = found.sets.get(s.name)
    return old !== undefined && setShape(old.set) !== setShape(s)
  })
  if (rebuild) return { ...planUpdate(tableState(undefined), wanted), rebuild }

  const diffs = new Map(wanted.sets.map(set => [set.name, diffSet(found, set)]))
  const want = tableState(wanted)
  const plain = wanted.chains.filter(c => !c.base)
  const newChains = plain.filter(c => !found.chains.has(c.name))
  const changed = (name: string): boolean => found.chains.get(name)?.body !== want.chains.get(name)!.body

  // Chains first without rules: rules may then point at any of them.
  const declare: NftOp[] = [
    ...(found.exists ? [] : [{ op: 'add-table' } as const]),
    ...wanted.sets
      .filter(s => !found.sets.has(s.name))
      .map((s): NftOp => ({ op: 'add-set', set: { ...s, elements: [] } })),
    ...newChains.map((chain): NftOp => ({ op: 'add-chain', chain: { ...chain, rules: [] } })),
    ...newChains.map((chain): NftOp => ({ op: 'replace-rules', chain })),
  ]
  const fill = wanted.sets
    .filter(s => !isEntry(s.name))
    .flatMap(s => slices(diffs.get(s.name)!.added).map(elements => add(diffs.get(s.name)!.set, elements)))

  const swapRows = [...diffs.values()].filter(d => !isEntry(d.set.name) && d.changed.length > 0)
  const swapChains = plain.filter(c => found.chains.has(c.name) && changed(c.name))
  const bases = wanted.chains.filter(c => c.base && changed(c.name))
  const move: NftOp[][] = [
    swapRows.flatMap(d => [...remove(d.set, d.replaced), ...add(d.set, d.changed)]),
    swapChains.map((chain): NftOp => ({ op: 'replace-rules', chain })),
    ...ENTRY_SETS.flatMap(names => moveEntries(names.map(n => diffs.get(n)!).filter(Boolean))),
    bases.flatMap((chain): NftOp[] =>
      found.chains.has(chain.name) ? [{ op: 'replace-rules', chain }] : [{ op: 'add-chain', chain }],
    ),
  ]
  return {
    create: [declare, ...fill].filter(b => b.length > 0),
    move: move.filter(b => b.length > 0),
    stale: staleOf(found, wanted, diffs),
    rebuild: false,
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

function staleOf(found: TableState, wanted: NftTable, diffs: ReadonlyMap<string, SetDiff>): Stale[] {
  const chains = new Set(wanted.chains.map(c => c.name))
  const stale: Stale[] = []
  for (const [name, { set, gone }] of diffs) {
    if (isEntry(name)) continue
    for (const element of gone)
      stale.push({ id: `element ${name} ${elementKey(element)}`, kind: 'element', set, element })
  }
  for (const name of found.chains.keys()) {
    if (!chains.has(name)) stale.push({ id: `chain ${name}`, kind: 'chain', name })
  }
  for (const name of found.sets.keys()) if (!diffs.has(name)) stale.push({ id: `set ${name}`, kind: 'set', name })
  return stale
}

/** One batch that removes stale objects: elements, then chains (emptied first, so that none holds another), then sets. */
export function removeStale(found: TableState, stale: readonly Stale[]): NftOp[] {
  const bySet = new Map<string, { set: NftSet; elements: Element[] }>()
  for (const s of stale) {
    if (s.kind !== 'element') continue
    const entry = bySet.get(s.set.name) ?? { set: s.set, elements: [] }
    entry.elements.push(s.element)
    bySet.set(s.set.name, entry)
  }
  const chains = stale.flatMap(s => (s.kind === 'chain' ? [s.name] : []))
  const sets = stale.flatMap(s => (s.kind === 'set' ? [s.name] : []))
  // A map that goes away may hold the last verdicts that point at the chains.
  const held = sets.flatMap(name => {
    const state = found.sets.get(name)
    return state && state.set.value === 'verdict' ? remove(state.set, [...state.elements.values()]) : []
  })
  return [
    ...[...bySet.values()].flatMap(({ set, elements }) => remove(set, elements)),
    ...held,
    ...chains.map((name): NftOp => ({ op: 'replace-rules', chain: { ...found.chains.get(name)!.chain, rules: [] } })),
    ...chains.map((name): NftOp => ({ op: 'delete-chain', name })),
    ...sets.map((name): NftOp => ({ op: 'delete-set', name })),
  ]
}
