// Host endpoints with real connections: a node between two networks with pods of its own, and for each leg what must come
// about and what must not. After each policy the kernel's ruleset is proved, and the oracle asked about every connection.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { decideAtNode } from '../../src/core/oracle/decide-at-node.ts'
import { type Resource, snapshotOf } from '../../src/core/resources/resource.ts'
import { ADDRESS, ADDRESS6, HostLab, INTERFACE, type Place } from '../support/host-lab.ts'
import { DEFAULT_TIER, endpoint, globalPolicy, resource } from '../support/resources.ts'

/** Where an answer comes, however slow the machine; and where none will. */
const LONG = 10_000
const SHORT = 250

let lab: HostLab
before(async () => {
  lab = await HostLab.open(`gh${process.pid}`)
})
after(() => lab?.close())

const V3 = 'projectcalico.org/v3'
const host = (name: string, spec: object): Resource =>
  resource({
    apiVersion: V3,
    kind: 'HostEndpoint',
    metadata: { name, labels: { host: name } },
    spec: { node: 'n', ...spec },
  })
const felix = (spec: object): Resource =>
  resource({ apiVersion: V3, kind: 'FelixConfiguration', metadata: { name: 'default' }, spec })
const pod = (name: 'p' | 'q'): Resource =>
  endpoint({ name, node: 'n', addresses: [ADDRESS[name]], labels: { app: name } })
const BASE: readonly Resource[] = [DEFAULT_TIER, pod('p'), pod('q'), felix({ defaultEndpointToHostAction: 'Accept' })]
const ALLOW_ALL = { profiles: ['projectcalico-default-allow'] }
const tcp = (action: string, ...ports: number[]) => ({ action, protocol: 'TCP', destination: { ports } })

type Check = readonly [from: Place, to: Place | Addr, port: number, wanted: 'open' | 'closed' | 'refused']

const placeOf = (address: Addr): Place => (Object.keys(ADDRESS) as Place[]).find(p => ADDRESS[p] === address) ?? 'node'

/** The oracle's verdict on a connection's first packet. */
function judged(resources: readonly Resource[], [from, to, port]: Check): 'allow' | 'deny' {
  const dst = to in ADDRESS ? ADDRESS[to as Place] : (to as Addr)
  const target = placeOf(dst)
  const six = dst.includes(':')
  const src = six ? ADDRESS6.outside : ADDRESS[from]
  const packet: Packet = { family: six ? 6 : 4, protocol: 6, src, dst, sport: 40_000, dport: port }
  const way = {
    node: 'n',
    interfaces: lab.interfaces,
    ...(from !== 'node' && { in: INTERFACE[from] }),
    ...(target !== 'node' && { out: INTERFACE[target] }),
    ...(from === 'node' && target === 'node' && { in: 'lo' }),
  }
  return decideAtNode(snapshotOf(resources), packet, way).verdict
}

async function hold(resources: readonly Resource[], checks: readonly Check[]): Promise<void> {
  const intent = lab.enforce(resources)
  assert.deepEqual(lab.doubts(intent), [])
  const results = await Promise.all(
    checks.map(([from, to, port, wanted]) => {
      const dst = to in ADDRESS ? ADDRESS[to as Place] : (to as Addr)
      return lab.hosts[from].connectTcp(dst, port, wanted === 'closed' ? SHORT : LONG)
    }),
  )
  const found = checks.map(([from, to, port], i) => `${from} to ${to} ${port}: ${results[i]}`)
  const wanted = checks.map(([from, to, port, w]) => `${from} to ${to} ${port}: ${w === 'closed' ? 'timeout' : w}`)
  assert.deepEqual(found, wanted)
  for (const check of checks) {
    assert.equal(judged(resources, check), check[3] === 'open' ? 'allow' : 'deny', `the oracle on ${check.join(' ')}`)
  }
}

test('without host endpoints the node has no hook more than for its pods, and nothing of the node is judged', async () => {
  await hold(BASE, [
    ['outside', 'node', 80, 'open'],
    ['node', 'outside', 80, 'open'],
    ['outside', 'behind', 80, 'open'],
    ['outside', 'p', 80, 'open'],
    ['p', 'node', 80, 'open'],
  ])
  const hooks = lab.list().match(/hook \w+ priority [\w-]+/g)
  assert.deepEqual(hooks?.sort(), [
    'hook forward priority filter',
    'hook input priority filter',
    'hook prerouting priority raw',
  ])
})

