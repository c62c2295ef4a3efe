// Typed resources over any store: create, update, apply, replace, delete, get, list. Every write is compare-and-set on
// the key's revision, which is the resource's `resourceVersion`; writes without a version are read, changed and retried.
import type { Problem, Result } from '../../core/base/problem.ts'
import { type ResourceKey, resourceKey } from '../../core/resources/cause.ts'
import { DEFAULT_ALLOW_PROFILE } from '../../core/resources/derive.ts'
import { type Kind, keyOf, type Resource, type ResourceOf, TIERED_KINDS } from '../../core/resources/resource.ts'
import {
  decodeStored,
  encodeResource,
  parseStoreKey,
  type Stored,
  storeKey,
  storePrefix,
} from '../../core/resources/store-key.ts'
import { alreadyExists, invalid, notFound, notSupported, ResourceError, updateConflict } from './resource-error.ts'
import { checkDelete, checkWrite } from './resource-rules.ts'
import { type Annotations, type Entry, type Store, StoreError } from './store.ts'

/** What is stored under a key but is no valid resource. */
export type Undecodable = { readonly key: ResourceKey; readonly problems: readonly Problem[] }

export type Listed<K extends Kind> = {
  readonly items: readonly ResourceOf<K>[]
  readonly undecodable: readonly Undecodable[]
  /** The store's revision that the list shows. */
  readonly revision: number
}

export type ResourceClientOptions = {
  /** A random UUID, version 4. */
  readonly newUid?: () => string
  /** The time in RFC 3339, whole seconds. */
  readonly now?: () => string
}

export type Identity = { readonly name: string; readonly namespace?: string }

/** Writers that keep losing the race give up after so many attempts. */
const MAX_ATTEMPTS = 20

/** The built-in profile as it is shown; no store holds it. */
const BUILT_IN = { ...DEFAULT_ALLOW_PROFILE, metadata: { ...DEFAULT_ALLOW_PROFILE.metadata, resourceVersion: '1' } }

export class ResourceClient {
  readonly store: Store
  readonly #newUid: () => string
  readonly #now: () => string

  constructor(store: Store, options: ResourceClientOptions = {}) {
    this.store = store
    this.#newUid = options.newUid ?? (() => crypto.randomUUID())
    this.#now = options.now ?? (() => new Date().toISOString().replace(/\.\d+Z$/, 'Z'))
  }

  /** Throws `not-found`, or `invalid` if what is stored is no valid resource. */
  async get<K extends Kind>(kind: K, { name, namespace }: Identity): Promise<ResourceOf<K>> {
    const key = resourceKey(kind, namespace, name)
    if (key === keyOf(BUILT_IN)) return BUILT_IN as Resource as ResourceOf<K>
    const entry = await this.#locate(key)
    if (entry === undefined) throw notFound(key)
    return decodeEntry(key, entry) as ResourceOf<K>
  }

  async has(key: ResourceKey): Promise<boolean> {
    return (await this.#locate(key)) !== undefined
  }

  /** All resources of a kind, or those of one namespace, sorted by key. */
  async list<K extends Kind>(kind: K, { namespace }: { readonly namespace?: string } = {}): Promise<Listed<K>> {
    const { entries, revision } = await this.store.list(storePrefix(kind, namespace))
    const items: Resource[] = kind === 'Profile' ? [BUILT_IN] : []
    const undecodable: Undecodable[] = []
    for (const entry of entries) {
      const key = parseStoreKey(entry.key)
      if (key === undefined) continue
      const stored = decodeStored(entry.key, entry.value, entry.modRevision)
      if (stored.ok) items.push(stored.value.resource)
      else undecodable.push({ key, problems: stored.problems })
    }
    return { items: items as ResourceOf<K>[], undecodable, revision }
  }

  /** Stores a new resource with a uid and the time. Throws `exists`. */
  async create<R extends Resource>(resource: R): Promise<R> {
    const key = keyOf(resource)
    const { resourceVersion, uid, creationTimestamp } = resource.metadata
    if (resourceVersion !== undefined) {
      const message = 'field must not be set for a Create request'
      throw invalid(key, [{ path: 'Metadata.ResourceVersion', message, value: resourceVersion }])
    }
    await checkWrite(this, resource)
    if (await this.has(key)) throw alreadyExists(key)
    const stamp = { uid: uid ?? this.#newUid(), creationTimestamp: creationTimestamp ?? this.#now() }
    try {
      return await this.#write(storeKey(key), { resource: withMetadata(resource, stamp), ifRevision: 0 })
    } catch (error) {
      if (isConflict(error)) throw alreadyExists(key)
      throw error
    }
  }

  /** Stores a changed resource; it must carry the version it was read at. Throws `not-found`, `conflict`. */
  async update<R extends Resource>(resource: R): Promise<R> {
    const key = keyOf(resource)
    const { metadata } = resource
    const missing = (['resourceVersion', 'creationTimestamp', 'uid'] as const).filter(field => !metadata[field])
    if (missing.length > 0) {
      const message = 'field must be set for an Update request'
      throw invalid(
        key,
        missing.map(field => ({ path: `metadata.${field}`, message })),
      )
    }
    return this.#replaceOnce(resource, await this.#locate(key))
  }

  /** Puts the resource in the place of the stored one, which must exist; a version, if given, must be the latest. */
  async replace<R extends Resource>(resource: R): Promise<R> {
    const key = keyOf(resource)
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#replaceOnce(resource, await this.#locate(key))
      } catch (error) {
        if (!isLostRace(error) || resource.metadata.resourceVersion !== undefined || attempt === MAX_ATTEMPTS)
          throw error
      }
    }
  }

