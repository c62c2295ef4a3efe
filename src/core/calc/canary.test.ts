// What the canary adds to a node's intent, and what it leaves alone: policies for everybody, and sets of everybody.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FAMILIES } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import { derived } from '../resources/derive.ts'
import { decodeResource, keyOf, type Resource } from '../resources/resource.ts'
import { CANARIES, CANARY, canaryAddress, poolOfCanary } from './canary.ts'
import { computeIntent } from './compute.ts'

const resource = (document: unknown): Resource => {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const everybody = { selector: 'all()' }
const RESOURCES = [
  resource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'GlobalNetworkPolicy',
    metadata: { name: 'everybody' },
    spec: {
      ...everybody,
      types: ['Ingress', 'Egress'],
      ingress: [{ action: 'Allow', source: everybody }],
      egress: [{ action: 'Deny', destination: everybody }],
    },
  }),
  resource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'WorkloadEndpoint',
    metadata: { name: 'node0-k8s-web-eth0', namespace: 'default' },
    spec: {
      ...{ orchestrator: 'k8s', node: 'node0', pod: 'web', workload: 'default.web', endpoint: 'eth0' },
      interfaceName: 'cali0123456789a',
      ipNetworks: ['10.1.0.5/32'],
      profiles: [],
    },
  }),
]
const snapshot = derived(new Map(RESOURCES.map(r => [keyOf(r), r])))

test('a node without a canary has none', () => {
  assert.equal(computeIntent(snapshot, 'node0').endpoints.length, 1)
})

test('it is governed by its own profile alone, and is in nobody’s sets', () => {
  const [without, intent] = [false, true].map(canary => computeIntent(snapshot, 'node0', undefined, { canary }))
  const { endpoints, ...rest } = intent!
  assert.equal(endpoints.length, 1 + CANARIES.length)
  const { endpoints: _, ...same } = without!
  assert.deepEqual(rest, same)
  for (const { key } of CANARIES) {
    const { guards } = endpoints.find(e => e.key === key)!
    assert.equal(guards.egress.identity, 'profile Canary: Canary')
    for (const family of FAMILIES) assert.equal(guards.ingress.programs[family].stages.length, 1)
  }
})

test('a pool that holds one of its addresses is named', () => {
  const of = (...pools: string[]) => poolOfCanary({ allPools: pools.map(prefix) })
  assert.equal(of('10.0.0.0/8', 'fd00::/8'), undefined)
  assert.equal(of('10.0.0.0/8', '198.18.0.0/15'), '198.18.0.0/15')
  assert.equal(of(`${canaryAddress('sender', 6)}/128`), `${CANARY.sender.addresses[1]}/128`)
})
