// DEL while the agent is away, with the real client: the runtime hears success, and the agent does the work when it is back.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import pino from 'pino'
import { CniSpool, parseSaved } from '../../src/apps/agent/cni-spool.ts'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { serve } from '../../src/apps/agent/server.ts'
import { addr } from '../../src/core/net/addr.ts'
import { flushAddresses } from '../../src/io/kernel/conntrack.ts'
import { freshNetns, runIn } from '../kernel/netns.ts'
import { addressesIn, Cluster, connects, NETWORK } from './cni-node.ts'

let program = ''
before(() => {
  const build = path.join(import.meta.dirname, '../../src/apps/cni/build-client.mjs')
  program = execFileSync(process.execPath, [build], { encoding: 'utf8' }).trim()
})

type Call = { readonly pod: string; readonly container: string; readonly netns?: string }

/** A node whose agent's socket comes and goes. */
async function node(t: TestContext) {
  const cluster = await Cluster.make(t)
  const folder = mkdtempSync(path.join(tmpdir(), 'gingham-spool-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const socket = path.join(folder, 'agent.sock')
  const logged: string[] = []
  const log = pino({ level: 'error' }, { write: line => void logged.push(line) })
  /** Resolves when everything that was remembered was tried. */
  const startAgent = async () => {
    const handle = (headers: Readonly<Record<string, string>>, body: string) => cluster.service.handle(headers, body)
    const spool = new CniSpool({ socket, handle, log })
    const api = {
      status: async () => ({ ready: true }),
      notReady: () => [],
      counters: () => [],
      cni: (headers: Readonly<Record<string, string>>, body: string) => spool.serve(headers, body),
      metrics: new Metrics(),
    }
    const stopServing = await serve(api, { socket, address: undefined, log })
    const stop = async () => {
      spool.stop()
      await stopServing()
    }
    return { spool, stop }
  }
  const call = (command: string, { pod, container, netns }: Call) => {
    const env = {
      GINGHAM_CNI_SOCKET: socket,
      CNI_COMMAND: command,
      CNI_CONTAINERID: container,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod}`,
      ...(netns === undefined ? {} : { CNI_NETNS: netns }),
    }
    const ipam = { type: 'calico-ipam', assign_ipv4: 'true', assign_ipv6: 'true' }
    return new Promise<{ code: unknown; stdout: string }>(resolve => {
      const child = execFile(program, { env }, (error, stdout) => resolve({ code: error?.code ?? 0, stdout }))
      child.stdin!.end(JSON.stringify({ cniVersion: '1.0.0', name: NETWORK, type: 'gingham', ipam }))
    })
  }
  const spooled = () => readdirSync(`${socket}.del`).sort()
  return { cluster, socket, logged, startAgent, call, spooled }
}

const OK = { code: 0, stdout: '' }

describe('CNI DEL while the agent is away', () => {
  it('is done when the agent is back: link, addresses and their connections are gone, once however often it came', async t => {
    const { cluster, startAgent, call, spooled } = await node(t)
    const [a, b] = [freshNetns(t), freshNetns(t)]
    const first = await startAgent()
    await first.spool.start()
    const wired: string[][] = []
    for (const [pod, netns] of [
      ['a', a.path],
      ['b', b.path],
    ] as const) {
      await cluster.pod(pod)
      const added = await call('ADD', { pod, container: `c${pod}`, netns })
      assert.equal(added.code, 0, added.stdout)
      wired.push(addressesIn(JSON.parse(added.stdout)))
    }
    await first.stop()
    // The kernel tracks connections once a rule asks for them.
    runIn(
      cluster.node.name,
      'nft',
      'add table t; add chain t c { type filter hook forward priority 0; }; add rule t c ct state new counter',
    )
    for (const address of wired[1]!) assert.ok(await connects(a, b, address, 80))

    assert.deepEqual(await call('DEL', { pod: 'a', container: 'ca' }), OK)
    assert.deepEqual(await call('DEL', { pod: 'a', container: 'ca' }), OK)
    assert.deepEqual(spooled(), ['ca-eth0.http'])
    assert.equal((await cluster.held('ca')).length, 2, 'nothing is done yet')
    const { spool, stop } = await startAgent()
    t.after(stop)
    await spool.start()
    assert.deepEqual(spooled(), [])
    assert.deepEqual(spool.problems, [])
    assert.deepEqual(await cluster.held('ca'), [])
    assert.equal(cluster.links().length, 2, 'b’s link stays')
    assert.equal(
      await flushAddresses(wired[0]!.map(addr), cluster.node.path),
      0,
      'no connection of a released address is left',
    )
    assert.deepEqual(await call('DEL', { pod: 'a', container: 'ca' }), OK)
  })

  it('comes before an ADD of the same container', async t => {
    const { cluster, startAgent, call, spooled } = await node(t)
    const a = freshNetns(t)
    await cluster.pod('a')
    const first = await startAgent()
    assert.equal((await call('ADD', { pod: 'a', container: 'ca', netns: a.path })).code, 0)
    await first.stop()
    assert.deepEqual(await call('DEL', { pod: 'a', container: 'ca' }), OK)
    const { spool, stop } = await startAgent()
    t.after(stop)
    const [added] = await Promise.all([call('ADD', { pod: 'a', container: 'ca', netns: a.path }), spool.start()])
    assert.equal(added.code, 0, added.stdout)
    await spool.start()
    assert.deepEqual(spooled(), [])
    assert.deepEqual(await cluster.held('ca'), addressesIn(JSON.parse(added.stdout)))
    assert.equal(cluster.links().length, 2)
  })

  it('waits while the datastore is locked, and says so', async t => {
    const { cluster, startAgent, call, spooled } = await node(t)
    const a = freshNetns(t)
    await cluster.pod('a')
    assert.ok((await cluster.call('ADD', { pod: 'a', container: 'ca', netns: a.path })).ok)
    assert.deepEqual(await call('DEL', { pod: 'a', container: 'ca' }), OK)
    const lock = async (datastoreReady: boolean): Promise<void> => {
      const information = await cluster.resources.get('ClusterInformation', { name: 'default' })
      await cluster.resources.replace({ ...information, spec: { ...information.spec, datastoreReady } })
    }
    await lock(false)
    const { spool, stop } = await startAgent()
    t.after(stop)
    await spool.start()
    assert.deepEqual(spooled(), ['ca-eth0.http'])
    assert.match(spool.problems.join(), /^1 CNI DEL from before this agent/)
    await lock(true)
    await spool.start()
    assert.deepEqual([spooled(), spool.problems, await cluster.held('ca')], [[], [], []])
  })

  it('reports garbage, sets it aside, and does the rest', async t => {
    const { cluster, socket, logged, startAgent, call, spooled } = await node(t)
    const a = freshNetns(t)
    await cluster.pod('a')
    assert.ok((await cluster.call('ADD', { pod: 'a', container: 'ca', netns: a.path })).ok)
    assert.deepEqual(await call('DEL', { pod: 'a', container: 'ca' }), OK)
    const put = (name: string, text: string): void => writeFileSync(path.join(`${socket}.del`, name), text)
    const request = (command: string, body: string, length = body.length): string =>
      `POST /cni HTTP/1.1\r\nCni-Command: ${command}\r\nCni-Containerid: x\r\nCni-Ifname: eth0\r\nContent-Length: ${length}\r\n\r\n${body}`
    put('empty-eth0.http', '')
    put('noise-eth0.http', '\0\xff\r\n\r\n')
    put('short-eth0.http', request('DEL', '{}', 3))
    put('add-eth0.http', request('ADD', '{}'))
    put('config-eth0.http', request('DEL', 'no JSON'))
    mkdirSync(path.join(`${socket}.del`, 'folder-eth0.http'))
    put('x.1.new', 'of a client that writes just now')
    const { spool, stop } = await startAgent()
    t.after(stop)
    await spool.start()
    const aside = ['add', 'config', 'empty', 'folder', 'noise', 'short'].map(name => `${name}-eth0.refused`)
    assert.deepEqual(spooled(), [...aside, 'x.1.new'].sort())
    assert.match(spool.problems.join(), /^6 remembered CNI requests were refused/)
    for (const why of [
      /no headers/,
      /no request of the CNI client/,
      /not whole/,
      /ADD is not DEL/,
      /not JSON/,
      /EISDIR/,
    ])
      assert.ok(
        logged.some(line => why.test(line)),
        `${why} in ${logged.join('')}`,
      )
    assert.deepEqual(await cluster.held('ca'), [])
    assert.deepEqual(cluster.links(), ['lo'])
  })

  it('takes any bytes for a remembered request or says why not', () => {
    const some = 'POST /cni HTTP/1.1\r\nCni-Command: DEL\r\nContent-Length: 2\r\n\r\n{}'
    assert.deepEqual(parseSaved(Buffer.from(some)), {
      headers: { 'cni-command': 'DEL', 'content-length': '2' },
      body: '{}',
    })
    for (let length = 0; length < some.length; length++)
      assert.equal(typeof parseSaved(Buffer.from(some.slice(0, length))), 'string')
    fc.assert(fc.property(fc.uint8Array(), bytes => assert.equal(typeof parseSaved(bytes), 'string')))
  })
})
