// Settings of a node: where they come from, and what each becomes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LOCAL_SETTINGS, PARAMETERS_ANNOTATION } from '../resources/felix-parameters.ts'
import { decodeResource, type Resource, snapshotOf } from '../resources/resource.ts'
import type { NodeSettings } from './intent.ts'
import { settingsOf } from './node-facts.ts'

const make = (kind: string, metadata: object, spec: object): Resource => {
  const decoded = decodeResource({ apiVersion: 'projectcalico.org/v3', kind, metadata, spec })
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  return decoded.value
}
const felix = (name: string, spec: object, created?: string): Resource =>
  make('FelixConfiguration', { name, ...(created && { creationTimestamp: created }) }, spec)
const node = make('Node', { name: 'a', labels: { rack: '1' } }, {})
const of = (...resources: readonly Resource[]): NodeSettings => settingsOf(snapshotOf([node, ...resources]), 'a')

test('settings: of the node, of the oldest that selects it, the default ones, field by field', () => {
  const all = [
    felix('default', { logPrefix: 'default', vxlanPort: 1, interfaceExclude: 'x' }),
    felix('younger', { nodeSelector: "rack == '1'", vxlanPort: 3 }, '2026-02-02T00:00:00Z'),
    felix('older', { nodeSelector: "rack == '1'", vxlanPort: 2, interfaceExclude: 'y' }, '2026-01-01T00:00:00Z'),
    felix('elsewhere', { nodeSelector: "rack == '2'", vxlanPort: 4 }, '2025-01-01T00:00:00Z'),
    felix('node.a', { interfaceExclude: 'z,/^veth/' }),
    felix('node.b', { logPrefix: 'b' }),
  ]
  const { logPrefix, vxlanPort, excludedInterfaces } = of(...all)
  assert.deepEqual([logPrefix, vxlanPort, excludedInterfaces], ['default', 2, ['z', '/^veth/']])
  const told = { [PARAMETERS_ANNOTATION]: '{"logPrefix":"told"}' }
  const asTold = make('Node', { name: 'a', labels: { rack: '1' }, annotations: told }, {})
  assert.equal(of(...all, asTold).logPrefix, 'told')
  // The agent itself knows better.
  const { metadata, ...local } = felix('default', {})
  assert.equal(of(...all, asTold, { ...local, metadata: { ...metadata, name: LOCAL_SETTINGS } }).logPrefix, 'default')
})

test('what settings are when nobody sets them, and what they become', () => {
  const ports = (list: NodeSettings['failsafeInbound']): string =>
    list.map(f => `${f.protocol}/${f.port}${f.net ? ` ${f.net}` : ''}`).join(', ')
  const none = of()
  assert.equal(ports(none.failsafeInbound), '6/22, 17/68, 6/179, 6/2379, 6/2380, 6/5473, 6/6443, 6/6666, 6/6667')
  assert.equal(ports(none.failsafeOutbound), '17/53, 17/67, 6/179, 6/2379, 6/2380, 6/5473, 6/6443, 6/6666, 6/6667')
  const { failsafeInbound: _in, failsafeOutbound: _out, ...rest } = none
  assert.deepEqual(rest, {
    interfacePrefixes: ['cali'],
    endpointToHostAction: 'Drop',
    conntrackInvalidCheck: true,
    logPrefix: 'calico-packet',
    logLimit: { rate: 100, per: 'second', burst: 5 },
    denyAction: 'Drop',
    allowVXLAN: false,
    allowIPIP: false,
    vxlanPort: 4789,
    sourceSpoofing: false,
    excludedInterfaces: ['kube-ipvs0'],
  })
  const set = of(
    felix('default', {
      failsafeInboundHostPorts: [{ protocol: 'UDP', port: 9, net: '10.0.0.1' }, { port: 8 }],
      failsafeOutboundHostPorts: [],
      logActionRateLimit: '7/hour',
      logActionRateLimitBurst: 0,
      iptablesFilterDenyAction: 'Reject',
      natPortRange: '1024:2000',
      natOutgoingAddress: '192.0.2.1',
      iptablesNATOutgoingInterfaceFilter: 'eth+',
    }),
  )
  assert.equal(ports(set.failsafeInbound), '17/9 10.0.0.1/32, 6/8')
  assert.equal(ports(set.failsafeOutbound), '')
  assert.deepEqual(set.logLimit, { rate: 7, per: 'hour', burst: 5 })
  assert.deepEqual(
    [set.denyAction, set.natPorts, set.natAddress, set.natInterface],
    ['Reject', { first: 1024, last: 2000 }, '192.0.2.1', 'eth*'],
  )
})
