// Host endpoints as the oracle tells them: Calico's worked examples, and each rule of the order in which hooks ask.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr } from '../net/addr.ts'
import { printCause } from '../resources/cause.ts'
import { PARAMETERS_ANNOTATION } from '../resources/felix-parameters.ts'
import type { Resource } from '../resources/resource.ts'
import { decideAtNode, type NodeWay } from './decide-at-node.ts'
import { type Fields, gnp, packet, v3, world } from './world.fixture.ts'

const host = (name: string, spec: Fields): Resource =>
  v3('HostEndpoint', name, { node: 'node-a', ...spec }, { host: name })
const INTERFACES: NodeWay['interfaces'] = new Map([
  ['eth0', [addr('172.16.0.1')]],
  ['eth1', [addr('172.16.1.1')]],
])
const at = (way: Partial<NodeWay>): NodeWay => ({ node: 'node-a', interfaces: INTERFACES, ...way })

/** `verdict: who was asked, at what` and what besides policy decided. */
function say(resources: readonly Resource[], text: string, way: Partial<NodeWay>): string {
  const { verdict, asked, because, tracked } = decideAtNode(world(...resources), packet(text), at(way))
  const who = asked.map(d => `${d.hook ?? 'pod'} ${printCause(d.cause)}`)
  return [`${verdict}: ${who.join(', ')}`, ...(because ? [because] : []), ...(tracked ? [] : ['untracked'])].join('; ')
}

const SELECTED = { selector: 'has(host)' }
const ALLOW_ALL = { profiles: ['projectcalico-default-allow'] }

test('preDNAT denies a node port from outside and lets pods have it', () => {
  const policy = gnp('no-node-ports', {
    ...SELECTED,
    preDNAT: true,
    applyOnForward: true,
    ingress: [{ action: 'Deny', protocol: 'TCP', destination: { ports: [30080] } }],
  })
  const resources = [host('all', { interfaceName: '*', ...ALLOW_ALL }), policy]
  // What arrives is for the node; what the node forwards is for the pod behind the port.
  const arrived = packet('outside 172.16.0.1 tcp/30080')
  assert.equal(
    say(resources, 'outside backend tcp/8080', { in: 'eth0', out: 'cali2', arrived }),
    'deny: prednat GlobalNetworkPolicy no-node-ports ingress[0] Deny',
  )
  assert.equal(
    say(resources, 'outside backend tcp/8080', { in: 'eth0', out: 'cali2' }),
    'allow: prednat no policy decides ingress, pod Profile kns.default ingress[0] Allow',
  )
  assert.equal(
    say(resources, 'client backend tcp/8080', { in: 'cali3', out: 'cali2', arrived }),
    'allow: pod Profile kns.default egress[0] Allow, pod Profile kns.default ingress[0] Allow',
  )
})

test('doNotTrack needs both directions', () => {
  const policy = (name: string, spec: Fields) =>
    gnp(name, { ...SELECTED, doNotTrack: true, applyOnForward: true, ...spec })
  const comes = policy('in', { ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80] } }] })
  const goes = policy('out', { egress: [{ action: 'Allow', protocol: 'TCP', source: { ports: [80] } }] })
  const eth0 = host('eth0', { interfaceName: 'eth0' })
  const request = ['outside 172.16.0.1 tcp/80', { in: 'eth0' }] as const
  const answer = ['172.16.0.1 outside tcp/40000<80', { out: 'eth0' }] as const
  assert.equal(say([eth0, comes], ...request), 'allow: untracked GlobalNetworkPolicy in ingress[0] Allow; untracked')
  assert.equal(say([eth0, comes], ...answer), 'deny: host no profile allows egress')
  assert.equal(
    say([eth0, comes, goes], ...answer),
    'allow: untracked GlobalNetworkPolicy out egress[0] Allow; untracked',
  )
  // With * it is not asked.
  assert.equal(say([host('all', { interfaceName: '*' }), comes], ...request), 'deny: host no profile allows ingress')
})

