// The calculation, kept up to date: changes of resources come in, and what changed in this node's intent comes out. It says
// what `computeIntent` says of the same resources (a test compares the two over random histories), at a cost that follows
// the change: an endpoint elsewhere touches the sets it is in, a policy the endpoints here that it governs.
import { applyChanges, type Change } from '../base/change.ts'
import type { Addr } from '../net/addr.ts'
import { type Prefix, parsePrefix, prefixBase, prefixContains } from '../net/prefix.ts'
import { kubernetesPolicyOf } from '../policy/kubernetes-policies.ts'
import type { Policy, Tier } from '../policy/model.ts'
import { comparePolicies, compareTiers, policyOf, profileOf, strayTier, tierOf } from '../policy/policies.ts'
import {
  DIRECTIONS,
  type Direction,
  HOST_LEGS,
  type HostLeg,
  printKey,
  type ResourceKey,
  splitKey,
} from '../resources/cause.ts'
import { NAMESPACE_LABEL } from '../resources/kinds/network-set.ts'
import {
  type HostEndpoint,
  keyOf,
  type Resource,
  type ResourceOf,
  type TieredPolicy,
  type WorkloadEndpoint,
} from '../resources/resource.ts'
import { matches } from '../selector/match.ts'
import type { Selector } from '../selector/selector.ts'
import { ActiveSets, type MemberChange } from './active-sets.ts'
import { Blocks, type RuleList, ruleList } from './blocks.ts'
import { CANARIES, CANARY_PROFILE } from './canary.ts'
import { type At, Groups, type LiveGroup, type LiveSource } from './groups.ts'
import { asksProfiles, defaultAt, hasSay, withStaged } from './guard.ts'
import { guardedInterfaces, hasHook, type InterfaceChange } from './host-interfaces.ts'
import type { SetId } from './intent.ts'
import { addTo, type Item, ItemIndex } from './items.ts'
import { type NodeFacts, nodeFacts } from './node-facts.ts'
import { sliceMembers } from './services.ts'
import type { Labelled } from './sets.ts'

type Lists = Readonly<Record<Direction, RuleList>>
type Active = { readonly policy: Policy; readonly lists: Lists }

/** An endpoint of this node. */
export type LiveEndpoint = {
  readonly key: ResourceKey
  readonly name: string
  readonly interfaceName: string
  readonly addresses: readonly Addr[]
  readonly spoofable: readonly Prefix[]
  readonly groups: Readonly<Record<Direction, LiveGroup>>
}

/** An interface of this node that a host endpoint guards, by name (or `*`). */
export type LiveHostInterface = {
  readonly interfaceName: string
  readonly key: ResourceKey
  readonly guards: readonly (HostLeg & { readonly group: LiveGroup })[]
}

/** What changed in one `apply`; the state itself is read from the calculator. */
export type IntentDelta = {
  /** Endpoints of this node that are new, gone, or changed. */
  readonly endpoints: ReadonlySet<ResourceKey>
  readonly groups: ReadonlySet<LiveGroup>
  readonly members: ReadonlyMap<SetId, MemberChange>
  readonly facts: boolean
  /** Whether host endpoints guard other interfaces than before, or as other groups. */
  readonly hosts: boolean
}

const listsOf = (name: string, { ingress, egress }: Policy['rules']): Lists => ({
  ingress: ruleList(name, 'ingress', ingress),
  egress: ruleList(name, 'egress', egress),
})

