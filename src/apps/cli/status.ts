// `gingham status`: one line per node, then what is wrong, one line each with the fix, then a count. Exit 1 if any node is
// unready or does not answer, so that a script can wait for it.
import type { AgentStatus, Answer } from './agents.ts'
import { columns } from './table.ts'

export type NodeAnswer = { readonly node: string; readonly answer: Answer<AgentStatus> }
/** Without a fix when the text says itself what to do, or that nothing is to be done. */
type Fault = { readonly node: string; readonly text: string; readonly fix?: string | undefined }

/** How an agent's problems begin or what marks them, and the cure that their text does not name. */
const CURES: readonly (readonly [problem: RegExp, fix: string])[] = [
  [
    /^not proved: table netdev /,
    'it sees packets before the policy does: find out whose it is; remove it if nobody needs it',
  ],
  [/^not proved: /, 'the packets concerned are in the agent log'],
  [
    /^the kernel differs: /,
    "the agent puts its own table right; a rule in another table is that program's: see nft list ruleset, and the agent log",
  ],
  [/^routing: /, "see gingham get bgppeer and the router's side"],
  [/^BIRD does not run/, 'see that bird is installed, and its bird.log in the run folder; the agent starts it again'],
  [/ has no BGP address /, 'give the Node spec.bgp.ipv4Address or ipv6Address'],
  [/ denies all: /, 'apply it corrected; it lets nothing through until then'],
  [/ is not valid: /, 'apply it corrected; its last valid version stays in force'],
  [
    /, past the budget of /,
    'it is correct, and slower by each part: say the same in fewer rules about everybody, or about fewer peers',
  ],
  [
    / in the older group crd\.projectcalico\.org\/v1/,
    'install the definitions of the new one: gingham crds | kubectl apply -f -, then apply the resources again',
  ],
  [/^writing the policy table failed/, 'read the agent log; the agent keeps trying'],
]

const cureOf = (problem: string): string | undefined => CURES.find(([pattern]) => pattern.test(problem))?.[1]

/** `45s`, `12m`, `3h`, `2d`: how kubectl writes ages. */
export function age(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds))
  if (s < 120) return `${s}s`
  if (s < 2 * 3600) return `${Math.floor(s / 60)}m`
  if (s < 2 * 86400) return `${Math.floor(s / 3600)}h`
  return `${Math.floor(s / 86400)}d`
}

function faults({ node, answer }: NodeAnswer): Fault[] {
  if (!answer.ok)
    return [{ node, text: `no answer: ${answer.why}`, fix: 'start the node agent again (npm start for the lab)' }]
  const { datastore, dataplane, canary, bgp, ready } = answer.value
  const found: Fault[] = []
  const fault = (text: string, fix?: string): void => void found.push({ node, text, fix })
  if (!datastore.connected) {
    fault(
      `the datastore is away; what was known at revision ${datastore.revision} stays enforced`,
      'start the datastore again; the agent connects by itself',
    )
  } else if (!datastore.inSync) fault('still reading the datastore', 'wait; if it stays, read the agent log')
  if (!dataplane.programmed) {
    fault('the kernel does not have the policies yet; new pods stay closed', 'wait; if it stays, read the agent log')
  }
  for (const problem of dataplane.problems) fault(problem, cureOf(problem))
  const edit = dataplane.lastEdit
  if (edit && edit.secondsAgo < SHOWN_SECONDS) {
    const what = edit.what.length > 1 ? `${edit.what[0]} and ${edit.what.length - 1} more` : edit.what[0]
    const text = `${edit.by} changed the policy table ${age(edit.secondsAgo)} ago: ${what}; it was put right`
    fault(text, 'find out who did it and why; the agent log has all of it')
  }
  if (canary?.why) fault(`canary: ${[...canary.faults, canary.why].join(', ')}`, canary.fix)
  const failure = canary?.lastFailure
  if (failure && canary.state !== 'failed' && failure.secondsAgo < SHOWN_SECONDS) {
    fault(
      `the canary failed ${age(failure.secondsAgo)} ago: ${failure.faults.join(', ')}; it is over`,
      'see the agent log',
    )
  }
  for (const peer of bgp?.peers ?? []) {
    if (peer.state.toLowerCase() !== 'established') {
      fault(
        `BGP session with ${peer.name} (${peer.address}) is ${peer.state}`,
        'see that this peer runs and is reachable',
      )
    }
  }
  if (!ready && found.length === 0) fault('the agent says that it is not ready', 'read the agent log')
  return found
}

/** How old both proofs are: that the table is as written, and that it means what the resources say. */
function proofs({ dataplane: { proof, readBack } }: AgentStatus): string {
  const read = readBack ? `read back ${age(readBack.secondsAgo)} ago` : 'not read back yet'
  if (!proof) return `not proved yet, ${read}`
  return `${proof.proved ? 'proved' : 'NOT PROVED'} ${age(proof.secondsAgo)} ago, ${read}`
}

/** An edit by somebody else, or what the canary met, is shown for so long, although it is over. */
const SHOWN_SECONDS = 3600

function canaryWord({ canary }: AgentStatus): string {
  if (!canary) return 'none'
  if (canary.state === 'failed') return `FAILED for ${age(canary.sinceSeconds)}`
  return typeof canary.secondsAgo === 'number' ? `${canary.state} ${age(canary.secondsAgo)} ago` : canary.state
}

function row({ node, answer }: NodeAnswer): string[] {
  if (!answer.ok) return [node, 'DOWN', '-', '-', '-', '-', '-', '-', '-', '-']
  const { ready, datastore, dataplane, bgp, pods, uptimeSeconds } = answer.value
  const store = !datastore.connected ? 'away' : datastore.inSync ? `in sync, rev ${datastore.revision}` : 'reading'
  const kernel = dataplane.programmed ? `programmed, rev ${dataplane.programmedRevision}` : 'not programmed'
  const sizes = `${dataplane.endpoints} endpoints, ${dataplane.atoms} atoms, ${dataplane.rows} rows, ${dataplane.outcomes} outcomes`
  return [
    node,
    ready ? 'ok' : 'NOT READY',
    store,
    kernel,
    proofs(answer.value),
    canaryWord(answer.value),
    sizes,
    bgp ? `${bgp.established}/${bgp.peers.length}` : 'off',
    String(pods ?? dataplane.endpoints),
    age(uptimeSeconds),
  ]
}

/** The lines to print and whether every node is well. */
export function printStatus(answers: readonly NodeAnswer[]): {
  readonly lines: readonly string[]
  readonly ok: boolean
} {
  if (answers.length === 0) {
    return { lines: ['no node agent is known here (fix: start the lab with npm start, or set GINGHAM_RUN)'], ok: false }
  }
  const heading = ['NODE', 'STATE', 'DATASTORE', 'KERNEL', 'PROOF', 'CANARY', 'POLICY', 'BGP', 'PODS', 'UP']
  const lines = columns([heading, ...answers.map(row)])
  const found = answers.flatMap(faults)
  if (found.length > 0) {
    lines.push('', 'Problems')
    lines.push(
      ...columns(
        found.map(f => [f.node, f.text, f.fix === undefined ? '' : `fix: ${f.fix}`]),
        '  ',
      ),
    )
  }
  const well = answers.filter(({ answer }) => answer.ok && answer.value.ready).length
  lines.push(
    '',
    `${well} of ${answers.length} nodes ready, ${found.length} ${found.length === 1 ? 'problem' : 'problems'}`,
  )
  return { lines, ok: well === answers.length }
}
