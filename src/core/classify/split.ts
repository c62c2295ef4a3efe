// A table past its budget. Rows are the product of what rules say of anybody and of whom they tell apart: ten thousand rules
// about ports for everyone, and as many about single peers, would be a hundred million elements. Such a table is cut into
// parts, each of a size that fits: what one part does not decide goes on with the next. A packet then pays for the parts.
import { sha1Hex } from '../base/hash.ts'
import type { Program, ResolvedRule, SetId, Stage } from '../calc/intent.ts'
import { PORT_PROTOCOLS } from '../net/protocol.ts'
import type { AtomKey } from './atoms.ts'
import { residualRule, setsOfRule } from './residual.ts'
import type { RowName } from './row.ts'
import { RowTable } from './row-table.ts'
import type { Made, Place, RowMaker } from './rows.ts'

/** So many elements may the rows of one table have, by prediction, before it is cut. */
export const BUDGET = 250_000

/**
 * The rows of some stages, or of some rules of one stage. `id`: of its rules. A part with other rules is another part, so
 * that a packet on its way meets all of the old parts or all of the new ones.
 */
export type Part = { readonly id: string; readonly place: Place; readonly table: RowTable }
/** Several parts are one stage: a Pass in one of them leaves the others out. */
export type Section = readonly Part[]

export class SplitTable {
  readonly size: number
  /** What would be decided if the staged policies were enforced; empty if that is not asked. */
  readonly staged: readonly Section[]
  readonly enforced: readonly Section[]

  /** `size`: the predicted number of elements, had it not been cut. */
  constructor(size: number, staged: readonly Section[], enforced: readonly Section[]) {
    this.size = size
    this.staged = staged
    this.enforced = enforced
  }

  get parts(): Part[] {
    return [...this.staged, ...this.enforced].flat()
  }
}

/** Elements that a rule may add to a row. */
export function weightOf(rule: ResolvedRule): number {
  const terms = [...(rule.dports ?? []), ...(rule.notDports ?? [])]
  const protocols = rule.protocol === undefined ? PORT_PROTOCOLS.length : 1
  return Math.max(
    1,
    terms.reduce((sum, term) => sum + (term.protocol === undefined ? protocols : 1), 0),
  )
}

type Vectors = Iterable<ReadonlySet<SetId>>

/** What the peers in these sets are to the stages: each class once. */
function seenVectors(stages: readonly Stage[], vectors: Vectors): Map<string, ReadonlySet<SetId>> {
  const relevant = new Set(stages.flatMap(s => s.rules).flatMap(setsOfRule))
  const seen = new Map<string, ReadonlySet<SetId>>([['', new Set()]])
  for (const vector of vectors) {
    const ids = [...vector].filter(id => relevant.has(id))
    seen.set(ids.sort().join(' '), new Set(ids))
  }
  return seen
}

/** How many elements the rows of the stages will have, at most, for peers of these classes. */
export function sizeOf(stages: readonly Stage[], vectors: Vectors): number {
  const weights = new Map<SetId | '', number>()
  for (const rule of stages.flatMap(s => s.rules)) {
    const first = rule.peerIn[0] ?? ''
    weights.set(first, (weights.get(first) ?? 0) + weightOf(rule))
  }
  const anybody = weights.get('') ?? 0
  let size = 0
  for (const vector of seenVectors(stages, vectors).values()) {
    size += anybody
    for (const id of vector) size += weights.get(id) ?? 0
  }
  return size
}

export type Cut = {
  readonly size: number
  readonly budget: number
  readonly makerAt: (place: Place) => RowMaker
  readonly keep: (made: Made) => RowName
  /** The atoms with the sets that they are in. */
  readonly atoms: readonly (readonly [AtomKey, ReadonlySet<SetId>])[]
}

/** More parts than this make the way of a packet too long; then they are larger than the budget asks. */
const MOST_PARTS = 128

/** Cuts a program whose table would have `size` elements. */
export function splitTable(program: Pick<Program, 'stages'>, cut: Cut): SplitTable {
  const atomsIn = new Map<SetId, AtomKey[]>()
  for (const [atom, vector] of cut.atoms) for (const id of vector) addToList(atomsIn, id, atom)
  const track = (staged: boolean): Section[] => {
    const stages = program.stages.filter(s => (s.staged ?? false) === staged)
    if (staged && stages.length === 0) return []
    const sections = sectionsOf(stages, { atomsIn, budget: cut.budget })
    return sections.map((parts, i) =>
      parts.map((part, k): Part => {
        const place = { staged, last: i === sections.length - 1, part: k < parts.length - 1 }
        const id = sha1Hex(JSON.stringify([place, part])).slice(0, 12)
        return { id, place, table: tableOf(part, place, cut) }
      }),
    )
  }
  return new SplitTable(cut.size, track(true), track(false))
}

