// The chains that are the same whatever the policies: base chains, what they lead to, and the walk from a row to its outcome.
// Read `policyTable` in table.ts for the whole road of a packet.
import type { NodeSettings } from '../../calc/intent.ts'
import { FAMILIES, familyOf } from '../../net/addr.ts'
import type { PortRange } from '../../net/ports.ts'
import type { Field, NftChain, Rule, Statement } from '../../nft/objects.ts'
import { DIRECTIONS } from '../../resources/cause.ts'
import { hostChains, hostRules, type Uses } from './host-chains.ts'
import {
  ACCEPT,
  DISCOVERY,
  DROP,
  decideIn,
  goto,
  inRef,
  is,
  L4,
  type LegName,
  LINK_LOCAL,
  legName,
  podRules,
  type RowMapName,
  rule,
  statefulRules,
  vmap,
} from './layout.ts'
import { PLAIN_ROW } from './numbers.ts'

/** From a row, in the priority, to its outcome. */
function decideChain(leg: LegName): NftChain {
  const ask = (map: RowMapName, ...more: Field[]): Statement => vmap(['meta priority', ...more], `${leg}_${map}`)
  const isPlain: Statement = {
    kind: 'match',
    fields: ['meta priority'],
    op: '!=',
    right: { value: 0 },
    mask: PLAIN_ROW,
  }
  return {
    name: decideIn(leg),
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

/** A pod that encapsulates for itself would go past policy: what VXLAN and IPIP carry is dropped unless that is allowed. */
const encapsulated = ({ vxlanPort, allowVXLAN, allowIPIP }: NodeSettings): Rule[] => [
  ...(allowVXLAN ? [] : [rule(is('meta l4proto', { value: 17 }), is('th dport', { value: vxlanPort }), DROP)]),
  ...(allowIPIP ? [] : [rule(is('meta l4proto', { value: 4 }), DROP)]),
]

/** The chains that are the same whatever the policies. `cali*` stands for each configured interface prefix. */
export function staticChains(settings: NodeSettings, uses: Uses): NftChain[] {
  const { fromPod, toPod } = podRules(settings)
  const stateful = statefulRules(settings)
  const hosts = hostRules(uses)
  const toHost: Record<NodeSettings['endpointToHostAction'], Statement> = {
    Drop: DROP,
    // Ours is not the last word on host traffic: other tables' input chains still judge it.
    Accept: ACCEPT,
    Return: ACCEPT,
    Reject: { kind: 'reject' },
  }
  return [
    ...DIRECTIONS.map(decideChain),
    ...uses.legs.map(leg => decideChain(legName(leg))),
    { name: 'to_check', rules: [rule(vmap(['oifname'], 'to_workload')), rule(DROP)] },
    // A packet without outgoing interface (index 0) is in the input hook: a pod talks to its node.
    {
      name: 'from_ok',
      rules: [
        ...toPod(goto('to_check')),
        rule(is('oif', { value: 0 }), goto('to_host')),
        ...hosts.forwardEgress,
        rule(ACCEPT),
      ],
    },
    { name: 'to_host', rules: [rule(toHost[settings.endpointToHostAction])] },
    { name: 'from_check', rules: [...encapsulated(settings), rule(vmap(['iifname'], 'from_workload')), rule(DROP)] },
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
        ...(settings.sourceSpoofing
          ? [
              rule(inRef(['iifname', 'ip saddr'], 'spoofed4'), ACCEPT),
              rule(inRef(['iifname', 'ip6 saddr'], 'spoofed6'), ACCEPT),
            ]
          : []),
        rule(is('icmpv6 type', DISCOVERY), is('ip6 saddr', LINK_LOCAL), ACCEPT),
        rule(DROP),
      ],
    },
    {
      name: 'forward',
      base: { type: 'filter', hook: 'forward', priority: 0, policy: 'drop' },
      rules: [
        ...stateful,
        ...fromPod(goto('from_check')),
        ...hosts.forwardIngress,
        ...toPod(goto('to_check')),
        ...hosts.forwardEgress,
        rule(ACCEPT),
      ],
    },
    {
      name: 'input',
      base: { type: 'filter', hook: 'input', priority: 0, policy: 'accept' },
      rules: [...fromPod(goto('from_pod_to_host')), ...hosts.input],
    },
    {
      name: 'from_pod_to_host',
      rules: [...stateful, rule(is('icmpv6 type', DISCOVERY), ACCEPT), rule(goto('from_check'))],
    },
    ...hostChains(settings, uses),
    ...(uses.masquerades ? [natChain(settings)] : []),
  ]
}

const notIn = (field: Field, ref: string): Statement => ({ kind: 'match', fields: [field], op: '!=', right: { ref } })

/** Without a pool that masquerades it is not there: a nat chain costs every new connection, also an empty one. */
const NAT_CHAIN = 'nat_outgoing'

/** The protocols whose source ports a range is for, as in Calico. */
const NAT_PORT_PROTOCOLS = [6, 17]

const natChain = ({ natInterface, natAddress, natPorts }: NodeSettings): NftChain => ({
  name: NAT_CHAIN,
  base: { type: 'nat', hook: 'postrouting', priority: 100, policy: 'accept' },
  rules: FAMILIES.flatMap(family => {
    const [source, target] = family === 4 ? (['ip saddr', 'ip daddr'] as const) : (['ip6 saddr', 'ip6 daddr'] as const)
    const behind = natInterface === undefined ? [] : [is('oifname', { value: natInterface })]
    const which = [...behind, inRef([source], `masquerade${family}`), notIn(target, `pools${family}`)]
    const translate = (ports?: PortRange): Statement => ({
      ...(natAddress !== undefined && familyOf(natAddress) === family
        ? { kind: 'snat', to: natAddress }
        : { kind: 'masquerade' }),
      ...(ports && { ports }),
    })
    const withPorts = natPorts ? NAT_PORT_PROTOCOLS : []
    return [
      ...withPorts.map(value => rule(...which, is(L4, { value }), translate(natPorts))),
      rule(...which, translate()),
    ]
  }),
})
