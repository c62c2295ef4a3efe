// The agreement itself: case after case, every flow before every judge, until one says otherwise than the oracle. The oracle
// is the measure only because it is the simplest; who of them is wrong is for a person to find out.
import { parseAddr } from '../../src/core/net/addr.ts'
import type { Resource } from '../../src/core/resources/resource.ts'
import { snapshotOf } from '../../src/core/resources/resource.ts'
import { makeCase } from './cases.ts'
import { Coverage } from './coverage.ts'
import type { Flow, Told } from './flow.ts'
import { chooseFlows } from './flows.ts'
import {
  byClassification,
  byOracle,
  byTrace,
  type Compiler,
  type Judged,
  sameTold,
  tableOf,
  type World,
  worldOf,
} from './judges.ts'
import type { RealPackets } from './real-packets.ts'

export const JUDGES = ['classification', 'trace', 'packets'] as const
export type JudgeName = (typeof JUDGES)[number]
export type Judges = readonly JudgeName[]

/** Everything that it takes to see a disagreement again. */
export type KeptCase = {
  readonly resources: readonly Resource[]
  readonly budget: number
  readonly flow: Flow
}
export type Disagreement = KeptCase & {
  readonly judges: Judges
  /** What the oracle says, and what the first of the judges says. */
  readonly wanted: string
  readonly found: string
}

export type Stats = {
  cases: number
  flows: number
  allowed: number
  /** Flows by what carries them and how: protocol numbers, shapes, spoofed. */
  readonly sorts: Map<string, number>
  readonly judged: Record<JudgeName, number>
}

export type Agreement = {
  readonly stats: Stats
  readonly coverage: number
  readonly disagreement?: Disagreement
}

export type AgreementOptions = {
  readonly compiler: Compiler
  /** Case n has the seed `seed + n`. */
  readonly seed: number
  readonly flows: number
  readonly judges: Judges
  readonly real: RealPackets | undefined
  /** Asked before each case. */
  readonly goesOn: (stats: Stats) => boolean
}

const print = (told: Told): string => JSON.stringify(told)

type Wanted = { readonly flow: Flow; readonly judged: Judged }
type Judge = (wanted: readonly Wanted[]) => Promise<ReadonlyMap<Flow, string>>

/** Every judge of one world: what it says otherwise, by flow. */
function judgesOf(world: World, { judges, real, how }: { judges: Judges; real: RealPackets | undefined; how: number }) {
  const needsTable = judges.some(j => j !== 'classification')
  const compare =
    (say: (flow: Flow, judged: Judged) => Told): Judge =>
    async wanted =>
      new Map(
        wanted.flatMap(({ flow, judged }): [Flow, string][] => {
          const found = say(flow, judged)
          return sameTold(found, judged.told) ? [] : [[flow, print(found)]]
        }),
      )
  let listing: ReturnType<RealPackets['load']> | undefined
  const loaded = () => {
    listing ??= real!.load(world, tableOf(world), how % 2 === 0 ? 'print' : 'netlink')
    return listing
  }
  if (needsTable && !real) throw new Error('the trace and the packets need a lab')
  const all: Record<JudgeName, Judge> = {
    classification: compare((flow, judged) => byClassification(world, flow, judged)),
    trace: compare(flow => byTrace(world, loaded(), flow)),
    packets: wanted => {
      loaded()
      return real!.judge(wanted.map(({ flow, judged: { told } }) => ({ flow, told })))
    },
  }
  return judges.map(name => ({ name, judge: all[name] }))
}

/** What each judge says otherwise than the oracle of one case; undefined when all agree. */
export async function judgeCase(
  kept: KeptCase,
  o: { compiler: Compiler; judges: Judges; real: RealPackets | undefined; how?: number },
): Promise<Disagreement | undefined> {
  const world = worldOf({ ...kept, snapshot: snapshotOf(kept.resources) }, o.compiler)
  const judged = byOracle(world, kept.flow)
  let first: string | undefined
  const guilty: JudgeName[] = []
  for (const { name, judge } of judgesOf(world, { judges: o.judges, real: o.real, how: o.how ?? 0 })) {
    const found = (await judge([{ flow: kept.flow, judged }])).get(kept.flow)
    if (found === undefined) continue
    guilty.push(name)
    first ??= found
  }
  return first === undefined ? undefined : { ...kept, judges: guilty, wanted: print(judged.told), found: first }
}

function count(stats: Stats, { flow: { packet, shape, sender }, judged: { legs } }: Wanted): void {
  const add = (sort: string): void => void stats.sorts.set(sort, (stats.sorts.get(sort) ?? 0) + 1)
  add(`IPv${packet.family}`)
  add(`protocol ${packet.protocol}`)
  if (shape !== 'whole') add(shape)
  if (parseAddr(sender) !== undefined && sender !== packet.src) add('spoofed')
  for (const { hook, direction } of legs) if (hook) add(`asked at ${hook} ${direction}`)
}

/** Case after case, until one disagrees or enough is done. */
export async function agree(o: AgreementOptions): Promise<Agreement> {
  const coverage = new Coverage()
  const stats: Stats = {
    cases: 0,
    flows: 0,
    allowed: 0,
    sorts: new Map(),
    judged: { classification: 0, trace: 0, packets: 0 },
  }
  while (o.goesOn(stats)) {
    const seed = o.seed + stats.cases++
    const made = makeCase(seed, coverage.missing)
    const { snapshot, budget } = made
    const world = worldOf(made, o.compiler)
    const wanted = chooseFlows(world, seed, { count: o.flows, coverage })
    for (const each of wanted) {
      stats.flows++
      if (each.judged.told.verdict === 'allow') stats.allowed++
      count(stats, each)
    }
    for (const { name, judge } of judgesOf(world, { judges: o.judges, real: o.real, how: seed })) {
      const wrong = await judge(wanted)
      stats.judged[name] += wanted.length
      const [first] = wrong
      if (!first) continue
      const kept: KeptCase = { resources: [...snapshot.values()], budget, flow: first[0] }
      const told = wanted.find(w => w.flow === first[0])!.judged.told
      const disagreement = { ...kept, judges: [name], wanted: print(told), found: first[1] }
      return { stats, coverage: coverage.share, disagreement }
    }
  }
  return { stats, coverage: coverage.share }
}

/** The share of the allowed, what the flows were, and who judged them. */
export function printStats({ stats, coverage }: Agreement): string {
  const { cases, flows, allowed, sorts, judged } = stats
  const share = (n: number): string => `${((100 * n) / flows).toFixed(1)} %`
  return [
    `${cases} clusters, ${flows} flows, ${share(allowed)} allowed; pairs of features covered: ${(100 * coverage).toFixed(2)} %`,
    `judged by ${Object.entries(judged)
      .map(([name, n]) => `${name} ${n}`)
      .join(', ')}`,
    [...sorts]
      .sort()
      .map(([sort, n]) => `${sort}: ${n}`)
      .join(', '),
  ].join('\n# ')
}