type Room = { readonly atomsIn: ReadonlyMap<SetId, readonly AtomKey[]>; readonly budget: number }

/** Parts of such a size that all of them together are within the budget, if that takes no more than MOST_PARTS. */
function sectionsOf(stages: readonly Stage[], { atomsIn, budget }: Room): (readonly Stage[])[][] {
  if (stages.length === 0) return [[[]]]
  for (let room = budget; ; room = Math.ceil(room / 2)) {
    const pieces = stages.map(stage => piecesOf(stage, { atomsIn, budget: room }))
    const sections = pieces.map(of => of.map(({ stage }): readonly Stage[] => [stage]))
    // A Pass in a stage of several parts leaves the last of them out as well: what is then the end has to be said once more.
    if (sections.at(-1)!.length > 1) sections.push([[]])
    const all = pieces.flat()
    const total = all.reduce((sum, piece) => sum + piece.size, 0)
    if (total <= budget || all.length >= MOST_PARTS || room <= 1) return sections
  }
}

/** A stage's rules, as many at a time as have room. */
function piecesOf(stage: Stage, { atomsIn, budget }: Room): { readonly stage: Stage; readonly size: number }[] {
  const pieces: { stage: Stage; size: number }[] = []
  let begin = 0
  let growth = new Growth(atomsIn)
  for (const [i, rule] of stage.rules.entries()) {
    const before = growth.size
    if (growth.add(rule) <= budget || i === begin) continue
    pieces.push({ stage: { ...stage, rules: stage.rules.slice(begin, i) }, size: before })
    begin = i
    growth = new Growth(atomsIn)
    growth.add(rule)
  }
  pieces.push({ stage: { ...stage, rules: stage.rules.slice(begin) }, size: growth.size })
  return pieces
}

/** How a table grows by rule after rule: at most, since atoms that agree share a row. */
class Growth {
  readonly #atomsIn: Room['atomsIn']
  readonly #told = new Set<SetId>()
  readonly #apart = new Set<AtomKey>()
  #anybody = 0
  size = 0

  constructor(atomsIn: Room['atomsIn']) {
    this.#atomsIn = atomsIn
  }

  /** With one rule more. */
  add(rule: ResolvedRule): number {
    for (const id of setsOfRule(rule)) {
      if (this.#told.has(id)) continue
      this.#told.add(id)
      for (const atom of this.#atomsIn.get(id) ?? []) {
        if (!this.#apart.has(atom)) this.size += this.#anybody
        this.#apart.add(atom)
      }
    }
    const weight = weightOf(rule)
    const [first] = rule.peerIn
    if (first === undefined) this.#anybody += weight
    this.size += weight * (first === undefined ? this.#apart.size + 1 : (this.#atomsIn.get(first)?.length ?? 0))
    return this.size
  }
}

function addToList<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}

type Posting = { readonly stage: number; readonly order: number; readonly rule: ResolvedRule }

/** The rows of some stages for each atom; rules are found by the first set that a peer must be in. */
function tableOf(stages: readonly Stage[], place: Place, { atoms, makerAt, keep }: Cut): RowTable {
  const maker = makerAt(place)
  const postings = new Map<SetId | '', Posting[]>()
  const relevant = new Set<SetId>()
  let order = 0
  for (const [stage, { rules }] of stages.entries()) {
    for (const rule of rules) {
      addToList(postings, rule.peerIn[0] ?? '', { stage, order: order++, rule })
      for (const id of setsOfRule(rule)) relevant.add(id)
    }
  }
  const left = (vector: ReadonlySet<SetId>): Stage[] => {
    const found = ['' as const, ...vector].flatMap(id => postings.get(id) ?? []).sort((a, b) => a.order - b.order)
    const rest = stages.map(stage => ({ ...stage, rules: [] as ResolvedRule[] }))
    for (const { stage, rule } of found)
      rest[stage]!.rules.push(...[residualRule(rule, vector)].filter(r => r !== undefined))
    return rest
  }
  const made = new Map<string, RowName>()
  const row = (vector: Iterable<SetId>): RowName => {
    const seen = [...vector].filter(id => relevant.has(id)).sort()
    const key = seen.join(' ')
    const name = made.get(key) ?? keep(maker.row(left(new Set(seen))))
    made.set(key, name)
    return name
  }
  const otherwise = row([])
  const rows = new Map<AtomKey, RowName>()
  for (const [atom, vector] of atoms) {
    const name = row(vector)
    if (name !== otherwise) rows.set(atom, name)
  }
  return new RowTable(otherwise, rows)
}
