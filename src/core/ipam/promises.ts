// What handles say of blocks before the blocks do. Blocks are read, then the handles are written, with the counts that the
// blocks will have, then the blocks: a process killed in between leaves a handle that says too much, which the handle's
// release repairs, and never an address that nobody knows of.
import type { Prefix } from '../net/prefix.ts'
import { EMPTY_HANDLE, encodeHandle, type Handle, withCount } from './handle.ts'
import { handleKey } from './keys.ts'
import { IpamError, noEnd, type Plan, RETRIES, type Write, type Written, writeApart } from './plan.ts'
import { readHandles, releaseFrom, type StoredHandle } from './release.ts'

/** How many addresses a handle has in each block. */
export type Totals = ReadonlyMap<Prefix, number>

/** One handle's. It remembers what it wrote: the next block needs no look at it. */
export class Promises {
  readonly id: string
  #known: StoredHandle | undefined
  readonly #isNew: boolean
  #offered: Handle = EMPTY_HANDLE
  /** What was promised of each block at most, and what it holds. */
  readonly made = new Map<Prefix, { readonly promised: number; readonly held: number }>()

  constructor({ handle, isNewHandle = false }: { readonly handle: string; readonly isNewHandle?: boolean }) {
    this.id = handle
    this.#isNew = isNewHandle
    if (isNewHandle) this.#known = { handle: EMPTY_HANDLE, revision: 0 }
  }

  get isKnown(): boolean {
    return this.#known !== undefined
  }

  learn(stored: StoredHandle): void {
    this.#known = stored
  }

  /** Always a write, so that a release notices. */
  offer(totals: Totals): Write {
    const { handle, revision } = this.#known!
    this.#offered = handle
    for (const [cidr, total] of totals)
      this.#offered = withCount(this.#offered, cidr, Math.max(total, handle.counts.get(cidr) ?? 0))
    return { key: handleKey(this.id), value: encodeHandle(this.#offered), ifRevision: revision }
  }

  /** Whether what was offered is written. Throws why it cannot be. */
  conclude(totals: Totals, written: Written | Error): boolean {
    this.#known = undefined
    if (written instanceof Error) throw written
    if (written === undefined && this.#isNew && this.made.size === 0)
      throw new IpamError('exists', `there is the handle ${this.id} already`)
    if (written === undefined) return false
    this.#known = { handle: this.#offered, revision: written }
    for (const [cidr, total] of totals) {
      const { promised = 0, held = 0 } = this.made.get(cidr) ?? {}
      this.made.set(cidr, { promised: Math.max(promised, total), held })
    }
    return true
  }

  keep(cidr: Prefix, held: number): void {
    this.made.set(cidr, { promised: this.made.get(cidr)!.promised, held })
  }

  /** Takes back what an earlier try promised and a block does not have in the end. */
  *settle(): Plan<void> {
    for (const [cidr, { promised, held }] of this.made)
      if (promised > held) yield* releaseFrom(cidr, [this.id], () => [])
  }
}

/** Makes promises side by side. Gives the errors of those that cannot be made: of the others nobody need know. */
export function* promiseAll(wanted: ReadonlyMap<Promises, Totals>): Plan<ReadonlyMap<Promises, Error>> {
  const failures = new Map<Promises, Error>()
  let left = [...wanted]
  for (let i = 0; i < RETRIES && left.length > 0; i++) {
    yield* lookUp(
      left.flatMap(([promises]) => (promises.isKnown ? [] : [promises])),
      failures,
    )
    left = left.filter(([promises]) => !failures.has(promises))
    const written = yield* writeApart(left.map(([promises, totals]) => promises.offer(totals)))
    left = left.filter(([promises, totals], at) => {
      try {
        return !promises.conclude(totals, written[at])
      } catch (error) {
        failures.set(promises, error as Error)
        return false
      }
    })
  }
  for (const [promises] of left) failures.set(promises, noEnd())
  return failures
}

function* lookUp(unknown: readonly Promises[], failures: Map<Promises, Error>): Plan<void> {
  if (unknown.length === 0) return
  const read = yield* readHandles(unknown.map(({ id }) => id))
  for (const [i, promises] of unknown.entries()) {
    const found = read[i]!
    if (found instanceof Error) failures.set(promises, found)
    else promises.learn(found)
  }
}
