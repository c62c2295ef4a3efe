// A plan is a pure description of work on a datastore: a generator that yields one step at a time (read keys, read a
// prefix, compare-and-set writes; of keys and writes none waits for another) and is sent what came of it. It never waits, knows no
// clock and no chance, and may be abandoned at any write: whoever comes next finds a state that its own plan repairs.

/** A key as it was read: its text and the revision to name when writing it. */
export type Stored = { readonly key: string; readonly value: string; readonly revision: number }

/** Without a value: a deletion. `ifRevision` 0: the key must not exist. */
export type Write = { readonly key: string; readonly value: string | undefined; readonly ifRevision: number }

/** What became of a write: the new revision (0: deleted), or undefined: the key has another revision than the one named. */
export type Written = number | undefined

export type Step =
  | { readonly kind: 'get'; readonly keys: readonly string[] }
  | { readonly kind: 'list'; readonly prefix: string }
  /** In any order, or side by side. A write that fails ends the plan, unless they are told to fail each for itself. */
  | { readonly kind: 'write'; readonly writes: readonly Write[]; readonly apart?: boolean }

/** To get: each entry or undefined; to list: entries by key; to write: what became of each. */
export type Answer = readonly (Stored | undefined)[] | readonly (Written | Error)[]

export type Plan<T> = Generator<Step, T, Answer>

export type IpamErrorCode =
  | 'retries'
  | 'no-pool'
  | 'block-limit'
  | 'exhausted'
  | 'assigned'
  | 'not-owned'
  | 'exists'
  | 'handle'
  | 'sequence'
  | 'corrupt'
  | 'invalid'

/** Why an address could not be given or taken back. */
export class IpamError extends Error {
  readonly code: IpamErrorCode
  constructor(code: IpamErrorCode, message: string) {
    super(message)
    this.name = 'IpamError'
    this.code = code
  }
}

export function* get(key: string): Plan<Stored | undefined> {
  return (yield* getAll([key]))[0]
}

export function* getAll(keys: readonly string[]): Plan<readonly (Stored | undefined)[]> {
  return (yield { kind: 'get', keys }) as readonly (Stored | undefined)[]
}

export function* list(prefix: string): Plan<readonly Stored[]> {
  return (yield { kind: 'list', prefix }) as readonly Stored[]
}

export function* writeAll(writes: readonly Write[]): Plan<readonly Written[]> {
  return (yield { kind: 'write', writes }) as readonly Written[]
}

/** As `writeAll`, but a write that the datastore refuses for another reason than its revision has its error in its place. */
export function* writeApart(writes: readonly Write[]): Plan<readonly (Written | Error)[]> {
  return (yield { kind: 'write', writes, apart: true }) as readonly (Written | Error)[]
}

/** The new revision, or undefined if the key has another revision than the one named. */
export function* put(key: string, value: string, ifRevision: number): Plan<Written> {
  return (yield* writeAll([{ key, value, ifRevision }]))[0]
}

/** Whether the key was deleted; false if it has another revision than the one named. */
export function* remove(key: string, ifRevision: number): Plan<boolean> {
  return (yield* writeAll([{ key, value: undefined, ifRevision }]))[0] !== undefined
}

/** Calico's budget of datastore conflicts for one loop. */
export const RETRIES = 100

/** Runs `attempt` until it gives something; undefined asks for another try. Throws when the budget is used up. */
export function* retry<T>(attempt: () => Plan<T | undefined>): Plan<T> {
  for (let i = 0; i < RETRIES; i++) {
    const result = yield* attempt()
    if (result !== undefined) return result
  }
  throw noEnd()
}

/** Why nobody tries any longer. */
export const noEnd = (): IpamError => new IpamError('retries', 'Max retries hit - excessive concurrent IPAM requests')
