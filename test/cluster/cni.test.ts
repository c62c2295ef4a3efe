// The CNI plugin's work against the real kernel: a namespace of its own plays the node, others the pods, the datastore is
// in memory. `ip` is the second opinion on what was made, and TCP connections between pods on what it is good for.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, it, type TestContext } from 'node:test'
import pino from 'pino'
import { type CniDeps, CniService } from '../../src/apps/agent/cni.ts'
import { sha1Hex } from '../../src/core/base/hash.ts'
import { CNI_VERSIONS } from '../../src/core/cni/version.ts'
import { addr } from '../../src/core/net/addr.ts'
import { podToEndpoint } from '../../src/core/resources/derive.ts'
import { decodeResource, keyOf } from '../../src/core/resources/resource.ts'
import { readHandleAddresses } from '../../src/io/cni/handles.ts'
import { connectPod } from '../../src/io/cni/pod-network.ts'
import { openIpam } from '../../src/io/ipam/ipam.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import * as sys from '../../src/io/kernel/sys.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { ensureInitialized } from '../../src/io/store/initialize.ts'
import { openMemory } from '../../src/io/store/memory.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import { freshNetns, runIn } from '../kernel/netns.ts'

type Netns = { readonly name: string; readonly path: string }
type Answer = { readonly ok: boolean; readonly body: string; readonly json: Json }
// biome-ignore lint/suspicious/noExplicitAny: answers are JSON of many forms
type Json = any

const NETWORK = 'k8s-pod-network'
const IPV6_POOL = 'fd00:10::/112'