test('a host endpoint without policy and profile closes its interface both ways, save for the failsafe ports', async () => {
  await hold(
    [...BASE, host('a', { interfaceName: 'eth0' })],
    [
      ['outside', 'node', 80, 'closed'],
      ['outside', 'node', 22, 'open'],
      ['outside', addr('10.9.1.1'), 80, 'closed'],
      ['node', 'outside', 80, 'closed'],
      ['node', 'outside', 6443, 'open'],
      ['node', 'outside', 22, 'closed'],
      ['outside', ADDRESS6.node, 80, 'closed'],
      ['outside', ADDRESS6.node, 22, 'open'],
      // Another interface, what passes, and pods are none of its business.
      ['behind', 'node', 80, 'open'],
      ['outside', 'behind', 80, 'open'],
      ['outside', 'p', 80, 'open'],
      ['p', 'node', 80, 'open'],
      ['p', 'outside', 80, 'open'],
      ['node', 'p', 80, 'open'],
    ],
  )
})

test('failsafe ports are those that the settings name, for the nets that they name, and none with []', async () => {
  const rest = [host('a', { interfaceName: 'eth0' }), ...BASE.slice(0, 3)]
  await hold(
    [...rest, felix({ failsafeInboundHostPorts: [] })],
    [
      ['outside', 'node', 22, 'closed'],
      ['node', 'outside', 6443, 'open'],
    ],
  )
  const ports = [
    { protocol: 'TCP', port: 80, net: '10.9.0.2/32' },
    { protocol: 'TCP', port: 81, net: '10.9.7.0/24' },
  ]
  await hold(
    [...rest, felix({ failsafeInboundHostPorts: ports, failsafeOutboundHostPorts: ports })],
    [
      ['outside', 'node', 22, 'closed'],
      ['outside', 'node', 80, 'open'],
      ['outside', 'node', 81, 'closed'],
      ['node', 'outside', 80, 'open'],
      ['node', 'outside', 81, 'closed'],
    ],
  )
})

test('normal policy: rules, both sides of them, answers, profiles, and refusal', async () => {
  const named = host('a', {
    interfaceName: 'eth0',
    expectedIPs: ['10.9.0.1'],
    ports: [{ name: 'web', protocol: 'TCP', port: 80 }],
  })
  const policy = globalPolicy('in', {
    selector: "host == 'a'",
    types: ['Ingress', 'Egress'],
    ingress: [
      { action: 'Allow', protocol: 'TCP', destination: { selector: "host == 'a'", ports: ['web'] } },
      { action: 'Allow', protocol: 'TCP', destination: { nets: ['10.9.0.9/32'], ports: [81] } },
    ],
    egress: [{ action: 'Allow', protocol: 'TCP', source: { notNets: ['10.9.0.9/32'] }, destination: { ports: [81] } }],
  })
  const checks: Check[] = [
    ['outside', 'node', 80, 'open'],
    ['outside', addr('10.9.0.9'), 80, 'closed'],
    ['outside', addr('10.9.0.9'), 81, 'open'],
    ['outside', 'node', 81, 'closed'],
    ['node', 'outside', 81, 'open'],
    ['node', 'outside', 80, 'closed'],
    ['outside', 'behind', 80, 'open'],
  ]
  await hold([...BASE, named, policy], checks)
  await hold(
    [DEFAULT_TIER, felix({ nftablesFilterDenyAction: 'Reject' }), named, policy],
    [
      ['outside', 'node', 81, 'refused'],
      ['outside', 'node', 80, 'open'],
    ],
  )
  await hold(
    [...BASE, host('a', { interfaceName: 'eth0', ...ALLOW_ALL })],
    [
      ['outside', 'node', 80, 'open'],
      ['node', 'outside', 80, 'open'],
    ],
  )
})

