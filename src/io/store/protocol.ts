// What the embedded datastore's client and server say to each other: requests with a number, replies that carry the
// same number, and, for a watch, many replies under one number. A write also carries the `request` name under which the
// server remembers durably that it was applied, so that a client may send it again after a broken connection.
import { z } from 'zod'
import type { Entry, StoreErrorCode, StoreEvent } from './store.ts'

export const PROTOCOL_VERSION = 1
/** etcd's limit for one request, and so for what other datastores can hold. */
export const MAX_VALUE = 1536 * 1024
export const MAX_KEY = 4096
/** For how long a server remembers a write at least; a client gives up well before. */
export const REMEMBER_MS = 600_000
export const MAX_REQUEST_TIMEOUT_MS = 120_000

const count = z.int().min(0)
const key = z.string()
const request = z.string().min(1).max(128)

export const Request = z.discriminatedUnion('op', [
  z.strictObject({ id: count, op: z.literal('get'), key }),
  z.strictObject({ id: count, op: z.literal('list'), prefix: key }),
  z.strictObject({ id: count, op: z.literal('put'), key, value: z.string(), ifRevision: count.optional(), request }),
  z.strictObject({ id: count, op: z.literal('delete'), key, ifRevision: count.optional(), request }),
  z.strictObject({ id: count, op: z.literal('watch'), prefix: key, after: count }),
  z.strictObject({ id: count, op: z.literal('unwatch'), watch: count }),
  z.strictObject({ id: count, op: z.literal('compact'), revision: count }),
])
export type Request = z.infer<typeof Request>
export type PutRequest = Extract<Request, { op: 'put' }>
export type DeleteRequest = Extract<Request, { op: 'delete' }>
export type WriteRequest = PutRequest | DeleteRequest

export type WireError = {
  readonly code: StoreErrorCode
  readonly message: string
  readonly key?: string
  readonly currentRevision?: number
}

/**
 * Server to client. `hello` is the first frame of a connection; `store` names the database, so that a client notices
 * when it is another one. A list comes as `entries` frames, then its `done`. A watch has `events` frames, also
 * without events when only the revision moves on, until an `error` or an `unwatch`.
 */
export type Reply =
  | { readonly hello: number; readonly store: string }
  | { readonly id: number; readonly error: WireError }
  | { readonly id: number; readonly entries: readonly Entry[] }
  | { readonly id: number; readonly events: readonly StoreEvent[]; readonly revision: number }
  | { readonly id: number; readonly done: Done }

/** get: `entry`; list, compact: `revision`; put: `entry`; delete: `existed`. */
export type Done = { readonly entry?: Entry; readonly revision?: number; readonly existed?: boolean }

/** A parsed request, or why the frame is none (with its number, if it has one). */
export function parseRequest(frame: string): { request: Request } | { id: number; problem: string } {
  let value: unknown
  try {
    value = JSON.parse(frame)
  } catch {
    return { id: 0, problem: 'frame is not JSON' }
  }
  const parsed = Request.safeParse(value)
  if (parsed.success) return { request: parsed.data }
  const id = typeof value === 'object' && value !== null && 'id' in value ? value.id : undefined
  const issue = parsed.error.issues[0]
  const problem = issue ? `${issue.path.join('.') || 'frame'}: ${issue.message}` : 'not a request'
  return { id: typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 ? id : 0, problem }
}

/** Why a store does not take a text as key or value, or undefined. NUL and lone surrogates would not come back as written. */
function textProblem(text: string, what: string, max: number): string | undefined {
  if (text.length > max || Buffer.byteLength(text) > max) return `${what} longer than ${max} bytes`
  if (!text.isWellFormed() || text.includes('\0')) return `${what} holds a NUL or half a surrogate pair`
  return undefined
}

export const keyProblem = (text: string): string | undefined =>
  text === '' ? 'key is empty' : textProblem(text, 'key', MAX_KEY)
export const valueProblem = (text: string): string | undefined => textProblem(text, 'value', MAX_VALUE)

/** The first key after all keys with this prefix in UTF-8 order; undefined: there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix)
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const point = last.codePointAt(0)!
    if (point < 0x10ffff) return points.join('') + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1)
  }
  return undefined
}
