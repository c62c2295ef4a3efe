// Names and shapes of everything in our table that does not depend on policy: the maps that hold the classification, and
// the statements that its chains are made of. The chains are in static-chains.ts and host-chains.ts.

import { ACCEPT_MARK } from '../../base/register.ts'
import type { NodeSettings } from '../../calc/intent.ts'
import type { DataType, Element, Field, NftSet, Operand, Rule, Statement, Verdict } from '../../nft/objects.ts'
import { DIRECTIONS, type Direction, HOST_LEGS, type HostHook, type HostLeg } from '../../resources/cause.ts'

export const NFPROTO = { 4: 2, 6: 10 } as const

// Statements.
export const goto = (chain: string): Statement => ({ kind: 'verdict', verdict: { kind: 'goto', chain } })
export const gotoVerdict = (chain: string): Verdict => ({ kind: 'goto', chain })
export const ACCEPT: Statement = { kind: 'verdict', verdict: { kind: 'accept' } }
export const RETURN: Statement = { kind: 'verdict', verdict: { kind: 'return' } }
export const jump = (chain: string): Statement => ({ kind: 'verdict', verdict: { kind: 'jump', chain } })
export const DROP: Statement = { kind: 'verdict', verdict: { kind: 'drop' } }
export const is = (field: Field, right: Operand): Statement => ({ kind: 'match', fields: [field], op: '==', right })
export const isNot = (field: Field, right: Operand): Statement => ({ kind: 'match', fields: [field], op: '!=', right })
export const inRef = (fields: readonly Field[], ref: string): Statement => ({
  kind: 'match',
  fields,
  op: '==',
  right: { ref },
})
export const vmap = (fields: readonly Field[], map: string): Statement => ({ kind: 'vmap', fields, map })
export const priorityFrom = (fields: readonly Field[], map: string): Statement => ({
  kind: 'set-map',
  field: 'meta priority',
  fields,
  map,
})
export const priority = (value: number): Statement => ({ kind: 'set', field: 'meta priority', value })
const acceptMark = (on: boolean): Statement => ({ kind: 'set-bits', field: 'meta mark', bits: ACCEPT_MARK, on })
export const SET_ACCEPT_MARK = acceptMark(true)
export const CLEAR_ACCEPT_MARK = acceptMark(false)
export const rule = (...statements: Statement[]): Rule => ({ statements })

type Shape = { key: readonly DataType[]; value?: DataType; interval?: true }

/** The lookups from a row to its outcome, from fine to coarse. */
const ROW_MAPS = {
  by_port: { key: ['classid', 'inet_proto', 'inet_service'], value: 'verdict' },
  by_range: { key: ['classid', 'inet_proto', 'inet_service'], value: 'verdict', interval: true },
  by_code4: { key: ['classid', 'icmp_type', 'icmp_code'], value: 'verdict' },
  by_code6: { key: ['classid', 'icmpv6_type', 'icmpv6_code'], value: 'verdict' },
  by_type4: { key: ['classid', 'icmp_type'], value: 'verdict' },
  by_type6: { key: ['classid', 'icmpv6_type'], value: 'verdict' },
  by_proto: { key: ['classid', 'inet_proto'], value: 'verdict' },
  by_row: { key: ['classid'], value: 'verdict' },
  /** Rows without finer keys. Apart from the others: the kernel checks a map's verdicts once for each rule that asks it. */
  by_plain: { key: ['classid'], value: 'verdict' },
} as const satisfies Record<string, Shape>

export type RowMapName = keyof typeof ROW_MAPS

const ADDRESS_SETS = {
  pod4: { key: ['ipv4_addr'], value: 'classid' },
  pod6: { key: ['ipv6_addr'], value: 'classid' },
  net4: { key: ['ipv4_addr'], value: 'classid', interval: true },
  net6: { key: ['ipv6_addr'], value: 'classid', interval: true },
  from_workload: { key: ['ifname'], value: 'verdict' },
  to_workload: { key: ['ifname'], value: 'verdict' },
  sources4: { key: ['ifname', 'ipv4_addr'] },
  sources6: { key: ['ifname', 'ipv6_addr'] },
  spoofed4: { key: ['ifname', 'ipv4_addr'], interval: true },
  spoofed6: { key: ['ifname', 'ipv6_addr'], interval: true },
  pools4: { key: ['ipv4_addr'], interval: true },
  pools6: { key: ['ipv6_addr'], interval: true },
  masquerade4: { key: ['ipv4_addr'], interval: true },
  masquerade6: { key: ['ipv6_addr'], interval: true },
} as const satisfies Record<string, Shape>

