// Round trips and damage of netlink's messages and attributes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeAddress, encodeAddress } from './address.ts'
import { attributes, be16, be32, be64, bytes, encodeValue, flag, list, text, u8, u16, u32 } from './attributes.ts'
import { DecodeError, fromUtf8, Reader, utf8, Writer } from './bytes.ts'
import { decodeLink } from './link.ts'
import { decodeAck, decodeMessages, NLM_F, NLMSG, putMessage } from './message.ts'
import { decodeNeighbour } from './neighbour.ts'
import { decodeRoute } from './route.ts'

const inner = attributes({ n: [1, u16], names: [2, list(1, text)] })
const table = attributes({
  a: [1, u8],
  b: [2, u16],
  c: [3, u32],
  d: [4, be16],
  e: [5, be32],
  f: [6, be64],
  g: [7, text],
  h: [8, bytes],
  i: [9, flag],
  j: [10, inner],
})

const word = (max: number) => fc.integer({ min: 0, max })
const anyText = fc.string({ unit: 'binary', maxLength: 30 }).filter(s => !s.includes('\0') && s.isWellFormed())
const values = fc.record(
  {
    a: word(0xff),
    b: word(0xffff),
    c: word(0xffffffff),
    d: word(0xffff),
    e: word(0xffffffff),
    f: word(Number.MAX_SAFE_INTEGER),
    g: anyText,
    h: fc.uint8Array({ maxLength: 40 }),
    i: fc.constant(true as const),
    j: fc.record({ n: word(0xffff), names: fc.array(anyText, { maxLength: 4 }) }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
)

test('decode is the inverse of encode', () => {
  fc.assert(
    fc.property(values, v => {
      const encoded = encodeValue(table, v)
      assert.equal(encoded.length % 4, 0)
      assert.deepEqual(JSON.stringify(sorted(table.decode(new Reader(encoded)))), JSON.stringify(sorted(v)))
    }),
  )
})

const sorted = (v: object): object => Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))

test('text is UTF-8, as the platform makes it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), s => {
      assert.deepEqual(utf8(s), new Uint8Array(new TextEncoder().encode(s)))
      assert.equal(fromUtf8(utf8(s)), s.toWellFormed())
    }),
  )
  assert.throws(() => fromUtf8(Uint8Array.of(0xc3, 0x28)), DecodeError)
})

test('an attribute that the table lacks is passed over, or refused where reading is strict', () => {
  const encoded = encodeValue(attributes({ a: [1, u8], z: [99, u32] }), { a: 1, z: 2 })
  assert.deepEqual(attributes({ a: [1, u8] }).decode(new Reader(encoded)), { a: 1 })
  assert.throws(() => attributes({ a: [1, u8] }, true).decode(new Reader(encoded)), { name: 'DecodeError', offset: 12 })
})

test('a length that cannot be is told with its place', () => {
  assert.throws(() => table.decode(new Reader(Uint8Array.of(3, 0, 1, 0))), {
    name: 'DecodeError',
    message: /of 3 bytes at byte 0/,
  })
  assert.throws(() => table.decode(new Reader(Uint8Array.of(9, 0, 1, 0, 1))), DecodeError)
  assert.throws(() => table.decode(new Reader(Uint8Array.of(5, 0, 2, 0, 1, 0, 0, 0))), DecodeError)
  assert.throws(() => table.decode(new Reader(Uint8Array.of(8, 0, 1, 0, 1, 2, 3, 4))), { message: /3 bytes too many/ })
  assert.throws(() => decodeMessages(Uint8Array.of(1, 2, 3)), DecodeError)
})

test('an attribute is refused past 64 KiB', () => {
  assert.throws(() => encodeValue(table, { h: new Uint8Array(65_532) }), RangeError)
})

test('messages are cut where they were joined', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(word(0xffff), word(0xffff), word(0xffffffff), fc.uint8Array({ maxLength: 50 }))),
      list => {
        const w = new Writer(16)
        for (const [type, flags, seq, body] of list) putMessage(w, { type, flags, seq }, x => x.put(body))
        assert.deepEqual(
          decodeMessages(w.result()).map(m => [m.type, m.flags, m.seq, m.body.slice()]),
          list.map(([type, flags, seq, body]) => [type, flags, seq, new Uint8Array(body)]),
        )
      },
    ),
  )
})

test('an acknowledgement gives the errno and the kernel’s words', () => {
  const w = new Writer()
  putMessage(w, { type: NLMSG.ERROR, flags: NLM_F.CAPPED | NLM_F.ACK_TLVS, seq: 7 }, x => {
    x.u32(-17 >>> 0)
    x.put(new Uint8Array(16))
    const at = x.begin(1)
    x.put(utf8('File exists, really\0'))
    x.end(at)
  })
  assert.deepEqual(decodeAck(decodeMessages(w.result())[0]!), {
    errno: 17,
    text: 'File exists, really',
    offset: undefined,
  })
})

test('an address of an interface is read back', () => {
  const w = new Writer()
  const wanted = { link: 3, address: 'fd00::7', prefixLength: 128, scope: 0, flags: 0x280, peer: undefined } as never
  encodeAddress(w, wanted)
  assert.deepEqual(decodeAddress(new Reader(w.result())), wanted)
})

test('garbage is a DecodeError and nothing else', () => {
  const decoders = [decodeLink, decodeAddress, decodeRoute, decodeNeighbour, table.decode]
  const nearly = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    // Valid attributes behind a plausible header, then damaged.
    fc
      .tuple(values, fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }), fc.nat(16))
      .map(([v, damage, head]) => {
        const body = Uint8Array.of(...new Uint8Array(head).fill(2), ...encodeValue(table, v))
        for (const [at, byte] of damage) if (at < body.length) body[at] = byte
        return body
      }),
  )
  fc.assert(
    fc.property(nearly, garbage => {
      const attempts: (() => unknown)[] = [
        ...decoders.map(decode => () => decode(new Reader(garbage))),
        () => decodeMessages(garbage).map(decodeAck),
      ]
      for (const attempt of attempts) {
        try {
          attempt()
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error
        }
      }
    }),
    { numRuns: 2000 },
  )
})
