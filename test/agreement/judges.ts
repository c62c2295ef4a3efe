// Three of the four judges: the oracle, the classification, and a trace of the printed table. (The fourth is the kernel:
// real-packets.ts.) The compiler is a value, so that a faulty one can be judged as well.
import type { computeIntent } from '../../src/core/calc/compute.ts'
import type { Intent, LocalEndpoint, NodeSettings } from '../../src/core/calc/intent.ts'
import type { Classification, classify, outcomesAt } from '../../src/core/classify/classify.ts'
import type { NftTable } from '../../src/core/nft/objects.ts'
import { decide } from '../../src/core/oracle/decide.ts'
import type { DirectionDecision } from '../../src/core/oracle/decision.ts'
import type { policyTable } from '../../src/core/render/nft/table.ts'
import { causeVerdict, type Direction, printCause, printRule } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import type { Snapshot } from '../../src/core/resources/resource.ts'
import { type Tracer, trace } from '../kernel/proof-trace.ts'
import { type Flow, type Part, type Place, placed, placeOf, type Told, tell } from './flow.ts'
import { judgeAt } from './follow.ts'

export type Compiler = {
  readonly computeIntent: typeof computeIntent
  readonly classify: typeof classify
  readonly outcomesAt: typeof outcomesAt
  readonly policyTable: typeof policyTable
}

/** One cluster as one of its nodes has it. */
export type World = {
  readonly snapshot: Snapshot
  readonly compiler: Compiler
  readonly intent: Intent
  readonly classes: Classification
}

export const NODE = 'node0'

/** Interfaces are numbered, so that a lab with fixed wires serves every cluster. */
const wired = (endpoint: LocalEndpoint, index: number): LocalEndpoint => ({
  ...endpoint,
  interfaceName: `cali${index}`,
})

/** A cluster, how a node is set up, and how large its tables may be before they are cut. */
export type Case = { readonly snapshot: Snapshot; readonly settings: NodeSettings; readonly budget: number }

/** Without host endpoints, which judge where these flows do not pass; they are members of what rules select all the same. */
export function worldOf({ snapshot, settings, budget }: Case, compiler: Compiler): World {
  const { endpoints, ...rest } = compiler.computeIntent(derived(snapshot), NODE)
  const without = { hostInterfaces: [], masqueradePools: [], allPools: [] }
  const intent = { ...rest, ...without, endpoints: endpoints.map(wired), settings }
  return { snapshot, compiler, intent, classes: compiler.classify(intent, { budget }) }
}

export const tableOf = (world: World): NftTable => world.compiler.policyTable(world.classes)
export const placeIn = ({ intent }: World, flow: Flow): Place => placeOf(intent.endpoints, flow)

const told = (world: World, flow: Flow, judge: (direction: Direction) => Part & { allow: boolean }): Told =>
  tell(flow, { place: placeIn(world, flow), settings: world.intent.settings }, judge)

export type Judged = {
  readonly told: Told
  /** What the oracle went through in each direction that counts, as enforced and as staged. */
  readonly decisions: readonly DirectionDecision[]
}

export function byOracle(world: World, flow: Flow): Judged {
  const enforced = decide(world.snapshot, flow.packet)
  const staged = decide(world.snapshot, flow.packet, 'staged')
  const decisions: DirectionDecision[] = []
  const answer = told(world, flow, direction => {
    const [is, would] = [enforced[direction], staged[direction]]
    if (!is || !would) throw new Error(`the oracle knows no endpoint for the ${direction} of ${JSON.stringify(flow)}`)
    decisions.push(is, would)
    return {
      allow: is.verdict === 'allow',
      cause: printCause(is.cause),
      staged: printCause(would.cause),
      logs: is.logs.map(printRule),
    }
  })
  return { told: answer, decisions }
}

export function byClassification(world: World, flow: Flow): Told {
  const { classes, compiler } = world
  const { from, to } = placeIn(world, flow)
  return told(world, flow, direction => {
    const name = (direction === 'egress' ? from : to)!.interfaceName
    const { groups } = classes.dispatch.find(d => d.endpoint.interfaceName === name)!
    const { cause, staged, logs } = judgeAt(classes, groups[direction], flow.packet, compiler)
    return {
      allow: causeVerdict(cause) === 'allow',
      cause: printCause(cause),
      staged: printCause(staged ?? cause),
      logs,
    }
  })
}

/** Counting rules' comments on a packet's way as parts: what is staged and logged comes before the cause. */
function partsOf(comments: readonly string[]): Part[] {
  const parts: Part[] = []
  let [staged, logs]: string[][] = [[], []]
  for (const comment of comments) {
    if (comment.startsWith('staged: ')) staged!.push(comment.slice('staged: '.length))
    else if (comment.startsWith('Log ')) logs!.push(comment.slice('Log '.length))
    else {
      // Of several staged causes no more than the first may be counted: more are told, and are nobody's judgement.
      parts.push({ cause: comment, staged: staged!.length > 0 ? staged!.join(' and ') : comment, logs: logs! })
      staged = []
      logs = []
    }
  }
  return parts
}

/** `listing`: of `nft -j -n list table inet gingham`. */
export function byTrace(world: World, listing: Tracer, flow: Flow): Told {
  const { verdict, causes } = trace(listing, placed(flow, placeIn(world, flow)))
  return { verdict: verdict === 'accept' ? 'allow' : 'deny', parts: partsOf(causes) }
}

export const sameTold = (a: Told, b: Told): boolean => JSON.stringify(a) === JSON.stringify(b)