test('an endpoint finds its interface by address; of several the first by name; * takes what has none', async () => {
  const byAddress = host('b', { expectedIPs: ['10.9.0.9'] })
  await hold(
    [...BASE, byAddress],
    [
      ['outside', 'node', 80, 'closed'],
      ['behind', 'node', 80, 'open'],
    ],
  )
  await hold(
    [...BASE, byAddress, host('a', { interfaceName: 'eth0', ...ALLOW_ALL })],
    [['outside', 'node', 80, 'open']],
  )
  await hold(
    [...BASE, byAddress, host('c', { interfaceName: 'eth0', ...ALLOW_ALL })],
    [['outside', 'node', 80, 'closed']],
  )
  await hold(
    [...BASE, host('z', { interfaceName: 'eth0', ...ALLOW_ALL }), host('a', { interfaceName: '*' })],
    [
      ['outside', 'node', 80, 'open'],
      ['behind', 'node', 80, 'closed'],
      ['node', 'behind', 80, 'closed'],
      ['node', 'node', 80, 'closed'],
      ['node', 'outside', 80, 'open'],
      ['p', 'node', 80, 'open'],
      ['node', 'p', 80, 'open'],
      ['behind', 'p', 80, 'open'],
    ],
  )
})

test('applyOnForward: what passes is judged as it comes in and as it goes out, without failsafes and profiles', async () => {
  const everywhere = host('a', { interfaceName: '*', ...ALLOW_ALL })
  const only80 = globalPolicy('only80', {
    selector: "host == 'a'",
    applyOnForward: true,
    types: ['Ingress'],
    ingress: [tcp('Allow', 80)],
  })
  await hold(
    [...BASE, everywhere, only80],
    [
      ['outside', 'behind', 80, 'open'],
      ['outside', 'behind', 81, 'closed'],
      ['outside', 'behind', 22, 'closed'],
      ['outside', 'p', 80, 'open'],
      ['outside', 'p', 81, 'closed'],
      ['outside', 'node', 81, 'closed'],
      ['p', 'outside', 81, 'open'],
      ['p', 'q', 81, 'open'],
      ['node', 'outside', 81, 'open'],
    ],
  )
  const out = globalPolicy('out', {
    selector: "host == 'b'",
    applyOnForward: true,
    types: ['Egress'],
    egress: [tcp('Deny', 81), { action: 'Allow' }],
  })
  await hold(
    [...BASE, host('b', { interfaceName: 'eth1', ...ALLOW_ALL }), out],
    [
      ['outside', 'behind', 81, 'closed'],
      ['outside', 'behind', 80, 'open'],
      ['p', 'behind', 81, 'closed'],
      ['p', 'behind', 80, 'open'],
      ['node', 'behind', 81, 'closed'],
      ['behind', 'outside', 81, 'open'],
    ],
  )
  // A named endpoint without such policy is not judged by that of all the others.
  await hold(
    [...BASE, everywhere, only80, host('c', { interfaceName: 'eth0', ...ALLOW_ALL })],
    [
      ['outside', 'behind', 81, 'open'],
      ['behind', 'outside', 81, 'closed'],
    ],
  )
})

const NODE_PORT = 30_080
/** As kube-proxy has it: a port of the node that is pod p's, and an address of a service. */
const PROXY = `add table ip proxy
flush table ip proxy
table ip proxy {
  chain pre { type nat hook prerouting priority -100; ip daddr 10.9.0.1 tcp dport ${NODE_PORT} dnat to 10.65.0.7:80; }
  chain out { type nat hook output priority -100; ip daddr 10.96.0.1 tcp dport 80 dnat to 10.65.0.7:80; }
  chain post { type nat hook postrouting priority 100; ip saddr 10.65.0.0/16 ct status dnat masquerade; }
}`

test('preDNAT: a node port is closed to the outside and open to pods', async t => {
  lab.nft(PROXY)
  t.after(() => lab.nft('delete table ip proxy'))
  const deny = globalPolicy('no-node-ports', {
    selector: "host == 'a'",
    applyOnForward: true,
    preDNAT: true,
    types: ['Ingress'],
    ingress: [tcp('Deny', NODE_PORT)],
  })
  const connect = (from: Place, port: number, ms: number) => lab.hosts[from].connectTcp(ADDRESS.node, port, ms)
  const everywhere = host('a', { interfaceName: '*', ...ALLOW_ALL })
  lab.enforce([...BASE, everywhere])
  assert.equal(await connect('outside', NODE_PORT, LONG), 'open', 'without it')
  lab.enforce([...BASE, everywhere, deny])
  assert.equal(await connect('outside', NODE_PORT, SHORT), 'timeout')
  assert.equal(await connect('outside', 80, LONG), 'open', 'no tier ends here')
  assert.equal(await connect('q', NODE_PORT, LONG), 'open')
  const packet = { family: 4, protocol: 6, src: ADDRESS.outside, sport: 40_000 } as const
  const arrived = { ...packet, dst: ADDRESS.node, dport: NODE_PORT }
  const way = { node: 'n', interfaces: lab.interfaces, in: 'eth0', out: INTERFACE.p, arrived }
  const said = decideAtNode(snapshotOf([...BASE, everywhere, deny]), { ...packet, dst: ADDRESS.p, dport: 80 }, way)
  assert.equal(said.verdict, 'deny')
  // A service's address from the node itself leads to a pod of its own, which is not judged by the interface it would take.
  lab.enforce([...BASE, host('b', { interfaceName: 'eth0' })])
  assert.equal(await lab.hosts.node.connectTcp(addr('10.96.0.1'), 80, LONG), 'open')
})

