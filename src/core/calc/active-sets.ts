// The address sets that are in use, kept up to date: each knows its members, and every change of a member is noted for
// whoever follows (the classifier). Users of a set are counted; a set without users is gone.
import type { Addr } from '../net/addr.ts'
import { type Prefix, prefixContains } from '../net/prefix.ts'
import type { ResourceKey } from '../resources/cause.ts'
import { NAMESPACE_LABEL } from '../resources/kinds/network-set.ts'
import { type Labels, matches } from '../selector/match.ts'
import { printSelector, type Selector, selectorId } from '../selector/selector.ts'
import type { PortTerm, SetId } from './intent.ts'
import { addTo, type Item, type ItemIndex, type Need, needsOf, removeFrom } from './items.ts'
import { SliceIndex, type SliceMembers, serviceSetId, serviceTitle } from './services.ts'
import { netsId, netsTitle, pairTerm, portScope, portsNamed, split } from './sets.ts'

/** A member may be in a set through several items: it is counted. */
type Counted<T> = Map<T, number>

export type ActiveSet = {
  readonly id: SetId
  readonly title: string
  readonly addresses: Counted<Addr>
  readonly prefixes: Counted<Prefix>
  users: number
}

/** A set that follows items. `contribution` is what one item puts into it. */
type Following = {
  readonly set: ActiveSet
  readonly selector: Selector | undefined
  readonly port: { readonly protocol: number; readonly port: number; readonly name: string } | undefined
}

/** A port name in use: which (protocol, number) pairs it stands for, for the endpoints that the selector selects. */
type NamedPort = {
  readonly name: string
  readonly selector: Selector | undefined
  users: number
  /** `protocol/port` → the number of items that have it. */
  readonly pairs: Map<string, number>
}

export type MemberChange = {
  readonly addresses: Map<Addr, boolean>
  prefixes: boolean
}

export class ActiveSets {
  readonly #items: ItemIndex
  readonly #sets = new Map<SetId, ActiveSet>()
  /** Sets by a label and value (or any) that a member must have; those without such a need are asked for every item. */
  readonly #byNeed = new Map<string, Set<Following>>()
  readonly #always = new Set<Following>()
  readonly #following = new Map<SetId, Following>()
  readonly #named = new Map<string, NamedPort>()
  /** What each item put in, so that it can be taken out although its labels changed: item → sets. */
  readonly #memberships = new WeakMap<Item, Set<Following>>()
  readonly #namedOf = new WeakMap<Item, Set<NamedPort>>()
  readonly #ids = new WeakMap<Selector, SetId>()
  readonly #slices = new SliceIndex()
  /** Services whose ports are in use, by scope: how many use them. */
  readonly #served = new Map<string, number>()
  /** Since they were taken last. */
  #changed = new Map<SetId, MemberChange>()
  #namedChanged = new Set<string>()

  constructor(items: ItemIndex) {
    this.#items = items
  }

  get(id: SetId): ActiveSet | undefined {
    return this.#sets.get(id)
  }

  /** The changes of members since the last call. A set that is gone has lost them all. */
  takeMembers(): ReadonlyMap<SetId, MemberChange> {
    const taken = this.#changed
    this.#changed = new Map()
    return taken
  }

  /** The port names that stand for other numbers than at the last call. */
  takeNames(): ReadonlySet<string> {
    const taken = this.#namedChanged
    this.#namedChanged = new Set()
    return taken
  }

  acquireSelector(selector: Selector): SetId {
    const id = this.#idOf(selector)
    const known = this.#sets.get(id)
    if (known) return this.#use(known)
    const set = this.#create(id, printSelector(selector))
    this.#follow({ set, selector, port: undefined })
    return this.#use(set)
  }

  acquireNets(nets: readonly Prefix[]): SetId {
    const title = netsTitle(nets)
    const id = netsId(title)
    const known = this.#sets.get(id)
    if (known) return this.#use(known)
    const set = this.#create(id, title)
    const parts = split(nets)
    for (const a of parts.addresses) this.#count(set, a, 1)
    for (const p of parts.prefixes) this.#countPrefix(set, p, 1)
    return this.#use(set)
  }

