import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr } from '../net/addr.ts'
import { decodeResource, type HostEndpoint, snapshotOf } from '../resources/resource.ts'
import { guardedInterfaces } from './host-interfaces.ts'
import { settingsOf } from './node-facts.ts'

const host = (name: string, spec: object): HostEndpoint => {
  const metadata = { name }
  const decoded = decodeResource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'HostEndpoint',
    metadata,
    spec: { node: 'a', ...spec },
  })
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  return decoded.value as HostEndpoint
}
const interfaces = new Map([
  ['eth0', [addr('10.0.0.1'), addr('fd00::1')]],
  ['eth1', [addr('10.0.1.1')]],
  ['kube-ipvs0', [addr('10.96.0.1')]],
  ['cali1', [addr('10.0.2.1')]],
])
const settings = settingsOf(snapshotOf([]), 'a')

function guarded(hosts: readonly HostEndpoint[], excludedInterfaces = settings.excludedInterfaces): string {
  const found = guardedInterfaces(hosts, { node: 'a', interfaces, settings: { ...settings, excludedInterfaces } })
  return [...found].map(([name, { metadata }]) => `${name} ${metadata.name}`).join(', ')
}

test('which interfaces are guarded, by whom', () => {
  assert.equal(guarded([host('h', { interfaceName: 'eth0' }), host('x', { interfaceName: 'eth9' })]), 'eth0 h, eth9 x')
  assert.equal(guarded([host('h', { expectedIPs: ['fd00::1', '10.0.1.1'] })]), 'eth0 h, eth1 h')
  assert.equal(guarded([host('h', { expectedIPs: ['192.0.2.1'] })]), '')
  // Addresses of an endpoint that names its interface do not find another.
  assert.equal(guarded([host('h', { interfaceName: 'eth0', expectedIPs: ['10.0.1.1'] })]), 'eth0 h')
  assert.equal(guarded([host('b', { interfaceName: 'eth0' }), host('a', { expectedIPs: ['10.0.0.1'] })]), 'eth0 a')
  assert.equal(guarded([host('b', { interfaceName: '*' }), host('a', { interfaceName: '*' })]), '* a')
  assert.equal(guarded([host('a', { node: 'b', interfaceName: '*' })]), '')
  // Pods' interfaces, and those that are left out.
  assert.equal(
    guarded([host('a', { interfaceName: 'cali1' }), host('b', { expectedIPs: ['10.0.2.1', '10.96.0.1'] })]),
    '',
  )
  assert.equal(guarded([host('a', { expectedIPs: ['10.0.0.1', '10.0.1.1'] })], ['/^eth[1-9]$/']), 'eth0 a')
})
