// Keys and values as Calico has them: what a real calicoctl stored is what we store, and is read back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { resourceKey } from './cause.ts'
import { OBSERVED } from './observed.fixture.ts'
import { decodeResource, KINDS, keyOf } from './resource.ts'
import { decodeStored, encodeResource, isAtItsKey, parseStoreKey, storeKey, storePrefix } from './store-key.ts'

/** calicoctl stores `false` here for a field left out, although its documented default is `true`; we do not copy that. */
const OUR_OWN: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  '/calico/resources/v3/projectcalico.org/ipamconfigurations/default': [
    '"autoAllocateBlocks":false',
    '"autoAllocateBlocks":true',
  ],
}

test('documents are stored as calicoctl stored them', () => {
  assert.ok(OBSERVED.length > 15)
  for (const { document, key, value } of OBSERVED) {
    const decoded = decodeResource(document)
    assert.ok(decoded.ok, JSON.stringify(decoded))
    const { uid, creationTimestamp } = JSON.parse(value).metadata
    const stamped = {
      ...decoded.value,
      metadata: { ...decoded.value.metadata, uid, creationTimestamp, resourceVersion: '7' },
    }
    assert.equal(storeKey(keyOf(decoded.value)), key)
    const [theirs, ours] = OUR_OWN[key] ?? ['', '']
    assert.equal(encodeResource(stamped as typeof decoded.value), value.replace(theirs, ours), key)
  }
})

test('what calicoctl stored is read and written back unchanged', () => {
  for (const { key, value } of OBSERVED) {
    const stored = decodeStored(key, value, 42)
    assert.ok(stored.ok, JSON.stringify(stored))
    assert.deepEqual(stored.value.unknown, [])
    assert.equal(stored.value.resource.metadata.resourceVersion, '42')
    assert.equal(stored.value.resource.metadata.annotations, undefined)
    assert.equal(encodeResource(stored.value.resource), value, key)
    assert.equal(isAtItsKey(key, stored.value.resource), true)
  }
})

test('keys', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['Tier//default', '/calico/resources/v3/projectcalico.org/tiers/default'],
    ['NetworkPolicy/prod/np', '/calico/resources/v3/projectcalico.org/networkpolicies/prod/np'],
    ['Namespace//prod', '/registry/namespaces/prod'],
    ['Pod/prod/web-0', '/registry/pods/prod/web-0'],
    // As in Kubernetes' own etcd.
    ['Service/prod/web', '/registry/services/specs/prod/web'],
    ['EndpointSlice/prod/web-1', '/registry/endpointslices/prod/web-1'],
    ['KubernetesNetworkPolicy/prod/np', '/registry/networkpolicies/prod/np'],
    ['KubernetesClusterNetworkPolicy//c', '/registry/policy.networking.k8s.io/clusternetworkpolicies/c'],
  ]
  for (const [key, stored] of rows) {
    const [kind = '', namespace, name = ''] = key.split('/')
    assert.equal(storeKey(resourceKey(kind, namespace, name)), stored)
    assert.equal(parseStoreKey(stored), key)
  }
  for (const other of [
    '/calico/ipam/v2/config',
    '/calico/resources/v3/projectcalico.org/tiers/',
    '/registry/pods/web-0',
    '/registry/pods/a/b/c',
  ]) {
    assert.equal(parseStoreKey(other), undefined, other)
  }
  assert.equal(storePrefix('NetworkPolicy', 'prod'), '/calico/resources/v3/projectcalico.org/networkpolicies/prod/')
  assert.equal(new Set(Object.values(KINDS).map(info => info.storePrefix)).size, Object.keys(KINDS).length)
})

const GNP = '/calico/resources/v3/projectcalico.org/globalnetworkpolicies/'
const policy = (spec: object, metadata: object = {}): string =>
  JSON.stringify({
    kind: 'GlobalNetworkPolicy',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name: 'x', ...metadata },
    spec,
  })

test('fields of a newer version are passed over and named', () => {
  const text = policy({ selector: 'all()', shiny: { a: 1 } }, { sparkle: 1 })
  const stored = decodeStored(`${GNP}x`, text, 1)
  assert.ok(stored.ok)
  assert.deepEqual(stored.value.unknown.map(({ path }) => path).sort(), ['metadata.sparkle', 'spec.shiny'])
  assert.equal(Object.hasOwn(stored.value.resource.spec!, 'shiny'), false)
})

test('but a rule with a criterion that is not understood is refused, for without it the rule would match more', () => {
  const stored = decodeStored(`${GNP}x`, policy({ ingress: [{ action: 'Allow', onlyOnSundays: true }] }), 1)
  assert.equal(stored.ok, false)
  if (!stored.ok) assert.equal(stored.problems[0]?.path, 'spec.ingress[0].onlyOnSundays')
})

test('a stored policy without types governs both directions', () => {
  const stored = decodeStored(`${GNP}x`, policy({ ingress: [{ action: 'Allow' }] }), 1)
  assert.ok(stored.ok && stored.value.resource.kind === 'GlobalNetworkPolicy')
  assert.deepEqual(stored.value.resource.spec.types, ['Ingress', 'Egress'])
})

test('names of policies that older versions stored', () => {
  const name = (stored: string, text: string): unknown => {
    const decoded = decodeStored(GNP + stored, text, 1)
    return decoded.ok && decoded.value.resource.metadata.name
  }
  assert.equal(name('default.web', policy({})), 'web')
  assert.equal(
    name('default.web', policy({}, { annotations: { 'projectcalico.org/metadata': '{"name":"default.web"}' } })),
    'default.web',
  )
  assert.equal(name('security.web', policy({ tier: 'security' })), 'security.web')
  assert.equal(name('web', policy({}, { annotations: { 'projectcalico.org/metadata': 'junk' } })), 'web')
})

test('characters that Go escapes are escaped', () => {
  const decoded = decodeResource({
    kind: 'GlobalNetworkSet',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name: 'a', annotations: { note: '<a> & b\u2028' } },
    spec: {},
  })
  assert.ok(decoded.ok)
  assert.ok(encodeResource(decoded.value).includes('"note":"\\u003ca\\u003e \\u0026 b\\u2028"'))
})

test('no stored text makes reading throw', () => {
  const keys = fc.oneof(fc.constantFrom(...OBSERVED.map(({ key }) => key)), fc.string())
  const cut = fc.record({
    from: fc.constantFrom(...OBSERVED.map(({ value }) => value)),
    at: fc.nat(200),
    junk: fc.string({ maxLength: 3 }),
  })
  const texts = fc.oneof(
    fc.json(),
    fc.string(),
    cut.map(({ from, at, junk }) => from.slice(0, at) + junk + from.slice(at + 1)),
  )
  fc.assert(
    fc.property(keys, texts, (key, text) => void decodeStored(key, text, 1)),
    { numRuns: 2000 },
  )
})
