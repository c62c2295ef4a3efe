// The embedded datastore's client. It connects again by itself, with backoff, and then sends every unanswered request
// again: reads do no harm, writes carry a name under which the server remembers them. Watches go on from the last
// revision they saw. A caller sees a broken connection only as a slow answer, up to the request's time limit.
import { randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { FrameReader } from './frames.ts'
import {
  type DeleteRequest,
  type Done,
  keyProblem,
  MAX_REQUEST_TIMEOUT_MS,
  PROTOCOL_VERSION,
  type PutRequest,
  type Reply,
  type Request,
  valueProblem,
} from './protocol.ts'
import { type Condition, type Entry, type Store, StoreError, type Watch, type WatchHandlers } from './store.ts'

export type EmbeddedOptions = {
  readonly socket: string
  /** After this time without an answer a request fails with `unavailable`; a write may then have been applied or not. */
  readonly requestTimeoutMs?: number
  /** Told when the connection comes up (no error) and when it breaks or cannot be made. */
  readonly onConnection?: (error: Error | undefined) => void
}

const FIRST_DELAY_MS = 10
const LAST_DELAY_MS = 1000

type Answer = Done & { readonly entries: readonly Entry[] }

type Pending = {
  readonly frame: string
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: StoreError) => void
  readonly timer: NodeJS.Timeout
  /** What a list has brought so far on this connection. */
  entries: Entry[]
}

type OpenWatch = { readonly prefix: string; last: number; readonly handlers: WatchHandlers }

/** A union's members without one field. */
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never