test('preDNAT: what it allows is not judged again as it comes in', async () => {
  const allow = (preDNAT: boolean) =>
    globalPolicy('allow', {
      selector: "host == 'a'",
      applyOnForward: true,
      preDNAT,
      types: ['Ingress'],
      ingress: [tcp('Allow', 81)],
    })
  const forward = globalPolicy('forward', { selector: "host == 'a'", applyOnForward: true, types: ['Ingress'] })
  await hold(
    [...BASE, host('a', { interfaceName: 'eth0' }), allow(true), forward],
    [
      ['outside', 'node', 81, 'open'],
      ['outside', 'behind', 81, 'open'],
      ['outside', 'p', 81, 'open'],
      ['outside', 'node', 80, 'closed'],
      ['outside', 'behind', 80, 'closed'],
      ['outside', 'node', 22, 'open'],
      ['behind', 'node', 80, 'open'],
    ],
  )
})

/** Counts what is not tracked of a port, and what is. */
const WATCH = `table inet watch {
  chain come {
    type filter hook input priority 10;
    tcp dport 7777 ct state untracked counter
    tcp dport 7777 ct state != untracked counter
  }
}`

test('doNotTrack: rules in both directions or no connection, none of it tracked, failsafes tracked as ever', async () => {
  const untracked = (name: string, spec: object) =>
    globalPolicy(name, { selector: "host == 'a'", applyOnForward: true, doNotTrack: true, ...spec })
  const comes = untracked('in', { types: ['Ingress'], ingress: [tcp('Allow', 7777)] })
  const goes = untracked('out', {
    types: ['Egress'],
    egress: [{ action: 'Allow', protocol: 'TCP', source: { ports: [7777] } }],
  })
  const guarded = [...BASE, host('a', { interfaceName: 'eth0' })]
  const connect = (port: number, ms: number) => lab.hosts.outside.connectTcp(ADDRESS.node, port, ms)
  for (const alone of [comes, goes]) {
    assert.deepEqual(lab.doubts(lab.enforce([...guarded, alone])), [])
    assert.equal(await connect(7777, SHORT), 'timeout', `${alone.metadata.name} alone`)
  }
  const all = [...guarded, comes, goes]
  assert.deepEqual(lab.doubts(lab.enforce(all)), [])
  lab.nft(WATCH)
  assert.equal(await connect(7777, LONG), 'open')
  const counted = lab.list('watch').match(/packets (\d+)/g)!
  assert.ok(Number(counted[0]!.slice(8)) > 1 && counted[1] === 'packets 0', counted.join(', '))
  lab.nft('delete table inet watch')
  assert.equal(await connect(80, SHORT), 'timeout', 'no tier ends here, and no profile allows')
  assert.equal(await connect(22, LONG), 'open', 'failsafe')
  assert.equal(await lab.hosts.node.connectTcp(ADDRESS.outside, 6443, LONG), 'open', 'failsafe, the other way')
  const packet = {
    family: 4,
    protocol: 6,
    src: ADDRESS.outside,
    dst: ADDRESS.node,
    sport: 40_000,
    dport: 7777,
  } as const
  const said = decideAtNode(snapshotOf(all), packet, { node: 'n', interfaces: lab.interfaces, in: 'eth0' })
  assert.deepEqual([said.verdict, said.tracked], ['allow', false])
  // All interfaces at once are none: such policy is passed over.
  lab.enforce([
    ...BASE,
    host('a', { interfaceName: '*', ...ALLOW_ALL }),
    untracked('no', { types: ['Ingress'], ingress: [tcp('Deny', 80)] }),
  ])
  assert.equal(await connect(80, LONG), 'open')
})

