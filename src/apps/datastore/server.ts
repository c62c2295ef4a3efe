// The datastore's life: connections on a unix socket, writes gathered into one transaction a turn of the event loop,
// watchers served after the commit. History is every watcher's queue: one that does not read costs no memory, reads on
// from its revision when it can, and is ended with `compacted` once history no longer reaches back to it.
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import type { Logger } from 'pino'
import { REMEMBER_MS, type WriteRequest } from '../../io/store/protocol.ts'
import { StoreError, type StoreEvent } from '../../io/store/store.ts'
import { Connection } from './connection.ts'
import type { Engine, Outcome } from './engine.ts'

/** Writes in one transaction at most, so that the first of them does not wait long. */
const BATCH = 1000
const BATCH_BYTES = 8 * 1024 * 1024

type Waiting = { readonly write: WriteRequest; readonly answer: (outcome: Outcome | StoreError) => void }

/** The events of the last commit with their JSON, so that watchers who keep up cost no read and no encoding. */
export type Tail = { readonly after: number; readonly events: readonly { event: StoreEvent; json: string }[] }

export type ServerOptions = {
  readonly engine: Engine
  readonly log: Logger
  /** Revisions of history kept; older ones are compacted by the server itself. */
  readonly historyLimit: number
  /** The disk failed in a way that leaves the state unknown: the process must end, and clients ask again. */
  readonly fatal: (error: unknown) => never
}

export class DatastoreServer {
  readonly engine: Engine
  readonly log: Logger
  readonly #options: ServerOptions
  readonly #listener: NetServer
  readonly #connections = new Set<Connection>()
  #waiting: Waiting[] = []
  #scheduled = false
  #sweeping = false
  #closing = false
  #full = false
  #tail: Tail
  /** Request names up to `oldest` are forgotten; `recent` becomes the next `oldest`. */
  #remembered: { oldest: number; recent: number }
  readonly #forget: NodeJS.Timeout

  constructor(options: ServerOptions) {
    this.#options = options
    this.engine = options.engine
    this.log = options.log
    this.#tail = { after: this.engine.revision, events: [] }
    this.#remembered = { oldest: 0, recent: this.engine.revision }
    this.#listener = createServer(socket => this.#accept(socket))
    this.#forget = setInterval(() => {
      this.#remembered = { oldest: this.#remembered.recent, recent: this.engine.revision }
      this.#sweepSoon()
    }, REMEMBER_MS)
  }

  get tail(): Tail {
    return this.#tail
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject)
      // Only the owner may connect: whoever can write here commands the network.
      const umask = process.umask(0o177)
      this.#listener.listen(path, () => {
        this.#listener.off('error', reject)
        this.#sweepSoon()
        resolve()
      })
      process.umask(umask)
    })
  }

  #accept(socket: Socket): void {
    const connection = new Connection(socket, this)
    this.#connections.add(connection)
    socket.on('close', () => this.#connections.delete(connection))
  }

  /** Queues a write for this turn's transaction; answered once it is on the disk. */
  write(write: WriteRequest, answer: Waiting['answer']): void {
    this.#waiting.push({ write, answer })
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#commit())
  }

  #takeBatch(): Waiting[] {
    let bytes = 0
    let n = 0
    while (n < this.#waiting.length && n < BATCH && bytes < BATCH_BYTES) {
      const { write } = this.#waiting[n++]!
      bytes += write.op === 'put' ? write.value.length : 0
    }
    return this.#waiting.splice(0, n)
  }

  #commit(): void {
    this.#scheduled = false
    const batch = this.#takeBatch()
    if (batch.length === 0) return
    const before = this.engine.revision
    try {
      const { outcomes, events } = this.engine.commit(batch.map(({ write }) => write))
      if (events.length > 0) {
        this.#full = false
        this.#tail = { after: before, events: events.map(event => ({ event, json: JSON.stringify(event) })) }
      }
      batch.forEach(({ answer }, i) => {
        answer(outcomes[i]!)
      })
    } catch (error) {
      this.#diskFull(error)
      const refusal = new StoreError('unavailable', 'the datastore has no space left on its disk')
      for (const { answer } of batch) answer(refusal)
    }
    for (const connection of this.#connections) connection.pump()
    const { revision, compacted } = this.engine
    if (revision - compacted > this.#options.historyLimit * 1.01 + 1)
      this.compact(revision - this.#options.historyLimit)
    if (this.#waiting.length > 0 && !this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => this.#commit())
    }
  }

  /** Forgets history up to a revision; the rows go in pieces between other work. False if the disk is full. */
  compact(revision: number): boolean {
    try {
      this.engine.compact(revision)
    } catch (error) {
      this.#diskFull(error)
      return false
    }
    this.#sweepSoon()
    return true
  }

  /** Says once that the disk is full, until it no longer is; any other error of the disk is the end. */
  #diskFull(error: unknown): void {
    if (!isDiskFull(error)) this.#options.fatal(error)
    if (!this.#full) this.log.error({ place: 'datastore/disk', err: error }, 'disk full: writes are refused')
    this.#full = true
  }

  #sweepSoon(): void {
    if (this.#sweeping) return
    this.#sweeping = true
    setImmediate(() => {
      this.#sweeping = false
      if (this.#closing) return
      try {
        if (this.engine.sweep(this.#remembered.oldest)) this.#sweepSoon()
      } catch (error) {
        this.#diskFull(error)
      }
    })
  }

  /** Answers what has been asked, ends all connections, closes the file. */
  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#forget)
    const ended = new Promise<void>(resolve => this.#listener.close(() => resolve()))
    while (this.#waiting.length > 0) this.#commit()
    for (const connection of this.#connections) connection.end()
    await ended
    this.engine.close()
  }
}

/** SQLITE_FULL: the transaction was rolled back and the file is as it was. */
const isDiskFull = (error: unknown): boolean => error instanceof Error && 'errcode' in error && error.errcode === 13
