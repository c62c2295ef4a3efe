import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Prefix } from '../net/prefix.ts'
import { decodeResource, type Resource, type Snapshot, snapshotOf } from '../resources/resource.ts'
import { birdConfigOf } from './node-config.ts'
import { peersOf } from './peers.ts'

const make = (kind: string, name: string, spec: object, labels: Record<string, string> = {}): Resource => {
  const decoded = decodeResource({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name, labels }, spec })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const node = (name: string, spec: object, labels?: Record<string, string>) => make('Node', name, spec, labels)
const NODES = [
  node('a', { bgp: { ipv4Address: '10.0.0.1/24', ipv6Address: 'fd00::1/64' } }, { rack: '1' }),
  node('b', { bgp: { ipv4Address: '10.0.0.2/24', ipv6Address: 'fd00::2/64', asNumber: 64600 } }, { rack: '2' }),
  node('c', { bgp: { ipv4Address: '10.0.0.3/24' } }, { rack: '2' }),
  node('silent', {}),
]
const NO_MESH = make('BGPConfiguration', 'default', { nodeToNodeMeshEnabled: false })
const peer = (spec: object, name = 'p') => make('BGPPeer', name, spec)
const lab = (...more: Resource[]): Snapshot => snapshotOf([...NODES, NO_MESH, ...more])

/** The fields of interest of a node's sessions, by address. */
const shown = (snapshot: Snapshot, name: string) =>
  peersOf(snapshot, name).peers.map(
    p => `${p.kind} ${p.address}${p.port ? `:${p.port}` : ''} as ${p.as}${p.passive ? ' passive' : ''}`,
  )

describe('the node-to-node mesh', () => {
  const mesh = snapshotOf(NODES)
  it('joins every pair of nodes, in the families that both have, and one side waits', () => {
    assert.deepEqual(shown(mesh, 'a'), [
      'mesh 10.0.0.2 as 64600 passive',
      'mesh 10.0.0.3 as 64512 passive',
      'mesh fd00::2 as 64600 passive',
    ])
    assert.deepEqual(shown(mesh, 'b'), [
      'mesh 10.0.0.1 as 64512',
      'mesh 10.0.0.3 as 64512 passive',
      'mesh fd00::1 as 64512',
    ])
    assert.deepEqual(shown(mesh, 'c'), ['mesh 10.0.0.1 as 64512', 'mesh 10.0.0.2 as 64600'])
  })
  it('leaves out nodes without BGP and route reflectors', () => {
    assert.deepEqual(shown(mesh, 'silent'), [])
    const reflector = node('r', { bgp: { ipv4Address: '10.0.0.9/24', routeReflectorClusterID: '224.0.0.1' } })
    assert.deepEqual(shown(snapshotOf([...NODES, reflector]), 'r'), [])
    assert.equal(peersOf(snapshotOf([...NODES, reflector]), 'c').peers.length, 2)
  })
  it('can be switched off', () => assert.deepEqual(shown(lab(), 'a'), []))
  it('takes the AS, the port and the restart time from the default configuration', () => {
    const config = make('BGPConfiguration', 'default', {
      asNumber: '1.1',
      listenPort: 1179,
      nodeMeshMaxRestartTime: '90s',
    })
    const found = peersOf(snapshotOf([...NODES, config]), 'c').peers[0]
    assert.deepEqual([found?.as, found?.port, found?.restartTime], [65537, 1179, 90])
  })
})