class EmbeddedStore implements Store {
  readonly #options: EmbeddedOptions
  readonly #timeout: number
  readonly #client = randomUUID()
  readonly #pending = new Map<number, Pending>()
  readonly #watches = new Map<number, OpenWatch>()
  #lastId = 0
  #socket: Socket | undefined
  /** The server has said hello on the present connection. */
  #ready = false
  #storeId: string | undefined
  #delay = FIRST_DELAY_MS
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: EmbeddedOptions) {
    this.#options = options
    this.#timeout = Math.min(options.requestTimeoutMs ?? 30_000, MAX_REQUEST_TIMEOUT_MS)
    this.#connect()
  }

  async get(key: string): Promise<Entry | undefined> {
    return (await this.#ask({ op: 'get', key })).entry
  }

  async list(prefix: string): Promise<{ entries: readonly Entry[]; revision: number }> {
    const { entries, revision } = await this.#ask({ op: 'list', prefix })
    return { entries, revision: revision! }
  }

  async put(key: string, value: string, condition: Condition = {}): Promise<Entry> {
    checkText(keyProblem(key) ?? valueProblem(value), key)
    return (await this.#ask(this.#named<PutRequest>({ op: 'put', key, value, ...condition }))).entry!
  }

  async delete(key: string, condition: Condition = {}): Promise<boolean> {
    checkText(keyProblem(key), key)
    return (await this.#ask(this.#named<DeleteRequest>({ op: 'delete', key, ...condition }))).existed!
  }

  async compact(revision: number): Promise<void> {
    await this.#ask({ op: 'compact', revision })
  }

  watch(prefix: string, afterRevision: number, handlers: WatchHandlers): Watch {
    if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
    const id = ++this.#lastId
    const watch: OpenWatch = { prefix, last: afterRevision, handlers }
    this.#watches.set(id, watch)
    if (this.#ready) this.#sendWatch(id, watch)
    return {
      close: () => {
        if (this.#watches.delete(id) && this.#ready) this.#send({ id: ++this.#lastId, op: 'unwatch', watch: id })
      },
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    this.#socket?.destroy()
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer)
      reject(new StoreError('unavailable', 'the store was closed'))
    }
    this.#pending.clear()
    const watches = [...this.#watches.values()]
    this.#watches.clear()
    for (const { handlers } of watches) handlers.closed(undefined)
  }

  #named<T extends PutRequest | DeleteRequest>(write: Omit<T, 'id' | 'request'>) {
    return { ...write, request: `${this.#client}-${++this.#lastId}` } as Without<T, 'id'>
  }

  #ask(body: Without<Request, 'id'>): Promise<Answer> {
    if (this.#closed) return Promise.reject(new StoreError('unavailable', 'the store is closed'))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        const outcome = body.op === 'put' || body.op === 'delete' ? '; the write may have been applied' : ''
        reject(
          new StoreError('unavailable', `no answer from ${this.#options.socket} for ${this.#timeout} ms${outcome}`),
        )
      }, this.#timeout)
      const pending: Pending = { frame: JSON.stringify({ ...body, id }), resolve, reject, timer, entries: [] }
      this.#pending.set(id, pending)
      if (this.#ready) this.#sendText(pending.frame)
    })
  }

  #send(request: Request): void {
    this.#sendText(JSON.stringify(request))
  }

  #sendText(frame: string): void {
    this.#socket?.write(`${frame}\n`)
  }

  #sendWatch(id: number, { prefix, last }: OpenWatch): void {
    this.#send({ id, op: 'watch', prefix, after: last })
  }

  #connect(): void {
    const socket = connect(this.#options.socket)
    const reader = new FrameReader()
    let cause: Error | undefined
    this.#socket = socket
    socket.on('data', chunk => {
      try {
        for (const frame of reader.push(chunk as Uint8Array)) {
          if (this.#socket === socket && !this.#closed) this.#receive(JSON.parse(frame) as Reply)
        }
      } catch (error) {
        // A frame that is none ends the connection; an error of a caller's handler is the caller's.
        if (!(error instanceof SyntaxError) && !(error instanceof Error && error.name === 'FrameError')) throw error
        socket.destroy(error)
      }
    })
    socket.on('error', error => {
      cause = error
    })
    socket.on('close', () => {
      this.#ready = false
      this.#socket = undefined
      if (this.#closed) return
      this.#options.onConnection?.(cause ?? new Error(`${this.#options.socket} closed the connection`))
      this.#retry = setTimeout(() => this.#connect(), this.#delay * (0.5 + Math.random() / 2))
      this.#delay = Math.min(this.#delay * 2, LAST_DELAY_MS)
    })
  }

  #receive(reply: Reply): void {
    if ('hello' in reply) {
      this.#start(reply.hello, reply.store)
      return
    }
    const watch = this.#watches.get(reply.id)
    if (watch) this.#tell(reply, watch)
    const pending = this.#pending.get(reply.id)
    if (!pending) return
    if ('entries' in reply) {
      for (const entry of reply.entries) pending.entries.push(entry)
      return
    }
    this.#pending.delete(reply.id)
    clearTimeout(pending.timer)
    if ('done' in reply) pending.resolve({ ...reply.done, entries: pending.entries })
    else if ('error' in reply) pending.reject(new StoreError(reply.error.code, reply.error.message, reply.error))
  }

  #start(version: number, storeId: string): void {
    if (version !== PROTOCOL_VERSION) {
      this.#socket?.destroy(new Error(`the server speaks version ${version}, this client ${PROTOCOL_VERSION}`))
      return
    }
    this.#delay = FIRST_DELAY_MS
    if (this.#storeId !== undefined && this.#storeId !== storeId)
      this.#endWatches('this is another datastore than before')
    this.#storeId = storeId
    this.#ready = true
    for (const pending of this.#pending.values()) {
      pending.entries = []
      this.#sendText(pending.frame)
    }
    for (const [id, watch] of this.#watches) this.#sendWatch(id, watch)
    this.#options.onConnection?.(undefined)
  }

  #tell(reply: Exclude<Reply, { hello: number }>, watch: OpenWatch): void {
    if ('events' in reply) {
      watch.last = reply.revision
      if (reply.events.length > 0) watch.handlers.events(reply.events, reply.revision)
    } else if ('error' in reply) {
      this.#watches.delete(reply.id)
      watch.handlers.closed(new StoreError(reply.error.code, reply.error.message, reply.error))
    }
  }

  #endWatches(message: string): void {
    const watches = [...this.#watches.values()]
    this.#watches.clear()
    for (const { handlers } of watches) handlers.closed(new StoreError('compacted', message))
  }
}

function checkText(problem: string | undefined, key: string): void {
  if (problem !== undefined) throw new StoreError('invalid', problem, { key })
}

/** A store served by the datastore process on a unix socket. Connects in the background. */
export const openEmbedded = (options: EmbeddedOptions): Store => new EmbeddedStore(options)
