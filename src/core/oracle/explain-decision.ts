// A decision for a person at three in the morning: the answer first, then per direction who decided and with what words,
// then, for a denial, the rule that came closest and what is missing, and last everything that was passed over.
import { type Direction, type HostHook, printCause, printKey, printRule } from '../resources/cause.ts'
import { type FlowDecision, type HostDecision, stagedChanges } from './decide-flow.ts'
import { type DirectionDecision, printService, type RuleStep, type Step } from './decision.ts'

const isRule = (step: Step): step is RuleStep => step.kind === 'rule'
const passedOver = (step: RuleStep): boolean => step.failures.length > 0 || step.note !== undefined

/** The rule whose match ended the search, if a rule did. */
function decidingRule(decision: DirectionDecision): RuleStep | undefined {
  const cause = decision.cause
  if (cause.kind !== 'rule') return undefined
  const name = printRule(cause.rule)
  return decision.trail.filter(isRule).find(step => printRule(step.rule) === name)
}

/** Of the Allow rules that were passed over, the one that fails on the fewest criteria; the earliest of equals. */
export function nearMiss(decision: DirectionDecision): RuleStep | undefined {
  if (decision.verdict === 'allow') return undefined
  const candidates = decision.trail.filter(isRule).filter(step => step.action === 'Allow' && passedOver(step))
  return candidates.reduce<RuleStep | undefined>(
    (best, step) => (best && best.failures.length <= step.failures.length ? best : step),
    undefined,
  )
}

const HOOK_WORDS: Readonly<Record<HostHook, string>> = {
  host: "the host's",
  forward: 'forwarded',
  prednat: 'preDNAT',
  untracked: 'untracked',
}

function answer(decision: DirectionDecision): string {
  const where = `${decision.hook === undefined ? '' : `${HOOK_WORDS[decision.hook]} `}${decision.direction} of ${decision.endpointName}`
  if (decision.cause.kind === 'undecided') return `${where}: goes on: ${printCause(decision.cause)}`
  if (decision.verdict === 'allow') return `${where}: allowed by ${printCause(decision.cause)}`
  switch (decision.cause.kind) {
    case 'rule':
      return `${where}: DENIED by ${printCause(decision.cause)}`
    case 'tier':
      return `${where}: DENIED at the end of tier ${decision.cause.tier}: its policies select this ${decision.hook === undefined ? 'pod' : 'endpoint'} and no rule allows this`
    case 'no-profile': {
      const missing = decision.trail.find(step => step.kind === 'profile' && !step.exists)
      return missing?.kind === 'profile'
        ? `${where}: DENIED: ${printKey(missing.profile)} does not exist, and until it does it denies everything`
        : `${where}: DENIED: no policy decides and no profile allows this`
    }
  }
}

function describe(step: Step, direction: Direction): string {
  switch (step.kind) {
    case 'tier': {
      const order = step.order === undefined ? 'no order, last' : `order ${step.order}`
      return `tier ${step.tier} (${step.exists ? order : 'does not exist: judged last, default Deny'})`
    }
    case 'policy': {
      const note = step.note === undefined ? '' : ` (${step.note})`
      return step.considered
        ? `  ${printKey(step.policy)}${note}`
        : `  ${printKey(step.policy)} selects this pod, but its types leave out ${direction}${note}`
    }
    case 'profile':
      return `${printKey(step.profile)}${step.exists ? '' : ' does not exist'}`
    case 'rule': {
      const why = step.failures[0]?.text ?? step.note
      const more = step.failures.length > 1 ? ` (and ${step.failures.length - 1} more)` : ''
      const result = why === undefined ? (step.action === 'Log' ? 'logs, goes on' : 'MATCHES') : `no: ${why}${more}`
      return `${step.rule.policy.startsWith('Profile/') ? '  ' : '    '}${step.rule.direction}[${step.rule.index}] ${step.text}: ${result}`
    }
    case 'tier-default':
      return `  end of tier ${step.tier}: ${step.action === 'Deny' ? 'default action Deny' : 'default action Pass, goes on'}`
  }
}

function explainDirection(decision: DirectionDecision): string[] {
  const lines = [answer(decision)]
  const rule = decidingRule(decision)
  if (rule) {
    lines.push(`  rule       ${rule.text}`)
    if (rule.note !== undefined) lines.push(`  note       ${rule.note}`)
  }
  for (const log of decision.logs) lines.push(`  logged by  ${printRule(log)}`)
  const near = nearMiss(decision)
  if (near) {
    lines.push(`  near miss  ${printRule(near.rule)}: ${near.text}`)
    for (const failure of near.failures) lines.push(`             but ${failure.text}`)
    if (near.note !== undefined) lines.push(`             but ${near.note}`)
    const wanted = near.failures.map(failure => failure.wanted)
    if (near.note === undefined) lines.push(`  allowed if ${wanted.join(', and ')}`)
  }
  if (decision.trail.length > 0) {
    lines.push('  in order')
    for (const step of decision.trail) lines.push(`    ${describe(step, decision.direction)}`)
  }
  return lines
}

/** What would decide otherwise if the staged policies were enforced; nothing if nothing would. */
export function explainStaged(decision: FlowDecision, staged: FlowDecision): string[] {
  const changed = stagedChanges(decision, staged).map(([, then]) => then)
  if (changed.length === 0) return []
  const same = decision.verdict === staged.verdict
  const verdict = staged.verdict === 'allow' ? 'ALLOWED' : 'DENIED'
  return [
    `if the staged policies were enforced: ${same ? `still ${verdict}` : `${verdict} instead`}`,
    ...changed.map(direction => `  ${answer(direction)}`),
  ]
}

function explainHost({ node, endpoint, verdict, asked, because, tracked }: HostDecision): string[] {
  const why = because === undefined ? '' : ` by ${because}`
  const head = `at ${endpoint} of node ${node}: ${verdict === 'allow' ? 'passes' : 'DENIED'}${why}`
  const lines = asked.flatMap(explainDirection).map(line => `  ${line}`)
  return [
    head,
    ...lines,
    ...(tracked ? [] : ['  connection tracking does not see it: answers need rules of their own']),
  ]
}

/** Lines without a newline. The first is the answer: `DENIED default/a -> default/b tcp/80 (10.0.0.1 -> 10.0.0.2)`. */
export function explainDecision(decision: FlowDecision): string[] {
  const { packet, source, destination, hosts = [] } = decision
  const addresses = source === packet.src && destination === packet.dst ? '' : ` (${packet.src} -> ${packet.dst})`
  const verdict = decision.verdict === 'allow' ? 'ALLOWED' : 'DENIED'
  const lines = [`${verdict} ${source} -> ${destination} ${printService(packet)}${addresses}`]
  if (!decision.egress && !decision.ingress && hosts.length === 0) {
    return [...lines, '', 'neither address belongs to a workload: no policy is asked']
  }
  const directions = [decision.egress, decision.ingress].filter(d => d !== undefined)
  // The one that denies is what was asked for.
  directions.sort((a, b) => Number(a.verdict === 'allow') - Number(b.verdict === 'allow'))
  for (const direction of directions) lines.push('', ...explainDirection(direction))
  for (const host of hosts) lines.push('', ...explainHost(host))
  if (hosts.length > 0) return lines
  if (!decision.egress) lines.push('', `egress of ${source}: not asked, it is no workload`)
  if (!decision.ingress) lines.push('', `ingress of ${destination}: not asked, it is no workload`)
  return lines
}
