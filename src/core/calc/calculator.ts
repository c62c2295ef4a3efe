// The calculation, kept up to date: changes of resources come in, and what changed in this node's intent comes out. It says
// what `computeIntent` says of the same resources (a test compares the two over random histories), at a cost that follows
// the change: an endpoint elsewhere touches the sets it is in, a policy the endpoints here that it governs.
import type { Change } from '../base/change.ts'
import { FAMILIES, type Family, parseAddr } from '../net/addr.ts'
import { parsePrefix, prefixBase } from '../net/prefix.ts'
import type { Policy, Profile, Tier } from '../policy/model.ts'
import { compareTiers, policyOf, profileOf, STRAY_TIER, tie, tierOf } from '../policy/policies.ts'
import { type Direction, DIRECTIONS, printKey, type ResourceKey, splitKey } from '../resources/cause.ts'
import { NAMESPACE_LABEL } from '../resources/kinds/network-set.ts'
import type { NetworkPolicy, GlobalNetworkPolicy, Resource, WorkloadEndpoint } from '../resources/resource.ts'
import { lookup, matches } from '../selector/match.ts'
import { type Selector, selectorLabels } from '../selector/selector.ts'
import { ActiveSets, type MemberChange } from './active-sets.ts'
import { Blocks, type RuleList, ruleList } from './blocks.ts'
import { Groups, type LiveGroup, type LiveSource } from './groups.ts'
import type { NodeSettings, SetId } from './intent.ts'
import { type Item, ItemIndex } from './items.ts'
import { nodeFacts, type NodeFacts } from './node-facts.ts'

type Active = {
  readonly policy: Policy
  readonly lists: Readonly<Record<Direction, RuleList>>
}

/** An endpoint of this node. */
export type LiveEndpoint = {
  readonly key: ResourceKey
  readonly name: string
  readonly interfaceName: string
  readonly item: Item
  readonly groups: Record<Direction, LiveGroup>
}

/** What changed since the last `apply`; the state itself is read from the calculator. */
export type IntentDelta = {
  readonly endpoints: ReadonlySet<ResourceKey>
  readonly groups: ReadonlySet<LiveGroup>
  readonly members: ReadonlyMap<SetId, MemberChange>
  readonly facts: boolean
}

const KINDS_OF_FACTS = new Set(['IPPool', 'FelixConfiguration'])

export class Calculator {
  readonly node: string
  readonly endpoints = new Map<ResourceKey, LiveEndpoint>()
  readonly items = new ItemIndex()
  readonly sets = new ActiveSets(this.items)
  readonly #blocks: Blocks
  readonly #groups: Groups
  readonly #policies = new Map<ResourceKey, Active>()
  readonly #profiles = new Map<string, { profile: Profile; lists: Record<Direction, RuleList> }>()
  readonly #tiers = new Map<string, Tier>()
  readonly #problems = new Map<ResourceKey, string>()
  readonly #factResources = new Map<ResourceKey, Resource>()
  #facts: NodeFacts
  /** Endpoints here, and those of them whose guards must be found anew. */
  readonly #local = new Map<ResourceKey, WorkloadEndpoint>()
  #dirty = new Set<ResourceKey>()
  #edited = new Set<RuleList>()

  constructor(node: string) {
    this.node = node
    this.#blocks = new Blocks(this.sets, (selector, addr) => this.#ownSelects(selector, addr))
    this.#groups = new Groups(this.#blocks)
    this.#facts = nodeFacts(new Map(), node)
  }

