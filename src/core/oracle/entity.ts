// One side of a rule: does an address meet its selectors, nets and ports? The meanings are told in criteria.ts.
import type { Addr } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { prefix, prefixContains, prefixFamily, prefixLength } from '../net/prefix.ts'
import { hasPorts, protocolName } from '../net/protocol.ts'
import type { EntityRule } from '../resources/resource.ts'
import { type Failure, printService } from './decision.ts'
import {
  type Member,
  NAMESPACE,
  selecting,
  selectingNamespace,
  selectingServiceAccount,
  serviceAccountOf,
  show,
} from './members.ts'
import { type Served, serviceFailures } from './services.ts'

type Port = NonNullable<EntityRule['ports']>[number]

/** One end of a packet and what its address belongs to. */
export type Side = {
  readonly addr: Addr
  readonly port: number | undefined
  readonly members: readonly Member[]
  readonly served: readonly Served[]
}
export type SideName = 'source' | 'destination'

export type EntityContext = {
  readonly name: SideName
  readonly namespace: string | undefined
  readonly side: Side
  readonly packet: Packet
}

/** Every criterion of a side that the packet does not meet. */
export function entityFailures(entity: EntityRule, c: EntityContext): Failure[] {
  const asked = positive(entity, c.namespace)
  return [
    ...(asked ? membershipFailures(asked, c) : []),
    ...notSelectorFailures(entity, c),
    ...netFailures(entity, c),
    ...portFailures(entity, c, asked),
    ...(entity.services?.name
      ? serviceFailures(serviceOf(entity.services, c.namespace), { ...c.side, name: c.name }, c.packet)
      : []),
  ]
}

/** `namespace/name`; a namespaced policy means its own namespace unless it names another. */
export const serviceOf = ({ name, namespace }: NonNullable<EntityRule['services']>, own: string | undefined): string =>
  `${namespace ?? own}/${name}`

type Ask = {
  readonly text: string
  readonly test: (member: Member) => boolean
  /** What a member is instead, in words. */
  readonly found: (member: Member) => string
}

/** What one thing that the address belongs to must meet, criterion by criterion; absent if the side asks nothing of it. */
function positive(entity: EntityRule, namespace: string | undefined): Ask[] | undefined {
  const { selector, notSelector, namespaceSelector, serviceAccounts } = entity
  const names = serviceAccounts?.names ?? []
  const anything =
    given(selector) ||
    given(notSelector) ||
    given(namespaceSelector) ||
    names.length > 0 ||
    given(serviceAccounts?.selector)
  if (!anything) return undefined
  const asks: Ask[] = []
  if (given(namespaceSelector)) {
    const selects = selectingNamespace(namespaceSelector)
    const text = `namespaceSelector ${namespaceSelector}`
    asks.push({ text, test: member => selects(member.labels), found: show.namespaceLabels })
  } else if (namespace !== undefined) {
    const test = (member: Member): boolean => member.labels[NAMESPACE] === namespace
    asks.push({ text: `namespace ${namespace}`, test, found: show.namespace })
  }
  if (given(selector)) {
    const selects = selecting(selector)
    asks.push({ text: selector, test: member => selects(member.labels), found: show.labels })
  }
  if (names.length > 0) {
    const test = (member: Member): boolean => names.includes(serviceAccountOf(member.labels) ?? '')
    asks.push({ text: `service account ${names.join(' or ')}`, test, found: show.serviceAccount })
  }
  const accounts = serviceAccounts?.selector
  if (given(accounts)) {
    const selects = selectingServiceAccount(accounts)
    const text = `service account ${accounts}`
    asks.push({ text, test: member => selects(member.labels), found: show.serviceAccountLabels })
  }
  return asks.length === 0 ? undefined : asks
}

/** Whether a thing meets what a side asks of it, notSelector, nets and ports aside; undefined if the side asks nothing. */
export function sideSelects(
  entity: EntityRule,
  namespace: string | undefined,
): ((member: Member) => boolean) | undefined {
  const asks = positive(entity, namespace)
  return asks && (member => asks.every(ask => ask.test(member)))
}

const given = (text: string | undefined): text is string => text !== undefined && text.trim() !== ''

