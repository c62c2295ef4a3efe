// The agent dies in the middle of a CNI request, at every single effect of ADD and of DEL: a write to the datastore, a request
// to the kernel, a setting, the deletion of a link, the wait for policy. Nothing of the dead one has any effect afterwards.
// A new agent over the same datastore and the same namespaces is then asked what a runtime asks: the same again, or DEL, once
// and twice. The last test kills the real agent of a lab under the real client.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { CniService } from '../../src/apps/agent/cni.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { names } from '../../src/apps/lab/plan.ts'
import { NETWORK } from '../../src/apps/lab/pods.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { CANARY_INTERFACE } from '../../src/core/base/register.ts'
import { hostPrefix } from '../../src/core/net/prefix.ts'
import { readHandleAddresses } from '../../src/io/cni/handles.ts'
import { audit } from '../../src/io/ipam/audit.ts'
import { openIpam } from '../../src/io/ipam/ipam.ts'
import { NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import type { Store } from '../../src/io/store/store.ts'
import { freshNetns, runIn } from '../kernel/netns.ts'
import { type CallOptions, Cluster, hostEnd, type Netns, reaches, resource } from './cni-node.ts'

/** Counts effects and lets those before the fatal one happen; from that one on the process has no effect on anything. */
class Life {
  readonly steps: string[] = []
  readonly #fatal: number
  dead = false
  armed = false

  constructor(fatal: number) {
    this.#fatal = fatal
  }

  effect(what: string): void {
    this.look()
    if (this.steps.length === this.#fatal) this.dead = true
    this.look()
    this.steps.push(what)
  }

  /** The dead do not read either. */
  look(): void {
    if (this.dead) throw new Error('killed')
  }
}

function mortal(store: Store, life: Life): Store {
  return {
    ...store,
    get: async key => {
      life.look()
      return store.get(key)
    },
    list: async prefix => {
      life.look()
      return store.list(prefix)
    },
    put: async (key, value, condition) => {
      life.effect(`put ${key}`)
      return store.put(key, value, condition)
    },
    delete: async (key, condition) => {
      life.effect(`delete ${key}`)
      return store.delete(key, condition)
    },
  }
}

type AsideJob = { readonly names?: readonly string[]; readonly addresses?: readonly string[]; readonly netns: string }

/** Puts the kernel's doors of this process under a life's control for the length of `work`. */
async function live<T>(life: Life, work: () => Promise<T>): Promise<T> {
  const { request, get, dump } = NetlinkSocket.prototype
  const { writeFileSync } = fs
  const { postMessage } = Worker.prototype
  NetlinkSocket.prototype.request = function (what) {
    life.effect(`kernel: ${what.op} ${what.object ?? ''}`)
    request.call(this, what)
  }
  NetlinkSocket.prototype.get = function <T>(...args: Parameters<typeof get<T>>) {
    life.look()
    return get.call(this, ...args) as T | undefined
  }
  NetlinkSocket.prototype.dump = function <T>(...args: Parameters<typeof dump<T>>) {
    life.look()
    return dump.call(this, ...args) as T[]
  }
  fs.writeFileSync = ((...args: Parameters<typeof writeFileSync>) => {
    if (String(args[0]).startsWith('/proc/sys/')) life.effect(`setting ${String(args[0]).slice(10)}`)
    writeFileSync(...args)
  }) as typeof writeFileSync
  // The threads that delete links and forget connections are told of a namespace that is not there.
  Worker.prototype.postMessage = function (this: Worker, call: { job: AsideJob }, ...more) {
    const { names, addresses } = call.job
    let sent = call
    try {
      life.effect(`kernel: ${names === undefined ? `forget connections of ${addresses}` : `delete link ${names}`}`)
    } catch {
      sent = { ...call, job: { ...call.job, netns: '/run/netns/of-the-dead' } }
    }
    postMessage.call(this, sent, ...more)
  } as typeof postMessage
  syncBuiltinESMExports()
  try {
    return await work()
  } finally {
    Object.assign(NetlinkSocket.prototype, { request, get, dump })
    fs.writeFileSync = writeFileSync
    Worker.prototype.postMessage = postMessage
    syncBuiltinESMExports()
  }
}

/** One request to an agent that dies at its effect number `fatal`; gives what it did. */
async function callMortal(cluster: Cluster, command: string, { fatal, ...options }: CallOptions & { fatal: number }) {
  const life = new Life(fatal)
  const store = mortal(cluster.store, life)
  cluster.service = new CniService({
    ...cluster.deps,
    resources: new ResourceClient(store),
    ipam: openIpam(store, { now: () => new Date() }),
    waitProgrammed: async () => life.effect('wait for policy'),
  })
  const answer = await live(life, () => cluster.call(command, options))
  assert.equal(answer.ok, !life.dead, answer.body)
  renew(cluster)
  return life
}

/** A new agent: nothing is left of what the old one had in its memory. */
function renew(cluster: Cluster): void {
  const ipam = openIpam(cluster.store, { now: () => new Date() })
  cluster.deps = { ...cluster.deps, resources: new ResourceClient(cluster.store), ipam }
  cluster.service = new CniService(cluster.deps)
}

const POD_IPS = 'cni.projectcalico.org/podIPs'
type World = {
  readonly cluster: Cluster
  readonly netns: Netns
  readonly call: CallOptions & { readonly pod: string; readonly container: string }
  /** Another pod of the node, for packets; made when it is first needed unless the story begins with it. */
  neighbour: Netns | undefined
}

async function neighbourOf(t: TestContext, world: World): Promise<Netns> {
  if (world.neighbour) return world.neighbour
  world.neighbour = freshNetns(t)
  await world.cluster.pod('peer')
  await world.cluster.added({ pod: 'peer', netns: world.neighbour.path, container: 'peer' })
  return world.neighbour
}

const json = (netns: string, ...args: string[]) => JSON.parse(runIn(netns, 'ip', '-j', ...args) || '[]')

/** The pod works, and has exactly one address of each family wherever one looks. */
async function assertWorks(t: TestContext, world: World): Promise<void> {
  const { cluster, netns, call } = world
  const held = await cluster.held(call.container)
  assert.deepEqual(
    held.map(a => a.includes(':')),
    [false, true],
  )
  const inside: { local: string; scope: string }[] = json(netns.name, 'addr', 'show', 'eth0')[0].addr_info
  assert.deepEqual(
    inside.filter(a => a.scope === 'global').map(a => a.local),
    held,
  )
  const routes = ['-4', '-6'].flatMap(f => json(cluster.node.name, f, 'route', 'show', 'dev', hostEnd(call.pod)))
  assert.deepEqual(
    routes.map((r: { dst: string }) => r.dst).filter((dst: string) => !dst.startsWith('fe80')),
    held,
  )
  assert.equal((await cluster.annotations(call.pod))[POD_IPS], held.map(hostPrefix).join())
  const neighbour = await neighbourOf(t, world)
  for (const [i, address] of held.entries()) {
    assert.ok(await reaches(neighbour, netns, address), `the pod cannot be reached at ${address}`)
    assert.ok(await reaches(netns, neighbour, (await cluster.held('peer'))[i]!), 'the pod reaches nobody')
  }
  assert.deepEqual((await audit(cluster.store)).broken, [])
}

/** Nothing of the pod is left: in the kernel, in IPAM, in its annotations. */
async function assertGone({ cluster, netns, call, neighbour }: World): Promise<void> {
  const links = neighbour ? ['lo', hostEnd('peer')] : ['lo']
  assert.deepEqual(
    cluster.links().map(name => name.replace(/@.*/, '')),
    links,
  )
  assert.deepEqual(
    json(netns.name, 'link').map((l: { ifname: string }) => l.ifname),
    ['lo'],
  )
  assert.deepEqual(await cluster.held(call.container), [])
  const peer = await cluster.held('peer')
  const { broken, allocated } = await audit(cluster.store)
  assert.deepEqual([broken, [...allocated.keys()].sort()], [[], [...peer].sort()])
  const handles = (await cluster.store.list('/calico/ipam/v2/handle/')).entries
  assert.equal(handles.length, neighbour ? 1 : 0, handles.map(h => h.key).join())
  const routes = ['-4', '-6'].flatMap(f => json(cluster.node.name, f, 'route', 'show', 'table', 'main'))
  assert.deepEqual(
    routes.filter((r: { dev: string }) => r.dev === hostEnd(call.pod)),
    [],
  )
  const annotations = await cluster.annotations(call.pod)
  assert.ok(!annotations[POD_IPS] && !annotations['cni.projectcalico.org/podIP'], JSON.stringify(annotations))
}

/** What an interrupted step left is mended by the next pod of the node that comes and goes. */
async function assertMended(t: TestContext, world: World): Promise<void> {
  await neighbourOf(t, world)
  assert.deepEqual((await audit(world.cluster.store)).unfinished, [])
}

/** How the world is before the request: the first pod of a node, or a new container in the place of an older one. */
const BEFORE: Readonly<Record<string, (t: TestContext, world: World) => Promise<void>>> = {
  'the first pod of the node': async () => {},
  'a container in the place of an older one of its pod': async (t, world) => {
    await neighbourOf(t, world)
    const old = freshNetns(t)
    await world.cluster.added({ pod: 'a', netns: old.path, container: 'old' })
  },
}

async function makeWorld(t: TestContext, before: string): Promise<World> {
  const cluster = await Cluster.make(t)
  const netns = freshNetns(t)
  const world: World = {
    cluster,
    netns,
    call: { pod: 'a', netns: netns.path, container: 'c1' },
    neighbour: undefined,
  }
  await cluster.pod('a')
  await BEFORE[before]!(t, world)
  return world
}

/** DEL as a runtime sends it; the older container's comes later. */
async function del(world: World, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const answer = await world.cluster.call('DEL', world.call)
    assert.ok(answer.ok, answer.body)
  }
  const old = await world.cluster.call('DEL', { ...world.call, container: 'old' })
  assert.ok(old.ok, old.body)
}

/** What the runtime does after the death, and what must hold then. */
const AFTERWARDS: Readonly<Record<string, (t: TestContext, world: World) => Promise<void>>> = {
  'the same ADD, and DEL': async (t, world) => {
    const first = await world.cluster.added(world.call)
    await assertWorks(t, world)
    assert.deepEqual(await world.cluster.added(world.call), first)
    await del(world, 1)
    await assertGone(world)
  },
  'one DEL': async (_, world) => {
    await del(world, 1)
    await assertGone(world)
  },
  'two DELs, and ADD': async (t, world) => {
    await del(world, 2)
    await assertGone(world)
    await world.cluster.added(world.call)
    await assertWorks(t, world)
    await del(world, 1)
  },
}

/** The node follows its pods' connections, and there are some of the pod. */
async function haveConnections(t: TestContext, world: World): Promise<void> {
  const { cluster, netns, call } = world
  const rules = 'add table t; add chain t c { type filter hook forward priority 0; }; add rule t c ct state new counter'
  runIn(cluster.node.name, 'nft', rules.replace('table t', 'table inet t').replaceAll(' t c', ' inet t c'))
  const neighbour = await neighbourOf(t, world)
  for (const address of await cluster.held(call.container)) assert.ok(await reaches(neighbour, netns, address))
}

const ENDLESS = Number.POSITIVE_INFINITY

describe('an agent killed at each step', () => {
  for (const before of Object.keys(BEFORE)) {
    it(`of ADD: ${before}`, async t => {
      let steps: readonly string[] = []
      await t.test('the steps', async t => {
        const world = await makeWorld(t, before)
        steps = (await callMortal(world.cluster, 'ADD', { ...world.call, fatal: ENDLESS })).steps
        await assertWorks(t, world)
      })
      t.diagnostic(`ADD, ${before}: ${steps.length} steps`)
      assert.ok(steps.length > 30 && steps.at(-1) === 'wait for policy', steps.join('\n'))
      for (const [fatal, step] of steps.entries()) {
        for (const [afterwards, go] of Object.entries(AFTERWARDS)) {
          await t.test(`${fatal}: ${step}; ${afterwards}`, async t => {
            const world = await makeWorld(t, before)
            const { dead } = await callMortal(world.cluster, 'ADD', { ...world.call, fatal })
            assert.ok(dead)
            await go(t, world)
            await assertMended(t, world)
          })
        }
        await t.test(`${fatal}: ${step}; killed again in the next ADD, and in DEL`, async t => {
          const world = await makeWorld(t, before)
          await callMortal(world.cluster, 'ADD', { ...world.call, fatal })
          await callMortal(world.cluster, 'ADD', { ...world.call, fatal: (fatal * 7) % steps.length })
          for (const again of [fatal % 5, 0]) await callMortal(world.cluster, 'DEL', { ...world.call, fatal: again })
          await del(world, 1)
          await assertGone(world)
          await assertMended(t, world)
        })
      }
    })
  }

  it('of ADD for a container that is no pod: one DEL leaves nothing', async t => {
    const begin = async (t: TestContext) => {
      const cluster = await Cluster.make(t)
      return { cluster, netns: freshNetns(t), call: { container: 'c1', args: '' } }
    }
    let steps: readonly string[] = []
    await t.test('the steps', async t => {
      const { cluster, netns, call } = await begin(t)
      steps = (await callMortal(cluster, 'ADD', { ...call, netns: netns.path, fatal: ENDLESS })).steps
    })
    t.diagnostic(`ADD for a container: ${steps.length} steps`)
    for (const [fatal, step] of steps.entries()) {
      await t.test(`${fatal}: ${step}`, async t => {
        const { cluster, netns, call } = await begin(t)
        assert.ok((await callMortal(cluster, 'ADD', { ...call, netns: netns.path, fatal })).dead)
        const answer = await cluster.call('DEL', call)
        assert.ok(answer.ok, answer.body)
        assert.deepEqual(cluster.links(), ['lo'])
        assert.deepEqual(await cluster.held('c1'), [])
        assert.deepEqual((await cluster.resources.list('WorkloadEndpoint')).items, [])
        const { broken, allocated } = await audit(cluster.store)
        assert.deepEqual([broken, [...allocated.keys()]], [[], []])
      })
    }
  })

  it('of DEL', async t => {
    let steps: readonly string[] = []
    const begin = async (t: TestContext): Promise<World> => {
      const world = await makeWorld(t, 'the first pod of the node')
      await world.cluster.added(world.call)
      await haveConnections(t, world)
      return world
    }
    await t.test('the steps', async t => {
      const world = await begin(t)
      steps = (await callMortal(world.cluster, 'DEL', { ...world.call, fatal: ENDLESS })).steps
      await assertGone(world)
    })
    t.diagnostic(`DEL: ${steps.length} steps`)
    for (const sort of ['kernel: delete link', 'kernel: forget connections', 'put /registry/pods/', 'put /calico/ipam'])
      assert.ok(
        steps.some(step => step.startsWith(sort)),
        `${sort} in\n${steps.join('\n')}`,
      )
    for (const [fatal, step] of steps.entries()) {
      for (const [afterwards, go] of Object.entries(AFTERWARDS)) {
        await t.test(`${fatal}: ${step}; ${afterwards}`, async t => {
          const world = await begin(t)
          assert.ok((await callMortal(world.cluster, 'DEL', { ...world.call, fatal })).dead)
          await go(t, world)
          await assertMended(t, world)
        })
      }
    }
  })
})

/** Kills come at one of the datastore's events of the ADD, or some time after the client has started. */
type Moment = { readonly event: number } | { readonly ms: number }
const MOMENTS: readonly Moment[] = [
  ...Array.from({ length: 10 }, (_, i) => ({ event: i + 1 })),
  ...Array.from({ length: 10 }, (_, i) => ({ ms: 4 * i })),
]

it('the real agent, killed under the real client in the middle of ADD', async t => {
  const prefix = `gk${process.pid}`
  const folder = await RunFolder.claim(`/run/gingham-kills-${process.pid}`, prefix)
  const lab = new Lab(folder, prefix, new Steps(text => process.stdout.write(`# ${text}`), plain))
  t.after(async () => {
    await lab.stop()
    await folder.cleanUp()
  })
  await lab.build()
  const { store, pods } = lab
  const resources = new ResourceClient(store)
  const node = 'node-a'
  const linksBefore = linksOf(names(prefix).node(node))
  const { allocated: before } = await audit(store)
  const heldBy = async (namespace: string, name: string) => {
    const blocks = await openIpam(store, { now: () => new Date() }).blocks()
    const own = blocks.flatMap(b => b.attributes).filter(a => a.secondary.get('pod') === name)
    const handles = new Set(own.filter(a => a.secondary.get('namespace') === namespace).map(a => a.handleId!))
    for (const handle of handles) assert.ok(handle.startsWith(`${NETWORK.name}.`))
    return (await Promise.all([...handles].map(handle => readHandleAddresses(store, handle)))).flat()
  }
  let cutShort = 0
  for (const [i, moment] of MOMENTS.entries()) {
    const pod = { namespace: 'default', name: `killed-${i}`, node }
    const metadata = { name: pod.name, namespace: pod.namespace }
    await resources.create(resource({ kind: 'Pod', apiVersion: 'v1', metadata, spec: { nodeName: node } }))
    await lab.settled()
    const netns = pods.prepare(pod)
    const { revision } = await store.list('/none')
    let events = 0
    const happened = Promise.withResolvers<void>()
    const watch = store.watch('', revision, {
      events: all => {
        events += all.length
        if ('event' in moment && events >= moment.event) happened.resolve()
      },
      closed: () => {},
    })
    const call = pods.call('ADD', pod).then(
      () => true,
      (error: Error) => error,
    )
    await Promise.race(['event' in moment ? happened.promise : sleep(moment.ms), call])
    await lab.killAgent(node)
    watch.close()
    const outcome = await call
    if (outcome !== true) cutShort++
    // As a runtime does that hears of a failure: half of them DEL at once, with nobody there to do it.
    if (i % 2 === 1) for (let n = 0; n <= i % 4; n += 2) await pods.call('DEL', pod)
    await lab.startAgent(node)
    if (outcome !== true && i % 2 === 1) {
      await until(async () => (await heldBy(pod.namespace, pod.name)).length === 0)
      assert.deepEqual(linksOf(names(prefix).node(node)), linksBefore, JSON.stringify(moment))
    }
    const result = (await pods.call('ADD', pod)) as { ips: { address: string }[] }
    const told = result.ips.map(ip => ip.address.replace(/\/.*/, ''))
    assert.deepEqual(
      told.map(a => a.includes(':')),
      [false, true],
    )
    assert.deepEqual(await heldBy(pod.namespace, pod.name), told)
    const other = lab.wired.find(p => p.node === node)!
    const [from, to] = [other.netns, netns].map(name => ({ name, path: `/run/netns/${name}` }))
    for (const address of told) assert.ok(await reaches(from!, to!, address), `${JSON.stringify(moment)}: ${address}`)
    await pods.remove(pod)
    assert.deepEqual(linksOf(names(prefix).node(node)), linksBefore)
    const annotations = (await resources.get('Pod', metadata)).metadata.annotations ?? {}
    assert.equal(annotations[POD_IPS] ?? '', '')
  }
  t.diagnostic(`${MOMENTS.length} kills, ${cutShort} of them in the middle of the ADD`)
  assert.ok(cutShort >= 3, 'kills came in the middle')
  const { broken, allocated } = await audit(store)
  assert.deepEqual([broken, [...allocated.keys()].sort()], [[], [...before.keys()].sort()])
})

/** Of pods: the agent's canary has its links while it is at work. */
const linksOf = (netns: string): string[] =>
  json(netns, 'link')
    .map((l: { ifname: string }) => l.ifname)
    .filter((name: string) => !Object.values<string>(CANARY_INTERFACE).includes(name))
    .sort()

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < 600, 'it does not come about')
    await sleep(50)
  }
}
