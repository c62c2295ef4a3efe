// Everything that selectors can select, found by label: endpoints and network sets, with what their profiles lend them.
// Labels are looked up, not merged: a cluster has few profiles and very many endpoints. A label is indexed when the first
// selector asks for it.
import type { Addr } from '../net/addr.ts'
import type { Prefix } from '../net/prefix.ts'
import type { ResourceKey } from '../resources/cause.ts'
import type { NamedPort } from '../resources/resource.ts'
import type { Labels } from '../selector/match.ts'
import type { Selector } from '../selector/selector.ts'

export type Item = {
  readonly key: ResourceKey
  /** Own labels; for a network set its namespace's label is among them. */
  readonly own: Labels
  /** Profiles whose labels it inherits, in order; the first to define a label wins. */
  readonly profiles: readonly string[]
  readonly addresses: readonly Addr[]
  readonly prefixes: readonly Prefix[]
  readonly ports: readonly NamedPort[]
}

/** What any item matching a selector must have: one of the label's values; without `values`: any value. */
export type Need = { readonly label: string; readonly values: readonly string[] | undefined }

/** The needs of a selector, as far as they are easy to see; each is necessary, none need be sufficient. */
export function needsOf(selector: Selector): Need[] {
  switch (selector.op) {
    case '==':
      return [{ label: selector.label, values: [selector.value] }]
    case 'in':
      return [{ label: selector.label, values: selector.values }]
    case 'has':
    case 'contains':
    case 'starts with':
    case 'ends with':
      return [{ label: selector.label, values: undefined }]
    case 'and':
      return selector.operands.flatMap(needsOf)
    default:
      return []
  }
}

export class ItemIndex {
  readonly #items = new Map<ResourceKey, Item>()
  readonly #profileLabels = new Map<string, Labels>()
  readonly #byProfile = new Map<string, Set<Item>>()
  /** label → value → items that have it as an own label. */
  readonly #byLabel = new Map<string, Map<string, Set<Item>>>()

  get(key: ResourceKey): Item | undefined {
    return this.#items.get(key)
  }

  all(): Iterable<Item> {
    return this.#items.values()
  }

  withProfile(profile: string): Iterable<Item> {
    return this.#byProfile.get(profile) ?? []
  }

  /** An item's labels, own and inherited. */
  labels(item: Item): (label: string) => string | undefined {
    return label => {
      if (Object.hasOwn(item.own, label)) return item.own[label]
      for (const name of item.profiles) {
        const lent = this.#profileLabels.get(name)
        if (lent && Object.hasOwn(lent, label)) return lent[label]
      }
      return undefined
    }
  }

  profileLabels(profile: string): Labels | undefined {
    return this.#profileLabels.get(profile)
  }

  setProfileLabels(profile: string, labels: Labels | undefined): void {
    if (labels) this.#profileLabels.set(profile, labels)
    else this.#profileLabels.delete(profile)
  }

  put(item: Item): void {
    this.remove(item.key)
    this.#items.set(item.key, item)
    for (const name of item.profiles) addTo(this.#byProfile, name, item)
    for (const [label, values] of this.#byLabel) {
      if (Object.hasOwn(item.own, label)) addTo(values, item.own[label]!, item)
    }
  }

  remove(key: ResourceKey): void {
    const item = this.#items.get(key)
    if (!item) return
    this.#items.delete(key)
    for (const name of item.profiles) removeFrom(this.#byProfile, name, item)
    for (const [label, values] of this.#byLabel) {
      if (Object.hasOwn(item.own, label)) removeFrom(values, item.own[label]!, item)
    }
  }

  /** Every item that could match, and perhaps more: those that satisfy the need which the fewest satisfy. */
  candidates(selector: Selector): Iterable<Item> {
    let best: { readonly count: number; readonly sets: readonly ReadonlySet<Item>[] } | undefined
    for (const need of needsOf(selector)) {
      const sets = this.#satisfying(need)
      const count = sets.reduce((sum, set) => sum + set.size, 0)
      if (!best || count < best.count) best = { count, sets }
    }
    if (!best) return this.#items.values()
    if (best.sets.length === 1) return best.sets[0]!
    return new Set(best.sets.flatMap(set => [...set]))
  }

  #satisfying({ label, values }: Need): ReadonlySet<Item>[] {
    const index = this.#indexOf(label)
    const own = [...(values ?? index.keys())].flatMap(value => index.get(value) ?? [])
    const lent = [...this.#profileLabels].flatMap(([name, labels]) => {
      if (!Object.hasOwn(labels, label) || (values && !values.includes(labels[label]!))) return []
      return this.#byProfile.get(name) ?? []
    })
    return [...own, ...lent]
  }

  #indexOf(label: string): Map<string, Set<Item>> {
    const known = this.#byLabel.get(label)
    if (known) return known
    const index = new Map<string, Set<Item>>()
    for (const item of this.#items.values()) {
      if (Object.hasOwn(item.own, label)) addTo(index, item.own[label]!, item)
    }
    this.#byLabel.set(label, index)
    return index
  }
}

export function addTo<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key)
  if (set) set.add(value)
  else map.set(key, new Set([value]))
}

export function removeFrom<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key)
  if (!set?.delete(value)) return
  if (set.size === 0) map.delete(key)
}
