// An outcome as a chain: its logs, each with a counter of its own, then a counter and the verdict. The deciding rule's comment is the cause in words, so
// that a listing reads well and a counter can be asked for by cause.
import type { LogLimit, NodeSettings } from '../../calc/intent.ts'
import type { Condition, LogStep, Outcome, Step } from '../../classify/outcome.ts'
import { type Family, familyOf } from '../../net/addr.ts'
import type { PortRange } from '../../net/ports.ts'
import type { Field, KeyPart, NftChain, Operand, Rule, Statement } from '../../nft/objects.ts'
import { type Cause, causeVerdict, type Direction, printCause, printLog } from '../../resources/cause.ts'
import { ACCEPT, DROP, goto, is, priority, RETURN, SET_ACCEPT_MARK } from './layout.ts'
import { logName, logPrefix } from './log.ts'

/** nft comments hold at most 128 bytes. */
const COMMENT_BYTES = 120
export const clip = (text: string): string =>
  text.length <= COMMENT_BYTES ? text : `${text.slice(0, COMMENT_BYTES - 1)}~`

const portsOperand = (ranges: readonly PortRange[]): Operand => ({
  set: ranges.map((r): KeyPart => (r.first === r.last ? r.first : { from: r.first, to: r.last })),
})

/** The endpoint's own address: the destination of what comes in, the source of what goes out. */
const ownField = (direction: Direction, family: Family): Field =>
  `${family === 4 ? 'ip' : 'ip6'} ${direction === 'ingress' ? 'daddr' : 'saddr'}` as Field

function conditionStatements(condition: Condition, direction: Direction): Statement[] {
  const statements: Statement[] = []
  const add = (field: Field, op: '==' | '!=', right: Operand) =>
    statements.push({ kind: 'match', fields: [field], op, right })
  const { sports, notSports, ownAddresses } = condition
  if (ownAddresses?.[0]) add(ownField(direction, familyOf(ownAddresses[0])), '==', { set: ownAddresses })
  if (sports) add('th sport', '==', portsOperand(sports))
  if (notSports) add('th sport', '!=', portsOperand(notSports))
  return statements
}

/** What the scratch register says when a part of a cut table returns to the chain that goes through the parts. */
export const NEXT_CODES = { next: 0, pass: 1, done: 2 } as const

/** The comment of a counter of what would be, by its cause. */
export const stagedComment = (cause: Cause): string => clip(`staged: ${printCause(cause)}`)

/**
 * Counters of what would be decided if the staged policies were enforced: only the first that applies counts, which the
 * scratch register remembers. It is free here: the row has led to its outcome.
 */
function stagedRules({ direction, steps }: Outcome): Rule[] {
  const staged = steps.filter(s => s.kind === 'staged')
  const counted = ({ cause }: (typeof staged)[number], ...when: Statement[]): Rule => ({
    statements: [...when, { kind: 'counter' }],
    comment: stagedComment(cause),
  })
  if (staged.length <= 1) return staged.map(s => counted(s))
  return [
    { statements: [priority(1)] },
    ...staged.map((step): Rule => {
      const when = (step.when ?? []).flatMap(c => conditionStatements(c, direction))
      const { statements, comment } = counted(step, ...when, is('meta priority', { value: 1 }))
      return { statements: [...statements, priority(0)], comment: comment! }
    }),
  ]
}

/** Where a packet goes on that is allowed. */
function onward({ direction, hook }: Outcome, decided: boolean): Statement[] {
  switch (hook) {
    case undefined:
      // What a pod may send must still pass the receiving pod's own policy, if that pod is on this node.
      return [direction === 'egress' ? goto('from_ok') : ACCEPT]
    case 'forward':
      return [direction === 'ingress' ? goto('from_ok') : ACCEPT]
    case 'host':
      return [ACCEPT]
    // What is allowed here is not judged again as it comes in.
    case 'prednat':
      return decided ? [SET_ACCEPT_MARK, ACCEPT] : [ACCEPT]
    case 'untracked':
      return decided ? [{ kind: 'notrack' }, SET_ACCEPT_MARK, ACCEPT] : [ACCEPT]
  }
}

/** Hooks before routing, and after it, drop in silence: the kernel answers from the others only, or would answer ourselves. */
const deny = ({ direction, hook }: Outcome, { denyAction }: NodeSettings): Statement =>
  denyAction === 'Drop' || hook === 'prednat' || hook === 'untracked' || (hook === 'host' && direction === 'egress')
    ? DROP
    : { kind: 'reject' }

/** What is settled when the process starts, and no resource says. */
export type RenderOptions = {
  /** The NFLOG group that lines of Log rules go to; without, they are the kernel log's. */
  readonly logGroup?: number | undefined
}

/** Every packet that comes to a Log rule is counted; the limit is on the lines. */
function logStatements(step: LogStep, { logLimit, logPrefix: template }: NodeSettings, group?: number): Statement[] {
  const log: Statement =
    group === undefined
      ? { kind: 'log', prefix: logPrefix(template, step) }
      : { kind: 'log', prefix: logName(step.rule), group }
  return [{ kind: 'counter' }, limitOf(logLimit), log]
}

type Rendering = RenderOptions & { readonly settings: NodeSettings }

function stepRules(step: Step, outcome: Outcome, { settings, logGroup }: Rendering): Rule[] {
  const when = (step.when ?? []).flatMap(c => conditionStatements(c, outcome.direction))
  switch (step.kind) {
    case 'log':
      return [
        {
          statements: [...when, ...logStatements(step, settings, logGroup)],
          comment: clip(printLog(step.rule)),
        },
      ]
    case 'staged':
      return []
    case 'next': {
      const counted: Statement[] = step.cause ? [{ kind: 'counter' }] : []
      const statements: Statement[] = [...when, ...counted, priority(NEXT_CODES[step.to]), RETURN]
      return [step.cause ? { statements, comment: stagedComment(step.cause) } : { statements }]
    }
    case 'decide': {
      const comment = clip(printCause(step.cause))
      const counter: Statement = { kind: 'counter' }
      if (causeVerdict(step.cause) === 'deny')
        return [{ statements: [...when, counter, deny(outcome, settings)], comment }]
      // The scratch register is given back empty: nobody else shall read a row's number in it.
      const goesOn = onward(outcome, step.cause.kind !== 'undecided')
      return [{ statements: [...when, counter, priority(0), ...goesOn], comment }]
    }
  }
}

export function outcomeChain(outcome: Outcome, settings: NodeSettings, options: RenderOptions = {}): NftChain {
  const rules = outcome.steps.flatMap(step => stepRules(step, outcome, { settings, ...options }))
  return { name: outcome.name, rules: [...stagedRules(outcome), ...rules] }
}

/** Five is what nft leaves out. */
const limitOf = ({ rate, per, burst }: LogLimit): Statement => ({
  kind: 'limit',
  rate,
  per,
  ...(burst !== 5 && { burst }),
})
