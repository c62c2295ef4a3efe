// The classification, kept up to date: it follows the calculator's changes, and says what `classify` says of the same
// intent, at a cost that follows the change.
import type { Calculator, IntentDelta } from '../calc/calculator.ts'
import type { LiveGroup } from '../calc/groups.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { type AtomDelta, AtomIndex } from './atom-index.ts'
import { type GroupName, groupName } from './classify.ts'
import { LiveTable } from './live-table.ts'
import { RowStore } from './row-store.ts'

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

  apply(calculator: Calculator, delta: IntentDelta): ClassDelta {
    const atoms = this.atoms.apply(delta.members, calculator.sets)
    const tables = (): LiveTable[] => [...this.groups.values()].flatMap(c => FAMILIES.map(f => c.tables[f]))
    for (const table of tables()) for (const atom of atoms.died) table.remove(atom)
    const gone: GroupName[] = []
    /** Made from nothing just now: they have seen every atom. */
    const fresh = new Set<LiveTable>()
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
          const context = { atoms: this.atoms, store: this.store, like: like?.tables[family], twin }
          return new LiveTable(group.programs[family], context)
        }
        const first = make(4)
        const tables: LiveClass['tables'] = { 4: first, 6: make(6, first) }
        this.groups.set(group, { name: groupName(group.direction, group.identity), tables })
        if (!like) for (const family of FAMILIES) fresh.add(tables[family])
      }
    }
    for (const table of tables()) if (!fresh.has(table)) for (const atom of atoms.born) table.add(atom)
    const alive = new Set([...this.groups.values()].map(c => c.name))
    return { atoms, gone: gone.filter(name => !alive.has(name)) }
  }
}
