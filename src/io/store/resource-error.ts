// What can go wrong when resources are read and written, in the words that users of calicoctl know. The code is for
// programs; the text is for people and for scripts that look for it.
import type { Problem } from '../../core/base/problem.ts'
import { type ResourceKey, splitKey } from '../../core/resources/cause.ts'

export type ResourceErrorCode = 'not-found' | 'exists' | 'conflict' | 'not-supported' | 'invalid'

export class ResourceError extends Error {
  readonly code: ResourceErrorCode
  readonly key: ResourceKey
  /** For `invalid`: what is wrong, field by field. */
  readonly problems: readonly Problem[]
  constructor(code: ResourceErrorCode, key: ResourceKey, detail: { message: string; problems?: readonly Problem[] }) {
    super(detail.message)
    this.name = 'ResourceError'
    this.code = code
    this.key = key
    this.problems = detail.problems ?? []
  }
}

/** `Tier(default)`, `NetworkPolicy(prod/np-1)`. */
export function identify(key: ResourceKey): string {
  const { kind, namespace, name } = splitKey(key)
  return `${kind}(${namespace === '' ? '' : `${namespace}/`}${name})`
}

// calicoctl ends the first two with the error of its datastore driver, which is Go's nil.
export const notFound = (key: ResourceKey): ResourceError =>
  new ResourceError('not-found', key, { message: `resource does not exist: ${identify(key)} with error: <nil>` })

export const alreadyExists = (key: ResourceKey): ResourceError =>
  new ResourceError('exists', key, { message: `resource already exists: ${identify(key)} with error: <nil>` })

/** `known` and `current` are resource versions, when the writer named one. */
export function updateConflict(key: ResourceKey, known?: string, current?: string): ResourceError {
  const stale = known === undefined ? '' : `: version ${known} is out of date, the latest is ${current}`
  return new ResourceError('conflict', key, { message: `update conflict: ${identify(key)}${stale}` })
}

export const notSupported = (operation: string, key: ResourceKey, reason: string): ResourceError =>
  new ResourceError('not-supported', key, {
    message: `operation ${operation} is not supported on ${identify(key)}: ${reason}`,
  })

export const invalid = (key: ResourceKey, problems: readonly Problem[]): ResourceError =>
  new ResourceError('invalid', key, { message: printProblems(problems), problems })

/** Problems in calicoctl's form for validation errors. */
export function printProblems(problems: readonly Problem[]): string {
  const lines = problems.map(({ path, message, fix, value }) => {
    const shown = value === undefined ? '' : ` = '${typeof value === 'string' ? value : JSON.stringify(value)}'`
    return `${path || 'resource'}${shown} (${message}${fix === undefined ? '' : `: ${fix}`})`
  })
  if (lines.length === 0) return 'unknown validation error'
  if (lines.length === 1) return `error with field ${lines[0]}`
  return ['error with the following fields:', ...lines.map(line => `-  ${line}`)].join('\n')
}
