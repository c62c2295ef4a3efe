// Typed resources over a store: the create and update contract, the error texts, tiers and pools, races, first run.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ResourceKey, resourceKey } from '../../core/resources/cause.ts'
import { decodeResource, type Kind, keyOf, type Resource } from '../../core/resources/resource.ts'
import { encodeResource, storeKey } from '../../core/resources/store-key.ts'
import { ensureInitialized } from './initialize.ts'
import { openMemory } from './memory.ts'
import { ResourceClient } from './resource-client.ts'
import { ResourceError, type ResourceErrorCode } from './resource-error.ts'

function resource<R extends Resource = Resource>(kind: Kind, name: string, spec: object = {}): R {
  const apiVersion = ['Pod', 'Namespace', 'ServiceAccount'].includes(kind) ? 'v1' : 'projectcalico.org/v3'
  const decoded = decodeResource({ kind, apiVersion, metadata: { name }, spec }, { defaultNamespace: 'prod' })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value as R
}

const UID = '11111111-1111-4111-8111-111111111111'
const TIME = '2026-01-02T03:04:05Z'

async function initialized(): Promise<ResourceClient> {
  const client = new ResourceClient(openMemory(), { newUid: () => UID, now: () => TIME })
  await ensureInitialized(client, { defaultPool: false })
  return client
}

async function refused(action: Promise<unknown>, code: ResourceErrorCode, message: string): Promise<void> {
  await assert.rejects(action, error => {
    assert.ok(error instanceof ResourceError, String(error))
    assert.deepEqual([error.code, error.message], [code, message])
    return true
  })
}

const withVersion = <R extends Resource>(of: R, resourceVersion: string): R => ({
  ...of,
  metadata: { ...of.metadata, resourceVersion },
})

test('create stamps what calicoctl stamps, and refuses what exists', async () => {
  const client = await initialized()
  const set = resource('NetworkSet', 'a', { nets: ['10.0.0.0/8'] })
  const created = await client.create(set)
  const { modRevision, value } = (await client.store.get(storeKey(keyOf(set))))!
  assert.deepEqual(created.metadata, {
    name: 'a',
    namespace: 'prod',
    uid: UID,
    creationTimestamp: TIME,
    resourceVersion: String(modRevision),
  })
  assert.equal(
    value,
    `{"kind":"NetworkSet","apiVersion":"projectcalico.org/v3","metadata":{"name":"a","namespace":"prod","uid":"${UID}","creationTimestamp":"${TIME}"},"spec":{"nets":["10.0.0.0/8"]}}`,
  )
  assert.deepEqual(await client.get('NetworkSet', { name: 'a', namespace: 'prod' }), created)
  await refused(client.create(set), 'exists', 'resource already exists: NetworkSet(prod/a) with error: <nil>')
  await refused(
    client.create(created),
    'invalid',
    `error with field Metadata.ResourceVersion = '${modRevision}' (field must not be set for a Create request)`,
  )
})

