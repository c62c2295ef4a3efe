// Requests to an API server over HTTPS: one question and its answer, or a stream of lines. What may be asked again is asked
// again; a connection that says nothing is given up.
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { StringDecoder } from 'node:string_decoder'
import { setTimeout as sleep } from 'node:timers/promises'
import { apiError, hasStatus, isBusy, isRefused, isTransient } from './api-error.ts'
import { Backoff } from './backoff.ts'
import type { Credentials } from './credentials.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export type RequestOptions = {
  readonly query?: Readonly<Record<string, string>>
  /** JSON text. */
  readonly body?: string
  /** `application/merge-patch+json` for a patch. */
  readonly contentType?: string
}

export type StreamHandlers = {
  /** The server accepted. */
  readonly opened?: () => void
  /** Lines that came together. */
  readonly lines: (lines: readonly string[]) => void
}

export type ApiClientOptions = {
  /** Milliseconds for a question and its answer. */
  readonly timeout?: number
  /** Attempts for one question. */
  readonly attempts?: number
  /** Milliseconds after which a stream without a byte counts as dead. */
  readonly idle?: number
  /** How it waits before it tries again. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<unknown>
  /** The server began to answer (undefined), or ceased to. */
  readonly onConnection?: (error: Error | undefined) => void
  /** Called for each attempt, with its method and path: for tests and metrics that count them. */
  readonly onRequest?: (method: Method, path: string) => void
}

const WAKE_SPREAD_MS = 500

const closed = (): Error => new Error('the client is closed')

export class ApiClient {
  readonly #credentials: Credentials
  readonly #options: ApiClientOptions & Required<Omit<ApiClientOptions, 'onRequest' | 'onConnection'>>
  readonly #abort = new AbortController()
  #answers: boolean | undefined
  /** It granted the last request that had an answer, and was there for it. */
  #isWell = true
  readonly #pausing = new Set<() => void>()

  constructor(credentials: Credentials, options: ApiClientOptions = {}) {
    this.#credentials = credentials
    // A server sends a bookmark about every minute to those who watch.
    const wait = (milliseconds: number, signal: AbortSignal) => sleep(milliseconds, undefined, { signal })
    this.#options = { timeout: 30_000, attempts: 5, idle: 150_000, wait, ...options }
  }

  get server(): string {
    return this.#credentials.server
  }

  /**
   * The body of the answer. Reads are repeated when the connection or the server fails; writes only when they cannot have
   * been done. Throws an `ApiError`, or the connection's error.
   */
  async request(method: Method, path: string, options: RequestOptions = {}): Promise<string> {
    const backoff = new Backoff()
    for (let attempt = 1, renewed = false; ; attempt++) {
      try {
        return await this.#once(method, path, options)
      } catch (error) {
        if (this.#abort.signal.aborted) throw closed()
        if (hasStatus(error, 401) && !renewed) {
          renewed = true
          this.#credentials.renew()
          continue
        }
        const again = method === 'GET' ? isTransient(error) : isBusy(error) || isRefused(error)
        if (!again || attempt >= this.#options.attempts) throw error
        await this.#options.wait(backoff.next(isBusy(error) ? error.retryAfter : 0), this.#abort.signal)
      }
    }
  }

  /** Follows a stream to its end. Throws what ends it before; a signal ends it without an error. */
  async stream(
    path: string,
    query: Readonly<Record<string, string>>,
    handlers: StreamHandlers & { signal: AbortSignal },
  ) {
    const signal = AbortSignal.any([handlers.signal, this.#abort.signal])
    try {
      const response = await this.#send('GET', path, { query }, signal)
      if (response.statusCode !== 200) throw await this.#refusal(response)
      handlers.opened?.()
      await this.#follow(response, handlers.lines)
    } catch (error) {
      if (signal.aborted) return
      if (hasStatus(error, 401)) this.#credentials.renew()
      throw error
    }
  }

  /**
   * Waits before another attempt, and no longer than until the server is well again: who waited for one that was away for
   * minutes does not let it wait in turn. Ends early with the signal, without an error.
   */
  async pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timers = [setTimeout(resolve, milliseconds)]
    const wake = (): void => void timers.push(setTimeout(resolve, Math.random() * WAKE_SPREAD_MS))
    const stop = (): void => resolve()
    signal.addEventListener('abort', stop)
    this.#pausing.add(wake)
    if (signal.aborted) resolve()
    await promise
    signal.removeEventListener('abort', stop)
    this.#pausing.delete(wake)
    for (const timer of timers) clearTimeout(timer)
  }

  close(): void {
    this.#abort.abort()
    this.#credentials.close()
  }

  async #once(method: Method, path: string, options: RequestOptions): Promise<string> {
    const timeout = AbortSignal.timeout(this.#options.timeout)
    const signal = AbortSignal.any([timeout, this.#abort.signal])
    try {
      const response = await this.#send(method, path, options, signal)
      if (response.statusCode! >= 300) throw await this.#refusal(response)
      return await readAll(response)
    } catch (error) {
      throw timeout.aborted ? new Error(`no answer within ${this.#options.timeout / 1000} s`) : error
    }
  }

  async #refusal(response: IncomingMessage): Promise<Error> {
    return apiError(response.statusCode!, await readAll(response), response.headers['retry-after'])
  }

  async #send(method: Method, path: string, options: RequestOptions, signal: AbortSignal): Promise<IncomingMessage> {
    const { agent, headers } = await this.#credentials.access()
    signal.throwIfAborted()
    const url = new URL(this.#credentials.server + path)
    for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, value)
    const { body, contentType = 'application/json' } = options
    this.#options.onRequest?.(method, path)
    return new Promise((resolve, reject) => {
      const request = httpsRequest(url, {
        method,
        agent,
        signal,
        headers: {
          ...headers,
          Accept: 'application/json',
          'User-Agent': 'gingham',
          ...(body === undefined ? {} : { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body) }),
        },
      })
      request.on('response', response => {
        this.#report(undefined)
        if (response.statusCode! < 300) this.#wake()
        resolve(response)
      })
      request.on('error', error => {
        // Who gives up himself has learned nothing of the server, unless it was time to.
        if (!signal.aborted || (signal.reason as Error)?.name === 'TimeoutError') this.#report(error)
        reject(error)
      })
      request.end(body)
    })
  }

  /** After an outage the first that gets what it wants tells the others of this client. */
  #wake(): void {
    if (this.#isWell) return
    this.#isWell = true
    for (const wake of this.#pausing) wake()
  }

  #report(error: Error | undefined): void {
    const answers = error === undefined
    if (!answers) this.#isWell = false
    if (this.#answers === answers || this.#abort.signal.aborted) return
    this.#answers = answers
    this.#options.onConnection?.(error)
  }

  #follow(response: IncomingMessage, onLines: StreamHandlers['lines']): Promise<void> {
    const decoder = new StringDecoder('utf8')
    let rest = ''
    return new Promise((resolve, reject) => {
      const onIdle = () => response.destroy(new Error(`nothing came for ${this.#options.idle / 1000} s`))
      const timer = setTimeout(onIdle, this.#options.idle)
      response.on('data', (chunk: Buffer) => {
        timer.refresh()
        const lines = (rest + decoder.write(chunk)).split('\n')
        rest = lines.pop()!
        if (lines.length > 0) onLines(lines)
      })
      response.on('end', resolve)
      response.on('error', reject)
      response.on('close', () => {
        clearTimeout(timer)
        // After `end` or `error` this changes nothing.
        reject(new Error('the connection was closed'))
      })
    })
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
