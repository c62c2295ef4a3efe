// Addresses from the reference plugin host-local, which the agent asks: the real program, the real kernel.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { addr } from '../../src/core/net/addr.ts'
import { flushAddresses } from '../../src/io/kernel/conntrack.ts'
import { freshNetns, runIn } from '../kernel/netns.ts'
import { addressesIn, Cluster, connects, hostEnd, NETWORK, PLUGINS, resource } from './cni-node.ts'

const NETWORKS = ['10.244.3.0/24', 'fd00:244:3::/64']

type HostLocal = {
  readonly cluster: Cluster
  readonly config: (more?: object) => { readonly ipam: object }
  /** The addresses that it has given and not taken back. */
  readonly given: () => string[]
}

async function hostLocal(t: TestContext, podCIDRs: readonly string[] = NETWORKS): Promise<HostLocal> {
  const cluster = await Cluster.make(t)
  const node = { kind: 'Node', apiVersion: 'projectcalico.org/v3', metadata: { name: 'node-a' }, status: { podCIDRs } }
  await cluster.resources.create(resource(node))
  const dataDir = mkdtempSync(path.join(tmpdir(), 'gingham-host-local-'))
  t.after(() => rmSync(dataDir, { recursive: true }))
  const ranges = [[{ subnet: 'usePodCIDR' }], [{ subnet: 'usePodCidrIPv6' }]]
  return {
    cluster,
    config: (more = {}) => ({ ipam: { type: 'host-local', ranges, dataDir, ...more } }),
    given: () => {
      const files = readdirSync(dataDir).includes(NETWORK) ? readdirSync(path.join(dataDir, NETWORK)) : []
      return files.filter(name => !name.startsWith('last_reserved') && name !== 'lock').sort()
    },
  }
}