  /** The scope that `releasePorts` takes, and the terms as they are now. */
  acquirePortName(
    name: string,
    selector: Selector | undefined,
  ): { readonly scope: string; readonly terms: PortTerm[] } {
    const scope = portScope(name, selector)
    let named = this.#named.get(scope)
    if (!named) {
      named = { name, selector, users: 0, pairs: new Map() }
      this.#named.set(scope, named)
      for (const item of selector ? this.#items.candidates(selector) : this.#items.all())
        this.#addNamed(named, scope, item)
    }
    named.users++
    const terms = [...named.pairs.keys()].sort().map((pair): PortTerm => {
      const [protocol, port] = pair.split('/').map(Number) as [number, number]
      const id = `p:${scope}:${pair}` as SetId
      const set = this.#sets.get(id) ?? this.#create(id, `port ${name} = ${pair}`)
      if (!this.#following.has(id)) this.#follow({ set, selector, port: { protocol, port, name } })
      return pairTerm(pair, this.#use(set))
    })
    return { scope, terms }
  }

  /** The endpoints of a service; with a pair those that serve on it. */
  acquireService(service: string, pair?: string): SetId {
    const id = serviceSetId(service, pair)
    const known = this.#sets.get(id)
    if (known) return this.#use(known)
    const set = this.#create(id, serviceTitle(service, pair))
    for (const addr of this.#slices.addresses(service, pair)) this.#count(set, addr, 1)
    return this.#use(set)
  }

  /** As `acquirePortName`: the scope is released, and told when the service serves on other ports. */
  acquireServicePorts(service: string): { readonly scope: string; readonly terms: PortTerm[] } {
    const scope = serviceSetId(service)
    this.#served.set(scope, (this.#served.get(scope) ?? 0) + 1)
    const terms = this.#slices.pairs(service).map(pair => pairTerm(pair, this.acquireService(service, pair)))
    return { scope, terms }
  }

  /** A slice is new, changed or gone. */
  setSlice(key: ResourceKey, slice: SliceMembers | undefined): void {
    const services = new Set([this.#slices.get(key)?.service, slice?.service].filter(s => s !== undefined))
    const served = [...services].filter(service => this.#served.has(serviceSetId(service)))
    const before = served.map(service => this.#slices.pairs(service).join())
    const old = this.#slices.set(key, slice)
    // What stays is not taken out in between.
    this.#countSlice(slice, 1)
    this.#countSlice(old, -1)
    for (const [i, service] of served.entries()) {
      if (this.#slices.pairs(service).join() !== before[i]) this.#namedChanged.add(serviceSetId(service))
    }
  }

  #countSlice(slice: SliceMembers | undefined, by: 1 | -1): void {
    if (!slice) return
    for (const pair of [undefined, ...slice.pairs]) {
      const set = this.#sets.get(serviceSetId(slice.service, pair))
      if (set) for (const addr of slice.addresses) this.#count(set, addr, by)
    }
  }

  release(id: SetId): void {
    const set = this.#sets.get(id)!
    if (--set.users > 0) return
    const change = this.#touch(id)
    for (const addr of set.addresses.keys()) change.addresses.set(addr, false)
    if (set.prefixes.size > 0) change.prefixes = true
    this.#sets.delete(id)
    const following = this.#following.get(id)
    if (!following) return
    this.#following.delete(id)
    this.#always.delete(following)
    for (const key of needKeys(following.selector)) removeFrom(this.#byNeed, key, following)
  }

  /** Gives back the scope of a port name or of a service's ports. */
  releasePorts(scope: string): void {
    const served = this.#served.get(scope)
    if (served !== undefined) {
      if (served === 1) this.#served.delete(scope)
      else this.#served.set(scope, served - 1)
      return
    }
    const named = this.#named.get(scope)!
    if (--named.users === 0) this.#named.delete(scope)
  }

  selects(id: SetId, addr: Addr): boolean {
    const set = this.#sets.get(id)!
    if (set.addresses.has(addr)) return true
    for (const prefix of set.prefixes.keys()) if (prefixContains(prefix, addr)) return true
    return false
  }

  /** After an item was put into the index, or (`present: false`) before it is taken out. */
  itemChanged(item: Item, present: boolean): void {
    if (!present) {
      for (const following of this.#memberships.get(item) ?? []) {
        if (this.#following.get(following.set.id) === following) this.#contribute(following, item, -1)
      }
      this.#memberships.delete(item)
      for (const named of this.#namedOf.get(item) ?? []) this.#countNamed(named, item, -1)
      this.#namedOf.delete(item)
      return
    }
    for (const following of this.#candidates(item)) this.#join(following, item)
    if (item.ports.length > 0) for (const [scope, named] of this.#named) this.#addNamed(named, scope, item)
  }

  #candidates(item: Item): Set<Following> {
    const found = new Set(this.#always)
    const see = (labels: Labels): void => {
      for (const [label, value] of Object.entries(labels)) {
        for (const following of this.#byNeed.get(needKey(label, value)) ?? []) found.add(following)
        for (const following of this.#byNeed.get(needKey(label, undefined)) ?? []) found.add(following)
      }
    }
    see(item.own)
    for (const name of item.profiles) see(this.#items.profileLabels(name) ?? {})
    return found
  }

  /** Hashing costs more than all else here, and a policy's selectors are asked again and again. */
  #idOf(selector: Selector): SetId {
    const known = this.#ids.get(selector)
    if (known) return known
    const id = selectorId(selector) as SetId
    this.#ids.set(selector, id)
    return id
  }

  #create(id: SetId, title: string): ActiveSet {
    const set: ActiveSet = { id, title, addresses: new Map(), prefixes: new Map(), users: 0 }
    this.#sets.set(id, set)
    return set
  }

  #use(set: ActiveSet): SetId {
    set.users++
    return set.id
  }

  #follow(following: Following): void {
    const { set, selector } = following
    this.#following.set(set.id, following)
    const keys = needKeys(selector)
    for (const key of keys) addTo(this.#byNeed, key, following)
    if (keys.length === 0) this.#always.add(following)
    for (const item of selector ? this.#items.candidates(selector) : this.#items.all()) this.#join(following, item)
  }

  #join(following: Following, item: Item): void {
    const { selector, port } = following
    if (selector && !matches(selector, this.#items.labels(item))) return
    if (port && !hasPort(item, port)) return
    const memberships = this.#memberships.get(item)
    if (memberships) memberships.add(following)
    else this.#memberships.set(item, new Set([following]))
    this.#contribute(following, item, 1)
  }

  #contribute({ set, port }: Following, item: Item, by: 1 | -1): void {
    for (const addr of item.addresses) this.#count(set, addr, by)
    if (port || item.prefixes.length === 0) return
    const parts = split(item.prefixes)
    for (const addr of parts.addresses) this.#count(set, addr, by)
    for (const prefix of parts.prefixes) this.#countPrefix(set, prefix, by)
  }

  #count(set: ActiveSet, addr: Addr, by: 1 | -1): void {
    const before = set.addresses.get(addr) ?? 0
    if (before + by === 0) set.addresses.delete(addr)
    else set.addresses.set(addr, before + by)
    if (before === 0 || before + by === 0) this.#touch(set.id).addresses.set(addr, by === 1)
  }

  #countPrefix(set: ActiveSet, prefix: Prefix, by: 1 | -1): void {
    const before = set.prefixes.get(prefix) ?? 0
    if (before + by === 0) set.prefixes.delete(prefix)
    else set.prefixes.set(prefix, before + by)
    if (before === 0 || before + by === 0) this.#touch(set.id).prefixes = true
  }

  #addNamed(named: NamedPort, scope: string, item: Item): void {
    if (this.#named.get(scope) !== named || !item.ports.some(p => p.name === named.name)) return
    if (named.selector && !matches(named.selector, this.#items.labels(item))) return
    const list = this.#namedOf.get(item)
    if (list) list.add(named)
    else this.#namedOf.set(item, new Set([named]))
    this.#countNamed(named, item, 1)
  }

  #countNamed(named: NamedPort, item: Item, by: 1 | -1): void {
    for (const pair of pairsOf(item, named.name)) {
      const before = named.pairs.get(pair) ?? 0
      if (before + by === 0) named.pairs.delete(pair)
      else named.pairs.set(pair, before + by)
      if (before === 0 || before + by === 0) this.#namedChanged.add(portScope(named.name, named.selector))
    }
  }

  #touch(id: SetId): MemberChange {
    let change = this.#changed.get(id)
    if (!change) {
      change = { addresses: new Map(), prefixes: false }
      this.#changed.set(id, change)
    }
    return change
  }
}

const needKey = (label: string, value: string | undefined): string =>
  value === undefined ? label : `${label}\0${value}`

/** Where a selector is found by an item's labels: one need is enough, and a namespace says the least. */
function needKeys(selector: Selector | undefined): string[] {
  if (!selector) return []
  const weight = ({ label, values }: Need): number => (label === NAMESPACE_LABEL ? 1000 : 0) + (values?.length ?? 500)
  const [need] = needsOf(selector).sort((a, b) => weight(a) - weight(b))
  if (!need) return []
  return need.values ? need.values.map(value => needKey(need.label, value)) : [needKey(need.label, undefined)]
}

const pairsOf = (item: Item, name: string): Set<string> =>
  new Set(portsNamed(item.ports, name).map(({ protocol, port }) => `${protocol}/${port}`))

const hasPort = (item: Item, want: { protocol: number; port: number; name: string }): boolean =>
  portsNamed(item.ports, want.name).some(p => p.protocol === want.protocol && p.port === want.port)
