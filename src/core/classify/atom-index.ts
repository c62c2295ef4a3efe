// Atoms, kept up to date: changes of set members come in, and which addresses and intervals have another atom, and which
// atoms are new or gone, comes out. Says what `atomsOf` says of the same sets.
import type { ActiveSets, MemberChange } from '../calc/active-sets.ts'
import type { SetId } from '../calc/intent.ts'
import { addTo, removeFrom } from '../calc/items.ts'
import { type Addr, type Family, familyOf } from '../net/addr.ts'
import { type Prefix, prefixFamily } from '../net/prefix.ts'
import { type AtomKey, atomKey, coverOf, type Interval, intervalAt, NOWHERE } from './atoms.ts'

export type AtomDelta = {
  /** Addresses whose exact entry is new, gone, or another. */
  readonly addresses: ReadonlySet<Addr>
  readonly covers: ReadonlySet<Family>
  readonly born: readonly AtomKey[]
  readonly died: readonly AtomKey[]
}

type Atom = { readonly vector: ReadonlySet<SetId>; users: number }

export class AtomIndex {
  readonly exact = new Map<Addr, AtomKey>()
  readonly cover: Record<Family, readonly Interval[]> = { 4: coverOf(4, []), 6: coverOf(6, []) }
  /** The atoms that are in a set. */
  readonly bySet = new Map<SetId, Set<AtomKey>>()
  readonly #atoms = new Map<AtomKey, Atom>()
  /** The sets that name an address as such. */
  readonly #named = new Map<Addr, readonly SetId[]>()
  readonly #prefixes = new Map<SetId, readonly Prefix[]>()

  get size(): number {
    return this.#atoms.size + 1
  }

  /** Every atom but `NOWHERE`. */
  keys(): Iterable<AtomKey> {
    return this.#atoms.keys()
  }

  has(key: AtomKey): boolean {
    return key === NOWHERE || this.#atoms.has(key)
  }

  vector(key: AtomKey): ReadonlySet<SetId> {
    return this.#atoms.get(key)?.vector ?? EMPTY
  }

  apply(members: ReadonlyMap<SetId, MemberChange>, sets: Pick<ActiveSets, 'get'>): AtomDelta {
    const touched = new Set<Addr>()
    const covers = new Set<Family>()
    const changed = new Set<AtomKey>()
    for (const [id, change] of members) {
      for (const [addr, present] of change.addresses) {
        const before = this.#named.get(addr)
        const without = before?.filter(other => other !== id) ?? []
        const now = present ? [...without, id] : without
        if (now.length === 0) this.#named.delete(addr)
        else this.#named.set(addr, now)
        touched.add(addr)
      }
      if (!change.prefixes) continue
      const now = [...(sets.get(id)?.prefixes.keys() ?? [])]
      for (const prefix of [...(this.#prefixes.get(id) ?? []), ...now]) covers.add(prefixFamily(prefix))
      if (now.length > 0) this.#prefixes.set(id, now)
      else this.#prefixes.delete(id)
    }
    for (const family of covers) this.#recover(family, changed)
    // What an address is named by may be the same, and what is around it another.
    if (covers.size > 0) for (const addr of this.#named.keys()) if (covers.has(familyOf(addr))) touched.add(addr)
    const addresses = new Set<Addr>()
    for (const addr of touched) if (this.#place(addr, changed)) addresses.add(addr)
    return { addresses, covers, ...this.#bury(changed) }
  }

  #recover(family: Family, changed: Set<AtomKey>): void {
    const named = [...this.#prefixes].map(([id, prefixes]) => ({ id, prefixes }))
    const before = this.cover[family]
    this.cover[family] = coverOf(family, named)
    for (const { atom } of this.cover[family]) this.#use(atom, 1, changed)
    for (const { atom } of before) this.#use(atom, -1, changed)
  }

  /** Whether the address's exact entry changed. */
  #place(addr: Addr, changed: Set<AtomKey>): boolean {
    const before = this.exact.get(addr)
    const ids = this.#named.get(addr)
    const family = familyOf(addr)
    let now: AtomKey | undefined
    if (ids) {
      const around = intervalAt(this.cover[family], addr).atom
      const atom = around === NOWHERE ? atomKey(ids) : atomKey(new Set([...ids, ...this.vector(around)]))
      now = atom === around ? undefined : atom
    }
    if (now === before) return false
    if (now !== undefined) this.#use(now, 1, changed)
    if (before !== undefined) this.#use(before, -1, changed)
    if (now === undefined) this.exact.delete(addr)
    else this.exact.set(addr, now)
    return true
  }

  #use(key: AtomKey, by: 1 | -1, changed: Set<AtomKey>): void {
    if (key === NOWHERE) return
    let atom = this.#atoms.get(key)
    if (!atom) {
      atom = { vector: new Set(key.split(' ') as SetId[]), users: 0 }
      this.#atoms.set(key, atom)
      changed.add(key)
    }
    atom.users += by
    if (atom.users === 0) changed.add(key)
  }

  /** Sorts what changed into new and gone; an atom that came and went is neither. */
  #bury(changed: ReadonlySet<AtomKey>): { born: AtomKey[]; died: AtomKey[] } {
    const born: AtomKey[] = []
    const died: AtomKey[] = []
    for (const key of changed) {
      const atom = this.#atoms.get(key)!
      const known = this.#isIndexed(key, atom)
      if (atom.users > 0) {
        if (known) continue
        for (const id of atom.vector) addTo(this.bySet, id, key)
        born.push(key)
      } else {
        this.#atoms.delete(key)
        if (!known) continue
        for (const id of atom.vector) removeFrom(this.bySet, id, key)
        died.push(key)
      }
    }
    return { born, died }
  }

  #isIndexed(key: AtomKey, { vector }: Atom): boolean {
    const [first] = vector
    return this.bySet.get(first!)?.has(key) ?? false
  }
}

const EMPTY: ReadonlySet<SetId> = new Set()
