// Protocol numbers and names: every number has one spelling that means it, and nothing else means one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasPorts, PROTOCOL_NUMBERS, protocolName, protocolNumber } from './protocol.ts'

test('every protocol goes through its name or digits and back', () => {
  for (let n = 1; n <= 255; n++) {
    assert.equal(protocolNumber(protocolName(n)), n)
    assert.equal(protocolNumber(n), n)
    assert.equal(protocolNumber(String(n)), n)
  }
})

test('names are taken in any case, and given as Calico spells them', () => {
  const rows: readonly (readonly [string, number])[] = [
    ['TCP', 6],
    ['UDP', 17],
    ['ICMP', 1],
    ['ICMPv6', 58],
    ['SCTP', 132],
    ['UDPLite', 136],
  ]
  assert.deepEqual(Object.entries(PROTOCOL_NUMBERS), rows)
  for (const [name, n] of rows) {
    assert.equal(protocolName(n), name)
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: name.length, maxLength: name.length }), upper => {
        const spelled = [...name].map((c, i) => (upper[i] ? c.toUpperCase() : c.toLowerCase())).join('')
        assert.equal(protocolNumber(spelled), n)
      }),
    )
  }
})

test('nothing else is a protocol, and nothing throws', () => {
  const refused = [
    '',
    ' ',
    '0',
    '256',
    '-6',
    '+6',
    '6.0',
    '6e0',
    '0x6',
    ' 6',
    '6\n',
    'TCP ',
    'QUIC',
    'constructor',
    '__proto__',
  ]
  for (const text of refused) assert.equal(protocolNumber(text), undefined, JSON.stringify(text))
  for (const n of [0, -1, 256, 6.5, Number.NaN, Number.POSITIVE_INFINITY]) assert.equal(protocolNumber(n), undefined)
  const names = Object.keys(PROTOCOL_NUMBERS).map(name => name.toLowerCase())
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d{0,4}$/)), text => {
      const isOne =
        names.includes(text.toLowerCase()) || (/^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 255)
      assert.equal(protocolNumber(text) !== undefined, isOne)
    }),
    { numRuns: 5000 },
  )
  fc.assert(
    fc.property(fc.oneof(fc.integer(), fc.double()), n => {
      const isOne = Number.isInteger(n) && n >= 1 && n <= 255
      assert.equal(protocolNumber(n), isOne ? n : undefined)
    }),
  )
})

test('TCP, UDP and SCTP have ports that rules may name; UDP-Lite does not', () => {
  const withPorts = Array.from({ length: 256 }, (_, n) => n).filter(hasPorts)
  assert.deepEqual(withPorts, [6, 17, 132])
})
