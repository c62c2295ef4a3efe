// Ways to break a node, each with what of the agent's status shall tell of it, and how it is undone.
import { execFileSync } from 'node:child_process'
import { CANARY_ADDRESSES, CANARY_INTERFACE, NFT_TABLE } from '../../src/core/base/register.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { dropByXdp } from './xdp.ts'

export type Sabotage = {
  readonly title: string
  /** Shell commands, run in the node's namespace, or what gives the undoing. */
  readonly harm: string | ((netns: string) => () => void)
  readonly undo?: string
  /** What the canary says went wrong, or who sees it before the canary can. */
  readonly seen: RegExp | 'table watch'
  /** What it names as the reason. */
  readonly why?: RegExp
}

const { receiver, sender } = CANARY_INTERFACE
const TO = CANARY_ADDRESSES.receiver
const BOTH = /^IPv4 allow: did not arrive, IPv6 allow: did not arrive$/
const DROPS = /something between two pods of this node drops packets/
/** Where undoing by hand is long: what is gone is made anew, with everything. */
const ANEW = `ip link del ${receiver}`
const foreign = (chain: string, family = 'inet'): { readonly harm: string; readonly undo: string } => ({
  harm: `nft 'table ${family} foreign { chain c { ${chain} }; }'`,
  undo: `nft delete table ${family} foreign`,
})
const sysctl = (setting: string, bad: number, good: number): Pick<Sabotage, 'harm' | 'undo'> => ({
  harm: `sysctl -qw ${setting}=${bad}`,
  undo: `sysctl -qw ${setting}=${good}`,
})

