import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type NodeSettings, parseNodeSettings } from './settings.ts'

const ON_KUBERNETES = { method: { kind: 'kubernetes-internal-ip' } } as const

const settings = (
  env: Record<string, string>,
  defaults: Parameters<typeof parseNodeSettings>[1] = ON_KUBERNETES,
): NodeSettings => {
  const parsed = parseNodeSettings(env, defaults)
  assert.ok(parsed.ok, JSON.stringify(parsed))
  return parsed.value
}

describe('parseNodeSettings', () => {
  it('finds IPv4 by itself on Kubernetes, IPv6 when asked; elsewhere the Node’s own addresses stay', () => {
    const found = settings({})
    assert.deepEqual(found.addresses, { 4: { kind: 'detect', method: ON_KUBERNETES.method }, 6: { kind: 'keep' } })
    assert.equal(found.pools, undefined)
    assert.deepEqual(settings({ IP6: 'autodetect' }).addresses[6], { kind: 'detect', method: ON_KUBERNETES.method })
    assert.deepEqual(settings({}, { method: undefined }).addresses[4], { kind: 'keep' })
    assert.deepEqual(settings({ IP: 'autodetect' }, { method: undefined }).addresses[4], {
      kind: 'detect',
      method: { kind: 'first-found' },
    })
  })

  it('reads addresses and methods as Calico writes them', () => {
    assert.deepEqual(settings({ IP: '10.0.0.1/24' }).addresses[4], { kind: 'explicit', address: '10.0.0.1/24' })
    assert.deepEqual(settings({ IP: 'none' }).addresses[4], { kind: 'none' })
    const cidr = settings({ IP_AUTODETECTION_METHOD: 'cidr=10.0.0.0/8' }).addresses[4]
    assert.deepEqual(cidr, { kind: 'detect', method: { kind: 'cidr', cidrs: ['10.0.0.0/8'] } })
    assert.equal(settings({ AUTODETECT_POLL_INTERVAL: '2m' }).pollSeconds, 120)
    assert.deepEqual(
      [settings({}), settings({ USE_POD_CIDR: 'true' })].map(s => s.usePodCidr),
      [false, true],
    )
  })

  it('makes the first pools that Calico would make of the same words', () => {
    const { pools } = settings({
      CALICO_IPV4POOL_CIDR: '10.244.0.0/16',
      CALICO_IPV4POOL_VXLAN: 'cross_subnet',
      CALICO_IPV4POOL_IPIP: 'Off',
      CALICO_IPV4POOL_BLOCK_SIZE: '24',
      CALICO_IPV6POOL_CIDR: 'fd00:1::/64',
    })
    assert.deepEqual(pools, [
      {
        name: 'default-ipv4-ippool',
        spec: {
          cidr: '10.244.0.0/16',
          natOutgoing: true,
          ipipMode: 'Never',
          vxlanMode: 'CrossSubnet',
          blockSize: 24,
          nodeSelector: 'all()',
          disableBGPExport: false,
        },
      },
      {
        name: 'default-ipv6-ippool',
        spec: { cidr: 'fd00:1::/64', natOutgoing: false, nodeSelector: 'all()', disableBGPExport: false },
      },
    ])
    assert.deepEqual(settings({ NO_DEFAULT_POOLS: 'true', CALICO_IPV4POOL_CIDR: '10.0.0.0/8' }).pools, [])
  })

  it('names the variable that is wrong', () => {
    const parsed = parseNodeSettings(
      { IP_AUTODETECTION_METHOD: 'guess', AUTODETECT_POLL_INTERVAL: 'often' },
      ON_KUBERNETES,
    )
    assert.ok(!parsed.ok)
    assert.deepEqual(
      parsed.problems.map(({ path }) => path),
      ['AUTODETECT_POLL_INTERVAL', 'IP_AUTODETECTION_METHOD'],
    )
  })
})
