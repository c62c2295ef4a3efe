import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addr, familyOf } from '../net/addr.ts'
import { appendResult, type CniResult, decodeResult, printResult } from './result.ts'
import { CNI_VERSIONS, type CniVersion, isAtLeast } from './version.ts'

const RESULT: CniResult = {
  interfaces: [
    { name: 'cali0', mac: 'ee:ee:ee:ee:ee:ee', mtu: 1500 },
    { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: '10.0.0.7/32', gateway: addr('169.254.1.1'), interface: 1 },
    { address: 'fd00::7/128', gateway: addr('fe80::1'), interface: 1 },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: addr('169.254.1.1'), mtu: 1400 },
    { dst: '::/0', gw: addr('fe80::1') },
  ],
  dns: { nameservers: ['10.96.0.10'] },
}

const print = (version: CniVersion) => JSON.parse(printResult(RESULT, version))

describe('a CNI result', () => {
  it('is ip4 and ip6 up to 0.2.0', () => {
    for (const version of ['0.1.0', '0.2.0'] as const) {
      assert.deepEqual(print(version), {
        cniVersion: version,
        ip4: { ip: '10.0.0.7/32', gateway: '169.254.1.1', routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }] },
        ip6: { ip: 'fd00::7/128', gateway: 'fe80::1', routes: [{ dst: '::/0', gw: 'fe80::1' }] },
        dns: { nameservers: ['10.96.0.10'] },
      })
    }
  })

  it('names the version of each address up to 0.4.0', () => {
    for (const version of ['0.3.0', '0.3.1', '0.4.0'] as const) {
      assert.deepEqual(print(version), {
        cniVersion: version,
        interfaces: [
          { name: 'cali0', mac: 'ee:ee:ee:ee:ee:ee' },
          { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/x' },
        ],
        ips: [
          { version: '4', address: '10.0.0.7/32', gateway: '169.254.1.1', interface: 1 },
          { version: '6', address: 'fd00::7/128', gateway: 'fe80::1', interface: 1 },
        ],
        routes: [
          { dst: '0.0.0.0/0', gw: '169.254.1.1' },
          { dst: '::/0', gw: 'fe80::1' },
        ],
        dns: { nameservers: ['10.96.0.10'] },
      })
    }
  })

  it('does not from 1.0.0 on, and has all fields from 1.1.0 on', () => {
    assert.deepEqual(print('1.0.0').ips, RESULT.ips)
    assert.equal(print('1.0.0').interfaces[1].mtu, undefined)
    assert.equal(print('1.0.0').routes[0].mtu, undefined)
    assert.deepEqual(print('1.1.0'), { cniVersion: '1.1.0', ...RESULT })
  })

  it('comes back from every version, as far as the version has room', () => {
    const four = fc.ipV4().map(text => addr(text))
    const six = fc.ipV6().map(text => addr(text))
    const plain = { noNullPrototype: true } as const
    const address = fc.oneof(
      four.map(a => `${a}/32`),
      six.map(a => `${a}/128`),
    )
    const ip = fc.record({ address, gateway: fc.oneof(four, six) }, plain)
    const route = fc.record({ dst: fc.constantFrom('0.0.0.0/0', '::/0', '10.0.0.0/8'), gw: fc.oneof(four, six) }, plain)
    const link = fc.record({ name: fc.string(), mac: fc.string(), sandbox: fc.string() }, plain)
    const result = fc.record(
      {
        interfaces: fc.array(link, { minLength: 1 }),
        ips: fc.array(ip).map(ips => ips.map(entry => ({ ...entry, interface: 0 }))),
        routes: fc.array(route),
        dns: fc.record({ domain: fc.string() }, plain),
      },
      plain,
    )
    fc.assert(
      fc.property(result, fc.constantFrom(...CNI_VERSIONS), (given, version) => {
        const decoded = decodeResult(JSON.parse(printResult(given, version)), version)
        assert.ok(decoded.ok)
        assert.deepEqual(decoded.value, isAtLeast(version, '0.3.0') ? given : legacy(given))
      }),
    )
  })

  it('follows what came before it in a chain', () => {
    const before: CniResult = { interfaces: [{ name: 'lo' }], ips: [], routes: [], dns: { domain: 'x' } }
    const all = appendResult(before, RESULT)
    assert.deepEqual(
      all.interfaces.map(({ name }) => name),
      ['lo', 'cali0', 'eth0'],
    )
    assert.deepEqual(
      all.ips.map(ip => all.interfaces[ip.interface!]?.name),
      ['eth0', 'eth0'],
    )
    assert.deepEqual(all.dns, { domain: 'x', nameservers: ['10.96.0.10'] })
  })

  it('is never read wrongly: what is decoded prints and decodes to itself', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...CNI_VERSIONS), (document, version) => {
        const decoded = decodeResult(document, version)
        if (!decoded.ok) return assert.notEqual(decoded.problems.length, 0)
        assert.deepEqual(decodeResult(JSON.parse(printResult(decoded.value, version)), version), decoded)
      }),
    )
  })
})

/** What 0.1.0 and 0.2.0 keep: one address a family, and the routes of families that have one. */
function legacy({ ips, routes, dns }: CniResult): CniResult {
  const firsts = ([4, 6] as const).flatMap(family => ips.find(({ address }) => familyOf(address) === family) ?? [])
  return {
    interfaces: [],
    ips: firsts.map(({ interface: _, ...ip }) => ip),
    routes: firsts.flatMap(({ address }) => routes.filter(({ dst }) => familyOf(dst) === familyOf(address))),
    dns,
  }
}
