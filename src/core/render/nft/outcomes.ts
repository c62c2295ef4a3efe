// An outcome as a chain: its logs, then a counter and the verdict. The deciding rule's comment is the cause in words, so
// that a listing reads well and a counter can be asked for by cause.
import type { Condition, Outcome, Step } from '../../classify/outcome.ts'
import { type Family, familyOf } from '../../net/addr.ts'
import type { PortRange } from '../../net/ports.ts'
import type { Field, KeyPart, NftChain, Operand, Rule, Statement } from '../../nft/objects.ts'
import { type Cause, causeVerdict, type Direction, printCause, printRule } from '../../resources/cause.ts'
import { ACCEPT, DROP, goto, is, priority, RETURN } from './layout.ts'

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

function stepRules(step: Step, outcome: Outcome, logPrefix: string): Rule[] {
  const when = (step.when ?? []).flatMap(c => conditionStatements(c, outcome.direction))
  switch (step.kind) {
    case 'log':
      return [
        {
          statements: [...when, { kind: 'limit', rate: 100, per: 'second' }, { kind: 'log', prefix: logPrefix }],
          comment: clip(`Log ${printRule(step.rule)}`),
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
      if (causeVerdict(step.cause) === 'deny') return [{ statements: [...when, counter, DROP], comment }]
      // What a pod may send must still pass the receiving pod's own policy, if that pod is on this node.
      const onward = outcome.direction === 'egress' ? goto('from_ok') : ACCEPT
      // The scratch register is given back empty: nobody else shall read a row's number in it.
      return [{ statements: [...when, counter, priority(0), onward], comment }]
    }
  }
}

export function outcomeChain(outcome: Outcome, logPrefix: string): NftChain {
  const rules = outcome.steps.flatMap(step => stepRules(step, outcome, logPrefix))
  return { name: outcome.name, rules: [...stagedRules(outcome), ...rules] }
}
