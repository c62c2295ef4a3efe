// The agent and its CNI plugin with a real API server as their datastore: pods get addresses, policies of kubectl are
// enforced on packets, and a server that goes away takes nothing with it.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentSocket, readText } from '../../src/apps/lab/cluster.ts'
import { ROOT } from '../../src/apps/lab/commands.ts'
import { type Part, startPart } from '../../src/apps/lab/part.ts'
import { installPlugin, type LabPod, Pods, type WiredPod } from '../../src/apps/lab/pods.ts'
import { familyOf } from '../../src/core/net/addr.ts'
import { audit } from '../../src/io/ipam/audit.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import { type ApiObject, applyObjects, objectPath } from '../../src/io/kubernetes/apply.ts'
import { openKubernetes } from '../../src/io/store/open-kubernetes.ts'
import { type Cluster, openCluster } from './cluster.ts'

const NODE = 'control-plane'
const AGENT = join(ROOT, 'src/apps/agent/main.ts')

let cluster: Cluster
let agent: Part
let pods: Pods
const wired: WiredPod[] = []

const object = (kind: string, name: string, rest: object, namespace?: string): ApiObject =>
  ({
    apiVersion: ['Node', 'Pod', 'ServiceAccount'].includes(kind) ? 'v1' : 'projectcalico.org/v3',
    kind,
    metadata: { name, ...(namespace ? { namespace } : {}) },
    ...rest,
  }) as ApiObject

type Status = { readonly ready: boolean; readonly datastore: { readonly connected: boolean; readonly inSync: boolean } }
const status = async (): Promise<Status | undefined> =>
  readText(agentSocket(cluster.folder.path, NODE), '/status').then(
    text => JSON.parse(text),
    () => undefined,
  )

async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    if (performance.now() > deadline) {
      assert.fail(
        `${JSON.stringify(seen)}\n${readFileSync(join(cluster.folder.path, 'log/agent.json'), 'utf8').slice(-3000)}`,
      )
    }
    await sleep(50)
  }
}

function startAgent(): Part {
  // Inside of the namespace the server is at its own port.
  const config = JSON.parse(readFileSync(cluster.plane.kubeconfig, 'utf8'))
  config.clusters[0].cluster.server = 'https://127.0.0.1:6443'
  const file = join(cluster.folder.path, 'kubeconfig.inside')
  writeFileSync(file, JSON.stringify(config))
  return startPart(cluster.folder, {
    name: 'agent',
    namespace: cluster.plane.namespace,
    env: { KUBECONFIG: file },
    command: [
      ...[process.execPath, AGENT, '--node', NODE, '--run', cluster.folder.path, '--datastore', 'kubernetes'],
      ...['--no-bird', '--no-cni-socket', '--log', join(cluster.folder.path, 'log/agent.json')],
    ],
  })
}

before(async () => {
  cluster = await openCluster()
  await applyObjects(cluster.client, [
    object('Node', NODE, {}),
    object('ServiceAccount', 'default', {}, 'prod'),
    object('IPPool', 'four', { spec: { cidr: '10.244.0.0/16' } }),
    object('IPPool', 'six', { spec: { cidr: 'fd00:10::/112' } }),
  ])
  agent = startAgent()
  const client = join(ROOT, 'build/cni/gingham')
  const socket = agentSocket(cluster.folder.path, NODE)
  const plugin = installPlugin(cluster.folder, { name: NODE, agentSocket: socket, client })
  const prefix = cluster.plane.namespace.replace(/-control-plane$/, '')
  pods = new Pods(cluster.folder, { prefix, plugins: new Map([[NODE, plugin]]) })
  await until(status, seen => seen?.datastore.inSync === true && seen.datastore.connected)
})
after(() => cluster?.close())

const labPod = (name: string): LabPod => ({ node: NODE, namespace: 'prod', name })

async function createPod(name: string): Promise<WiredPod> {
  const spec = { nodeName: NODE, containers: [{ name: 'c', image: 'i' }] }
  const pod = object('Pod', name, { spec }, 'prod')
  await applyObjects(cluster.client, [{ ...pod, metadata: { ...pod.metadata, labels: { app: name } } } as ApiObject])
  return pods.create(labPod(name))
}

/** No answer within this is a dropped packet. */
const PATIENCE_MS = 700

async function ping(from: WiredPod, to: WiredPod, family: 4 | 6): Promise<boolean> {
  const address = to.addresses.find(a => familyOf(a) === family)!
  using host = new ProbeHost(namedNetns(from.netns))
  return (await host.ping(address, PATIENCE_MS)) === 'open'
}

test('the plugin gives pods addresses of both families, written as Calico writes them', async () => {
  for (const name of ['a', 'b']) wired.push(await createPod(name))
  const [a] = wired
  assert.equal(a!.addresses.length, 2)
  const stored = JSON.parse(await cluster.client.request('GET', objectPath(object('Pod', 'a', {}, 'prod'))))
  assert.equal(stored.metadata.annotations['cni.projectcalico.org/podIP'], `${a!.addresses[0]}/32`)
  const blocks = JSON.parse(await cluster.client.request('GET', '/apis/projectcalico.org/v3/ipamblocks')).items
  assert.deepEqual(
    blocks.map((block: { spec: { affinity: string } }) => block.spec.affinity),
    [`host:${NODE}`, `host:${NODE}`],
  )
  const store = await openKubernetes({ kubeconfig: cluster.plane.kubeconfig })
  const { broken, unfinished, allocated } = await audit(store)
  assert.deepEqual([broken, unfinished], [[], []])
  assert.equal(allocated.size, 4)
  store.close()
})

