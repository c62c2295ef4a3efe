// A store that answers reads of some collections from memory, kept up to date by a watch: what an agent asks for with every pod
// (blocks of addresses, pools, settings) then costs the datastore nothing. Writes go through, compare-and-set, so that an
// answer that is old makes a write fail and never makes a wrong one; after a failed write the key is read from the store. Of a
// collection that is too large to follow, it remembers what it wrote itself and has not deleted, in the same way.
import type {
  Annotations,
  Condition,
  Entry,
  Store,
  StoreError,
  StoreEvent,
  TakePage,
  Watch,
  WatchHandlers,
} from './store.ts'

type Listing = { readonly entries: readonly Entry[]; readonly revision: number }

export class CachedStore implements Store {
  readonly #inner: Store
  readonly #collections: readonly CachedCollection[]
  readonly #ownPrefix: string | undefined
  readonly #own = new Map<string, Entry>()
  readonly annotate: Store['annotate']
  readonly pages: Store['pages']

  /**
   * `prefixes`: whole collections, as `collections` of the store names them, none inside another. `ownPrefix`: of these keys
   * others write those from here next to never.
   */
  constructor(inner: Store, prefixes: readonly string[], ownPrefix?: string) {
    this.#inner = inner
    this.#collections = prefixes.map(prefix => new CachedCollection(inner, prefix))
    this.#ownPrefix = ownPrefix
    this.annotate = inner.annotate && ((...args) => this.#annotate(...args))
    this.pages = inner.pages && ((...args) => this.#pages(...args))
  }

  collections(prefix: string): readonly string[] {
    return this.#inner.collections?.(prefix) ?? [prefix]
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#own.get(key) ?? this.#of(key)?.get(key) ?? this.#inner.get(key)
  }

  async list(prefix: string): Promise<Listing> {
    return this.#of(prefix)?.list(prefix) ?? this.#inner.list(prefix)
  }

  async #pages(prefix: string, take: TakePage): Promise<number> {
    const collection = this.#of(prefix)
    if (!collection) return this.#inner.pages!(prefix, take)
    const { entries, revision } = await collection.list(prefix)
    take(entries, { first: true, revision })
    return revision
  }

  async put(key: string, value: string, condition?: Condition): Promise<Entry> {
    const put = (): Promise<Entry> => this.#inner.put(key, value, condition)
    if (this.#ownPrefix === undefined || !key.startsWith(this.#ownPrefix)) return this.#of(key)?.put(key, put) ?? put()
    this.#own.delete(key)
    const entry = await put()
    this.#own.set(key, entry)
    return entry
  }

  async #annotate(key: string, annotations: Annotations, condition: Condition): Promise<Entry> {
    const annotate = (): Promise<Entry> => this.#inner.annotate!(key, annotations, condition)
    return this.#of(key)?.put(key, annotate) ?? annotate()
  }

  async delete(key: string, condition?: Condition): Promise<boolean> {
    // Until its event comes nobody knows at which revision it went. The event may come before the answer.
    this.#of(key)?.doubt(key)
    this.#own.delete(key)
    return this.#inner.delete(key, condition)
  }

  watch(prefix: string, afterRevision: number, handlers: WatchHandlers): Watch {
    return (
      this.#of(prefix)?.watch(prefix, afterRevision, handlers) ?? this.#inner.watch(prefix, afterRevision, handlers)
    )
  }

  compact(revision: number): Promise<void> {
    return this.#inner.compact(revision)
  }

  close(): void {
    for (const collection of this.#collections) collection.close()
    this.#inner.close()
  }

  #of(keyOrPrefix: string): CachedCollection | undefined {
    return this.#collections.find(({ prefix }) => keyOrPrefix.startsWith(prefix))
  }
}

class CachedCollection {
  readonly prefix: string
  readonly #inner: Store
  readonly #entries = new Map<string, Entry>()
  /** Keys of which the store may know better. */
  readonly #doubtful = new Set<string>()
  readonly #followers = new Set<WatchHandlers>()
  /** Writes on their way, and the revisions of keys that went meanwhile: an answer may come after the event that ends it. */
  #writing = 0
  readonly #gone = new Map<string, number>()
  #revision = 0
  #synced: Promise<void> | undefined
  #watch: Watch | undefined