test('failsafe ports: the built-in ones, none with [], those of a net', () => {
  const eth0 = host('eth0', { interfaceName: 'eth0' })
  const felix = (spec: Fields): Resource => v3('FelixConfiguration', 'default', spec)
  const ssh = ['outside 172.16.0.1 tcp/22', { in: 'eth0' }] as const
  assert.equal(say([eth0], ...ssh), 'allow: ; a failsafe port')
  assert.equal(say([eth0, felix({ failsafeInboundHostPorts: [] })], ...ssh), 'deny: host no profile allows ingress')
  const one = (net: string) => felix({ failsafeInboundHostPorts: [{ protocol: 'TCP', port: 22, net }] })
  assert.equal(say([eth0, one('192.0.2.0/24')], ...ssh), 'allow: ; a failsafe port')
  assert.equal(say([eth0, one('198.51.100.0/24')], ...ssh), 'deny: host no profile allows ingress')
  assert.equal(say([eth0], '172.16.0.1 outside udp/53', { out: 'eth0' }), 'allow: ; a failsafe port')
  // Not of what is forwarded.
  const forwards = gnp('forwards', { ...SELECTED, applyOnForward: true })
  assert.equal(
    say([eth0, forwards], 'outside other tcp/22', { in: 'eth0', out: 'eth1' }),
    'deny: forward Tier default ingress default Deny',
  )
})

test('which endpoint guards an interface', () => {
  const closed = host('b', { interfaceName: 'eth0' })
  const open = (name: string, spec: Fields) => host(name, { ...spec, ...ALLOW_ALL })
  const comes = ['outside 172.16.0.1 tcp/80', { in: 'eth0' }] as const
  const allowed = 'allow: host Profile projectcalico-default-allow ingress[0] Allow'
  const denied = 'deny: host no profile allows ingress'
  assert.equal(say([], ...comes), 'allow: ')
  assert.equal(say([closed, open('a', { expectedIPs: ['172.16.0.1'] })], ...comes), allowed)
  assert.equal(say([closed, open('c', { expectedIPs: ['172.16.0.1'] })], ...comes), denied)
  assert.equal(say([closed, open('a', { interfaceName: '*' })], ...comes), denied)
  assert.equal(say([open('a', { interfaceName: '*' })], ...comes), allowed)
  assert.equal(say([closed, open('a', { interfaceName: 'eth0', node: 'node-b' })], ...comes), denied)
  assert.equal(
    say([closed], 'client 172.16.0.1 tcp/80', { in: 'cali3' }),
    'deny: pod Profile kns.default egress[0] Allow; defaultEndpointToHostAction',
  )
  const annotations = { [PARAMETERS_ANNOTATION]: '{"defaultEndpointToHostAction":"Accept"}' }
  const node = v3('Node', 'node-a', {})
  const told = { ...node, metadata: { ...node.metadata, annotations } } as Resource
  assert.match(say([told], 'client 172.16.0.1 tcp/80', { in: 'cali3' }), /^allow: /)
  assert.equal(
    say([host('a', { interfaceName: '*' })], '172.16.0.1 client tcp/80', { out: 'cali3' }),
    'allow: ; what a node sends to its own pods is not judged',
  )
})

test('a tier’s end denies what is forwarded only where a policy with applyOnForward selects', () => {
  const eth0 = host('eth0', { interfaceName: 'eth0' })
  const through = ['outside other tcp/80', { in: 'eth0', out: 'eth1' }] as const
  assert.equal(say([eth0, gnp('p', SELECTED)], ...through), 'allow: ')
  assert.equal(say([eth0, gnp('p', { ...SELECTED, applyOnForward: true, types: ['Egress'] })], ...through), 'allow: ')
  assert.equal(
    say([eth0, gnp('p', { ...SELECTED, applyOnForward: true })], ...through),
    'deny: forward Tier default ingress default Deny',
  )
  const passing = v3('Tier', 'early', { order: 1, defaultAction: 'Pass' })
  assert.equal(
    say([eth0, passing, gnp('p', { ...SELECTED, applyOnForward: true, tier: 'early' })], ...through),
    'allow: forward no policy decides ingress',
  )
})

test('neighbour discovery passes before the policy of a host endpoint, and from a pod to its node', () => {
  const resources = [host('all', { interfaceName: '*' }), gnp('none', { types: ['Ingress', 'Egress'] })]
  const ask = (type: number, way: Partial<NodeWay>): string => {
    const icmp = { ...packet('client backend icmp'), family: 6, protocol: 58, icmp: { type, code: 0 } } as const
    const { verdict, because = 'policy' } = decideAtNode(world(...resources), icmp, at(way))
    return `${verdict}: ${because}`
  }
  assert.equal(ask(135, { in: 'eth0' }), 'allow: discovery')
  assert.equal(ask(128, { in: 'eth0' }), 'deny: policy')
  assert.equal(ask(135, { in: 'cali3' }), 'allow: discovery')
  assert.equal(ask(128, { in: 'cali3' }), 'deny: policy')
  assert.equal(ask(135, { in: 'cali3', out: 'cali2' }), 'deny: policy')
})
