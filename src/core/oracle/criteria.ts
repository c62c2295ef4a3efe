// Does a packet meet a rule? Every criterion is asked, also after the first that fails, because "nothing else is missing"
// is what makes a near miss worth telling. Plain on purpose: each question is put to the resources again.
//
// All criteria must hold; lists are "any of". Calico's meanings, in short:
// - ICMP and ICMPv6 by name imply the family, the numbers 1 and 58 do not; a list of nets with none of the packet's
//   family (of notNets too) takes the rule out for that family;
// - an address meets the selectors of a side when one thing it belongs to (endpoint or network set) meets all of them;
//   notSelector stands alone: nothing the address belongs to, anywhere, may match it;
// - in a namespaced policy these selectors see the policy's own namespace unless a namespaceSelector is given.
import type { Packet } from '../net/packet.ts'
import { protocolName, protocolNumber } from '../net/protocol.ts'
import type { PolicyRule as Rule } from '../resources/resource.ts'
import { type Failure, printService } from './decision.ts'
import { entityFailures, type Side } from './entity.ts'

/** A packet and what its two addresses belong to. */
export type Case = {
  readonly packet: Packet
  readonly source: Side
  readonly destination: Side
}

const SIDES = ['source', 'destination'] as const

/** Every criterion of the rule that the packet does not meet; none means that it matches. */
export function ruleFailures(rule: Rule, namespace: string | undefined, c: Case): Failure[] {
  const failures = [
    ...familyFailures(rule, c.packet),
    ...protocolFailures(rule, c.packet),
    ...icmpFailures(rule, c.packet),
  ]
  for (const name of SIDES) {
    const entity = rule[name]
    if (entity) failures.push(...entityFailures(entity, { name, namespace, side: c[name], packet: c.packet }))
  }
  return failures
}

/** What the rule asks that nobody here can judge; such a rule never allows and, if it denies, counts as met. */
export function unjudged(rule: Rule): string | undefined {
  return rule.http ? 'http cannot be judged' : undefined
}

const fails = (condition: boolean, text: string, wanted: string): Failure[] => (condition ? [{ text, wanted }] : [])

function familyFailures(rule: Rule, packet: Packet): Failure[] {
  const family = rule.ipVersion ?? impliedFamily(rule)
  const wrong = family !== undefined && family !== packet.family
  return fails(wrong, `the rule is for IPv${family}, this is IPv${packet.family}`, `the packet were IPv${family}`)
}

/** The family that a protocol given by name implies. A notProtocol by name implies none. */
function impliedFamily({ protocol }: Rule): 4 | 6 | undefined {
  return protocol === 'ICMP' ? 4 : protocol === 'ICMPv6' ? 6 : undefined
}

function protocolFailures(rule: Rule, packet: Packet): Failure[] {
  const { protocol, notProtocol } = rule
  const is = protocolName(packet.protocol)
  const failures: Failure[] = []
  if (protocol !== undefined && protocolNumber(protocol) !== packet.protocol) {
    failures.push({ text: `protocol ${is} is not ${protocol}`, wanted: `the protocol were ${protocol}` })
  }
  if (notProtocol !== undefined && protocolNumber(notProtocol) === packet.protocol) {
    failures.push({ text: `protocol ${is} is excluded by notProtocol`, wanted: `the protocol were not ${notProtocol}` })
  }
  return failures
}

function icmpFailures(rule: Rule, packet: Packet): Failure[] {
  const { icmp, notICMP } = rule
  const failures: Failure[] = []
  const meets = (wanted: { type?: number | undefined; code?: number | undefined }): boolean =>
    packet.icmp !== undefined &&
    (wanted.type === undefined || wanted.type === packet.icmp.type) &&
    (wanted.code === undefined || wanted.code === packet.icmp.code)
  const words = (wanted: { type?: number | undefined; code?: number | undefined }): string =>
    `ICMP type ${wanted.type ?? 'any'}${wanted.code === undefined ? '' : ` code ${wanted.code}`}`
  if (icmp && !meets(icmp)) {
    failures.push({ text: `${printService(packet)} is not ${words(icmp)}`, wanted: `it were ${words(icmp)}` })
  }
  // A negated ICMP match is still a match on ICMP: a packet without a type is not met by it.
  if (notICMP && !packet.icmp) {
    failures.push({
      text: `${printService(packet)} is no ICMP, and notICMP speaks of ICMP only`,
      wanted: 'it were ICMP',
    })
  } else if (notICMP && meets(notICMP)) {
    failures.push({ text: `${printService(packet)} is excluded by notICMP`, wanted: `it were not ${words(notICMP)}` })
  }
  return failures
}
