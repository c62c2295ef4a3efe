// The classification, kept up to date: it follows the calculator's changes, and says what `classify` says of the same
// intent, at a cost that follows the change.
import type { Calculator, IntentDelta } from '../calc/calculator.ts'
import type { LiveGroup } from '../calc/groups.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { type AtomDelta, AtomIndex } from './atom-index.ts'
import { type GroupName, groupName } from './classify.ts'
import { LiveTable } from './live-table.ts'
import { RowStore } from './row-store.ts'
import { BUDGET } from './split.ts'

export type LiveClass = { readonly name: GroupName; readonly tables: Readonly<Record<Family, LiveTable>> }

export type ClassDelta = {
  readonly atoms: AtomDelta
  /** Groups that are gone, by the name they had. */
  readonly gone: readonly GroupName[]
}

export class Classifier {
  readonly atoms = new AtomIndex()
  readonly store = new RowStore()
  readonly groups = new Map<LiveGroup, LiveClass>()

  readonly #budget: number

  /** `budget`: how large a table may be before it is cut into parts. */
  constructor({ budget = BUDGET } = {}) {
    this.#budget = budget
  }

  /** The tables that are past the budget and therefore cut, in words: a packet pays for each part. */
  cut(): string[] {
    return [...this.groups].flatMap(([group, live]) =>
      FAMILIES.flatMap(family => {
        const { split } = live.tables[family]
        if (!split) return []
        const whose = `${group.direction} IPv${family} of ${group.endpoints.size} endpoints (${group.identity})`
        return [
          `${whose}: ${split.size} elements predicted, past the budget of ${this.#budget}: cut into ${split.parts.length} parts`,
        ]
      }),
    )
  }

  apply(calculator: Calculator, delta: IntentDelta): ClassDelta {
    const atoms = this.atoms.apply(delta.members, calculator.sets)
    const tables = (): LiveTable[] => [...this.groups.values()].flatMap(c => FAMILIES.map(f => c.tables[f]))
    for (const table of tables()) for (const atom of atoms.died) table.remove(atom)
    const gone: GroupName[] = []
    for (const group of delta.groups) {
      const known = this.groups.get(group)
      if (group.gone) {
        if (!known) continue
        for (const family of FAMILIES) known.tables[family].drop()
        this.groups.delete(group)
        gone.push(known.name)
      } else if (known) for (const family of FAMILIES) known.tables[family].setProgram(group.programs[family])
      else {
        const like = group.from && this.groups.get(group.from)
        const make = (family: Family, twin?: LiveTable) => {
          const context = {
            atoms: this.atoms,
            store: this.store,
            budget: this.#budget,
            like: like?.tables[family],
            twin,
          }
          return new LiveTable(group.programs[family], context)
        }
        const first = make(4)
        const tables = { 4: first, 6: make(6, first) }
        this.groups.set(group, { name: groupName(group.direction, group.identity), tables })
      }
    }
    for (const table of tables()) {
      for (const atom of atoms.born) table.add(atom)
      table.make()
    }
    const alive = new Set([...this.groups.values()].map(c => c.name))
    return { atoms, gone: gone.filter(name => !alive.has(name)) }
  }
}
