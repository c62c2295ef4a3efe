// Three of the four judges: the oracle, the classification, and a trace of the printed table. (The fourth is the kernel:
// real-packets.ts.) The compiler is a value, so that a faulty one can be judged as well.
import type { computeIntent } from '../../src/core/calc/compute.ts'
import type { Intent, LocalEndpoint } from '../../src/core/calc/intent.ts'
import type { Classification, classify, outcomesAt } from '../../src/core/classify/classify.ts'
import type { NftTable } from '../../src/core/nft/objects.ts'
import { caseOf, decideDirection } from '../../src/core/oracle/decide.ts'
import { decideAtNode } from '../../src/core/oracle/decide-at-node.ts'
import type { DirectionDecision } from '../../src/core/oracle/decision.ts'
import { endpointsOf, hostsOf } from '../../src/core/oracle/members.ts'
import type { policyTable } from '../../src/core/render/nft/table.ts'
import { printCause, printRule } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { find, type Snapshot } from '../../src/core/resources/resource.ts'
import { type Tracer, trace } from '../kernel/proof-trace.ts'
import { type Flow, INTERFACES, NODE, type Part, type Place, placed, placeOf, type Told } from './flow.ts'
import { groupAt, judgeAt, type Leg } from './follow.ts'

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

/** Interfaces are numbered, so that a lab with fixed wires serves every cluster. */
const wired = (endpoint: LocalEndpoint, index: number): LocalEndpoint => ({
  ...endpoint,
  interfaceName: `cali${index}`,
})

/** A cluster, and how large a node's tables may be before they are cut. */
export type Case = { readonly snapshot: Snapshot; readonly budget: number }

export function worldOf({ snapshot, budget }: Case, compiler: Compiler): World {
  const { endpoints, ...rest } = compiler.computeIntent(derived(snapshot), NODE, INTERFACES)
  const intent = { ...rest, endpoints: endpoints.map(wired) }
  return { snapshot, compiler, intent, classes: compiler.classify(intent, { budget }) }
}

export const tableOf = (world: World): NftTable => world.compiler.policyTable(world.classes)
export const placeIn = ({ intent }: World, flow: Flow): Place => placeOf(intent.endpoints, flow)

export type Judged = {
  readonly told: Told
  /** Where it was asked, for each part. */
  readonly legs: readonly Leg[]
  /** What the oracle went through at each of them, as enforced and as staged. */
  readonly decisions: readonly DirectionDecision[]
}

/** Whether the node drops what connection tracking knows nothing of. */
export const checksConnections = (snapshot: Snapshot): boolean =>
  find(snapshot, 'FelixConfiguration', { name: 'default' })?.spec.disableConntrackInvalidCheck !== true

export function byOracle(world: World, flow: Flow): Judged {
  const { snapshot } = world
  const { packet } = flow
  const { in: incoming, out, from, connection } = placeIn(world, flow)
  if (from && !from.addresses.includes(packet.src))
    return { told: { verdict: 'deny', parts: [], untracked: false }, legs: [], decisions: [] }
  const ends = { ...(incoming !== undefined && { in: incoming }), ...(out !== undefined && { out }) }
  const road = decideAtNode(snapshot, packet, { node: NODE, interfaces: INTERFACES, ...ends })
  let { verdict, asked } = road
  if (connection === 'invalid' && checksConnections(snapshot) && road.tracked) {
    // Its state is looked at before policy by all but those who come before connection tracking.
    const before = asked.filter(d => d.hook === 'untracked')
    if (from || (incoming !== undefined && out !== undefined) || asked.length > before.length) verdict = 'deny'
    asked = before
  }
  const resources = derived(snapshot)
  const staged = asked.map(({ endpoint: key, direction, hook }) => {
    const endpoint = [...endpointsOf(resources), ...hostsOf(resources)].find(e => e.key === key)!
    const question = { judged: caseOf(resources, packet), view: 'staged', ...(hook && { hook }) } as const
    return decideDirection(resources, endpoint, direction, question)
  })
  const parts = asked.map(({ cause, logs }, i) => ({
    cause: printCause(cause),
    staged: printCause(staged[i]!.cause),
    logs: logs.map(printRule),
  }))
  const legs = asked.map(({ direction, hook }) => ({
    // A pod is asked as a sender for what comes in by its interface, a host endpoint for what leaves by its.
    interfaceName: ((direction === 'egress') === (hook === undefined) ? incoming : out)!,
    direction,
    ...(hook && { hook }),
  }))
  const untracked = verdict === 'allow' && (!road.tracked || connection === 'untracked')
  return { told: { verdict, parts, untracked }, legs, decisions: asked.flatMap((d, i) => [d, staged[i]!]) }
}

/** The tables say nothing of the order in which they are asked: they are, where the oracle was. */
export function byClassification(world: World, flow: Flow, { told, legs }: Judged): Told {
  const { classes, compiler } = world
  const parts = legs.map((leg): Part => {
    const group = groupAt(classes, leg, flow.packet)
    if (group === undefined) return { cause: `nothing at ${JSON.stringify(leg)}`, staged: '', logs: [] }
    const { cause, staged, logs } = judgeAt(classes, group, flow.packet, compiler)
    return { cause: printCause(cause), staged: printCause(staged ?? cause), logs }
  })
  return { ...told, parts }
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
  const { verdict, causes, untracked } = trace(listing, placed(flow, placeIn(world, flow)))
  return { verdict: verdict === 'accept' ? 'allow' : 'deny', parts: partsOf(causes), untracked }
}

export const sameTold = (a: Told, b: Told): boolean => JSON.stringify(a) === JSON.stringify(b)
