// All objects of a collection, page by page, so that neither side holds a large cluster in one answer. The pages show one
// moment; when that is forgotten before the last page, the list begins anew.
import { isObject, type Json, type JsonObject } from '../../../core/ipam/json.ts'
import { apiPath, type Collection } from '../../../core/kubernetes/collection.ts'
import type { ApiClient } from '../../kubernetes/api-client.ts'
import { hasStatus, isTransient } from '../../kubernetes/api-error.ts'
import { type Entry, StoreError } from '../store.ts'
import { revisionOf } from './revision.ts'

export type Listing = { readonly entries: readonly Entry[]; readonly revision: number }

const PAGE = 500
const MAX_RESTARTS = 5

/** The namespace that a prefix is limited to. */
export function namespaceOf(collection: Collection, scope: string): string | undefined {
  if (!collection.namespaced) return undefined
  const [namespace, ...more] = scope.slice(collection.prefix.length).split('/')
  return namespace && more.length > 0 ? namespace : undefined
}

/** `scope` is a prefix inside of the collection. A kind that the cluster does not have is empty, at revision 0. */
export async function listCollection(client: ApiClient, collection: Collection, scope: string): Promise<Listing> {
  const path = apiPath(collection, { namespace: namespaceOf(collection, scope) })
  for (let restarts = 0; ; restarts++) {
    try {
      return await listPages(client, { path, collection, scope })
    } catch (error) {
      if (hasStatus(error, 404)) return { entries: [], revision: 0 }
      if (hasStatus(error, 410) && restarts < MAX_RESTARTS) continue
      const message = error instanceof Error ? error.message : String(error)
      // Rights may come later, as may the server: whoever follows resources asks again.
      if (isTransient(error) || hasStatus(error, 401, 403, 410))
        throw new StoreError('unavailable', message, { key: scope })
      throw error
    }
  }
}

async function listPages(
  client: ApiClient,
  { path, collection, scope }: { path: string; collection: Collection; scope: string },
): Promise<Listing> {
  const entries: Entry[] = []
  let next: string | undefined
  for (;;) {
    const query = { limit: String(PAGE), ...(next === undefined ? {} : { continue: next }) }
    const page: JsonObject = collection.parse(await client.request('GET', path, { query }))
    for (const item of (page.items ?? []) as readonly Json[]) {
      const entry = isObject(item) ? entryIn(collection, item) : undefined
      if (entry?.key.startsWith(scope)) entries.push(entry)
    }
    const { continue: more } = (page.metadata ?? {}) as { continue?: string }
    if (!more) return { entries, revision: revisionOf(page) }
    next = more
  }
}

/** The slim entry of an object. */
export function entryIn(collection: Collection, object: JsonObject): Entry | undefined {
  const value = collection.decode(object, 'slim')
  return value && { key: value.key, value: value.text, modRevision: revisionOf(object) }
}
