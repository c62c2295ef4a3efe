import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addr } from '../net/addr.ts'
import { addressAnnotations, podWishes, type WishSources } from './pod-wishes.ts'

const CONFIG = { families: [4], pools: { 4: ['config-pool'], 6: [] }, allowsNoIpam: false } as const
const of = (entries: Record<string, string>) =>
  Object.fromEntries(Object.entries(entries).map(([key, value]) => [`cni.projectcalico.org/${key}`, value]))

function wishes(pod: Record<string, string>, namespace: Record<string, string> = {}, more: Partial<WishSources> = {}) {
  const read = podWishes({ pod: of(pod), namespace: of(namespace), config: CONFIG, ...more })
  return read.ok ? read.value : read.problems.map(({ path, message }) => `${path} ${message}`)
}
const NOTHING = {
  families: [4],
  pools: { 4: ['config-pool'], 6: [] },
  addresses: [],
  withoutIpam: false,
  mac: undefined,
  spoofs: false,
}

describe('what a pod asks for', () => {
  it("is the configuration's unless annotations say otherwise; the pod comes before its namespace", () => {
    assert.deepEqual(wishes({}), NOTHING)
    assert.deepEqual(wishes({ ipv4pools: '' }), NOTHING)
    assert.deepEqual(podWishes({ pod: undefined, namespace: undefined, config: CONFIG }), { ok: true, value: NOTHING })
    const pools = (...names: string[]) => ({ ...NOTHING, pools: { 4: names, 6: [] } })
    assert.deepEqual(wishes({}, { ipv4pools: '["a","10.0.0.0/8"]' }), pools('a', '10.0.0.0/8'))
    assert.deepEqual(wishes({ ipv4pools: '["b"]' }, { ipv4pools: '["a"]' }), pools('b'))
    assert.deepEqual(wishes({ ipFamilies: '["IPv6","IPv4"]' }), { ...NOTHING, families: [4, 6] })
    assert.deepEqual(wishes({}, { ipFamilies: '["IPv6"]' }), { ...NOTHING, families: [6] })
    assert.deepEqual(wishes({ ipAddrs: '["10.0.0.7","fd00:0::7"]' }), {
      ...NOTHING,
      addresses: ['10.0.0.7', 'fd00::7'],
    })
    assert.deepEqual(wishes({}, { ipAddrs: '["10.0.0.7"]' }), NOTHING, 'a namespace has no addresses')
    assert.deepEqual(wishes({}, {}, { ip: addr('10.0.0.9') }), { ...NOTHING, addresses: ['10.0.0.9'] })
    assert.deepEqual(wishes({ hwAddr: '02-AA-00-00-00-01' }), { ...NOTHING, mac: '02:aa:00:00:00:01' })
  })

  it('may be addresses that no IPAM knows of, where the network allows that, and not beside ipAddrs', () => {
    const config = { ...CONFIG, allowsNoIpam: true }
    const own = { ipAddrsNoIpam: '["10.0.0.7","fd00::7"]' }
    const asked = { ...NOTHING, addresses: ['10.0.0.7', 'fd00::7'], withoutIpam: true }
    assert.deepEqual(wishes(own, {}, { config }), asked)
    assert.deepEqual(wishes({}, own, { config }), NOTHING, 'a namespace has no addresses')
    assert.match(String(wishes({ ...own, ipAddrs: '["10.0.0.7"]' }, {}, { config })), /ipAddrsNoIpam excludes ipAddrs/)
    const two = { ipAddrsNoIpam: '["10.0.0.7","10.0.0.8"]' }
    assert.match(String(wishes(two, {}, { config })), /ipAddrsNoIpam has more than one IPv4 address/)
  })

  for (const [annotations, said] of [
    [{ ipv4pools: 'a' }, /ipv4pools is not a JSON list/],
    [{ ipv4pools: '"a"' }, /ipv4pools must be a list/],
    [{ ipv4pools: '["fd00::/64"]' }, /ipv4pools\[0\] is not an IPv4 pool/],
    [{ ipv6pools: '[""]' }, /ipv6pools\[0\] is an empty name/],
    [{ ipFamilies: '["ipv4"]' }, /ipFamilies\[0\] must be one of IPv4, IPv6/],
    [{ ipFamilies: '[]' }, /ipFamilies must have at least 1/],
    [{ ipAddrs: '[]' }, /ipAddrs is an empty list/],
    [{ ipAddrs: '["10.0.0.1","10.0.0.2"]' }, /ipAddrs has more than one IPv4 address/],
    [{ ipAddrs: '["10.0.0.1/32"]' }, /ipAddrs\[0\] is not an IP address/],
    [{ ipAddrsNoIpam: '["10.0.0.1"]' }, /ipAddrsNoIpam is not enabled in the network configuration/],
    [{ floatingIPs: '["10.0.0.1"]' }, /floatingIPs is not supported/],
    [{ hwAddr: '02:aa' }, /hwAddr is not a MAC address/],
    [{ hwAddr: '01:00:5e:00:00:01' }, /hwAddr is a multicast MAC address/],
    [{ hwAddr: '00:00:00:00:00:00' }, /hwAddr is the zero MAC address/],
  ] as const) {
    it(`cannot be ${JSON.stringify(annotations)}`, () => assert.match(String(wishes(annotations)), said))
  }

  it('cannot be neither family', () => {
    const config = { ...CONFIG, families: [] }
    assert.match(String(wishes({}, {}, { config })), /ipam asks for neither IPv4 nor IPv6/)
  })

  it('is read from any text without a throw, all mistakes at once', () => {
    const names = ['ipv4pools', 'ipv6pools', 'ipAddrs', 'ipAddrsNoIpam', 'ipFamilies', 'hwAddr']
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.array(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6())).map(v => JSON.stringify(v)),
    )
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), text), pod => {
        const read = podWishes({ pod: of(pod), namespace: undefined, config: CONFIG })
        if (!read.ok) assert.ok(read.problems.every(({ path }) => path.startsWith('cni.projectcalico.org/')))
      }),
      { numRuns: 1000 },
    )
  })
})

it('addresses are written with full lengths', () => {
  assert.deepEqual(addressAnnotations('c', [addr('10.0.0.7'), addr('fd00::7')]), {
    'cni.projectcalico.org/podIP': '10.0.0.7/32',
    'cni.projectcalico.org/podIPs': '10.0.0.7/32,fd00::7/128',
    'cni.projectcalico.org/containerID': 'c',
  })
})
