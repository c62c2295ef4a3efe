// All resources under some prefixes, now and from now on, as changes: list, then watch from the list's revision, and
// list anew when the store has forgotten what lies between. A receiver needs only the latest value of each key.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Change } from '../../core/base/change.ts'
import type { Problem } from '../../core/base/problem.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import { keyOf, type Resource, type Snapshot } from '../../core/resources/resource.ts'
import { decodeStored, parseStoreKey } from '../../core/resources/store-key.ts'
import type { Undecodable } from './resource-client.ts'
import { type Entry, followed, type Store, type StoreEvent, type TakePage, type Watch } from './store.ts'

/** Where all kinds lie: Calico's, and Kubernetes' in the embedded datastore. */
export const RESOURCE_PREFIXES: readonly string[] = ['/calico/resources/v3/projectcalico.org/', '/registry/']

export type ResourceHandlers = {
  /** Current values, at most one for a key, and the store's revision that they bring the receiver up to. */
  readonly changes: (changes: readonly Change<ResourceKey, Resource>[], revision: number) => void
  /** All prefixes were listed; called once. */
  readonly inSync: () => void
  /**
   * A key holds something that is no valid resource. No change comes with it: what was valid under this key before is
   * the last that is known to be meant. Empty problems: the key is well again, or gone.
   */
  readonly undecodable: (key: ResourceKey, problems: readonly Problem[]) => void
  /** Fields of a newer version that the resource does not carry. */
  readonly unknownFields?: (key: ResourceKey, problems: readonly Problem[]) => void
  /** The store could not be listed; it is tried again. */
  readonly unavailable?: (error: unknown) => void
}

export type WatchAllOptions = {
  readonly prefixes?: readonly string[]
  /** Milliseconds between attempts to list. */
  readonly retryAfter?: number
}

/** Follows all resources until closed. Handlers are not called inside this call, nor after `close`. */
export function watchAll(store: Store, handlers: ResourceHandlers, options: WatchAllOptions = {}): Watch {
  const { retryAfter = 1000 } = options
  const prefixes = (options.prefixes ?? RESOURCE_PREFIXES).flatMap(prefix => followed(store, prefix))
  const abort = new AbortController()
  const watches = new Map<string, Watch>()
  let waiting = prefixes.length

  const follow = async (prefix: string, view: View): Promise<void> => {
    const revision = await listUntilDone(prefix, view)
    if (revision === undefined) return
    if (!view.listed) {
      view.listed = true
      if (--waiting === 0) handlers.inSync()
    }
    if (abort.signal.aborted) return
    watches.set(
      prefix,
      store.watch(prefix, revision, {
        events: (events, revision) => {
          if (!abort.signal.aborted) view.apply(events, revision)
        },
        closed: error => {
          if (abort.signal.aborted || error === undefined) return
          if (error.code !== 'compacted') handlers.unavailable?.(error)
          void follow(prefix, view)
        },
      }),
    )
  }

  const list = async (prefix: string, take: TakePage): Promise<number> => {
    if (store.pages) return store.pages(prefix, take)
    const { entries, revision } = await store.list(prefix)
    take(entries, { first: true, revision })
    return revision
  }

  /** Shows the view everything there is, and gives the revision. */
  const listUntilDone = async (prefix: string, view: View): Promise<number | undefined> => {
    for (;;) {
      try {
        const revision = await list(prefix, (entries, { first, revision: at }) => {
          if (abort.signal.aborted) return
          if (first) view.beginList()
          view.list(entries, at)
        })
        if (abort.signal.aborted) return undefined
        view.endList(revision)
        return revision
      } catch (error) {
        if (abort.signal.aborted) return undefined
        handlers.unavailable?.(error)
        // An abort ends the sleep early; the next turn of the loop sees it.
        await sleep(retryAfter, undefined, { signal: abort.signal }).catch(() => {})
      }
      if (abort.signal.aborted) return undefined
    }
  }

  for (const prefix of prefixes) void follow(prefix, new View(handlers))
  return {
    close: () => {
      abort.abort()
      for (const watch of watches.values()) watch.close()
    },
  }
}

