// Numbers for atoms and rows: the kernel compares 32 bits (a classid, printed major:minor) where we compare names.
// A number is a hash of what it stands for, so that it means the same at all times: a restart finds its own numbers in the
// kernel, and a packet that still holds an old one is judged by the meaning it had. Atoms and rows have ranges of
// their own, so that neither can ever be read as the other.
import { sha1Hex } from '../../base/hash.ts'

/** Numbers 1 to 2^30 - 1; 0 is the atom of everything else, and never a row. */
const SPACE = 0x3fffffff

export const ROW_BASE = 0x40000000
/** Set in a row that needs no finer key: the first rule of `decide` sends it straight to its outcome. */
export const PLAIN_ROW = 0x80000000

const hash = (key: string): number => 1 + (Number.parseInt(sha1Hex(key).slice(0, 8), 16) % SPACE)

/**
 * The numbers given so far. A key has its hash, or the next free number after it when two hashes collide; it keeps it until
 * it is forgotten, so that a number is not given again while something of its old meaning may be left in the kernel.
 */
export class NumberBook {
  readonly #byKey = new Map<string, number>()
  readonly #taken = new Set<number>()
  /** Keys that were not in use when somebody looked, and were not asked for since. */
  readonly #unused = new Set<string>()

  of(key: string): number {
    this.#unused.delete(key)
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    if (this.#taken.size >= SPACE) throw new Error('no numbers left')
    let n = hash(key)
    while (this.#taken.has(n)) n = (n % SPACE) + 1
    this.#byKey.set(key, n)
    this.#taken.add(n)
    return n
  }

  /** Notes what is not in use now, for `forgetUnused`. */
  markUnused(isInUse: (key: string) => boolean): void {
    for (const key of this.#byKey.keys()) if (!isInUse(key)) this.#unused.add(key)
  }

  /** Forgets what was marked and not asked for since. */
  forgetUnused(): void {
    for (const key of this.#unused) {
      this.#taken.delete(this.#byKey.get(key)!)
      this.#byKey.delete(key)
    }
    this.#unused.clear()
  }
}
