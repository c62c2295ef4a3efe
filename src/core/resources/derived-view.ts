// The derived resources, kept up to date: changes of stored resources come in, and changes of the view come out, with pods
// as endpoints, namespaces and service accounts as profiles. Says what `derived` says of the same resources.
import { applyChanges, type Change } from '../base/change.ts'
import type { ResourceKey } from './cause.ts'
import { DEFAULT_ALLOW_PROFILE, type DeriveOptions, deriveFrom } from './derive.ts'
import { keyOf, type Resource, type Snapshot } from './resource.ts'

export class DerivedView {
  readonly #options: DeriveOptions
  readonly #stored = new Map<ResourceKey, Resource>()
  /** What each resource stands for besides itself. */
  readonly #derived = new Map<ResourceKey, Resource>()
  /** The key of what a resource stands for. */
  readonly #target = new Map<ResourceKey, ResourceKey>()
  readonly #view = new Map<ResourceKey, Resource>([[keyOf(DEFAULT_ALLOW_PROFILE), DEFAULT_ALLOW_PROFILE]])

  constructor(options: DeriveOptions = {}) {
    this.#options = options
  }

  /** The whole view; it changes with every `apply`. */
  get view(): Snapshot {
    return this.#view
  }

  /** What was given, without what it stands for. */
  get stored(): Snapshot {
    return this.#stored
  }

  apply(changes: Iterable<Change<ResourceKey, Resource>>): Change<ResourceKey, Resource>[] {
    const touched = new Set<ResourceKey>()
    for (const { key, value } of changes) {
      touched.add(key)
      if (value) this.#stored.set(key, value)
      else this.#stored.delete(key)
      const before = this.#target.get(key)
      const derived = value && deriveFrom(value, this.#options)
      const after = derived && keyOf(derived)
      if (before !== undefined && before !== after) {
        this.#derived.delete(before)
        this.#target.delete(key)
        touched.add(before)
      }
      if (!derived || after === undefined) continue
      this.#derived.set(after, derived)
      this.#target.set(key, after)
      touched.add(after)
    }
    const out = [...touched].map(key => ({ key, value: this.#effective(key) }))
    applyChanges(this.#view, out)
    return out
  }

  #effective(key: ResourceKey): Resource | undefined {
    const stored = this.#stored.get(key)
    const derived = this.#derived.get(key)
    if (stored?.kind === 'WorkloadEndpoint') return stored
    if (key === keyOf(DEFAULT_ALLOW_PROFILE)) return DEFAULT_ALLOW_PROFILE
    return derived ?? stored
  }
}