  constructor(inner: Store, prefix: string) {
    this.#inner = inner
    this.prefix = prefix
  }

  async get(key: string): Promise<Entry | undefined> {
    await this.#sync()
    if (!this.#doubtful.has(key)) return this.#entries.get(key)
    const entry = await this.#inner.get(key)
    if (entry !== undefined) this.#take(entry)
    return entry
  }

  async list(prefix: string): Promise<Listing> {
    await this.#sync()
    const isDoubtful = [...this.#doubtful].some(key => key.startsWith(prefix))
    if (isDoubtful) return this.#inner.list(prefix)
    const entries = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix))
    return { entries: entries.sort(byBytes), revision: this.#revision }
  }

  async put(key: string, write: () => Promise<Entry>): Promise<Entry> {
    this.#writing++
    try {
      const entry = await write()
      this.#take(entry)
      return entry
    } catch (error) {
      this.doubt(key)
      throw error
    } finally {
      if (--this.#writing === 0) this.#gone.clear()
    }
  }

  /** What the store says of a key; what it had said before, and is only heard now, does not undo it. */
  #take(entry: Entry): void {
    const known = Math.max(this.#entries.get(entry.key)?.modRevision ?? 0, this.#gone.get(entry.key) ?? 0)
    if (known > entry.modRevision) return
    this.#entries.set(entry.key, entry)
    this.#doubtful.delete(entry.key)
  }

  doubt(key: string): void {
    this.#doubtful.add(key)
  }

  /** From here if it follows on what a list from here said; else from the store. */
  watch(prefix: string, afterRevision: number, handlers: WatchHandlers): Watch | undefined {
    if (prefix !== this.prefix || this.#watch === undefined || afterRevision !== this.#revision) return undefined
    this.#followers.add(handlers)
    return { close: () => void this.#followers.delete(handlers) }
  }

  close(): void {
    this.#watch?.close()
    this.#end(undefined)
  }

  /** Begins with the first that asks; whoever asks before it is done waits, and hears why it failed. */
  #sync(): Promise<void> {
    this.#synced ??= this.#begin().catch(error => {
      this.#synced = undefined
      throw error
    })
    return this.#synced
  }

  async #begin(): Promise<void> {
    const { entries, revision } = await this.#inner.list(this.prefix)
    const listed = new Set(entries.map(({ key }) => key))
    // What was written after the list was made is not in it.
    for (const [key, { modRevision }] of this.#entries)
      if (!listed.has(key) && modRevision <= revision) this.#entries.delete(key)
    this.#doubtful.clear()
    for (const entry of entries) this.#take(entry)
    this.#revision = revision
    const watch = this.#inner.watch(this.prefix, revision, {
      events: (events, at) => this.#apply(events, at),
      closed: error => {
        if (this.#watch !== watch) return
        this.#watch = undefined
        this.#synced = undefined
        this.#end(error)
      },
    })
    this.#watch = watch
  }

  #apply(events: readonly StoreEvent[], revision: number): void {
    for (const event of events) {
      if (event.kind === 'put') this.#take(event.entry)
      else if ((this.#entries.get(event.key)?.modRevision ?? 0) <= event.revision) {
        this.#entries.delete(event.key)
        this.#doubtful.delete(event.key)
        if (this.#writing > 0) this.#gone.set(event.key, event.revision)
      }
    }
    this.#revision = revision
    for (const { events: tell } of [...this.#followers]) tell(events, revision)
  }

  #end(error: StoreError | undefined): void {
    const followers = [...this.#followers]
    this.#followers.clear()
    for (const { closed } of followers) closed(error)
  }
}

const byBytes = (a: Entry, b: Entry): number => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))
