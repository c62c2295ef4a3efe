// A group past its budget: ten thousand rules about a port each for everybody, and as many about single peers. Their
// product, a hundred million elements, fits into no kernel; cut into parts it does, and decides as the oracle does.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { Calculator } from '../../src/core/calc/calculator.ts'
import { Classifier } from '../../src/core/classify/classifier.ts'
import { addr } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { decide } from '../../src/core/oracle/decide.ts'
import { TableRenderer } from '../../src/core/render/nft/renderer.ts'
import { TableTracker } from '../../src/core/render/nft/tracker.ts'
import { printCause } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { decodeResource, type Resource, snapshotOf } from '../../src/core/resources/resource.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { netnsOfFile } from './netns.ts'
import { trace, tracer } from './proof-trace.ts'

const NETNS = `gingham-budget-${process.pid}`
const COUNT = 10_000
const RULES_OF_A_POLICY = 1000
const V3 = 'projectcalico.org/v3'
let nft: NftConnection

const path = netnsOfFile(NETNS)
before(() => {
  nft = openNft(path)
})
after(() => nft?.close())

function make(document: object): Resource {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

const peer = (i: number): string => `10.${1 + (i >> 8)}.${i & 255}.1`
const everybody = (i: number) => ({ action: 'Allow', protocol: 'TCP', destination: { ports: [1 + i] } })
const onePeer = (i: number) => ({
  action: 'Allow',
  protocol: 'TCP',
  source: { selector: `n == 'v${i}'` },
  destination: { ports: [20_000 + i] },
})
/** Half of a policy is about everybody, half about single peers: only together are they a product. */
const rules = Array.from({ length: (2 * COUNT) / RULES_OF_A_POLICY }, (_, policy) => {
  const mine = Array.from({ length: RULES_OF_A_POLICY / 2 }, (_, i) => (policy * RULES_OF_A_POLICY) / 2 + i)
  return [...mine.map(everybody), ...mine.map(onePeer)]
}).flat()

const world = snapshotOf([
  make({ apiVersion: V3, kind: 'Tier', metadata: { name: 'default' }, spec: { order: 1e6 } }),
  make({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } }),
  make({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'here', namespace: 'default', labels: { app: 'here' } },
    spec: { nodeName: 'node0' },
    status: { podIPs: [{ ip: '10.0.0.1' }] },
  }),
  ...Array.from({ length: COUNT }, (_, i) =>
    make({
      apiVersion: V3,
      kind: 'GlobalNetworkSet',
      metadata: { name: `s${i}`, labels: { n: `v${i}` } },
      spec: { nets: [`${peer(i)}/32`] },
    }),
  ),
  ...Array.from({ length: rules.length / RULES_OF_A_POLICY }, (_, i) =>
    make({
      apiVersion: V3,
      kind: 'GlobalNetworkPolicy',
      metadata: { name: `p${String(i).padStart(3, '0')}` },
      spec: {
        selector: "app == 'here'",
        types: ['Ingress'],
        ingress: rules.slice(i * RULES_OF_A_POLICY, (i + 1) * RULES_OF_A_POLICY),
      },
    }),
  ),
])

test('ten thousand rules for everybody against ten thousand peers are cut into parts that decide as the oracle does', () => {
  const calculator = new Calculator('node0')
  const classifier = new Classifier()
  const tracker = new TableTracker(tableState(undefined))
  const renderer = new TableRenderer(tracker, calculator, classifier)
  const intent = calculator.apply([...derived(world)].map(([key, value]) => ({ key, value })))
  renderer.apply(intent, classifier.apply(calculator, intent))
  const { create, move } = tracker.plan()
  const sets = [...tracker.wanted.sets.values()].map(s => s.set)
  for (const batch of [...create, ...move]) {
    nft.writeBatch(batch, { name: 'gingham', sets })
    tracker.wrote(batch)
  }
  const said = classifier.cut()
  assert.equal(said.length, 2, 'one table for each family')
  assert.match(
    said[0]!,
    /^ingress IPv4 of 1 endpoints \(.*\): 100030001 elements predicted, past the budget of 250000: cut into \d+ parts$/,
  )
  const elements = [...tracker.wanted.sets.values()].reduce((sum, s) => sum + s.elements.size, 0)
  console.log(`# ${elements} elements; ${said[0]!.replace(/.*: cut/, 'cut')}`)
  assert.ok(elements < 500_000)

  const listing = spawnSync('ip', ['netns', 'exec', NETNS, 'nft', '-j', '-n', 'list', 'ruleset'], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  })
  const kernel = tracer(listing.stdout)
  const iface = [...calculator.endpoints.values()][0]!.interfaceName
  const flows = [0, 1, 4999, 5000, 9998, 9999].flatMap(i =>
    [1 + i, 20_000 + i, 20_000 + ((i + 1) % COUNT), 19_000, 65_000].map(dport => [peer(i), dport] as const),
  )
  for (const [src, dport] of [...flows, ['192.0.2.1', 1], ['192.0.2.1', 20_000]] as const) {
    const packet: Packet = {
      family: 4,
      protocol: 6,
      src: addr(src),
      dst: addr('10.0.0.1'),
      sport: 40_000,
      dport,
    }
    const { verdict, ingress } = decide(world, packet)
    const traced = trace(kernel, { ...packet, iif: 'eth0', oif: iface, connection: 'new' })
    assert.deepEqual(
      [traced.verdict, traced.causes],
      [verdict === 'allow' ? 'accept' : 'drop', [printCause(ingress!.cause)]],
      JSON.stringify(packet),
    )
  }
})
