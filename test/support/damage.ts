// What every decoder of a message owes for bytes that no kernel sends.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { DecodeError, Reader } from '../../src/core/netlink/bytes.ts'

/** Of a whole message, each shorter beginning is a DecodeError; a changed byte, and any other bytes, are read or are one. */
export function assertOnlyDecodeErrors(decodeBody: (r: Reader) => unknown, told: Uint8Array): void {
  const decode = (bytes: Uint8Array): void => {
    try {
      decodeBody(new Reader(bytes))
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error))
    }
  }
  for (let length = 0; length < told.length; length++)
    assert.throws(() => decodeBody(new Reader(told.slice(0, length))), DecodeError)
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), decode))
  fc.assert(
    fc.property(fc.nat(told.length - 1), fc.nat(255), (at, value) => {
      const damaged = Uint8Array.from(told)
      damaged[at] = value
      decode(damaged)
    }),
  )
}
