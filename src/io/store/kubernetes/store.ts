// The datastore over the Kubernetes API: Calico's keys, mapped to objects of collections (core/kubernetes/collection.ts). A
// revision is a resource version, which is the API server's own number; each collection has its own.
import {
  type ApiGroup,
  apiPath,
  type Collection,
  collectionsIn,
  type Detail,
  type Place,
  printObject,
} from '../../../core/kubernetes/collection.ts'
import { nodePatch } from '../../../core/kubernetes/node.ts'
import type { ApiClient } from '../../kubernetes/api-client.ts'
import { hasStatus, isTransient } from '../../kubernetes/api-error.ts'
import {
  type Annotations,
  type Condition,
  type Entry,
  type Store,
  StoreError,
  type TakePage,
  type Watch,
  type WatchHandlers,
} from '../store.ts'
import { entryOf, type Listing, listCollection, pageCollection } from './list.ts'
import { revisionOf } from './revision.ts'
import { type CollectionWatch, watchCollection } from './watch.ts'

/** Writers without a condition that keep losing the race give up after so many attempts. */
const MAX_ATTEMPTS = 20

const MERGE_PATCH = 'application/merge-patch+json'

type Found = { readonly collection: Collection; readonly place: Place }

export type StoreOptions = {
  /** Asks the server, with the first request, which group it keeps Calico's kinds in. */
  readonly findGroup?: (client: ApiClient) => Promise<ApiGroup>
  /** Of lists and watches: `slim` for whoever keeps many. What is got by its key is always whole. */
  readonly detail?: Detail
}

export class KubernetesStore implements Store {
  readonly #client: ApiClient
  readonly #watches = new Set<CollectionWatch>()
  #closed = false

  readonly #findGroup: NonNullable<StoreOptions['findGroup']>
  /** Their prefixes are the same in both groups; which group it is the first answer of the server tells. */
  #all = collectionsIn('projectcalico.org/v3')
  #group: Promise<ApiGroup> | undefined

  readonly #detail: Detail

  constructor(
    client: ApiClient,
    { findGroup = async () => 'projectcalico.org/v3', detail = 'whole' }: StoreOptions = {},
  ) {
    this.#client = client
    this.#findGroup = findGroup
    this.#detail = detail
  }

  /** Each collection is listed and watched by itself; a prefix inside of one is its own answer. */
  collections(prefix: string): readonly string[] {
    if (this.#collectionOf(prefix)) return [prefix]
    return this.#all.filter(collection => collection.prefix.startsWith(prefix)).map(collection => collection.prefix)
  }

  /** The collection that a key, or a prefix at least as long as the collection's own, lies in. */
  #collectionOf(key: string): Collection | undefined {
    return this.#all.find(({ prefix }) => key.startsWith(prefix))
  }

