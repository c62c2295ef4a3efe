// Agent, BIRD and datastore killed with -9 under thousands of new flows a second, most times while a policy is being
// written: no verdict is ever wrong, established connections go on, routes stay or come back. And the prober itself is
// put to the test by rules that are wrong on purpose. GINGHAM_SOAK_MINUTES set: a hundred rounds instead of a few.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { agentSockets, readStatus, waitForAgents } from '../../src/apps/lab/cluster.ts'
import { example } from '../../src/apps/lab/commands.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { NODES, names } from '../../src/apps/lab/plan.ts'
import type { WiredPod } from '../../src/apps/lab/pods.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { FAMILIES } from '../../src/core/net/addr.ts'
import { decide } from '../../src/core/oracle/decide.ts'
import { interfaceName } from '../../src/core/resources/derive.ts'
import { keyOf, type NetworkPolicy } from '../../src/core/resources/resource.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import { TCP, UDP } from '../support/frames.ts'
import { resource } from '../support/resources.ts'
import { Connections } from './hitless-connections.ts'
import { addressOf, type Flow, HitlessTraffic, podName, type TrafficReport } from './hitless-traffic.ts'

const PREFIX = `gh${process.pid}`
const RUN = `/run/gingham-hitless-${process.pid}`
const LONG = process.env.GINGHAM_SOAK_MINUTES !== undefined
const ROUNDS = LONG ? 100 : 6
const LIMIT = { timeout: LONG ? 3_600_000 : 600_000 } as const

/** On every node at least one; those of `prod` are in reach of no policy. */
const PODS = ['default/client', 'default/frontend', 'default/backend', 'default/db', 'prod/client']

/** One policy that decides what comes in: one direction, so that every mix of old and new is old or new for each flow. */
const toggle = (selector: string, ingress: readonly object[]): NetworkPolicy =>
  resource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: 'toggle', namespace: 'default' },
    spec: { order: 50, selector, types: ['Ingress'], ingress },
  })
const BOTH = "role in {'db', 'backend'}"
const STATES: readonly NetworkPolicy[] = [
  toggle(BOTH, [{ action: 'Allow' }]),
  toggle(BOTH, [{ action: 'Allow', source: { selector: "role == 'client'" } }]),
  toggle(BOTH, [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80] } }]),
  toggle(BOTH, [{ action: 'Deny', source: { selector: "role == 'client'" } }, { action: 'Allow' }]),
  toggle("role == 'db'", []),
]

let lab: Lab
let client: ResourceClient
const pod = (name: string): WiredPod => lab.wired.find(p => podName(p) === name)!

before(async () => {
  lab = new Lab(await RunFolder.claim(RUN, PREFIX), PREFIX, new Steps(text => process.stdout.write(`# ${text}`), plain))
  await lab.build()
  client = new ResourceClient(lab.store)
  await lab.use('create', example('allow-backend-to-frontend.yaml'))
  await client.apply(STATES[0]!)
  await lab.settled()
  for (const { name } of NODES) {
    const netns = namedNetns(names(PREFIX).node(name))
    // The generator's packets carry no checksum, and its connections are to be forgotten before their ports come again.
    for (const [setting, value] of Object.entries({ checksum: 0, udp_timeout: 5, tcp_timeout_syn_sent: 5 }))
      writeSysctl(`net/netfilter/nf_conntrack_${setting}`, value, netns)
  }
})

after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
})

const flow = (from: WiredPod, to: WiredPod, about: { family: 4 | 6; protocol: number; dport: number }): Flow => {
  const [src, dst] = [addressOf(from, about.family), addressOf(to, about.family)]
  return { from: podName(from), to: podName(to), packet: { ...about, src, dst, sport: 1 } }
}

