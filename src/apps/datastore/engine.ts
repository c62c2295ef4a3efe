// The datastore's state in one SQLite file, etcd's model: the present of every key, the history of every revision down
// to the compacted one, and which named requests have been applied. All calls are synchronous; a write returns once it is
// on the disk. The exclusive lock on the file is the kernel's, so it ends with the process, however that ends.
import { randomUUID } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { prefixEnd, type WriteRequest } from '../../io/store/protocol.ts'
import type { Entry, StoreEvent } from '../../io/store/store.ts'

export const FORMAT = 1
/** Request names are forgotten, and compacted history is removed, in pieces of this many rows: about a millisecond. */
const PIECE = 1000

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, mod INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
  -- One row a revision; a value of NULL is a deletion.
  CREATE TABLE IF NOT EXISTS history (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT, created INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS requests (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS requests_by_revision ON requests (revision);
`

export type Outcome =
  | { readonly kind: 'put'; readonly entry: Entry }
  | { readonly kind: 'delete'; readonly existed: boolean }
  | { readonly kind: 'conflict'; readonly currentRevision: number }

export type Commit = { readonly outcomes: readonly Outcome[]; readonly events: readonly StoreEvent[] }

type EntryRow = { key: string; value: string; mod: number; created: number }
type HistoryRow = { revision: number; key: string; value: string | null; created: number }
type RequestRow = { revision: number; created: number }

const toEntry = (row: EntryRow): Entry => ({
  key: row.key,
  value: row.value,
  modRevision: row.mod,
  createRevision: row.created,
})

const toEvent = ({ revision, key, value, created }: HistoryRow): StoreEvent =>
  value === null
    ? { kind: 'delete', key, revision }
    : { kind: 'put', entry: { key, value, modRevision: revision, createRevision: created } }

export class Engine {
  readonly #db: DatabaseSync
  readonly #sql
  /** Names this database for ever; another file, another name. */
  readonly storeId: string
  #revision: number
  #compacted: number

  /** Opens or creates the file and locks it; throws when it is locked, is not such a file, or has a newer format. */
  constructor(file: string) {
    const db = new DatabaseSync(file, { timeout: 1000 })
    this.#db = db
    try {
      db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
      db.exec(`BEGIN EXCLUSIVE; ${SCHEMA} COMMIT`)
      this.#sql = statements(db)
      const format = this.#meta('format', () => FORMAT)
      if (format !== FORMAT) throw new Error(`${file} has format ${format}; this program knows ${FORMAT}`)
      this.storeId = String(this.#meta('store', randomUUID))
      this.#revision = Number(this.#meta('revision', () => 0))
      this.#compacted = Number(this.#meta('compacted', () => 0))
    } catch (error) {
      db.close()
      throw error
    }
  }

  get revision(): number {
    return this.#revision
  }

  /** Events up to this revision are gone. */
  get compacted(): number {
    return this.#compacted
  }

  #meta(name: string, initial: () => string | number): string | number {
    const row = this.#sql.getMeta.get(name) as { value: string | number } | undefined
    if (row) return row.value
    const value = initial()
    this.#sql.setMeta.run(name, value)
    return value
  }

  get(key: string): Entry | undefined {
    const row = this.#sql.get.get(key) as EntryRow | undefined
    return row && toEntry(row)
  }

  /** Entries whose key has the prefix, in key order, all of the present revision. */
  *list(prefix: string): Generator<Entry> {
    const end = prefixEnd(prefix)
    const rows = end === undefined ? this.#sql.listFrom.iterate(prefix) : this.#sql.listBetween.iterate(prefix, end)
    for (const row of rows) yield toEntry(row as EntryRow)
  }

  /** Events in (after, upTo], oldest first. */
  *history(after: number, upTo: number): Generator<StoreEvent> {
    for (const row of this.#sql.history.iterate(after, upTo)) yield toEvent(row as HistoryRow)
  }

  /** Applies all writes in order in one transaction, each judged by what the ones before it left. */
  commit(writes: readonly WriteRequest[]): Commit {
    const events: StoreEvent[] = []
    const outcomes: Outcome[] = []
    this.#transaction(() => {
      for (const write of writes) outcomes.push(this.#apply(write, events))
      if (events.length > 0) this.#sql.setMeta.run('revision', this.#revision)
    })
    return { outcomes, events }
  }

  #apply(write: WriteRequest, events: StoreEvent[]): Outcome {
    const { key, ifRevision } = write
    const done = this.#sql.getRequest.get(write.request) as RequestRow | undefined
    if (done) {
      if (write.op === 'delete') return { kind: 'delete', existed: true }
      return {
        kind: 'put',
        entry: { key, value: write.value, modRevision: done.revision, createRevision: done.created },
      }
    }
    const old = this.#sql.stamp.get(key) as { mod: number; created: number } | undefined
    const currentRevision = old?.mod ?? 0
    if (ifRevision !== undefined && ifRevision !== currentRevision) return { kind: 'conflict', currentRevision }
    if (write.op === 'delete' && !old) return { kind: 'delete', existed: false }
    const revision = ++this.#revision
    const created = old?.created ?? revision
    const value = write.op === 'put' ? write.value : null
    if (value === null) this.#sql.remove.run(key)
    else this.#sql.upsert.run(key, value, revision, created)
    this.#sql.addHistory.run(revision, key, value, created)
    this.#sql.addRequest.run(write.request, revision, created)
    const event = toEvent({ revision, key, value, created })
    events.push(event)
    return event.kind === 'put' ? event : { kind: 'delete', existed: true }
  }

  /** Marks history up to a revision as gone; `sweep` then removes it. */
  compact(revision: number): void {
    if (revision <= this.#compacted) return
    this.#sql.setMeta.run('compacted', revision)
    this.#compacted = revision
  }

  /** Removes one piece of compacted history and of request names up to a revision; true if more is left. */
  sweep(requestsUpTo: number): boolean {
    let changes = 0
    this.#transaction(() => {
      changes = Math.max(
        Number(this.#sql.sweepHistory.run(this.#compacted, PIECE).changes),
        Number(this.#sql.sweepRequests.run(requestsUpTo, PIECE).changes),
      )
    })
    return changes === PIECE
  }

  #transaction(body: () => void): void {
    const before = this.#revision
    this.#db.exec('BEGIN')
    try {
      body()
      this.#db.exec('COMMIT')
    } catch (error) {
      this.#revision = before
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  close(): void {
    this.#db.close()
  }
}

const statements = (db: DatabaseSync) => ({
  getMeta: db.prepare('SELECT value FROM meta WHERE name = ?'),
  setMeta: db.prepare('INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value'),
  get: db.prepare('SELECT key, value, mod, created FROM entries WHERE key = ?'),
  stamp: db.prepare('SELECT mod, created FROM entries WHERE key = ?'),
  listFrom: db.prepare('SELECT key, value, mod, created FROM entries WHERE key >= ? ORDER BY key'),
  listBetween: db.prepare('SELECT key, value, mod, created FROM entries WHERE key >= ? AND key < ? ORDER BY key'),
  upsert: db.prepare(
    'INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, mod = excluded.mod',
  ),
  remove: db.prepare('DELETE FROM entries WHERE key = ?'),
  history: db.prepare(
    'SELECT revision, key, value, created FROM history WHERE revision > ? AND revision <= ? ORDER BY revision',
  ),
  addHistory: db.prepare('INSERT INTO history VALUES (?, ?, ?, ?)'),
  getRequest: db.prepare('SELECT revision, created FROM requests WHERE name = ?'),
  addRequest: db.prepare('INSERT INTO requests VALUES (?, ?, ?)'),
  sweepHistory: db.prepare(
    'DELETE FROM history WHERE revision IN (SELECT revision FROM history WHERE revision <= ? ORDER BY revision LIMIT ?)',
  ),
  sweepRequests: db.prepare(
    'DELETE FROM requests WHERE name IN (SELECT name FROM requests WHERE revision <= ? ORDER BY revision LIMIT ?)',
  ),
})
