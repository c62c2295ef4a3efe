// Names and shapes of everything in our table that does not depend on policy: the maps that hold the classification, and
// the chains that walk it. Read `policyTable` in table.ts for the whole road of a packet.

import type { NodeSettings } from '../../calc/intent.ts'
import type {
  DataType,
  Element,
  Field,
  NftChain,
  NftSet,
  Operand,
  Rule,
  Statement,
  Verdict,
} from '../../nft/objects.ts'
import { DIRECTIONS, type Direction } from '../../resources/cause.ts'
import { PLAIN_ROW } from './numbers.ts'

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
  pools4: { key: ['ipv4_addr'], interval: true },
  pools6: { key: ['ipv6_addr'], interval: true },
  masquerade4: { key: ['ipv4_addr'], interval: true },
  masquerade6: { key: ['ipv6_addr'], interval: true },
} as const satisfies Record<string, Shape>

/**
 * A direction has row maps of its own: what egress allows goes on to the receiver's ingress, and with shared maps the
 * kernel would see a loop of chains and refuse it.
 */
export type SetName = keyof typeof ADDRESS_SETS | `${Direction}_${RowMapName}`

/** The maps and sets whose elements follow pods and policies; their declarations never change. */
export const SHAPES: Readonly<Record<SetName, Shape>> = {
  ...ADDRESS_SETS,
  ...rowMapsOf('ingress'),
  ...rowMapsOf('egress'),
}

function rowMapsOf<D extends Direction>(direction: D): Record<`${D}_${RowMapName}`, Shape> {
  const maps = Object.entries(ROW_MAPS).map(([name, shape]) => [`${direction}_${name}`, shape])
  return Object.fromEntries(maps) as Record<`${D}_${RowMapName}`, Shape>
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

const L4 = 'meta l4proto'
const ESTABLISHED_RELATED = 2 | 4
const INVALID = 1

/** ICMPv6 types of neighbour and multicast listener discovery (RFC 4861, 3810): a pod cannot live without them. */
const DISCOVERY = { set: [{ from: 130, to: 133 }, 135, 136, 143] } as const
const LINK_LOCAL = { set: ['::', { from: 'fe80::', to: 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff' }] } as const

/** From a row, in the priority, to its outcome. */
function decideChain(direction: Direction): NftChain {
  const ask = (map: RowMapName, ...more: Field[]): Statement => vmap(['meta priority', ...more], `${direction}_${map}`)
  const isPlain: Statement = {
    kind: 'match',
    fields: ['meta priority'],
    op: '!=',
    right: { value: 0 },
    mask: PLAIN_ROW,
  }
  return {
    name: decideIn(direction),
    rules: [
      rule(isPlain, ask('by_plain')),
      rule(ask('by_port', L4, 'th dport')),
      rule(ask('by_range', L4, 'th dport')),
      rule(ask('by_code4', 'icmp type', 'icmp code')),
      rule(ask('by_code6', 'icmpv6 type', 'icmpv6 code')),
      rule(ask('by_type4', 'icmp type')),
      rule(ask('by_type6', 'icmpv6 type')),
      rule(ask('by_proto', L4)),
      rule(ask('by_row')),
      rule(DROP),
    ],
  }
}

export const decideIn = (direction: Direction): string => `decide_${direction}`

/** The chains that are the same whatever the policies. `cali*` stands for each configured interface prefix. */
export function staticChains(settings: NodeSettings, masquerades: boolean): NftChain[] {
  const fromPod = (to: Statement): Rule[] =>
    settings.interfacePrefixes.map(p => rule(is('iifname', { value: `${p}*` }), to))
  const toPod = (to: Statement): Rule[] =>
    settings.interfacePrefixes.map(p => rule(is('oifname', { value: `${p}*` }), to))
  const stateful: Rule[] = [
    rule({ ...is('ct state', { value: 0 }), op: '!=', mask: ESTABLISHED_RELATED } as Statement, ACCEPT),
    ...(settings.conntrackInvalidCheck
      ? [rule({ ...is('ct state', { value: 0 }), op: '!=', mask: INVALID } as Statement, DROP)]
      : []),
  ]
  const toHost: Record<NodeSettings['endpointToHostAction'], Statement> = {
    Drop: DROP,
    // Ours is not the last word on host traffic: other tables' input chains still judge it.
    Accept: ACCEPT,
    Return: ACCEPT,
    Reject: { kind: 'reject' },
  }
  return [
    ...DIRECTIONS.map(decideChain),
    { name: 'to_check', rules: [rule(vmap(['oifname'], 'to_workload')), rule(DROP)] },
    // A packet without outgoing interface (index 0) is in the input hook: a pod talks to its node.
    {
      name: 'from_ok',
      rules: [...toPod(goto('to_check')), rule(is('oif', { value: 0 }), goto('to_host')), rule(ACCEPT)],
    },
    { name: 'to_host', rules: [rule(toHost[settings.endpointToHostAction])] },
    { name: 'from_check', rules: [rule(vmap(['iifname'], 'from_workload')), rule(DROP)] },
    {
      name: 'source_check',
      base: { type: 'filter', hook: 'prerouting', priority: -300, policy: 'accept' },
      // Most packets come from pods' own IPv4 addresses.
      rules: [rule(inRef(['iifname', 'ip saddr'], 'sources4'), ACCEPT), ...fromPod(goto('source_known')), rule(ACCEPT)],
    },
    {
      name: 'source_known',
      rules: [
        rule(inRef(['iifname', 'ip6 saddr'], 'sources6'), ACCEPT),
        rule(is('icmpv6 type', DISCOVERY), is('ip6 saddr', LINK_LOCAL), ACCEPT),
        rule(DROP),
      ],
    },
    {
      name: 'forward',
      base: { type: 'filter', hook: 'forward', priority: 0, policy: 'drop' },
      rules: [...stateful, ...fromPod(goto('from_check')), ...toPod(goto('to_check')), rule(ACCEPT)],
    },
    {
      name: 'input',
      base: { type: 'filter', hook: 'input', priority: 0, policy: 'accept' },
      rules: [...fromPod(goto('from_pod_to_host'))],
    },
    {
      name: 'from_pod_to_host',
      rules: [...stateful, rule(is('icmpv6 type', DISCOVERY), ACCEPT), rule(goto('from_check'))],
    },
    ...(masquerades ? [natChain()] : []),
  ]
}

const notIn = (field: Field, ref: string): Statement => ({ kind: 'match', fields: [field], op: '!=', right: { ref } })

/** Without a pool that masquerades it is not there: a nat chain costs every new connection, also an empty one. */
export const NAT_CHAIN = 'nat_outgoing'

const natChain = (): NftChain => ({
  name: NAT_CHAIN,
  base: { type: 'nat', hook: 'postrouting', priority: 100, policy: 'accept' },
  rules: [
    rule(inRef(['ip saddr'], 'masquerade4'), notIn('ip daddr', 'pools4'), { kind: 'masquerade' }),
    rule(inRef(['ip6 saddr'], 'masquerade6'), notIn('ip6 daddr', 'pools6'), { kind: 'masquerade' }),
  ],
})
