// A store in this process's memory, with the semantics of the others: for tests of whatever uses a store. Answers and
// events come in later microtasks, never inside the call, as they do from a real server.
import { keyProblem, valueProblem } from './protocol.ts'
import {
  type Condition,
  type Entry,
  type Store,
  StoreError,
  type StoreEvent,
  type Watch,
  type WatchHandlers,
} from './store.ts'

type OpenWatch = { readonly prefix: string; position: number; readonly handlers: WatchHandlers }

const revisionOf = (event: StoreEvent): number => (event.kind === 'put' ? event.entry.modRevision : event.revision)
const keyOf = (event: StoreEvent): string => (event.kind === 'put' ? event.entry.key : event.key)

class MemoryStore implements Store {
  readonly #entries = new Map<string, Entry>()
  readonly #watches = new Set<OpenWatch>()
  #history: StoreEvent[] = []
  #revision = 0
  #compacted = 0
  #closed = false
  #delivering = false

  async get(key: string): Promise<Entry | undefined> {
    this.#checkOpen()
    return this.#entries.get(key)
  }

  async list(prefix: string): Promise<{ entries: readonly Entry[]; revision: number }> {
    this.#checkOpen()
    const entries = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix))
    return {
      entries: entries.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))),
      revision: this.#revision,
    }
  }

  async put(key: string, value: string, condition: Condition = {}): Promise<Entry> {
    this.#check(key, condition, keyProblem(key) ?? valueProblem(value))
    const modRevision = ++this.#revision
    const entry = { key, value, modRevision, createRevision: this.#entries.get(key)?.createRevision ?? modRevision }
    this.#entries.set(key, entry)
    this.#record({ kind: 'put', entry })
    return entry
  }

  async delete(key: string, condition: Condition = {}): Promise<boolean> {
    this.#check(key, condition, keyProblem(key))
    if (!this.#entries.delete(key)) return false
    this.#record({ kind: 'delete', key, revision: ++this.#revision })
    return true
  }

  watch(prefix: string, afterRevision: number, handlers: WatchHandlers): Watch {
    this.#checkOpen()
    const watch = { prefix, position: afterRevision, handlers }
    this.#watches.add(watch)
    this.#deliverSoon()
    return { close: () => void this.#watches.delete(watch) }
  }

  async compact(revision: number): Promise<void> {
    this.#checkOpen()
    if (revision > this.#revision) throw new StoreError('invalid', `revision ${revision} is in the future`)
    if (revision <= this.#compacted) return
    this.#compacted = revision
    this.#history = this.#history.filter(event => revisionOf(event) > revision)
  }

  close(): void {
    this.#closed = true
    const watches = [...this.#watches]
    this.#watches.clear()
    for (const { handlers } of watches) handlers.closed(undefined)
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
  }

  #check(key: string, { ifRevision }: Condition, problem: string | undefined): void {
    this.#checkOpen()
    if (problem !== undefined) throw new StoreError('invalid', problem, { key })
    const currentRevision = this.#entries.get(key)?.modRevision ?? 0
    if (ifRevision === undefined || ifRevision === currentRevision) return
    const message = currentRevision === 0 ? `${key} does not exist` : `${key} is at revision ${currentRevision}`
    throw new StoreError('conflict', message, { key, currentRevision })
  }

  #record(event: StoreEvent): void {
    this.#history.push(event)
    this.#deliverSoon()
  }

  #deliverSoon(): void {
    if (this.#delivering) return
    this.#delivering = true
    queueMicrotask(() => {
      this.#delivering = false
      for (const watch of [...this.#watches]) this.#deliver(watch)
    })
  }

  #deliver(watch: OpenWatch): void {
    const { prefix, position, handlers } = watch
    if (!this.#watches.has(watch) || position === this.#revision) return
    if (position < this.#compacted || position > this.#revision) {
      this.#watches.delete(watch)
      handlers.closed(new StoreError('compacted', `no history after revision ${position}`))
      return
    }
    watch.position = this.#revision
    // History has every revision after the compacted one, so the wanted ones are its end.
    const events = this.#history.slice(position - this.#revision).filter(event => keyOf(event).startsWith(prefix))
    if (events.length > 0) handlers.events(events, this.#revision)
  }
}

export const openMemory = (): Store => new MemoryStore()
