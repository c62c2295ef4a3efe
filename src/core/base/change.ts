// The one currency of the project: what travels between any two parts is a key and its *current* value, or gone.
// There is no created/updated/deleted and no partial patch, so that a receiver's state depends on the present only.

/** A key and its current value; `undefined` means that the key is gone. */
export type Change<K, V> = { readonly key: K; readonly value: V | undefined }

/** Applies changes to a map in place and returns it. */
export function applyChanges<K, V>(map: Map<K, V>, changes: Iterable<Change<K, V>>): Map<K, V> {
  for (const { key, value } of changes) {
    if (value === undefined) map.delete(key)
    else map.set(key, value)
  }
  return map
}

/** The changes that turn `found` into `wanted`: gone keys first, then new and different ones, in the maps' order. */
export function difference<K, V>(
  found: ReadonlyMap<K, V>,
  wanted: ReadonlyMap<K, V>,
  equal: (a: V, b: V) => boolean = Object.is,
): Change<K, V>[] {
  const changes: Change<K, V>[] = []
  for (const key of found.keys()) if (!wanted.has(key)) changes.push({ key, value: undefined })
  for (const [key, value] of wanted) {
    const old = found.get(key)
    if (old === undefined || !equal(old, value)) changes.push({ key, value })
  }
  return changes
}
