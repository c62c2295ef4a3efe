// One group's map from atom to row for one family, kept up to date. Rules are found by posting lists (the first set that a
// peer must be in), so that an atom costs the rules that can match it; an edit costs the atoms in the sets that the edited
// rules speak of.
import type { Block } from '../calc/blocks.ts'
import { type LiveProgram, type LiveStage, sameHead } from '../calc/groups.ts'
import type { ResolvedRule, SetId, Stage } from '../calc/intent.ts'
import { addTo } from '../calc/items.ts'
import type { AtomIndex } from './atom-index.ts'
import { type AtomKey, NOWHERE } from './atoms.ts'
import { residualRule, setsOfRule } from './residual.ts'
import type { RowName } from './row.ts'
import type { MadeRow, RowStore } from './row-store.ts'
import { type Made, type Place, RowMaker } from './rows.ts'
import { type SplitTable, splitTable, weightOf } from './split.ts'

type Entry = { readonly block: Block; readonly index: number; readonly rule: ResolvedRule }
/** Where a block stands: its stage, and its place among all blocks. */
type Standing = { readonly stage: number; readonly place: number }

const ANY = '' as SetId
const NOBODY = { ids: [] as readonly SetId[] }

export class LiveTable {
  readonly #store: RowStore
  readonly #atoms: AtomIndex
  #program: LiveProgram
  readonly #maker: RowMaker
  /** The row of atoms that are in no set that a rule asks about. */
  #otherwise: RowName | undefined
  readonly #rows = new Map<AtomKey, RowName>()
  readonly #postings = new Map<SetId, Entry[]>()
  /** A block may stand in what is enforced, and again in what is staged. */
  readonly #places = new Map<Block, Standing[]>()
  /** How many rules ask about a set. */
  readonly #asked = new Map<SetId, number>()
  /** Rows by the asked sets that an atom is in; a cache. */
  readonly #made = new Map<string, MadeRow>()
  readonly #madeWith = new Map<SetId, Set<string>>()
  /** The other family's table, whose program is set before this one's. */
  readonly #twin: LiveTable | undefined
  /** Whether the twin has the same rules. */
  #isLikeTwin = false
  #changed = new Set<AtomKey>()
  /** The sets that an atom is in and rules ask about, as the key of its class; and the classes, which have a row each. */
  readonly #classOf = new Map<AtomKey, string>()
  readonly #classes = new Map<string, { readonly ids: readonly SetId[]; atoms: number }>()
  /** Elements that the rules which begin with a set may add to a row. */
  readonly #weights = new Map<SetId, number>()
  readonly #budget: number
  #split: SplitTable | undefined
  /** The rows of the parts. */
  #held: readonly RowName[] = []
  /** Atoms whose row is to be made, and whether `otherwise` is. */
  readonly #pending = new Set<AtomKey>()
  #stale = true

