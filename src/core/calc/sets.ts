// Address sets by need: a rule asks for the set of a selector, a list of nets or a port name, and gets its id; the members
// are found over all endpoints and network sets of the cluster.
import { sha1Hex } from '../base/hash.ts'
import { type Addr, BITS } from '../net/addr.ts'
import { type Prefix, prefixBase, prefixContains, prefixFamily, prefixLength } from '../net/prefix.ts'
import { hasPorts, protocolNumber } from '../net/protocol.ts'
import type { NamedPort } from '../resources/resource.ts'
import { lookup, matches } from '../selector/match.ts'
import { printSelector, type Selector, selectorId } from '../selector/selector.ts'
import type { AddressSet, PortTerm, SetId } from './intent.ts'
import type { SetSource } from './resolve.ts'
import { type SliceIndex, serviceSetId, serviceTitle } from './services.ts'

/** Anything that selectors select: an endpoint or a network set, with all its labels, own and inherited. */
export type Labelled = {
  readonly labels: Readonly<Record<string, string>>
  readonly addresses: readonly Addr[]
  readonly prefixes: readonly Prefix[]
  readonly ports: readonly NamedPort[]
}

/** The (protocol, number) pairs that an endpoint's ports of a name stand for. */
export function portsNamed(ports: readonly NamedPort[], name: string): { protocol: number; port: number }[] {
  return ports.flatMap(p => {
    const protocol = protocolNumber(p.protocol)
    return p.name === name && protocol !== undefined && hasPorts(protocol) ? [{ protocol, port: p.port }] : []
  })
}

/** Full-length prefixes are addresses; everything else stays a prefix. */
export function split(prefixes: readonly Prefix[]): { addresses: Addr[]; prefixes: Prefix[] } {
  const isHost = (p: Prefix): boolean => prefixLength(p) === BITS[prefixFamily(p)]
  return { addresses: prefixes.filter(isHost).map(prefixBase), prefixes: prefixes.filter(p => !isHost(p)) }
}

export class SetCollector implements SetSource {
  readonly #members: readonly Labelled[]
  readonly #sets = new Map<SetId, AddressSet>()
  readonly #selected = new Map<SetId, AddressSet>()
  /** Port name → the terms of its members; the sets behind them are collected once. */
  readonly #named = new Map<string, readonly PortTerm[]>()

  readonly #slices: SliceIndex

  constructor(members: readonly Labelled[], slices: SliceIndex) {
    this.#members = members
    this.#slices = slices
  }

  get sets(): ReadonlyMap<SetId, AddressSet> {
    return this.#sets
  }

  selector(selector: Selector): SetId {
    const set = this.#membersOf(selector)
    this.#sets.set(set.id, set)
    return set.id
  }

  selects(selector: Selector, addr: Addr): boolean {
    const set = this.#membersOf(selector)
    return set.addresses.has(addr) || set.prefixes.some(n => prefixContains(n, addr))
  }

  #membersOf(selector: Selector): AddressSet {
    const id = selectorId(selector) as SetId
    let set = this.#selected.get(id)
    if (!set) {
      const selected = this.#members.filter(m => matches(selector, lookup(m.labels)))
      const nets = split(selected.flatMap(m => m.prefixes))
      const addresses = new Set([...selected.flatMap(m => m.addresses), ...nets.addresses])
      set = { id, title: printSelector(selector), addresses, prefixes: nets.prefixes }
      this.#selected.set(id, set)
    }
    return set
  }

  nets(nets: readonly Prefix[]): SetId {
    const title = netsTitle(nets)
    const id = netsId(title)
    if (!this.#sets.has(id)) {
      const { addresses, prefixes } = split(nets)
      this.#sets.set(id, { id, title, addresses: new Set(addresses), prefixes })
    }
    return id
  }

  /**
   * One term for each (protocol, number) that some endpoint gives the name; it holds for those endpoints only. With a
   * selector on the same side, an endpoint must match it itself: being in a selected network set is not enough.
   */
  portName(name: string, selector: Selector | undefined): readonly PortTerm[] {
    const scope = portScope(name, selector)
    const known = this.#named.get(scope)
    if (known) return known
    const owners = new Map<string, { protocol: number; port: number; addresses: Set<Addr> }>()
    for (const member of this.#members) {
      if (selector && !matches(selector, lookup(member.labels))) continue
      for (const { protocol, port } of portsNamed(member.ports, name)) {
        const owner = owners.get(`${protocol}/${port}`) ?? { protocol, port, addresses: new Set() }
        for (const addr of member.addresses) owner.addresses.add(addr)
        owners.set(`${protocol}/${port}`, owner)
      }
    }
    const terms = [...owners.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([pair, { protocol, port, addresses }]) => {
        const id = `p:${scope}:${pair}` as SetId
        this.#sets.set(id, { id, title: `port ${name} = ${pair}`, addresses, prefixes: [] })
        return { first: port, last: port, protocol, peerIn: id }
      })
    this.#named.set(scope, terms)
    return terms
  }

  service(service: string, pair?: string): SetId {
    const id = serviceSetId(service, pair)
    const addresses = new Set(this.#slices.addresses(service, pair))
    this.#sets.set(id, { id, title: serviceTitle(service, pair), addresses, prefixes: [] })
    return id
  }

  servicePorts(service: string): PortTerm[] {
    return this.#slices.pairs(service).map(pair => pairTerm(pair, this.service(service, pair)))
  }
}

/** A term for `protocol/number`, as `6/80`. */
export function pairTerm(pair: string, peerIn: SetId): PortTerm {
  const [protocol, port] = pair.split('/').map(Number) as [number, number]
  return { first: port, last: port, protocol, peerIn }
}

export const netsTitle = (nets: readonly Prefix[]): string => [...new Set(nets)].sort().join(', ')
export const netsId = (title: string): SetId => `n:${sha1Hex(title).slice(0, 16)}` as SetId
/** What a port name is resolved over. */
export const portScope = (name: string, selector: Selector | undefined): string =>
  selector ? `${selectorId(selector)}:${name}` : name
