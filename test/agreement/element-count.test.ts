// A pod that comes, goes or changes its labels costs the elements that it changes, whatever the number of policies.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Calculator } from '../../src/core/calc/calculator.ts'
import { Classifier } from '../../src/core/classify/classifier.ts'
import type { NftOp } from '../../src/core/nft/objects.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { TableRenderer } from '../../src/core/render/nft/renderer.ts'
import { TableTracker } from '../../src/core/render/nft/tracker.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { decodeResource, type Resource, snapshotOf } from '../../src/core/resources/resource.ts'

const make = (document: object): Resource => {
  const decoded = decodeResource(document)
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  return decoded.value
}
const V3 = 'projectcalico.org/v3'

const pod = (name: string, n: number, node: string, labels: Record<string, string>): Resource =>
  make({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { nodeName: node, serviceAccountName: 'default' },
    status: { podIPs: [{ ip: `10.1.0.${n}` }, { ip: `fd00::${n}` }], podIP: `10.1.0.${n}` },
  })

function world(policies: number): Resource[] {
  return [
    make({ apiVersion: V3, kind: 'Tier', metadata: { name: 'default' }, spec: { order: 1e6, defaultAction: 'Deny' } }),
    make({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } }),
    make({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'default' } }),
    pod('here', 1, 'node0', { role: 'server' }),
    pod('front', 2, 'node1', { role: 'client' }),
    pod('back', 3, 'node1', { role: 'worker' }),
    ...Array.from({ length: policies }, (_, i) =>
      make({
        apiVersion: V3,
        kind: 'NetworkPolicy',
        metadata: { name: `p${i}`, namespace: 'default' },
        spec: {
          selector: "role == 'server'",
          ingress: ['client', 'worker'].map(role => ({
            action: 'Allow',
            protocol: 'TCP',
            source: { selector: `role == '${role}'` },
            destination: { ports: [1000 + i] },
          })),
        },
      }),
    ),
  ]
}

/** A dataplane in memory: what is applied to it says which objects it would write to the kernel. */
function dataplane(): (next: readonly Resource[]) => NftOp[] {
  const calculator = new Calculator('node0')
  const classifier = new Classifier()
  const tracker = new TableTracker(tableState(undefined))
  const renderer = new TableRenderer(tracker, calculator, classifier)
  let now = snapshotOf([])
  return next => {
    const view = derived(snapshotOf(next))
    const changes = [...new Set([...now.keys(), ...view.keys()])].map(key => ({ key, value: view.get(key) }))
    const changed = changes.filter(({ key, value }) => JSON.stringify(now.get(key)) !== JSON.stringify(value))
    now = view
    const intent = calculator.apply(changed)
    renderer.apply(intent, classifier.apply(calculator, intent))
    const plan = tracker.plan()
    const batches = [...plan.create, ...plan.move]
    for (const batch of batches) tracker.wrote(batch)
    return batches.flat()
  }
}

const elementsOf = (ops: readonly NftOp[]): number =>
  ops.reduce((sum, op) => sum + ('elements' in op ? op.elements.length : 0), 0)

/** The elements that each change writes, after a world with so many policies stands. */
function cost(policies: number): number[] {
  const write = dataplane()
  const apply = (next: Resource[]): number => elementsOf(write(next))
  const base = world(policies)
  apply(base)
  const with4 = (labels: Record<string, string>, node = 'node1') => [...base, pod('new', 4, node, labels)]
  return [
    apply(with4({ role: 'client' })),
    apply(with4({ role: 'worker' })),
    apply(with4({ role: 'nothing' })),
    apply(with4({ role: 'client' })),
    apply(base),
    apply(with4({ role: 'client' }, 'node0')),
    apply(base),
  ]
}

test('elements written for a pod that comes, changes its labels and goes do not depend on the number of policies', () => {
  const counts = [1, 10, 100].map(cost)
  console.log(`# comes, relabelled twice, back, goes; comes and goes on this node: ${counts[0]!.join(', ')} elements`)
  assert.deepEqual(counts[1], counts[0])
  assert.deepEqual(counts[2], counts[0])
  // One address of each family: one element each; a change of an element is a deletion and an addition.
  assert.deepEqual(counts[0]!.slice(0, 5), [2, 4, 2, 2, 2])
})

test('endpoints of a service that come and go are elements, as long as the service keeps its ports', () => {
  const slice = (addresses: readonly string[], ports: readonly number[] = [8080]): Resource =>
    make({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      endpoints: addresses.map(a => ({ addresses: [a] })),
      ports: ports.map(port => ({ port })),
    })
  const services = { name: 'web' }
  const policy = make({
    apiVersion: V3,
    kind: 'NetworkPolicy',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      selector: "role == 'server'",
      ingress: [{ action: 'Allow', source: { services } }],
      egress: [{ action: 'Allow', destination: { services } }],
    },
  })
  const write = dataplane()
  const base = [...world(3), policy]
  const apply = (...parameters: Parameters<typeof slice>): NftOp[] => write([...base, slice(...parameters)])
  apply(['192.0.2.1'])
  const kinds = (ops: readonly NftOp[]): string[] => [
    ...new Set(ops.map(op => ('elements' in op ? 'elements' : 'other'))),
  ]
  const comes = apply(['192.0.2.1', '192.0.2.2'])
  const goes = apply(['192.0.2.2'])
  for (const ops of [comes, goes]) {
    assert.equal(elementsOf(ops), 1)
    assert.deepEqual(kinds(ops), ['elements'])
  }
  assert.deepEqual(apply(['192.0.2.2']), [], 'what says the same writes nothing')
  // Another port is another rule.
  assert.ok(kinds(apply(['192.0.2.2'], [8080, 9090])).includes('elements'))
})