  /** `like`: a table that is likely to differ little; what both have is taken over. */
  constructor(
    program: LiveProgram,
    context: {
      atoms: AtomIndex
      store: RowStore
      budget: number
      like?: LiveTable | undefined
      twin?: LiveTable | undefined
    },
  ) {
    this.#twin = context.twin
    this.#maker = new RowMaker(program)
    this.#atoms = context.atoms
    this.#store = context.store
    this.#budget = context.budget
    this.#program = { ...program, stages: [] }
    if (context.like && !context.like.#split) this.#copy(context.like)
    this.setProgram(program)
  }

  #copy(other: LiveTable): void {
    this.#program = other.#program
    this.#otherwise = other.#otherwise && this.#store.hold(other.#otherwise)
    for (const [atom, row] of other.#rows) this.#rows.set(atom, this.#store.hold(row))
    for (const [id, entries] of other.#postings) this.#postings.set(id, [...entries])
    for (const [block, places] of other.#places) this.#places.set(block, [...places])
    for (const [id, count] of other.#asked) this.#asked.set(id, count)
    for (const [key, made] of other.#made) this.#made.set(key, made)
    for (const [id, keys] of other.#madeWith) this.#madeWith.set(id, new Set(keys))
    for (const [atom, key] of other.#classOf) this.#classOf.set(atom, key)
    for (const [key, { ids, atoms }] of other.#classes) this.#classes.set(key, { ids, atoms })
    for (const [id, weight] of other.#weights) this.#weights.set(id, weight)
    for (const atom of other.#pending) this.#pending.add(atom)
    this.#stale = other.#stale
    this.#changed.add(NOWHERE)
  }

  /** The table in parts, where it is past its budget: it has no rows of its own then. */
  get split(): SplitTable | undefined {
    return this.#split
  }

  get otherwise(): RowName {
    return this.#otherwise!
  }

  /** Atoms whose row is not `otherwise`. */
  *entries(): Iterable<[AtomKey, RowName]> {
    for (const [atom, row] of this.#rows) if (row !== this.#otherwise) yield [atom, row]
  }

  /** The row of an atom, if it is not `otherwise`. */
  get(atom: AtomKey): RowName | undefined {
    const row = this.#rows.get(atom)
    return row === this.#otherwise ? undefined : row
  }

  get isUniform(): boolean {
    for (const _ of this.entries()) return false
    return true
  }

  /** Atoms whose entry changed since the last call; `NOWHERE` stands for `otherwise`, which may change every entry. */
  take(): ReadonlySet<AtomKey> {
    const taken = this.#changed
    this.#changed = new Set()
    return taken
  }

  setProgram(program: LiveProgram): void {
    const before = this.#program
    this.#program = program
    this.#isLikeTwin = this.#twin !== undefined && sameBlocks(this.#twin.#program, program)
    const { edited, isSameShape } = this.#diffBlocks(before, program)
    const rules = edited.flatMap(b => b.rules)
    const all =
      (this.#otherwise === undefined && !this.#split) || !isSameShape || rules.some(r => r.peerIn.length === 0)
    if (all) {
      this.#made.clear()
      this.#madeWith.clear()
      this.#stale = true
      for (const atom of this.#atoms.keys()) this.add(atom)
      return
    }
    const sets = new Set(rules.flatMap(setsOfRule))
    for (const id of sets) {
      for (const key of this.#madeWith.get(id) ?? []) this.#made.delete(key)
      this.#madeWith.delete(id)
    }
    for (const id of sets) for (const atom of this.#atoms.bySet.get(id) ?? []) this.add(atom)
  }

  /** An atom is new, or what the rules say of it may have changed. Its row is made by `make`. */
  add(atom: AtomKey): void {
    const ids: SetId[] = []
    for (const id of this.#asked.size === 0 ? [] : this.#atoms.vector(atom)) if (this.#asked.has(id)) ids.push(id)
    ids.sort()
    this.#classify(atom, ids.join(' '), ids)
    this.#pending.add(atom)
  }

  /** New atoms; those that are waiting for a row already have been seen with the program of now. */
  born(atoms: readonly AtomKey[]): void {
    for (const atom of atoms) if (!this.#pending.has(atom)) this.add(atom)
  }

  remove(atom: AtomKey): void {
    this.#classify(atom, '', [])
    this.#setRow(atom, undefined)
    this.#pending.delete(atom)
    if (this.#split) this.#stale = true
  }

  /** Brings the rows up to date, after all that came in by the other calls. */
  make(): void {
    if (!this.#stale && this.#pending.size === 0) return
    const size = this.#predict()
    if (size > this.#budget) this.#cut(size)
    else {
      if (this.#split) this.#join()
      if (this.#stale) this.#setOtherwise()
      for (const atom of this.#pending) {
        const { ids } = this.#classes.get(this.#classOf.get(atom) ?? '') ?? NOBODY
        this.#setRow(atom, ids.length === 0 ? undefined : this.#make(ids))
      }
    }
    this.#stale = false
    this.#pending.clear()
  }

  /** As `sizeOf` predicts it, from what is kept up to date. */
  #predict(): number {
    const weight = (id: SetId): number => this.#weights.get(id) ?? 0
    const anybody = weight(ANY)
    let size = anybody
    for (const { ids } of this.#classes.values()) {
      size += anybody
      for (const id of ids) size += weight(id)
    }
    return size
  }

  #classify(atom: AtomKey, key: string, ids: readonly SetId[]): void {
    const before = this.#classOf.get(atom) ?? ''
    if (before === key) return
    const old = this.#classes.get(before)
    if (old && --old.atoms === 0) this.#classes.delete(before)
    if (key === '') {
      this.#classOf.delete(atom)
      return
    }
    this.#classOf.set(atom, key)
    const known = this.#classes.get(key)
    if (known) known.atoms++
    else this.#classes.set(key, { ids, atoms: 1 })
  }

  /** Past the budget: all is made anew at each change, since few tables are, and none of them should stay so. */
  #cut(size: number): void {
    this.#drop()
    const made = new Map<RowName, MadeRow>()
    const makerAt = (place: Place): RowMaker => new RowMaker(this.#program, place)
    const keep = (of: Made): RowName => {
      made.set(of.row.name, { ...of, anyFamily: false })
      return of.row.name
    }
    const stages = this.#program.stages.map(({ blocks, ...s }) => ({ ...s, rules: blocks.flatMap(b => b.rules) }))
    const atoms = [...this.#atoms.keys()].map(atom => [atom, this.#atoms.vector(atom)] as const)
    const before = this.#held
    this.#split = splitTable({ stages }, { size, budget: this.#budget, makerAt, keep, atoms })
    this.#held = [...made.values()].map(row => this.#store.acquire(row))
    for (const row of before) this.#store.release(row)
    this.#changed.add(NOWHERE)
  }

  /** Within the budget again. */
  #join(): void {
    this.#split = undefined
    for (const row of this.#held) this.#store.release(row)
    this.#held = []
    this.#stale = true
    for (const atom of this.#atoms.keys()) this.#pending.add(atom)
    this.#changed.add(NOWHERE)
  }

  /** Gives back every row. */
  drop(): void {
    this.#drop()
    for (const row of this.#held) this.#store.release(row)
    this.#held = []
  }

  #drop(): void {
    for (const row of this.#rows.values()) this.#store.release(row)
    this.#rows.clear()
    if (this.#otherwise !== undefined) this.#store.release(this.#otherwise)
    this.#otherwise = undefined
  }

  #setRow(atom: AtomKey, made: MadeRow | undefined): void {
    const before = this.#rows.get(atom)
    if (before === made?.row.name) return
    if (made) this.#rows.set(atom, this.#store.acquire(made))
    else this.#rows.delete(atom)
    if (before !== undefined) this.#store.release(before)
    this.#changed.add(atom)
  }

  #setOtherwise(): void {
    const before = this.#otherwise
    this.#otherwise = this.#store.acquire(this.#make([]))
    if (before !== undefined) this.#store.release(before)
    if (before !== this.#otherwise) this.#changed.add(NOWHERE)
  }

  /** `vector`: sorted. */
  #make(vector: readonly SetId[]): MadeRow {
    const key = vector.join(' ')
    const known = this.#made.get(key)
    if (known) return known
    const lent = this.#isLikeTwin ? this.#twin!.#made.get(key) : undefined
    const made = lent?.anyFamily ? lent : this.#makeAnew(vector)
    this.#made.set(key, made)
    for (const id of vector) addTo(this.#madeWith, id, key)
    return made
  }

  #makeAnew(vector: readonly SetId[]): MadeRow {
    const stages = this.#stagesFor(new Set(vector))
    const anyFamily = stages.every(s => s.rules.every(r => !r.icmp && !r.notIcmp))
    return { ...this.#maker.row(stages), anyFamily }
  }

  #stagesFor(vector: ReadonlySet<SetId>): Stage[] {
    const found: { entry: Entry; rule: ResolvedRule; at: Standing }[] = []
    for (const id of [ANY, ...vector]) {
      for (const entry of this.#postings.get(id) ?? []) {
        const rule = residualRule(entry.rule, vector)
        if (rule) for (const at of this.#places.get(entry.block)!) found.push({ entry, rule, at })
      }
    }
    found.sort((a, b) => a.at.place - b.at.place || a.entry.index - b.entry.index)
    const stages = this.#program.stages.map(({ blocks: _, ...stage }) => ({ ...stage, rules: [] as ResolvedRule[] }))
    for (const { rule, at } of found) stages[at.stage]!.rules.push(rule)
    return stages
  }

  /** Takes over the new program's blocks; gives those that came or went. */
  #diffBlocks(before: LiveProgram, after: LiveProgram): { edited: Block[]; isSameShape: boolean } {
    let [a, b] = trimmed(before.stages, after.stages)
    const blocksOf = (stages: readonly LiveStage[]): Set<Block> => new Set(stages.flatMap(s => s.blocks))
    let [old, now] = [blocksOf(a), blocksOf(b)]
    const isElsewhere = (block: Block): boolean => !old.has(block) && this.#places.has(block)
    // A block that stands twice (a profile named twice) is no edit where it stands once more or less.
    if (this.#places.size < before.stages.reduce((n, s) => n + s.blocks.length, 0) || [...now].some(isElsewhere)) {
      ;[a, b] = [before.stages, after.stages]
      ;[old, now] = [blocksOf(a), blocksOf(b)]
    }
    const gone = [...old].filter(block => !now.has(block))
    const come = [...now].filter(block => !old.has(block))
    for (const block of gone) this.#post(block, -1)
    for (const block of come) this.#post(block, 1)
    const [had, has] = [timesOf(a), timesOf(b)]
    for (const block of new Set([...old, ...now])) this.#weigh(block, (has.get(block) ?? 0) - (had.get(block) ?? 0))
    this.#places.clear()
    let place = 0
    for (const [stage, { blocks }] of after.stages.entries()) {
      for (const block of blocks) {
        const at = { stage, place: place++ }
        const places = this.#places.get(block)
        if (places) places.push(at)
        else this.#places.set(block, [at])
      }
    }
    return { edited: [...gone, ...come], isSameShape: sameShape(a, b) }
  }

  #weigh(block: Block, by: number): void {
    if (by === 0) return
    for (const rule of block.rules) {
      const id = rule.peerIn[0] ?? ANY
      const weight = (this.#weights.get(id) ?? 0) + by * weightOf(rule)
      if (weight === 0) this.#weights.delete(id)
      else this.#weights.set(id, weight)
    }
  }

  #post(block: Block, by: 1 | -1): void {
    for (const [index, rule] of block.rules.entries()) {
      const id = rule.peerIn[0] ?? ANY
      const list = this.#postings.get(id)
      if (by === 1 && list) list.push({ block, index, rule })
      else if (by === 1) this.#postings.set(id, [{ block, index, rule }])
      for (const set of setsOfRule(rule)) {
        const asked = (this.#asked.get(set) ?? 0) + by
        if (asked === 0) this.#asked.delete(set)
        else this.#asked.set(set, asked)
      }
    }
    if (by === 1) return
    for (const id of new Set(block.rules.map(r => r.peerIn[0] ?? ANY))) {
      const left = this.#postings.get(id)!.filter(e => e.block !== block)
      if (left.length === 0) this.#postings.delete(id)
      else this.#postings.set(id, left)
    }
  }
}

/** How often each block stands in the stages. */
function timesOf(stages: readonly LiveStage[]): Map<Block, number> {
  const times = new Map<Block, number>()
  for (const block of stages.flatMap(s => s.blocks)) times.set(block, (times.get(block) ?? 0) + 1)
  return times
}

const sameHeads = (a: readonly LiveStage[], b: readonly LiveStage[]): boolean =>
  a.length === b.length && a.every((s, i) => sameHead(s, b[i]))

/** Whether the stages have the same blocks, and end alike. */
const sameBlocks = (a: LiveProgram, b: LiveProgram): boolean =>
  sameHeads(a.stages, b.stages) && trimmed(a.stages, b.stages).every(stages => stages.every(s => s.blocks.length === 0))

/** Where stages correspond, without the blocks with which both begin and end: an edit is small, and a tier may be large. */
function trimmed(a: readonly LiveStage[], b: readonly LiveStage[]): [readonly LiveStage[], readonly LiveStage[]] {
  if (!sameHeads(a, b)) return [a, b]
  const [x, y]: [LiveStage[], LiveStage[]] = [[], []]
  for (const [i, s] of a.entries()) {
    const [p, q] = [s.blocks, b[i]!.blocks]
    const most = Math.min(p.length, q.length)
    let first = 0
    while (first < most && p[first] === q[first]) first++
    let last = 0
    while (last < most - first && p[p.length - 1 - last] === q[q.length - 1 - last]) last++
    x.push({ ...s, blocks: p.slice(first, p.length - last) })
    y.push({ ...b[i]!, blocks: q.slice(first, q.length - last) })
  }
  return [x, y]
}

/** Whether the stages, and the order of the blocks that both have, are the same: then only edited blocks matter. */
function sameShape(a: readonly LiveStage[], b: readonly LiveStage[]): boolean {
  if (!sameHeads(a, b)) return false
  const [inA, inB] = [new Set(a.flatMap(s => s.blocks)), new Set(b.flatMap(s => s.blocks))]
  return a.every((s, i) => {
    const [keptA, keptB] = [s.blocks.filter(x => inB.has(x)), b[i]!.blocks.filter(x => inA.has(x))]
    return keptA.length === keptB.length && keptA.every((block, k) => block === keptB[k])
  })
}
