// A rule as one endpoint sees it: its own side is decided here and now (labels, own addresses, own port names), the peer's
// side becomes set memberships. A rule that cannot match this endpoint and family at all is gone.
import { type Addr, type Family, familyOf } from '../net/addr.ts'
import type { Prefix } from '../net/prefix.ts'
import { prefixContains } from '../net/prefix.ts'
import type { Entity, Ports, Rule } from '../policy/model.ts'
import type { Direction } from '../resources/cause.ts'
import { lookup, matches } from '../selector/match.ts'
import type { Selector } from '../selector/selector.ts'
import type { PortTerm, ResolvedRule, SetId } from './intent.ts'
import { type Labelled, portsNamed } from './sets.ts'

/** Where a rule's sets come from: all of the cluster's endpoints and network sets. */
export type SetSource = {
  /** The set of a peer's selector, of a list of nets, of a port name: asked for, it becomes part of the intent. */
  selector(selector: Selector): SetId
  nets(nets: readonly Prefix[]): SetId
  portName(name: string, selector: Selector | undefined): readonly PortTerm[]
  /** The endpoints of a service (`namespace/name`), and what they serve on. */
  service(service: string): SetId
  servicePorts(service: string): readonly PortTerm[]
  /** Whether a selector selects an address, without the set becoming part of the intent. */
  selects(selector: Selector, addr: Addr): boolean
}

/** The endpoint, the direction, and the family for which a rule is resolved. */
export type Place = { readonly self: Labelled; readonly direction: Direction; readonly family: Family }

/** What the endpoint's own side makes of a rule. */
export type OwnSide = {
  /** Of host endpoints: sets that the own address must and must not be in. */
  readonly in?: readonly SetId[]
  readonly notIn?: readonly SetId[]
  /** Only where some of its addresses of the family satisfy its side and others do not. */
  readonly addresses?: readonly Addr[]
  readonly ports?: readonly PortTerm[]
  readonly notPorts?: readonly PortTerm[]
}

const sides = (rule: Rule, direction: Direction): [own: Entity, peer: Entity] =>
  direction === 'ingress' ? [rule.destination, rule.source] : [rule.source, rule.destination]

/** Whether endpoints may see a rule differently: it asks something of their own side other than port numbers. */
export function hasOwnSide(rule: Rule, direction: Direction): boolean {
  const [own] = sides(rule, direction)
  const names = (own.ports?.names.length ?? 0) + (own.notPorts?.names.length ?? 0)
  return Boolean(own.selector || own.notSelector || own.nets || own.notNets || names > 0)
}

/**
 * `undefined` if the rule can never match this endpoint and family. Selectors are asked by address, as for any peer: an
 * address that a network set holds too is selected by that set's labels as well.
 */
export function ownSide(rule: Rule, place: Place, selects: SetSource['selects']): OwnSide | undefined {
  const { self, direction, family } = place
  if (!rule.families.includes(family)) return undefined
  const [own] = sides(rule, direction)
  const all = self.addresses.filter(a => familyOf(a) === family)
  const matching = all.filter(
    a =>
      (!own.selector || selects(own.selector, a)) &&
      !(own.notSelector && selects(own.notSelector, a)) &&
      (!own.nets || own.nets.some(n => prefixContains(n, a))) &&
      !own.notNets?.some(n => prefixContains(n, a)),
  )
  if (matching.length === 0 && all.length > 0) return undefined
  return {
    ...(matching.length < all.length && { addresses: matching }),
    ...(own.ports && { ports: ownTerms(own.ports, own, self) }),
    ...(own.notPorts && { notPorts: ownTerms(own.notPorts, own, self) }),
  }
}

/**
 * The own side of a rule at a host endpoint: the packet's address on that side need not be the endpoint's own, so what is
 * asked of it becomes sets, as for a peer. `undefined` if the rule never matches packets of the family.
 */
