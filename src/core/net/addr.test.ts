// Addresses against two judges of their own: Node's isIP for what is one, the URL parser for how IPv6 is written.
import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Addr,
  addr,
  BITS,
  FAMILIES,
  type Family,
  familyOf,
  fromBytes,
  fromNumber,
  MAX,
  parseAddr,
  parseNumber,
  toBytes,
  toNumber,
} from './addr.ts'

/** Numbers of a family, with many zero groups among them: those are what the short form is about. */
const number6 = fc
  .array(fc.oneof(fc.constantFrom(0n, 0n, 1n, 0xffffn), fc.bigInt({ min: 0n, max: 0xffffn })), {
    minLength: 8,
    maxLength: 8,
  })
  .map(groups => groups.reduce((n, group) => (n << 16n) | group, 0n))
const number4 = fc.oneof(fc.bigInt({ min: 0n, max: MAX[4] }), fc.constantFrom(0n, 1n, MAX[4]))
const numbered: fc.Arbitrary<{ family: Family; n: bigint }> = fc.oneof(
  number4.map(n => ({ family: 4 as const, n })),
  number6.map(n => ({ family: 6 as const, n })),
)
const address = numbered.map(({ family, n }) => fromNumber(family, n))

/** Texts out of the pieces of addresses: near misses far more often than chance would make them. */
const pieces = ['0', '1', '00', '01', '255', '256', 'f', 'F0', 'ffff', '10000', '-1', '1e1', '0x1', ' ', '%eth0', 'g']
const nearly = fc
  .array(fc.constantFrom('.', ':', '::', ...pieces), { minLength: 1, maxLength: 16 })
  .map(parts => parts.join(''))
const dotted = fc
  .array(fc.constantFrom(...pieces, '7', '99'), { minLength: 3, maxLength: 5 })
  .map(parts => parts.join('.'))
const colons = fc
  .array(fc.constantFrom('0', '1', '0db8', 'ABCD', '', '00000'), { minLength: 6, maxLength: 9 })
  .map(parts => parts.join(':'))
const mixed = fc
  .tuple(fc.constantFrom('::', '::ffff:', '1:2:3:4:5:6:', '1:2:3:4:5:6:7:', '1::'), dotted)
  .map(p => p.join(''))
const anyText = fc.oneof(fc.string({ unit: 'binary' }), nearly, dotted, colons, mixed)

test('print and parse are inverse, in every family', () => {
  fc.assert(
    fc.property(numbered, ({ family, n }) => {
      const printed = fromNumber(family, n)
      assert.deepEqual(parseNumber(printed), { family, n })
      assert.equal(parseAddr(printed), printed, 'the canonical form is its own')
      assert.equal(isIP(printed), family)
      assert.equal(familyOf(printed), family)
      assert.equal(toNumber(printed), n)
    }),
    { numRuns: 2000 },
  )
})

test('IPv6 is written as a URL writes it', () => {
  fc.assert(
    fc.property(number6, n => {
      const printed = fromNumber(6, n)
      assert.equal(new URL(`http://[${printed}]/`).hostname, `[${printed}]`)
    }),
    { numRuns: 2000 },
  )
})

/** The examples of RFC 5952 with the section that gives each, and what they are all to become. */
const RFC_5952: readonly (readonly [text: string, canonical: string])[] = [
  // 1 and 2: spellings of one address.
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:0db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8::0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:0db8::1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:0:1::1', '2001:db8::1:0:0:1'],
  ['2001:db8:0000:0:1::1', '2001:db8::1:0:0:1'],
  ['2001:DB8:0:0:1::1', '2001:db8::1:0:0:1'],
  // 2.1: leading zeros.
  ['2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1'],
  ['2001:db8:aaaa:bbbb:cccc:dddd:eeee:001', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1'],
  // 2.2 and 4.2.2: one zero group is not shortened.
  ['2001:db8:aaaa:bbbb:cccc:dddd::1', '2001:db8:aaaa:bbbb:cccc:dddd:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:db8:0:0:0::1', '2001:db8::1'],
  ['2001:db8:0:0::1', '2001:db8::1'],
  ['2001:db8:0::1', '2001:db8::1'],
  // 2.3: capitals.
  ['2001:db8:aaaa:bbbb:cccc:dddd:eeee:AaAa', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa'],
  // 4.2.1: as short as can be.
  ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8::0:1', '2001:db8::1'],
  // 4.2.3: the longest run, and the first of equals.
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  // Ends, and a dotted quad, which counts as two groups.
  ['0:0:0:0:0:0:0:0', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['1:0:0:0:0:0:0:0', '1::'],
  ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
]

test('the examples of RFC 5952', () => {
  for (const [text, canonical] of RFC_5952) assert.equal(parseAddr(text), canonical, text)
})

test('what is no address is refused as Node refuses it, and nothing throws', () => {
  const judge = (text: string): void => {
    const parsed = parseAddr(text)
    // Zones are Node's own: here an address has none.
    const wanted = text.includes('%') ? 0 : isIP(text)
    assert.equal(parsed === undefined ? 0 : familyOf(parsed), wanted, JSON.stringify(text))
    if (parsed === undefined) assert.throws(() => addr(text), /not an IP address/)
    else assert.equal(addr(text), parsed)
  }
  const rows = [
    '',
    '.',
    ':',
    ':::',
    '::1::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2:3:4:5:6:7:8',
    '1.2.3',
    '01.2.3.4',
  ]
  for (const text of [...rows, '1.2.3.4\n', '::1\n', 'fe80::1%eth0', '1.2.3.4::', '::1.2.3.4:5', '١.1.1.1']) judge(text)
  fc.assert(fc.property(anyText, judge), { numRuns: 20_000 })
})

test('bytes go round and are in the order of the network', () => {
  assert.deepEqual([...toBytes(addr('10.0.1.2'))], [10, 0, 1, 2])
  assert.deepEqual([...toBytes(addr('2001:db8::ff'))], [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff])
  fc.assert(
    fc.property(address, a => {
      const bytes = toBytes(a)
      assert.equal(bytes.length * 8, BITS[familyOf(a)])
      assert.equal(fromBytes(bytes), a)
      assert.equal(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), toNumber(a))
    }),
  )
  const bytes = fc.oneof(...FAMILIES.map(f => fc.uint8Array({ minLength: BITS[f] / 8, maxLength: BITS[f] / 8 })))
  fc.assert(fc.property(bytes, b => assert.deepEqual([...toBytes(fromBytes(b))], [...b])))
  for (const length of [0, 3, 5, 15, 17]) assert.throws(() => fromBytes(new Uint8Array(length)), /4 or 16 bytes/)
  assert.throws(() => toNumber('nonsense' as Addr), /not an IP address/)
})
