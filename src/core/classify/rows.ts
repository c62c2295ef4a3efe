// From the rules that a peer's atom leaves to the row: every class of packets that the remaining rules can tell apart is decided
// once, then written down from fine to coarse so that what equals its coarser class needs no entry.
import type { Program, ResolvedRule, Stage } from '../calc/intent.ts'
import { cutPorts, mergeRanges, type PortRange } from '../net/ports.ts'
import { hasPorts, PORT_PROTOCOLS } from '../net/protocol.ts'
import type { Cause, Direction } from '../resources/cause.ts'
import { type Condition, type Outcome, OutcomeMaker, type OutcomeName, type Step } from './outcome.ts'
import { type Cell, icmpOf, match, rangesFor } from './residual.ts'
import { makeRow, type PortEntry, type ProtocolEntry, type Row, type TypeEntry } from './row.ts'

/** The cause of reaching the end of a stage whose default is Deny. */
const defaultCause = (stage: Stage, direction: Direction): Cause =>
  stage.kind === 'tier' ? { kind: 'tier', tier: stage.name, direction } : { kind: 'no-profile', direction }

/** The cause of coming to the end of all stages. */
export const finalCause = ({ direction, hook }: Pick<Program, 'direction' | 'hook'>): Cause => ({
  kind: hook === undefined || hook === 'host' ? 'no-profile' : 'undecided',
  direction,
})

/** A step that is taken only if one more condition holds. */
const under = (condition: Condition, step: Step): Step => ({ ...step, when: [condition, ...(step.when ?? [])] })

/** Where rows stand in a table that is cut into parts. */
export type Place = {
  /** The part tells what would be decided if the staged policies were enforced. */
  readonly staged: boolean
  /** After its stages there are no more. */
  readonly last: boolean
  /** It holds some rules of one stage, and more of that stage follow. */
  readonly part: boolean
}

/** A step of the second judgement: only what it decides is told. */
const asStaged = (step: Step): Step[] => (step.kind === 'decide' ? [{ ...step, kind: 'staged' }] : [])

export type Made = { readonly row: Row; readonly outcomes: ReadonlyMap<OutcomeName, Outcome> }

/** Makes rows for one direction and family. */
export class RowMaker {
  readonly #program: Pick<Program, 'direction' | 'family' | 'hook'>
  readonly #place: Place | undefined
  readonly #made = new OutcomeMaker()
  #outcomes = new Map<OutcomeName, Outcome>()

  constructor(program: Pick<Program, 'direction' | 'family' | 'hook'>, place?: Place) {
    this.#program = program
    this.#place = place
  }