  get settings(): NodeSettings {
    return this.#facts.settings
  }
  get facts(): NodeFacts {
    return this.#facts
  }
  get problems(): readonly string[] {
    return [...this.#problems.values()]
  }
  get groups(): Iterable<LiveGroup> {
    return this.#groups.all()
  }

  /** Brings the intent up to date; the changes are of the derived resources. */
  apply(changes: Iterable<Change<ResourceKey, Resource>>): IntentDelta {
    let facts = false
    const before = new Set(this.endpoints.keys())
    for (const { key, value } of changes) {
      const { kind, namespace, name } = splitKey(key)
      if (kind === 'WorkloadEndpoint') this.#setEndpoint(key, value as WorkloadEndpoint | undefined)
      else if (kind === 'NetworkSet' || kind === 'GlobalNetworkSet') this.#setNetworkSet(key, namespace, value)
      else if (kind === 'Profile') this.#setProfile(key, name, value)
      else if (kind === 'Tier') this.#setTier(name, value)
      else if (kind === 'NetworkPolicy' || kind === 'GlobalNetworkPolicy') this.#setPolicy(key, value)
      else if (KINDS_OF_FACTS.has(kind)) {
        if (value) this.#factResources.set(key, value)
        else this.#factResources.delete(key)
        facts = true
      }
    }
    if (facts) this.#facts = nodeFacts(this.#factResources as ReadonlyMap<ResourceKey, Resource>, this.node)
    const moved = this.#settle()
    const endpoints = new Set([...moved, ...[...before].filter(key => !this.endpoints.has(key))])
    const { members } = this.sets.take()
    return { endpoints, groups: this.#groups.takeChanged(), members, facts }
  }

  /** Guards of touched endpoints, then rules of touched groups, until nothing moves: port names may still change. */
  #settle(): Set<ResourceKey> {
    const moved = new Set<ResourceKey>()
    for (const scope of this.#namesChanged()) for (const list of this.#blocks.forgetScope(scope)) this.#edited.add(list)
    this.#touchOwnSensitive()
    const dirty = this.#dirty
    this.#dirty = new Set()
    for (const key of dirty) {
      this.#guard(key)
      moved.add(key)
    }
    const edited = this.#edited
    this.#edited = new Set()
    this.#groups.refresh(edited)
    return moved
  }

  #namesChanged(): ReadonlySet<string> {
    return this.sets.takeNames()
  }

  /** Own sides depend on which sets hold an own address: simply asked again, for the few policies that have one. */
  #touchOwnSensitive(): void {
    const lists = this.#groups.ownSensitive()
    if (lists.size === 0) return
    for (const [key, endpoint] of this.endpoints) {
      if (DIRECTIONS.some(d => endpoint.groups[d].sources.some(s => s.lists.some(l => lists.has(l))))) this.#dirty.add(key)
    }
  }

