// What one node must enforce: its endpoints with the rules that govern them, in order, and the address sets that the
// rules speak of. Everything is resolved here but packets: selectors have become sets, named ports numbers.
import type { Addr, Family } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import type { Prefix } from '../net/prefix.ts'
import type { IcmpMatch } from '../policy/model.ts'
import type { Direction, HostHook, HostLeg, ResourceKey, RuleRef } from '../resources/cause.ts'

/**
 * `s:…` a selector, `n:…` a list of nets, `p:…` the endpoints that give a port name one (protocol, number), `e:…` the
 * endpoints of a service, or those of them that serve on one (protocol, number).
 */
export type SetId = string & { readonly __set: true }

/** The addresses that belong to a set. Families may be mixed. */
export type AddressSet = {
  readonly id: SetId
  /** What people read: the selector's or the nets' text. */
  readonly title: string
  readonly addresses: ReadonlySet<Addr>
  readonly prefixes: readonly Prefix[]
}

/** Matches a port in the range, if the protocol is the given one, and if the peer, or the own address, is in the set. */
export type PortTerm = {
  readonly first: number
  readonly last: number
  readonly protocol?: number
  readonly peerIn?: SetId
  readonly ownIn?: SetId
}

/** A rule as one endpoint and family sees it: its own side is decided, the peer's side is a matter of sets. */
export type ResolvedRule = {
  readonly ref: RuleRef
  readonly action: 'Allow' | 'Deny' | 'Pass' | 'Log'
  readonly protocol?: number
  readonly notProtocol?: number
  readonly icmp?: IcmpMatch
  readonly notIcmp?: IcmpMatch
  /** The peer must be in each of these, and in none of those. */
  readonly peerIn: readonly SetId[]
  readonly peerNotIn: readonly SetId[]
  /** OR-ed terms; absent: any port. An empty list matches nothing. */
  readonly dports?: readonly PortTerm[]
  readonly notDports?: readonly PortTerm[]
  readonly sports?: readonly PortTerm[]
  readonly notSports?: readonly PortTerm[]
  /** Only where some of the endpoint's own addresses of the family satisfy its side of the rule and others do not. */
  readonly ownAddresses?: readonly Addr[]
  /** At host endpoints, which any address may pass: the own address must be in each of these, and in none of those. */
  readonly ownIn?: readonly SetId[]
  readonly ownNotIn?: readonly SetId[]
}

/**
 * One step of a decision: the rules of a tier's policies that govern an endpoint, or of one of its profiles. A Pass, or
 * reaching the end with default `Pass`, goes on with the next stage. A profile's default is Pass; a profile that does
 * not exist is an empty stage with default Deny.
 */
export type Stage = {
  readonly kind: 'tier' | 'profile'
  readonly name: string
  readonly defaultAction: 'Deny' | 'Pass'
  /** Of the second judgement: what would be decided if the staged policies were enforced. It decides nothing. */
  readonly staged?: true
  readonly rules: readonly ResolvedRule[]
}

/**
 * The whole decision of an endpoint for one direction and family: tiers, then profiles; after the last stage deny. Where
 * staged policies concern the endpoint, the stages of the second judgement follow: at least one.
 */
export type Program = {
  readonly direction: Direction
  readonly family: Family
  readonly stages: readonly Stage[]
  /** Of a host endpoint. After the last stage only `host` denies; elsewhere the packet goes on undecided. */
  readonly hook?: HostHook
}

/**
 * A direction of an endpoint. `identity` names the policies and profiles and what the endpoint's own side made of them,
 * not their contents: endpoints of equal identity have equal programs, and an edited policy keeps it.
 */
export type Guard = { readonly identity: string; readonly programs: Readonly<Record<Family, Program>> }

export type LocalEndpoint = {
  readonly key: ResourceKey
  /** `namespace/pod`. */
  readonly name: string
  readonly interfaceName: string
  readonly addresses: readonly Addr[]
  /** Others that it may send from, if the settings let it. */
  readonly spoofable: readonly Prefix[]
  readonly guards: Readonly<Record<Direction, Guard>>
}

export type HostGuard = HostLeg & Guard

/**
 * An interface of the node and the host endpoint that guards it; `*` is every interface that is no pod's and not named
 * here. `guards`: always those of `host`; of the other hooks those where some policy has a say.
 */
export type HostInterface = {
  readonly interfaceName: string
  readonly key: ResourceKey
  readonly name: string
  readonly guards: readonly HostGuard[]
}

/** Settings of the node that change verdicts or packets; from FelixConfiguration, with its defaults. */
export type NodeSettings = {
  readonly interfacePrefixes: readonly string[]
  readonly endpointToHostAction: 'Drop' | 'Return' | 'Accept' | 'Reject'
  readonly conntrackInvalidCheck: boolean
  readonly logPrefix: string
  readonly logLimit: LogLimit
  /** What becomes of a packet that policy denies; drop where a hook takes no answers. */
  readonly denyAction: 'Drop' | 'Reject'
  /** What passes host endpoints before policy. */
  readonly failsafeInbound: readonly Failsafe[]
  readonly failsafeOutbound: readonly Failsafe[]
  /** Whether pods may send packets in packets themselves. */
  readonly allowVXLAN: boolean
  readonly allowIPIP: boolean
  readonly vxlanPort: number
  /** Whether pods may send from the prefixes that their allowSpoofedSourcePrefixes name. */
  readonly sourceSpoofing: boolean
  /** Names, or regular expressions between slashes, of interfaces by whose addresses no host endpoint is found. */
  readonly excludedInterfaces: readonly string[]
  /** The only interface behind which sources are translated, with `*` at its end a prefix. */
  readonly natInterface?: string
  /** The source that IPv4 packets get instead of that of the interface they leave by. */
  readonly natAddress?: Addr
  /** The source ports that translated packets get, of protocols that have some. */
  readonly natPorts?: PortRange
}

/** Lines of a Log rule at most. */
export type LogLimit = {
  readonly rate: number
  readonly per: 'second' | 'minute' | 'hour' | 'day'
  readonly burst: number
}
/** A protocol and port; `net`: the only addresses of the other end for which it holds. */
export type Failsafe = { readonly protocol: number; readonly port: number; readonly net?: Prefix }

export type Intent = {
  readonly node: string
  readonly settings: NodeSettings
  /** In the order of their keys. */
  readonly endpoints: readonly LocalEndpoint[]
  /** In the order of interface names; not two of one name. */
  readonly hostInterfaces: readonly HostInterface[]
  readonly sets: ReadonlyMap<SetId, AddressSet>
  /** Pools whose members are masqueraded towards destinations outside every pool. */
  readonly masqueradePools: readonly Prefix[]
  /** Every pool; and with natOutgoingExclusions IPPoolsAndHostIPs every node's addresses. */
  readonly allPools: readonly Prefix[]
  /** What could not be understood or is not enforced; never silent. */
  readonly problems: readonly string[]
}
