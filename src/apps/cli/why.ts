// why SRC DST SERVICE: the verdict, the reason, the near miss, and what the kernel itself has counted for that reason.
import type { Family } from '../../core/net/addr.ts'
import { decideFlow, directionsOf, type FlowDecision } from '../../core/oracle/decide-flow.ts'
import type { DirectionDecision } from '../../core/oracle/decision.ts'
import { explainDecision } from '../../core/oracle/explain-decision.ts'
import { printCause } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import type { Snapshot } from '../../core/resources/resource.ts'
import type { Agents } from './agents.ts'
import type { Client } from './client.ts'
import { findEnd, packetsOf, parseService } from './flow.ts'
import { CommandError, type Terminal } from './terminal.ts'

export type WhyOptions = {
  readonly output: string
  readonly namespace?: string | undefined
  readonly family?: Family | undefined
  readonly sourcePort: number
}

export type Question = { readonly source: string; readonly destination: string; readonly service: string }

/** What the kernel of the deciding node says of a decision's cause; all flows with that cause are counted together. */
type Evidence = {
  readonly direction: DirectionDecision['direction']
  readonly node: string
  readonly cause: string
  readonly packets?: number
  readonly bytes?: number
  /** Why there are no numbers. */
  readonly missing?: string
}

export type WhyContext = {
  readonly client: Client
  readonly agents: Agents
  readonly terminal: Terminal
  readonly options: WhyOptions
}

/** Prints the answer and returns whether every family is allowed. */
export async function why(question: Question, { client, agents, terminal, options }: WhyContext): Promise<boolean> {
  if (options.output !== 'text' && options.output !== 'json') {
    throw new CommandError(`unrecognized output format '${options.output}' (fix: -o json, or none)`)
  }
  const { resources, problems } = await client.read()
  const snapshot = derived(resources)
  const namespace = options.namespace ?? 'default'
  const source = findEnd(question.source, snapshot, namespace)
  const destination = findEnd(question.destination, snapshot, namespace)
  const packets = packetsOf(source, destination, { service: parseService(question.service), ...options })
  const decisions = packets.map(packet => decideFlow(resources, packet))
  const evidence = await Promise.all(decisions.map(decision => gather(decision, snapshot, agents)))
  for (const problem of problems) terminal.err(`warning: not considered, as it cannot be read: ${problem}\n`)
  if (options.output === 'json') {
    const answers = decisions.map((decision, i) => ({ ...decision, kernel: evidence[i] }))
    terminal.out(`${JSON.stringify(answers, undefined, 2)}\n`)
  } else {
    terminal.out(printAnswers(decisions, evidence))
  }
  return decisions.every(decision => decision.verdict === 'allow')
}

async function gather(decision: FlowDecision, snapshot: Snapshot, agents: Agents): Promise<Evidence[]> {
  return Promise.all(
    directionsOf(decision).map(async ({ endpoint, direction, hook, cause }) => {
      const resource = snapshot.get(endpoint)
      const isEndpoint = resource?.kind === 'WorkloadEndpoint' || resource?.kind === 'HostEndpoint'
      const node = (isEndpoint && resource.spec.node) || '?'
      const base = { direction, node, cause: printCause(cause) }
      const counters = await agents.counters(node)
      if (!counters.ok) return { ...base, missing: counters.why }
      const mine = counters.value.filter(
        outcome => outcome.cause === base.cause && outcome.direction === direction && outcome.hook === hook,
      )
      if (mine.length === 0) return { ...base, missing: 'the kernel has no counter for this cause' }
      const sum = (field: 'packets' | 'bytes'): number => mine.reduce((total, outcome) => total + outcome[field], 0)
      return { ...base, packets: sum('packets'), bytes: sum('bytes') }
    }),
  )
}

function printEvidence(evidence: readonly Evidence[]): string[] {
  const lines = evidence.map(({ direction, node, cause, packets, bytes, missing }) =>
    missing === undefined
      ? `seen by the kernel on ${node}: ${packets} packets, ${bytes} bytes decided in ${direction} by ${cause} (all flows)`
      : `not seen by the kernel on ${node}: ${missing}`,
  )
  return [...new Set(lines)]
}

/** What decided, without addresses: two families often say the same. */
const essence = (decision: FlowDecision): string =>
  JSON.stringify([decision.verdict, ...directionsOf(decision).map(d => [d.direction, d.hook, printCause(d.cause)])])

function printAnswers(decisions: readonly FlowDecision[], evidence: readonly (readonly Evidence[])[]): string {
  const told = new Map<string, Family>()
  const parts = decisions.map((decision, i) => {
    const { family, src, dst } = decision.packet
    const same = told.get(essence(decision))
    if (same !== undefined) return [`IPv${family} (${src} -> ${dst}): the same, for the same reasons`]
    told.set(essence(decision), family)
    return [...explainDecision(decision), '', ...printEvidence(evidence[i]!)]
  })
  return `${parts.map(lines => lines.join('\n')).join('\n\n')}\n`
}