function membershipFailures(asks: readonly Ask[], { name, side }: EntityContext): Failure[] {
  if (side.members.some(member => asks.every(ask => ask.test(member)))) return []
  // Told from the thing that comes nearest, so that the words name what is missing and not everything asked.
  const missing = (member: Member): Ask[] => asks.filter(ask => !ask.test(member))
  const nearest = [...side.members].sort((a, b) => missing(a).length - missing(b).length)[0]
  if (!nearest) {
    const text = asks.map(ask => ask.text).join(' and ')
    const is = `${side.addr} belongs to no workload or network set`
    return [{ text: `${name} does not match ${text} (${is})`, wanted: `the ${name} matched ${text}` }]
  }
  return missing(nearest).map(ask => ({
    text: `${name} does not match ${ask.text} (${ask.found(nearest)})`,
    wanted: `the ${name} matched ${ask.text}`,
  }))
}

function notSelectorFailures({ notSelector }: EntityRule, { name, side }: EntityContext): Failure[] {
  if (!given(notSelector)) return []
  const selects = selecting(notSelector)
  const member = side.members.find(m => selects(m.labels))
  if (!member) return []
  const text = `${name} matches notSelector ${notSelector} (${show.labels(member)})`
  return [{ text, wanted: `the ${name} did not match ${notSelector}` }]
}

function netFailures(entity: EntityRule, { name, side, packet }: EntityContext): Failure[] {
  const failures: Failure[] = []
  const { nets = [], notNets = [] } = entity
  const ofFamily = (list: readonly string[]): string[] =>
    list.filter(net => prefixFamily(prefix(net)) === packet.family)
  const holds = (net: string): boolean => prefixContains(prefix(net), side.addr)
  if (nets.length > 0 && !nets.some(holds)) {
    const text = `${name} ${side.addr} is not in ${nets.join(', ')}`
    failures.push({ text, wanted: `the ${name} were in ${nets.join(' or ')}` })
  }
  if (notNets.length > 0) {
    const relevant = ofFamily(notNets)
    const excluded = relevant.find(holds)
    if (relevant.length === 0) {
      const text = `${name} notNets ${notNets.join(', ')} say nothing about IPv${packet.family}`
      failures.push({ text, wanted: `notNets had an IPv${packet.family} net` })
    } else if (relevant.some(net => prefixLength(prefix(net)) === 0)) {
      failures.push({ text: `${name} notNets exclude every address`, wanted: 'notNets did not exclude every address' })
    } else if (excluded !== undefined) {
      const text = `${name} ${side.addr} is in the excluded ${excluded}`
      failures.push({ text, wanted: `the ${name} were not in ${excluded}` })
    }
  }
  return failures
}

function portFailures(entity: EntityRule, c: EntityContext, asks: readonly Ask[] | undefined): Failure[] {
  const { name, side, packet } = c
  const failures: Failure[] = []
  const is = side.port === undefined ? `${printService(packet)} has no port` : `${name} port ${side.port}`
  // A named port counts for the things that the side's selectors select, if it has any.
  const owners = side.members.filter(member => asks?.every(ask => ask.test(member)) ?? true)
  const has = (port: Port): boolean => portMatches(port, owners, c)
  const { ports = [], notPorts = [] } = entity
  if (ports.length > 0 && !ports.some(has)) {
    const text = side.port === undefined ? is : `${is} is not in ${ports.join(', ')}${namedNote(ports, side)}`
    failures.push({ text, wanted: `the ${name} port were ${ports.join(' or ')}` })
  }
  const excluded = notPorts.find(has)
  if (excluded !== undefined) {
    failures.push({ text: `${is} is the excluded ${excluded}`, wanted: `the ${name} port were not ${excluded}` })
  }
  return failures
}

/** What the named ports in a list stand for on this side: `(http is 8080/TCP)`. */
function namedNote(ports: readonly Port[], side: Side): string {
  const notes = ports.filter(isName).map(name => {
    const found = side.members.flatMap(m => m.ports).filter(p => p.name === name)
    return found.length === 0
      ? `nothing here is named ${name}`
      : `${name} is ${found.map(p => `${p.port}/${protocolName(p.protocol)}`).join(', ')}`
  })
  return notes.length === 0 ? '' : ` (${notes.join('; ')})`
}

const isName = (port: Port): port is string => typeof port === 'string' && !/^\d+(:\d+)?$/.test(port)

function portMatches(port: Port, owners: readonly Member[], { side, packet }: EntityContext): boolean {
  if (side.port === undefined || !hasPorts(packet.protocol)) return false
  if (isName(port)) {
    return owners.some(owner =>
      owner.ports.some(p => p.name === port && p.port === side.port && p.protocol === packet.protocol),
    )
  }
  const [first, last = first] = String(port).split(':').map(Number)
  return first! <= side.port && side.port <= last!
}
