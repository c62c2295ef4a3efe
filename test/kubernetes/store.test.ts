// The datastore over a real API server: the suite of all stores, and what is this one's own.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { applyObjects } from '../../src/io/kubernetes/apply.ts'
import {
  collect,
  type Dialect,
  eventRevision,
  type StoreUnderTest,
  sharedConformance,
} from '../../src/io/store/conformance.ts'
import { ensureInitialized } from '../../src/io/store/initialize.ts'
import { KubernetesStore } from '../../src/io/store/kubernetes/store.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import { watchAll } from '../../src/io/store/resource-watch.ts'
import { followed, StoreError, type StoreEvent } from '../../src/io/store/store.ts'
import { type Cluster, openCluster } from './cluster.ts'

let cluster: Cluster
before(async () => {
  cluster = await openCluster()
})
after(() => cluster?.close())

const opened: KubernetesStore[] = []
const openStore = async (detail: 'whole' | 'slim' = 'whole'): Promise<KubernetesStore> => {
  const store = new KubernetesStore(await cluster.plane.client(), { detail })
  opened.push(store)
  return store
}
// Also those of a case that failed: a watch keeps the process alive.
afterEach(() => {
  for (const store of opened.splice(0)) store.close()
})

/** A store whose keys under a prefix are gone again when the case is over. */
const fresh = (prefix: string) => async (): Promise<StoreUnderTest> => ({
  store: await openStore(),
  done: async () => {
    const store = await openStore()
    for (const { key } of (await store.list(prefix)).entries) await store.delete(key)
    store.close()
  },
})

const setText = (kind: string, n: number): string =>
  JSON.stringify({
    kind,
    apiVersion: 'projectcalico.org/v3',
    metadata: {},
    spec: { nets: [`10.0.${n >> 8}.${n & 255}/32`] },
  })
const setNumber = (text: string): number => {
  const [, , high, low] = (JSON.parse(text).spec.nets[0] as string).split('/')[0]!.split('.').map(Number)
  return high! * 256 + low!
}

const RESOURCES = '/calico/resources/v3/projectcalico.org/'
const sets = (prefix: string, kind: string): Dialect => ({
  prefix,
  key: name => prefix + name,
  value: n => setText(kind, n),
  number: setNumber,
})

const DIALECTS: Readonly<Record<string, Dialect>> = {
  'a collection of the API': sets(`${RESOURCES}globalnetworksets/`, 'GlobalNetworkSet'),
  'one namespace of the API': sets(`${RESOURCES}networksets/prod/`, 'NetworkSet'),
  'IPAM in the API': {
    prefix: '/calico/ipam/v2/handle/',
    key: name => `/calico/ipam/v2/handle/${name}`,
    value: n => `{"block":{"10.0.0.0/26":${n}},"deleted":false}`,
    number: text => JSON.parse(text).block['10.0.0.0/26'],
  },
}

for (const [name, dialect] of Object.entries(DIALECTS)) sharedConformance(name, fresh(dialect.prefix), dialect)