  #setEndpoint(key: ResourceKey, value: WorkloadEndpoint | undefined): void {
    const addresses = (value?.spec.ipNetworks ?? []).flatMap(net => {
      const prefix = parsePrefix(net)
      return prefix ? [parseAddr(prefixBase(prefix))!] : []
    })
    this.#setItem(
      key,
      value && {
        key,
        own: value.metadata.labels ?? {},
        profiles: value.spec.profiles ?? [],
        addresses,
        prefixes: [],
        ports: value.spec.ports ?? [],
      },
    )
    const isLocal = value?.spec.node === this.node && Boolean(value.spec.interfaceName) && addresses.length > 0
    if (!isLocal && !this.#local.has(key)) return
    if (isLocal) this.#local.set(key, value)
    else this.#local.delete(key)
    this.#dirty.add(key)
  }

  #setNetworkSet(key: ResourceKey, namespace: string, value: Resource | undefined): void {
    if (value && value.kind !== 'NetworkSet' && value.kind !== 'GlobalNetworkSet') return
    const own = { ...value?.metadata.labels, ...(namespace && { [NAMESPACE_LABEL]: namespace }) }
    const prefixes = (value?.spec.nets ?? []).flatMap(net => parsePrefix(net) ?? [])
    const profiles = namespace ? [`kns.${namespace}`] : []
    this.#setItem(key, value && { key, own, profiles, addresses: [], prefixes, ports: [] })
  }

  #setItem(key: ResourceKey, item: Item | undefined): void {
    const old = this.items.get(key)
    if (old) {
      this.sets.itemChanged(old, false)
      this.items.remove(key)
    }
    if (!item) return
    this.items.put(item)
    this.sets.itemChanged(item, true)
  }

  #setProfile(key: ResourceKey, name: string, value: Resource | undefined): void {
    if (value && value.kind !== 'Profile') return
    const labels = value?.spec.labelsToApply
    if (JSON.stringify(labels ?? {}) !== JSON.stringify(this.items.profileLabels(name) ?? {})) {
      const items = [...this.items.withProfile(name)]
      for (const item of items) this.sets.itemChanged(item, false)
      this.items.setProfileLabels(name, labels)
      for (const item of items) {
        this.sets.itemChanged(item, true)
        if (this.#local.has(item.key)) this.#dirty.add(item.key)
      }
    }
    const old = this.#profiles.get(name)
    this.#problems.delete(key)
    if (value) {
      const { profile, problem } = profileOf(value)
      if (problem) this.#problems.set(key, problem)
      const lists = {
        ingress: ruleList(name, 'ingress', profile.rules.ingress),
        egress: ruleList(name, 'egress', profile.rules.egress),
      }
      this.#profiles.set(name, { profile, lists })
    } else this.#profiles.delete(name)
    if (old || value) for (const item of this.items.withProfile(name)) if (this.#local.has(item.key)) this.#dirty.add(item.key)
  }

  #setTier(name: string, value: Resource | undefined): void {
    if (value?.kind === 'Tier') this.#tiers.set(name, tierOf(value))
    else this.#tiers.delete(name)
    for (const key of this.#local.keys()) this.#dirty.add(key)
  }

  #setPolicy(key: ResourceKey, value: Resource | undefined): void {
    const old = this.#policies.get(key)
    this.#problems.delete(key)
    const made = value && policyOf(value as NetworkPolicy | GlobalNetworkPolicy)
    if (made?.problem) this.#problems.set(key, made.problem)
    const policy = made?.policy
    if (policy) {
      const name = printKey(key)
      const lists = {
        ingress: ruleList(name, 'ingress', policy.rules.ingress),
        egress: ruleList(name, 'egress', policy.rules.egress),
      }
      this.#policies.set(key, { policy, lists })
    } else this.#policies.delete(key)
    for (const local of this.#local.keys()) {
      const labels = this.#labelsOf(local)
      if ((old && matches(old.policy.selector, labels)) || (policy && matches(policy.selector, labels))) this.#dirty.add(local)
    }
  }

  #labelsOf(key: ResourceKey): (label: string) => string | undefined {
    const item = this.items.get(key)
    return item ? this.items.labels(item) : () => undefined
  }

  /** Finds an endpoint's groups anew. */
  #guard(key: ResourceKey): void {
    const resource = this.#local.get(key)
    const old = this.endpoints.get(key)
    if (!resource) {
      this.endpoints.delete(key)
      if (old) for (const d of DIRECTIONS) this.#groups.leave(old.groups[d], key)
      return
    }
    const item = this.items.get(key)!
    const groups = Object.fromEntries(
      DIRECTIONS.map(direction => [
        direction,
        this.#groups.join(direction, this.#sources(item, direction), { key, self: this.#labelled(item) }),
      ]),
    ) as Record<Direction, LiveGroup>
    const { metadata, spec } = resource
    const name = `${metadata.namespace}/${spec.pod ?? spec.workload ?? metadata.name}`
    this.endpoints.set(key, { key, name, interfaceName: spec.interfaceName!, item, groups })
    // Left after joining, so that a group or a set that stays in use is not taken down and built again.
    if (old) for (const d of DIRECTIONS) if (old.groups[d] !== groups[d]) this.#groups.leave(old.groups[d], key)
  }

  #labelled(item: Item) {
    const find = this.items.labels(item)
    // Rules ask for labels by name; a plain object is made of those that are there.
    const labels: Record<string, string> = {}
    for (const name of [...item.profiles].reverse()) Object.assign(labels, this.items.profileLabels(name))
    Object.assign(labels, item.own)
    return { labels, addresses: item.addresses, prefixes: item.prefixes, ports: item.ports, find }
  }

  #sources(item: Item, direction: Direction): LiveSource[] {
    const labels = this.items.labels(item)
    const byTier = new Map<string, Active[]>()
    for (const active of this.#policies.values()) {
      if (!active.policy.types.includes(direction) || !matches(active.policy.selector, labels)) continue
      const list = byTier.get(active.policy.tier)
      if (list) list.push(active)
      else byTier.set(active.policy.tier, [active])
    }
    const tiers = [...byTier.keys()].map(name => this.#tiers.get(name) ?? STRAY_TIER(name)).sort(compareTiers)
    const sources = tiers.map((tier): LiveSource => {
      const lists = byTier.get(tier.name)!.sort(byOrder).map(a => a.lists[direction])
      return { kind: 'tier', name: tier.name, defaultAction: tier.defaultAction, lists }
    })
    const profiles = item.profiles.map((name): LiveSource => {
      const lists = this.#profiles.get(name)?.lists
      if (!lists) return { kind: 'profile', name, defaultAction: 'Deny', lists: [] }
      return { kind: 'profile', name, defaultAction: 'Pass', lists: [lists[direction]] }
    })
    return [...sources, ...profiles]
  }

  /** Own sides are few: their selectors are asked item by item. */
  #ownSelects(selector: Selector, addr: ReturnType<typeof parseAddr> & string): boolean {
    for (const item of this.items.candidates(selector)) {
      if (!holds(item, addr)) continue
      if (matches(selector, this.items.labels(item))) return true
    }
    return false
  }
}

export { FAMILIES, type Family, lookup, selectorLabels }