/** Everything between the pods, judged by the oracle in every state; and the traffic of it. */
async function startTraffic(): Promise<{ traffic: HitlessTraffic; flows: readonly Flow[] }> {
  const pods = PODS.map(pod)
  const flows = pods.flatMap(from =>
    pods
      .filter(to => to !== from)
      .flatMap(to =>
        FAMILIES.flatMap(family => [
          flow(from, to, { family, protocol: TCP, dport: 80 }),
          flow(from, to, { family, protocol: UDP, dport: 53 }),
        ]),
      ),
  )
  const snapshot = await lab.snapshot()
  const allowed = STATES.map(policy => {
    const state = new Map(snapshot).set(keyOf(policy), policy)
    return flows.map(({ packet }) => decide(state, packet).verdict === 'allow')
  })
  for (const [state, verdicts] of allowed.entries())
    assert.ok(verdicts.includes(true) && verdicts.includes(false), `state ${state} allows some and denies some`)
  // From one rack to the other: no way is longer.
  const marker = flow(pod('default/client'), pod('prod/client'), { family: 4, protocol: UDP, dport: 9 })
  return { traffic: new HitlessTraffic(pods, { flows, marker, allowed, initial: 0 }), flows }
}

/** What is killed, and started again if nobody else does it. Nothing but a client waits for the datastore. */
const VICTIMS: readonly { readonly name: string; readonly strike: () => Promise<void> }[] = [
  { name: 'the agent of node-c', strike: () => restartAgent('node-c') },
  { name: 'the datastore', strike: () => restartDatastore(0) },
  { name: 'BIRD of node-a', strike: () => killBird('node-a') },
  {
    name: 'the datastore and the agent of node-b',
    strike: () => Promise.all([restartDatastore(3000), restartAgent('node-b')]).then(() => {}),
  },
  {
    name: 'the agent and BIRD of node-a',
    strike: () => Promise.all([killBird('node-a'), restartAgent('node-a')]).then(() => {}),
  },
  { name: 'BIRD of node-c', strike: () => killBird('node-c') },
]

async function restartAgent(node: string): Promise<void> {
  await lab.killAgent(node)
  await delay(200)
  lab.launchAgent(node)
}

async function restartDatastore(awayMs: number): Promise<void> {
  await lab.killDatastore()
  await delay(200 + awayMs)
  lab.startDatastore()
}

