// A table from a peer's atom to its row.
import type { AtomKey } from './atoms.ts'
import type { RowName } from './row.ts'

/** Which row a peer's atom leads to. Atoms not listed, and those that no set holds, lead to `otherwise`. */
export class RowTable {
  readonly otherwise: RowName
  readonly #rows: ReadonlyMap<AtomKey, RowName>

  /** `rows`: of the atoms whose row is not `otherwise`. */
  constructor(otherwise: RowName, rows: ReadonlyMap<AtomKey, RowName>) {
    this.otherwise = otherwise
    this.#rows = rows
  }

  get isUniform(): boolean {
    return this.#rows.size === 0
  }

  entries(): Iterable<[AtomKey, RowName]> {
    return this.#rows
  }

  row(atom: AtomKey): RowName {
    return this.#rows.get(atom) ?? this.otherwise
  }
}
