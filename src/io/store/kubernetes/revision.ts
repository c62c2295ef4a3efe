// Resource versions as numbers. Kubernetes calls them opaque, but compares them itself within one kind: they are decimal
// integers (KEP-5504), and those of one API server's etcd stay far below what a double holds.
import type { JsonObject } from '../../../core/ipam/json.ts'

/** The resource version of an object or a list. Throws if it is no number. */
export function revisionOf(object: JsonObject): number {
  const { resourceVersion } = (object.metadata ?? {}) as { resourceVersion?: unknown }
  const revision = Number(resourceVersion)
  if (typeof resourceVersion !== 'string' || !Number.isSafeInteger(revision) || revision < 0)
    throw new Error(`${JSON.stringify(resourceVersion)} is no resource version`)
  return revision
}
