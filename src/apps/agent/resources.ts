// The agent's view of the datastore: all resources as they are now, with pods and namespaces turned into endpoints and
// profiles (pods elsewhere are not kept besides), handed on with what changed. Nothing is handed on before everything was
// listed once.

import type { Change } from '../../core/base/change.ts'
import { joinPath, type Problem } from '../../core/base/problem.ts'
import { printKey, type ResourceKey } from '../../core/resources/cause.ts'
import { DerivedView } from '../../core/resources/derived-view.ts'
import type { Resource, Snapshot } from '../../core/resources/resource.ts'
import { frugalHeap } from '../../io/heap.ts'
import type { Logger } from '../../io/log.ts'
import { watchAll } from '../../io/store/resource-watch.ts'
import type { Store, Watch } from '../../io/store/store.ts'

/** The whole view, what changed in it since the last call, and the datastore's revision that it shows. */
export type ViewUpdate = {
  readonly view: Snapshot
  readonly changes: readonly Change<ResourceKey, Resource>[]
  readonly revision: number
}
export type ViewHandler = (update: ViewUpdate) => void

export class ResourceView {
  readonly #view: DerivedView
  readonly #undecodable = new Map<ResourceKey, readonly Problem[]>()
  readonly #watch: Watch
  readonly #onChange: ViewHandler
  /** Changes of the view that were not handed on yet. */
  #pending: Change<ResourceKey, Resource>[] = []
  #inSync = false
  #revision = 0
  #scheduled = false

  constructor(store: Store, options: { node: string; log: Logger; onChange: ViewHandler }) {
    const { node, log } = options
    this.#view = new DerivedView({ node })
    this.#onChange = options.onChange
    frugalHeap(true)
    this.#watch = watchAll(store, {
      changes: (changes, revision) => {
        for (const change of this.#view.apply(changes)) this.#pending.push(change)
        this.#revision = Math.max(this.#revision, revision)
        this.#changed()
      },
      inSync: () => {
        this.#inSync = true
        frugalHeap(false)
        log.info({ resources: this.#view.view.size }, 'in sync with the datastore')
        this.#changed()
      },
      undecodable: (key, problems) => {
        if (problems.length === 0) this.#undecodable.delete(key)
        else {
          this.#undecodable.set(key, problems)
          log.error({ key, problems }, 'a stored resource is not valid: its last valid version stays in force')
        }
      },
      unknownFields: (key, problems) =>
        log.warn({ key, problems }, 'fields that this version does not know are ignored'),
      unavailable: error => log.warn({ err: error }, 'the datastore does not answer; what is known stays in force'),
    })
  }

  /** Everything as it is known now. */
  get view(): Snapshot {
    return this.#view.view
  }

  get inSync(): boolean {
    return this.#inSync
  }

  get revision(): number {
    return this.#revision
  }

  get problems(): string[] {
    return [...this.#undecodable].map(([key, problems]) => {
      const [first] = problems
      return `${printKey(key)} is not valid: ${joinPath('', first?.path ?? '')}: ${first?.message}`
    })
  }

  close(): void {
    this.#watch.close()
  }

  /** A burst of changes in one turn of the event loop is one call. */
  #changed(): void {
    if (!this.#inSync || this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      const changes = this.#pending
      this.#pending = []
      this.#onChange({ view: this.#view.view, changes, revision: this.#revision })
    })
  }
}