type HostLegName = `${HostHook}_${Direction}`
/** A direction of workloads, or a leg of host endpoints. */
export type LegName = Direction | HostLegName
export const legName = ({ direction, hook }: { direction: Direction; hook?: HostHook }): LegName =>
  hook === undefined ? direction : `${hook}_${direction}`

/**
 * Every leg has row maps of its own: what egress allows goes on to the receiver's ingress, and with shared maps the
 * kernel would see a loop of chains and refuse it. For host endpoints there is a map more, from interface to what guards it.
 */
export type SetName = keyof typeof ADDRESS_SETS | `${LegName}_${RowMapName}` | `at_${HostLegName}`

const rowShapes = (leg: LegName): [SetName, Shape][] =>
  (Object.keys(ROW_MAPS) as RowMapName[]).map(map => [`${leg}_${map}`, ROW_MAPS[map]])
const HOST_LEG_NAMES = HOST_LEGS.map(leg => legName(leg) as HostLegName)
export const atMap = (leg: HostLeg): `at_${HostLegName}` => `at_${legName(leg) as HostLegName}`
const dispatchShape = (leg: HostLegName): [SetName, Shape] => [`at_${leg}`, { key: ['ifname'], value: 'verdict' }]

/** The maps and sets whose elements follow pods and policies; their declarations never change. */
export const SHAPES = Object.fromEntries([
  ...Object.entries(ADDRESS_SETS),
  ...DIRECTIONS.flatMap(rowShapes),
  ...HOST_LEG_NAMES.flatMap(leg => [dispatchShape(leg), ...rowShapes(leg)]),
]) as Readonly<Record<SetName, Shape>>

/** Those that are always there, and those of a host leg, which are there while some host endpoint has a say in it. */
export const STATIC_SETS: readonly SetName[] = [
  ...(Object.keys(ADDRESS_SETS) as SetName[]),
  ...DIRECTIONS.flatMap(rowShapes).map(([name]) => name),
]
export const setsOfLeg = (leg: HostLeg): SetName[] => {
  const name = legName(leg) as HostLegName
  return [dispatchShape(name), ...rowShapes(name)].map(([set]) => set)
}

export const makeSet = (name: SetName, elements: readonly Element[]): NftSet => ({
  name,
  ...SHAPES[name],
  elements,
})

/** A group's map: atom → row, one for each family. */
export const rowMap = (name: string, elements: readonly Element[], comment: string): NftSet => ({
  name,
  key: ['classid'],
  value: 'classid',
  elements,
  comment,
})

export const L4 = 'meta l4proto'
const ESTABLISHED_RELATED = 2 | 4
const INVALID = 1

/** ICMPv6 types of neighbour and multicast listener discovery (RFC 4861, 3810): a pod cannot live without them. */
export const DISCOVERY = { set: [{ from: 130, to: 133 }, 135, 136, 143] } as const
export const LINK_LOCAL = { set: ['::', { from: 'fe80::', to: 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff' }] } as const

export const decideIn = (leg: LegName): string => `decide_${leg}`

/** `cali*` stands for each configured interface prefix. */
export function podRules(settings: NodeSettings) {
  const each =
    (field: 'iifname' | 'oifname') =>
    (to: Statement): Rule[] =>
      settings.interfacePrefixes.map(p => rule(is(field, { value: `${p}*` }), to))
  return { fromPod: each('iifname'), toPod: each('oifname') }
}

export const statefulRules = (settings: NodeSettings): Rule[] => [
  rule(anyBit('ct state', ESTABLISHED_RELATED), ACCEPT),
  ...(settings.conntrackInvalidCheck ? [rule(anyBit('ct state', INVALID), DROP)] : []),
]

export const anyBit = (field: Field, mask: number): Statement => ({
  kind: 'match',
  fields: [field],
  op: '!=',
  right: { value: 0 },
  mask,
})