describe('CNI plugin with host-local IPAM', () => {
  it('gives addresses of the node’s own networks, the same for a repeated ADD, and takes them back', async t => {
    const { cluster, config, given } = await hostLocal(t)
    const [a, b] = [freshNetns(t), freshNetns(t)]
    await cluster.pod('a')
    await cluster.pod('b')
    const options = { pod: 'a', netns: a.path, container: 'ca', config: config() }
    const first = await cluster.added(options)
    const [four, six] = addressesIn(first)
    assert.deepEqual(
      first.ips.map(ip => [ip.address, ip.gateway]),
      [
        ['10.244.3.2/32', '169.254.1.1'],
        ['fd00:244:3::2/128', 'fe80::ecee:eeff:feee:eeee'],
      ],
    )
    await cluster.added({ ...options, pod: 'b', netns: b.path, container: 'cb' })
    assert.ok(await connects(b, a, four!, 80))
    assert.ok(await connects(b, a, six!, 80))
    assert.equal((await cluster.annotations('a'))['cni.projectcalico.org/podIPs'], `${four}/32,${six}/128`)
    assert.deepEqual(await cluster.held('ca'), [], 'our own IPAM gave nothing')

    assert.deepEqual(await cluster.added(options), first)
    const check = () => cluster.call('CHECK', { ...options, config: { ...config(), prevResult: first } })
    assert.deepEqual(await check(), { ok: true, body: '', json: {} })
    assert.equal(given().length, 4)

    assert.ok(await connects(b, a, four!, 81))
    for (const container of ['ca', 'cb', 'ca']) {
      const pod = container === 'cb' ? 'b' : 'a'
      const gone = await cluster.call('DEL', { pod, container, config: { ...config(), prevResult: first } })
      assert.deepEqual([gone.ok, gone.body], [true, ''])
    }
    assert.deepEqual(given(), [])
    assert.deepEqual(cluster.links(), ['lo'])
    assert.equal(await flushAddresses([addr(four!), addr(six!)], cluster.node.path), 0, 'no connection is remembered')
    assert.match((await check()).json.msg, /host-local: Failed to find address added by container ca/)
  })

  it('gives the routes of the configuration and no others, unless the default ones are asked for', async t => {
    const { cluster, config } = await hostLocal(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    const routes = [{ dst: '10.0.0.0/8', gw: '10.244.3.1' }, { dst: 'fd00::/8' }]
    const options = { pod: 'a', netns: pod.path, config: config({ routes }) }
    const result = await cluster.added(options)
    const inside = () => [runIn(pod.name, 'ip', 'route'), runIn(pod.name, 'ip', '-6', 'route')].join('')
    assert.match(inside(), /^10\.0\.0\.0\/8 via 169\.254\.1\.1 dev eth0/m)
    assert.match(inside(), /^fd00::\/8 via fe80::ecee:eeff:feee:eeee dev eth0/m)
    assert.doesNotMatch(inside(), /^default/m)
    const check = () => cluster.call('CHECK', { ...options, config: { ...options.config, prevResult: result } })
    assert.deepEqual((await check()).body, '')
    runIn(pod.name, 'ip', 'route', 'delete', '10.0.0.0/8')
    assert.match((await check()).json.msg, /the pod has no route to 10\.0\.0\.0\/8 via 169\.254\.1\.1/)

    await cluster.added({ ...options, config: { ...options.config, include_default_routes: true } })
    assert.match(inside(), /^default via 169\.254\.1\.1 dev eth0/m)
    assert.match(inside(), /^10\.0\.0\.0\/8 via/m)
  })

  it('asks for the address of an annotation', async t => {
    const { cluster, config } = await hostLocal(t)
    await cluster.pod('a', { 'cni.projectcalico.org/ipAddrs': '["10.244.3.77"]' })
    const subnet = { ranges: undefined, subnet: 'usePodCIDR' }
    const result = await cluster.added({ pod: 'a', netns: freshNetns(t).path, config: config(subnet) })
    assert.deepEqual(addressesIn(result), ['10.244.3.77'])
  })

  it('is refused for a node without networks, without the program, and for two addresses of a family', async t => {
    const { cluster, config, given } = await hostLocal(t, [])
    await cluster.pod('a')
    const options = { pod: 'a', netns: freshNetns(t).path }
    const refused = async (ipam: { readonly ipam: object }, pluginPath?: string) => {
      const { ok, json } = await cluster.call('ADD', {
        ...options,
        config: ipam,
        ...(pluginPath ? { pluginPath } : {}),
      })
      assert.ok(!ok)
      return `${json.code} ${json.msg}`
    }
    assert.match(await refused(config()), /^7 .*ipam.subnet is usePodCIDR, but the node has no IPv4 network for pods/)
    const plain = { ranges: undefined, subnet: '10.1.0.0/24' }
    assert.match(await refused(config(plain), '/nowhere'), /^11 there is no plugin host-local where the agent looks/)
    const twice = { ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]] }
    assert.match(await refused(config(twice)), /gave 10\.1\.0\.2 and 10\.2\.0\.2: a pod has one address of a family/)
    assert.match(await refused(config({ ranges: undefined, subnet: '10.1.0.0/31' })), /host-local: /)
    assert.deepEqual([given(), cluster.links()], [[], ['lo']])
  })

  it('passes GC and STATUS on', async t => {
    const { cluster, config } = await hostLocal(t)
    const folder = mkdtempSync(path.join(tmpdir(), 'gingham-plugins-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const program =
      '#!/bin/sh\ncat >$0.$CNI_COMMAND\n[ $CNI_COMMAND = GC ] || { echo \'{"code":50,"msg":"full"}\'; exit 1; }\n'
    writeFileSync(path.join(folder, 'host-local'), program, { mode: 0o755 })
    const valid = { 'cni.dev/valid-attachments': [{ containerID: 'c9', ifname: 'eth0' }] }
    const newest = { cniVersion: '1.1.0', ...config() }
    const collected = await cluster.call('GC', { pluginPath: folder, config: { ...newest, ...valid } })
    assert.deepEqual([collected.ok, collected.body], [true, ''])
    const told = JSON.parse(readFileSync(path.join(folder, 'host-local.GC'), 'utf8'))
    assert.deepEqual(told['cni.dev/valid-attachments'], valid['cni.dev/valid-attachments'])
    assert.equal(told.ipam.ranges[1][0].subnet, NETWORKS[1])
    const status = await cluster.call('STATUS', { pluginPath: folder, config: newest })
    assert.deepEqual([status.ok, status.json.code, status.json.msg], [false, 50, 'host-local: full'])
  })

  it('keeps nothing of an ADD that failed, nor of one whose agent died after the addresses were given', async t => {
    const { cluster, config, given } = await hostLocal(t)
    await cluster.pod('a')
    const options = { pod: 'a', netns: freshNetns(t).path, container: 'ca', config: config() }
    cluster.programmed = () => Promise.reject(new Error('too late'))
    assert.ok(!(await cluster.call('ADD', options)).ok)
    assert.deepEqual([given(), cluster.links()], [[], ['lo']])

    const alone = {
      ...config({ ranges: [[{ subnet: NETWORKS[0] }]] }),
      cniVersion: '1.0.0',
      name: NETWORK,
      type: 'calico',
    }
    const variables = {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'ca',
      CNI_IFNAME: 'eth0',
      CNI_NETNS: '/x',
      CNI_PATH: PLUGINS,
    }
    const giveAndDie = () =>
      execFileSync(path.join(PLUGINS, 'host-local'), { env: variables, input: JSON.stringify(alone) })
    giveAndDie()
    assert.deepEqual(given().length, 1)
    assert.deepEqual((await cluster.call('DEL', { ...options, netns: undefined })).body, '')
    assert.deepEqual(given(), [])

    giveAndDie()
    cluster.programmed = async () => {}
    await cluster.added(options)
    assert.deepEqual([given().length, cluster.links()], [2, ['lo', hostEnd('a')]])
  })
})
