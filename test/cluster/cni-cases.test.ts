// The CNI plugin where things go wrong, where pods have wishes, and where many come at once: what is left behind, what is
// said, and who gets which address.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { serve } from '../../src/apps/agent/server.ts'
import { addr } from '../../src/core/net/addr.ts'
import { keyOf } from '../../src/core/resources/resource.ts'
import { readHandleAddresses } from '../../src/io/cni/handles.ts'
import { flushAddresses } from '../../src/io/kernel/conntrack.ts'
import { freshNetns } from '../kernel/netns.ts'
import { addressesIn, Cluster, connects, NETWORK, resource } from './cni-node.ts'

describe('CNI plugin: failures', () => {
  /** Nothing of the ADD may be left. */
  async function clean(cluster: Cluster, pod = 'a'): Promise<void> {
    assert.deepEqual(await cluster.held('c1'), [])
    assert.deepEqual(cluster.links(), ['lo'])
    assert.ok(!(await cluster.annotations(pod))['cni.projectcalico.org/podIP'])
  }

  it('undoes everything when the policy does not come', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    cluster.programmed = () => Promise.reject(new Error('nothing within 30 s'))
    const { ok, json } = await cluster.call('ADD', { pod: 'a', netns: pod.path })
    assert.equal(ok, false)
    assert.match(json.msg, /no policy for pod default\/a: nothing within 30 s/)
    await clean(cluster)
    cluster.programmed = async () => {}
    await cluster.added({ pod: 'a', netns: pod.path })
  })

  it('goes on after policy_setup_timeout_seconds, as Calico does', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    cluster.programmed = () => new Promise(() => {})
    await cluster.added({ pod: 'a', netns: pod.path, config: { policy_setup_timeout_seconds: 1 } })
  })

  it('gives no network while a readiness gate does not answer, and then STATUS says not ready', async t => {
    const cluster = await Cluster.make(t)
    await cluster.pod('a')
    const config = { cniVersion: '1.1.0', readiness_gates: ['http://127.0.0.1:1/readiness'] }
    const { ok, json } = await cluster.call('ADD', { pod: 'a', netns: freshNetns(t).path, config })
    assert.deepEqual([ok, json.code], [false, 11])
    assert.match(json.msg, /the readiness gate http:\/\/127\.0\.0\.1:1\/readiness is not open/)
    assert.equal((await cluster.call('STATUS', { config })).json.code, 50)
    await clean(cluster)
  })

  it('undoes the addresses when the namespace is not there or its interface name is taken', async t => {
    const cluster = await Cluster.make(t)
    await cluster.pod('a')
    const missing = await cluster.call('ADD', { pod: 'a', netns: '/run/netns/none' })
    assert.equal(missing.json.code, 3)
    assert.match(missing.json.msg, /no network namespace \/run\/netns\/none/)
    await clean(cluster)
    const pod = freshNetns(t)
    execFileSync('ip', ['-n', pod.name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other'])
    const taken = await cluster.call('ADD', { pod: 'a', netns: pod.path })
    assert.match(taken.json.msg, /cannot connect pod default\/a: create veth link .*EEXIST/)
    await clean(cluster)
    const own = await cluster.call('ADD', { pod: 'a', netns: cluster.node.path })
    assert.match(own.json.msg, /host's own network namespace/)
    await clean(cluster)
  })

  it('undoes addresses and link when the pod vanishes before its annotations are written', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    const replace = cluster.resources.replace.bind(cluster.resources)
    cluster.resources.replace = async resource => {
      await cluster.resources.delete(keyOf(resource))
      return replace(resource)
    }
    const answer = await cluster.call('ADD', { pod: 'a', netns: pod.path })
    assert.equal(answer.json.code, 11)
    assert.match(answer.json.msg, /pod default\/a was deleted meanwhile/)
    assert.deepEqual(await cluster.held('c1'), [])
    assert.deepEqual(cluster.links(), ['lo'])
  })

  it('gives neither family when one is exhausted', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a', { 'cni.projectcalico.org/ipv6pools': '["none"]' })
    const answer = await cluster.call('ADD', { pod: 'a', netns: pod.path })
    assert.match(
      answer.json.msg,
      /cannot allocate addresses for pod default\/a: the given pool \(none\) does not exist/,
    )
    await clean(cluster)
  })

  it('waits for a pod to be known, placed here, and for the datastore to be unlocked', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    const said = async (name: string) => (await cluster.call('ADD', { pod: name, netns: pod.path })).json
    assert.deepEqual((({ code, msg }) => [code, msg])(await said('x')), [11, 'pod default/x is not in the datastore'])
    await cluster.pod('b', {}, 'node-b')
    assert.match((await said('b')).msg, /is scheduled on node-b, not on node-a/)
    await cluster.pod('a')
    const information = await cluster.resources.get('ClusterInformation', { name: 'default' })
    const lock = { ...information, spec: { ...information.spec, datastoreReady: false } }
    await cluster.resources.replace({ ...lock, metadata: { name: 'default' } })
    assert.match((await said('a')).msg, /currently not ready to process requests/)
    const status = await cluster.call('STATUS', { config: { cniVersion: '1.1.0' } })
    assert.deepEqual([status.ok, status.json.code], [false, 50])
  })
})

