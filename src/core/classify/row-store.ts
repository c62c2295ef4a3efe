// Rows and outcomes in use, counted: a row lives as long as some table leads to it, an outcome as long as some row does.
// What came and went since the last look is what has to be written.
import type { Outcome, OutcomeName } from './outcome.ts'
import type { Row, RowName } from './row.ts'

/** A row with the outcomes that it leads to. */
export type MadeRow = {
  readonly row: Row
  readonly outcomes: ReadonlyMap<OutcomeName, Outcome>
  /** Whether the same rules make the same row in the other family: none of them asks about ICMP's types. */
  readonly anyFamily: boolean
}

type Counted<T> = { readonly value: T; users: number }

export class RowStore {
  readonly #rows = new Map<RowName, Counted<MadeRow>>()
  readonly #outcomes = new Map<OutcomeName, Counted<Outcome>>()
  #changedRows = new Map<RowName, Row>()
  #changedOutcomes = new Map<OutcomeName, Outcome>()

  get rowCount(): number {
    return this.#rows.size
  }
  get outcomeCount(): number {
    return this.#outcomes.size
  }

  row(name: RowName): Row | undefined {
    return this.#rows.get(name)?.value.row
  }

  outcome(name: OutcomeName): Outcome | undefined {
    return this.#outcomes.get(name)?.value
  }

  *outcomes(): Iterable<Outcome> {
    for (const { value } of this.#outcomes.values()) yield value
  }

  acquire(made: MadeRow): RowName {
    const { name } = made.row
    const held = this.#rows.get(name)
    if (held) {
      held.users++
      return name
    }
    this.#rows.set(name, { value: made, users: 1 })
    this.#changedRows.set(name, made.row)
    for (const [key, outcome] of made.outcomes) {
      const known = this.#outcomes.get(key)
      if (known) known.users++
      else {
        this.#outcomes.set(key, { value: outcome, users: 1 })
        this.#changedOutcomes.set(key, outcome)
      }
    }
    return name
  }

  /** One user more of a row that is there. */
  hold(name: RowName): RowName {
    this.#rows.get(name)!.users++
    return name
  }

  release(name: RowName): void {
    const held = this.#rows.get(name)!
    if (--held.users > 0) return
    this.#rows.delete(name)
    this.#changedRows.set(name, held.value.row)
    for (const [key, outcome] of held.value.outcomes) {
      const known = this.#outcomes.get(key)!
      if (--known.users > 0) continue
      this.#outcomes.delete(key)
      this.#changedOutcomes.set(key, outcome)
    }
  }

  /** Rows and outcomes that came or went; ask `row` and `outcome` whether they are there. */
  take(): { readonly rows: ReadonlyMap<RowName, Row>; readonly outcomes: ReadonlyMap<OutcomeName, Outcome> } {
    const taken = { rows: this.#changedRows, outcomes: this.#changedOutcomes }
    this.#changedRows = new Map()
    this.#changedOutcomes = new Map()
    return taken
  }
}
