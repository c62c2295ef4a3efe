// What the canary's packets say of a node, in words: what went otherwise than policy wants, the likeliest reason among what
// the node itself can see, and what to try.
import type { Addr, Family } from '../net/addr.ts'

/** Where the canary's packets go; `src/core/calc/canary.ts` says why each is allowed or denied. */
export type CanaryPort = 'allowed' | 'deniedIngress' | 'deniedEgress'

/** One round in one family. */
export type CanarySeen = {
  readonly family: Family
  readonly arrived: readonly CanaryPort[]
  /** Whether an answer to the allowed packet came back. */
  readonly answered: boolean
  /** Why the sender itself could send no more. */
  readonly error?: string
}

export type CanaryFacts = {
  readonly notForwarded: readonly Family[]
  /** The host's ends; `unrouted`: addresses behind it without their route. */
  readonly links: readonly {
    readonly name: string
    readonly state: 'up' | 'down' | 'gone'
    readonly unrouted: readonly Addr[]
  }[]
  /** Connections that are tracked, and how many may be; 0 where that is not known. */
  readonly connections: { readonly count: number; readonly max: number }
}

export type CanaryFix = { readonly why: string; readonly fix: string }

/** Nothing if all went as policy wants. */
export function canaryFaults({ family, arrived, answered, error }: CanarySeen): string[] {
  const said = (text: string): string => `IPv${family} ${text}`
  const denied = (['deniedEgress', 'deniedIngress'] as const).filter(port => arrived.includes(port))
  const faults = denied.map(port => said(`deny (${port === 'deniedEgress' ? 'egress' : 'ingress'}): arrived`))
  if (error !== undefined) faults.push(said(`allow: could not be sent (${error})`))
  else if (!answered) {
    faults.push(said(`allow: ${arrived.includes('allowed') ? 'its answer did not come back' : 'did not arrive'}`))
  }
  return faults
}

const SYSCTL: Readonly<Record<Family, string>> = { 4: 'net.ipv4.ip_forward', 6: 'net.ipv6.conf.all.forwarding' }

/** The likeliest reason and what to try, for rounds with faults. */
export function canaryFix(seen: readonly CanarySeen[], { links, notForwarded, connections }: CanaryFacts): CanaryFix {
  const arrived = seen.some(s => s.arrived.some(port => port !== 'allowed'))
  if (arrived) {
    return {
      why: 'policy is not enforced on this node',
      fix: 'see what else gingham status says of the table, and nft list ruleset; restart the agent if it stays',
    }
  }
  const gone = links.find(l => l.state === 'gone')
  if (gone) {
    return {
      why: `${gone.name} is gone`,
      fix: 'it is made anew; find out who removed it, and whether pods lost theirs',
    }
  }
  const down = links.find(l => l.state === 'down')
  if (down) {
    return {
      why: `${down.name} is down`,
      fix: `ip link set ${down.name} up; see whether pods' interfaces are up, and who switched it off`,
    }
  }
  const broken = seen.filter(s => canaryFaults(s).length > 0).map(s => s.family)
  const off = notForwarded.find(family => broken.includes(family))
  if (off) {
    const setting = SYSCTL[off]
    return { why: `${setting} is not 1`, fix: `sysctl -w ${setting}=1, and find out what switched it off` }
  }
  const unrouted = links.flatMap(l => l.unrouted.map(address => ({ address, name: l.name })))[0]
  if (unrouted) {
    const { address, name } = unrouted
    return {
      why: `the route to ${address} is gone`,
      fix: `see whether pods' routes are there (ip route, ip -6 route); ip link del ${name} has the canary made anew`,
    }
  }
  if (connections.max > 0 && connections.count >= connections.max) {
    return {
      why: `${connections.count} connections are tracked, which is all that may be`,
      fix: 'raise net.netfilter.nf_conntrack_max, and see who opens so many (conntrack -L)',
    }
  }
  return {
    why: 'something between two pods of this node drops packets',
    fix: 'look for drops that are not ours: nft list ruleset, ip rule, tc filter show, ip xfrm policy, sysctl net',
  }
}
