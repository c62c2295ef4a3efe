// The compiled policy table by example: two pods on this node. cali1 (10.65.1.7, fd00::7) may send anything; cali2
// (10.65.1.9, fd00::9) takes tcp 80, tcp 8000-9000 and ping from the atom of cali1's addresses only. Numbers: atoms 0:n, rows 1:n
// (8001:n when the row needs no finer key).
import { addr } from '../../src/core/net/addr.ts'
import type {
  BaseHook,
  Element,
  Field,
  KeyPart,
  NftChain,
  NftSet,
  NftTable,
  Operand,
  Rule,
  Statement,
  Verdict,
} from '../../src/core/nft/objects.ts'

const classid = (major: number, minor: number): number => major * 65536 + minor
const atom = (n: number): number => classid(0, n)
const row = (n: number): number => classid(1, n)
const flatRow = (n: number): number => classid(0x8001, n)
const go = (chain: string): Verdict => ({ kind: 'goto', chain })

const rule = (...statements: Statement[]): Rule => ({ statements })
const say = (kind: 'accept' | 'drop'): Statement => ({ kind: 'verdict', verdict: { kind } })
const goTo = (chain: string): Statement => ({ kind: 'verdict', verdict: go(chain) })
const is = (field: Field, right: Operand, op: '==' | '!=' = '=='): Statement => ({
  kind: 'match',
  fields: [field],
  op,
  right,
})
const inSet = (fields: readonly Field[], ref: string): Statement => ({
  kind: 'match',
  fields,
  op: '==',
  right: { ref },
})
const vmap = (map: string, ...fields: Field[]): Statement => ({ kind: 'vmap', fields, map })
const chain = (name: string, rules: readonly Rule[], base?: BaseHook): NftChain => ({
  name,
  rules,
  ...(base && { base }),
})

const entry = (value: Element['value'], ...key: KeyPart[]): Element => (value === undefined ? { key } : { key, value })

const sets: readonly NftSet[] = [
  {
    name: 'pod4',
    key: ['ipv4_addr'],
    value: 'classid',
    elements: [entry(atom(4), addr('10.65.1.7')), entry(atom(5), addr('10.65.1.9'))],
  },
  {
    name: 'pod6',
    key: ['ipv6_addr'],
    value: 'classid',
    elements: [entry(atom(4), addr('fd00::7')), entry(atom(5), addr('fd00::9'))],
  },
  {
    name: 'net4',
    key: ['ipv4_addr'],
    value: 'classid',
    interval: true,
    elements: [
      entry(atom(0), { from: addr('0.0.0.0'), to: addr('9.255.255.255') }),
      entry(atom(3), { from: addr('10.0.0.0'), to: addr('10.0.0.255') }),
      entry(atom(0), { from: addr('10.0.1.0'), to: addr('255.255.255.255') }),
    ],
  },
  {
    name: 'net6',
    key: ['ipv6_addr'],
    value: 'classid',
    interval: true,
    elements: [entry(atom(0), { from: addr('::'), to: addr('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff') })],
  },
  {
    name: 'from_workload',
    key: ['ifname'],
    value: 'verdict',
    elements: [entry(go('g2_egress'), 'cali1'), entry(go('g2_egress'), 'cali2')],
  },
  {
    name: 'to_workload',
    key: ['ifname'],
    value: 'verdict',
    elements: [entry(go('g3_ingress'), 'cali1'), entry(go('g1_ingress'), 'cali2')],
  },
  {
    name: 'g1_rows',
    key: ['classid'],
    value: 'classid',
    elements: [entry(row(11), atom(4)), { key: '*', value: flatRow(1) }],
  },
  {
    name: 'by_port',
    key: ['classid', 'inet_proto', 'inet_service'],
    value: 'verdict',
    elements: [entry(go('o_5'), row(11), 6, 80)],
  },
  {
    name: 'by_range',
    key: ['classid', 'inet_proto', 'inet_service'],
    value: 'verdict',
    interval: true,
    elements: [entry(go('o_5'), row(11), 6, { from: 8000, to: 9000 })],
  },
  {
    name: 'by_icmp4',
    key: ['classid', 'icmp_type', 'icmp_code'],
    value: 'verdict',
    elements: [entry(go('o_5'), row(11), 8, 0)],
  },
  {
    name: 'by_icmp6',
    key: ['classid', 'icmpv6_type', 'icmpv6_code'],
    value: 'verdict',
    elements: [entry(go('o_5'), row(11), 128, 0)],
  },
  { name: 'by_proto', key: ['classid', 'inet_proto'], value: 'verdict', elements: [] },
  {
    name: 'by_row',
    key: ['classid'],
    value: 'verdict',
    elements: [entry(go('o_6'), flatRow(1)), entry(go('o_6'), row(11))],
  },
  {
    name: 'sources4',
    key: ['ifname', 'ipv4_addr'],
    elements: [entry(undefined, 'cali1', addr('10.65.1.7')), entry(undefined, 'cali2', addr('10.65.1.9'))],
  },
  {
    name: 'sources6',
    key: ['ifname', 'ipv6_addr'],
    elements: [entry(undefined, 'cali1', addr('fd00::7')), entry(undefined, 'cali2', addr('fd00::9'))],
  },
]

