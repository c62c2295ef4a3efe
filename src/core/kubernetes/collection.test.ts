import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeBlock, encodeBlock, newBlock } from '../ipam/block.ts'
import { encodeHandle } from '../ipam/handle.ts'
import { isObject, type JsonObject, parseJson, printJson } from '../ipam/json.ts'
import { affinityKey, blockKey, handleKey, type Owner } from '../ipam/keys.ts'
import { prefix } from '../net/prefix.ts'
import { resourceKey } from '../resources/cause.ts'
import { OBSERVED } from '../resources/observed.fixture.ts'
import { KIND_NAMES, KINDS } from '../resources/resource.ts'
import { decodeStored, encodeResource, storeKey } from '../resources/store-key.ts'
import { apiPath, type Collection, collectionsIn } from './collection.ts'

const all = collectionsIn('projectcalico.org/v3')
const collectionOf = (key: string): Collection => all.find(({ prefix: start }) => key.startsWith(start))!

/** What comes back of a value that is written: through the object as the API server prints it. */
function roundTrip(key: string, text: string): { key: string; text: string } | undefined {
  const collection = collectionOf(key)
  const object = collection.encode(key, text)
  return collection.decode(collection.parse(printJson(object)), 'whole')
}

test('no two collections share keys, and every kind that is kept has one', () => {
  for (const { prefix: one } of all)
    assert.equal(all.filter(({ prefix: other }) => other.startsWith(one)).length, 1, one)
  const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,8}[a-z]$/)
  fc.assert(
    fc.property(fc.constantFrom(...KIND_NAMES), name, name, (kind, namespace, of) => {
      const { namespaced } = KINDS[kind]
      const key = storeKey(resourceKey(kind, namespaced ? namespace : undefined, of))
      const place = collectionOf(key)?.placeOf(key)
      if (kind === 'WorkloadEndpoint') return assert.equal(place, undefined)
      assert.deepEqual(place, namespaced ? { namespace, name: of } : { name: of })
    }),
  )
  for (const key of [
    '/registry/pods/',
    '/registry/pods/a',
    '/registry/pods/a/',
    '/registry/pods/a/b/c',
    '/registry/namespaces/',
  ])
    assert.equal(collectionOf(key).placeOf(key), undefined, key)
})

test('paths are those of the API', () => {
  const path = (key: string) => apiPath(collectionOf(key), collectionOf(key).placeOf(key))
  assert.equal(path('/registry/pods/prod/a'), '/api/v1/namespaces/prod/pods/a')
  assert.equal(path('/calico/resources/v3/projectcalico.org/nodes/n1'), '/api/v1/nodes/n1')
  assert.equal(
    path('/calico/resources/v3/projectcalico.org/networkpolicies/prod/a'),
    '/apis/projectcalico.org/v3/namespaces/prod/networkpolicies/a',
  )
  assert.equal(
    path('/calico/ipam/v2/assignment/ipv6/block/fd00::-122'),
    '/apis/projectcalico.org/v3/ipamblocks/fd00---122',
  )
  const older = collectionsIn('crd.projectcalico.org/v1').find(({ prefix: start }) =>
    start.includes('ipamconfigurations'),
  )!
  assert.equal(apiPath(older, { name: 'default' }), '/apis/crd.projectcalico.org/v1/ipamconfigs/default')
})

test('what calicoctl stored in etcd is the same resource in the API, without the name in an annotation', () => {
  let count = 0
  for (const { key, value } of OBSERVED) {
    if (collectionOf(key)?.writing !== 'object') continue
    count++
    const back = roundTrip(key, value)
    assert.equal(back?.key, key)
    assert.doesNotMatch(back.text, /projectcalico\.org\/metadata/)
    const [before, after] = [decodeStored(key, value, 1), decodeStored(key, back.text, 1)]
    assert.ok(before.ok && after.ok)
    assert.equal(encodeResource(after.value.resource), encodeResource(before.value.resource))
  }
  assert.ok(count >= 10, `${count} resources`)
})

test('blocks, handles and affinities come back as they were, 64 bits and all', () => {
  const moment = { rfc3339: '2026-11-24T00:00:00Z', unixNano: 1_795_500_659_674_108_644n }
  const cidr = fc.constantFrom(
    prefix('10.0.0.0/30'),
    prefix('192.168.1.64/28'),
    prefix('fd00::/126'),
    prefix('fd00:1::40/122'),
  )
  const owner = fc.constantFrom<Owner>('host:n1', 'host:a.b-c', 'virtual:load-balancer')
  fc.assert(
    fc.property(cidr, owner, fc.boolean(), (of, affinity, free) => {
      const block = { ...newBlock(of, affinity, moment), affinity: free ? null : affinity }
      const back = roundTrip(blockKey(of), encodeBlock(block))
      assert.equal(back?.key, blockKey(of))
      assert.deepEqual(decodeBlock(back.text), { ok: true, value: block })
    }),
  )
  fc.assert(
    fc.property(cidr, owner, fc.constantFrom('pending', 'confirmed', 'pendingDeletion'), (of, by, state) => {
      const text = `{"state":"${state}","deleted":false}`
      assert.deepEqual(roundTrip(affinityKey(by, of), text), { key: affinityKey(by, of), text })
    }),
  )
  fc.assert(
    fc.property(
      cidr,
      fc.integer({ min: 1, max: 64 }),
      fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9.-]{0,20}$/),
      (of, count, id) => {
        const text = encodeHandle({ counts: new Map([[of, count]]), rest: {} })
        assert.deepEqual(roundTrip(handleKey(id), text), { key: handleKey(id), text })
      },
    ),
  )
})

test('no object makes a decoder throw', () => {
  const json = fc.jsonValue().map(value => parseJson(JSON.stringify(value)))
  fc.assert(
    fc.property(json, fc.constantFrom(...all), (value, collection) => {
      const object: JsonObject = isObject(value) ? value : { spec: value, metadata: value }
      for (const detail of ['whole', 'slim'] as const) collection.decode(object, detail)
    }),
  )
})
