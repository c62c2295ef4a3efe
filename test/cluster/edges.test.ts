// What stands around policy, with real packets: a pod cannot speak with an address that is not its own, an interface that
// nobody programmed is closed, a pod reaches its node only if that is wanted, and speaks to the world with the node's address.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { ginghamOk } from '../../src/apps/lab/commands.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { NODES, names, OUTSIDE } from '../../src/apps/lab/plan.ts'
import type { WiredPod } from '../../src/apps/lab/pods.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { ipBatch } from '../../src/apps/lab/topology.ts'
import { type Addr, addr, FAMILIES, type Family, familyOf } from '../../src/core/net/addr.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'

const PREFIX = `gx${process.pid}`
const RUN = `/run/gingham-edges-${process.pid}`
/** Long enough for an answer on a busy machine, where one is expected; a denial costs the whole of it. */
const MS = 1500
let lab: Lab

before(async () => {
  lab = new Lab(await RunFolder.claim(RUN, PREFIX), PREFIX, new Steps(() => {}, plain))
  await lab.build()
})
after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
})

const pod = (node: string, n = 0): WiredPod => lab.wired.filter(p => p.node === node)[n]!
const own = (p: WiredPod, family: Family): Addr => p.addresses.find(a => familyOf(a) === family)!
const nodeAddress = (family: Family): Addr => NODES[0]!.address[family]

async function inNamespace<T>(netns: string, work: (host: ProbeHost) => Promise<T>): Promise<T> {
  const host = new ProbeHost(namedNetns(netns))
  try {
    return await work(host)
  } finally {
    host.close()
  }
}

test('a pod speaks with its own addresses only', async () => {
  const [from, to] = [pod('node-a', 0), pod('node-a', 1)]
  ipBatch(from.netns, ['address add 192.168.77.7/32 dev eth0', 'address add fd00:10:244::7777/128 dev eth0 nodad'])
  await inNamespace(from.netns, async host => {
    for (const family of FAMILIES) {
      const borrowed = addr(family === 4 ? '192.168.77.7' : 'fd00:10:244::7777')
      assert.equal(await host.ping(own(to, family), MS, { address: own(from, family) }), 'open', `IPv${family}, own`)
      assert.equal(await host.ping(own(to, family), MS, { address: borrowed }), 'timeout', `IPv${family}, another`)
    }
  })
  ipBatch(from.netns, ['address del 192.168.77.7/32 dev eth0', 'address del fd00:10:244::7777/128 dev eth0'])
})

test('an interface that looks like a pod’s and that nobody programmed is closed', async () => {
  const [node, stranger] = [names(PREFIX).node('node-a'), `${PREFIX}-stranger`]
  lab.folder.recordNamespace(stranger)
  execFileSync('ip', ['netns', 'add', stranger])
  ipBatch(stranger, ['link set lo up'])
  const make = (name: string, gateway: string, address: string): void => {
    ipBatch(node, [
      `link add ${name} type veth peer name ${name}-in netns ${stranger}`,
      `link set ${name} up`,
      `address add ${gateway}/30 dev ${name}`,
    ])
    ipBatch(stranger, [`address add ${address}/30 dev ${name}-in`, `link set ${name}-in up`])
  }
  make('cali-none', '10.99.0.1', '10.99.0.2')
  make('other', '10.99.0.5', '10.99.0.6')
  const target = own(pod('node-a'), 4)
  await inNamespace(stranger, async host => {
    ipBatch(stranger, [`route add ${target} via 10.99.0.1`])
    assert.equal(await host.ping(target, MS, { address: addr('10.99.0.2') }), 'timeout')
    // The same packet over an interface that is none of ours is not held up, so it was the name that closed it.
    ipBatch(stranger, [`route replace ${target} via 10.99.0.5`])
    assert.equal(await host.ping(target, MS, { address: addr('10.99.0.6') }), 'open')
  })
  ipBatch(node, ['link del cali-none', 'link del other'])
})

