// Prefixes against a model of ranges of numbers, and against Node's BlockList.
import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { BITS, type Family, familyOf, fromNumber, MAX, toNumber } from './addr.ts'
import {
  hostPrefix,
  makePrefix,
  type Prefix,
  parsePrefix,
  parsePrefixDetail,
  prefix,
  prefixBase,
  prefixContains,
  prefixCovers,
  prefixesOverlap,
  prefixFamily,
  prefixLength,
  prefixRange,
} from './prefix.ts'

type Parts = { readonly family: Family; readonly n: bigint; readonly length: number }

const family = fc.constantFrom<Family>(4, 6)
const parts: fc.Arbitrary<Parts> = family.chain(f =>
  fc.record({
    family: fc.constant(f),
    // Few high bits, so that prefixes lie in each other often.
    n: fc.oneof(
      fc.bigInt({ min: 0n, max: MAX[f] }),
      fc.bigInt({ min: 0n, max: 15n }).map(bits => bits << BigInt(BITS[f] - 4)),
    ),
    length: fc.oneof(fc.nat(BITS[f]), fc.nat(4)),
  }),
)
const printed = ({ family: f, n, length }: Parts): string => `${fromNumber(f, n)}/${length}`

/** The model: the addresses that share the first `length` bits, counted out by division instead of masks. */
function model({ family: f, n, length }: Parts): { first: bigint; last: bigint } {
  const size = 2n ** BigInt(BITS[f] - length)
  const first = (n / size) * size
  return { first, last: first + size - 1n }
}

test('a text becomes the prefix of its range, and tells whether bits were set after its length', () => {
  fc.assert(
    fc.property(parts, p => {
      const { first, last } = model(p)
      const detail = parsePrefixDetail(printed(p))
      assert.ok(detail)
      assert.deepEqual(prefixRange(detail.prefix), { family: p.family, first, last })
      assert.equal(detail.prefix, `${fromNumber(p.family, first)}/${p.length}`)
      assert.equal(detail.strict, first === p.n)
      assert.equal(detail.hadLength, true)
      assert.equal(makePrefix(p.family, p.n, p.length), detail.prefix)
      assert.equal(prefix(printed(p)), detail.prefix)
      assert.equal(parsePrefix(detail.prefix), detail.prefix, 'the canonical form is its own')
      assert.deepEqual(
        [prefixFamily(detail.prefix), prefixBase(detail.prefix), prefixLength(detail.prefix)],
        [p.family, fromNumber(p.family, first), p.length],
      )
    }),
    { numRuns: 2000 },
  )
})

test('a bare address is one host', () => {
  fc.assert(
    fc.property(parts, ({ family: f, n }) => {
      const address = fromNumber(f, n)
      const host = `${address}/${BITS[f]}`
      assert.deepEqual(parsePrefixDetail(address), { prefix: host, hadLength: false, strict: true })
      assert.equal(hostPrefix(address), host)
      assert.deepEqual(prefixRange(hostPrefix(address)), { family: f, first: n, last: n })
    }),
  )
})

test('covers, overlaps and contains are those of the ranges', () => {
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const [pa, pb] = [prefix(printed(a)), prefix(printed(b))]
      const [ra, rb] = [model(a), model(b)]
      const same = a.family === b.family
      assert.equal(prefixCovers(pa, pb), same && ra.first <= rb.first && rb.last <= ra.last)
      assert.equal(prefixesOverlap(pa, pb), same && ra.first <= rb.last && rb.first <= ra.last)
      assert.equal(prefixesOverlap(pb, pa), prefixesOverlap(pa, pb))
      assert.equal(prefixContains(pa, fromNumber(b.family, b.n)), same && ra.first <= b.n && b.n <= ra.last)
    }),
    { numRuns: 5000 },
  )
})

test('contains is what Node’s BlockList says, at the edges above all', () => {
  const type = (f: Family): 'ipv4' | 'ipv6' => (f === 4 ? 'ipv4' : 'ipv6')
  fc.assert(
    fc.property(parts, fc.bigInt({ min: -1n, max: 1n }), fc.boolean(), (p, beside, atEnd) => {
      // BlockList takes no length of 0.
      fc.pre(p.length > 0)
      const { first, last } = model(p)
      const n = (atEnd ? last : first) + beside
      fc.pre(n >= 0n && n <= MAX[p.family])
      const [base, address] = [fromNumber(p.family, first), fromNumber(p.family, n)]
      // BlockList takes an IPv4-mapped address for the IPv4 one; here the two are strangers.
      fc.pre(!address.startsWith('::ffff:') && !base.startsWith('::ffff:'))
      const list = new BlockList()
      list.addSubnet(base, p.length, type(p.family))
      assert.equal(prefixContains(prefix(printed(p)), address), list.check(address, type(p.family)))
    }),
    { numRuns: 2000 },
  )
})

test('halves of a prefix partition it', () => {
  fc.assert(
    fc.property(parts, p => {
      fc.pre(p.length < BITS[p.family])
      const whole = prefix(printed(p))
      const { first, last } = prefixRange(whole)
      const low = makePrefix(p.family, first, p.length + 1)
      const high = makePrefix(p.family, last, p.length + 1)
      assert.ok(prefixCovers(whole, low) && prefixCovers(whole, high) && !prefixesOverlap(low, high))
      assert.equal(prefixRange(low).last + 1n, prefixRange(high).first)
      assert.equal(toNumber(prefixBase(low)), first)
    }),
  )
})

test('what is no prefix is refused, and nothing throws', () => {
  const refused = [
    '',
    '/',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/+8',
    '10.0.0.0/8 ',
  ]
  const more = [
    '10.0.0.0/8/8',
    'fd00::/129',
    'fd00::/1e1',
    '10.0.0/8',
    '10.0.0.0/0x8',
    '10.0.0.0/255.0.0.0',
    'fe80::%1/64',
  ]
  for (const text of [...refused, ...more]) {
    assert.equal(parsePrefix(text), undefined, text)
    assert.throws(() => prefix(text), /not a CIDR/)
  }
  const piece = fc.constantFrom('10.0.0.0', 'fd00::', '/', '8', '32', '128', '129', '0', ' ', '-', '.', ':', 'x')
  const text = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 5 }).map(p => p.join('')),
  )
  fc.assert(
    fc.property(text, t => {
      const parsed = parsePrefix(t)
      if (parsed === undefined) return
      const [before, length] = parsed.split('/')
      assert.equal(parsePrefix(parsed), parsed)
      assert.ok(Number(length) <= BITS[familyOf(before!)])
      assert.ok(!t.includes('/') || t.endsWith(`/${length}`))
    }),
    { numRuns: 5000 },
  )
  assert.equal(prefixLength(parsePrefix('0.0.0.0/0') as Prefix), 0)
})
