// The canary in the lab: nothing is wrong and it says so; and a node is broken in many ways, each of which is told within
// a few rounds, by the canary or by whom else it is the matter of, and is over when it is undone.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { agentSocket, readText } from '../../src/apps/lab/cluster.ts'
import { example, gingham } from '../../src/apps/lab/commands.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { NODES, names } from '../../src/apps/lab/plan.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { HARMLESS, runInNode, SABOTAGES, sabotage } from './sabotage.ts'

const PREFIX = `gc${process.pid}`
const RUN = `/run/gingham-canary-${process.pid}`
const NODE = 'node-a'
const PERIOD_S = 0.5
/** Rounds within which everything is seen: a round that waits for what does not come takes two seconds. */
const SEEN_MS = 6000
let lab: Lab

before(async () => {
  const steps = new Steps(() => {}, plain)
  lab = new Lab(await RunFolder.claim(RUN, PREFIX), PREFIX, steps, ['--no-own-table', '--canary', String(PERIOD_S)])
  await lab.build()
})
after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
})

type Status = {
  readonly ready: boolean
  readonly notReady: readonly string[]
  readonly dataplane: {
    readonly lastEdit: { readonly at: string; readonly what: readonly string[] } | null
    readonly endpoints: number
  }
  readonly canary: {
    readonly state: string
    readonly faults: readonly string[]
    readonly why?: string
    readonly fix?: string
    readonly lastFailure: { readonly at: string } | null
  }
}
const statusOf = async (node: string): Promise<Status> =>
  JSON.parse(await readText(agentSocket(RUN, node), '/status')) as Status

async function until(what: string, holds: (status: Status) => boolean, ms = SEEN_MS): Promise<number> {
  const began = performance.now()
  for (;;) {
    const status = await statusOf(NODE)
    const took = performance.now() - began
    if (holds(status)) return took
    assert.ok(took < ms, `${what}: ${JSON.stringify([status.canary, status.dataplane.lastEdit])}`)
    await delay(25)
  }
}
const isOk = (status: Status): boolean => status.canary.state === 'ok' && status.ready

test('where nothing is wrong there is no alarm, whatever policies there are', async () => {
  for (const file of ['allow-backend-to-frontend.yaml', 'quarantine-tier.yaml', 'isolate-namespace.yaml'])
    await lab.use('create', example(file))
  await delay(5000)
  for (const { name } of NODES) {
    const { canary } = await statusOf(name)
    assert.deepEqual([canary.state, canary.lastFailure], ['ok', null])
    const metrics = await lab.metrics(name)
    const [, runs] = /^gingham_canary_runs_total\{result="ok"\} (\d+)$/m.exec(metrics) ?? []
    assert.ok(Number(runs) > 5, metrics)
    assert.match(metrics, /^gingham_canary_success 1$/m)
    assert.doesNotMatch(metrics, /result="(failed|unable|off)"/)
  }
})

test('it is no endpoint of anybody, and its packets are in nobody’s counters', async () => {
  const counters = await readText(agentSocket(RUN, NODE), '/counters')
  assert.doesNotMatch(counters, /[Cc]anary/)
  const shown = await gingham(RUN, 'get', 'workloadendpoints', '-A', '-o', 'json')
  assert.doesNotMatch(shown.stdout, /[Cc]anary/)
  assert.equal((await statusOf(NODE)).dataplane.endpoints, lab.wired.filter(pod => pod.node === NODE).length)
})

for (const one of SABOTAGES) {
  const { title, seen, why } = one
  test(`${title}: seen by the ${seen instanceof RegExp ? 'canary' : seen}`, async () => {
    await until('nothing is wrong before', isOk, 30_000)
    const before = await statusOf(NODE)
    const undo = sabotage(names(PREFIX).node(NODE), one)
    try {
      const took = await until('seen', ({ canary, dataplane }) =>
        seen === 'table watch'
          ? dataplane.lastEdit !== null && dataplane.lastEdit.at !== before.dataplane.lastEdit?.at
          : canary.state === 'failed' && seen.test(canary.faults.join(', ')) && (why ?? /./).test(canary.why ?? ''),
      )
      console.log(`# seen after ${Math.round(took)} ms`)
    } finally {
      undo()
    }
    await until('over when it is undone', isOk, 30_000)
  })
}

test('what does packets no harm is no alarm', async () => {
  const node = names(PREFIX).node(NODE)
  for (let i = 0; i < 10 && !isOk(await statusOf(NODE)); i++) await delay(500)
  const before = await statusOf(NODE)
  runInNode(node, HARMLESS.join('; '))
  try {
    await delay(3000)
    const { canary } = await statusOf(NODE)
    assert.deepEqual([canary.state, canary.lastFailure?.at], ['ok', before.canary.lastFailure?.at])
  } finally {
    runInNode(node, 'nft delete table inet foreign')
  }
})

test('gingham status shows a failure, what to try, and that it is over', async () => {
  const node = names(PREFIX).node(NODE)
  runInNode(node, 'sysctl -qw net.ipv4.ip_forward=0')
  try {
    await until('not ready after two rounds', status => !status.ready)
    const { stdout, code } = await gingham(RUN, 'status')
    assert.match(stdout, /canary: IPv4 allow: did not arrive.*fix: sysctl -w net\.ipv4\.ip_forward=1/)
    assert.match(stdout, /node-a +NOT READY/)
    assert.equal(code, 1)
    const yaml = await gingham(RUN, 'status', '-o', 'yaml')
    assert.match(yaml.stdout, /canary:\n +state: failed\n/)
  } finally {
    runInNode(node, 'sysctl -qw net.ipv4.ip_forward=1')
  }
  await until('ready', isOk)
  const { stdout } = await gingham(RUN, 'status')
  assert.match(stdout, /the canary failed \d+s ago: IPv4 allow: did not arrive; it is over/)
})

test('an agent that hangs sends nothing: gingham status says so, and the time of the last success stands', async () => {
  process.kill(lab.agentPid(NODE), 'SIGSTOP')
  try {
    const { stdout } = await gingham(RUN, 'status')
    assert.match(stdout, /node-a +no answer within 3 s|node-a +no answer: no answer within 3 s/)
  } finally {
    process.kill(lab.agentPid(NODE), 'SIGCONT')
  }
  await until('ok again', isOk)
})

test('its links go with an agent that is killed, and the next one makes them anew without a write to the table', async () => {
  const node = names(PREFIX).node(NODE)
  const links = (): string => runInNode(node, 'ip -br link')
  await lab.killAgent(NODE)
  for (let i = 0; i < 100 && /calicanary/.test(links()); i++) await delay(20)
  assert.doesNotMatch(links(), /calicanary/)
  await lab.startAgent(NODE)
  await until('ok again', isOk, 20_000)
  assert.match(await lab.metrics(NODE), /^felix_nft_calls 0$/m)
})
