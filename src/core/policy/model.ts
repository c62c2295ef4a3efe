// One model for every kind of policy. After this room nobody knows which kind a policy was, save to name it in a cause.
// The calculation, the compiler and the kernel's table all come from here; the oracle does not: it judges them.
import type { Family } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import type { Prefix } from '../net/prefix.ts'
import type { Direction, HostHook, ResourceKey, RuleRef } from '../resources/cause.ts'
import type { Selector } from '../selector/selector.ts'

/** Numeric ranges and names, OR-ed. */
export type Ports = { readonly ranges: readonly PortRange[]; readonly names: readonly string[] }

/** One side of a rule. Everything present must hold. Selectors speak of endpoints' and network sets' full labels. */
export type Entity = {
  readonly selector?: Selector
  readonly notSelector?: Selector
  readonly nets?: readonly Prefix[]
  readonly notNets?: readonly Prefix[]
  readonly ports?: Ports
  readonly notPorts?: Ports
  /** `namespace/name`: its endpoints, as a destination with the ports that they serve. Of peers only, and without a selector. */
  readonly service?: string
}

export type IcmpMatch = { readonly type?: number; readonly code?: number }

export type Rule = {
  readonly ref: RuleRef
  readonly action: 'Allow' | 'Deny' | 'Pass' | 'Log'
  /** The families the rule can match at all: from ipVersion, an ICMP protocol name, and the families of its nets. */
  readonly families: readonly Family[]
  readonly protocol?: number
  readonly notProtocol?: number
  readonly icmp?: IcmpMatch
  /** Matches ICMP packets of the family that are not of this type and code; other protocols never. */
  readonly notIcmp?: IcmpMatch
  readonly source: Entity
  readonly destination: Entity
}

export type Policy = {
  readonly key: ResourceKey
  readonly tier: string
  /** +Infinity when the resource has none. */
  readonly order: number
  /** Which endpoints it governs. */
  readonly selector: Selector
  readonly types: readonly Direction[]
  /** Where host endpoints ask it; workloads ask those with `host`. */
  readonly hooks: readonly HostHook[]
  /** Staged: the enforced policy for which it stands. It is judged beside what is enforced, and decides nothing. */
  readonly stagedFor?: ResourceKey
  /** Staged to be deleted: the policy for which it stands would be gone, and this one says nothing. */
  readonly deletes?: true
  readonly rules: Readonly<Record<Direction, readonly Rule[]>>
}

export type Profile = {
  readonly name: string
  readonly rules: Readonly<Record<Direction, readonly Rule[]>>
}

export type Tier = { readonly name: string; readonly order: number; readonly defaultAction: 'Deny' | 'Pass' }
