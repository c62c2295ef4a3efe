// What host-local is told in our stead, and which routes its pods get.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { addr } from '../net/addr.ts'
import { decodeConfig } from './config.ts'
import { ANY_NETWORK, asksForNodeNetworks, hostLocalConfig } from './host-local.ts'

const NETWORKS = ['10.244.3.0/24', 'fd00:244:3::/64']

function told(ipam: object, networks: readonly string[] = NETWORKS): unknown {
  const config = hostLocalConfig({ name: 'net', ipam: { type: 'host-local', ...ipam } }, { networks })
  return config.ok ? config.value.ipam : config.problems.map(({ path, message }) => `${path} ${message}`)
}

describe('the configuration of host-local', () => {
  it('has the node’s networks in the place of Calico’s words, in either form', () => {
    assert.deepEqual(told({ subnet: 'usePodCIDR' }), { type: 'host-local', subnet: NETWORKS[0] })
    assert.deepEqual(told({ subnet: 'UsePodCidrIPv6', dataDir: '/x' }), {
      type: 'host-local',
      subnet: NETWORKS[1],
      dataDir: '/x',
    })
    const ranges = [
      [{ subnet: 'usePodCidr', rangeStart: '10.244.3.9' }],
      [{ subnet: 'usePodCidrIPv6' }],
      [{ subnet: '10.0.0.0/8' }],
    ]
    assert.deepEqual(told({ ranges }), {
      type: 'host-local',
      ranges: [
        [{ subnet: NETWORKS[0], rangeStart: '10.244.3.9' }],
        [{ subnet: NETWORKS[1] }],
        [{ subnet: '10.0.0.0/8' }],
      ],
    })
  })

  it('is refused where the node has no network of the family', () => {
    const [four] = told({ subnet: 'usePodCIDR' }, []) as string[]
    assert.match(four!, /^ipam.subnet is usePodCIDR, but the node has no IPv4 network for pods$/)
    const [six] = told({ ranges: [[{ subnet: 'usePodCidrIPv6' }]] }, ['10.244.3.0/24']) as string[]
    assert.match(six!, /no IPv6 network/)
    assert.deepEqual(told({ subnet: 'usePodCIDR' }, ANY_NETWORK), { type: 'host-local', subnet: '0.0.0.0/0' })
  })

  it('asks for the node only where it must, and is passed on as it came', () => {
    const plain = { name: 'net', ipam: { type: 'host-local', subnet: '10.0.0.0/24' }, more: { deep: [1] } }
    assert.equal(asksForNodeNetworks(plain), false)
    assert.equal(asksForNodeNetworks({ ipam: { ranges: [[{ subnet: 'usePodCIDR' }]] } }), true)
    assert.deepEqual(hostLocalConfig(plain, { networks: [] }), { ok: true, value: plain })
    for (const odd of [{}, { ipam: 7 }, { ipam: { ranges: 7 } }, { ipam: { ranges: [7, [7, null]] } }]) {
      assert.equal(hostLocalConfig(odd, { networks: [] }).ok, true)
    }
  })

  it('asks for addresses beside what the runtime asks', () => {
    const document = { args: { 'x.y': 1, cni: { ips: ['1.1.1.1'], labels: [] } } }
    const config = hostLocalConfig(document, { networks: [], requested: [addr('10.0.0.7')] })
    assert.ok(config.ok)
    assert.deepEqual(config.value.args, { 'x.y': 1, cni: { ips: ['10.0.0.7'], labels: [] } })
  })
})

it('routes are everything unless host-local has its own; then those, and everything if that is asked for', () => {
  const routes = (type: string, more: object = {}) => {
    const config = decodeConfig({
      name: 'net',
      type: 'calico',
      ipam: { type, routes: [{ dst: '10.9.1.1/8' }] },
      ...more,
    })
    assert.ok(config.ok)
    return config.value.routes
  }
  assert.deepEqual(routes('calico-ipam'), ['0.0.0.0/0', '::/0'])
  assert.deepEqual(routes('host-local'), ['10.0.0.0/8'])
  assert.deepEqual(routes('host-local', { include_default_routes: true }), ['10.0.0.0/8', '0.0.0.0/0', '::/0'])
  assert.deepEqual(routes('host-local', { ipam: { type: 'host-local' } }), ['0.0.0.0/0', '::/0'])
})