export function hostSide(rule: Rule, { direction, family }: Omit<Place, 'self'>, sets: SetSource): OwnSide | undefined {
  if (!rule.families.includes(family)) return undefined
  const [own] = sides(rule, direction)
  const wanted = [...(own.selector ? [sets.selector(own.selector)] : []), ...(own.nets ? [sets.nets(own.nets)] : [])]
  const unwanted = [
    ...(own.notSelector ? [sets.selector(own.notSelector)] : []),
    ...(own.notNets ? [sets.nets(own.notNets)] : []),
  ]
  const terms = (ports: Ports): PortTerm[] => [
    ...ports.ranges,
    ...ports.names.flatMap(name =>
      sets.portName(name, own.selector).map(({ peerIn, ...term }) => ({ ...term, ...(peerIn && { ownIn: peerIn }) })),
    ),
  ]
  return {
    ...(wanted.length > 0 && { in: wanted }),
    ...(unwanted.length > 0 && { notIn: unwanted }),
    ...(own.ports && { ports: terms(own.ports) }),
    ...(own.notPorts && { notPorts: terms(own.notPorts) }),
  }
}

function ownTerms(ports: Ports, own: Entity, self: Labelled): PortTerm[] {
  const selected = !own.selector || matches(own.selector, lookup(self.labels))
  const named = selected ? ports.names.flatMap(name => portsNamed(self.ports, name)) : []
  return [...ports.ranges, ...named.map(({ protocol, port }) => ({ protocol, first: port, last: port }))]
}

/** What tells two endpoints apart by their own side, in words; undefined if nothing does. */
export function ownException(rule: Rule, place: Place, own: OwnSide | undefined): string | undefined {
  if (!rule.families.includes(place.family) || !hasOwnSide(rule, place.direction)) return undefined
  if (!own) return 'not for us'
  const [{ ports, notPorts }] = sides(rule, place.direction)
  const named = (ports?.names.length ?? 0) + (notPorts?.names.length ?? 0) > 0
  const parts = [named ? [own.ports, own.notPorts] : undefined, own.addresses].filter(p => p !== undefined)
  return parts.length === 0 ? undefined : JSON.stringify(parts)
}

/** The rule with its peer's side as sets; its own side is given. */
export function resolveRule(rule: Rule, place: Pick<Place, 'direction'>, own: OwnSide, sets: SetSource): ResolvedRule {
  const [, peer] = sides(rule, place.direction)
  const peerIn: SetId[] = []
  const peerNotIn: SetId[] = []
  if (peer.selector) peerIn.push(sets.selector(peer.selector))
  if (peer.nets) peerIn.push(sets.nets(peer.nets))
  if (peer.notSelector) peerNotIn.push(sets.selector(peer.notSelector))
  if (peer.notNets) peerNotIn.push(sets.nets(peer.notNets))
  // A source has no ports to match: those of its service are where it listens, not where it calls from.
  if (peer.service && place.direction === 'ingress') peerIn.push(sets.service(peer.service))
  const terms = (ports: Ports | undefined): PortTerm[] | undefined =>
    ports && [...ports.ranges, ...ports.names.flatMap(name => sets.portName(name, peer.selector))]
  const ingress = place.direction === 'ingress'
  const served = peer.service && !ingress ? sets.servicePorts(peer.service) : undefined
  const [peerPorts, peerNotPorts] = [served ?? terms(peer.ports), terms(peer.notPorts)]
  const dports = ingress ? own.ports : peerPorts
  const notDports = ingress ? own.notPorts : peerNotPorts
  const sports = ingress ? peerPorts : own.ports
  const notSports = ingress ? peerNotPorts : own.notPorts
  return {
    ref: rule.ref,
    action: rule.action,
    ...(rule.protocol !== undefined && { protocol: rule.protocol }),
    ...(rule.notProtocol !== undefined && { notProtocol: rule.notProtocol }),
    ...(rule.icmp && { icmp: rule.icmp }),
    ...(rule.notIcmp && { notIcmp: rule.notIcmp }),
    peerIn,
    peerNotIn,
    ...(dports && { dports }),
    ...(notDports && { notDports }),
    ...(sports && { sports }),
    ...(notSports && { notSports }),
    ...(own.addresses && { ownAddresses: own.addresses }),
    ...(own.in && { ownIn: own.in }),
    ...(own.notIn && { ownNotIn: own.notIn }),
  }
}
