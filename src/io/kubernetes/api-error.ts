// What an API server answers instead of what was asked for, and what can be done about it.

type Status = {
  readonly message?: unknown
  readonly reason?: unknown
  readonly code?: unknown
  readonly details?: unknown
}

export class ApiError extends Error {
  /** HTTP's status code. */
  readonly status: number
  /** `NotFound`, `AlreadyExists`, `Conflict`, `Expired`, `Invalid`: Kubernetes' word for it, empty if it has none. */
  readonly reason: string
  /** Milliseconds after which the server wants to be asked again. */
  readonly retryAfter: number | undefined
  constructor(status: number, detail: { message: string; reason?: string; retryAfter?: number | undefined }) {
    super(detail.message)
    this.name = 'ApiError'
    this.status = status
    this.reason = detail.reason ?? ''
    this.retryAfter = detail.retryAfter
  }
}

/** The error in a response's body, which is a Status of Kubernetes or anything that stands in front of it. */
export function apiError(status: number, body: string, retryAfter?: string): ApiError {
  const seconds = Number(retryAfter)
  const wait = retryAfter !== undefined && Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined
  let found: Status | undefined
  try {
    found = JSON.parse(body) as Status
  } catch {
    // A load balancer's own words.
  }
  const message = typeof found?.message === 'string' ? found.message : body.trim().slice(0, 200)
  return new ApiError(status, {
    message: message || `the API server answers ${status}`,
    reason: typeof found?.reason === 'string' ? found.reason : '',
    retryAfter: wait,
  })
}

export const hasStatus = (error: unknown, ...statuses: readonly number[]): error is ApiError =>
  error instanceof ApiError && statuses.includes(error.status)

/** The server did nothing and may do it later: too many requests, or it is about to go or come. */
export const isBusy = (error: unknown): error is ApiError =>
  hasStatus(error, 429) || (hasStatus(error, 500, 503) && error.retryAfter !== undefined)

/** Nobody there yet: the request cannot have been served. */
export const isRefused = (error: unknown): boolean =>
  ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(
    (error as NodeJS.ErrnoException)?.code ?? '',
  )

/** The connection or the server failed; what was asked may or may not have been done. */
export const isTransient = (error: unknown): boolean =>
  isBusy(error) || hasStatus(error, 500, 502, 503, 504) || !(error instanceof ApiError)
