// The calculation and classification at the size of a very large cluster: time from the first resource to a wanted table,
// and the heap that stays.
//
//   node_modules/.bin/node --expose-gc bench/calculation.ts [--write] [--endpoints N] [--policies N] [--runs N]

import { parseArgs } from 'node:util'
import type { Change } from '../src/core/base/change.ts'
import { Calculator } from '../src/core/calc/calculator.ts'
import { Classifier } from '../src/core/classify/classifier.ts'
import { tableState } from '../src/core/nft/table-state.ts'
import { TableRenderer } from '../src/core/render/nft/renderer.ts'
import { TableTracker } from '../src/core/render/nft/tracker.ts'
import type { ResourceKey } from '../src/core/resources/cause.ts'
import { decodeResource, keyOf, type Resource } from '../src/core/resources/resource.ts'
import { decimals, markdown, median, report, whole } from './report.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    endpoints: { type: 'string', default: '250000' },
    policies: { type: 'string', default: '10000' },
    runs: { type: 'string', default: '9' },
  },
})
const [ENDPOINTS, POLICIES, RUNS] = [Number(values.endpoints), Number(values.policies), Number(values.runs)]
const s2 = decimals(2)
const LOCAL = 110
const PER_APP = Math.max(1, Math.round(ENDPOINTS / POLICIES))

function decoded(document: object): Resource {
  const result = decodeResource(document)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.value
}

const V3 = 'projectcalico.org/v3'
const change = (value: Resource): Change<ResourceKey, Resource> => ({ key: keyOf(value), value })

/** An endpoint as the datastore would give it, made without the schema: decoding is not what is measured. */
function endpoint(i: number): Resource {
  const name = `pod-${i}`
  // Spread so that the local ones are of many apps.
  const node = i % Math.ceil(ENDPOINTS / LOCAL) === 0 ? 'node-0' : `node-${1 + (i % 2500)}`
  return {
    kind: 'WorkloadEndpoint',
    apiVersion: V3,
    metadata: {
      name: `${node.replaceAll('-', '--')}-k8s-pod--${i}-eth0`,
      namespace: 'default',
      labels: {
        app: `app-${Math.floor(i / PER_APP)}`,
        tier: i % 3 === 0 ? 'front' : 'back',
        'pod-template-hash': `h${i % 977}`,
        'projectcalico.org/namespace': 'default',
        'projectcalico.org/orchestrator': 'k8s',
        'projectcalico.org/serviceaccount': 'default',
      },
    },
    spec: {
      node,
      orchestrator: 'k8s',
      pod: name,
      endpoint: 'eth0',
      interfaceName: `cali${i.toString(16).padStart(11, '0')}`,
      ipNetworks: [`10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}/32`],
      profiles: ['kns.default', 'ksa.default.default'],
    },
  } as unknown as Resource
}

const policy = (i: number): Resource =>
  decoded({
    apiVersion: V3,
    kind: 'NetworkPolicy',
    metadata: { name: `policy-${i}`, namespace: 'default' },
    spec: {
      selector: `app == 'app-${i}'`,
      ingress: [
        {
          action: 'Allow',
          protocol: 'TCP',
          source: { selector: `app == 'app-${(i + 1) % POLICIES}'` },
          destination: { ports: [80] },
        },
        {
          action: 'Allow',
          protocol: 'TCP',
          source: { selector: `app == 'app-${(i + 7) % POLICIES}' && tier == 'front'` },
        },
      ],
      egress: [{ action: 'Allow', destination: { selector: `app == 'app-${(i + 3) % POLICIES}'` } }],
    },
  })

function* resources(policies: readonly Resource[]): Iterable<Change<ResourceKey, Resource>> {
  const tier = {
    apiVersion: V3,
    kind: 'Tier',
    metadata: { name: 'default' },
    spec: { order: 1e6, defaultAction: 'Deny' },
  }
  yield change(decoded(tier))
  for (const name of ['kns.default', 'ksa.default.default']) {
    yield change(
      decoded({ apiVersion: V3, kind: 'Profile', metadata: { name }, spec: { egress: [{ action: 'Allow' }] } }),
    )
  }
  for (const p of policies) yield change(p)
  for (let i = 0; i < ENDPOINTS; i++) yield change(endpoint(i))
}

const heap = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}

const times: number[] = []
const heaps: number[] = []
let sizes: string[] = []
const policies = Array.from({ length: POLICIES }, (_, i) => policy(i))
for (let run = 0; run < RUNS; run++) {
  const before = heap()
  const calculator = new Calculator('node-0')
  const classifier = new Classifier()
  const tracker = new TableTracker(tableState(undefined))
  const renderer = new TableRenderer(tracker, calculator, classifier)
  const began = performance.now()
  const intent = calculator.apply(resources(policies))
  renderer.apply(intent, classifier.apply(calculator, intent))
  const seconds = (performance.now() - began) / 1000
  const used = heap() - before
  const elements = [...tracker.wanted.sets.values()].reduce((sum, s) => sum + s.elements.size, 0)
  times.push(seconds)
  heaps.push(used)
  sizes = [calculator.endpoints.size, elements, tracker.wanted.chains.size].map(whole)
}
const range = `${s2(median(times))} (${s2(Math.min(...times))}-${s2(Math.max(...times))})`
report(
  'calculation',
  `## Calculation\n\nResources in memory, one node; from the first resource to a wanted table (calculation, classification, rendering), medians of ${RUNS} runs, in brackets the range. Heap that stays after the first run, without the resources themselves.\n\n${markdown(
    ['endpoints', 'policies', 'endpoints here', 'elements', 'chains', 's', 'heap, MB'],
    [[whole(ENDPOINTS), whole(POLICIES), ...sizes, range, whole(heaps[0]!)]],
  )}`,
)