describe('CNI plugin: wishes', () => {
  it('gives the addresses and pools that annotations ask for, the pod before its namespace', async t => {
    const cluster = await Cluster.make(t)
    const annotate = (key: string, ...values: string[]) => ({
      [`cni.projectcalico.org/${key}`]: JSON.stringify(values),
    })
    await cluster.resources.create(
      resource({
        kind: 'IPPool',
        apiVersion: 'projectcalico.org/v3',
        metadata: { name: 'special' },
        spec: { cidr: '10.9.0.0/24', nodeSelector: "rack == 'r9'" },
      }),
    )
    await cluster.resources.create(
      resource({
        kind: 'Namespace',
        apiVersion: 'v1',
        metadata: { name: 'default', annotations: annotate('ipv4pools', 'special') },
      }),
    )
    const given = async (name: string, annotations: Record<string, string>) => {
      const pod = freshNetns(t)
      await cluster.pod(name, annotations)
      return addressesIn(await cluster.added({ pod: name, netns: pod.path, container: `c-${name}` }))
    }
    assert.match((await given('a', annotate('ipFamilies', 'IPv4'))).join(), /^10\.9\.0\.\d+$/)
    assert.match((await given('b', annotate('ipv4pools', '192.168.0.0/16'))).join(), /^192\.168\.[\d.]+,fd00:10::/)
    assert.deepEqual(await given('c', annotate('ipAddrs', 'fd00:10::77', '10.9.0.77')), ['fd00:10::77', '10.9.0.77'])
    assert.match((await given('d', annotate('ipFamilies', 'IPv6'))).join(), /^fd00:10::[^,]+$/)
    const pod = freshNetns(t)
    await cluster.pod('e', annotate('ipAddrs', '10.9.0.77'))
    const taken = await cluster.call('ADD', { pod: 'e', netns: pod.path, container: 'c-e' })
    assert.match(taken.json.msg, /10\.9\.0\.77 is already assigned/)
    assert.deepEqual(await cluster.held('c-c'), ['10.9.0.77', 'fd00:10::77'])
  })

  it('takes addresses that the pod names past IPAM, where the network allows that', async t => {
    const cluster = await Cluster.make(t)
    const [a, b] = [freshNetns(t), freshNetns(t)]
    await cluster.pod('a', { 'cni.projectcalico.org/ipAddrsNoIpam': '["172.20.1.7","fd00:20::7"]' })
    await cluster.pod('b')
    const options = { pod: 'a', netns: a.path, container: 'ca' }
    const refused = await cluster.call('ADD', options)
    assert.match(refused.json.msg, /ipAddrsNoIpam is not enabled in the network configuration/)
    const config = { feature_control: { ip_addrs_no_ipam: true } }
    const result = await cluster.added({ ...options, config })
    assert.deepEqual(addressesIn(result), ['172.20.1.7', 'fd00:20::7'])
    assert.deepEqual(await cluster.held('ca'), [])
    await cluster.added({ pod: 'b', netns: b.path, container: 'cb' })
    assert.ok(await connects(b, a, '172.20.1.7', 80))
    assert.deepEqual(await cluster.added({ ...options, config }), result, 'the same again')
    const withResult = { ...options, config: { ...config, prevResult: result } }
    assert.equal((await cluster.call('CHECK', withResult)).body, '')
    assert.ok((await cluster.call('DEL', withResult)).ok)
    assert.equal(await flushAddresses([addr('172.20.1.7')], cluster.node.path), 0, 'no connection is remembered')
    assert.equal(cluster.links().length, 2, 'b’s link stays')
  })

  it('gives no reserved address, except to a pod that asks for just that one', async t => {
    const cluster = await Cluster.make(t)
    const reservedCIDRs = ['192.168.0.0/17', '192.168.128.0/18', 'fd00:10::/113', 'fd00:10::8000']
    const metadata = { name: 'r' }
    await cluster.resources.create(
      resource({ kind: 'IPReservation', apiVersion: 'projectcalico.org/v3', metadata, spec: { reservedCIDRs } }),
    )
    await cluster.pod('a')
    const given = addressesIn(await cluster.added({ pod: 'a', netns: freshNetns(t).path, container: 'ca' }))
    assert.match(given.join(' '), /^192\.168\.(19[2-9]|2\d\d)\.\d+ fd00:10::[89a-f][0-9a-f]{3}$/)
    await cluster.pod('b', { 'cni.projectcalico.org/ipAddrs': '["192.168.1.7"]' })
    const asked = await cluster.added({ pod: 'b', netns: freshNetns(t).path, container: 'cb' })
    assert.deepEqual(addressesIn(asked), ['192.168.1.7'])
    const all = { reservedCIDRs: ['0.0.0.0/0', '::/0'] }
    await cluster.resources.apply(
      resource({ kind: 'IPReservation', apiVersion: 'projectcalico.org/v3', metadata, spec: all }),
    )
    await cluster.pod('c')
    const none = await cluster.call('ADD', { pod: 'c', netns: freshNetns(t).path, container: 'cc' })
    assert.match(none.json.msg, /cannot allocate addresses for pod default\/c/)
    assert.equal((await cluster.held('ca')).length, 2, 'who has one keeps it')
  })

  it('gives a container that is no pod an endpoint of its own', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    const config = { name: 'lab', cniVersion: '1.0.0' }
    const result = await cluster.added({ container: 'c-1', netns: pod.path, config })
    const { items } = await cluster.resources.list('WorkloadEndpoint')
    assert.equal(items.length, 1)
    const [{ metadata, spec }] = items as [(typeof items)[number]]
    assert.equal(metadata.name, 'node--a-cni-c--1-eth0')
    assert.deepEqual(
      spec.ipNetworks?.map(cidr => cidr.replace(/\/.*/, '')),
      addressesIn(result),
    )
    assert.deepEqual(spec.profiles, ['lab'])
    assert.equal(spec.interfaceName, result.interfaces[0]?.name)
    assert.equal((await cluster.resources.get('Profile', { name: 'lab' })).metadata.name, 'lab')
    assert.deepEqual(
      cluster.waited.map(text => text.split(' ')[0]),
      [keyOf(items[0]!)],
    )
    assert.ok(
      (await cluster.call('CHECK', { container: 'c-1', netns: pod.path, config: { ...config, prevResult: result } }))
        .ok,
    )
    assert.ok((await cluster.call('DEL', { container: 'c-1', config })).ok)
    assert.equal((await cluster.resources.list('WorkloadEndpoint')).items.length, 0)
    assert.deepEqual(cluster.links(), ['lo'])
  })

  it('GC takes back what containers that are not valid any more hold, and STATUS says ready', async t => {
    const cluster = await Cluster.make(t)
    const spaces = ['a', 'b', 'c'].map(name => ({ name, netns: freshNetns(t) }))
    for (const { name, netns } of spaces) {
      await cluster.pod(name)
      await cluster.added({ pod: name, netns: netns.path, container: `c${name}` })
    }
    const other = freshNetns(t)
    await cluster.added({ container: 'other', netns: other.path, config: { name: 'lab' } })
    await cluster.resources.delete('Pod/default/c' as never)
    const config = { cniVersion: '1.1.0', 'cni.dev/valid-attachments': [{ containerID: 'ca', ifname: 'eth0' }] }
    assert.deepEqual(await cluster.call('GC', { config }).then(r => [r.ok, r.body]), [true, ''])
    assert.equal((await cluster.held('ca')).length, 2)
    assert.deepEqual([await cluster.held('cb'), await cluster.held('cc')], [[], []])
    assert.equal((await readHandleAddresses(cluster.store, 'lab.other')).length, 2)
    assert.equal(cluster.links().length, 3)
    assert.equal((await cluster.annotations('b'))['cni.projectcalico.org/podIP'], '')
    assert.equal((await cluster.call('GC', { config: { cniVersion: '1.1.0' } })).json.code, 7)
    assert.ok((await cluster.call('STATUS', { config: { cniVersion: '1.1.0' } })).ok)
  })

  it('serves sixty ADDs at once, and their DELs', async t => {
    const cluster = await Cluster.make(t)
    const pods = Array.from({ length: 60 }, (_, i) => ({ pod: `p${i}`, container: `c${i}`, netns: freshNetns(t) }))
    await Promise.all(pods.map(({ pod }) => cluster.pod(pod)))
    const results = await Promise.all(pods.map(p => cluster.added({ ...p, netns: p.netns.path })))
    assert.equal(new Set(results.flatMap(addressesIn)).size, 120)
    const last = pods.at(-1)!
    const [four, six] = addressesIn(results.at(-1)!)
    assert.ok(await connects(pods[0]!.netns, last.netns, four!, 80))
    assert.ok(await connects(pods[0]!.netns, last.netns, six!, 80))
    const deleted = await Promise.all(pods.map(({ pod, container }) => cluster.call('DEL', { pod, container })))
    assert.ok(deleted.every(({ ok }) => ok))
    assert.deepEqual(cluster.links(), ['lo'])
  })

  it('is served to the client program as a container runtime calls it', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    const folder = mkdtempSync(path.join(tmpdir(), 'gingham-cni-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const socket = path.join(folder, 'agent.sock')
    const api = {
      status: async () => ({ ready: true }),
      notReady: () => [],
      counters: () => [],
      cni: (headers: Readonly<Record<string, string>>, body: string) => cluster.service.handle(headers, body),
      metrics: new Metrics(),
    }
    const stop = await serve(api, { socket, address: undefined, log: cluster.deps.log })
    t.after(stop)
    const program = execFileSync(
      process.execPath,
      [path.join(import.meta.dirname, '../../src/apps/cni/build-client.mjs')],
      { encoding: 'utf8' },
    ).trim()
    const run = (command: string, config: object = {}) => {
      const env = {
        GINGHAM_CNI_SOCKET: socket,
        CNI_COMMAND: command,
        CNI_CONTAINERID: 'c1',
        CNI_NETNS: pod.path,
        CNI_IFNAME: 'eth0',
        CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a',
      }
      return new Promise<{ code: unknown; stdout: string }>(resolve => {
        const child = execFile(program, { env }, (error, stdout) => resolve({ code: error?.code ?? 0, stdout }))
        child.stdin!.end(JSON.stringify({ cniVersion: '1.0.0', name: NETWORK, type: 'gingham', ...config }))
      })
    }
    const added = await run('ADD')
    assert.equal(added.code, 0, added.stdout)
    const prevResult = JSON.parse(added.stdout)
    assert.deepEqual(addressesIn(prevResult), await cluster.held('c1'))
    assert.deepEqual(await run('CHECK', { prevResult }), { code: 0, stdout: '' })
    assert.deepEqual(await run('DEL'), { code: 0, stdout: '' })
    const refused = await run('CHECK', { prevResult })
    assert.deepEqual([refused.code, JSON.parse(refused.stdout).code], [1, 101])
    assert.deepEqual(cluster.links(), ['lo'])
  })
})
