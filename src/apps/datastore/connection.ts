// One client's connection: its frames in, its replies out, its watchers. Whoever does not read its replies is no longer
// read either, and its watchers stand still until it does, so that no client costs more memory than its socket's buffer.
import type { Socket } from 'node:net'
import { FrameReader } from '../../io/store/frames.ts'
import {
  keyProblem,
  PROTOCOL_VERSION,
  parseRequest,
  type Reply,
  type Request,
  valueProblem,
  type WireError,
} from '../../io/store/protocol.ts'
import type { Entry, StoreError } from '../../io/store/store.ts'
import type { Outcome } from './engine.ts'
import type { DatastoreServer } from './server.ts'

/** Bytes waiting in the socket beyond which nothing is read from the client or sent to its watchers. */
const HIGH_WATER = 1024 * 1024
/** Text of events or entries in one frame, about. */
const CHUNK = 256 * 1024
/** Revisions of history read for one watcher before others have a turn. */
const STRIDE = 2000
/** A watcher that matches nothing is told the revision this often, so that it can resume after a compaction. */
const PROGRESS = 1000

/** `position`: everything up to here was sent or did not match; `told`: the last revision the client knows of. */
type Watcher = { readonly id: number; readonly prefix: string; position: number; told: number }

export class Connection {
  readonly #socket: Socket
  readonly #server: DatastoreServer
  readonly #reader = new FrameReader()
  readonly #watchers = new Map<number, Watcher>()
  #pumpScheduled = false

  constructor(socket: Socket, server: DatastoreServer) {
    this.#socket = socket
    this.#server = server
    socket.on('data', chunk => this.#receive(chunk as Uint8Array))
    socket.on('drain', () => {
      socket.resume()
      this.pump()
    })
    // A client that vanished; `close` follows and takes the connection away.
    socket.on('error', err => server.log.debug({ place: 'datastore/connection', err }, 'connection broke'))
    this.#send({ hello: PROTOCOL_VERSION, store: server.engine.storeId })
  }

  #send(reply: Reply): void {
    this.#sendText(JSON.stringify(reply))
  }