  /**
   * Sets annotations beside those that there are, on the resource of this uid, or, if told, only as it is known here. Throws
   * `not-found`, `conflict`.
   */
  async annotate<R extends Resource>(
    resource: R,
    annotations: Annotations,
    { ifUnchanged = false }: { readonly ifUnchanged?: boolean } = {},
  ): Promise<R> {
    const key = keyOf(resource)
    const { uid, resourceVersion } = resource.metadata
    for (let attempt = 1; !this.store.annotate; attempt++) {
      const now = ifUnchanged ? resource : await this.get(resource.kind, resource.metadata)
      if (uid !== undefined && now.metadata.uid !== uid) throw updateConflict(key)
      const merged = { ...now.metadata.annotations, ...annotations }
      try {
        return (await this.replace({ ...now, metadata: { ...now.metadata, annotations: merged } })) as R
      } catch (error) {
        if (ifUnchanged || !isLostRace(error) || attempt === MAX_ATTEMPTS) throw error
      }
    }
    const condition = {
      ...(uid === undefined ? {} : { uid }),
      ...(ifUnchanged && resourceVersion !== undefined ? { ifRevision: Number(resourceVersion) } : {}),
    }
    try {
      return decodeEntry(key, await this.store.annotate(storeKey(key), annotations, condition)) as R
    } catch (error) {
      throw isConflict(error) ? lost(key, error) : error
    }
  }

  /** Creates the resource, or replaces the stored one. Writes nothing if that would change nothing. */
  async apply<R extends Resource>(resource: R): Promise<R> {
    const key = keyOf(resource)
    for (let attempt = 1; ; attempt++) {
      try {
        if (await this.has(key)) return await this.replace(resource)
        return await this.create(withMetadata(resource, { resourceVersion: undefined }))
      } catch (error) {
        // Between the look and the write another one created or deleted it.
        const raced = hasCode(error, 'exists') || hasCode(error, 'not-found', key)
        if (!raced || attempt === MAX_ATTEMPTS) throw error
      }
    }
  }

  /** Deletes a resource and returns what was there if it can be read. Throws `not-found`, `conflict`. */
  async delete(
    key: ResourceKey,
    { resourceVersion }: { readonly resourceVersion?: string } = {},
  ): Promise<Resource | undefined> {
    await checkDelete(this, key)
    const entry = await this.#locate(key)
    if (entry === undefined) throw notFound(key)
    checkVersion(key, entry, resourceVersion)
    try {
      await this.store.delete(entry.key, resourceVersion === undefined ? {} : { ifRevision: entry.modRevision })
    } catch (error) {
      if (isConflict(error)) throw lost(key, error)
      if (error instanceof StoreError && error.code === 'invalid') throw notSupported('Delete', key, error.message)
      throw error
    }
    const stored = decodeStored(entry.key, entry.value, entry.modRevision)
    return stored.ok ? stored.value.resource : undefined
  }

