// The quick way of addresses against the one of net/addr.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromBytes, parseAddr, toBytes } from '../net/addr.ts'
import { Reader, Writer } from '../netlink/bytes.ts'
import { putAddress, takeAddress } from './address-bytes.ts'

/** Half of the bytes are zero, so that runs of zeros come up. */
const byte = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 }))
const addressBytes = fc.oneof(
  fc.array(byte, { minLength: 4, maxLength: 4 }),
  fc.array(byte, { minLength: 16, maxLength: 16 }),
)

const put = (text: string, size: number): Uint8Array | false => {
  const w = new Writer(4)
  w.u8(7)
  const done = putAddress(w, text, size)
  assert.equal(w.bytes[0], 7)
  assert.equal(w.length, done ? size + 1 : 1)
  return done && w.result().slice(1)
}

test('bytes and text agree with the slow way, both ways', () => {
  fc.assert(
    fc.property(addressBytes, list => {
      const bytes = Uint8Array.from(list)
      const text = takeAddress(new Reader(bytes), bytes.length)
      assert.equal(text, fromBytes(bytes))
      assert.deepEqual(put(text, bytes.length), bytes)
      assert.equal(put(text, 20 - bytes.length), false)
    }),
    { numRuns: 2000 },
  )
})

test('any text is accepted and refused as by the slow way', () => {
  const pieces = fc.constantFrom(
    '1',
    '0',
    '255',
    '256',
    'fd00',
    'FFFF',
    '12345',
    ':',
    '::',
    '.',
    '00',
    'g',
    ' ',
    '10.0.0.1',
  )
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), list => {
      const text = list.join('')
      const address = parseAddr(text)
      for (const size of [4, 16]) {
        const bytes = address && toBytes(address)
        assert.deepEqual(put(text, size), bytes?.length === size ? bytes : false, text)
      }
    }),
    { numRuns: 3000 },
  )
})
