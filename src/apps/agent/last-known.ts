// The last known state: what the node enforces is kept in a file, and a node that starts while the datastore cannot be
// reached enforces what the file says, until the datastore answers. The change from the one to the other is a difference
// like any other, so that nothing is torn down meanwhile.
import { isDeepStrictEqual } from 'node:util'
import { difference } from '../../core/base/change.ts'
import { DerivedView } from '../../core/resources/derived-view.ts'
import { find, keyOf, type Snapshot } from '../../core/resources/resource.ts'
import type { Logger } from '../../io/log.ts'
import { readState, writeState } from '../../io/state/state-file.ts'
import type { ViewHandler, ViewUpdate } from './resources.ts'

export type LastKnownOptions = {
  readonly node: string
  readonly file: string
  readonly log: Logger
  readonly now: () => Date
  /** Whether the datastore can be reached at this moment, be it that nothing was read yet. */
  readonly isConnected: () => boolean
  /** Takes what is to be enforced, of the file and of the datastore alike. */
  readonly enforce: ViewHandler
}

/** How long a datastore may take to be reached; and, once it is, to hand over everything. */
const PATIENCE_MS = 2000
const LIST_PATIENCE_MS = 30_000
/** Between two writes; and the part of all time that they may take, for clusters whose state is large. */
const WRITE_EVERY_MS = 1000
const LARGEST_SHARE = 0.05

type Loaded = { readonly view: Snapshot; readonly revision: number; readonly writtenAt: string }

export class LastKnown {
  readonly #options: LastKnownOptions
  #started = 0
  #timer: NodeJS.Timeout | undefined
  #inSync = false
  #loaded: Loaded | undefined
  /** Why there is nothing to enforce. */
  #refused: string | undefined
  /** What is enforced and not in the file yet. */
  #unsaved: ViewUpdate | undefined
  #writing: Promise<void> | undefined
  #writeTimer: NodeJS.Timeout | undefined
  #writeAfter = 0
  #failure: string | undefined
  #stopped = false

  constructor(options: LastKnownOptions) {
    this.#options = options
  }

  /** Waits for the datastore, and loads the file if it does not come. */
  start(): void {
    this.#started = performance.now()
    this.#await()
  }

  /** What the datastore says, as the change of what is in force. */
  live(update: ViewUpdate): void {
    const { log, enforce } = this.#options
    clearTimeout(this.#timer)
    this.#inSync = true
    this.#refused = undefined
    const loaded = this.#loaded
    this.#loaded = undefined
    if (loaded === undefined) enforce(update)
    else {
      const changes = difference(loaded.view, update.view, isDeepStrictEqual)
      log.info({ changes: changes.length, from: loaded.revision, to: update.revision }, 'the datastore is back')
      enforce({ ...update, changes })
    }
    this.#unsaved = update
    this.#write()
  }

  /** One sentence each, for the status. */
  get problems(): string[] {
    const said = [this.#loaded && this.#sentence(this.#loaded), this.#refused, this.#failure]
    return said.filter(text => text !== undefined)
  }

  get status(): { readonly revision: number; readonly writtenAt: string; readonly ageSeconds: number } | null {
    if (this.#loaded === undefined) return null
    const { revision, writtenAt } = this.#loaded
    return { revision, writtenAt, ageSeconds: this.#age(writtenAt) }
  }

  /** Writes what is not written yet. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#writeTimer)
    await this.#writing
    await this.#save()
  }

  #await(): void {
    this.#timer = setTimeout(() => {
      const patience = this.#options.isConnected() ? LIST_PATIENCE_MS : PATIENCE_MS
      if (performance.now() - this.#started < patience) this.#await()
      else void this.#load()
    }, PATIENCE_MS)
  }

  async #load(): Promise<void> {
    const { file, node, log, enforce } = this.#options
    const read = await readState(file, node)
    // The datastore may have answered while the file was read.
    if (this.#inSync || this.#stopped) return
    if (!read.ok) {
      const { path, message } = read.problems[0]!
      this.#refused =
        'the datastore cannot be reached, and there is no last known state to enforce: ' +
        `${path} ${message}. Until the datastore answers pods stay as the kernel's table has them, closed if it had none`
      log.error(this.#refused)
      return
    }
    const { resources, revision, writtenAt } = read.value
    const derived = new DerivedView()
    derived.apply(resources.map(value => ({ key: keyOf(value), value })))
    const { view } = derived
    this.#loaded = { view, revision, writtenAt }
    log.warn({ resources: resources.length }, this.#sentence(this.#loaded))
    enforce({ view, changes: difference(new Map(), view), revision })
  }

  #sentence({ revision, writtenAt }: Loaded): string {
    const age = printAge(this.#age(writtenAt))
    return `enforcing the state of ${writtenAt} (${age}) at revision ${revision}: the datastore cannot be reached`
  }

  /** In seconds; a clock that was set back makes nothing younger than now. */
  #age(writtenAt: string): number {
    return Math.max(0, Math.round((this.#options.now().getTime() - Date.parse(writtenAt)) / 1000))
  }

  /** At once if the last write is long enough ago, else when it is. */
  #write(): void {
    if (this.#writing !== undefined || this.#writeTimer !== undefined || this.#stopped) return
    const wait = this.#writeAfter - performance.now()
    if (wait <= 0) this.#writing = this.#save()
    else
      this.#writeTimer = setTimeout(() => {
        this.#writeTimer = undefined
        this.#write()
      }, wait).unref()
  }

  async #save(): Promise<void> {
    const update = this.#unsaved
    if (update === undefined) return
    this.#unsaved = undefined
    const { file, node, log, now } = this.#options
    const { view, revision } = update
    const clusterGuid = find(view, 'ClusterInformation', { name: 'default' })?.spec.clusterGUID
    const began = performance.now()
    try {
      const about = { node, revision, clusterGuid, writtenAt: now().toISOString() }
      await writeState(file, { ...about, resources: [...view.values()] })
      this.#failure = undefined
    } catch (error) {
      this.#unsaved ??= update
      this.#failure = `the last known state cannot be written to ${file}: ${(error as Error).message}`
      log.error({ err: error }, this.#failure)
    }
    const took = performance.now() - began
    this.#writeAfter = performance.now() + Math.max(WRITE_EVERY_MS, took / LARGEST_SHARE)
    this.#writing = undefined
    if (this.#unsaved !== undefined) this.#write()
  }
}

const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
] as const

/** `3 days old`: the largest unit of which there are at least two, so that little is lost. */
export function printAge(seconds: number): string {
  const [unit, size] = UNITS.find(([, length]) => seconds >= 2 * length) ?? ['second', 1]
  const count = Math.floor(seconds / size)
  return `${count} ${unit}${count === 1 ? '' : 's'} old`
}