test('a pod reaches its node when defaultEndpointToHostAction says so, at once and in both families', async () => {
  const from = pod('node-a')
  const configure = async (action: string): Promise<void> => {
    const document = `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: {defaultEndpointToHostAction: ${action}}}`
    const file = `${RUN}/felix.yaml`
    execFileSync('sh', ['-c', 'cat > "$1"', 'sh', file], { input: document })
    await ginghamOk(RUN, 'apply', '-f', file)
    await lab.settled()
  }
  await inNamespace(from.netns, async host => {
    for (const family of FAMILIES)
      assert.equal(await host.ping(nodeAddress(family), MS), 'timeout', 'Drop is the default')
    await configure('Accept')
    for (const family of FAMILIES)
      assert.equal(await host.ping(nodeAddress(family), MS), 'open', `Accept, IPv${family}`)
    await configure('Drop')
    for (const family of FAMILIES)
      assert.equal(await host.ping(nodeAddress(family), MS), 'timeout', `Drop, IPv${family}`)
  })
})

test('a node’s own parameters of Felix go before what is stored, and a start with a bad one is refused', async () => {
  const file = `${RUN}/felix.cfg`
  const restart = async (text: string): Promise<void> => {
    writeFileSync(file, text)
    await lab.killAgent('node-a')
    await lab.startAgent('node-a', ['--felix-config', file])
  }
  const from = pod('node-a')
  await inNamespace(from.netns, async host => {
    await restart('[global]\nDefaultEndpointToHostAction = ACCEPT\n')
    for (const family of FAMILIES) assert.equal(await host.ping(nodeAddress(family), MS), 'open', `IPv${family}`)
    await restart('[global]\nLogPrefix = x\n')
    for (const family of FAMILIES) assert.equal(await host.ping(nodeAddress(family), MS), 'timeout', `IPv${family}`)
  })
  const refused = spawnSync(process.execPath, ['src/apps/agent/main.ts', '--run', `${RUN}/none`], {
    encoding: 'utf8',
    env: { ...process.env, FELIX_DEFAULTENDPOINTTOHOSTACTION: 'perhaps' },
  })
  assert.equal(refused.status, 2)
  assert.match(refused.stderr, /FELIX_DEFAULTENDPOINTTOHOSTACTION.*must be one of Drop, Accept, Return/)
})

test('a policy that denies leaves the connection that is there, and lets no new one begin', async () => {
  const [from, to] = [pod('node-a'), pod('node-c')]
  const node = (netns: string, script: string): ChildProcess =>
    spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const heard = async (child: ChildProcess): Promise<string> => String((await once(child.stdout!, 'data'))[0]).trim()
  const file = `${RUN}/deny.yaml`
  const metadata = { name: 'deny', namespace: to.namespace }
  const spec = { selector: 'all()', types: ['Ingress'], order: 1 }
  writeFileSync(file, JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind: 'NetworkPolicy', metadata, spec }))
  const server = node(
    to.netns,
    `require('node:net').createServer(s => s.pipe(s)).listen(9998, () => console.log('up'))`,
  )
  const children = [server]
  try {
    assert.equal(await heard(server), 'up')
    for (const family of FAMILIES) {
      const connect = `const s = require('node:net').connect(9998, '${own(to, family)}', () => console.log('open')); s.pipe(process.stdout); process.stdin.pipe(s)`
      const client = node(from.netns, connect)
      children.push(client)
      assert.equal(await heard(client), 'open')
      await ginghamOk(RUN, 'apply', '-f', file)
      await lab.settled()
      await inNamespace(from.netns, async host => {
        assert.equal(await host.connectTcp(own(to, family), 9998, MS), 'timeout', `a new one, IPv${family}`)
      })
      client.stdin!.write('still there')
      assert.equal(await heard(client), 'still there', `IPv${family}`)
      await ginghamOk(RUN, 'delete', '-f', file)
      await lab.settled()
    }
  } finally {
    for (const child of children) child.kill()
  }
})

