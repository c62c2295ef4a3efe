// The classification, kept up to date: it follows the calculator's changes, and says what `classify` says of the same
// intent, at a cost that follows the change.
import type { Calculator, IntentDelta } from '../calc/calculator.ts'
import type { LiveGroup } from '../calc/groups.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { type AtomDelta, AtomIndex } from './atom-index.ts'
import { type GroupName, groupName } from './classify.ts'
import { type LiveClass, LiveHost } from './live-host.ts'
import { LiveTable } from './live-table.ts'
import { RowStore } from './row-store.ts'

export type ClassDelta = {
  readonly atoms: AtomDelta
  /** Groups that are gone, by the name they had. */
  readonly gone: readonly GroupName[]
  /** Host groups that are gone. */
  readonly goneHosts: readonly GroupName[]
}

export class Classifier {
  readonly atoms = new AtomIndex()
  readonly store = new RowStore()
  readonly groups = new Map<LiveGroup, LiveClass>()
  readonly hosts = new Map<LiveGroup, LiveHost>()

  apply(calculator: Calculator, delta: IntentDelta): ClassDelta {
    const atoms = this.atoms.apply(delta.members, calculator.sets)
    for (const table of this.#tables()) for (const atom of atoms.died) table.remove(atom)
    const gone: GroupName[] = []
    const goneHosts: GroupName[] = []
    for (const group of delta.groups) {
      if (group.hook !== undefined) this.#host(group, gone, goneHosts)
      else this.#workload(group, gone)
    }
    if (atoms.born.length + atoms.died.length > 0) {
      for (const host of this.hosts.values()) gone.push(...host.follow(atoms.born, atoms.died))
    }
    for (const table of this.#tables()) for (const atom of atoms.born) table.add(atom)
    const alive = new Set([...this.groups.values(), ...this.hostClasses()].map(c => c.name))
    const hosts = new Set([...this.hosts.values()].map(h => h.name))
    return {
      atoms,
      gone: gone.filter(name => !alive.has(name)),
      goneHosts: goneHosts.filter(name => !hosts.has(name)),
    }
  }

  *hostClasses(): Iterable<LiveClass> {
    for (const host of this.hosts.values()) yield* host.classes.values()
  }

  #tables(): LiveTable[] {
    return [...this.groups.values(), ...this.hostClasses()].flatMap(c => FAMILIES.map(f => c.tables[f]))
  }

  #workload(group: LiveGroup, gone: GroupName[]): void {
    const known = this.groups.get(group)
    if (group.gone) {
      if (!known) return
      for (const family of FAMILIES) known.tables[family].drop()
      this.groups.delete(group)
      gone.push(known.name)
    } else if (known) for (const family of FAMILIES) known.tables[family].setProgram(group.programs[family])
    else {
      const like = group.from && this.groups.get(group.from)
      const make = (family: Family) =>
        new LiveTable(group.programs[family], { atoms: this.atoms, store: this.store, like: like?.tables[family] })
      this.groups.set(group, { name: groupName(group, group.identity), tables: { 4: make(4), 6: make(6) } })
    }
  }

  #host(group: LiveGroup, gone: GroupName[], goneHosts: GroupName[]): void {
    const known = this.hosts.get(group)
    if (!group.gone) {
      if (known) gone.push(...known.setPrograms(group.programs))
      else this.hosts.set(group, new LiveHost({ direction: group.direction, hook: group.hook! }, group, this))
    } else if (known) {
      gone.push(...known.drop())
      goneHosts.push(known.name)
      this.hosts.delete(group)
    }
  }
}
