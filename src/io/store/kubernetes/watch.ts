// Follows one collection from a revision: events as they come, bookmarks that move the revision on while nothing happens, and
// a new stream from there whenever one ends. It ends by itself only when the server has forgotten what lies between.
import { setTimeout as sleep } from 'node:timers/promises'
import { isObject, type JsonObject } from '../../../core/ipam/json.ts'
import { apiPath, type Collection, type Detail } from '../../../core/kubernetes/collection.ts'
import type { ApiClient } from '../../kubernetes/api-client.ts'
import { ApiError, hasStatus, isBusy } from '../../kubernetes/api-error.ts'
import { Backoff } from '../../kubernetes/backoff.ts'
import { StoreError, type StoreEvent, type WatchHandlers } from '../store.ts'
import { entryOf, namespaceOf, type Scope } from './list.ts'
import { revisionOf } from './revision.ts'

export type WatchScope = Scope & { readonly afterRevision: number }

export type CollectionWatch = {
  /** Silent from now on. */
  close(): void
  /** The store is closed: the watch ends without an error. */
  end(): void
}

/** The server ends a stream after so many seconds, at a moment of its own for each: another server may take it over. */
const STREAM_SECONDS = 300
const RELIST_SPREAD_MS = 1000
/** A kind that the cluster does not have is looked for again. */
const ABSENT_MS = 30_000

export function watchCollection(client: ApiClient, at: WatchScope, handlers: WatchHandlers): CollectionWatch {
  const abort = new AbortController()
  const watch = new Follower(client, at, { handlers, abort })
  void watch.run()
  return {
    close: () => abort.abort(),
    end: () => {
      if (abort.signal.aborted) return
      abort.abort()
      handlers.closed(undefined)
    },
  }
}

class Follower {
  readonly #client: ApiClient
  readonly #collection: Collection
  readonly #scope: string
  readonly #detail: Detail
  readonly #handlers: WatchHandlers
  readonly #abort: AbortController
  readonly #backoff = new Backoff()
  #revision: number

  constructor(
    client: ApiClient,
    at: WatchScope,
    { handlers, abort }: { handlers: WatchHandlers; abort: AbortController },
  ) {
    this.#client = client
    this.#collection = at.collection
    this.#scope = at.scope
    this.#detail = at.detail
    this.#revision = at.afterRevision
    this.#handlers = handlers
    this.#abort = abort
  }

  async run(): Promise<void> {
    const { signal } = this.#abort
    while (!signal.aborted) {
      let wait = 0
      try {
        await this.#stream()
        // The server's time was up: all is well, but not everybody at once.
        wait = Math.random() * 200
      } catch (error) {
        if (signal.aborted) return
        const over = this.#isOver(error)
        if (over) {
          // A server that has forgotten has forgotten for all who watch: their lists come one after the other.
          await sleep(Math.random() * RELIST_SPREAD_MS, undefined, { signal }).catch(() => {})
          return this.#close(over)
        }
        wait = this.#backoff.next(isBusy(error) ? error.retryAfter : 0)
      }
      await this.#client.pause(wait, signal)
    }
  }

  /** The end of the watch, if that is what an error means. */
  #isOver(error: unknown): StoreError | undefined {
    if (hasStatus(error, 410)) return new StoreError('compacted', error.message, { key: this.#scope })
    if (error instanceof StoreError) return error
    return undefined
  }

  #close(error: StoreError): void {
    if (this.#abort.signal.aborted) return
    this.#abort.abort()
    this.#handlers.closed(error)
  }

  async #stream(): Promise<void> {
    // A list of a kind that was not there has no revision to follow from.
    if (this.#revision === 0) return this.#awaitKind()
    const seconds = Math.round(STREAM_SECONDS * (1 + Math.random()))
    const path = apiPath(this.#collection, { namespace: namespaceOf(this.#collection, this.#scope) })
    const own = new AbortController()
    let failure: Error | undefined
    const query = {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: String(this.#revision),
      timeoutSeconds: String(seconds),
    }
    try {
      await this.#client.stream(path, query, {
        signal: AbortSignal.any([this.#abort.signal, own.signal]),
        lines: lines => {
          if (own.signal.aborted || this.#abort.signal.aborted) return
          try {
            this.#take(lines)
          } catch (error) {
            failure = error as Error
            own.abort()
          }
        },
      })
    } catch (error) {
      // The kind was taken away: a list shows that.
      if (hasStatus(error, 404)) throw new StoreError('compacted', `${this.#scope} is gone`, { key: this.#scope })
      throw error
    }
    if (failure) throw failure
  }

  async #awaitKind(): Promise<void> {
    await sleep(ABSENT_MS * (0.5 + Math.random() / 2), undefined, { signal: this.#abort.signal })
    const path = apiPath(this.#collection)
    const found = await this.#client.request('GET', path, { query: { limit: '1' } }).then(
      () => true,
      error => {
        if (hasStatus(error, 404)) return false
        throw error
      },
    )
    if (found) throw new StoreError('compacted', `${this.#scope} is there now`, { key: this.#scope })
  }

  /** Hands on what came; throws what the server reports instead, after all that came before it. */
  #take(lines: readonly string[]): void {
    const events: StoreEvent[] = []
    let failure: Error | undefined
    for (const line of lines) {
      if (line === '') continue
      const { type, object } = this.#collection.parse(line)
      if (!isObject(object)) continue
      if (type === 'ERROR') {
        const { code, message, reason } = object as { code?: number; message?: string; reason?: string }
        failure = new ApiError(code ?? 500, { message: message ?? 'the watch failed', reason: reason ?? '' })
        break
      }
      const event = this.#event(String(type), object)
      if (event) events.push(event)
    }
    if (lines.length > 0 && failure === undefined) this.#backoff.reset()
    if (events.length > 0) this.#handlers.events(events, this.#revision)
    if (failure) throw failure
  }

  #event(type: string, object: JsonObject): StoreEvent | undefined {
    const revision = revisionOf(object)
    // A server that was set back (an older etcd restored) counts anew: nothing that was known holds.
    if (revision < this.#revision) throw new StoreError('compacted', 'the server went back', { key: this.#scope })
    this.#revision = revision
    if (type === 'BOOKMARK') return undefined
    const entry = entryOf(this.#collection, object, this.#detail)
    if (!entry?.key.startsWith(this.#scope)) return undefined
    return type === 'DELETED' ? { kind: 'delete', key: entry.key, revision } : { kind: 'put', entry }
  }
}