function resource(document: object) {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

class Cluster {
  readonly node: Netns
  readonly store = openMemory()
  readonly resources = new ResourceClient(this.store)
  readonly waited: string[] = []
  /** What ADD's wait for policy does. */
  programmed: () => Promise<void> = async () => {}
  service: CniService
  deps: CniDeps

  constructor(t: TestContext) {
    this.node = freshNetns(t)
    writeSysctl('net/ipv4/ip_forward', 1, this.node.path)
    writeSysctl('net/ipv6/conf/all/forwarding', 1, this.node.path)
    this.deps = {
      node: 'node-a',
      resources: this.resources,
      ipam: openIpam(this.store, { now: () => new Date() }),
      waitProgrammed: async (endpoint, addresses) => {
        this.waited.push(`${endpoint} ${addresses.join(' ')}`)
        await this.programmed()
      },
      log: pino({ level: 'silent' }),
      now: () => new Date(),
      hostNetns: this.node.path,
    }
    this.service = new CniService(this.deps)
  }

  static async make(t: TestContext): Promise<Cluster> {
    const cluster = new Cluster(t)
    await ensureInitialized(cluster.resources)
    await cluster.resources.create(
      resource({
        kind: 'IPPool',
        apiVersion: 'projectcalico.org/v3',
        metadata: { name: 'six' },
        spec: { cidr: IPV6_POOL },
      }),
    )
    return cluster
  }

  async pod(name: string, annotations: Record<string, string> = {}, nodeName = 'node-a'): Promise<void> {
    const metadata = { name, namespace: 'default', annotations }
    await this.resources.create(resource({ kind: 'Pod', apiVersion: 'v1', metadata, spec: { nodeName } }))
  }

  annotations = async (name: string) =>
    (await this.resources.get('Pod', { namespace: 'default', name })).metadata.annotations ?? {}

  async call(command: string, options: CallOptions = {}): Promise<Answer> {
    const { pod, netns, container = 'c1', args, config = {} } = options
    const given = args ?? (pod ? `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=1` : '')
    const headers = {
      'cni-command': command,
      'cni-containerid': container,
      'cni-ifname': 'eth0',
      'cni-args': encodeURIComponent(given),
      ...(netns === undefined ? {} : { 'cni-netns': netns }),
    }
    const ipam = { type: 'calico-ipam', assign_ipv4: 'true', assign_ipv6: 'true' }
    const body = JSON.stringify({ cniVersion: '1.0.0', name: NETWORK, type: 'calico', ipam, ...config })
    const answer = await this.service.handle(headers, body)
    return { ...answer, json: answer.body === '' ? undefined : JSON.parse(answer.body) }
  }

  async added(options: CallOptions): Promise<Json> {
    const answer = await this.call('ADD', options)
    assert.ok(answer.ok, answer.body)
    return answer.json
  }

  held = (container: string) => readHandleAddresses(this.store, `${NETWORK}.${container}`)

  links = (): string[] => JSON.parse(runIn(this.node.name, 'ip', '-j', 'link')).map((link: Json) => link.ifname)
}

type CallOptions = {
  readonly pod?: string
  readonly netns?: string
  readonly container?: string
  readonly args?: string
  readonly config?: object
}

const hostEnd = (pod: string): string => `cali${sha1Hex(`default.${pod}`).slice(0, 11)}`
const addressesIn = (result: Json): string[] => result.ips.map((ip: Json) => ip.address.replace(/\/.*/, ''))

/** A TCP connection from one namespace to another's address; true if it is established at once. */
async function connects(from: Netns, to: Netns, address: string, port: number): Promise<boolean> {
  const family = address.includes(':') ? sys.AF.INET6 : sys.AF.INET
  const target = sys.inetAddress(addr(address), port)
  const listener = inNetns(to.path, () => sys.socket(family, sys.SOCK.STREAM, 0))
  const client = inNetns(from.path, () => sys.socket(family, sys.SOCK.STREAM, 0))
  try {
    sys.bind(listener, target)
    sys.listen(listener, 8)
    if (!sys.connect(client, target) && !(await sys.whenReady(client, sys.WRITABLE, 5000))) return false
    return sys.getOption(client, sys.SOL.SOCKET, sys.SO.ERROR) === 0
  } finally {
    sys.close(listener)
    sys.close(client)
  }
}

/** One datagram from one namespace to another's address: what gets lost is not sent again. */
async function reaches(from: Netns, to: Netns, address: string): Promise<boolean> {
  const family = address.includes(':') ? sys.AF.INET6 : sys.AF.INET
  const target = sys.inetAddress(addr(address), 4242)
  const receiver = inNetns(to.path, () => sys.socket(family, sys.SOCK.DGRAM, 0))
  const sender = inNetns(from.path, () => sys.socket(family, sys.SOCK.DGRAM, 0))
  try {
    sys.bind(receiver, target)
    sys.sendTo(sender, Buffer.from('hello'), target)
    return await sys.whenReady(receiver, sys.READABLE, 5000)
  } finally {
    sys.close(receiver)
    sys.close(sender)
  }
}

describe('CNI plugin', () => {
  it('has everything ready when ADD returns: the first packet in each direction and family arrives', async t => {
    const cluster = await Cluster.make(t)
    const first = freshNetns(t)
    await cluster.pod('first')
    const known = addressesIn(await cluster.added({ pod: 'first', netns: first.path, container: 'first' }))
    for (let i = 0; i < 10; i++) {
      const [one, other] = i % 2 === 0 ? [0, 1] : [1, 0]
      const pod = freshNetns(t)
      await cluster.pod(`p${i}`)
      const own = addressesIn(await cluster.added({ pod: `p${i}`, netns: pod.path, container: `c${i}` }))
      const arrived = [
        await reaches(first, pod, own[one]!),
        await reaches(pod, first, known[other]!),
        await reaches(first, pod, own[other]!),
        await reaches(pod, first, known[one]!),
      ]
      assert.deepEqual(arrived, [true, true, true, true], `pod ${i}: ${own}`)
    }
  })

  it('connects two pods of a node in both families, and leaves nothing after DEL', async t => {
    const cluster = await Cluster.make(t)
    const [a, b] = [freshNetns(t), freshNetns(t)]
    await cluster.pod('a')
    await cluster.pod('b')
    const first = await cluster.added({ pod: 'a', netns: a.path, container: 'ca' })
    const second = await cluster.added({ pod: 'b', netns: b.path, container: 'cb' })
    const [a4, a6] = addressesIn(first)
    const [b4, b6] = addressesIn(second)
    assert.ok(a4!.startsWith('192.168.') && a6!.startsWith('fd00:10::'), JSON.stringify(first))
    assert.ok(await connects(a, b, b4!, 80))
    assert.ok(await connects(a, b, b6!, 80))
    assert.ok(await connects(b, a, a4!, 81))
    assert.ok(await connects(b, a, a6!, 81))

    assert.deepEqual(
      first.interfaces.map((link: Json) => [link.name, link.sandbox]),
      [
        [hostEnd('a'), undefined],
        ['eth0', a.path],
      ],
    )
    assert.deepEqual(
      first.ips.map((ip: Json) => [ip.address, ip.gateway, ip.interface]),
      [
        [`${a4}/32`, '169.254.1.1', 1],
        [`${a6}/128`, 'fe80::ecee:eeff:feee:eeee', 1],
      ],
    )
    const annotations = await cluster.annotations('a')
    assert.equal(annotations['cni.projectcalico.org/podIP'], `${a4}/32`)
    assert.equal(annotations['cni.projectcalico.org/podIPs'], `${a4}/32,${a6}/128`)
    assert.equal(annotations['cni.projectcalico.org/containerID'], 'ca')
    const endpoint = podToEndpoint(await cluster.resources.get('Pod', { namespace: 'default', name: 'a' }))!
    assert.equal(cluster.waited[0], `${keyOf(endpoint)} ${a4} ${a6}`)

    for (const [pod, container] of [
      ['a', 'ca'],
      ['b', 'cb'],
      ['a', 'ca'],
    ] as const) {
      assert.deepEqual(await cluster.call('DEL', { pod, container }).then(r => [r.ok, r.body]), [true, ''])
    }
    assert.deepEqual(cluster.links(), ['lo'])
    assert.deepEqual(await cluster.held('ca'), [])
    assert.equal((await cluster.annotations('a'))['cni.projectcalico.org/podIP'], '')
    assert.deepEqual(
      (await cluster.deps.ipam.utilisation([{ name: 'p', cidr: '192.168.0.0/16' as never }])).map(u => u.inUse),
      [0],
    )
  })

  it('makes the host end, the settings and the routes as Calico does', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a', { 'cni.projectcalico.org/hwAddr': '02:00:5e:10:00:01' })
    const config = { mtu: 1400, container_settings: { allow_ip_forwarding: true } }
    const result = await cluster.added({ pod: 'a', netns: pod.path, config })
    const [four, six] = addressesIn(result)
    const name = hostEnd('a')
    const [link] = JSON.parse(runIn(cluster.node.name, 'ip', '-j', '-d', 'link', 'show', name))
    assert.deepEqual(
      [link.address, link.mtu, link.operstate, link.linkinfo.info_kind],
      ['ee:ee:ee:ee:ee:ee', 1400, 'UP', 'veth'],
    )
    const settings = {
      [`net/ipv4/conf/${name}/route_localnet`]: '1',
      [`net/ipv4/conf/${name}/proxy_arp`]: '1',
      [`net/ipv4/conf/${name}/forwarding`]: '1',
      [`net/ipv4/conf/${name}/rp_filter`]: '1',
      [`net/ipv4/neigh/${name}/proxy_delay`]: '0',
      [`net/ipv6/conf/${name}/accept_dad`]: '0',
      [`net/ipv6/conf/${name}/disable_ipv6`]: '0',
      [`net/ipv6/conf/${name}/proxy_ndp`]: '1',
      [`net/ipv6/conf/${name}/forwarding`]: '1',
      [`net/ipv6/conf/${name}/accept_ra`]: '0',
    }
    const inFolder = (netns: string, keys: string[]) =>
      runIn(netns, 'sh', '-c', `cd /proc/sys && cat ${keys.join(' ')}`)
        .trim()
        .split('\n')
    assert.deepEqual(inFolder(cluster.node.name, Object.keys(settings)), Object.values(settings))
    const forwarding = ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']
    assert.deepEqual(inFolder(pod.name, forwarding), ['1', '1'])
    assert.match(
      runIn(cluster.node.name, 'ip', '-d', '-N', 'route'),
      new RegExp(`^\\S*\\s*${four} dev ${name} proto 3 scope 253 *$`, 'm'),
    )
    assert.match(runIn(cluster.node.name, 'ip', '-6', '-d', '-N', 'route'), new RegExp(`${six} dev ${name} proto 3 `))
    assert.match(
      runIn(cluster.node.name, 'ip', '-6', 'addr', 'show', name),
      /inet6 fe80::ecee:eeff:feee:eeee\/64 scope link nodad/,
    )
    const inside = runIn(pod.name, 'ip', 'addr', 'show', 'eth0')
    assert.match(inside, /mtu 1400 .*state UP/)
    assert.match(inside, /link\/ether 02:00:5e:10:00:01/)
    assert.match(inside, new RegExp(`inet ${four}/32 scope global`))
    assert.match(inside, new RegExp(`inet6 ${six}/128 scope global nodad`))
    assert.ok(!inside.includes('tentative'), inside)
    assert.match(
      runIn(pod.name, 'ip', 'route'),
      /default via 169\.254\.1\.1 dev eth0[^\n]*\n169\.254\.1\.1 dev eth0 .*scope link/,
    )
    assert.match(runIn(pod.name, 'ip', '-6', 'route'), /default via fe80::ecee:eeff:feee:eeee dev eth0/)
  })

  it('gives a repeated ADD the same answer, and one whose link was damaged the same addresses', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    const call = { pod: 'a', netns: pod.path }
    const first = await cluster.added(call)
    assert.deepEqual(await cluster.added(call), first)
    assert.equal((await cluster.held('c1')).length, 2)
    execFileSync('ip', ['-n', cluster.node.name, 'link', 'del', hostEnd('a')])
    const third = await cluster.added(call)
    assert.deepEqual(third.ips, first.ips)
    assert.equal((await cluster.held('c1')).length, 2)
    assert.ok(cluster.links().includes(hostEnd('a')))
  })

  it('gives a new container of the same pod new addresses, which the DEL of the old one leaves alone', async t => {
    const cluster = await Cluster.make(t)
    const [before, after] = [freshNetns(t), freshNetns(t)]
    await cluster.pod('a')
    const first = await cluster.added({ pod: 'a', netns: before.path, container: 'old' })
    const second = await cluster.added({ pod: 'a', netns: after.path, container: 'new' })
    assert.notDeepEqual(addressesIn(first), addressesIn(second))
    assert.ok((await cluster.call('DEL', { pod: 'a', netns: before.path, container: 'old' })).ok)
    assert.deepEqual(await cluster.held('old'), [])
    assert.deepEqual(await cluster.held('new'), addressesIn(second))
    assert.ok(cluster.links().includes(hostEnd('a')))
    const annotations = await cluster.annotations('a')
    assert.equal(annotations['cni.projectcalico.org/containerID'], 'new')
    assert.equal(annotations['cni.projectcalico.org/podIP'], `${addressesIn(second)[0]}/32`)
  })

  it('takes a DEL for what is not there: no ADD before, no pod, no namespace', async t => {
    const cluster = await Cluster.make(t)
    assert.ok((await cluster.call('DEL', { pod: 'never', container: 'x' })).ok)
    assert.ok((await cluster.call('DEL', { pod: 'never', container: 'x', netns: '/run/netns/none' })).ok)
    await cluster.pod('a')
    execFileSync('ip', ['netns', 'add', `gone${process.pid}`])
    try {
      await cluster.added({ pod: 'a', netns: `/run/netns/gone${process.pid}` })
    } finally {
      execFileSync('ip', ['netns', 'del', `gone${process.pid}`])
    }
    await cluster.resources.delete('Pod/default/a' as never)
    assert.ok((await cluster.call('DEL', { pod: 'a', netns: `/run/netns/gone${process.pid}` })).ok)
    assert.deepEqual(cluster.links(), ['lo'])
    assert.deepEqual(await cluster.held('c1'), [])
  })

  it('answers in the form of every version', async t => {
    const cluster = await Cluster.make(t)
    for (const [i, cniVersion] of CNI_VERSIONS.entries()) {
      const pod = freshNetns(t)
      await cluster.pod(`p${i}`)
      const options = { pod: `p${i}`, netns: pod.path, container: `c${i}`, config: { cniVersion } }
      const result = await cluster.added(options)
      assert.equal(result.cniVersion, cniVersion)
      const [four, six] = await cluster.held(`c${i}`)
      if (cniVersion < '0.3') {
        const routes = [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }]
        assert.deepEqual(result.ip4, { ip: `${four}/32`, gateway: '169.254.1.1', routes })
        assert.equal(result.ip6.ip, `${six}/128`)
      } else {
        const versions = result.ips.map((ip: Json) => ip.version)
        assert.deepEqual(versions, cniVersion < '1' ? ['4', '6'] : [undefined, undefined])
        assert.deepEqual(addressesIn(result), [four, six])
        assert.equal(result.interfaces[1].mtu, cniVersion === '1.1.0' ? 1500 : undefined)
      }
      const check = await cluster.call('CHECK', { ...options, config: { cniVersion, prevResult: result } })
      if (cniVersion < '0.4') assert.equal(check.json.code, 1)
      else assert.deepEqual([check.ok, check.body], [true, ''])
      assert.ok((await cluster.call('DEL', options)).ok)
    }
  })

  it('CHECK says what is wrong', async t => {
    const cluster = await Cluster.make(t)
    const pod = freshNetns(t)
    await cluster.pod('a')
    const options = { pod: 'a', netns: pod.path }
    const prevResult = await cluster.added(options)
    const check = () => cluster.call('CHECK', { ...options, config: { prevResult } })
    const [four] = addressesIn(prevResult)
    const damage = async (said: RegExp, ...command: string[]) => {
      execFileSync('ip', command)
      const answer = await check()
      assert.equal(answer.ok, false)
      assert.equal(answer.json.code, 101)
      assert.match(`${answer.json.msg}; ${answer.json.details}`, said)
      await connectPod(
        {
          netns: pod.path,
          interface: 'eth0',
          hostInterface: hostEnd('a'),
          owner: `${NETWORK}.c1`,
          addresses: await cluster.held('c1'),
          mac: prevResult.interfaces[1].mac,
          allowForwarding: false,
        },
        { hostNetns: cluster.node.path },
      )
      assert.ok((await check()).ok)
    }
    await damage(/there is no route to .*\/32 over cali/, '-n', cluster.node.name, 'route', 'del', four!)
    await damage(/there is no interface cali/, '-n', cluster.node.name, 'link', 'del', hostEnd('a'))
    await damage(/cali\w+ is down/, '-n', cluster.node.name, 'link', 'set', hostEnd('a'), 'down')
    await damage(
      /does not have the address .*\/32 in the pod/,
      '-n',
      pod.name,
      'addr',
      'del',
      `${four}/32`,
      'dev',
      'eth0',
    )
    await damage(/no default route via 169\.254\.1\.1/, '-n', pod.name, 'route', 'del', 'default')
    await cluster.deps.ipam.releaseByHandle(`${NETWORK}.c1`)
    assert.match((await check()).json.msg, /is not allocated to k8s-pod-network\.c1/)
    assert.equal((await cluster.call('CHECK', options)).json.code, 7)
  })
})

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
    assert.equal(spec.interfaceName, result.interfaces[0].name)
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
    const [four, six] = addressesIn(results.at(-1))
    assert.ok(await connects(pods[0]!.netns, last.netns, four!, 80))
    assert.ok(await connects(pods[0]!.netns, last.netns, six!, 80))
    const deleted = await Promise.all(pods.map(({ pod, container }) => cluster.call('DEL', { pod, container })))
    assert.ok(deleted.every(({ ok }) => ok))
    assert.deepEqual(cluster.links(), ['lo'])
  })
})