describe('the store over the API', () => {
  const key = `${RESOURCES}globalnetworksets/own`

  it('takes a prefix apart into collections, which are watched one by one', async () => {
    const store = await openStore()
    const prefixes = followed(store, RESOURCES)
    assert.ok(prefixes.includes(`${RESOURCES}tiers/`) && prefixes.includes(`${RESOURCES}nodes/`))
    assert.deepEqual(followed(store, `${RESOURCES}networksets/prod/`), [`${RESOURCES}networksets/prod/`])
    assert.ok(followed(store, '/calico/ipam/v2/').length === 4)
    const { revision } = await store.list(RESOURCES)
    assert.equal((await collect(store, RESOURCES, revision).end())?.code, 'invalid')
    store.close()
  })

  it('keeps blocks with numbers of 64 bits, as Calico names and writes them', async () => {
    const store = await openStore()
    const block = '/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30'
    const text =
      '{"cidr":"10.0.0.0/30","affinity":"host:n1","affinity_claim_time":"2026-11-24T00:00:00Z","allocations":[0,null,null,null],"unallocated":[1,2,3],"attributes":[{"handle_id":"h","secondary":{"pod":"p"}}],"sequenceNumber":1795500659674108644,"sequenceNumberForAllocation":{"0":1795500659674108643},"deleted":false}'
    const made = await store.put(block, text, { ifRevision: 0 })
    assert.match(made.value, /"sequenceNumber":1795500659674108644/)
    const fieldsOf = (value: string) => {
      const { affinity_claim_time, ...rest } = JSON.parse(value)
      return [affinity_claim_time, rest]
    }
    assert.deepEqual(fieldsOf((await store.get(block))!.value), fieldsOf(text))
    const object = JSON.parse(await cluster.client.request('GET', '/apis/projectcalico.org/v3/ipamblocks/10-0-0-0-30'))
    assert.equal(object.spec.affinityClaimTime, '2026-11-24T00:00:00Z')
    await store.put(block, text.replace('"host:n1"', 'null'), { ifRevision: made.modRevision })
    assert.equal(JSON.parse((await store.get(block))!.value).affinity, null)

    const affinity = '/calico/ipam/v2/host/n1/ipv6/block/fd00::-122'
    await store.put(affinity, '{"state":"confirmed","deleted":false}')
    assert.deepEqual(
      (await store.list('/calico/ipam/v2/host/n1/ipv6/block/')).entries.map(e => e.value),
      ['{"state":"confirmed","deleted":false}'],
    )
    assert.deepEqual((await store.list('/calico/ipam/v2/host/n1/ipv4/block/')).entries, [])
    assert.deepEqual((await store.list('/calico/ipam/v2/virtual/')).entries, [])
    for (const gone of [block, affinity]) assert.equal(await store.delete(gone), true)
    store.close()
  })

  it('lists more than a page, each object once', async () => {
    const store = await openStore()
    const names = Array.from({ length: 1203 }, (_, i) => `page-${String(i).padStart(4, '0')}`)
    const keys = names.map(name => `${RESOURCES}globalnetworksets/${name}`)
    for (let i = 0; i < keys.length; i += 50)
      await Promise.all(
        keys.slice(i, i + 50).map(at => store.put(at, setText('GlobalNetworkSet', 1), { ifRevision: 0 })),
      )
    const { entries } = await store.list(`${RESOURCES}globalnetworksets/page-`)
    assert.deepEqual(
      entries.map(entry => entry.key),
      keys,
    )
    assert.ok(!entries[0]!.value.includes('managedFields'))
    for (let i = 0; i < keys.length; i += 50) await Promise.all(keys.slice(i, i + 50).map(at => store.delete(at)))
    store.close()
  })

  it('refuses what only others may write, and what the API server finds wrong', async () => {
    const store = await openStore()
    const refused = async (work: Promise<unknown>, message: RegExp) =>
      assert.rejects(work, (error: unknown) => {
        assert.ok(error instanceof StoreError && error.code === 'invalid', String(error))
        assert.match(error.message, message)
        return true
      })
    await refused(store.put('/registry/namespaces/x', '{}'), /use kubectl/)
    await refused(store.delete('/registry/pods/prod/x'), /use kubectl/)
    await refused(store.put('/nowhere/x', '{}'), /has no place/)
    await refused(store.put(`${RESOURCES}nodes/nosuch`, '{}'), /no Kubernetes Node nosuch/)
    await refused(
      store.put(key, '{"kind":"GlobalNetworkSet","apiVersion":"projectcalico.org/v3","spec":{"nets":[1]}}'),
      /nets/,
    )
    await refused(store.compact(), /compacts its own history/)
    store.close()
  })

  it('keeps what Calico knows of a node in annotations of the Kubernetes Node', async () => {
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1', labels: { rack: 'r1' } } }
    await applyObjects(cluster.client, [node])
    const store = await openStore()
    const resources = new ResourceClient(store)
    const before = await resources.get('Node', { name: 'n1' })
    assert.deepEqual(before.metadata.labels, { rack: 'r1' })
    assert.equal(before.spec.bgp, undefined)
    const bgp = { ipv4Address: '172.31.0.1/24', asNumber: 64513 }
    await resources.apply({
      ...before,
      metadata: { ...before.metadata, labels: { ...before.metadata.labels, own: 'x' } },
      spec: { ...before.spec, bgp, ipv4VXLANTunnelAddr: '10.20.0.1' as never },
    })
    const after = await resources.get('Node', { name: 'n1' })
    assert.deepEqual(after.spec.bgp, { asNumber: 64513, ipv4Address: '172.31.0.1/24' })
    assert.deepEqual(after.metadata.labels, { own: 'x', rack: 'r1' })
    const read = async () => JSON.parse(await cluster.client.request('GET', '/api/v1/nodes/n1')).metadata
    const { annotations, labels } = await read()
    assert.equal(annotations['projectcalico.org/IPv4Address'], '172.31.0.1/24')
    assert.equal(annotations['projectcalico.org/ASNumber'], '64513')
    assert.equal(annotations['projectcalico.org/IPv4VXLANTunnelAddr'], '10.20.0.1')
    assert.equal(labels.own, undefined)
    const { ipv4VXLANTunnelAddr: _, ...spec } = after.spec
    await resources.replace({
      ...after,
      metadata: { ...after.metadata, resourceVersion: undefined },
      spec,
    } as typeof after)
    assert.equal((await read()).annotations['projectcalico.org/IPv4VXLANTunnelAddr'], undefined)
    await cluster.client.request('DELETE', '/api/v1/nodes/n1')
    store.close()
  })

  it('notes addresses on a pod, and shows it slim to whoever keeps many', async () => {
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'p',
        namespace: 'prod',
        labels: { app: 'x' },
        annotations: { 'example.org/long': 'x'.repeat(2000) },
      },
      spec: {
        containers: [
          { name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 80 }], env: [{ name: 'A', value: 'b' }] },
        ],
      },
    }
    await applyObjects(cluster.client, [
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'prod' } } as never,
    ])
    await applyObjects(cluster.client, [pod])
    const store = await openStore()
    const resources = new ResourceClient(store)
    const found = await resources.get('Pod', { namespace: 'prod', name: 'p' })
    const annotations = { ...found.metadata.annotations, 'cni.projectcalico.org/podIP': '10.0.0.1/32' }
    const written = await resources.replace({ ...found, metadata: { ...found.metadata, annotations } })
    const now = JSON.parse(await cluster.client.request('GET', '/api/v1/namespaces/prod/pods/p'))
    assert.equal(now.metadata.annotations['cni.projectcalico.org/podIP'], '10.0.0.1/32')
    assert.equal(now.metadata.resourceVersion, written.metadata.resourceVersion)
    await assert.rejects(
      resources.annotate({ ...found, metadata: { ...found.metadata, uid: 'another' } }, { 'example.org/x': '1' }),
      { code: 'conflict' },
    )
    await assert.rejects(resources.annotate(found, { 'example.org/x': '1' }, { ifUnchanged: true }), {
      code: 'conflict',
    })
    // Whatever else changed: it is the pod that is meant.
    const noted = await resources.annotate(found, { 'cni.projectcalico.org/podIP': '10.0.0.2/32' })
    assert.equal(noted.metadata.annotations?.['cni.projectcalico.org/podIP'], '10.0.0.2/32')
    assert.equal(noted.metadata.annotations?.['example.org/long']?.length, 2000)
    const agents = await openStore('slim')
    const [entry] = (await agents.list('/registry/pods/prod/')).entries
    agents.close()
    const [whole] = (await store.list('/registry/pods/prod/')).entries
    assert.equal(JSON.parse(whole!.value).spec.containers[0].image, 'i')
    const slim = JSON.parse(entry!.value)
    assert.deepEqual(slim.spec, {
      serviceAccountName: 'default',
      containers: [{ ports: [{ name: 'http', containerPort: 80, protocol: 'TCP' }] }],
    })
    assert.deepEqual(Object.keys(slim.metadata.annotations), ['cni.projectcalico.org/podIP'])
    assert.deepEqual(slim.status, { phase: 'Pending' })
    await cluster.client.request('DELETE', '/api/v1/namespaces/prod/pods/p', { query: { gracePeriodSeconds: '0' } })
    store.close()
  })

  it('is initialised like any other, and followed as a whole through cuts and a kill of the API server', async () => {
    const store = await openStore()
    const resources = new ResourceClient(store)
    const created = await ensureInitialized(resources)
    assert.deepEqual(created.map(({ kind, metadata }) => `${kind}/${metadata.name}`).sort(), [
      'ClusterInformation/default',
      'IPPool/default-ipv4-ippool',
      'Tier/default',
      'Tier/kube-admin',
      'Tier/kube-baseline',
    ])
    assert.deepEqual(await ensureInitialized(resources), [])

    const held = new Map<string, string>()
    const seen: string[] = []
    let inSync = false
    const watch = watchAll(store, {
      changes: changes => {
        for (const { key: at, value } of changes) {
          seen.push(`${at}@${value?.metadata.resourceVersion}`)
          if (value) held.set(at, value.metadata.resourceVersion!)
          else held.delete(at)
        }
      },
      inSync: () => {
        inSync = true
      },
      undecodable: (at, problems) => assert.fail(`${at}: ${JSON.stringify(problems)}`),
    })
    const until = async (holds: () => boolean, what: string) => {
      for (let i = 0; !holds(); i++) {
        assert.ok(i < 1200, `${what}: ${[...held.keys()].join(' ')}`)
        await sleep(25)
      }
    }
    await until(() => inSync, 'in sync')
    for (const wanted of ['Tier//default', 'Namespace//kube-system', 'IPPool//default-ipv4-ippool'])
      assert.ok(held.has(wanted), `${wanted} of ${[...held.keys()].join(' ')}`)

    const writer = await openStore()
    const name = (round: number) => `round-${round}`
    for (let round = 0; round < 6; round++) {
      if (round % 2 === 1) cluster.plane.cut()
      if (round === 4) {
        await cluster.plane.kill()
        await cluster.plane.revive()
      }
      const set = `${RESOURCES}globalnetworksets/${name(round)}`
      await writer.put(set, setText('GlobalNetworkSet', round))
      if (round > 0) await writer.delete(`${RESOURCES}globalnetworksets/${name(round - 1)}`)
      await until(() => held.has(`GlobalNetworkSet//${name(round)}`), `round ${round}`)
      await until(() => !held.has(`GlobalNetworkSet//${name(round - 1)}`), `end of round ${round - 1}`)
    }
    assert.equal(
      new Set(seen.filter(text => !text.endsWith('@undefined'))).size,
      seen.filter(text => !text.endsWith('@undefined')).length,
      'nothing twice',
    )
    watch.close()
    await writer.delete(`${RESOURCES}globalnetworksets/${name(5)}`)
    writer.close()
    store.close()
  })
  it('shows every write once and in order, however often the connection is cut meanwhile', async () => {
    const prefix = `${RESOURCES}globalnetworksets/`
    const [reader, writer] = [await openStore(), await openStore()]
    const { entries, revision } = await reader.list(prefix)
    assert.deepEqual(entries, [])
    const seen: StoreEvent[] = []
    const ends: string[] = []
    reader.watch(prefix, revision, {
      events: events => void seen.push(...events),
      closed: error => void ends.push(String(error)),
    })
    /** Until the API server has answered: a write whose answer was cut off may have been done. */
    const insist = async (write: () => Promise<unknown>): Promise<void> => {
      for (;;) {
        try {
          await write()
          return
        } catch (error) {
          if (!(error instanceof StoreError) || error.code !== 'unavailable') throw error
        }
      }
    }
    for (let n = 1; n <= 300; n++) {
      const key = `${prefix}k${n % 7}`
      const done = insist(() => (n % 11 === 0 ? writer.delete(key) : writer.put(key, setText('GlobalNetworkSet', n))))
      // In the middle of a write, every now and then.
      if (n % 15 === 0) setImmediate(() => cluster.plane.cut())
      await done
    }
    await insist(() => writer.put(`${prefix}last`, setText('GlobalNetworkSet', 0)))
    for (let tries = 0; !seen.some(event => event.kind === 'put' && event.entry.key === `${prefix}last`); tries++) {
      assert.ok(tries < 1200, `${seen.length} events, ${ends}`)
      await sleep(25)
    }
    assert.deepEqual(ends, [])
    const revisions = seen.map(eventRevision)
    assert.deepEqual(
      revisions,
      [...new Set(revisions)].sort((a, b) => a - b),
    )
    const held = new Map<string, number>()
    for (const event of seen) {
      if (event.kind === 'put') held.set(event.entry.key, event.entry.modRevision)
      else held.delete(event.key)
    }
    const stored = (await reader.list(prefix)).entries
    assert.deepEqual(held, new Map(stored.map(entry => [entry.key, entry.modRevision])))
    for (const { key } of stored) await writer.delete(key)
    console.log(`# ${seen.length} events`)
    reader.close()
    writer.close()
  })
})
