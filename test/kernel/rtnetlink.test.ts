// Links, addresses, routes and neighbours through the real kernel, in namespaces of our own; `ip` is the second opinion.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr } from '../../src/core/net/addr.ts'
import { prefix } from '../../src/core/net/prefix.ts'
import { decodeLink } from '../../src/core/netlink/link.ts'
import { NUD } from '../../src/core/netlink/neighbour.ts'
import { type Route, TABLE_MAIN } from '../../src/core/netlink/route.ts'
import { RTM, RTNLGRP } from '../../src/core/netlink/rtnetlink.ts'
import { addAddress, deleteAddress, readAddresses } from '../../src/io/kernel/addresses.ts'
import { KernelError } from '../../src/io/kernel/kernel-error.ts'
import { createLink, deleteLink, readLink, readLinks, writeLink } from '../../src/io/kernel/links.ts'
import { deleteNeighbour, readNeighbours, writeNeighbour } from '../../src/io/kernel/neighbours.ts'
import { NETLINK, NetlinkSocket, subscribe } from '../../src/io/kernel/netlink-socket.ts'
import { addRoute, deleteRoute, readRoutes, replaceRoute } from '../../src/io/kernel/routes.ts'
import { close, open } from '../../src/io/kernel/sys.ts'
import { readSysctl, writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { freshNetns, runIn } from './netns.ts'

/** Only what is there, so that a value read compares with the value written. */
const present = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Partial<T>

function pair(t: import('node:test').TestContext) {
  const host = freshNetns(t)
  const pod = freshNetns(t)
  const a = new NetlinkSocket(NETLINK.ROUTE, host.path)
  const b = new NetlinkSocket(NETLINK.ROUTE, pod.path)
  t.after(() => {
    a.close()
    b.close()
  })
  const fd = open(pod.path)
  createLink(a, {
    kind: 'veth',
    name: 'cali1',
    mac: 'ee:ee:ee:ee:ee:ee',
    mtu: 1400,
    up: true,
    peer: { name: 'eth0', netnsFd: fd, mtu: 1400, mac: '02:00:00:00:00:07' },
  })
  close(fd)
  return { host, pod, a, b, cali: readLink(a, 'cali1')!, eth: readLink(b, 'eth0')! }
}

test('a veth pair across two namespaces is created, read, changed and deleted', t => {
  const { host, pod, a, b, cali, eth } = pair(t)
  assert.equal(cali.kind, 'veth')
  assert.equal(cali.mac, 'ee:ee:ee:ee:ee:ee')
  assert.equal(cali.mtu, 1400)
  assert.equal(cali.up, true)
  assert.equal(cali.peer, eth.index)
  assert.equal(eth.mac, '02:00:00:00:00:07')
  assert.equal(eth.up, false)
  assert.deepEqual(
    readLinks(b)
      .map(l => l.name)
      .sort(),
    ['eth0', 'lo'],
  )
  writeLink(b, eth.index, { up: true, mtu: 1300 })
  assert.match(runIn(pod.name, 'ip', 'link', 'show', 'eth0'), /mtu 1300 .*state UP/)
  writeLink(a, cali.index, { up: false })
  writeLink(a, cali.index, { name: 'cali2', alias: 'pod a/b' })
  assert.equal(readLink(a, 'cali2')?.alias, 'pod a/b')
  assert.equal(readLink(a, 'cali1'), undefined)
  assert.throws(
    () => createLink(a, { kind: 'veth', name: 'cali2', peer: { name: 'x' } }),
    (e: unknown) => e instanceof KernelError && e.isPresent && e.object === 'cali2',
  )
  deleteLink(a, cali.index)
  assert.equal(readLink(b, eth.index), undefined)
  assert.throws(
    () => deleteLink(a, cali.index),
    (e: unknown) => e instanceof KernelError && e.isMissing,
  )
  assert.doesNotMatch(runIn(host.name, 'ip', 'link'), /cali/)
})

test('a vxlan device keeps its settings, and its forwarding entries are read back', t => {
  const { a, cali } = pair(t)
  createLink(a, {
    kind: 'vxlan',
    name: 'vxlan.calico',
    mac: '66:00:00:00:00:01',
    up: true,
    vxlan: { id: 4096, port: 4789, link: cali.index, local: addr('10.0.0.1'), learning: false },
  })
  const link = readLink(a, 'vxlan.calico')!
  assert.deepEqual(link.vxlan, { id: 4096, port: 4789, link: cali.index, local: '10.0.0.1', learning: false })
  const entry = {
    kind: 'fdb',
    link: link.index,
    address: addr('10.0.0.2'),
    mac: '66:00:00:00:00:02',
    state: NUD.PERMANENT,
  } as const
  writeNeighbour(a, entry)
  assert.deepEqual(
    readNeighbours(a, 'fdb').filter(n => n.link === link.index),
    [entry],
  )
  deleteNeighbour(a, entry)
  assert.deepEqual(
    readNeighbours(a, 'fdb').filter(n => n.link === link.index),
    [],
  )
})

test('addresses of both families come and go', t => {
  const { b, eth } = pair(t)
  writeLink(b, eth.index, { up: true })
  for (const [text, prefixLength] of [
    ['10.65.1.7', 32],
    ['fd00::7', 128],
  ] as const) {
    const wanted = { link: eth.index, address: addr(text), prefixLength }
    addAddress(b, wanted)
    assert.throws(
      () => addAddress(b, wanted),
      (e: unknown) => e instanceof KernelError && e.isPresent,
    )
    const find = () => readAddresses(b, eth.index).find(x => x.address === text)
    assert.equal(find()?.prefixLength, prefixLength)
    deleteAddress(b, wanted)
    assert.equal(find(), undefined)
    assert.throws(
      () => deleteAddress(b, wanted),
      (e: unknown) => e instanceof KernelError && e.isMissing,
    )
  }
})

test('routes are read back as they were written', t => {
  const { host, a, b, cali, eth } = pair(t)
  writeLink(b, eth.index, { up: true })
  addAddress(a, { link: cali.index, address: addr('10.0.0.1'), prefixLength: 24 })
  addAddress(a, { link: cali.index, address: addr('fd01::1'), prefixLength: 64, flags: 2 })
  const base = { type: 'unicast', table: TABLE_MAIN, protocol: 80, scope: 'global' } as const
  const routes: Route[] = [
    { ...base, dst: prefix('10.65.1.7/32'), link: cali.index, scope: 'link' },
    {
      ...base,
      dst: prefix('10.66.0.0/26'),
      link: cali.index,
      gateway: addr('10.0.0.2'),
      metric: 77,
      source: addr('10.0.0.1'),
      mtu: 1300,
    },
    { ...base, dst: prefix('10.67.0.0/26'), link: cali.index, gateway: addr('192.0.2.1'), onlink: true },
    { ...base, dst: prefix('10.68.0.0/26'), type: 'blackhole' },
    { ...base, dst: prefix('0.0.0.0/0'), link: cali.index, gateway: addr('10.0.0.2'), table: 1000 },
    {
      ...base,
      dst: prefix('10.69.0.0/26'),
      nextHops: [
        { link: cali.index, gateway: addr('10.0.0.2'), weight: 1 },
        { link: cali.index, gateway: addr('10.0.0.3'), weight: 2 },
      ],
    },
    { ...base, dst: prefix('fd00::7/128'), link: cali.index, metric: 1024 },
    { ...base, dst: prefix('fd02::/122'), link: cali.index, gateway: addr('fd01::2'), metric: 10 },
    { ...base, dst: prefix('fd03::/122'), type: 'blackhole', metric: 1024, link: 1 },
  ]
  for (const route of routes) addRoute(a, route)
  const key = (r: Route) =>
    JSON.stringify(Object.entries(present(r)).sort(), (_, v) =>
      v && typeof v === 'object' && !Array.isArray(v) ? present(v) : v,
    )
  assert.deepEqual(readRoutes(a, { protocol: 80 }).map(key).sort(), routes.map(key).sort())
  assert.match(runIn(host.name, 'ip', 'route', 'show', 'proto', '80'), /blackhole 10\.68\.0\.0\/26/)
  assert.throws(
    () => addRoute(a, routes[0]!),
    (e: unknown) => e instanceof KernelError && e.isPresent && e.message.includes('10.65.1.7/32'),
  )
  replaceRoute(a, { ...routes[0]!, type: 'blackhole', link: undefined, scope: 'global' })
  assert.equal(readRoutes(a, { protocol: 80 }).find(r => r.dst === '10.65.1.7/32')?.type, 'blackhole')
  for (const route of routes.slice(1)) deleteRoute(a, route)
  assert.equal(readRoutes(a, { protocol: 80 }).length, 1)
  assert.throws(
    () => deleteRoute(a, routes[1]!),
    (e: unknown) => e instanceof KernelError && e.isMissing,
  )
  assert.deepEqual(readRoutes(a, { table: 4242 }), [])
})

test('the kernel explains a refusal', t => {
  const { a, cali } = pair(t)
  const route = {
    dst: prefix('10.1.0.0/16'),
    type: 'unicast',
    table: 254,
    protocol: 80,
    scope: 'global',
    link: cali.index,
    gateway: addr('192.0.2.1'),
  } as const
  assert.throws(
    () => addRoute(a, route),
    (e: unknown) => e instanceof KernelError && e.detail.includes('gateway'),
  )
})

test('neighbour and proxy entries of both families', t => {
  const { a, cali } = pair(t)
  for (const text of ['10.65.1.7', 'fd00::7']) {
    const entry = {
      kind: 'neighbour',
      link: cali.index,
      address: addr(text),
      mac: '02:00:00:00:00:07',
      state: NUD.PERMANENT,
    } as const
    writeNeighbour(a, entry)
    assert.deepEqual(
      readNeighbours(a, 'neighbour').filter(n => n.address === text),
      [entry],
    )
    deleteNeighbour(a, entry)
    assert.deepEqual(
      readNeighbours(a, 'neighbour').filter(n => n.address === text && n.state === NUD.PERMANENT),
      [],
    )
    const proxy = { kind: 'proxy', link: cali.index, address: addr(text), state: NUD.PERMANENT } as const
    writeNeighbour(a, proxy)
    assert.deepEqual(
      readNeighbours(a, 'proxy').map(n => [n.link, n.address]),
      [[cali.index, text]],
    )
    deleteNeighbour(a, proxy)
    assert.deepEqual(readNeighbours(a, 'proxy'), [])
  }
})

test('a subscriber hears of changes, of an overrun, and of what comes after it', async t => {
  const { host, a, cali } = pair(t)
  const heard: string[] = []
  let overruns = 0
  const stop = subscribe(
    { protocol: NETLINK.ROUTE, groups: [RTNLGRP.LINK], netns: host.path, bufferBytes: 4096, keepAlive: true },
    {
      messages: messages => {
        for (const m of messages) if (m.type === RTM.NEWLINK) heard.push(decodeLink(m.body).name)
      },
      overrun: () => {
        overruns++
      },
    },
  )
  t.after(stop)
  writeLink(a, cali.index, { mtu: 1350 })
  while (!heard.includes('cali1')) await new Promise(setImmediate)
  for (let i = 0; i < 100; i++) writeLink(a, cali.index, { mtu: 1000 + i })
  while (overruns === 0) await new Promise(setImmediate)
  heard.length = 0
  for (let i = 0; !heard.includes('cali1'); i++) {
    writeLink(a, cali.index, { mtu: 1200 + (i % 2) })
    await new Promise(setImmediate)
  }
})

test('a setting is of the namespace that was named', t => {
  const { host, pod } = pair(t)
  writeSysctl('net/ipv4/conf/cali1/proxy_arp', 1, host.path)
  assert.equal(readSysctl('net/ipv4/conf/cali1/proxy_arp', host.path), '1')
  assert.equal(readSysctl('net/ipv4/conf/cali1/proxy_arp', pod.path), undefined)
  assert.throws(
    () => writeSysctl('net/ipv4/conf/cali1/proxy_arp', 1, pod.path),
    (e: unknown) => e instanceof KernelError && e.isMissing,
  )
})
