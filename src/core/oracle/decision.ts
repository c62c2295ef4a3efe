// What the oracle answers: a verdict, and everything it went through to reach it, in order, so that a person can follow.
// Words are made here and not at the screen because only the judge knows which value of the packet met which condition.
import type { Packet } from '../net/packet.ts'
import { protocolName } from '../net/protocol.ts'
import type { Cause, Direction, HostHook, ResourceKey, RuleRef } from '../resources/cause.ts'

export type Verdict = 'allow' | 'deny'

/** One criterion of a rule that the packet does not meet. */
export type Failure = {
  /** `source does not match role == 'backend' (labels role=other)` */
  readonly text: string
  /** What would have to be true instead: `the source matched role == 'backend'`. */
  readonly wanted: string
}

export type Step =
  /** A tier with at least one policy that selects the endpoint and has the direction. */
  | { readonly kind: 'tier'; readonly tier: string; readonly order: number | undefined; readonly exists: boolean }
  /** `considered: false`: the policy selects the endpoint, but `types` leaves this direction out. */
  | { readonly kind: 'policy'; readonly policy: ResourceKey; readonly considered: boolean; readonly note?: string }
  | { readonly kind: 'profile'; readonly profile: ResourceKey; readonly exists: boolean }
  /** A rule that was passed over (with every criterion that failed, the first one first), or matched (no failures). */
  | {
      readonly kind: 'rule'
      readonly rule: RuleRef
      readonly action: string
      /** The rule itself on one line. */
      readonly text: string
      readonly failures: readonly Failure[]
      /** A condition that cannot be judged here; an Allow is then passed over and a Deny applied. */
      readonly note?: string
    }
  /** Nothing in the tier matched and its default action is this. */
  | { readonly kind: 'tier-default'; readonly tier: string; readonly action: 'Deny' | 'Pass' }

export type RuleStep = Extract<Step, { kind: 'rule' }>

export type DirectionDecision = {
  readonly endpoint: ResourceKey
  /** `namespace/pod`. */
  readonly endpointName: string
  readonly direction: Direction
  /** Of a host endpoint: where it judged. */
  readonly hook?: HostHook
  readonly verdict: Verdict
  readonly cause: Cause
  /** The Log rules passed on the way, in order. */
  readonly logs: readonly RuleRef[]
  readonly trail: readonly Step[]
}

/**
 * The egress decision is the source's, the ingress decision the destination's; each is absent when that address belongs
 * to no workload. Both are told even when the first already denies, because the reader wants to know what else to mend.
 */
export type Decision = {
  readonly verdict: Verdict
  readonly packet: Packet
  /** `namespace/pod`, or the address of something that is no workload. */
  readonly source: string
  readonly destination: string
  readonly egress?: DirectionDecision
  readonly ingress?: DirectionDecision
}

/** `tcp/80`, `icmp type 8 code 0`, `protocol 47`. */
export function printService(packet: Packet): string {
  const name = protocolName(packet.protocol).toLowerCase()
  if (packet.dport !== undefined) return `${name}/${packet.dport}`
  if (packet.icmp) return `${name} type ${packet.icmp.type} code ${packet.icmp.code}`
  return /^\d/.test(name) ? `protocol ${name}` : name
}