test('uid and time have the forms that Calico gives them', async () => {
  const client = new ResourceClient(openMemory())
  const { metadata } = await client.create(resource('GlobalNetworkSet', 'a'))
  assert.match(metadata.uid ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.match(metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
})

test('update is compare-and-set', async () => {
  const client = await initialized()
  const first = await client.create(resource('GlobalNetworkSet', 'a'))
  const second = await client.update({ ...first, spec: { nets: ['10.0.0.1'] } } as Resource)
  assert.equal(second.metadata.uid, first.metadata.uid)
  assert.notEqual(second.metadata.resourceVersion, first.metadata.resourceVersion)
  await refused(
    client.update(first),
    'conflict',
    `update conflict: GlobalNetworkSet(a): version ${first.metadata.resourceVersion} is out of date, the latest is ${second.metadata.resourceVersion}`,
  )
  await refused(
    client.update(resource('GlobalNetworkSet', 'a')),
    'invalid',
    [
      'error with the following fields:',
      '-  metadata.resourceVersion (field must be set for an Update request)',
      '-  metadata.creationTimestamp (field must be set for an Update request)',
      '-  metadata.uid (field must be set for an Update request)',
    ].join('\n'),
  )
  await client.delete(keyOf(first))
  await refused(client.update(second), 'not-found', 'resource does not exist: GlobalNetworkSet(a) with error: <nil>')
})

test('replace needs a resource that exists, and keeps its identity', async () => {
  const client = await initialized()
  const set = resource('GlobalNetworkSet', 'a')
  await refused(client.replace(set), 'not-found', 'resource does not exist: GlobalNetworkSet(a) with error: <nil>')
  await client.create({ ...set, metadata: { ...set.metadata, uid: 'first', creationTimestamp: 'then' } } as Resource)
  const { metadata } = await client.replace(resource('GlobalNetworkSet', 'a', { nets: ['10.0.0.1'] }))
  assert.deepEqual([metadata.uid, metadata.creationTimestamp], ['first', 'then'])
  await refused(
    client.replace(withVersion(set, '1')),
    'conflict',
    `update conflict: GlobalNetworkSet(a): version 1 is out of date, the latest is ${metadata.resourceVersion}`,
  )
})

test('apply creates or replaces, and writes nothing when nothing changes', async () => {
  const client = await initialized()
  const first = await client.apply(withVersion(resource('GlobalNetworkPolicy', 'a', { order: 1 }), '77'))
  const again = await client.apply(resource('GlobalNetworkPolicy', 'a', { order: 1 }))
  assert.deepEqual(again, first)
  const changed = await client.apply(resource('GlobalNetworkPolicy', 'a', { order: 2 }))
  assert.notEqual(changed.metadata.resourceVersion, first.metadata.resourceVersion)
  assert.equal(changed.metadata.uid, first.metadata.uid)
})

test('many writers of one resource all succeed', async () => {
  const client = await initialized()
  const nets = Array.from({ length: 8 }, (_, i) => `10.0.0.${i}`)
  await Promise.all(nets.map(net => client.apply(resource('GlobalNetworkSet', 'a', { nets: [net] }))))
  const { spec } = await client.get('GlobalNetworkSet', { name: 'a' })
  assert.ok(nets.includes(spec.nets?.[0] ?? ''))
})

test('delete', async () => {
  const client = await initialized()
  const set = await client.create(resource('NetworkSet', 'a'))
  const key = keyOf(set)
  await refused(
    client.delete(key, { resourceVersion: '1' }),
    'conflict',
    `update conflict: NetworkSet(prod/a): version 1 is out of date, the latest is ${set.metadata.resourceVersion}`,
  )
  assert.deepEqual(await client.delete(key), set)
  await refused(client.delete(key), 'not-found', 'resource does not exist: NetworkSet(prod/a) with error: <nil>')
})

test('a policy needs its tier, and a tier cannot go before its policies', async () => {
  const client = await initialized()
  const policy = resource('NetworkPolicy', 'a', { tier: 'security' })
  const tier = resource('Tier', 'security', { order: 100 })
  const missing = 'resource does not exist: Tier(security) with error: <nil>'
  await refused(client.apply(policy), 'not-found', missing)
  await client.create(tier)
  await client.apply(policy)
  const full = 'operation Delete is not supported on Tier(security): Cannot delete a non-empty tier'
  await refused(client.delete(keyOf(tier)), 'not-supported', full)
  await client.delete(keyOf(policy))
  await client.store.put(storeKey(keyOf(policy)), '{"what": "is this"}')
  await refused(client.delete(keyOf(tier)), 'not-supported', full)
  await client.delete(keyOf(policy))
  await client.delete(keyOf(tier))
  await client.create(resource('GlobalNetworkPolicy', 'b'))
  await refused(client.apply(resource('GlobalNetworkPolicy', 'b', { tier: 'security' })), 'not-found', missing)
})

test('what is built in stays', async () => {
  const client = await initialized()
  const tier = resourceKey('Tier', undefined, 'kube-admin')
  await refused(
    client.delete(tier),
    'not-supported',
    'operation Delete is not supported on Tier(kube-admin): Cannot delete kube-admin tier',
  )
  const allow = resource('Profile', 'projectcalico-default-allow')
  const readOnly = 'is not supported on Profile(projectcalico-default-allow): the profile is built in and read-only'
  await refused(client.apply(allow), 'not-supported', `operation Create ${readOnly}`)
  await refused(client.delete(keyOf(allow)), 'not-supported', `operation Delete ${readOnly}`)
  const { spec } = await client.get('Profile', { name: 'projectcalico-default-allow' })
  assert.deepEqual(spec, { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] })
  assert.deepEqual(
    (await client.list('Profile')).items.map(p => p.metadata.name),
    ['projectcalico-default-allow'],
  )
})

test('pools do not overlap and do not move', async () => {
  const client = await initialized()
  await client.create(resource('IPPool', 'pool-vxlan', { cidr: '10.20.0.0/16' }))
  await refused(
    client.apply(resource('IPPool', 'b16', { cidr: '10.20.128.0/17' })),
    'invalid',
    `error with field IPPool.Spec.CIDR = '10.20.128.0/17' (IPPool(b16) CIDR overlaps with IPPool(pool-vxlan) CIDR 10.20.0.0/16)`,
  )
  await client.apply(resource('IPPool', 'pool-vxlan', { cidr: '10.20.0.0/16', vxlanMode: 'Always' }))
  await refused(
    client.apply(resource('IPPool', 'pool-vxlan', { cidr: '10.21.0.0/16', blockSize: 28 })),
    'invalid',
    [
      'error with the following fields:',
      `-  spec.cidr = '10.21.0.0/16' (cannot be changed from 10.20.0.0/16: make a new pool, move to it, and delete this one)`,
      `-  spec.blockSize = '28' (cannot be changed from 26: make a new pool, move to it, and delete this one)`,
    ].join('\n'),
  )
})

test('lists: by kind, by namespace, and what cannot be read beside them', async () => {
  const client = await initialized()
  for (const name of ['b', 'a']) await client.create(resource('NetworkSet', name))
  const other = resource('NetworkSet', 'c')
  await client.create({ ...other, metadata: { ...other.metadata, namespace: 'dev' } } as Resource)
  await client.store.put(storeKey(resourceKey('NetworkSet', 'prod', 'bad')), 'junk')
  const all = await client.list('NetworkSet')
  assert.deepEqual(all.items.map(keyOf), ['NetworkSet/dev/c', 'NetworkSet/prod/a', 'NetworkSet/prod/b'])
  assert.deepEqual(
    all.undecodable.map(({ key }) => key),
    ['NetworkSet/prod/bad'],
  )
  assert.deepEqual((await client.list('NetworkSet', { namespace: 'dev' })).items.map(keyOf), ['NetworkSet/dev/c'])
})

test('what cannot be read is mended by replacing it', async () => {
  const client = await initialized()
  const set = resource('GlobalNetworkSet', 'a', { nets: ['10.0.0.1'] })
  await client.store.put(storeKey(keyOf(set)), '{"metadata": {"uid": "old", "creationTimestamp": "then"}, "kind": 7}')
  await assert.rejects(client.get('GlobalNetworkSet', { name: 'a' }), /must be a text/)
  assert.deepEqual((await client.apply(set)).metadata.uid, 'old')
  assert.deepEqual((await client.get('GlobalNetworkSet', { name: 'a' })).spec, set.spec)
})

test('a policy under the name that an older version stored is found, changed in place and deleted', async () => {
  const client = await initialized()
  const policy = resource('GlobalNetworkPolicy', 'web')
  const older = storeKey(resourceKey('GlobalNetworkPolicy', undefined, 'default.web'))
  const text = encodeResource(policy).replace(/,"annotations":\{[^}]*\}"\}/, '')
  await client.store.put(older, text.replace('"name":"web"', '"name":"default.web"'))
  assert.equal((await client.get('GlobalNetworkPolicy', { name: 'web' })).metadata.name, 'web')
  await client.apply(resource('GlobalNetworkPolicy', 'web', { order: 5 }))
  assert.deepEqual(
    (await client.list('GlobalNetworkPolicy')).items.map(({ metadata, spec }) => [metadata.name, spec.order]),
    [['web', 5]],
  )
  await client.delete(keyOf(policy))
  assert.equal(await client.store.get(older), undefined)
})

test('the first run, again, and by several at once', async () => {
  const client = new ResourceClient(openMemory())
  const runs = await Promise.all([1, 2, 3].map(() => ensureInitialized(client)))
  assert.deepEqual(runs.flat().map(keyOf).sort(), [
    'ClusterInformation//default',
    'IPPool//default-ipv4-ippool',
    'Tier//default',
    'Tier//kube-admin',
    'Tier//kube-baseline',
  ] as ResourceKey[])
  assert.deepEqual(await ensureInitialized(client), [])
  const { spec } = await client.get('ClusterInformation', { name: 'default' })
  assert.match(spec.clusterGUID ?? '', /^[0-9a-f]{32}$/)
  assert.equal(spec.datastoreReady, true)
  const pool = await client.get('IPPool', { name: 'default-ipv4-ippool' })
  assert.deepEqual(
    [pool.spec.cidr, pool.spec.natOutgoing, pool.spec.ipipMode, pool.spec.vxlanMode],
    ['192.168.0.0/16', true, 'Never', 'Never'],
  )
  assert.deepEqual(
    (await client.list('Tier')).items.map(({ metadata, spec: { order, defaultAction } }) => [
      metadata.name,
      order,
      defaultAction,
    ]),
    [
      ['default', 1_000_000, 'Deny'],
      ['kube-admin', 1000, 'Pass'],
      ['kube-baseline', 10_000_000, 'Pass'],
    ],
  )
})

test('a pool of one’s own keeps the first run from making another', async () => {
  const client = new ResourceClient(openMemory())
  await client.create(resource('IPPool', 'mine', { cidr: '10.0.0.0/16' }))
  await ensureInitialized(client)
  assert.deepEqual((await client.list('IPPool')).items.map(keyOf), ['IPPool//mine'])
})