  async #replaceOnce<R extends Resource>(resource: R, entry: Entry | undefined): Promise<R> {
    const key = keyOf(resource)
    if (entry === undefined) {
      await checkWrite(this, resource)
      throw notFound(key)
    }
    checkVersion(key, entry, resource.metadata.resourceVersion)
    const stored = decodeStored(entry.key, entry.value, entry.modRevision)
    // Something unreadable may be replaced: that is how it is mended.
    await checkWrite(this, resource, stored.ok ? stored.value.resource : undefined)
    const { uid, creationTimestamp } = identityOf(stored, entry)
    const stamp = { uid: uid ?? this.#newUid(), creationTimestamp: creationTimestamp ?? this.#now() }
    try {
      return await this.#write(entry.key, {
        resource: withMetadata(resource, stamp),
        ifRevision: entry.modRevision,
        current: entry,
      })
    } catch (error) {
      if (isConflict(error)) throw lost(key, error)
      throw error
    }
  }

  async #write<R extends Resource>(
    at: string,
    { resource, ifRevision, current }: { readonly resource: R; readonly ifRevision: number; readonly current?: Entry },
  ): Promise<R> {
    const text = encodeResource(resource)
    const entry = text === current?.value ? current : await this.#put(at, text, { ifRevision, key: keyOf(resource) })
    // An API server names and dates what it makes by itself.
    const stamp = entry.value === text ? {} : identityIn(entry)
    return withMetadata(resource, { ...stamp, resourceVersion: String(entry.modRevision) })
  }

  /** A store may know of mistakes that are not seen from here. */
  async #put(at: string, text: string, { ifRevision, key }: { ifRevision: number; key: ResourceKey }): Promise<Entry> {
    try {
      return await this.store.put(at, text, { ifRevision })
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'invalid') throw error
      throw invalid(key, [{ path: '', message: error.message }])
    }
  }

  /** The entry of a resource; policies of the default tier may still lie under their older name. */
  async #locate(key: ResourceKey): Promise<Entry | undefined> {
    const entry = await this.store.get(storeKey(key))
    const [kind = '', namespace = '', name = ''] = key.split('/')
    if (entry !== undefined || !TIERED_KINDS.some(tiered => tiered === kind)) return entry
    const older = await this.store.get(storeKey(resourceKey(kind, namespace, `default.${name}`)))
    if (older === undefined) return undefined
    const stored = decodeStored(older.key, older.value, older.modRevision)
    return stored.ok && keyOf(stored.value.resource) === key ? older : undefined
  }
}

function decodeEntry(key: ResourceKey, entry: Entry): Resource {
  const stored = decodeStored(entry.key, entry.value, entry.modRevision)
  if (!stored.ok) throw invalid(key, stored.problems)
  return stored.value.resource
}

const withMetadata = <R extends Resource>(resource: R, fields: object): R => ({
  ...resource,
  metadata: dropUndefined({ ...resource.metadata, ...fields }),
})

const dropUndefined = (record: object): object =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined))

function checkVersion(key: ResourceKey, entry: Entry, wanted: string | undefined): void {
  const current = String(entry.modRevision)
  if (wanted !== undefined && wanted !== current) throw updateConflict(key, wanted, current)
}

/** The uid and age of what is stored, read even if the rest of it is not valid. */
function identityOf(
  stored: Result<Stored>,
  entry: Entry,
): { readonly uid?: string; readonly creationTimestamp?: string } {
  return stored.ok ? stored.value.resource.metadata : identityIn(entry)
}

function identityIn(entry: Entry): { readonly uid?: string; readonly creationTimestamp?: string } {
  try {
    const metadata: unknown = JSON.parse(entry.value)?.metadata
    const { uid, creationTimestamp } = (metadata ?? {}) as { uid?: unknown; creationTimestamp?: unknown }
    return {
      ...(typeof uid === 'string' ? { uid } : {}),
      ...(typeof creationTimestamp === 'string' ? { creationTimestamp } : {}),
    }
  } catch {
    return {}
  }
}

const isConflict = (error: unknown): error is StoreError => error instanceof StoreError && error.code === 'conflict'
const lost = (key: ResourceKey, { currentRevision }: StoreError): ResourceError =>
  currentRevision === 0 ? notFound(key) : updateConflict(key)
const isLostRace = (error: unknown): boolean => hasCode(error, 'conflict')

const hasCode = (error: unknown, code: string, key?: ResourceKey): boolean =>
  error instanceof ResourceError && error.code === code && (key === undefined || error.key === key)
