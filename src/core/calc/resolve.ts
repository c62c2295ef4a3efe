// A rule as one endpoint sees it: its own side is decided here and now (labels, own addresses, own port names), the peer's
// side becomes set memberships. A rule that cannot match this endpoint and family at all is gone.
import type { Addr, Family } from '../net/addr.ts'
import { familyOf } from '../net/addr.ts'
import { prefixContains } from '../net/prefix.ts'
import type { Entity, Ports, Rule } from '../policy/model.ts'
import type { Direction } from '../resources/cause.ts'
import { lookup, matches } from '../selector/match.ts'
import type { AddressSet, PortTerm, ResolvedRule, SetId } from './intent.ts'
import { type Labelled, portsNamed, type SetCollector } from './sets.ts'

/** The endpoint, the direction, and the family for which a rule is resolved. */
export type Place = { readonly self: Labelled; readonly direction: Direction; readonly family: Family }

/**
 * Which of the endpoint's own addresses satisfy its side of a rule. Selectors are asked by address, as for any peer: an
 * address that a network set holds too is selected by that set's labels as well.
 */
function ownMatches(own: Entity, addresses: readonly Addr[], sets: SetCollector): Addr[] {
  return addresses.filter(
    a =>
      (!own.selector || holds(sets.members(own.selector), a)) &&
      !(own.notSelector && holds(sets.members(own.notSelector), a)) &&
      (!own.nets || own.nets.some(n => prefixContains(n, a))) &&
      !own.notNets?.some(n => prefixContains(n, a)),
  )
}

const holds = (set: AddressSet, a: Addr): boolean =>
  set.addresses.has(a) || set.prefixes.some(n => prefixContains(n, a))

function peerTerms(ports: Ports, peer: Entity, sets: SetCollector): PortTerm[] {
  return [...ports.ranges, ...ports.names.flatMap(name => sets.portName(name, peer.selector))]
}

function ownTerms(ports: Ports, own: Entity, self: Labelled): PortTerm[] {
  const selected = !own.selector || matches(own.selector, lookup(self.labels))
  const named = selected ? ports.names.flatMap(name => portsNamed(self.ports, name)) : []
  return [...ports.ranges, ...named.map(({ protocol, port }) => ({ protocol, first: port, last: port }))]
}

/** `undefined` if the rule can never match at this place. */
export function resolveRule(rule: Rule, place: Place, sets: SetCollector): ResolvedRule | undefined {
  const { self, direction, family } = place
  if (!rule.families.includes(family)) return undefined
  const [own, peer] = direction === 'ingress' ? [rule.destination, rule.source] : [rule.source, rule.destination]
  const addresses = self.addresses.filter(a => familyOf(a) === family)
  const matching = ownMatches(own, addresses, sets)
  if (matching.length === 0 && addresses.length > 0) return undefined

  const peerIn: SetId[] = []
  const peerNotIn: SetId[] = []
  if (peer.selector) peerIn.push(sets.selector(peer.selector))
  if (peer.nets) peerIn.push(sets.nets(peer.nets))
  if (peer.notSelector) peerNotIn.push(sets.selector(peer.notSelector))
  if (peer.notNets) peerNotIn.push(sets.nets(peer.notNets))

  const terms = (entity: Entity, field: 'ports' | 'notPorts'): PortTerm[] | undefined => {
    const ports = entity[field]
    return ports && (entity === own ? ownTerms(ports, own, self) : peerTerms(ports, peer, sets))
  }
  const dports = terms(rule.destination, 'ports')
  const notDports = terms(rule.destination, 'notPorts')
  const sports = terms(rule.source, 'ports')
  const notSports = terms(rule.source, 'notPorts')
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
    ...(matching.length < addresses.length && { ownAddresses: matching }),
  }
}