test('a pod sends no packet within a packet, unless the settings say so', async () => {
  const exchange = (ms: number) => lab.hosts.p.exchangeUdp(ADDRESS.outside, 4789, ms)
  assert.deepEqual(lab.doubts(lab.enforce(BASE)), [])
  assert.equal(await exchange(SHORT), 'timeout')
  assert.equal(await lab.hosts.p.exchangeUdp(ADDRESS.outside, 7777, LONG), 'open')
  lab.enforce([...BASE.slice(0, 3), felix({ allowVXLANPacketsFromWorkloads: true })])
  assert.equal(await exchange(LONG), 'open')
  lab.enforce([...BASE.slice(0, 3), felix({ vxlanPort: 7777 })])
  assert.equal(await exchange(LONG), 'open')
  assert.equal(await lab.hosts.p.exchangeUdp(ADDRESS.outside, 7777, SHORT), 'timeout')
})

/** Counts a pod's packets behind the node by the source that they have then. */
const SOURCES = `table inet sources {
  chain leave {
    type filter hook postrouting priority 200;
    udp dport 7777 ip saddr 10.65.0.7 counter
    udp dport 7777 ip saddr 10.9.0.1 counter
    udp dport 7777 ip saddr 10.9.0.9 udp sport 5000-5009 counter
  }
}`

test('what leaves the pools gets the source that the settings say: address, ports, behind which interface, to whom not', async () => {
  const pool = resource<Resource>({
    apiVersion: V3,
    kind: 'IPPool',
    metadata: { name: 'pool' },
    spec: { cidr: '10.65.0.0/16', natOutgoing: true },
  })
  const other = resource<Resource>({
    apiVersion: V3,
    kind: 'Node',
    metadata: { name: 'o' },
    spec: { bgp: { ipv4Address: '10.9.0.2/24' } },
  })
  const rows: readonly [spec: object, counter: number][] = [
    [{}, 1],
    [{ natOutgoingAddress: '10.9.0.9', natPortRange: '5000:5009' }, 2],
    [{ iptablesNATOutgoingInterfaceFilter: 'eth1' }, 0],
    [{ iptablesNATOutgoingInterfaceFilter: 'eth+' }, 1],
    [{ natOutgoingExclusions: 'IPPoolsAndHostIPs' }, 0],
  ]
  for (const [spec, counter] of rows) {
    const intent = lab.enforce([...BASE.slice(0, 3), pool, other, felix(spec)])
    assert.deepEqual(lab.doubts(intent), [])
    lab.nft(SOURCES)
    assert.equal(await lab.hosts.p.exchangeUdp(ADDRESS.outside, 7777, LONG), 'open')
    const counted = lab
      .list('sources')
      .match(/packets (\d+)/g)!
      .map(text => Number(text.slice(8)) > 0)
    lab.nft('delete table inet sources')
    assert.deepEqual(
      counted,
      [0, 1, 2].map(i => i === counter),
      JSON.stringify(spec),
    )
  }
})

test('a pod sends from the prefixes that it may borrow, while WorkloadSourceSpoofing is Any', async () => {
  const spoofing = (setting: string) => felix({ workloadSourceSpoofing: setting })
  const p = pod('p')
  const borrower = {
    ...p,
    spec: { ...p.spec, allowSpoofedSourcePrefixes: ['10.77.0.0/24', '10.77.0.0/16'] },
  } as Resource
  const from = { address: addr('10.77.0.1') }
  const connect = (ms: number) => lab.hosts.p.connectTcp(ADDRESS.q, 80, ms, from)
  assert.deepEqual(lab.doubts(lab.enforce([DEFAULT_TIER, borrower, pod('q'), spoofing('Disabled')])), [])
  assert.equal(await connect(SHORT), 'timeout')
  assert.deepEqual(lab.doubts(lab.enforce([DEFAULT_TIER, borrower, pod('q'), spoofing('Any')])), [])
  assert.equal(await connect(LONG), 'open')
  lab.enforce([DEFAULT_TIER, p, pod('q'), spoofing('Any')])
  assert.equal(await connect(SHORT), 'timeout', 'only who is named')
})
