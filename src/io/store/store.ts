// What every datastore driver offers: etcd's model, cut to what is used. Keys are paths, values are JSON text,
// one revision counts all writes, a write is compare-and-set, and a watch resumes from a revision without a gap.

export type Entry = {
  readonly key: string
  /** JSON text, exactly as written. */
  readonly value: string
  /** Revision of the last write of this key; a resource's `resourceVersion`. */
  readonly modRevision: number
  /** Absent where the store does not know it. */
  readonly createRevision?: number
}

/** A key's current value at a revision, or its deletion. */
export type StoreEvent =
  | { readonly kind: 'put'; readonly entry: Entry }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number }

export type Condition = {
  /** The key's modRevision must be this; 0: the key must not exist. Without it the write is unconditional. */
  readonly ifRevision?: number
}

export type Watch = { close(): void }

export type WatchHandlers = {
  /** Events of one or more whole revisions in order; `revision` is the last one they bring the watcher up to. */
  readonly events: (events: readonly StoreEvent[], revision: number) => void
  /** The watch ended: `compacted` asks for a new list; other errors are retried by the driver itself. */
  readonly closed: (error: StoreError | undefined) => void
}

export type StoreErrorCode = 'conflict' | 'compacted' | 'unavailable' | 'invalid'

export class StoreError extends Error {
  readonly code: StoreErrorCode
  readonly key: string | undefined
  /** For a conflict: the key's modRevision as the server has it, 0 if it does not exist. */
  readonly currentRevision: number | undefined
  constructor(code: StoreErrorCode, message: string, detail: { key?: string; currentRevision?: number } = {}) {
    super(message)
    this.name = 'StoreError'
    this.code = code
    this.key = detail.key
    this.currentRevision = detail.currentRevision
  }
}

export type Annotations = Readonly<Record<string, string>>
export type TakePage = (entries: readonly Entry[], at: { readonly first: boolean; readonly revision: number }) => void

export type Store = {
  /**
   * The prefixes that together hold all keys under a prefix, each with revisions of its own: only these can be watched, from
   * the revision of their own list. Absent: the store counts one revision for all keys, and every prefix can be watched.
   */
  collections?(prefix: string): readonly string[]
  get(key: string): Promise<Entry | undefined>
  /** All keys that begin with the prefix, sorted by key, and the revision they were read at. */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }>
  /**
   * The same, handed on page by page as it comes: who keeps little of much then never holds all of it. The pages are of one
   * moment and in no order; `first` says that a list begins, or begins anew. Gives the revision. Absent: as `list`.
   */
  pages?(prefix: string, take: TakePage): Promise<number>
  /** Throws `conflict` if the condition does not hold. */
  put(key: string, value: string, condition?: Condition): Promise<Entry>
  /**
   * Sets annotations of an object beside those it has, whatever else of it changed meanwhile. Throws `conflict` if it is gone, or
   * another by now than the uid or the revision says. Absent: the store keeps values as they are written, and changes none.
   */
  annotate?(key: string, annotations: Annotations, condition: Condition & { readonly uid?: string }): Promise<Entry>
  /** True if the key existed. Throws `conflict` if the condition does not hold. */
  delete(key: string, condition?: Condition): Promise<boolean>
  /** All events after `afterRevision` (exclusive) on keys with the prefix, then live ones; survives a server restart. */
  watch(prefix: string, afterRevision: number, handlers: WatchHandlers): Watch
  /** Forgets history up to a revision; watches that need it end with `compacted`. */
  compact(revision: number): Promise<void>
  close(): void
}

/** What must be followed to follow a prefix. */
export const followed = (store: Store, prefix: string): readonly string[] => store.collections?.(prefix) ?? [prefix]
