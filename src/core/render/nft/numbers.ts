// Numbers for atoms and rows: the kernel compares 32 bits (a classid, printed major:minor) where we compare names.
// A number is a hash of what it stands for, so that it means the same at all times: a restart finds its own numbers in the
// kernel, and a packet that still holds an old one is judged by the meaning it had. Atoms and rows have ranges of
// their own, so that neither can ever be read as the other.
import { sha1Hex } from '../../base/hash.ts'

/** Numbers 1 to 2^28 - 1; 0 is the atom of everything else, and never a row. */
const SPACE = 0x0fffffff

export const ROW_BASE = 0x10000000
/** Set in a row that needs no finer key: the first rule of `decide` sends it straight to its outcome. */
export const PLAIN_ROW = 0x80000000

export type NumberSpace = { readonly byKey: ReadonlyMap<string, number>; readonly taken: ReadonlyMap<number, string> }
export const EMPTY_SPACE: NumberSpace = { byKey: new Map(), taken: new Map() }

/**
 * Numbers for the keys. A key that had one keeps it; a new one gets its hash, or the next free number after it when two
 * hashes collide. Keys of `before` that are not asked for any more are kept too, so that their numbers are not reused;
 * `forget` drops them.
 */
export function assign(before: NumberSpace, keys: Iterable<string>): NumberSpace {
  const byKey = new Map(before.byKey)
  const taken = new Map(before.taken)
  for (const key of [...keys].sort()) {
    if (byKey.has(key)) continue
    if (taken.size >= SPACE) throw new Error('no numbers left')
    let n = 1 + (Number.parseInt(sha1Hex(key).slice(0, 7), 16) % SPACE)
    while (taken.has(n)) n = (n % SPACE) + 1
    byKey.set(key, n)
    taken.set(n, key)
  }
  return { byKey, taken }
}

/** Only the numbers of these keys. */
export function forget(space: NumberSpace, keep: (key: string) => boolean): NumberSpace {
  const byKey = new Map([...space.byKey].filter(([key]) => keep(key)))
  return { byKey, taken: new Map([...byKey].map(([key, n]) => [n, key])) }
}