export const SABOTAGES: readonly Sabotage[] = [
  {
    title: 'IPv4 is not forwarded',
    ...sysctl('net.ipv4.ip_forward', 0, 1),
    seen: /^IPv4 allow: did not arrive$/,
    why: /net\.ipv4\.ip_forward is not 1/,
  },
  {
    title: 'IPv6 is not forwarded',
    ...sysctl('net.ipv6.conf.all.forwarding', 0, 1),
    seen: /^IPv6 allow: did not arrive$/,
    why: /net\.ipv6\.conf\.all\.forwarding is not 1/,
  },
  {
    title: 'the interface does not forward',
    ...sysctl(`net.ipv4.conf.${sender}.forwarding`, 0, 1),
    seen: /^IPv4 allow: did not arrive$/,
    why: DROPS,
  },
  {
    title: 'another table drops what is forwarded',
    ...foreign('type filter hook forward priority 10; policy drop;'),
    seen: BOTH,
    why: DROPS,
  },
  {
    title: 'a program changes the policy of forwarding, as container engines do',
    harm: 'iptables -P FORWARD DROP',
    undo: 'iptables -P FORWARD ACCEPT',
    seen: /^IPv4 allow: did not arrive$/,
    why: DROPS,
  },
  {
    title: 'a program of XDP drops',
    harm: netns => dropByXdp(netns, sender),
    seen: BOTH,
    why: DROPS,
  },
  {
    title: 'answers to ARP are dropped',
    harm: `nft 'table arp foreign { chain c { type filter hook input priority 0; policy drop; }; }'; ip neigh flush dev ${receiver}`,
    undo: 'nft delete table arp foreign',
    seen: /^IPv4 allow: did not arrive$/,
    why: DROPS,
  },
  {
    title: 'another table drops on the device',
    ...foreign(`type filter hook ingress device ${sender} priority 0; policy drop;`, 'netdev'),
    seen: BOTH,
    why: DROPS,
  },
  {
    title: 'another table keeps connections from being tracked',
    ...foreign('type filter hook prerouting priority -400; notrack;'),
    seen: /^IPv4 allow: its answer did not come back, IPv6 allow: its answer did not come back$/,
    why: DROPS,
  },
  {
    title: 'another table sends every packet to the node itself',
    ...foreign('type nat hook prerouting priority -100; redirect;'),
    seen: /allow: did not arrive/,
    why: DROPS,
  },
  {
    title: 'a rule of routing drops',
    harm: `ip rule add pref 10 to ${TO[4]} blackhole`,
    undo: 'ip rule del pref 10',
    seen: /^IPv4 allow: did not arrive$/,
    why: DROPS,
  },
  {
    title: 'IPsec blocks what is forwarded',
    harm: 'ip xfrm policy add dir fwd src 0.0.0.0/0 dst 0.0.0.0/0 action block',
    undo: 'ip xfrm policy flush',
    seen: /^IPv4 allow: did not arrive$/,
    why: DROPS,
  },
  {
    title: 'a queueing discipline drops',
    harm: `tc qdisc replace dev ${receiver} root pfifo limit 0`,
    undo: `tc qdisc del dev ${receiver} root`,
    seen: /allow: did not arrive/,
    why: DROPS,
  },
  {
    title: 'a neighbour has the wrong address',
    harm: `ip neigh replace ${TO[4]} lladdr 02:00:00:00:00:01 nud permanent dev ${receiver}`,
    undo: `ip neigh del ${TO[4]} dev ${receiver}`,
    seen: /^IPv4 allow: did not arrive$/,
    why: DROPS,
  },
  {
    title: 'a route leads elsewhere, and the check of sources follows it',
    harm: `ip route replace ${CANARY_ADDRESSES.sender[4]} dev ${receiver} proto boot scope link`,
    undo: ANEW,
    seen: /^IPv4 allow: did not arrive$/,
    why: /the route to 198\.18\.213\.2 is gone/,
  },
  {
    title: 'routes are gone',
    harm: `ip route flush dev ${receiver}; ip -6 route flush dev ${receiver}`,
    undo: ANEW,
    seen: BOTH,
    why: /the route to 198\.18\.213\.1 is gone/,
  },
  {
    title: 'IPv6 is switched off on an interface',
    harm: `sysctl -qw net.ipv6.conf.${sender}.disable_ipv6=1`,
    undo: ANEW,
    seen: /^IPv6 allow: did not arrive$/,
  },
  {
    title: 'packets may not be as large as IPv6 needs',
    harm: `ip link set ${receiver} mtu 1000`,
    undo: ANEW,
    seen: /^IPv6 allow: did not arrive$/,
  },
  {
    title: 'an interface is down',
    harm: `ip link set ${receiver} down`,
    undo: ANEW,
    seen: BOTH,
    why: /calicanary0 is down/,
  },
  {
    title: 'an interface is removed',
    harm: `ip link del ${sender}`,
    seen: /allow: /,
    why: /calicanary1 is gone/,
  },
  {
    title: 'the sender’s interface is named so that it is no pod’s',
    harm: `ip link set ${sender} name other0`,
    seen: /IPv4 deny \(egress\): arrived.*IPv6 deny \(egress\): arrived/,
    why: /policy is not enforced/,
  },
  {
    title: 'the receiver’s interface is named so that it is no pod’s',
    harm: `ip link set ${receiver} name other0`,
    seen: /IPv4 deny \(ingress\): arrived.*IPv6 deny \(ingress\): arrived/,
    why: /policy is not enforced/,
  },
  {
    title: 'our table sleeps',
    harm: `nft 'add table inet ${NFT_TABLE} { flags dormant; }'`,
    seen: 'table watch',
  },
  {
    title: 'our table is deleted',
    harm: `nft delete table inet ${NFT_TABLE}`,
    seen: 'table watch',
  },
  {
    title: 'the map of pods’ policies is flushed',
    harm: `nft flush map inet ${NFT_TABLE} to_workload`,
    seen: 'table watch',
  },
  {
    title: 'a chain of ours accepts everything',
    harm: `nft insert rule inet ${NFT_TABLE} forward accept`,
    seen: 'table watch',
  },
]

/** Looks like harm, and is none. */
export const HARMLESS: readonly string[] = [
  // The source of a pod is routed to its interface, and its gateway's address is known to it for good.
  'sysctl -qw net.ipv4.conf.all.rp_filter=1',
  `sysctl -qw net.ipv4.conf.${sender}.proxy_arp=0`,
  // Who accepts elsewhere does not take back what we drop.
  foreign('type filter hook forward priority -10; policy accept;').harm,
]

/** Does the harm in a node, by the name of its namespace, and gives what undoes it. */
export function sabotage(netns: string, { harm, undo }: Sabotage): () => void {
  if (typeof harm !== 'string') return harm(namedNetns(netns))
  runInNode(netns, harm)
  return () => {
    if (undo !== undefined) runInNode(netns, undo)
  }
}

export const runInNode = (netns: string, script: string): string =>
  execFileSync('ip', ['netns', 'exec', netns, 'sh', '-ec', script], { encoding: 'utf8', stdio: 'pipe' })