  /** What goes wrong here is asked again by the next request. */
  async #knowGroup(): Promise<void> {
    this.#group ??= this.#findGroup(this.#client).then(
      group => {
        this.#all = collectionsIn(group)
        return group
      },
      async error => {
        this.#group = undefined
        throw await this.#storeError(error, '/')
      },
    )
    await this.#group
  }

  async get(key: string): Promise<Entry | undefined> {
    await this.#knowGroup()
    const found = this.#find(key)
    return found && this.#read(key, found)
  }

  async list(prefix: string): Promise<Listing> {
    await this.#knowGroup()
    const scopes = this.collections(prefix).map(scope => ({ scope, collection: this.#collectionOf(scope)! }))
    const listings = await Promise.all(
      scopes.map(({ scope, collection }) =>
        this.#answer(listCollection(this.#client, { collection, scope, detail: this.#detail })),
      ),
    )
    const entries = listings.flatMap(listing => listing.entries)
    // Of several collections there is no one revision: nothing can be watched from 0.
    return { entries: entries.sort(byKey), revision: listings.length === 1 ? listings[0]!.revision : 0 }
  }

  async pages(prefix: string, take: TakePage): Promise<number> {
    await this.#knowGroup()
    const collection = this.#collectionOf(prefix)
    if (collection === undefined) throw new StoreError('invalid', `${prefix} spans several collections`)
    return this.#answer(pageCollection(this.#client, { collection, scope: prefix, detail: this.#detail }, take))
  }

  async put(key: string, value: string, condition: Condition = {}): Promise<Entry> {
    await this.#knowGroup()
    const { collection, place } = this.#writable(key)
    switch (collection.writing) {
      case 'object':
        return this.#putObject(key, value, { collection, place, condition })
      case 'node':
        return this.#putNode(key, value, { collection, place, condition })
      case 'pod':
        return this.#putPod(key, value, { collection, place, condition })
      case 'never':
        throw notOurs(key, 'written')
    }
  }

  async annotate(
    key: string,
    annotations: Annotations,
    { uid, ifRevision }: Condition & { readonly uid?: string } = {},
  ): Promise<Entry> {
    await this.#knowGroup()
    const { collection, place } = this.#writable(key)
    if (collection.writing !== 'pod') throw notOurs(key, 'annotated')
    const metadata = {
      annotations,
      ...(uid === undefined ? {} : { uid }),
      ...(ifRevision === undefined ? {} : { resourceVersion: String(ifRevision) }),
    }
    // As a change of the status: it needs no right to change pods.
    return this.#patch(key, { path: `${apiPath(collection, place)}/status`, collection, metadata })
  }

  async delete(key: string, { ifRevision }: Condition = {}): Promise<boolean> {
    await this.#knowGroup()
    const { collection, place } = this.#writable(key)
    if (collection.writing !== 'object') throw notOurs(key, 'deleted')
    const body = JSON.stringify({
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(ifRevision === undefined ? {} : { preconditions: { resourceVersion: String(ifRevision) } }),
    })
    try {
      await this.#answer(this.#client.request('DELETE', apiPath(collection, place), { body }))
      return true
    } catch (error) {
      if (!isMissing(error)) throw await this.#conflictOr(error, key)
      if (ifRevision !== undefined && ifRevision !== 0) throw conflict(key, 0)
      return false
    }
  }

  /** `afterRevision` is from a list of this store, which found the group. */
  watch(prefix: string, afterRevision: number, handlers: WatchHandlers): Watch {
    const scopes = this.collections(prefix)
    const collection = scopes.length === 1 ? this.#collectionOf(scopes[0]!) : undefined
    if (collection === undefined) {
      const error = new StoreError('invalid', `${prefix} spans ${scopes.length} collections: watch each of them`)
      queueMicrotask(() => handlers.closed(this.#closed ? undefined : error))
      return { close: () => {} }
    }
    const watch = watchCollection(
      this.#client,
      { collection, scope: scopes[0]!, detail: this.#detail, afterRevision },
      {
        events: handlers.events,
        closed: error => {
          this.#watches.delete(watch)
          handlers.closed(error)
        },
      },
    )
    this.#watches.add(watch)
    return {
      close: () => {
        this.#watches.delete(watch)
        watch.close()
      },
    }
  }

  /** The API server forgets by itself. */
  async compact(): Promise<void> {
    throw new StoreError('invalid', 'the Kubernetes API server compacts its own history')
  }

  close(): void {
    this.#closed = true
    for (const watch of [...this.#watches]) watch.end()
    this.#client.close()
  }

  #find(key: string): Found | undefined {
    const collection = this.#collectionOf(key)
    const place = collection?.placeOf(key)
    return collection && place && { collection, place }
  }

  #writable(key: string): Found {
    const found = this.#find(key)
    if (found === undefined) throw new StoreError('invalid', `${key} has no place in the Kubernetes API`, { key })
    return found
  }

  async #read(key: string, { collection, place }: Found): Promise<Entry | undefined> {
    try {
      const text = await this.#answer(this.#client.request('GET', apiPath(collection, place)))
      return entryIn(collection, text)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw await this.#storeError(error, key)
    }
  }

  async #putObject(key: string, value: string, { collection, place, condition }: Found & { condition: Condition }) {
    const object = collection.encode(key, value)
    for (let attempt = 1; ; attempt++) {
      const revision = condition.ifRevision ?? (await this.#read(key, { collection, place }))?.modRevision ?? 0
      const metadata = {
        ...(object.metadata as object),
        ...(revision === 0 ? {} : { resourceVersion: String(revision) }),
      }
      const body = printObject({ ...object, metadata })
      try {
        const made = revision === 0
        const path = apiPath(collection, made ? { namespace: place.namespace } : place)
        const text = await this.#answer(this.#client.request(made ? 'POST' : 'PUT', path, { body }))
        return entryIn(collection, text)!
      } catch (error) {
        const failure = isMissing(error) && revision !== 0 ? conflict(key, 0) : await this.#conflictOr(error, key)
        const raced = failure instanceof StoreError && failure.code === 'conflict'
        if (!raced || condition.ifRevision !== undefined || attempt === MAX_ATTEMPTS) throw failure
      }
    }
  }

  /** Nodes are made by kubelets; what Calico says of one is noted on it. */
  async #putNode(key: string, value: string, { collection, place, condition }: Found & { condition: Condition }) {
    const path = apiPath(collection, place)
    const node = await this.#answer(this.#client.request('GET', path)).then(collection.parse, async error => {
      if (!isMissing(error)) throw await this.#storeError(error, key)
      if (condition.ifRevision) throw conflict(key, 0)
      throw new StoreError('invalid', `there is no Kubernetes Node ${place.name}: its kubelet makes it`, { key })
    })
    const found = revisionOf(node)
    if (condition.ifRevision !== undefined && condition.ifRevision !== found) throw conflict(key, found)
    const { metadata } = nodePatch(collection.parse(value), node)
    return this.#patch(key, { path, collection, metadata: { ...metadata, resourceVersion: String(found) } })
  }

  /** Of a pod only its annotations are ours to write; those that a value does not have stay. */
  async #putPod(key: string, value: string, { collection, condition }: Found & { condition: Condition }) {
    if (condition.ifRevision === 0) throw notOurs(key, 'created')
    const { annotations = {} } = (collection.parse(value).metadata ?? {}) as { annotations?: Annotations }
    return this.annotate(key, annotations, condition)
  }

  async #patch(
    key: string,
    { path, collection, metadata }: { path: string; collection: Collection; metadata: object },
  ) {
    try {
      const body = JSON.stringify({ metadata })
      const text = await this.#answer(this.#client.request('PATCH', path, { body, contentType: MERGE_PATCH }))
      return entryIn(collection, text)!
    } catch (error) {
      throw isMissing(error) ? conflict(key, 0) : await this.#conflictOr(error, key)
    }
  }

  /** An answer that comes after `close` is none. */
  async #answer<T>(asked: Promise<T>): Promise<T> {
    if (this.#closed) {
      asked.catch(() => {})
      throw new StoreError('unavailable', 'the store is closed')
    }
    return asked
  }

  /** What a refused write was refused for; a conflict tells what is there now. */
  async #conflictOr(error: unknown, key: string): Promise<Error> {
    // Of a pod that is another by now the API server says that its uid cannot be changed.
    const isAnother = hasStatus(error, 422) && /\bmetadata\.uid\b/.test(error.message)
    if (!hasStatus(error, 409) && !isAnother) return this.#storeError(error, key)
    return conflict(key, (await this.get(key))?.modRevision ?? 0)
  }

  async #storeError(error: unknown, key: string): Promise<Error> {
    if (error instanceof StoreError) return error
    const message = error instanceof Error ? error.message : String(error)
    if (this.#closed) return new StoreError('unavailable', 'the store is closed')
    if (hasStatus(error, 410)) return new StoreError('compacted', message, { key })
    // Who may not ask is not told whether there is anything: to the caller the store is not there.
    const isAway = isTransient(error) || hasStatus(error, 401)
    return new StoreError(isAway ? 'unavailable' : 'invalid', message, { key })
  }
}

const byKey = (a: Entry, b: Entry): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)

const entryIn = (collection: Collection, text: string): Entry | undefined =>
  entryOf(collection, collection.parse(text), 'whole')

const isMissing = (error: unknown): boolean => hasStatus(error, 404) && error.reason === 'NotFound'

const conflict = (key: string, currentRevision: number): StoreError =>
  new StoreError('conflict', `${key} has changed`, { key, currentRevision })

const notOurs = (key: string, what: string): StoreError =>
  new StoreError('invalid', `${key} cannot be ${what} here: use kubectl`, { key })
