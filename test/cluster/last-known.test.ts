// A node that starts while the datastore is away: it enforces what it knew last and says how old that is, also where its
// kernel knows nothing any more; it refuses a damaged file and stays closed; and when the datastore returns with another
// policy, it goes over to that.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type AgentStatus, readStatus } from '../../src/apps/lab/cluster.ts'
import { example } from '../../src/apps/lab/commands.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { difference, type Probe, summarise } from '../../src/apps/lab/matrix.ts'
import { NODES, names } from '../../src/apps/lab/plan.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { decodeState } from '../../src/io/state/state-file.ts'

const PREFIX = `gk${process.pid}`
const RUN = `/run/gingham-known-${process.pid}`
const POLICY = example('allow-backend-to-frontend.yaml')
const OTHER = example('isolate-namespace.yaml')
let lab: Lab

before(async () => {
  lab = new Lab(await RunFolder.claim(RUN, PREFIX), PREFIX, new Steps(text => process.stdout.write(`# ${text}`), plain))
  await lab.build()
})

after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
})

const stateFile = (node: string): string => path.join(RUN, 'state', `${node}.json`)
const deleteTable = (node: string): void =>
  void execFileSync('ip', ['netns', 'exec', names(PREFIX).node(node), 'nft', 'delete', 'table', 'inet', 'gingham'])
const wrong = (probes: readonly Probe[]): readonly Probe[] => probes.filter(p => difference(p) !== undefined)
const verdicts = (probes: readonly { observed: string }[]): string[] => probes.map(p => p.observed)

/** The status, once it says what is waited for. */
async function until(node: string, what: string, holds: (status: AgentStatus) => boolean): Promise<AgentStatus> {
  for (let tries = 0; tries < 600; tries++) {
    const status = await readStatus(RUN, node)
    if (status !== undefined && holds(status)) return status
    await delay(100)
  }
  throw new Error(`${node}: ${what}: ${JSON.stringify(await readStatus(RUN, node))}`)
}
const says = (status: AgentStatus, words: RegExp): boolean => status.dataplane.problems.some(p => words.test(p))

/** Everything that runs is killed; what the kernels hold stays. */
async function killAll(): Promise<void> {
  await Promise.all(NODES.map(({ name }) => lab.killAgent(name)))
  await lab.killDatastore()
}

const ENFORCING =
  /^enforcing the state of \d{4}-\d\d-\d\dT[\d:.]+Z \(\d+ (second|minute)s? old\) at revision \d+: the datastore cannot be reached$/

test('agents that start without the datastore enforce the last known state, and go over to the live one', async () => {
  await lab.use('create', POLICY)
  const before = await lab.probe()
  assert.deepEqual(wrong(before), [])
  // The file follows a change within a second or so.
  const { revision } = await lab.store.list('/')
  for (const { name } of NODES) {
    for (let tries = 0; ; tries++) {
      const state = existsSync(stateFile(name)) ? decodeState(readFileSync(stateFile(name))) : undefined
      if (state?.ok && state.value.revision >= revision) break
      assert.ok(tries < 300, `${name}: ${JSON.stringify(state)?.slice(0, 200)}`)
      await delay(100)
    }
  }
  await killAll()
  deleteTable('node-a')
  for (const { name } of NODES) lab.launchAgent(name)
  for (const { name } of NODES) {
    const { ready } = await until(name, 'it enforces the last known state', status => says(status, ENFORCING))
    assert.equal(ready, false, 'a node without its datastore is not ready')
  }
  assert.deepEqual(verdicts(await lab.observe()), verdicts(before), 'the same verdicts as before the crash')
  assert.match(readFileSync(path.join(RUN, 'log/agent-node-a.json'), 'utf8'), /enforcing the state of/)

  // The datastore returns, and somebody changes the policy before any node has seen it.
  lab.startDatastore()
  await lab.use('create', OTHER)
  const live = await lab.probe()
  assert.deepEqual(wrong(live), [])
  assert.notDeepEqual(verdicts(live), verdicts(before))
  for (const { name } of NODES) await until(name, 'it is ready', status => status.ready && !says(status, /enforcing/))
})

test('a damaged state is refused in words, and the node stays closed until the datastore is back', async () => {
  await killAll()
  const bytes = readFileSync(stateFile('node-a'))
  bytes[bytes.length >> 1]! ^= 4
  writeFileSync(stateFile('node-a'), bytes)
  rmSync(stateFile('node-b'))
  for (const node of ['node-a', 'node-b']) deleteTable(node)
  for (const { name } of NODES) lab.launchAgent(name)
  const refused = /there is no last known state to enforce: \S+node-a\.json is damaged: its checksum .* pods stay/
  await until('node-a', 'it refuses the file', status => says(status, refused))
  await until('node-b', 'it has no file', status => says(status, /node-b\.json does not exist/))
  await until('node-c', 'it enforces its own', status => says(status, ENFORCING))
  for (const { from, to, observed, packet } of await lab.observe())
    if (from.node !== 'node-c' || to.node !== 'node-c')
      assert.equal(observed, 'deny', `${from.name} (${from.node}) to ${to.name} (${to.node}) ${JSON.stringify(packet)}`)
  lab.startDatastore()
  await lab.settled()
  for (const { name } of NODES) await until(name, 'it is ready', status => status.ready)
  const probes = await lab.probe()
  assert.deepEqual(wrong(probes), [])
  assert.ok(summarise(probes).allowed > 0)
})