/** One that is dying, or just starting, has no file or an old number. */
async function killBird(node: string): Promise<void> {
  for (;;) {
    try {
      lab.killBird(node)
      return
    } catch (error) {
      if (!['ESRCH', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      await delay(100)
    }
  }
}

/** Until it is written, however often the datastore dies at it. */
async function write(policy: NetworkPolicy): Promise<void> {
  for (;;) {
    try {
      await client.apply(policy)
      return
    } catch {
      await delay(100)
    }
  }
}

const routesBack = (): Promise<void> =>
  waitForAgents(agentSockets(RUN), 'BGP is established and the routes are back', ({ bgp }) => {
    const peers = bgp?.peers ?? []
    return bgp?.established === peers.length && peers.length > 0 && peers.every(p => p.routes >= NODES.length - 1)
  })

/** The pods' routes of a node's kernel, in both families. */
const routesOf = (node: string): string[] =>
  ['-4', '-6'].flatMap(family =>
    execFileSync('ip', ['-n', names(PREFIX).node(node), family, 'route', 'show', 'proto', 'bird'], { encoding: 'utf8' })
      .split('\n')
      .map(line => line.replace(/ (expires|pref|metric).*/, '').trim())
      .filter(line => line !== ''),
  )
const allRoutes = (): string[] => NODES.flatMap(({ name }) => routesOf(name).map(route => `${name}: ${route}`)).sort()

const brief = ({ misjudged, misjudgedFlows }: TrafficReport): string =>
  `${misjudgedFlows} flows were misjudged, first ${JSON.stringify(misjudged.slice(0, 5), undefined, 1)}`

test(`${ROUNDS} kills under traffic: no verdict is wrong, connections go on, routes come back`, LIMIT, async () => {
  const routes = allRoutes()
  assert.ok(routes.length >= 12, routes.join('\n'))
  const pairs = [
    ['default/client', 'prod/client'],
    ['prod/client', 'default/client'],
    ['default/backend', 'default/frontend'],
    ['default/db', 'default/client'],
  ].map(([from, to]) => [pod(from!), pod(to!)] as const)
  const connections = await Connections.open(pairs, 7777)
  const { traffic, flows } = await startTraffic()
  try {
    await traffic.batches(60)
    let state = 0
    let whileWriting = 0
    for (let round = 0; round < ROUNDS; round++) {
      const { name, strike } = VICTIMS[round % VICTIMS.length]!
      // The last of the six finds nobody writing, so that a plain kill is among them too.
      const writes = round % VICTIMS.length !== VICTIMS.length - 1
      let written: Promise<void> | undefined
      if (writes) {
        state = (state + 1 + (round % (STATES.length - 1))) % STATES.length
        traffic.begin(state)
        written = write(STATES[state]!)
        whileWriting++
        await delay(Math.random() * 20)
      }
      await strike()
      await written
      await lab.settled()
      if (writes) traffic.done()
      await routesBack()
      await traffic.batches(20)
      assert.equal(
        traffic.misjudged,
        0,
        `after round ${round}, ${name}: ${traffic.misjudged > 0 ? brief(await traffic.stop()) : ''}`,
      )
      assert.deepEqual(await connections.lost(), [], `after ${name}`)
      assert.deepEqual(allRoutes(), routes, `after ${name}`)
    }
    const report = await traffic.stop()
    assert.equal(report.misjudgedFlows, 0, brief(report))
    assert.ok(whileWriting * 2 >= ROUNDS)
    assert.ok(report.straddling > 0, 'no batch met a change')
    const rate = report.flows / report.seconds
    console.log(
      `# ${ROUNDS} kills, ${whileWriting} while writing; ${report.flows} flows in ${report.seconds.toFixed(1)} s (${rate.toFixed(0)} a second), ` +
        `${report.arrived} arrived, ${report.straddling} of ${report.batches} batches met a change; ` +
        `${connections.count} connections, ${connections.received} bytes back`,
    )
    const nodeOf = (name: string): string => pod(name).node
    for (const { name } of NODES) {
      const out = flows.filter(f => nodeOf(f.from) === name && nodeOf(f.to) !== name).length
      const into = flows.filter(f => nodeOf(f.to) === name && nodeOf(f.from) !== name).length
      console.log(
        `# ${name}: ${((rate * out) / flows.length).toFixed(0)} new flows a second out, ${((rate * into) / flows.length).toFixed(0)} in`,
      )
    }
  } finally {
    connections.close()
    await traffic.stop()
  }
})

test('the prober reports a rule that is wrong on purpose, in either direction', LIMIT, async () => {
  await write(STATES[0]!)
  await lab.settled()
  const nft = (...words: string[]): string =>
    execFileSync('ip', ['netns', 'exec', names(PREFIX).node('node-a'), 'nft', ...words], { encoding: 'utf8' })
  /** What the prober says while node-a's table is edited, with no agent there to repair it. */
  const reported = async (edit: () => void): Promise<TrafficReport> => {
    await lab.killAgent('node-a')
    const { traffic } = await startTraffic()
    try {
      await traffic.batches(100)
      assert.equal(traffic.misjudged, 0, 'before the edit')
      edit()
      await traffic.batches(20)
    } finally {
      await lab.startAgent('node-a')
    }
    return traffic.stop()
  }
  const interfaceOfClient = interfaceName('default', 'client')
  const dropped = await reported(() => nft(`delete element inet gingham to_workload { "${interfaceOfClient}" }`))
  assert.ok(dropped.misjudgedFlows > 0)
  for (const { kind, flow: what } of dropped.misjudged) {
    assert.equal(kind, 'dropped')
    assert.match(what, / to default\/client /)
  }
  const passed = await reported(() => nft('insert rule inet gingham forward accept'))
  assert.ok(passed.misjudgedFlows > 0)
  for (const { kind, flow: what } of passed.misjudged) {
    assert.equal(kind, 'passed')
    assert.match(what, /default\/frontend/)
  }
  // The agent that came back has put both right.
  const { traffic } = await startTraffic()
  await traffic.batches(150)
  assert.equal((await traffic.stop()).misjudgedFlows, 0)
  const status = await readStatus(RUN, 'node-a')
  assert.equal(status?.ready, true)
})
