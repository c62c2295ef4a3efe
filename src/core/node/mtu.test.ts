import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decodeResource, keyOf, type Resource, type Snapshot } from '../resources/resource.ts'
import { hostMtu, podMtu } from './mtu.ts'

const INTERFACES = [
  { name: 'lo', up: true, mtu: 65_536 },
  { name: 'cali123', up: true, mtu: 1300 },
  { name: 'ens4', up: true, mtu: 1460 },
  { name: 'eth0', up: true, mtu: 9000 },
  { name: 'eth1', up: false, mtu: 576 },
]

function resource(kind: string, name: string, spec: object): Resource {
  const decoded = decodeResource({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec })
  assert.ok(decoded.ok)
  return decoded.value
}
const world = (...resources: Resource[]): Snapshot => new Map(resources.map(r => [keyOf(r), r]))
const pool = (spec: object): Resource => resource('IPPool', 'p', { cidr: '10.0.0.0/16', ...spec })
const felix = (spec: object): Resource => resource('FelixConfiguration', 'default', spec)

describe('podMtu', () => {
  it('is the smallest of the hardware that is up', () => {
    assert.equal(hostMtu(INTERFACES), 1460)
    assert.equal(podMtu(INTERFACES, world(pool({}))), 1460)
    assert.equal(podMtu([], world(pool({}))), undefined)
  })

  it('leaves room for the tunnels that pools use', () => {
    assert.equal(podMtu(INTERFACES, world(pool({ vxlanMode: 'CrossSubnet' }))), 1410)
    assert.equal(podMtu(INTERFACES, world(pool({ ipipMode: 'Always' }))), 1440)
    assert.equal(podMtu(INTERFACES, world(pool({ cidr: 'fd00:1::/64', vxlanMode: 'Always' }))), 1390)
  })

  it('follows the FelixConfiguration', () => {
    assert.equal(podMtu(INTERFACES, world(felix({ mtuIfacePattern: '^eth' }), pool({}))), 9000)
    assert.equal(podMtu(INTERFACES, world(felix({ vxlanMTU: 1200 }), pool({ vxlanMode: 'Always' }))), 1200)
  })
})
