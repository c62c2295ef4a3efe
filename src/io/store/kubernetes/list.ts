// All objects of a collection, page by page, so that neither side holds a large cluster in one answer. The pages show one
// moment; when that is forgotten before the last page, the list begins anew.
import { isObject, type Json, type JsonObject } from '../../../core/ipam/json.ts'
import { apiPath, type Collection, type Detail } from '../../../core/kubernetes/collection.ts'
import type { ApiClient } from '../../kubernetes/api-client.ts'
import { hasStatus, isTransient } from '../../kubernetes/api-error.ts'
import { type Entry, StoreError, type TakePage } from '../store.ts'
import { revisionOf } from './revision.ts'

export type Listing = { readonly entries: readonly Entry[]; readonly revision: number }

/** Objects in one answer; of those who keep little of much, fewer: a page is garbage as soon as it is read. */
const PAGE: Readonly<Record<Detail, number>> = { whole: 500, slim: 100 }
const MAX_RESTARTS = 5

/** The namespace that a prefix is limited to. */
export function namespaceOf(collection: Collection, scope: string): string | undefined {
  if (!collection.namespaced) return undefined
  const [namespace, ...more] = scope.slice(collection.prefix.length).split('/')
  return namespace && more.length > 0 ? namespace : undefined
}

export type Scope = {
  readonly collection: Collection
  /** A prefix inside of the collection. */
  readonly scope: string
  readonly detail: Detail
}

/** A kind that the cluster does not have is empty, at revision 0. */
export async function listCollection(client: ApiClient, at: Scope): Promise<Listing> {
  const entries: Entry[] = []
  const revision = await pageCollection(client, at, (page, { first }) => {
    if (first) entries.length = 0
    entries.push(...page)
  })
  return { entries, revision }
}

/** The same, page by page; gives the revision. */
export async function pageCollection(client: ApiClient, at: Scope, take: TakePage): Promise<number> {
  const { collection, scope } = at
  const path = apiPath(collection, { namespace: namespaceOf(collection, scope) })
  let selector = collection.selector?.(scope)
  for (let restarts = 0; ; restarts++) {
    try {
      return await listPages(client, { ...at, path, selector }, take)
    } catch (error) {
      // A definition that is not ours may have no such selectable field: all are listed then, and looked through here.
      if (hasStatus(error, 400) && selector !== undefined) {
        selector = undefined
        continue
      }
      if (hasStatus(error, 404)) {
        take([], { first: true, revision: 0 })
        return 0
      }
      if (hasStatus(error, 410) && restarts < MAX_RESTARTS) continue
      const message = error instanceof Error ? error.message : String(error)
      // Rights may come later, as may the server: whoever follows resources asks again.
      if (isTransient(error) || hasStatus(error, 401, 403, 410))
        throw new StoreError('unavailable', message, { key: scope })
      throw error
    }
  }
}

type Pages = Scope & { readonly path: string; readonly selector: string | undefined }

async function listPages(client: ApiClient, at: Pages, take: TakePage): Promise<number> {
  const { path, collection, scope, detail, selector } = at
  const fixed = { limit: String(PAGE[detail]), ...(selector === undefined ? {} : { fieldSelector: selector }) }
  let next: string | undefined
  for (;;) {
    const query = { ...fixed, ...(next === undefined ? {} : { continue: next }) }
    const page: JsonObject = collection.parse(await client.request('GET', path, { query }))
    const entries = ((page.items ?? []) as readonly Json[]).flatMap(item => {
      const entry = isObject(item) ? entryOf(collection, item, detail) : undefined
      return entry?.key.startsWith(scope) ? [entry] : []
    })
    const revision = revisionOf(page)
    take(entries, { first: next === undefined, revision })
    const { continue: more } = (page.metadata ?? {}) as { continue?: string }
    if (!more) return revision
    next = more
  }
}

export function entryOf(collection: Collection, object: JsonObject, detail: Detail): Entry | undefined {
  const value = collection.decode(object, detail)
  return value && { key: value.key, value: value.text, modRevision: revisionOf(object) }
}
