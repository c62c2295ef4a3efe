// The CNI plugin's work against the real kernel. `ip` is the second opinion on what was made, packets between pods on what
// it is good for.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { CNI_VERSIONS } from '../../src/core/cni/version.ts'
import { podToEndpoint } from '../../src/core/resources/derive.ts'
import { keyOf } from '../../src/core/resources/resource.ts'
import { connectPod } from '../../src/io/cni/pod-network.ts'
import { freshNetns, runIn } from '../kernel/netns.ts'
import { addressesIn, Cluster, connects, hostEnd, NETWORK, reaches } from './cni-node.ts'

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
      first.interfaces.map(link => [link.name, link.sandbox]),
      [
        [hostEnd('a'), undefined],
        ['eth0', a.path],
      ],
    )
    assert.deepEqual(
      first.ips.map(ip => [ip.address, ip.gateway, ip.interface]),
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
    const config = { mtu: 1400, num_queues: 3, container_settings: { allow_ip_forwarding: true } }
    const result = await cluster.added({ pod: 'a', netns: pod.path, config })
    const [four, six] = addressesIn(result)
    const name = hostEnd('a')
    const [link] = JSON.parse(runIn(cluster.node.name, 'ip', '-j', '-d', 'link', 'show', name))
    assert.deepEqual(
      [link.address, link.mtu, link.operstate, link.linkinfo.info_kind],
      ['ee:ee:ee:ee:ee:ee', 1400, 'UP', 'veth'],
    )
    const [inner] = JSON.parse(runIn(pod.name, 'ip', '-j', '-d', 'link', 'show', 'eth0'))
    assert.deepEqual(
      [link, inner].map(end => [end.num_tx_queues, end.num_rx_queues]),
      [
        [3, 3],
        [3, 3],
      ],
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
        const versions = result.ips.map(ip => ip.version)
        assert.deepEqual(versions, cniVersion < '1' ? ['4', '6'] : [undefined, undefined])
        assert.deepEqual(addressesIn(result), [four, six])
        assert.equal(result.interfaces[1]?.mtu, cniVersion === '1.1.0' ? 1500 : undefined)
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
          mac: prevResult.interfaces[1]!.mac,
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
