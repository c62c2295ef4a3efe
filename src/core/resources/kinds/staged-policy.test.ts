// What a staged policy may say, and how it is stored.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeResource, keyOf, type Resource } from '../resource.ts'
import { decodeStored, encodeResource, storeKey } from '../store-key.ts'

const decode = (spec: object, kind = 'StagedNetworkPolicy') =>
  decodeResource({
    apiVersion: 'projectcalico.org/v3',
    kind,
    metadata: { name: 'a', ...(kind === 'StagedNetworkPolicy' && { namespace: 'default' }) },
    spec,
  })
const valid = (spec: object, kind?: string): Resource => {
  const decoded = decode(spec, kind)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const problems = (spec: object, kind?: string): string[] => {
  const decoded = decode(spec, kind)
  return decoded.ok ? [] : decoded.problems.map(({ path, message }) => `${path}: ${message}`)
}

test('an action is Set unless it says otherwise, and the rest is as in the enforced kind', () => {
  assert.deepEqual(valid({ egress: [{ action: 'Allow' }] }).spec, {
    stagedAction: 'Set',
    tier: 'default',
    egress: [{ action: 'Allow' }],
    types: ['Egress'],
  })
  assert.deepEqual(problems({ stagedAction: 'Remove' }).length, 1)
  assert.deepEqual(problems({ types: ['Ingress', 'Ingress'] }), [
    "spec.types[1]: 'Ingress' type specified more than once",
  ])
  assert.match(problems({ preDNAT: true }, 'StagedGlobalNetworkPolicy')[0]!, /^spec.preDNAT: needs applyOnForward/)
})

test('beside Delete there is the tier and nothing else', () => {
  assert.deepEqual(problems({ stagedAction: 'Delete', tier: 'default' }), [])
  assert.deepEqual(problems({ stagedAction: 'Delete', order: 5, selector: 'all()' }), [
    'spec.order: Spec fields, except Tier, should all be zero-value if stagedAction is Delete',
    'spec.selector: Spec fields, except Tier, should all be zero-value if stagedAction is Delete',
  ])
})

test('both actions come back from the datastore as they went in, under Calico’s keys', () => {
  for (const spec of [{ stagedAction: 'Delete' }, { selector: 'all()', ingress: [{ action: 'Pass' }] }]) {
    const resource = valid(spec)
    const key = storeKey(keyOf(resource))
    assert.equal(key, '/calico/resources/v3/projectcalico.org/stagednetworkpolicies/default/a')
    const stored = decodeStored(key, encodeResource(resource), 7)
    assert.ok(stored.ok, JSON.stringify(stored))
    assert.deepEqual(stored.value.resource.spec, resource.spec)
  }
})

test('Kubernetes’ policies are staged too, judged as Kubernetes judges them', () => {
  const staged = (spec: object) =>
    decodeResource({
      apiVersion: 'projectcalico.org/v3',
      kind: 'StagedKubernetesNetworkPolicy',
      metadata: { name: 'a', namespace: 'default' },
      spec,
    })
  const made = staged({ podSelector: { matchLabels: { a: 'b' } }, egress: [{}] })
  assert.ok(made.ok, JSON.stringify(made))
  assert.deepEqual(made.value.spec, {
    stagedAction: 'Set',
    podSelector: { matchLabels: { a: 'b' } },
    egress: [{}],
    policyTypes: ['Ingress', 'Egress'],
  })
  assert.equal(staged({ stagedAction: 'Delete' }).ok, true)
  const mixed = staged({ stagedAction: 'Delete', ingress: [{}] })
  assert.equal(mixed.ok, false)
  assert.equal(staged({ ingress: [{ ports: [{ port: 0 }] }] }).ok, false)
  const key = storeKey(keyOf(made.value))
  assert.equal(key, '/calico/resources/v3/projectcalico.org/stagedkubernetesnetworkpolicies/default/a')
  const stored = decodeStored(key, encodeResource(made.value), 7)
  assert.ok(stored.ok, JSON.stringify(stored))
  assert.deepEqual(stored.value.resource.spec, made.value.spec)
})