describe('a BGPPeer with peerIP', () => {
  it('is for all nodes, one node, or selected nodes', () => {
    const all = lab(peer({ peerIP: '10.0.0.254', asNumber: 65000 }))
    for (const name of ['a', 'b', 'c']) assert.deepEqual(shown(all, name), ['global 10.0.0.254 as 65000'])
    const one = lab(peer({ node: 'b', peerIP: '10.0.0.254', asNumber: 65000 }))
    assert.deepEqual(
      ['a', 'b', 'c'].map(name => shown(one, name).length),
      [0, 1, 0],
    )
    const some = lab(peer({ nodeSelector: "rack == '2'", peerIP: '10.0.0.254', asNumber: 65000 }))
    assert.deepEqual(
      ['a', 'b', 'c'].map(name => shown(some, name)),
      [[], ['node 10.0.0.254 as 65000'], ['node 10.0.0.254 as 65000']],
    )
  })
  it('gives address, port and source', () => {
    const [v4] = peersOf(lab(peer({ peerIP: '10.0.0.254:1790', asNumber: 65000 })), 'a').peers
    assert.deepEqual([v4?.address, v4?.port, v4?.source], ['10.0.0.254', 1790, '10.0.0.1'])
    const [v6] = peersOf(lab(peer({ peerIP: '[fd00::fe]:1790', asNumber: 65000, sourceAddress: 'None' })), 'a').peers
    assert.deepEqual([v6?.address, v6?.port, v6?.source], ['fd00::fe', 1790, undefined])
  })
  it('gives its options', () => {
    const spec = {
      peerIP: '10.0.0.254',
      asNumber: 65000,
      numAllowedLocalASNumbers: 2,
      keepaliveTime: '20s',
      maxRestartTime: '1m',
      localASNumber: 64999,
    }
    const [one] = peersOf(lab(peer({ ...spec, ttlSecurity: 1, keepOriginalNextHop: true })), 'a').peers
    assert.deepEqual(
      [
        one?.allowLocalAs,
        one?.keepaliveTime,
        one?.holdTime,
        one?.restartTime,
        one?.localAs,
        one?.ttlSecurity,
        one?.nextHop,
      ],
      [2, 20, 60, 60, 64999, 1, 'keep'],
    )
    const [self] = peersOf(lab(peer({ ...spec, nextHopMode: 'Self' })), 'a').peers
    assert.equal(self?.nextHop, 'self')
  })
  it('waits only for nodes of the cluster: a router outside may be waiting itself', () => {
    assert.deepEqual(shown(lab(peer({ peerIP: '10.0.0.3', asNumber: 64512 })), 'a'), [
      'global 10.0.0.3 as 64512 passive',
    ])
    assert.deepEqual(shown(lab(peer({ peerIP: '10.0.0.3', asNumber: 64512 })), 'c'), [])
  })
  it('says why there is no session', () => {
    const { peers, problems } = peersOf(lab(peer({ peerIP: 'fd00::fe', asNumber: 65000 }, 'tor6')), 'c')
    assert.deepEqual(peers, [])
    assert.deepEqual(
      problems.map(({ path, message }) => `${path} ${message}`),
      ['BGPPeer(tor6).spec.peerIP node c has no IPv6 address, so there is no session'],
    )
    assert.match(peersOf(lab(peer({ peerIP: '10.9.9.9' })), 'a').problems[0]!.path, /asNumber/)
    assert.match(
      peersOf(lab(peer({ peerIP: '10.9.9.9', asNumber: 1, filters: ['f'] })), 'a').problems[0]!.path,
      /filters/,
    )
  })
})

describe('a BGPPeer with peerSelector', () => {
  const racks = { nodeSelector: "rack == '1'", peerSelector: "rack == '2'" }
  it('makes both directions', () => {
    const both = lab(peer(racks))
    assert.deepEqual(shown(both, 'a'), [
      'node 10.0.0.2 as 64600 passive',
      'node 10.0.0.3 as 64512 passive',
      'node fd00::2 as 64600 passive',
    ])
    assert.deepEqual(shown(both, 'b'), ['node 10.0.0.1 as 64512', 'node fd00::1 as 64512'])
  })
  it('leaves the way back to the user with reversePeering Manual', () => {
    const manual = lab(peer({ ...racks, reversePeering: 'Manual' }))
    assert.deepEqual(shown(manual, 'b'), [])
    assert.deepEqual(shown(manual, 'a')[0], 'node 10.0.0.2 as 64600')
  })
  it('reflects routes to internal peers outside of its cluster', () => {
    const reflector = node(
      'r',
      { bgp: { ipv4Address: '10.0.0.9/24', routeReflectorClusterID: '224.0.0.1' } },
      { rr: 'yes' },
    )
    const all = lab(reflector, peer({ peerSelector: "rr == 'yes'" }))
    const byAddress = new Map(
      peersOf(all, 'r').peers.map(p => [p.address as string, p.reflectAs as string | undefined]),
    )
    assert.equal(byAddress.get('10.0.0.1'), '224.0.0.1')
    assert.equal(byAddress.get('10.0.0.2'), undefined, 'an external peer')
    assert.equal(peersOf(all, 'a').peers[0]?.reflectAs, undefined)
  })
  it('makes one session of several that mean the same peer: the most specific', () => {
    const both = snapshotOf([
      ...NODES,
      peer({ peerIP: '10.0.0.2', asNumber: 1 }, 'g'),
      peer({ node: 'a', peerIP: '10.0.0.2', asNumber: 2 }, 'n'),
    ])
    assert.deepEqual(shown(both, 'a'), [
      'node 10.0.0.2 as 2',
      'mesh 10.0.0.3 as 64512 passive',
      'mesh fd00::2 as 64600 passive',
    ])
  })
})

