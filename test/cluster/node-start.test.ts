// A node finds its addresses on its own interfaces, in a namespace that plays it, and tells the datastore and the cluster.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { NodeStart, type NodeStartOptions } from '../../src/apps/agent/node-start.ts'
import { addr } from '../../src/core/net/addr.ts'
import { parseNodeSettings } from '../../src/core/node/settings.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { openMemory } from '../../src/io/store/memory.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'

const NAME = `gns${process.pid}`
const folder = mkdtempSync(join(tmpdir(), 'gingham-node-'))
const ip = (...args: string[]) => execFileSync('ip', ['-n', NAME, ...args])

let running: NodeStart[] = []

before(() => {
  execFileSync('ip', ['netns', 'add', NAME])
  ip('link', 'add', 'eth0', 'mtu', '1400', 'type', 'veth', 'peer', 'name', 'other')
  ip('address', 'add', '10.7.0.5/24', 'dev', 'eth0')
  ip('address', 'add', '2001:db8:7::5/64', 'dev', 'eth0', 'nodad')
  for (const name of ['eth0', 'other']) ip('link', 'set', name, 'up')
})
afterEach(() => {
  for (const one of running) one.stop()
  running = []
})
after(() => {
  execFileSync('ip', ['netns', 'delete', NAME])
  rmSync(folder, { recursive: true })
})

function start(env: Record<string, string>, more: Partial<NodeStartOptions> = {}) {
  const settings = parseNodeSettings(env, { method: { kind: 'kubernetes-internal-ip' } })
  assert.ok(settings.ok)
  const resources = more.resources ?? new ResourceClient(openMemory())
  const log = pino({ level: 'silent' })
  const node = new NodeStart({
    ...{ node: 'n1', settings: settings.value, resources, log, folder, netns: namedNetns(NAME) },
    cluster: {
      readInternalIps: async () => [addr('10.7.0.5'), addr('2001:db8:7::5')],
      putNetworkAvailable: async () => true,
    },
    ...more,
  })
  running.push(node)
  node.start()
  return { node, resources }
}

async function eventually<T>(what: string, read: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const value = await read().catch(() => undefined)
    if (value !== undefined) return value
    await delay(20)
  }
  throw new Error(`${what} did not come`)
}
const bgpOf = async (resources: ResourceClient) => (await resources.get('Node', { name: 'n1' })).spec.bgp

describe('a node that starts', () => {
  it('writes the InternalIPs that its interfaces have, with their lengths, and its name', async () => {
    const { resources } = start({ IP6: 'autodetect', AS: '64777' })
    const bgp = await eventually('the address', () => bgpOf(resources))
    assert.deepEqual({ ...bgp }, { asNumber: 64777, ipv4Address: '10.7.0.5/24', ipv6Address: '2001:db8:7::5/64' })
    assert.equal(readFileSync(join(folder, 'nodename'), 'utf8'), 'n1')
  })

  it('keeps what somebody else wrote of the Node, and writes nothing when nothing differs', async () => {
    const first = start({})
    const { resources } = first
    await eventually('the address', () => bgpOf(resources))
    first.node.stop()
    const node = await resources.get('Node', { name: 'n1' })
    await resources.update({
      ...node,
      metadata: { ...node.metadata, labels: { rack: '1' } },
      spec: { ...node.spec, bgp: { ...node.spec.bgp, routeReflectorClusterID: addr('1.2.3.4') } },
    })
    const before = (await resources.get('Node', { name: 'n1' })).metadata.resourceVersion
    start({}, { resources })
    await delay(300)
    assert.equal((await resources.get('Node', { name: 'n1' })).metadata.resourceVersion, before)
    start({ IP: '10.7.0.5/20' }, { resources })
    const changed = await eventually('the new length', async () => {
      const bgp = await bgpOf(resources)
      return bgp?.ipv4Address === '10.7.0.5/20' ? bgp : undefined
    })
    assert.equal(changed.routeReflectorClusterID, '1.2.3.4')
    assert.deepEqual((await resources.get('Node', { name: 'n1' })).metadata.labels, { rack: '1' })
  })

  it('writes down what the agent was told by its environment, and takes it back when it is told nothing more', async () => {
    const said = async (): Promise<string> => {
      const { annotations } = (await resources.get('Node', { name: 'n1' })).metadata
      return annotations?.['gingham.io/felix-parameters'] ?? 'nothing'
    }
    const until = (text: string) => eventually(text, async () => ((await said()) === text ? true : undefined))
    const first = start({}, { parameters: '{"logPrefix":"x"}' })
    const { resources } = first
    await until('{"logPrefix":"x"}')
    first.node.stop()
    start({}, { resources })
    await until('nothing')
  })

  it('says what is wrong while no interface has the InternalIP, and goes on once one has it', async () => {
    const wrong = { readInternalIps: async () => [addr('10.7.0.99')], putNetworkAvailable: async () => true }
    const { node, resources } = start({}, { cluster: wrong })
    const problem = await eventually('the problem', async () => node.problems[0])
    assert.match(problem, /IPv4: no address of this node fits InternalIP 10\.7\.0\.99; it has: 10\.7\.0\.5 on eth0/)
    assert.equal(await resources.has('Node//n1' as Parameters<typeof resources.has>[0]), false)
    ip('address', 'add', '10.7.0.99/24', 'dev', 'eth0')
    const bgp = await eventually('the address', () => bgpOf(resources))
    assert.equal(bgp.ipv4Address, '10.7.0.99/24')
    assert.deepEqual(node.problems, [])
    ip('address', 'del', '10.7.0.99/24', 'dev', 'eth0')
  })

  it('makes the pools that it is told, and calculates the size of pods’ packets from its interfaces', async () => {
    const { node, resources } = start({ CALICO_IPV4POOL_CIDR: '10.60.0.0/16', CALICO_IPV4POOL_VXLAN: 'Always' })
    const pool = await eventually('the pool', () => resources.get('IPPool', { name: 'default-ipv4-ippool' }))
    assert.equal(pool.spec.cidr, '10.60.0.0/16')
    node.changed(new Map([['IPPool//default-ipv4-ippool' as Parameters<typeof resources.has>[0], pool]]), [])
    assert.equal(node.mtu, 1350)
    assert.equal(readFileSync(join(folder, 'mtu'), 'utf8'), '1350')
    assert.equal(start({}, { resources }).node.mtu, 1350, 'the next agent has it before it has looked')
  })

  it('tells the cluster once that pods have a network, trying again until it is told', async () => {
    let asked = 0
    const putNetworkAvailable = async (): Promise<boolean> => {
      asked++
      if (asked === 1) throw new Error('not yet')
      return true
    }
    const { node } = start({}, { cluster: { readInternalIps: async () => [], putNetworkAvailable } })
    node.ready()
    node.ready()
    await eventually('the second attempt', async () => (asked === 2 ? true : undefined))
    node.ready()
    await delay(100)
    assert.equal(asked, 2)
  })
})
