// The policy table, kept up to date: it follows the calculator and the classifier, and tells the tracker what is wanted. Says
// what `policyTable` says of the same classification (a test compares the two over random histories).
import type { Calculator, IntentDelta } from '../../calc/calculator.ts'
import type { LiveGroup } from '../../calc/groups.ts'
import { type AtomKey, NOWHERE } from '../../classify/atoms.ts'
import type { ClassDelta, Classifier } from '../../classify/classifier.ts'
import type { GroupName } from '../../classify/classify.ts'
import type { LiveClass, LiveHost } from '../../classify/live-host.ts'
import { isPlain, type Row, type RowName } from '../../classify/row.ts'
import type { SplitTable } from '../../classify/split.ts'
import { FAMILIES, type Family, familyOf } from '../../net/addr.ts'
import { canonicalChain } from '../../nft/canonical.ts'
import type { Element, NftChain } from '../../nft/objects.ts'
import { chainBody, elementKey } from '../../nft/table-state.ts'
import { DIRECTIONS, type HostLeg, type ResourceKey } from '../../resources/cause.ts'
import { dispatchElements, flatten, intervalElement, type Placed, rowElements } from './elements.ts'
import { type GroupHead, groupChain, rowElement, rowMapName, rowMapOf, splitObjects } from './group.ts'
import { type HostHead, hostChain, hostChainName, hostElements, legsOf, ownMap, ownMapName } from './host-chains.ts'
import { atMap, makeSet, type SetName, STATIC_SETS, setsOfLeg } from './layout.ts'
import { NumberBook, PLAIN_ROW, ROW_BASE } from './numbers.ts'
import { outcomeChain, type RenderOptions } from './outcomes.ts'
import { staticChains } from './static-chains.ts'
import type { TableTracker } from './tracker.ts'

export class TableRenderer {
  readonly #tracker: TableTracker
  readonly #calculator: Calculator
  readonly #classifier: Classifier
  readonly #options: RenderOptions
  readonly #atomNumbers = new NumberBook()
  readonly #rowNumbers = new NumberBook()
  /** What each endpoint of this node put into the dispatch maps. */
  readonly #dispatched = new Map<ResourceKey, readonly Placed[]>()
  /** Who claims an interface or address, by map and key: two endpoints may, while one takes over from the other. */
  readonly #claims = new Map<string, Map<ResourceKey, Placed>>()
  /** The objects of tables that are cut into parts, by group and family. */
  readonly #split = new Map<string, { readonly sets: ReadonlySet<string>; readonly chains: ReadonlySet<string> }>()
  /** Keys by which atoms in use stand in the groups' maps; `*` is always met. */
  readonly #liveAtoms = new Set(['*'])
  /** The bodies of the groups' chains, by name. */
  readonly #groupChains = new Map<string, string>()
  #legsInUse: readonly HostLeg[] = []
  /** Legs whose sets go once their rows are gone. */
  readonly #droppedLegs: HostLeg[] = []
  #static: readonly string[] = []
  readonly #sets = { get: (name: string) => this.#tracker.wanted.sets.get(name)?.set }

  constructor(tracker: TableTracker, calculator: Calculator, classifier: Classifier, options: RenderOptions = {}) {
    this.#options = options
    this.#tracker = tracker
    this.#calculator = calculator
    this.#classifier = classifier
    tracker.isLive = (set, key) => /^(t[46]|w)_/.test(set) && this.#liveAtoms.has(key)
    for (const name of STATIC_SETS) tracker.wantSet(makeSet(name, []))
    this.#facts()
    for (const family of FAMILIES) this.#cover(family)
  }

