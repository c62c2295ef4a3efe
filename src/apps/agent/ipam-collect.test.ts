// The collector over a real store and real resources: two looks, the question just before, and the races between them.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { prefix } from '../../core/net/prefix.ts'
import { resourceKey } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import { decodeResource, type Resource, snapshotOf } from '../../core/resources/resource.ts'
import { storeKey } from '../../core/resources/store-key.ts'
import { audit } from '../../io/ipam/audit.ts'
import { type IpamCollection, openCollection } from '../../io/ipam/collection.ts'
import { openIpam } from '../../io/ipam/ipam.ts'
import { openLog } from '../../io/log.ts'
import { openMemory } from '../../io/store/memory.ts'
import { ResourceClient } from '../../io/store/resource-client.ts'
import { type Collected, IpamCollector } from './ipam-collect.ts'

const MINUTE = 60_000
const pools = [{ name: 'p', cidr: prefix('10.0.0.0/28'), blockSize: 30 }]
const NOTHING: Collected = { candidates: 0, reclaimed: 0, blocks: 0, handles: 0, nodes: 0 }

const resource = (document: object): Resource => {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const V3 = { apiVersion: 'projectcalico.org/v3' }
const node = (name: string) => resource({ ...V3, kind: 'Node', metadata: { name }, spec: {} })
const namespace = resource({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
const pod = (name: string) =>
  resource({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'shop' }, spec: { nodeName: 'n1' } })

/** Hooks that run once, just before the collector's question to the datastore or its release. */
type Between = { ask?: () => Promise<unknown>; release?: () => Promise<unknown> }

async function setUp() {
  const store = openMemory()
  const client = new ResourceClient(store)
  const ipam = openIpam(store, { now: () => new Date(0) })
  for (const r of [node('n1'), node('n2'), namespace]) await client.create(r)
  let now = 0
  const between: Between = {}
  const once = async (hook: keyof Between): Promise<void> => {
    const work = between[hook]
    delete between[hook]
    await work?.()
  }
  const collection = openCollection(store)
  const hooked: IpamCollection = {
    ...collection,
    releaseLeak: async leak => {
      await once('release')
      return collection.releaseLeak(leak)
    },
  }
  /** What the agent's watches told it last. */
  let told = derived(snapshotOf([]))
  const tell = async (): Promise<void> => {
    const kinds = ['Node', 'Pod', 'Namespace', 'WorkloadEndpoint'] as const
    const lists = await Promise.all(kinds.map(kind => client.list(kind)))
    told = derived(snapshotOf(lists.flatMap(({ items }): readonly Resource[] => items)))
  }
  await tell()
  let inSync = true
  const seen: Collected[] = []
  const released: string[] = []
  const collector = (name: string) =>
    new IpamCollector({
      node: name,
      ipam: hooked,
      snapshot: () => (inSync ? told : undefined),
      resources: {
        get: async (...args) => {
          await once('ask')
          return client.get(...args)
        },
        list: (...args) => client.list(...args),
      },
      now: () => now,
      log: openLog({ name: 'test', level: 'silent' }),
      onCollected: collected => seen.push(collected),
      onReleased: addresses => released.push(...addresses),
    })
  const give = async (name: string, on = 'n1') => {
    const request = { node: on, handle: `k8s.${name}-1`, attributes: { pod: name, namespace: 'shop' }, pools }
    return (await ipam.autoAssign({ ...request, num4: 1, num6: 0 })).v4[0]!
  }
  return {
    ...{ store, client, ipam, collector, between, tell, give, seen, released },
    pass: (minutes: number) => {
      now += minutes * MINUTE
    },
    setInSync: (is: boolean) => {
      inSync = is
    },
    allocated: async () => [...(await audit(store)).allocated.keys()],
  }
}

describe('IpamCollector', () => {
  it('takes back what a deleted pod held, after the grace period, and tells', async () => {
    const { client, give, tell, collector, pass, allocated, seen, released } = await setUp()
    await client.create(pod('web'))
    const [web, gone] = [await give('web'), await give('gone')]
    await tell()
    const c = collector('n1')
    assert.deepEqual(await c.tick(), { ...NOTHING, candidates: 1 })
    pass(14)
    assert.deepEqual(await c.tick(), { ...NOTHING, candidates: 1 })
    assert.deepEqual((await allocated()).sort(), [web, gone].sort())
    pass(1)
    assert.deepEqual(await c.tick(), { ...NOTHING, reclaimed: 1 })
    assert.deepEqual(await allocated(), [web])
    assert.deepEqual(released, [gone])
    assert.deepEqual(await c.tick(), NOTHING)
    assert.equal(seen.length, 4)
  })

  it('a pod created between the looks keeps its address', async () => {
    const { client, give, tell, collector, pass, allocated } = await setUp()
    const address = await give('late')
    const c = collector('n1')
    await c.tick()
    pass(10)
    await client.create(pod('late'))
    await tell()
    pass(10)
    assert.deepEqual(await c.tick(), NOTHING)
    pass(60)
    assert.deepEqual(await c.tick(), NOTHING)
    assert.deepEqual(await allocated(), [address])
  })

  it('a pod that the watch has not told of keeps its address: the datastore is asked just before', async () => {
    const { client, give, collector, pass, allocated } = await setUp()
    const address = await give('late')
    const c = collector('n1')
    await c.tick()
    await client.create(pod('late'))
    pass(20)
    assert.deepEqual(await c.tick(), { ...NOTHING, candidates: 1 })
    assert.deepEqual(await allocated(), [address])
  })

  it('a pod created after that question, whose repeated ADD asks for its address, keeps it', async () => {
    const { client, ipam, give, collector, pass, allocated, between } = await setUp()
    const address = await give('late')
    const c = collector('n1')
    await c.tick()
    pass(20)
    let renewed: readonly string[] = []
    between.release = async () => {
      await client.create(pod('late'))
      renewed = await ipam.renew('k8s.late-1')
    }
    assert.deepEqual(await c.tick(), { ...NOTHING, candidates: 1 })
    assert.deepEqual(renewed, [address])
    assert.deepEqual(await allocated(), [address])
  })

  it('and one whose ADD comes after the release is given another allocation', async () => {
    const { client, ipam, give, collector, pass, allocated } = await setUp()
    await give('late')
    const c = collector('n1')
    await c.tick()
    pass(20)
    await c.tick()
    await client.create(pod('late'))
    assert.deepEqual(await ipam.renew('k8s.late-1'), [])
    const address = await give('late')
    assert.deepEqual(await allocated(), [address])
  })

  it('what was released and given again between question and release stays', async () => {
    const { client, ipam, give, collector, pass, allocated, between } = await setUp()
    await give('late')
    const c = collector('n1')
    await c.tick()
    pass(20)
    let again: string | undefined
    between.release = async () => {
      await ipam.releaseByHandle('k8s.late-1')
      await client.create(pod('late'))
      again = await give('late')
    }
    assert.equal((await c.tick()).reclaimed, 0)
    assert.deepEqual(await allocated(), [again])
  })

  it('of a node that is gone at the second look, by the first living node only, with its blocks', async () => {
    const { client, give, tell, collector, allocated, ipam } = await setUp()
    await give('far', 'n0')
    await client.create(node('n0'))
    await tell()
    const [one, two] = [collector('n1'), collector('n2')]
    await client.delete(resourceKey('Node', undefined, 'n0'))
    await tell()
    await one.tick()
    assert.equal((await allocated()).length, 1)
    assert.equal((await two.tick()).reclaimed + (await two.tick()).reclaimed, 0)
    assert.equal((await one.tick()).reclaimed, 1)
    await one.tick()
    const { blocks, nodes } = await one.tick()
    assert.ok(blocks + nodes > 0)
    assert.deepEqual(await ipam.blocks(), [])
  })

  it('a node that is back when it is asked for keeps what it had', async () => {
    const { client, give, tell, collector, allocated, pass } = await setUp()
    await give('far', 'n0')
    await tell()
    const c = collector('n1')
    await c.tick()
    await client.create(node('n0'))
    assert.equal((await c.tick()).reclaimed, 0)
    assert.equal((await allocated()).length, 1)
    await tell()
    pass(60)
    await c.tick()
    assert.equal((await allocated()).length, 1, 'its own collector looks after it')
  })

  it('does nothing while out of sync, one look at a time, and nothing after stop', async () => {
    const { give, collector, pass, setInSync, allocated } = await setUp()
    await give('gone')
    const c = collector('n1')
    setInSync(false)
    assert.deepEqual(await c.tick(), NOTHING)
    setInSync(true)
    await c.tick()
    pass(20)
    const [first, second] = [c.tick(), c.tick()]
    assert.equal(first, second)
    c.stop()
    assert.equal((await first).reclaimed, 0)
    assert.equal((await allocated()).length, 1)
  })

  it('a resource that cannot be read, or a failing store, takes nothing and is tried again', async () => {
    const { give, collector, pass, allocated, between, store } = await setUp()
    await give('gone')
    const c = collector('n1')
    await c.tick()
    pass(20)
    between.ask = () => Promise.reject(new Error('the datastore does not answer'))
    assert.deepEqual(await c.tick(), { ...NOTHING, candidates: 1 })
    const podKey = storeKey(resourceKey('Pod', 'shop', 'gone'))
    await store.put(podKey, '{"this is":"no pod"}')
    assert.deepEqual(await c.tick(), { ...NOTHING, candidates: 1 })
    assert.equal((await allocated()).length, 1)
    await store.delete(podKey)
    assert.equal((await c.tick()).reclaimed, 1)
  })
})
