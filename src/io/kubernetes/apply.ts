// Brings objects into a cluster as `kubectl apply --server-side` does: made, or changed to what they say, in order.
import type { ApiClient } from './api-client.ts'

export type ApiObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
}

/** Lower-case plurals of the kinds that are applied; Kubernetes' own rule, `y` to `ies`, holds for all of them. */
const plural = (kind: string): string => {
  const lower = kind.toLowerCase()
  return lower.endsWith('y') ? `${lower.slice(0, -1)}ies` : `${lower}s`
}

/** Where an object lies in the API. */
export function objectPath({ apiVersion, kind, metadata }: ApiObject): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const namespace = metadata.namespace === undefined ? '' : `/namespaces/${encodeURIComponent(metadata.namespace)}`
  return `${root}${namespace}/${plural(kind)}/${encodeURIComponent(metadata.name)}`
}

/** Applies the objects; throws the first refusal. */
export async function applyObjects(client: ApiClient, objects: readonly ApiObject[]): Promise<void> {
  for (const object of objects) {
    await client.request('PATCH', objectPath(object), {
      query: { fieldManager: 'gingham', force: 'true' },
      body: JSON.stringify(object),
      contentType: 'application/apply-patch+yaml',
    })
  }
}
