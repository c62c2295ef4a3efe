// The derived resources, kept up to date: changes of stored resources come in, and changes of the view come out, with pods
// as endpoints, namespaces and service accounts as profiles. Says what `derived` says of the same resources.
// A node's view of a large cluster is mostly pods of other nodes: of those it may keep the endpoints alone.
import { applyChanges, type Change } from '../base/change.ts'
import type { ResourceKey } from './cause.ts'
import { DEFAULT_ALLOW_PROFILE, type DeriveOptions, deriveFrom } from './derive.ts'
import { keyOf, type Resource, type Snapshot } from './resource.ts'

export type ViewOptions = DeriveOptions & {
  /** Pods of other nodes are told by their endpoints alone. Absent: every pod is kept. */
  readonly node?: string
}

export class DerivedView {
  readonly #options: ViewOptions
  readonly #stored = new Map<ResourceKey, Resource>()
  /** What each resource stands for besides itself. */
  readonly #derived = new Map<ResourceKey, Resource>()
  /** The key of what a resource stands for. */
  readonly #target = new Map<ResourceKey, ResourceKey>()
  /** Lists that many endpoints have alike: profiles and ports. As many as there are service accounts and images. */
  readonly #lists = new Map<string, readonly unknown[]>()
  readonly #view = new Map<ResourceKey, Resource>([[keyOf(DEFAULT_ALLOW_PROFILE), DEFAULT_ALLOW_PROFILE]])

  constructor(options: ViewOptions = {}) {
    this.#options = options
  }

  /** The whole view; it changes with every `apply`. */
  get view(): Snapshot {
    return this.#view
  }

  apply(changes: Iterable<Change<ResourceKey, Resource>>): Change<ResourceKey, Resource>[] {
    const touched = new Set<ResourceKey>()
    for (const { key, value } of changes) {
      const before = this.#target.get(key)
      const derived = value && deriveFrom(value, this.#options)
      const after = derived && keyOf(derived)
      const keeps = value && !(derived && this.#isElsewhere(value))
      if (keeps || this.#stored.has(key)) touched.add(key)
      if (keeps) this.#stored.set(key, value)
      else this.#stored.delete(key)
      if (before !== undefined && before !== after) {
        this.#derived.delete(before)
        this.#target.delete(key)
        touched.add(before)
      }
      if (!derived || after === undefined) continue
      this.#derived.set(after, this.#share(derived))
      this.#target.set(key, after)
      touched.add(after)
    }
    const out = [...touched].map(key => ({ key, value: this.#effective(key) }))
    applyChanges(this.#view, out)
    return out
  }

  /** The same, with lists that other endpoints have already. */
  #share(resource: Resource): Resource {
    if (resource.kind !== 'WorkloadEndpoint') return resource
    const { profiles, ports } = resource.spec
    const shared = { ...(profiles && { profiles: this.#same(profiles) }), ...(ports && { ports: this.#same(ports) }) }
    return { ...resource, spec: { ...resource.spec, ...shared } }
  }

  #same<T>(list: readonly T[]): readonly T[] {
    const text = JSON.stringify(list)
    if (!this.#lists.has(text)) this.#lists.set(text, list)
    return this.#lists.get(text) as readonly T[]
  }

  #isElsewhere(resource: Resource): boolean {
    const { node } = this.#options
    return node !== undefined && resource.kind === 'Pod' && resource.spec.nodeName !== node
  }

  #effective(key: ResourceKey): Resource | undefined {
    const stored = this.#stored.get(key)
    const derived = this.#derived.get(key)
    if (stored?.kind === 'WorkloadEndpoint') return stored
    if (key === keyOf(DEFAULT_ALLOW_PROFILE)) return DEFAULT_ALLOW_PROFILE
    return derived ?? stored
  }
}
