// What is wrong with something a user wrote. Problems are returned as a list, never thrown; bugs throw.

/** One mistake: where (a path such as `spec.ingress[0].action`), what, and, where it is known, how to mend it. */
export type Problem = {
  readonly path: string
  readonly message: string
  readonly fix?: string
  /** The offending value as the user wrote it, when showing it helps. */
  readonly value?: unknown
}

/** A value, or the problems that prevent it; never both. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** What became of one question of several that are answered together. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: Error }

export const ok = <T>(value: T): Result<T> => ({ ok: true, value })
export const failed = (...problems: Problem[]): Result<never> => ({ ok: false, problems })

/** Appends a key or an index to a path: `spec`, `spec.ingress`, `spec.ingress[0]`. */
export function joinPath(path: string, step: string | number): string {
  if (typeof step === 'number') return `${path}[${step}]`
  return path === '' ? step : `${path}.${step}`
}

/** The end of an exhaustive switch: reaching it is a bug. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`)
}
