// A cluster that keeps Calico's kinds in the older group, crd.projectcalico.org/v1, as Calico writes them: read with the
// metadata unwrapped; resources are not written, and IPAM goes on where Calico's left off.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pino from 'pino'
import { findDatastore } from '../../src/apps/agent/datastore.ts'
import { customResourceDefinitions } from '../../src/core/kubernetes/crd.ts'
import { convertUid } from '../../src/core/kubernetes/older-metadata.ts'
import { findApiGroup } from '../../src/io/kubernetes/api-group.ts'
import { type ApiObject, applyObjects, objectPath } from '../../src/io/kubernetes/apply.ts'
import { openKubernetes } from '../../src/io/store/open-kubernetes.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import { watchAll } from '../../src/io/store/resource-watch.ts'
import type { Store } from '../../src/io/store/store.ts'
import { type Cluster, openBareCluster, untilServed } from './cluster.ts'

/** Definitions as lax as Calico's older ones: no rules, everything kept. */
function olderDefinitions(): ApiObject[] {
  const free = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec: free, status: free } } }
  return customResourceDefinitions()
    .filter(({ spec }) => spec.names.kind !== 'Profile')
    .map(({ spec, ...rest }) => {
      const renamed =
        spec.names.kind === 'IPAMConfiguration' ? { kind: 'IPAMConfig', plural: 'ipamconfigs' } : spec.names
      const { kind, plural } = renamed
      const names = { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` }
      const versions = [{ name: 'v1', served: true, storage: true, schema }]
      const group = 'crd.projectcalico.org'
      return { ...rest, metadata: { name: `${plural}.${group}` }, spec: { ...spec, group, names, versions } }
    })
}

const older = (kind: string, metadata: object, spec: object): ApiObject =>
  ({ apiVersion: 'crd.projectcalico.org/v1', kind, metadata, spec }) as ApiObject

let cluster: Cluster
let store: Store
before(async () => {
  cluster = await openBareCluster()
  assert.equal(await findApiGroup(cluster.client, undefined), 'projectcalico.org/v3')
  await applyObjects(cluster.client, olderDefinitions())
  const wrapped = JSON.stringify({ name: 'deny', labels: { mine: 'yes' }, creationTimestamp: null })
  const policy = { selector: 'all()', types: ['Ingress'] }
  await untilServed(() =>
    applyObjects(cluster.client, [
      older('Tier', { name: 'default' }, { order: 1000000 }),
      older(
        'GlobalNetworkPolicy',
        { name: 'default.deny', annotations: { 'projectcalico.org/metadata': wrapped } },
        policy,
      ),
      older('GlobalNetworkPolicy', { name: 'default.plain' }, policy),
      older('IPAMConfig', { name: 'default' }, { strictAffinity: true, autoAllocateBlocks: true }),
      older(
        'BlockAffinity',
        { name: 'n1-10-0-0-0-26' },
        { state: 'confirmed', node: 'n1', cidr: '10.0.0.0/26', deleted: 'false' },
      ),
    ]),
  )
  store = await openKubernetes({ kubeconfig: cluster.plane.kubeconfig })
})
after(async () => {
  store?.close()
  await cluster?.close()
})

test('the group is found as Calico finds it', async () => {
  assert.equal(await findApiGroup(cluster.client, undefined), 'crd.projectcalico.org/v1')
  assert.equal(await findApiGroup(cluster.client, 'projectcalico.org/v3'), 'projectcalico.org/v3')
  assert.equal(await findApiGroup(cluster.client, 'anything'), 'crd.projectcalico.org/v1')
})

test('resources are read under the names and labels that users gave them', async () => {
  const resources = new ResourceClient(store)
  const { items, undecodable } = await resources.list('GlobalNetworkPolicy')
  assert.deepEqual(undecodable, [])
  assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ['deny', 'plain'])
  const deny = await resources.get('GlobalNetworkPolicy', { name: 'deny' })
  assert.equal(deny.metadata.labels?.mine, 'yes')
  const path = objectPath(older('GlobalNetworkPolicy', { name: 'default.deny' }, {}))
  assert.equal(deny.metadata.uid, convertUid(JSON.parse(await cluster.client.request('GET', path)).metadata.uid))
  assert.equal((await resources.get('IPAMConfiguration', { name: 'default' })).spec.strictAffinity, true)
  const seen = await new Promise<string[]>(resolve => {
    const keys: string[] = []
    const watch = watchAll(store, {
      changes: changes => void keys.push(...changes.map(({ key }) => key)),
      undecodable: (key, problems) => assert.fail(`${key} ${JSON.stringify(problems)}`),
      inSync: () => {
        watch.close()
        resolve(keys)
      },
    })
  })
  for (const key of ['GlobalNetworkPolicy//deny', 'GlobalNetworkPolicy//plain', 'Tier//default'])
    assert.ok(seen.includes(key), key)
})

test('resources are not written, IPAM is', async () => {
  const resources = new ResourceClient(store)
  const deny = await resources.get('GlobalNetworkPolicy', { name: 'deny' })
  await assert.rejects(resources.replace({ ...deny, spec: { ...deny.spec, order: 5 } }), /use kubectl/)
  const key = '/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0-26'
  const held = await store.get(key)
  assert.equal(held?.value, '{"state":"confirmed","deleted":false}')
  await store.put(key, '{"state":"pendingDeletion","deleted":false}', { ifRevision: held!.modRevision })
  const path = objectPath(older('BlockAffinity', { name: 'n1-10-0-0-0-26' }, {}))
  const { spec } = JSON.parse(await cluster.client.request('GET', path))
  assert.deepEqual([spec.state, spec.deleted], ['pendingDeletion', 'false'])
})

test('an agent says of such a cluster that it is one', async () => {
  process.env.KUBECONFIG = cluster.plane.kubeconfig
  const { open, problems } = await findDatastore({ kind: 'kubernetes' }, 'n1', pino({ level: 'silent' }))
  const opened = open(() => {})
  try {
    assert.deepEqual(problems(), [])
    await opened.list('/calico/resources/v3/projectcalico.org/tiers/')
    assert.deepEqual(problems(), [
      'the cluster keeps Calico’s resources in the older group crd.projectcalico.org/v1, where they are read and not written',
    ])
  } finally {
    opened.close()
    delete process.env.KUBECONFIG
  }
})
