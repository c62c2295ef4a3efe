// Our table, out of the raw ruleset that the proof read, brought down to what two sides can compare in a few strings: the
// proof's thread reads, the thread that writes compares with what it wrote, and neither sends the other a table.
import { eachAttribute, text } from '../../core/netlink/attributes.ts'
import { Reader } from '../../core/netlink/bytes.ts'
import { takeGenHeader } from '../../core/netlink/nfgenmsg.ts'
import { TableDump } from '../../core/nft/decode.ts'
import { NFPROTO_INET } from '../../core/nft/nfnetlink.ts'
import type { NftOp } from '../../core/nft/objects.ts'
import { sumsOf, type TableState, tableState, tableSums } from '../../core/nft/table-state.ts'
import type { RawRuleset } from '../../core/proof/raw.ts'

/** What was read of a table; undefined parts are not known, and say nothing. */
export type ReadBack = {
  /** By set, and for all chains; a set that was not read whole has none (`undefined`). Undefined: there is no such table. */
  readonly sums: ReadonlyMap<string, string | undefined> | undefined
  /** Whether something in it is not understood. */
  readonly unknown: boolean
}

/** The table `name` of the family inet. */
export function readBack(raw: RawRuleset, name: string): ReadBack {
  const dump = new TableDump(name)
  const each = (bodies: readonly Uint8Array[], take: (body: Reader) => void): void => {
    for (const bytes of bodies) {
      const body = new Reader(bytes)
      if (takeGenHeader(body).family !== NFPROTO_INET) continue
      if (attributeOf(1, new Reader(bytes, body.at, body.end)) === name) take(body)
    }
  }
  each(raw.tables, body => dump.table(body))
  each(raw.chains, body => dump.chain(body))
  each(raw.sets, body => dump.set(body))
  each(raw.elements, body => dump.elements(attributeOf(2, new Reader(body.bytes, body.at, body.end)), body))
  const torn = dump.setNames.filter(set => !dump.isWhole(set))
  each(raw.rules, body => dump.rule(body))
  const table = dump.result()
  if (!table) return { sums: undefined, unknown: false }
  const sums: Map<string, string | undefined> = tableSums(tableState(table))
  for (const set of torn) if (sums.has(set)) sums.set(set, undefined)
  return { sums, unknown: table.unknown !== undefined }
}

/** A name: attribute 1 is the table in every message, 2 of elements the set. */
function attributeOf(wanted: number, body: Reader): string {
  for (const { type, payload } of eachAttribute(body)) if (type === wanted) return text.decode(payload)
  return ''
}

/** Counts writes, so that an answer of the reading thread is held only to what was not written since it was asked. */
export class Writes {
  #count = 0
  #knownSince = 0
  readonly #last = new Map<string, number>()

  /** How many there were. */
  get count(): number {
    return this.#count
  }

  wrote(ops: readonly NftOp[]): void {
    this.#count++
    for (const name of sumsOf(ops)) this.#last.set(name, this.#count)
    if (ops.some(op => op.op === 'delete-table')) this.#knownSince = this.#count
  }

  /** What the kernel holds was read by the thread that writes: what the other one read before says nothing more. */
  known(): void {
    this.#knownSince = ++this.#count
  }

  /** Whether what was read, by who asked when `since` writes were made, is something else than what was written. */
  differs(found: TableState, read: ReadBack, since: number): boolean {
    if (since < this.#knownSince) return false
    if (read.unknown || (read.sums === undefined) === found.exists) return true
    const [written, seen] = [tableSums(found), read.sums ?? new Map<string, string | undefined>()]
    const names = new Set([...written.keys(), ...seen.keys()])
    for (const name of names) {
      if ((this.#last.get(name) ?? 0) > since || (seen.has(name) && seen.get(name) === undefined)) continue
      if (written.get(name) !== seen.get(name)) return true
    }
    return false
  }
}