  readonly #atomNumber = (key: AtomKey): number => (key === NOWHERE ? 0 : this.#atomNumbers.of(key))
  readonly #rowNumberOf = (row: Row): number => {
    const n = ROW_BASE + this.#rowNumbers.of(row.name)
    return isPlain(row) ? PLAIN_ROW + n : n
  }
  readonly #numbering = {
    atomNumber: this.#atomNumber,
    rowOf: (name: RowName): Row => this.#classifier.store.row(name)!,
    rowNumber: (name: RowName): number => this.#rowNumberOf(this.#classifier.store.row(name)!),
  }

  /** Tells the tracker what a change makes of the table. */
  apply(intent: IntentDelta, classes: ClassDelta): void {
    if (this.#legs() || intent.facts) this.#facts()
    const { rows, outcomes } = this.#classifier.store.take()
    const { settings } = this.#calculator.facts
    for (const [name, outcome] of outcomes) {
      if (this.#classifier.store.outcome(name)) this.#wantChain(outcomeChain(outcome, settings, this.#options))
      else this.#tracker.dropChain(name)
    }
    for (const [name, row] of rows) {
      const wanted = this.#classifier.store.row(name) !== undefined
      for (const placed of rowElements(row, this.#rowNumberOf(row))) this.#place(placed, wanted)
    }
    for (const atom of classes.atoms.born) this.#liveAtoms.add(String(this.#atomNumber(atom)))
    for (const atom of classes.atoms.died) this.#liveAtoms.delete(String(this.#atomNumber(atom)))
    this.#groups(intent, classes.gone)
    this.#hosts(intent, classes)
    for (const addr of classes.atoms.addresses) {
      const atom = this.#classifier.atoms.exact.get(addr)
      const set: SetName = `pod${familyOf(addr)}`
      if (atom === undefined) this.#tracker.dropElement(set, addr)
      else this.#tracker.wantElement(set, { key: [addr], value: this.#atomNumber(atom) })
    }
    for (const family of classes.atoms.covers) this.#cover(family)
    this.#dispatch(intent.endpoints)
  }

  /** Notes which numbers are not in use: what carries them in the kernel is stale now, if anything does. */
  markUnused(): void {
    this.#atomNumbers.markUnused(key => this.#classifier.atoms.has(key as AtomKey))
    this.#rowNumbers.markUnused(name => this.#classifier.store.row(name as RowName) !== undefined)
  }

  /** Numbers that were marked and not used since may be given again: when all that was stale then is gone. */
  forgetUnused(): void {
    this.#atomNumbers.forgetUnused()
    this.#rowNumbers.forgetUnused()
  }

  #place([set, element]: Placed, wanted: boolean): void {
    if (wanted) this.#tracker.wantElement(set, element)
    else this.#tracker.dropElement(set, elementKey(element))
  }

  #wantChain(chain: NftChain): void {
    this.#tracker.wantChain(canonicalChain(chain, this.#sets))
  }

  /** Most changes of a group's rows leave its chain as it was. */
  #wantGroup(chain: NftChain): void {
    const body = chainBody(chain)
    if (this.#groupChains.get(chain.name) === body) return
    this.#groupChains.set(chain.name, body)
    this.#wantChain(chain)
  }

  /** A set's elements as a whole. */
  #wantAll(set: string, elements: readonly Element[]): void {
    const keys = new Set(elements.map(elementKey))
    for (const key of [...this.#tracker.wanted.sets.get(set)!.elements.keys()]) {
      if (!keys.has(key)) this.#tracker.dropElement(set, key)
    }
    for (const element of elements) this.#tracker.wantElement(set, element)
  }

  #facts(): void {
    const { settings, allPools, masqueradePools } = this.#calculator.facts
    const uses = { masquerades: masqueradePools.length > 0, legs: this.#legsInUse }
    const chains = staticChains(settings, uses)
    for (const chain of chains) this.#wantChain(chain)
    for (const name of this.#static) if (!chains.some(c => c.name === name)) this.#tracker.dropChain(name)
    this.#static = chains.map(c => c.name)
    for (const family of FAMILIES) {
      this.#wantAll(`pools${family}`, flatten(allPools, family))
      this.#wantAll(`masquerade${family}`, flatten(masqueradePools, family))
    }
    for (const outcome of this.#classifier.store.outcomes())
      this.#wantChain(outcomeChain(outcome, settings, this.#options))
  }

  #cover(family: Family): void {
    const intervals = this.#classifier.atoms.cover[family]
    this.#wantAll(
      `net${family}`,
      intervals.map(i => intervalElement(family, i, this.#atomNumber)),
    )
  }

  #groups(intent: IntentDelta, gone: readonly GroupName[]): void {
    for (const name of gone) {
      this.#groupChains.delete(name)
      this.#tracker.dropChain(name)
      for (const family of FAMILIES) {
        this.#tracker.dropSet(rowMapName(name, family))
        this.#parts({ name, direction: 'ingress', identity: '' }, family, undefined)
      }
    }
    for (const [group, live] of this.#classifier.groups) this.#group(live, group, intent.groups.has(group))
    for (const [group, host] of this.#classifier.hosts) {
      for (const live of host.all()) this.#group(live, group, intent.groups.has(group))
    }
  }

  #group(live: LiveClass, { direction, hook, identity }: LiveGroup, edited: boolean): void {
    const head = { name: live.name, direction, identity, ...(hook && { hook }) }
    const changed = FAMILIES.filter(family => this.#table(head, family, live))
    if (changed.length === 0 && !edited) return
    const tables = { 4: live.tables[4].split ?? live.tables[4], 6: live.tables[6].split ?? live.tables[6] }
    this.#wantGroup(groupChain(head, tables, this.#numbering))
  }

  /** Follows which host legs somebody has a say in; whether that changed. Their sets must be there before their rows. */
  #legs(): boolean {
    const legs = legsOf([...this.#classifier.hosts.values()].map(h => h.leg))
    const before = this.#legsInUse
    if (legs.length === before.length && legs.every(l => before.includes(l))) return false
    for (const leg of legs) {
      if (!before.includes(leg)) for (const name of setsOfLeg(leg)) this.#tracker.wantSet(makeSet(name, []))
    }
    this.#droppedLegs.push(...before.filter(l => !legs.includes(l)))
    this.#legsInUse = legs
    return true
  }

  #hosts({ groups, hosts, facts }: IntentDelta, { atoms, goneHosts }: ClassDelta): void {
    for (const name of goneHosts) {
      this.#tracker.dropChain(hostChainName(name))
      this.#tracker.dropSet(ownMapName(name))
    }
    const { settings } = this.#calculator.facts
    const atomsChanged = atoms.born.length + atoms.died.length > 0
    for (const [group, host] of this.#classifier.hosts) {
      if (!facts && !groups.has(group) && !(atomsChanged && host.asksOwn)) continue
      const head = headOf(host)
      const map = ownMap(head, this.#atomNumber)
      const exists = this.#tracker.wanted.sets.has(ownMapName(host.name))
      if (map && exists) this.#wantAll(map.name, map.elements)
      else if (map) this.#tracker.wantSet(map)
      else if (exists) this.#tracker.dropSet(ownMapName(host.name))
      this.#wantChain(hostChain(head, settings))
    }
    if (hosts) this.#hostDispatch()
    for (const leg of this.#droppedLegs.splice(0)) for (const name of setsOfLeg(leg)) this.#tracker.dropSet(name)
  }

  #hostDispatch(): void {
    const interfaces = [...this.#calculator.hostInterfaces.values()].map(({ interfaceName, guards }) => ({
      interfaceName,
      guards: guards.map(({ hook, direction, group }) => {
        return { hook, direction, name: this.#classifier.hosts.get(group)!.name }
      }),
    }))
    const placed = hostElements(interfaces)
    for (const leg of this.#legsInUse) {
      const set = atMap(leg)
      this.#wantAll(
        set,
        placed.filter(([name]) => name === set).map(([, element]) => element),
      )
    }
  }

  /** Brings a group's map up to date; whether its table changed at all. */
  #table(head: GroupHead, family: Family, live: LiveClass): boolean {
    const table = live.tables[family]
    const changed = table.take()
    if (changed.size === 0) return false
    this.#parts(head, family, table.split)
    const name = rowMapName(head.name, family)
    const exists = this.#tracker.wanted.sets.has(name)
    if (table.split) {
      if (exists) this.#tracker.dropSet(name)
      return true
    }
    if (table.isUniform || !exists || changed.has(NOWHERE)) {
      const map = rowMapOf(head, family, table, this.#numbering)
      if (map && exists) this.#wantAll(name, map.elements)
      else if (map) this.#tracker.wantSet(map)
      else if (exists) this.#tracker.dropSet(name)
      return true
    }
    for (const atom of changed) {
      const row = table.get(atom)
      const element = rowElement(atom, row ?? table.otherwise, this.#numbering)
      if (row !== undefined) this.#tracker.wantElement(name, element)
      else this.#tracker.dropElement(name, elementKey(element))
    }
    return true
  }

  /** The chains and maps of a table that is cut into parts; without one, what is left of it goes. */
  #parts(head: GroupHead, family: Family, table: SplitTable | undefined): void {
    const id = `${head.name} ${family}`
    const before = this.#split.get(id)
    if (!table && !before) return
    const { sets, chains } = table ? splitObjects(head, family, table, this.#numbering) : NO_OBJECTS
    for (const set of sets) {
      if (this.#tracker.wanted.sets.has(set.name)) this.#wantAll(set.name, set.elements)
      else this.#tracker.wantSet(set)
    }
    for (const chain of chains) this.#wantChain(chain)
    const now = { sets: new Set(sets.map(s => s.name)), chains: new Set(chains.map(c => c.name)) }
    for (const name of before?.chains ?? []) if (!now.chains.has(name)) this.#tracker.dropChain(name)
    for (const name of before?.sets ?? []) if (!now.sets.has(name)) this.#tracker.dropSet(name)
    if (table) this.#split.set(id, now)
    else this.#split.delete(id)
  }

  #dispatch(keys: ReadonlySet<ResourceKey>): void {
    const touched = new Map<string, Placed>()
    for (const key of keys) {
      for (const placed of this.#dispatched.get(key) ?? []) {
        const id = claimOf(placed)
        touched.set(id, placed)
        this.#claims.get(id)!.delete(key)
      }
      const endpoint = this.#calculator.endpoints.get(key)
      if (!endpoint) {
        this.#dispatched.delete(key)
        continue
      }
      const names = Object.fromEntries(DIRECTIONS.map(d => [d, this.#classifier.groups.get(endpoint.groups[d])!.name]))
      const placed = dispatchElements(endpoint, names as Record<(typeof DIRECTIONS)[number], GroupName>)
      this.#dispatched.set(key, placed)
      for (const one of placed) {
        const id = claimOf(one)
        touched.set(id, one)
        const claims = this.#claims.get(id) ?? new Map<ResourceKey, Placed>()
        this.#claims.set(id, claims.set(key, one))
      }
    }
    for (const [id, placed] of touched) {
      const claims = this.#claims.get(id)!
      // As in the plain rendering: the last endpoint by key has it.
      const holder = [...claims.keys()].sort().at(-1)
      this.#place(holder === undefined ? placed : claims.get(holder)!, holder !== undefined)
      if (holder === undefined) this.#claims.delete(id)
    }
  }
}

const NO_OBJECTS = { sets: [], chains: [] }
const headOf = (host: LiveHost): HostHead => ({
  ...host.leg,
  name: host.name,
  identity: host.identity,
  otherwise: host.classes.get('')!.name,
  byOwn: [...host.keys].map(([atom, key]) => [atom, host.classes.get(key)!.name] as const),
  isUniform: host.keys.size === 0,
})

const claimOf = ([set, element]: Placed): string => `${set} ${elementKey(element)}`
