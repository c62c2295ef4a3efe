// An outcome: what finally happens to a packet of one class. Nearly always the Log rules passed on the way, then the
// deciding cause. Conditions that the axes (peer, protocol, port) do not cover make it a short decision list: the general
// escape. Outcomes are interned by content, so their names mean the same thing for ever and on every restart.
import { sha1Hex } from '../base/hash.ts'
import type { Addr } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import type { Cause, Direction, HostHook, RuleRef } from '../resources/cause.ts'

/** What a packet must satisfy beyond the axes; everything present must hold. */
export type Condition = {
  readonly sports?: readonly PortRange[]
  readonly notSports?: readonly PortRange[]
  /** The endpoint's own address is one of these. */
  readonly ownAddresses?: readonly Addr[]
}

/** `when`: every condition must hold; a step whose conditions do not hold is passed over. */
export type Step =
  /** `tier`: of the rule's policy; absent for a profile's. */
  | { readonly kind: 'log'; readonly when?: readonly Condition[]; readonly rule: RuleRef; readonly tier?: string }
  | { readonly kind: 'decide'; readonly when?: readonly Condition[]; readonly cause: Cause }

/** `o_` and 16 hex digits of a hash of the content. */
export type OutcomeName = string & { readonly __outcome: true }

/** The last step is unconditional and not a log. */
export type Outcome = {
  readonly name: OutcomeName
  readonly direction: Direction
  readonly steps: readonly Step[]
  /** Of a host endpoint. What an allow leads to depends on it. */
  readonly hook?: HostHook
}

export function makeOutcome(at: { direction: Direction; hook?: HostHook }, steps: readonly Step[]): Outcome {
  const { direction, hook } = at
  const content = JSON.stringify([direction, steps, ...(hook ? [hook] : [])])
  const name = `o_${sha1Hex(content).slice(0, 16)}` as OutcomeName
  return { name, direction, steps, ...(hook && { hook }) }
}

/** The outcome's cause if no condition is involved: then every packet of the class is decided alike. */
export function plainCause(outcome: Outcome): Cause | undefined {
  const last = outcome.steps.at(-1)!
  return last.kind === 'decide' && outcome.steps.every(s => s.when === undefined) ? last.cause : undefined
}