export class Calculator {
  readonly node: string
  readonly endpoints = new Map<ResourceKey, LiveEndpoint>()
  readonly #items = new ItemIndex()
  readonly sets = new ActiveSets(this.#items)
  readonly #groups: Groups
  readonly #policies = new Map<ResourceKey, Active>()
  /** The policies for which staged ones stand. */
  readonly #staged = new Set<ResourceKey>()
  readonly #profiles = new Map<string, Lists>()
  readonly #tiers = new Map<string, Tier>()
  readonly #problems = new Map<ResourceKey, string>()
  readonly #factResources = new Map<ResourceKey, Resource>()
  #facts: NodeFacts
  /** What guards the node's own interfaces, by their names. */
  readonly hostInterfaces = new Map<string, LiveHostInterface>()
  readonly #hosts = new Map<ResourceKey, HostEndpoint>()
  readonly #interfaces = new Map<string, readonly Addr[]>()
  /** Something changed that host endpoints may depend on. */
  #hostsChanged = false
  /** Endpoints of this node as they should be; those in `#dirty` must be guarded anew. */
  readonly #local = new Map<ResourceKey, WorkloadEndpoint>()
  readonly #dirty = new Set<ResourceKey>()
  /** Endpoints that are there from the beginning, until the first change is told. */
  readonly #untold = new Set<ResourceKey>()
  /** Something changed that own sides of rules may ask about. */
  #itemsChanged = false

  /** `canary`: whether the node has one. */
  constructor(node: string, { canary = false } = {}) {
    this.node = node
    const selects = (selector: Selector, addr: Addr): boolean => this.#selects(selector, addr)
    this.#groups = new Groups(new Blocks(this.sets, selects), selects)
    this.#facts = nodeFacts(new Map(), node)
    if (canary) this.#addCanaries()
  }

  get facts(): NodeFacts {
    return this.#facts
  }

  get problems(): readonly string[] {
    return [...this.#problems.values()]
  }

  /**
   * Brings the intent up to date; the changes are of derived resources (pods seen as endpoints), and of the addresses on the
   * node's interfaces.
   */
  apply(changes: Iterable<Change<ResourceKey, Resource>>, interfaces: readonly InterfaceChange[] = []): IntentDelta {
    let facts = false
    this.#groups.nextEpoch()
    applyChanges(this.#interfaces, interfaces)
    if (interfaces.length > 0) this.#hostsChanged = true
    for (const { key, value } of changes) {
      switch (splitKey(key).kind) {
        case 'WorkloadEndpoint':
          this.#setEndpoint(key, value as ResourceOf<'WorkloadEndpoint'> | undefined)
          break
        case 'HostEndpoint':
          this.#setHost(key, value as HostEndpoint | undefined)
          break
        case 'NetworkSet':
        case 'GlobalNetworkSet':
          this.#setNetworkSet(key, value as ResourceOf<'NetworkSet'> | undefined)
          break
        case 'EndpointSlice':
          this.sets.setSlice(key, value && sliceMembers(value as ResourceOf<'EndpointSlice'>))
          break
        case 'Profile':
          this.#setProfile(key, value as ResourceOf<'Profile'> | undefined)
          break
        case 'Tier':
          this.#setTier(key, value as ResourceOf<'Tier'> | undefined)
          break
        case 'NetworkPolicy':
        case 'GlobalNetworkPolicy':
        case 'StagedNetworkPolicy':
        case 'StagedGlobalNetworkPolicy':
          this.#setPolicy(key, value && policyOf(value as TieredPolicy))
          break
        case 'KubernetesNetworkPolicy':
        case 'StagedKubernetesNetworkPolicy':
        case 'KubernetesClusterNetworkPolicy':
          this.#setPolicy(key, value && kubernetesPolicyOf(value as ResourceOf<'KubernetesNetworkPolicy'>))
          break
        case 'IPPool':
        case 'Node':
        case 'FelixConfiguration':
          if (value) this.#factResources.set(key, value)
          else this.#factResources.delete(key)
          facts = true
      }
    }
    if (facts) {
      const before = this.#facts
      this.#facts = nodeFacts(this.#factResources, this.node)
      // Most of what a node says of itself matters to nobody here.
      facts = JSON.stringify(before) !== JSON.stringify(this.#facts)
      if (facts) this.#hostsChanged = true
    }
    const endpoints = new Set(this.#dirty)
    this.#dirty.clear()
    // Port names first: a rule resolved below then speaks of what they stand for now.
    const names = this.sets.takeNames()
    for (const key of endpoints) this.#guard(key)
    for (const key of this.#untold) endpoints.add(key)
    this.#untold.clear()
    if (this.#itemsChanged) for (const key of this.#checkOwnSides(endpoints)) endpoints.add(key)
    this.#itemsChanged = false
    const hosts = this.#hostsChanged && this.#hosts.size + this.hostInterfaces.size > 0
    if (hosts) this.#guardHosts()
    this.#hostsChanged = false
    this.#groups.refresh(names)
    return { endpoints, groups: this.#groups.takeChanged(), members: this.sets.takeMembers(), facts, hosts }
  }

  /** The number of the last `apply`. */
  get epoch(): number {
    return this.#groups.epoch
  }

  /** Whether something is kept only for packets that may still meet what was before. */
  get unsettled(): boolean {
    return this.#groups.unsettled
  }

  /** Gives up what `apply` up to that epoch kept; to be called when the kernel has moved on. No verdict changes by it. */
  settle(epoch: number): IntentDelta {
    this.#groups.settle(epoch)
    const nothing = { endpoints: new Set<ResourceKey>(), facts: false, hosts: false }
    return { ...nothing, groups: this.#groups.takeChanged(), members: this.sets.takeMembers() }
  }

  /** They are no items: no selector finds them. */
  #addCanaries(): void {
    const { name, rules } = CANARY_PROFILE
    const { ingress, egress } = listsOf(name, rules)
    for (const canary of CANARIES) {
      const { key, addresses } = canary
      const self = { labels: {}, addresses, prefixes: [], ports: [] }
      const join = (list: RuleList): LiveGroup => {
        const sources: LiveSource[] = [{ kind: 'profile', name, defaultAction: 'Pass', lists: [list] }]
        return this.#groups.join({ direction: list.direction }, sources, { key, self })
      }
      this.endpoints.set(key, { ...canary, groups: { ingress: join(ingress), egress: join(egress) } })
      this.#untold.add(key)
    }
  }

  #setEndpoint(key: ResourceKey, value: WorkloadEndpoint | undefined): void {
    const addresses = (value?.spec.ipNetworks ?? []).flatMap(net => {
      const prefix = parsePrefix(net)
      return prefix ? [prefixBase(prefix)] : []
    })
    const own = value?.metadata.labels ?? {}
    const profiles = value?.spec.profiles ?? []
    this.#setItem(key, value && { key, own, profiles, addresses, prefixes: [], ports: value.spec.ports ?? [] })
    const isLocal = value?.spec.node === this.node && Boolean(value.spec.interfaceName) && addresses.length > 0
    if (isLocal) this.#local.set(key, value)
    else if (!this.#local.delete(key)) return
    this.#dirty.add(key)
  }

  #setHost(key: ResourceKey, value: HostEndpoint | undefined): void {
    const { expectedIPs: addresses = [], profiles = [], ports = [] } = value?.spec ?? {}
    this.#setItem(key, value && { key, own: value.metadata.labels ?? {}, profiles, addresses, prefixes: [], ports })
    if (value?.spec.node === this.node) this.#hosts.set(key, value)
    else if (!this.#hosts.delete(key)) return
    this.#hostsChanged = true
  }

  #setNetworkSet(key: ResourceKey, value: ResourceOf<'NetworkSet'> | undefined): void {
    const { namespace } = splitKey(key)
    const own = { ...value?.metadata.labels, ...(namespace !== '' && { [NAMESPACE_LABEL]: namespace }) }
    const prefixes = (value?.spec.nets ?? []).flatMap(net => parsePrefix(net) ?? [])
    const profiles = namespace === '' ? [] : [`kns.${namespace}`]
    this.#setItem(key, value && { key, own, profiles, addresses: [], prefixes, ports: [] })
  }

  #setItem(key: ResourceKey, item: Item | undefined): void {
    this.#itemsChanged = true
    const old = this.#items.get(key)
    if (old) {
      this.sets.itemChanged(old, false)
      this.#items.remove(key)
    }
    if (!item) return
    this.#items.put(item)
    this.sets.itemChanged(item, true)
  }

  #setProfile(key: ResourceKey, value: ResourceOf<'Profile'> | undefined): void {
    const { name } = splitKey(key)
    const items = [...this.#items.withProfile(name)]
    const labels = value?.spec.labelsToApply
    if (JSON.stringify(labels ?? {}) !== JSON.stringify(this.#items.profileLabels(name) ?? {})) {
      this.#itemsChanged = true
      for (const item of items) this.sets.itemChanged(item, false)
      this.#items.setProfileLabels(name, labels)
      for (const item of items) this.sets.itemChanged(item, true)
    }
    const made = value && profileOf(value)
    this.#note(key, made?.problem)
    if (made) this.#profiles.set(name, listsOf(name, made.profile.rules))
    else this.#profiles.delete(name)
    for (const item of items) {
      if (this.#local.has(item.key)) this.#dirty.add(item.key)
      if (this.#hosts.has(item.key)) this.#hostsChanged = true
    }
  }

  #setTier(key: ResourceKey, value: ResourceOf<'Tier'> | undefined): void {
    if (value) this.#tiers.set(splitKey(key).name, tierOf(value))
    else this.#tiers.delete(splitKey(key).name)
    for (const local of this.#local.keys()) this.#dirty.add(local)
    this.#hostsChanged = true
  }

  #setPolicy(key: ResourceKey, made: ReturnType<typeof policyOf> | undefined): void {
    const old = this.#policies.get(key)?.policy
    this.#note(key, made?.problem)
    if (made) this.#policies.set(key, { policy: made.policy, lists: listsOf(printKey(key), made.policy.rules) })
    else this.#policies.delete(key)
    this.#hostsChanged = true
    if (old?.stagedFor) this.#staged.delete(old.stagedFor)
    if (made?.policy.stagedFor) this.#staged.add(made.policy.stagedFor)
    // Whom a staged policy concerns: those of the policy for which it stands, too.
    const stagedFor = made?.policy.stagedFor ?? old?.stagedFor
    const concerned = [old, made?.policy, stagedFor && this.#policies.get(stagedFor)?.policy].filter(
      p => p !== undefined,
    )
    for (const local of this.#local.keys()) {
      const item = this.#items.get(local)
      if (!item) continue
      const labels = this.#items.labels(item)
      if (concerned.some(p => matches(p.selector, labels))) this.#dirty.add(local)
    }
  }

  #note(key: ResourceKey, problem: string | undefined): void {
    if (problem === undefined) this.#problems.delete(key)
    else this.#problems.set(key, problem)
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
    const item = this.#items.get(key)!
    const member = { key, self: this.#labelled(item) }
    const governing = this.#governing(item)
    const join = (direction: Direction): LiveGroup => {
      const at = { direction }
      return this.#groups.join(at, this.#sources(item, governing, at), member, old?.groups[direction])
    }
    const groups = { ingress: join('ingress'), egress: join('egress') }
    const { metadata, spec } = resource
    const name = `${metadata.namespace}/${spec.pod ?? spec.workload ?? metadata.name}`
    const { interfaceName = '', allowSpoofedSourcePrefixes: spoofable = [] } = spec
    this.endpoints.set(key, { key, name, interfaceName, addresses: item.addresses, spoofable, groups })
    // Left after joining, so that what stays in use is not taken down and built again.
    if (old) for (const d of DIRECTIONS) if (old.groups[d] !== groups[d]) this.#groups.leave(old.groups[d], key)
  }

  /** Finds the groups of the node's own interfaces anew: a node has few, and is asked for them only if it has some. */
  #guardHosts(): void {
    const before = [...this.hostInterfaces.values()]
    this.hostInterfaces.clear()
    const options = { node: this.node, interfaces: this.#interfaces, settings: this.#facts.settings }
    const joined = new Map<LiveGroup, Set<ResourceKey>>()
    for (const [interfaceName, host] of guardedInterfaces(this.#hosts.values(), options)) {
      const key = keyOf(host)
      const item = this.#items.get(key)!
      const governing = this.#governing(item)
      const member = { key, self: this.#labelled(item) }
      const guards = HOST_LEGS.filter(({ hook }) => hasHook(interfaceName, hook)).flatMap(leg => {
        const sources = this.#sources(item, governing, leg)
        if (leg.hook !== 'host' && sources.length === 0) return []
        const group = this.#groups.join(leg, sources, member)
        addTo(joined, group, key)
        return [{ ...leg, group }]
      })
      this.hostInterfaces.set(interfaceName, { interfaceName, key, guards })
    }
    for (const { key, guards } of before) {
      for (const { group } of guards) if (!joined.get(group)?.has(key)) this.#groups.leave(group, key)
    }
  }

  /**
   * Own sides depend on what selects an own address, a network set elsewhere for instance: endpoints with rules that ask
   * are put into their groups again. Such rules are few. Gives the endpoints that moved.
   */
  #checkOwnSides(done: ReadonlySet<ResourceKey>): ResourceKey[] {
    const moved: ResourceKey[] = []
    for (const [key, endpoint] of this.endpoints) {
      if (done.has(key)) continue
      const asks = DIRECTIONS.filter(d => endpoint.groups[d].sources.some(s => s.lists.some(l => l.ownSensitive)))
      if (asks.length === 0) continue
      const before = endpoint.groups
      this.#guard(key)
      const after = this.endpoints.get(key)!.groups
      if (DIRECTIONS.some(d => after[d] !== before[d])) moved.push(key)
    }
    return moved
  }

  #labelled(item: Item): Labelled {
    const labels: Record<string, string> = {}
    for (const name of [...item.profiles].reverse()) Object.assign(labels, this.#items.profileLabels(name))
    return { ...item, labels: Object.assign(labels, item.own) }
  }

  #governing(item: Item): Active[] {
    const labels = this.#items.labels(item)
    const found: Active[] = []
    for (const active of this.#policies.values()) if (matches(active.policy.selector, labels)) found.push(active)
    return found
  }

  /** What is enforced, then what would be if the staged policies were, where they concern the endpoint. */
  #sources(item: Item, governing: readonly Active[], at: At): LiveSource[] {
    const isStaged = ({ policy }: Active): boolean => policy.stagedFor !== undefined
    const isReplaced = ({ policy }: Active): boolean => this.#staged.has(policy.key)
    const enforced = this.#inOrder(
      item,
      governing.filter(a => !isStaged(a)),
      at,
    )
    if (!governing.some(a => isStaged(a) || isReplaced(a))) return enforced
    const staged = this.#inOrder(
      item,
      governing.filter(a => !a.policy.deletes && !isReplaced(a)),
      at,
    )
    return withStaged(enforced, staged)
  }

  /** The tiers with policies for the endpoint in order, then its profiles. */
  #inOrder(item: Item, governing: readonly Active[], { direction, hook }: At): LiveSource[] {
    const byTier = new Map<string, Active[]>()
    for (const active of governing) {
      const { tier } = active.policy
      if (!hasSay(active.policy, direction, hook)) continue
      const list = byTier.get(tier)
      if (list) list.push(active)
      else byTier.set(tier, [active])
    }
    const names = [...byTier.keys()]
    const tiers = [
      ...names.flatMap(name => this.#tiers.get(name) ?? []).sort(compareTiers),
      ...names
        .filter(name => !this.#tiers.has(name))
        .map(strayTier)
        .sort(compareTiers),
    ]
    const policies = tiers.map(({ name, defaultAction }): LiveSource => {
      const active = byTier.get(name)!.sort((a, b) => comparePolicies(a.policy, b.policy))
      const lists = active.map(a => a.lists[direction])
      return { kind: 'tier', name, defaultAction: defaultAt(defaultAction, hook), lists }
    })
    if (!asksProfiles(hook)) return policies
    const profiles = item.profiles.map((name): LiveSource => {
      const lists = this.#profiles.get(name)
      // A profile that does not exist (yet) denies: what it would allow is not known.
      if (!lists) return { kind: 'profile', name, defaultAction: 'Deny', lists: [] }
      return { kind: 'profile', name, defaultAction: 'Pass', lists: [lists[direction]] }
    })
    return [...policies, ...profiles]
  }

  /** Whether a selector selects an address. Asked of own addresses only, item by item. */
  #selects(selector: Selector, addr: Addr): boolean {
    for (const item of this.#items.candidates(selector)) {
      const holds = item.addresses.includes(addr) || item.prefixes.some(p => prefixContains(p, addr))
      if (holds && matches(selector, this.#items.labels(item))) return true
    }
    return false
  }
}
