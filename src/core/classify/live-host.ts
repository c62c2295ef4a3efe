// What guards host endpoints at one leg, kept up to date: a group like a workload's for each key of own addresses (own.ts),
// and which atoms have which key. Says what `classify` says of the same guard.
import type { Block } from '../calc/blocks.ts'
import type { LiveGroup, LiveProgram } from '../calc/groups.ts'
import type { SetId } from '../calc/intent.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import type { HostLeg } from '../resources/cause.ts'
import type { AtomIndex } from './atom-index.ts'
import type { AtomKey } from './atoms.ts'
import { type GroupName, groupName, ownGroupName } from './classify.ts'
import { LiveTable } from './live-table.ts'
import { ownKey, ownRules, ownSetsOf, setsOfKey } from './own.ts'
import { ownSetsOfRule, setsOfRule } from './residual.ts'
import type { RowStore } from './row-store.ts'

export type LiveClass = { readonly name: GroupName; readonly tables: Readonly<Record<Family, LiveTable>> }
type Context = { readonly atoms: AtomIndex; readonly store: RowStore; readonly budget: number }

export class LiveHost {
  readonly leg: HostLeg
  readonly name: GroupName
  readonly identity: string
  /** By own key; the empty one is always there. */
  readonly classes = new Map<string, LiveClass>()
  /**
   * Classes of rules that asked about other sets. Until the kernel leads nobody to them any more they know every new atom.
   */
  #lingering: LiveClass[] = []
  /** The key of every atom that has one. */
  readonly keys = new Map<AtomKey, string>()
  readonly #context: Context
  /** A block's rules for one key: the same object as long as the block is, so that edits are seen as edits. */
  readonly #blocks = new WeakMap<Block, Map<string, Block>>()
  #programs: LiveGroup['programs']
  #asked: ReadonlySet<SetId> = new Set()

  constructor(leg: HostLeg, { identity, programs }: LiveGroup, context: Context) {
    this.leg = { direction: leg.direction, hook: leg.hook }
    this.name = groupName(leg, identity)
    this.identity = identity
    this.#context = context
    this.#programs = programs
    this.setPrograms(programs)
  }

  /** Whether new atoms may have a key here. */
  get asksOwn(): boolean {
    return this.#asked.size > 0
  }

  /** Gives the names of classes that are gone. */
  setPrograms(programs: LiveGroup['programs']): GroupName[] {
    this.#programs = programs
    const asked = ownSetsOf(FAMILIES.map(f => ruled(programs[f])))
    const isSame = asked.size === this.#asked.size && [...asked].every(id => this.#asked.has(id))
    if (!isSame) {
      this.#lingering.push(...this.classes.values())
      this.classes.clear()
    }
    this.#asked = asked
    const { atoms } = this.#context
    this.keys.clear()
    for (const id of this.#asked) {
      for (const atom of atoms.bySet.get(id) ?? []) this.keys.set(atom, ownKey(atoms.vector(atom), this.#asked))
    }
    for (const [key, { tables }] of this.classes) {
      for (const f of FAMILIES) tables[f].setProgram(this.#program(f, key))
    }
    return this.#fit()
  }

  /** After atoms came and went; gives the names of classes that are gone. */
  follow(born: readonly AtomKey[], died: readonly AtomKey[]): GroupName[] {
    for (const atom of died) this.keys.delete(atom)
    for (const atom of born) {
      const key = ownKey(this.#context.atoms.vector(atom), this.#asked)
      if (key !== '') this.keys.set(atom, key)
    }
    return this.#fit()
  }

  /** Every class that the kernel must have. */
  all(): LiveClass[] {
    return [...this.classes.values(), ...this.#lingering]
  }

  /** Gives up what the last change left; to be called when the kernel has taken that. Gives the names. */
  forget(): GroupName[] {
    return this.#lingering.splice(0).map(dropped)
  }

  drop(): GroupName[] {
    this.keys.clear()
    return [...this.forget(), ...[...this.classes.keys()].map(key => this.#remove(key))]
  }

  /** Makes the classes that are needed, and gives up the others. */
  #fit(): GroupName[] {
    const needed = new Set(['', ...this.keys.values()])
    for (const key of needed) {
      if (this.classes.has(key)) continue
      const like = this.classes.get('')
      const make = (f: Family): LiveTable =>
        new LiveTable(this.#program(f, key), { ...this.#context, like: like?.tables[f] })
      this.classes.set(key, {
        name: ownGroupName(this.leg, this.identity, { asked: this.#asked, key }),
        tables: { 4: make(4), 6: make(6) },
      })
    }
    return [...this.classes.keys()].filter(key => !needed.has(key)).map(key => this.#remove(key))
  }

  #remove(key: string): GroupName {
    const name = dropped(this.classes.get(key)!)
    this.classes.delete(key)
    return name
  }

  #program(family: Family, key: string): LiveProgram {
    const program = this.#programs[family]
    const stages = program.stages.map(s => ({ ...s, blocks: s.blocks.map(b => this.#block(b, key)) }))
    return { ...program, stages }
  }

  #block(block: Block, key: string): Block {
    if (!block.rules.some(r => ownSetsOfRule(r).length > 0)) return block
    const known = this.#blocks.get(block) ?? new Map<string, Block>()
    this.#blocks.set(block, known)
    let made = known.get(key)
    if (!made) {
      const rules = ownRules(block.rules, setsOfKey(key))
      made = { ...block, rules, sets: rules.flatMap(setsOfRule) }
      known.set(key, made)
    }
    return made
  }
}

/** Gives back a class's rows; and its name. */
function dropped({ name, tables }: LiveClass): GroupName {
  for (const f of FAMILIES) tables[f].drop()
  return name
}

const ruled = ({ stages }: LiveProgram) => ({ stages: stages.map(s => ({ rules: s.blocks.flatMap(b => b.rules) })) })
