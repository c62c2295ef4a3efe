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
import { BUDGET } from './split.ts'

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

  readonly #context: { readonly atoms: AtomIndex; readonly store: RowStore; readonly budget: number }

  /** `budget`: how large a table may be before it is cut into parts. */
  constructor({ budget = BUDGET } = {}) {
    this.#context = { atoms: this.atoms, store: this.store, budget }
  }

  /** The tables that are past the budget and therefore cut, in words: a packet pays for each part. */
  cut(): string[] {
    const hosts = [...this.hosts].flatMap(([group, host]) => host.all().map(c => [group, c] as const))
    return [...this.groups, ...hosts].flatMap(([group, live]) =>
      FAMILIES.flatMap(family => {
        const { split } = live.tables[family]
        if (!split) return []
        const whose = `${group.hook ? `${group.hook} ` : ''}${group.direction} IPv${family} of ${group.endpoints.size} endpoints (${group.identity})`
        return [
          `${whose}: ${split.size} elements predicted, past the budget of ${this.#context.budget}: cut into ${split.parts.length} parts`,
        ]
      }),
    )
  }

  apply(calculator: Calculator, delta: IntentDelta): ClassDelta {
    const atoms = this.atoms.apply(delta.members, calculator.sets)
    for (const table of this.#tables()) for (const atom of atoms.died) table.remove(atom)
    const gone = [...this.hosts.values()].flatMap(host => host.forget())
    const goneHosts: GroupName[] = []
    for (const group of delta.groups) {
      if (group.hook !== undefined) this.#host(group, gone, goneHosts)
      else this.#workload(group, gone)
    }
    if (atoms.born.length + atoms.died.length > 0) {
      for (const host of this.hosts.values()) gone.push(...host.follow(atoms.born, atoms.died))
    }
    for (const table of this.#tables()) {
      table.born(atoms.born)
      table.make()
    }
    const alive = new Set([...this.groups.values(), ...this.hostClasses()].map(c => c.name))
    const hosts = new Set([...this.hosts.values()].map(h => h.name))
    return {
      atoms,
      gone: gone.filter(name => !alive.has(name)),
      goneHosts: goneHosts.filter(name => !hosts.has(name)),
    }
  }

  *hostClasses(): Iterable<LiveClass> {
    for (const host of this.hosts.values()) yield* host.all()
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
      const make = (family: Family, twin?: LiveTable) =>
        new LiveTable(group.programs[family], { ...this.#context, like: like?.tables[family], twin })
      const first = make(4)
      const tables = { 4: first, 6: make(6, first) }
      this.groups.set(group, { name: groupName(group, group.identity), tables })
    }
  }

  #host(group: LiveGroup, gone: GroupName[], goneHosts: GroupName[]): void {
    const known = this.hosts.get(group)
    if (!group.gone) {
      if (known) gone.push(...known.setPrograms(group.programs))
      else this.hosts.set(group, new LiveHost({ direction: group.direction, hook: group.hook! }, group, this.#context))
    } else if (known) {
      gone.push(...known.drop())
      goneHosts.push(known.name)
      this.hosts.delete(group)
    }
  }
}
