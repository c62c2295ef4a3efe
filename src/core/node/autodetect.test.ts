import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addr } from '../net/addr.ts'
import { detectAddress, explicitAddress, type NodeFacts, parseMethod, printMethod } from './autodetect.ts'

const FACTS: NodeFacts = {
  interfaces: [
    {
      name: 'lo',
      up: true,
      addresses: [
        { address: addr('127.0.0.1'), length: 8 },
        { address: addr('::1'), length: 128 },
      ],
    },
    { name: 'docker0', up: true, addresses: [{ address: addr('172.17.0.1'), length: 16 }] },
    { name: 'eth9', up: false, addresses: [{ address: addr('10.9.0.5'), length: 24 }] },
    {
      name: 'eth0',
      up: true,
      addresses: [
        { address: addr('10.0.0.5'), length: 24 },
        { address: addr('fe80::1'), length: 64 },
        { address: addr('fd00::5'), length: 64 },
      ],
    },
    { name: 'eth1', up: true, addresses: [{ address: addr('192.168.7.5'), length: 20 }] },
  ],
  internalIps: [addr('192.168.7.5'), addr('fd00::5')],
  reaching: addr('172.17.0.1'),
}

const detect = (text: string, family: 4 | 6 = 4, facts = FACTS): string => {
  const method = parseMethod(text)
  assert.ok(method.ok, text)
  const found = detectAddress(method.value, family, facts)
  if (!found.ok) return `problem: ${found.problems[0]!.message}`
  const { chosen, others } = found.value
  return [chosen, ...others].map(c => `${c.interface} ${c.address}/${c.length}`).join(', ')
}

describe('detectAddress', () => {
  const cases: readonly (readonly [string, 4 | 6, string])[] = [
    ['kubernetes-internal-ip', 4, 'eth1 192.168.7.5/20'],
    ['kubernetes-internal-ip', 6, 'eth0 fd00::5/64'],
    // The others are named: they would have fitted.
    ['first-found', 4, 'eth0 10.0.0.5/24, eth1 192.168.7.5/20'],
    ['first-found', 6, 'eth0 fd00::5/64'],
    ['interface=eth1', 4, 'eth1 192.168.7.5/20'],
    ['interface=^eth1$,docker.*', 4, 'eth1 192.168.7.5/20, docker0 172.17.0.1/16'],
    ['skip-interface=eth0', 4, 'eth1 192.168.7.5/20'],
    ['can-reach=198.51.100.1', 4, 'docker0 172.17.0.1/16'],
    ['cidr=10.9.0.0/24,192.168.0.0/16', 4, 'eth1 192.168.7.5/20'],
  ]
  for (const [method, family, expected] of cases)
    it(`${method}, IPv${family}: ${expected}`, () => assert.equal(detect(method, family), expected))

  it('says what the node has when nothing fits, an interface that is down not counted', () => {
    assert.equal(
      detect('cidr=10.9.0.0/16'),
      'problem: no address of this node fits cidr=10.9.0.0/16; it has: 172.17.0.1 on docker0, 10.0.0.5 on eth0, 192.168.7.5 on eth1',
    )
    assert.match(
      detect('kubernetes-internal-ip', 4, { ...FACTS, internalIps: [addr('203.0.113.9')] }),
      /fits InternalIP 203\.0\.113\.9; it has: 172/,
    )
    assert.match(detect('kubernetes-internal-ip', 4, { ...FACTS, internalIps: [] }), /InternalIP of IPv4: none/)
    assert.match(detect('first-found', 6, { ...FACTS, interfaces: [] }), /no IPv6 address on any interface/)
  })

  it('takes an explicit address with the length of the interface that has it', () => {
    const found = (text: string) => {
      const result = explicitAddress(text, FACTS)
      return result.ok ? `${result.value.address}/${result.value.length}` : result.problems[0]!.message
    }
    assert.equal(found('192.168.7.5'), '192.168.7.5/20')
    assert.equal(found('192.168.7.5/16'), '192.168.7.5/16')
    assert.equal(found('203.0.113.9'), '203.0.113.9/32')
    assert.equal(found('nonsense'), 'is not an address')
  })
})

describe('parseMethod', () => {
  it('refuses what is no method, and says which there are', () => {
    for (const text of [
      '',
      'first',
      'first-found=x',
      'interface=',
      'interface=(',
      'cidr=10.0.0.0/33',
      'can-reach=',
      'cidr',
    ]) {
      const parsed = parseMethod(text)
      assert.ok(!parsed.ok, text)
    }
    const wrong = parseMethod('guess')
    assert.ok(!wrong.ok && wrong.problems[0]!.fix?.includes('can-reach=ADDRESS'))
  })

  it('prints what it parsed, and never throws', () => {
    const word = fc.constantFrom(
      'interface',
      'skip-interface',
      'cidr',
      'can-reach',
      'first-found',
      'kubernetes-internal-ip',
    )
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom('eth0', 'eth.*,en0', '10.0.0.0/8', '10.0.0.0/8,fd00::/64', '8.8.8.8'),
    )
    fc.assert(
      fc.property(word, fc.option(value), (name, text) => {
        const written = text === null ? name : `${name}=${text}`
        const parsed = parseMethod(written)
        if (!parsed.ok) return
        const again = parseMethod(printMethod(parsed.value))
        assert.ok(again.ok)
        assert.equal(printMethod(again.value), printMethod(parsed.value))
      }),
    )
  })
})