  #sendText(json: string): void {
    if (!this.#socket.writable) return
    // Everything sent in one turn leaves in one system call.
    this.#socket.cork()
    process.nextTick(() => this.#socket.uncork())
    this.#socket.write(`${json}\n`)
    if (this.#blocked()) this.#socket.pause()
  }

  #blocked(): boolean {
    return this.#socket.writableLength > HIGH_WATER
  }

  end(): void {
    this.#socket.removeAllListeners('data')
    this.#socket.destroySoon()
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) {
        const parsed = parseRequest(frame)
        if (!('request' in parsed)) {
          this.#refuse(parsed.id, parsed.problem)
          return
        }
        this.#handle(parsed.request)
      }
    } catch (error) {
      if (!(error instanceof Error && error.name === 'FrameError')) throw error
      this.#refuse(0, error.message)
    }
  }

  /** A client that does not speak the protocol: one answer, and the end. */
  #refuse(id: number, message: string): void {
    this.#server.log.warn({ place: 'datastore/connection', message }, 'malformed frame, connection closed')
    this.#fail(id, { code: 'invalid', message })
    this.end()
  }

  #fail(id: number, error: WireError): void {
    this.#send({ id, error })
  }

  #handle(request: Request): void {
    const { engine } = this.#server
    switch (request.op) {
      case 'get': {
        const entry = engine.get(request.key)
        this.#send({ id: request.id, done: entry ? { entry } : {} })
        return
      }
      case 'list':
        this.#list(request.id, request.prefix)
        return
      case 'put':
      case 'delete': {
        const problem = keyProblem(request.key) ?? (request.op === 'put' ? valueProblem(request.value) : undefined)
        if (problem) {
          this.#fail(request.id, { code: 'invalid', message: problem, key: request.key })
          return
        }
        this.#server.write(request, outcome => this.#answer(request.id, request.key, outcome))
        return
      }
      case 'watch':
        this.#watchers.set(request.id, {
          id: request.id,
          prefix: request.prefix,
          position: request.after,
          told: request.after,
        })
        this.pump()
        return
      case 'unwatch': {
        this.#watchers.delete(request.watch)
        this.#send({ id: request.id, done: {} })
        return
      }
      case 'compact': {
        const { revision } = request
        if (revision > engine.revision) {
          const message = `revision ${revision} is in the future; the present one is ${engine.revision}`
          this.#fail(request.id, { code: 'invalid', message })
          return
        }
        if (this.#server.compact(revision)) this.#send({ id: request.id, done: { revision: engine.compacted } })
        else this.#fail(request.id, { code: 'unavailable', message: 'the datastore has no space left on its disk' })
        return
      }
    }
  }

  #answer(id: number, key: string, outcome: Outcome | StoreError): void {
    if (outcome instanceof Error) {
      this.#fail(id, { code: outcome.code, message: outcome.message, key })
      return
    }
    switch (outcome.kind) {
      case 'put':
        this.#send({ id, done: { entry: outcome.entry } })
        return
      case 'delete':
        this.#send({ id, done: { existed: outcome.existed } })
        return
      case 'conflict': {
        const { currentRevision } = outcome
        const message = currentRevision === 0 ? `${key} does not exist` : `${key} is at revision ${currentRevision}`
        this.#fail(id, { code: 'conflict', message, key, currentRevision })
        return
      }
    }
  }

  /** All of one revision, because nothing is committed between the first entry and the last. */
  #list(id: number, prefix: string): void {
    let entries: Entry[] = []
    let size = 0
    for (const entry of this.#server.engine.list(prefix)) {
      entries.push(entry)
      size += entry.value.length + entry.key.length
      if (size < CHUNK) continue
      this.#send({ id, entries })
      entries = []
      size = 0
    }
    if (entries.length > 0) this.#send({ id, entries })
    this.#send({ id, done: { revision: this.#server.engine.revision } })
  }

  /** Brings every watcher nearer to the present, as far as the socket takes it. */
  pump(): void {
    let behind = false
    for (const watcher of this.#watchers.values()) {
      if (this.#blocked()) return
      if (this.#advance(watcher)) behind = true
    }
    if (!behind || this.#pumpScheduled) return
    this.#pumpScheduled = true
    setImmediate(() => {
      this.#pumpScheduled = false
      if (this.#socket.writable) this.pump()
    })
  }

  /** Sends one piece to a watcher; true if it is still behind. */
  #advance(watcher: Watcher): boolean {
    const { engine, tail } = this.#server
    const { position, prefix } = watcher
    if (position === engine.revision) return false
    if (position < engine.compacted || position > engine.revision) {
      this.#watchers.delete(watcher.id)
      const message =
        position < engine.compacted
          ? `history after revision ${position} has been compacted up to ${engine.compacted}`
          : `revision ${position} is in the future: this is not the datastore it came from`
      this.#fail(watcher.id, { code: 'compacted', message })
      return false
    }
    const upTo = Math.min(position + STRIDE, engine.revision)
    const found: string[] = []
    let size = 0
    watcher.position = upTo
    const source = position >= tail.after ? tail.events : encode(engine.history(position, upTo))
    for (const { event, json } of source) {
      const revision = event.kind === 'put' ? event.entry.modRevision : event.revision
      if (revision <= position || revision > upTo) continue
      if (!(event.kind === 'put' ? event.entry.key : event.key).startsWith(prefix)) continue
      found.push(json)
      size += json.length
      if (size < CHUNK) continue
      watcher.position = revision
      break
    }
    if (found.length > 0 || watcher.position - watcher.told >= PROGRESS) {
      watcher.told = watcher.position
      this.#sendText(`{"id":${watcher.id},"events":[${found.join(',')}],"revision":${watcher.position}}`)
    }
    return watcher.position < engine.revision
  }
}

function* encode(events: Iterable<Parameters<typeof JSON.stringify>[0]>) {
  for (const event of events) yield { event, json: JSON.stringify(event) }
}
