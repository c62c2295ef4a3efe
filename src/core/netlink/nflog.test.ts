// Binding a group and what comes of it as bytes, written out by hand from linux/netfilter/nfnetlink_log.h; decoding of anything.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertOnlyDecodeErrors } from '../../../test/support/damage.ts'
import { Reader, Writer } from './bytes.ts'
import { decodeLoggedPacket, encodeBindLog, lostBetween } from './nflog.ts'

const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
const HEADER = '02006769'
const TOLD =
  HEADER +
  '0800010008000100' + // hook
  '08000a0072310000' + // prefix, which the kernel ends with a zero
  '0800040000000007' + // in
  '0800050000000008' + // out
  '0800020000010000' + // mark
  '08000c0000000009' + // number
  '1200100001020304050607080910111208000000' + // link header
  '07000900450000' // payload

test('a group is bound with one request', () => {
  const w = new Writer(64)
  encodeBindLog(w, { group: 0x6769, range: 128, threshold: 32, timeout: 10 })
  const command = '0500010001000000'
  const mode = '0a000200000000800200' + '0000'
  const rest = '080004000000000a' + '0800050000000020' + '0600060000010000'
  assert.equal(Buffer.from(w.result()).toString('hex'), `00006769${command}${mode}${rest}`)
})

test('a packet is read with its rule, its interfaces and its headers', () => {
  assert.deepEqual(decodeLoggedPacket(new Reader(fromHex(TOLD))), {
    group: 0x6769,
    prefix: 'r1',
    inIndex: 7,
    outIndex: 8,
    mark: 0x10000,
    number: 9,
    linkHeader: fromHex('0102030405060708091011120800'),
    payload: fromHex('450000'),
  })
  const { prefix, number, linkHeader } = decodeLoggedPacket(new Reader(fromHex(`${HEADER}04000900`)))
  assert.deepEqual([prefix, number, linkHeader.length], ['', undefined, 0])
})

test('lost packets are what is missing in the numbers, which go round', () => {
  assert.equal(lostBetween(-1, 0), 0)
  assert.equal(lostBetween(-1, 3), 3)
  assert.equal(lostBetween(7, 8), 0)
  assert.equal(lostBetween(7, 40), 32)
  assert.equal(lostBetween(0xffffffff, 0), 0)
  assert.equal(lostBetween(0xfffffffe, 1), 2)
  assert.equal(lostBetween(undefined, 5), 0)
})

test('what is cut short or is no packet is a DecodeError', () => {
  assertOnlyDecodeErrors(decodeLoggedPacket, fromHex(TOLD))
})
