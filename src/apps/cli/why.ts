// why SRC DST SERVICE: the verdict, the reason, the near miss, and what the kernel itself has counted for that reason.
import type { Family } from '../../core/net/addr.ts'
import { decideFlow, directionsOf, type FlowDecision, stagedChanges } from '../../core/oracle/decide-flow.ts'
import type { DirectionDecision } from '../../core/oracle/decision.ts'
import { explainDecision, explainStaged } from '../../core/oracle/explain-decision.ts'
import { printCause, printLog } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import type { Snapshot } from '../../core/resources/resource.ts'
import type { Agents } from './agents.ts'
import type { Client } from './client.ts'
import { findEnd, packetsOf, parseService, serviceWithAddress } from './flow.ts'
import { CommandError, type Terminal } from './terminal.ts'

export type WhyOptions = {
  readonly output: string
  readonly namespace?: string | undefined
  readonly family?: Family | undefined
  readonly sourcePort: number
}

export type Question = { readonly source: string; readonly destination: string; readonly service: string }

/** The kernel's counters of what would be decided if the staged policies were enforced begin with this. */
const STAGED = 'staged: '
/** And those of Log rules, which count every packet; of the lines there may be fewer. */
const LOG = 'Log '

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
  const answers = await Promise.all(
    packets.map(async (packet): Promise<Answer> => {
      const [decision, staged] = [decideFlow(resources, packet), decideFlow(resources, packet, 'staged')]
      return { decision, staged, kernel: await gather(decision, staged, { snapshot, agents }) }
    }),
  )
  const service = serviceWithAddress(question.destination, snapshot)
  if (service !== undefined) {
    terminal.err(
      `note: ${question.destination} is the address of service ${service}. It becomes that of an endpoint before policies are asked: ask about that one\n`,
    )
  }
  for (const problem of problems) terminal.err(`warning: not considered, as it cannot be read: ${problem}\n`)
  if (options.output === 'json') {
    const told = answers.map(({ decision, staged, kernel }) => {
      return { ...decision, ...(explainStaged(decision, staged).length > 0 && { staged }), kernel }
    })
    terminal.out(`${JSON.stringify(told, undefined, 2)}\n`)
  } else {
    terminal.out(printAnswers(answers))
  }
  return answers.every(({ decision }) => decision.verdict === 'allow')
}

/** A decision, what it would be if the staged policies were enforced, and what the kernel counted for both. */
type Answer = { readonly decision: FlowDecision; readonly staged: FlowDecision; readonly kernel: readonly Evidence[] }

type Place = { readonly snapshot: Snapshot; readonly agents: Agents }

async function gather(decision: FlowDecision, staged: FlowDecision, { snapshot, agents }: Place): Promise<Evidence[]> {
  const wouldBe = new Map(stagedChanges(decision, staged))
  const asked = directionsOf(decision).flatMap(now => {
    const then = wouldBe.get(now)
    const { endpoint, direction, hook, cause, logs } = now
    const at = { endpoint, direction, hook }
    return [
      { ...at, cause: printCause(cause) },
      ...logs.map(rule => ({ ...at, cause: printLog(rule) })),
      ...(then === undefined ? [] : [{ ...at, cause: STAGED + printCause(then.cause) }]),
    ]
  })
  return Promise.all(
    asked.map(async ({ endpoint, direction, hook, cause }) => {
      const resource = snapshot.get(endpoint)
      const isEndpoint = resource?.kind === 'WorkloadEndpoint' || resource?.kind === 'HostEndpoint'
      const node = (isEndpoint && resource.spec.node) || '?'
      const base = { direction, node, cause }
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

/** What happened to the packets that were counted for a cause. */
function counted({ direction, cause }: Evidence): string {
  if (cause.startsWith(LOG)) return `that came in ${direction} to ${cause}`
  const name = cause.replace(STAGED, '')
  return `${cause.startsWith(STAGED) ? 'that would be decided' : 'decided'} in ${direction} by ${name}`
}

function printEvidence(evidence: readonly Evidence[]): string[] {
  const lines = evidence.map(told => {
    const { node, packets, bytes, missing } = told
    return missing === undefined
      ? `seen by the kernel on ${node}: ${packets} packets, ${bytes} bytes ${counted(told)} (all flows)`
      : `not seen by the kernel on ${node}: ${missing}`
  })
  return [...new Set(lines)]
}

/** What decided, without addresses: two families often say the same. */
const essence = ({ decision, staged }: Answer): string =>
  JSON.stringify(
    [decision, staged].map(d => [
      d.verdict,
      ...directionsOf(d).map(of => [of.direction, of.hook, printCause(of.cause)]),
    ]),
  )

function printAnswers(answers: readonly Answer[]): string {
  const told = new Map<string, Family>()
  const parts = answers.map(answer => {
    const { decision, staged, kernel } = answer
    const { family, src, dst } = decision.packet
    const same = told.get(essence(answer))
    if (same !== undefined) return [`IPv${family} (${src} -> ${dst}): the same, for the same reasons`]
    told.set(essence(answer), family)
    const wouldBe = explainStaged(decision, staged)
    return [...explainDecision(decision), '', ...wouldBe, ...(wouldBe.length > 0 ? [''] : []), ...printEvidence(kernel)]
  })
  return `${parts.map(lines => lines.join('\n')).join('\n\n')}\n`
}
