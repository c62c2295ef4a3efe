// try FILE...: what policies would decide, without a cluster. The files hold resources, and between them documents of kind
// Expect, whose flows are judged by what stands before them: so a scenario may go on and change its mind.

import { z } from 'zod'
import type { Problem } from '../../core/base/problem.ts'
import { parseAddr } from '../../core/net/addr.ts'
import type { Packet } from '../../core/net/packet.ts'
import { decideAtNode, type NodeWay } from '../../core/oracle/decide-at-node.ts'
import { decideFlow, directionsOf } from '../../core/oracle/decide-flow.ts'
import type { DirectionDecision, Verdict } from '../../core/oracle/decision.ts'
import { printCause, type ResourceKey } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import { decodeResource, keyOf, type Resource, type Snapshot } from '../../core/resources/resource.ts'
import { findEnd, packetsOf, parseService } from './flow.ts'
import { type InputDocument, type Inputs, mistakesOf, printMistake } from './input.ts'
import { CommandError, type Terminal } from './terminal.ts'

const ends = { from: z.string(), to: z.string(), service: z.string() }
const flow = z.strictObject({
  ...ends,
  sourcePort: z.int().min(1).max(65535).default(49152),
  ipVersion: z.union([z.literal(4), z.literal(6)]).default(4),
  verdict: z.enum(['allow', 'deny']),
  /** Part of what decides, as `gingham why` names it; of a denial what denies. */
  by: z.string().optional(),
  /** Where the packet meets a node, for what host endpoints decide. */
  at: z
    .strictObject({
      node: z.string(),
      interfaces: z.record(z.string(), z.array(z.string())).default({}),
      in: z.string().optional(),
      out: z.string().optional(),
      /** As it arrived, if its destination was translated since. */
      arrived: z.strictObject(ends).optional(),
    })
    .optional(),
})
const expectation = z.strictObject({ kind: z.literal('Expect'), flows: z.array(flow).min(1) })
type Flow = z.output<typeof flow>

/** Prints a line for each flow, and gives whether all went as expected. */
export function tryScenario({ documents, mistakes }: Inputs, terminal: Terminal): boolean {
  const refuse = (document: InputDocument, problems: readonly Problem[]): never => {
    throw new CommandError(mistakesOf(document, problems).map(printMistake).join('\n'))
  }
  if (mistakes.length > 0) throw new CommandError(mistakes.map(printMistake).join('\n'))
  const resources = new Map<ResourceKey, Resource>()
  let [judged, wrong] = [0, 0]
  for (const document of documents) {
    if ((document.value as { kind?: unknown }).kind !== 'Expect') {
      const decoded = decodeResource(document.value, { defaultNamespace: 'default' })
      if (decoded.ok) resources.set(keyOf(decoded.value), decoded.value)
      else refuse(document, decoded.problems)
      continue
    }
    const parsed = expectation.safeParse(document.value)
    if (!parsed.success) {
      return refuse(
        document,
        parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })),
      )
    }
    for (const asked of parsed.data.flows) {
      const { verdict, by } = judge(asked, resources)
      const ok = verdict === asked.verdict && by.includes(asked.by ?? '')
      const line = `${asked.from} -> ${asked.to} ${asked.service}: ${verdict === 'allow' ? 'allowed' : 'denied'} by ${by}`
      terminal.out(`${ok ? 'ok    ' : 'WRONG '} ${line}\n`)
      if (!ok) terminal.out(`       expected: ${asked.verdict} by ${asked.by ?? 'anything'}\n`)
      judged++
      if (!ok) wrong++
    }
  }
  if (judged === 0) throw new CommandError('there is nothing to judge (fix: add a document of kind Expect with flows)')
  terminal.out(`${judged} flows, ${wrong === 0 ? 'all as expected' : `${wrong} otherwise than expected`}\n`)
  return wrong === 0
}

type Judged = { readonly verdict: Verdict; readonly by: string }

function judge(asked: Flow, resources: Snapshot): Judged {
  const packet = packetOf(asked, asked, resources)
  if (!asked.at) {
    const decision = decideFlow(resources, packet)
    return answer(decision.verdict, directionsOf(decision))
  }
  const { node, interfaces, in: from, out, arrived } = asked.at
  const addresses = Object.entries(interfaces).map(
    ([name, texts]) => [name, texts.flatMap(text => parseAddr(text) ?? [])] as const,
  )
  const way: NodeWay = {
    node,
    interfaces: new Map(addresses),
    ...(from !== undefined && { in: from }),
    ...(out !== undefined && { out }),
    ...(arrived && { arrived: packetOf(arrived, asked, resources) }),
  }
  const decision = decideAtNode(resources, packet, way)
  return answer(decision.verdict, decision.asked, decision.because)
}

function packetOf(
  of: Pick<Flow, 'from' | 'to' | 'service'>,
  { ipVersion, sourcePort }: Flow,
  resources: Snapshot,
): Packet {
  const view = derived(resources)
  const [source, destination] = [findEnd(of.from, view, 'default'), findEnd(of.to, view, 'default')]
  return packetsOf(source, destination, { service: parseService(of.service), family: ipVersion, sourcePort })[0]!
}

/** Who decides: of a denial the one that denies, else all who were asked. */
function answer(verdict: Verdict, asked: readonly DirectionDecision[], because?: string): Judged {
  const speak = verdict === 'deny' ? asked.filter(d => d.verdict === 'deny') : asked
  const causes = speak.map(d => printCause(d.cause))
  return { verdict, by: [...causes, ...(because ? [because] : [])].join(', then ') || 'nobody' }
}