const PRIORITY = 'meta priority'
const known = (field: Field, map: string): Rule =>
  rule({ kind: 'set-map', field: PRIORITY, fields: [field], map }, goTo('g1_known'))
const logged = (n: number, group: number): Statement[] => [
  { kind: 'limit', rate: 100, per: 'second' },
  { kind: 'log', prefix: String(n), group },
]
const ND: Operand = { set: [{ from: 130, to: 133 }, 135, 136, 143] }
const LINK_LOCAL: Operand = {
  set: [addr('::'), { from: addr('fe80::'), to: addr('febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff') }],
}

const chains: readonly NftChain[] = [
  chain('o_5', [
    rule({ kind: 'counter' }),
    rule(...logged(5, 1)),
    rule({ kind: 'set', field: PRIORITY, value: 0 }),
    rule(say('accept')),
  ]),
  chain('o_6', [rule({ kind: 'counter' }), rule(...logged(6, 2)), rule(say('drop'))]),
  chain('decide', [
    rule(
      { kind: 'match', fields: [PRIORITY], op: '!=', right: { value: 0 }, mask: 0x80000000 },
      vmap('by_row', PRIORITY),
    ),
    rule(vmap('by_port', PRIORITY, 'meta l4proto', 'th dport')),
    rule(vmap('by_range', PRIORITY, 'meta l4proto', 'th dport')),
    rule(vmap('by_icmp4', PRIORITY, 'icmp type', 'icmp code')),
    rule(vmap('by_icmp6', PRIORITY, 'icmpv6 type', 'icmpv6 code')),
    rule(vmap('by_proto', PRIORITY, 'meta l4proto')),
    rule(vmap('by_row', PRIORITY)),
    rule(say('drop')),
  ]),
  chain('g1_known', [
    rule({ kind: 'set-map', field: PRIORITY, fields: [PRIORITY], map: 'g1_rows' }, goTo('decide')),
    rule(say('drop')),
  ]),
  chain('g1_ingress', [
    known('ip saddr', 'pod4'),
    known('ip saddr', 'net4'),
    known('ip6 saddr', 'pod6'),
    known('ip6 saddr', 'net6'),
    rule(say('drop')),
  ]),
  chain('g2_egress', [rule(goTo('from_ok'))]),
  chain('g3_ingress', [rule(say('accept'))]),
  chain('to_check', [rule(vmap('to_workload', 'oifname')), rule(say('drop'))]),
  chain('from_ok', [rule(is('oifname', { value: 'cali*' }), goTo('to_check')), rule(say('accept'))]),
  chain('from_check', [rule(vmap('from_workload', 'iifname')), rule(say('drop'))]),
  chain(
    'source_check',
    [
      rule(is('iifname', { value: 'cali*' }, '!='), say('accept')),
      rule(inSet(['iifname', 'ip saddr'], 'sources4'), say('accept')),
      rule(inSet(['iifname', 'ip6 saddr'], 'sources6'), say('accept')),
      rule(is('icmpv6 type', ND), is('ip6 saddr', LINK_LOCAL), say('accept')),
      rule(is('meta nfproto', { set: [2, 10] }), say('drop')),
    ],
    { type: 'filter', hook: 'prerouting', priority: -300, policy: 'accept' },
  ),
  chain(
    'forward',
    [
      rule(is('ct state', { value: 6 }), say('accept')),
      rule(is('ct state', { value: 1 }), say('drop')),
      rule(is('iifname', { value: 'cali*' }), goTo('from_check')),
      rule(is('oifname', { value: 'cali*' }), goTo('to_check')),
      rule(say('accept')),
    ],
    { type: 'filter', hook: 'forward', priority: 0, policy: 'drop' },
  ),
]

export const policyTable: NftTable = { family: 'inet', name: 'gingham', sets, chains }
