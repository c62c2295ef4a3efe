// The agent's view of the datastore: all resources as they are now, with pods and namespaces turned into endpoints and
// profiles, handed on whole whenever something changed. Nothing is handed on before everything was listed once.

import { applyChanges } from '../../core/base/change.ts'
import { joinPath, type Problem } from '../../core/base/problem.ts'
import { printKey, type ResourceKey } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import type { Resource, Snapshot } from '../../core/resources/resource.ts'
import type { Logger } from '../../io/log.ts'
import { watchAll } from '../../io/store/resource-watch.ts'
import type { Store, Watch } from '../../io/store/store.ts'

export class ResourceView {
  readonly #resources = new Map<ResourceKey, Resource>()
  readonly #undecodable = new Map<ResourceKey, readonly Problem[]>()
  readonly #watch: Watch
  readonly #onChange: (view: Snapshot, revision: number) => void
  #inSync = false
  #revision = 0
  #scheduled = false

  constructor(store: Store, options: { log: Logger; onChange: (view: Snapshot, revision: number) => void }) {
    const { log } = options
    this.#onChange = options.onChange
    this.#watch = watchAll(store, {
      changes: (changes, revision) => {
        applyChanges(this.#resources, changes)
        this.#revision = Math.max(this.#revision, revision)
        this.#changed()
      },
      inSync: () => {
        this.#inSync = true
        log.info({ resources: this.#resources.size }, 'in sync with the datastore')
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
      this.#onChange(derived(this.#resources), this.#revision)
    })
  }
}
