// The road of a packet through the compiled tables, as the kernel takes it: outcome by outcome, step by step.
import { atomOf } from '../../src/core/classify/atoms.ts'
import {
  type Classification,
  type Follow,
  type GroupName,
  type HostGroup,
  outcomesAt,
} from '../../src/core/classify/classify.ts'
import type { Condition, Outcome } from '../../src/core/classify/outcome.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { inRanges } from '../../src/core/net/ports.ts'
import { type Cause, type Direction, type HostHook, printRule } from '../../src/core/resources/cause.ts'

export type Judged = {
  readonly cause: Cause
  readonly logs: readonly string[]
  /** What would decide if the staged policies were enforced; absent where nothing staged concerns the endpoint. */
  readonly staged: Cause | undefined
  readonly conditional: boolean
}

/** A direction of a pod, by its interface, or a leg of the host endpoint of an interface. */
export type Leg = { readonly interfaceName: string; readonly direction: Direction; readonly hook?: HostHook }

/** What guards a host endpoint's interface at a leg; nothing, if no policy has a say there. */
export function hostGroupAt(c: Classification, { interfaceName, direction, hook }: Leg): HostGroup | undefined {
  const at = (name: string) => c.hosts.find(h => h.host.interfaceName === name)
  return (at(interfaceName) ?? at('*'))?.groups.find(g => g.hook === hook && g.direction === direction)
}

/** The tables that are asked about a packet at a leg. */
export function groupAt(c: Classification, leg: Leg, packet: Packet): GroupName | undefined {
  const { interfaceName, direction, hook } = leg
  if (hook === undefined) return c.dispatch.find(d => d.endpoint.interfaceName === interfaceName)?.groups[direction]
  const host = hostGroupAt(c, leg)
  return host && (host.byOwn.get(atomOf(c.atoms, direction === 'ingress' ? packet.dst : packet.src)) ?? host.otherwise)
}

/** What the tables of a group make of a packet. The road is that of a compiler, which need not be the right one. */
export function judgeAt(c: Classification, group: GroupName, packet: Packet, by = { outcomesAt }): Judged {
  const own = c.groups.get(group)!.direction === 'ingress' ? packet.dst : packet.src
  const holds = (condition: Condition): boolean =>
    (condition.sports === undefined || inRanges(condition.sports, packet.sport ?? -1)) &&
    (condition.notSports === undefined || !inRanges(condition.notSports, packet.sport ?? -1)) &&
    (condition.ownAddresses === undefined || condition.ownAddresses.includes(own))
  const logs: string[] = []
  let [cause, staged]: (Cause | undefined)[] = []
  let conditional = false
  const follow = (outcome: Outcome): ReturnType<Follow> => {
    for (const step of outcome.steps) {
      if (step.when) conditional = true
      if (!(step.when ?? []).every(holds)) continue
      if (step.kind === 'log') logs.push(printRule(step.rule))
      else if (step.kind === 'staged') staged ??= step.cause
      else if (step.kind === 'next') {
        staged ??= step.cause
        return step.to
      } else {
        cause = step.cause
        return 'decided'
      }
    }
    throw new Error(`outcome ${outcome.name} does not decide`)
  }
  const met = by.outcomesAt(c, { group, packet }, follow)
  if (!cause) follow(met.at(-1)!)
  return { cause: cause!, logs, staged, conditional }
}