describe('a password', () => {
  const secured = (more: object = {}) =>
    lab(peer({ peerIP: '10.0.0.254', asNumber: 65000, password: { secretKeyRef: { name: 's', key: 'k', ...more } } }))
  const found = (secret: string | undefined, more?: object) =>
    peersOf(secured(more), 'a', (name, key) => (name === 's' && key === 'k' ? secret : undefined))
  it('comes from its secret', () => assert.equal(found('sesame').peers[0]?.password, 'sesame'))
  it('that is missing or cannot be written means no session, and a reason', () => {
    for (const secret of [undefined, '', 'a"b', 'ä', 'x'.repeat(81)]) {
      const { peers, problems } = found(secret)
      assert.deepEqual(peers, [], String(secret))
      assert.equal(problems[0]?.path, 'BGPPeer(p).spec.password.secretKeyRef')
    }
  })
  it('may be optional', () => assert.equal(found(undefined, { optional: true }).peers.length, 1))
})

describe('the BIRD configuration of a node', () => {
  it('follows the pools', () => {
    const pools = [
      make('IPPool', 'plain', { cidr: '10.1.0.0/16' }),
      make('IPPool', 'secret', { cidr: '10.2.0.0/16', disableBGPExport: true }),
      make('IPPool', 'tunnel', { cidr: '10.3.0.0/16', vxlanMode: 'Always' }),
      make('IPPool', 'ipip', { cidr: '10.4.0.0/16', ipipMode: 'Always' }),
    ]
    const config = (...more: Resource[]) =>
      birdConfigOf(snapshotOf([...NODES, ...pools, ...more]), { node: 'a', blocks: [], borrowed: [] })!.config
    assert.deepEqual(config().pools, ['10.1.0.0/16', '10.3.0.0/16', '10.4.0.0/16'])
    assert.deepEqual(config().notExported, ['10.2.0.0/16'])
    assert.deepEqual(config().notProgrammed, ['10.3.0.0/16', '10.4.0.0/16'])
    const all = make('BGPConfiguration', 'default', { programClusterRoutes: 'Enabled' })
    assert.deepEqual(config(all).notProgrammed, ['10.3.0.0/16'])
  })
  it('lets node.<name> override the default', () => {
    const own = make('BGPConfiguration', 'node.a', { listenPort: 1179, logSeverityScreen: 'Debug' })
    const { config } = birdConfigOf(lab(own), { node: 'a', blocks: [], borrowed: [], logFile: '/l' })!
    assert.deepEqual([config.listenPort, config.log?.level], [1179, 'Debug'])
  })
  it('has a router id also on a node without IPv4', () => {
    const six = node('six', { bgp: { ipv6Address: 'fd00::6' } })
    const { config } = birdConfigOf(lab(six), { node: 'six', blocks: [], borrowed: [] })!
    assert.match(config.routerId, /^\d+\.\d+\.\d+\.\d+$/)
  })
  it('has the networks of the node for blocks too, where pods have addresses of theirs', () => {
    const six = node('six', { bgp: { ipv6Address: 'fd00::6' } })
    const snapshot = lab({ ...six, status: { podCIDRs: ['10.244.1.0/24', 'fd00:244::/64'] } } as Resource)
    const blocks = (usePodCidr: boolean) =>
      birdConfigOf(snapshot, { node: 'six', blocks: ['fd01::/122' as Prefix], borrowed: [], usePodCidr })!.config.blocks
    assert.deepEqual(blocks(false), ['fd01::/122'])
    assert.deepEqual(blocks(true), ['fd01::/122', '10.244.1.0/24', 'fd00:244::/64'])
  })
  it('is none for a node that speaks no BGP', () => {
    assert.equal(birdConfigOf(lab(), { node: 'silent', blocks: [], borrowed: [] }), undefined)
  })
})
