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
  | LogStep
  | { readonly kind: 'decide'; readonly when?: readonly Condition[]; readonly cause: Cause }
  /** What would be decided if the staged policies were enforced: the first that applies is counted. */
  | { readonly kind: 'staged'; readonly when?: readonly Condition[]; readonly cause: Cause }
  | NextStep

/** `tier`: of the rule's policy; a profile has none. */
export type LogStep = {
  readonly kind: 'log'
  readonly when?: readonly Condition[]
  readonly rule: RuleRef
  readonly tier?: string
}

/** `o_` and 16 hex digits of a hash of the content. */
export type OutcomeName = string & { readonly __outcome: true }

/**
 * In a table that is cut into parts (split.ts): the part does not decide. On goes the next part, the next stage after a Pass,
 * or, `done`, what is enforced after what is staged, which is then counted by its cause.
 */
export type NextStep = {
  readonly kind: 'next'
  readonly when?: readonly Condition[]
  readonly to: 'next' | 'pass' | 'done'
  readonly cause?: Cause
}

/** Staged steps first; the last one of these, and the last of all, is unconditional. The last of all decides or leads on. */
export type Outcome = {
  readonly name: OutcomeName
  readonly direction: Direction
  readonly steps: readonly Step[]
  /** Of a host endpoint. What an allow leads to depends on it. */
  readonly hook?: HostHook
}

/** Many rows share their outcomes, and hashing costs more than all else about them: this many are remembered. */
const REMEMBERED = 1000

/** Makes outcomes. */
export class OutcomeMaker {
  readonly #made = new Map<string, Outcome>()

  make({ direction, hook }: { direction: Direction; hook?: HostHook }, steps: readonly Step[]): Outcome {
    const content = JSON.stringify([direction, steps, ...(hook ? [hook] : [])])
    const known = this.#made.get(content)
    if (known) return known
    if (this.#made.size === REMEMBERED) this.#made.clear()
    const name = `o_${sha1Hex(content).slice(0, 16)}` as OutcomeName
    const outcome = { name, direction, steps, ...(hook && { hook }) }
    this.#made.set(content, outcome)
    return outcome
  }
}