test('to the world a pod speaks with its node’s address, to pods with its own', async () => {
  // Bound to the address asked, so that the answer comes from it.
  const echo = (netns: string, at: Addr) => {
    const kind = familyOf(at) === 4 ? 'udp4' : 'udp6'
    const script = `const s = require('node:dgram').createSocket('${kind}'); s.on('message', (m, r) => s.send(r.address, r.port, r.address)); s.bind(9999, '${at}', () => console.log('up'))`
    return spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  }
  const ask = (netns: string, to: Addr): string => {
    const kind = familyOf(to) === 4 ? 'udp4' : 'udp6'
    const client = `const s = require('node:dgram').createSocket('${kind}'); s.on('message', m => { console.log(String(m)); s.close() }); s.send('?', 9999, '${to}'); setTimeout(() => process.exit(1), 3000).unref()`
    return execFileSync('ip', ['netns', 'exec', netns, process.execPath, '-e', client], { encoding: 'utf8' })
      .trim()
      .replace('::ffff:', '')
  }
  const [from, other] = [pod('node-a'), pod('node-c')]
  const servers = FAMILIES.flatMap(f => [echo(names(PREFIX).router, OUTSIDE[f]), echo(other.netns, own(other, f))])
  try {
    for (const server of servers) await once(server.stdout!, 'data')
    for (const family of FAMILIES) {
      assert.equal(ask(from.netns, OUTSIDE[family]), nodeAddress(family), `IPv${family} to the world`)
      assert.equal(ask(from.netns, own(other, family)), own(from, family), `IPv${family} to a pod of another node`)
    }
  } finally {
    for (const server of servers) server.kill('SIGKILL')
  }
})

const PORT = 9990

test('host endpoints of a running node: in force at once, by name and by an address that comes and goes, proved, and found again after a crash', async () => {
  const [node, peer] = ['node-a', NODES[1]!]
  const nodeNetns = names(PREFIX).node(node)
  const put = async (verb: 'apply' | 'delete', ...documents: string[]): Promise<void> => {
    const file = `${RUN}/hosts.yaml`
    execFileSync('sh', ['-c', 'cat > "$1"', 'sh', file], { input: documents.join('\n---\n') })
    await lab.use(verb, file)
  }
  const host = (name: string, spec: string): string =>
    `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: ${name}, labels: {host: ${name}}}, spec: {node: ${node}, ${spec}}}`
  const everywhere = host('all', 'interfaceName: "*"')
  const byAddress = host('extra', 'expectedIPs: [192.0.2.77]')
  const allow = `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: hosts}, spec: {selector: host == 'extra', ingress: [{action: Allow, protocol: TCP, destination: {ports: [${PORT}]}}]}}`
  const server = new ProbeHost(namedNetns(nodeNetns))
  const client = new ProbeHost(namedNetns(names(PREFIX).node(peer.name)))
  const connect = (family: Family) => client.connectTcp(nodeAddress(family), PORT, MS)
  const both = async (wanted: string, what: string): Promise<void> => {
    for (const family of FAMILIES) assert.equal(await connect(family), wanted, `${what}, IPv${family}`)
  }
  const until = async (wanted: string, what: string): Promise<void> => {
    for (let i = 0; (await connect(4)) !== wanted; i++) {
      assert.ok(i < 50, what)
      await setTimeout(100)
    }
  }
  const proved = async (): Promise<void> => {
    for (let i = 0; !/^gingham_proved 1$/m.test(await lab.metrics(node)); i++) {
      assert.ok(i < 150, (await ginghamOk(RUN, 'status')).stdout)
      await setTimeout(100)
    }
  }
  try {
    server.listenTcp(PORT)
    await both('open', 'without an endpoint')
    await put('apply', everywhere)
    await both('timeout', 'with one and nothing that allows')
    await inNamespace(pod(node).netns, async from => {
      assert.equal(await from.ping(own(pod('node-c'), 4), MS), 'open', 'what a pod sends is none of its business')
    })
    await setTimeout(3000)
    await proved()
    await lab.killAgent(node)
    await both('timeout', 'while no agent runs')
    await lab.startAgent(node)
    await both('timeout', 'with the next agent')

    // Found by an address that the interface does not have yet; then it has.
    await put('apply', byAddress, allow)
    await both('timeout', 'the other has no interface')
    const uplink = execFileSync('ip', ['-n', nodeNetns, '-o', '-4', 'route', 'get', peer.address[4]], {
      encoding: 'utf8',
    })
    const device = /dev (\S+)/.exec(uplink)![1]!
    ipBatch(nodeNetns, [`address add 192.0.2.77/32 dev ${device}`])
    await until('open', 'found by its address')
    await both('open', 'found by its address')
    await setTimeout(3000)
    await proved()
    ipBatch(nodeNetns, [`address del 192.0.2.77/32 dev ${device}`])
    await until('timeout', 'the address is gone')
    await put('delete', everywhere, byAddress, allow)
    await both('open', 'all deleted')
    const why = (await ginghamOk(RUN, 'status')).stdout
    assert.doesNotMatch(why, /not proved|differs/)
  } finally {
    server.close()
    client.close()
  }
})