  /** The row of the rules that are left once the peer is known, and every outcome that it leads to (and perhaps more). */
  row(stages: readonly Stage[]): Made {
    this.#outcomes = new Map()
    return { row: this.#row(stages), outcomes: this.#outcomes }
  }

  #row(stages: readonly Stage[]): Row {
    const rules = stages.flatMap(s => s.rules)
    const otherwise = this.#decide(stages, { family: this.#program.family, protocol: 'other' })
    const named = new Set<number>()
    for (const rule of rules) {
      if (rule.protocol !== undefined) named.add(rule.protocol)
      if (rule.notProtocol !== undefined) named.add(rule.notProtocol)
      if (rule.icmp || rule.notIcmp) named.add(icmpOf(this.#program.family))
      for (const term of [rule.dports, rule.notDports, rule.sports, rule.notSports].flatMap(t => t ?? [])) {
        for (const p of term.protocol === undefined ? PORT_PROTOCOLS : [term.protocol]) named.add(p)
      }
    }
    const ports: PortEntry[] = []
    const types: TypeEntry[] = []
    const protocols: ProtocolEntry[] = []
    for (const protocol of [...named].sort((a, b) => a - b)) {
      let base: OutcomeName
      if (hasPorts(protocol)) base = this.#ports(stages, rules, protocol, ports)
      else if (protocol === icmpOf(this.#program.family)) base = this.#types(stages, rules, protocol, types)
      else base = this.#decide(stages, { family: this.#program.family, protocol })
      if (base !== otherwise) protocols.push({ protocol, outcome: base })
    }
    const { direction, hook } = this.#program
    return makeRow({ direction, ...(hook && { hook }), ports, types, protocols, otherwise })
  }

  /** Adds the entries of one protocol's ports; returns the outcome of most ports, which needs none. */
  #ports(stages: readonly Stage[], rules: ResolvedRule[], protocol: number, entries: PortEntry[]): OutcomeName {
    const ranges = rules
      .filter(r => r.protocol === undefined || r.protocol === protocol)
      .flatMap(r => [...rangesFor(r.dports, protocol), ...rangesFor(r.notDports, protocol)])
    const pieces: (PortRange & { outcome: OutcomeName })[] = []
    const width = new Map<OutcomeName, number>()
    const cuts = cutPorts(ranges)
    const met = rulesByPiece(stages, cuts, protocol)
    for (const [i, { first, last }] of cuts.entries()) {
      const outcome = this.#decide(met(i), { family: this.#program.family, protocol, dport: first })
      width.set(outcome, (width.get(outcome) ?? 0) + last - first + 1)
      const before = pieces.at(-1)
      if (before?.outcome === outcome) pieces[pieces.length - 1] = { ...before, last }
      else pieces.push({ first, last, outcome })
    }
    const [base] = [...width].reduce((best, next) => (next[1] > best[1] ? next : best))
    for (const { first, last, outcome } of pieces)
      if (outcome !== base) entries.push({ protocol, first, last, outcome })
    return base
  }

  /** Adds the entries of the ICMP types and codes that rules name; returns the outcome of all others. */
  #types(stages: readonly Stage[], rules: ResolvedRule[], protocol: number, entries: TypeEntry[]): OutcomeName {
    const { family } = this.#program
    const cell = (type: Cell['type'], code: Cell['code']) => this.#decide(stages, { family, protocol, type, code })
    const base = cell('other', 'other')
    const wanted = rules.flatMap(r => [r.icmp, r.notIcmp]).filter(m => m?.type !== undefined)
    for (const type of [...new Set(wanted.map(m => m!.type!))].sort((a, b) => a - b)) {
      const ofType = cell(type, 'other')
      if (ofType !== base) entries.push({ family, type, outcome: ofType })
      const codes = wanted.filter(m => m!.type === type && m!.code !== undefined).map(m => m!.code!)
      for (const code of [...new Set(codes)].sort((a, b) => a - b)) {
        const outcome = cell(type, code)
        if (outcome !== ofType) entries.push({ family, type, code, outcome })
      }
    }
    return base
  }

  #decide(stages: readonly Stage[], cell: Cell): OutcomeName {
    const staged = this.#place ? [] : stages.filter(s => s.staged)
    const steps = this.#steps(this.#place ? stages : stages.filter(s => !s.staged), 0, cell)
    const wouldBe = staged.length === 0 ? [] : this.#steps(staged, 0, cell).flatMap(asStaged)
    const outcome = this.#made.make(this.#program, [...wouldBe, ...steps])
    this.#outcomes.set(outcome.name, outcome)
    return outcome.name
  }

  #steps(stages: readonly Stage[], from: number, cell: Cell): Step[] {
    const { direction } = this.#program
    const stage = stages[from]
    if (!stage) return [this.#place?.last === false ? NEXT : this.#decision(finalCause(this.#program))]
    const steps: Step[] = []
    for (const rule of stage.rules) {
      const matched = match(rule, cell)
      if (matched === false) continue
      const taken = this.#taken(rule, stages, from, cell)
      if (matched !== true) steps.push(...taken.map(step => under(matched, step)))
      else {
        steps.push(...taken)
        if (rule.action !== 'Log') return steps
      }
    }
    if (this.#place?.part) return [...steps, NEXT]
    if (stage.defaultAction === 'Pass') return [...steps, ...this.#steps(stages, from + 1, cell)]
    return [...steps, this.#decision(defaultCause(stage, direction))]
  }

  /** What happens when a rule matches: a Pass is everything that the next stages say. */
  #taken(rule: ResolvedRule, stages: readonly Stage[], from: number, cell: Cell): Step[] {
    switch (rule.action) {
      case 'Log':
        return this.#place?.staged ? [] : [logStep(rule, stages[from]!)]
      case 'Pass':
        return this.#place?.part ? [{ kind: 'next', to: 'pass' }] : this.#steps(stages, from + 1, cell)
      case 'Allow':
      case 'Deny':
        return [this.#decision({ kind: 'rule', rule: rule.ref, action: rule.action })]
    }
  }

  #decision(cause: Cause): Step {
    return this.#place?.staged ? { kind: 'next', to: 'done', cause } : { kind: 'decide', cause }
  }
}

/**
 * The stages with only those rules that a piece of the ports can meet: with many rules about single ports each piece meets
 * few, and asking all of them for each would be the square of their number.
 */
function rulesByPiece(
  stages: readonly Stage[],
  pieces: readonly PortRange[],
  protocol: number,
): (i: number) => Stage[] {
  const starts = new Map(pieces.map(({ first }, i) => [first, i]))
  const anywhere: Met[] = []
  const somewhere: Met[][] = pieces.map(() => [])
  let order = 0
  for (const [stage, { rules }] of stages.entries()) {
    for (const rule of rules) {
      const met = { stage, rule, order: order++ }
      if (!rule.dports) anywhere.push(met)
      else {
        for (const { first, last } of mergeRanges(rangesFor(rule.dports, protocol))) {
          for (let i = starts.get(first)!; i < pieces.length && pieces[i]!.first <= last; i++) somewhere[i]!.push(met)
        }
      }
    }
  }
  return i => {
    const found = [...anywhere, ...somewhere[i]!].sort((a, b) => a.order - b.order)
    const left = stages.map(stage => ({ ...stage, rules: [] as ResolvedRule[] }))
    for (const { stage, rule } of found) left[stage]!.rules.push(rule)
    return left
  }
}

type Met = { readonly stage: number; readonly rule: ResolvedRule; readonly order: number }

const logStep = ({ ref }: ResolvedRule, { kind, name }: Stage): Step => ({
  kind: 'log',
  rule: ref,
  ...(kind === 'tier' && { tier: name }),
})

const NEXT: Step = { kind: 'next', to: 'next' }