type Held = {
  readonly key: ResourceKey
  readonly revision: number
  readonly bad: boolean
  readonly delivered: boolean
  /** The last list that had it, or that came before the event that told it. */
  list: number
}

/** What the receiver was told about the keys under one prefix. */
class View {
  listed = false
  #list = 0
  readonly #held = new Map<string, Held>()
  readonly #handlers: ResourceHandlers
  constructor(handlers: ResourceHandlers) {
    this.#handlers = handlers
  }

  beginList(): void {
    this.#list++
  }

  list(entries: readonly Entry[], revision: number): void {
    const changes = entries.flatMap(entry => {
      const held = this.#held.get(entry.key)
      if (held?.revision !== entry.modRevision) return this.#put(entry)
      held.list = this.#list
      return []
    })
    this.#deliver(changes, revision)
  }

  /** What the list did not have is gone. */
  endList(revision: number): void {
    const gone = [...this.#held].filter(([, { list }]) => list !== this.#list)
    this.#deliver(
      gone.flatMap(([key]) => this.#remove(key)),
      revision,
    )
  }

  apply(events: readonly StoreEvent[], revision: number): void {
    const changes = events.flatMap(e => (e.kind === 'put' ? this.#put(e.entry) : this.#remove(e.key)))
    this.#deliver(changes, revision)
  }

  #deliver(changes: readonly Change<ResourceKey, Resource>[], revision: number): void {
    const latest = new Map(changes.map(change => [change.key, change]))
    if (latest.size > 0) this.#handlers.changes([...latest.values()], revision)
  }

  #put(entry: Entry): Change<ResourceKey, Resource>[] {
    const place = parseStoreKey(entry.key)
    if (place === undefined) return []
    const before = this.#held.get(entry.key)
    const stored = decodeStored(entry.key, entry.value, entry.modRevision)
    if (!stored.ok) {
      const held = {
        key: before?.key ?? place,
        revision: entry.modRevision,
        bad: true,
        delivered: before?.delivered ?? false,
        list: this.#list,
      }
      this.#held.set(entry.key, held)
      this.#handlers.undecodable(held.key, stored.problems)
      return []
    }
    const { resource, unknown } = stored.value
    const key = keyOf(resource)
    if (before?.bad) this.#handlers.undecodable(before.key, [])
    if (unknown.length > 0) this.#handlers.unknownFields?.(key, unknown)
    this.#held.set(entry.key, { key, revision: entry.modRevision, bad: false, delivered: true, list: this.#list })
    const renamed = before?.delivered && before.key !== key ? [{ key: before.key, value: undefined }] : []
    return [...renamed, { key, value: resource }]
  }

  #remove(storeKey: string): Change<ResourceKey, Resource>[] {
    const before = this.#held.get(storeKey)
    if (before === undefined) return []
    this.#held.delete(storeKey)
    if (before.bad) this.#handlers.undecodable(before.key, [])
    return before.delivered ? [{ key: before.key, value: undefined }] : []
  }
}

/** Everything at one moment for each prefix; what could not be read is listed beside it. */
export async function readSnapshot(
  store: Store,
  prefixes: readonly string[] = RESOURCE_PREFIXES,
): Promise<{ readonly snapshot: Snapshot; readonly undecodable: readonly Undecodable[] }> {
  const snapshot = new Map<ResourceKey, Resource>()
  const undecodable: Undecodable[] = []
  for (const prefix of prefixes) {
    for (const entry of (await store.list(prefix)).entries) {
      const key = parseStoreKey(entry.key)
      if (key === undefined) continue
      const stored = decodeStored(entry.key, entry.value, entry.modRevision)
      if (stored.ok) snapshot.set(keyOf(stored.value.resource), stored.value.resource)
      else undecodable.push({ key, problems: stored.problems })
    }
  }
  return { snapshot, undecodable }
}
