// Failures in CNI's own form: a number from the specification's table ("Error"), a sentence, and details.
import type { Problem } from '../base/problem.ts'
import { printCompact } from './print.ts'
import type { CniVersion } from './version.ts'

export const CNI_ERROR = {
  INCOMPATIBLE_VERSION: 1,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  IO: 5,
  DECODE: 6,
  INVALID_CONFIG: 7,
  TRY_AGAIN: 11,
  /** STATUS: an ADD could not be served. */
  NOT_AVAILABLE: 50,
  /** Own numbers begin at 100: CHECK found something else than the result says. */
  CHECK_FAILED: 101,
  /** What libcni uses for everything else. */
  INTERNAL: 999,
} as const
export type CniErrorCode = (typeof CNI_ERROR)[keyof typeof CNI_ERROR]

export class CniError extends Error {
  override readonly name = 'CniError'
  readonly code: CniErrorCode
  readonly details: string
  constructor(code: CniErrorCode, message: string, details = '') {
    super(message)
    this.code = code
    this.details = details
  }
}

/** Mistakes of a user as one failure: the first says what, all are in the details. */
export function problemsError(code: CniErrorCode, what: string, problems: readonly Problem[]): CniError {
  const lines = problems.map(({ path, message, fix }) => {
    const where = path === '' ? '' : `${path} `
    return `${where}${message}${fix === undefined ? '' : ` (${fix})`}`
  })
  return new CniError(code, `${what}: ${lines[0] ?? 'it is not valid'}`, lines.slice(1).join('; '))
}

/** The failure as the JSON text that a plugin prints. */
export const printError = ({ code, message, details }: CniError, version: CniVersion): string =>
  printCompact({ cniVersion: version, code, msg: message, ...(details === '' ? {} : { details }) })