/** Requests that the API server has served, by verb and resource: of Calico's group, and of pods and namespaces. */
async function served(): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  for (const line of (await cluster.client.request('GET', '/metrics')).split('\n')) {
    const [, labels, count] = /^apiserver_request_total\{(.*)\} (\S+)$/.exec(line) ?? []
    const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels ?? '')?.[1] ?? ''
    const ours = label('group') === 'projectcalico.org' || ['pods', 'namespaces'].includes(label('resource'))
    if (!ours || label('verb') === 'WATCH') continue
    const key = `${label('verb')} ${label('resource')}`
    counts.set(key, (counts.get(key) ?? 0) + Number(count))
  }
  return counts
}

/** What the API server is asked while the work is done: how often each verb, and each resource that is written. */
async function counted(what: string, work: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await served()
  await work()
  const after = await served()
  const more = [...after].flatMap(([key, count]) => {
    const times = count - (before.get(key) ?? 0)
    return times > 0 ? [[key, times] as const] : []
  })
  console.log(`# one ${what}: ${more.map(entry => entry.join(' ')).join(', ')}`)
  return Object.fromEntries(more)
}

for (const [families, blocks] of [
  ['IPv4', 1],
  ['IPv6', 1],
  ['IPv4 and IPv6', 2],
] as const) {
  test(`once a node has its blocks, ADD and DEL of a pod with ${families} read nothing and write ${blocks + 2} times`, async () => {
    const name = `counted-${families.toLowerCase().replaceAll(' ', '-')}`
    const annotations = { 'cni.projectcalico.org/ipFamilies': JSON.stringify(families.split(' and ')) }
    const pod = object('Pod', name, { spec: { nodeName: NODE, containers: [{ name: 'c', image: 'i' }] } }, 'prod')
    await applyObjects(cluster.client, [{ ...pod, metadata: { ...pod.metadata, annotations } } as ApiObject])
    const { uid } = JSON.parse(await cluster.client.request('GET', objectPath(pod))).metadata
    // The agent hears of a pod before its kubelet starts it.
    await sleep(500)
    const told = { ...labPod(name), uid }
    assert.deepEqual(await counted(`ADD, ${families}`, () => pods.create(told)), {
      'POST ipamhandles': 1,
      'PUT ipamblocks': blocks,
      'PATCH pods': 1,
    })
    await sleep(500)
    assert.deepEqual(await counted(`DEL, ${families}`, () => pods.remove(told)), {
      'PATCH pods': 1,
      'PUT ipamblocks': blocks,
      'DELETE ipamhandles': 1,
    })
  })
}

test('a pod whose uid the agent does not know yet is read from the API server', async () => {
  const spec = { nodeName: NODE, containers: [{ name: 'c', image: 'i' }] }
  await applyObjects(cluster.client, [object('Pod', 'asked', { spec }, 'prod')])
  const told = { ...labPod('asked'), uid: 'another' }
  assert.equal((await counted('ADD of an unknown uid', () => pods.create(told)))['GET pods'], 1)
  await pods.remove(told)
})

test('a policy that kubectl applies is enforced, and no longer when it is gone', async () => {
  const [a, b] = wired as [WiredPod, WiredPod]
  for (const family of [4, 6] as const) assert.ok(await ping(a, b, family), `IPv${family} before`)
  const policy = object('NetworkPolicy', 'deny-b', { spec: { selector: "app == 'b'", types: ['Ingress'] } }, 'prod')
  await applyObjects(cluster.client, [policy])
  for (const family of [4, 6] as const)
    await until(
      () => ping(a, b, family),
      passes => !passes,
    )
  await cluster.client.request('DELETE', objectPath(policy))
  for (const family of [4, 6] as const)
    await until(
      () => ping(a, b, family),
      passes => passes,
    )
})

test('while the API server is away policy stays; what changes after it is back is enforced', async () => {
  const [a, b] = wired as [WiredPod, WiredPod]
  const policy = object('NetworkPolicy', 'deny-b', { spec: { selector: "app == 'b'", types: ['Ingress'] } }, 'prod')
  await applyObjects(cluster.client, [policy])
  await until(
    () => ping(a, b, 4),
    passes => !passes,
  )
  await cluster.plane.kill()
  await until(status, seen => seen?.datastore.connected === false)
  assert.equal(await ping(a, b, 4), false)
  await cluster.plane.revive()
  await cluster.client.request('DELETE', objectPath(policy))
  await until(
    () => ping(a, b, 4),
    passes => passes,
  )
  await until(status, seen => seen?.datastore.connected === true)
})

test('an agent that starts again adopts what is there, and DEL gives everything back', async () => {
  await agent.stop()
  agent = startAgent()
  await until(status, seen => seen?.ready === true)
  const [a, b] = wired as [WiredPod, WiredPod]
  assert.ok(await ping(a, b, 4))
  for (const name of ['a', 'b']) await pods.remove(labPod(name))
  const store = await openKubernetes({ kubeconfig: cluster.plane.kubeconfig })
  const { broken, unfinished, allocated } = await audit(store)
  assert.deepEqual([broken, unfinished, allocated.size], [[], [], 0])
  store.close()
  const stored = JSON.parse(await cluster.client.request('GET', objectPath(object('Pod', 'a', {}, 'prod'))))
  assert.equal(stored.metadata.annotations['cni.projectcalico.org/podIP'], '')
})
