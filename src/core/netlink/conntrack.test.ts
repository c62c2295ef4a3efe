// Connections as bytes: a request written out by hand from linux/netfilter/nfnetlink_conntrack.h, and decoding of anything.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertOnlyDecodeErrors } from '../../../test/support/damage.ts'
import { addr } from '../net/addr.ts'
import { Reader, Writer } from './bytes.ts'
import { type Connection, decodeConnection, encodeDeleteConnection, encodeGetConnections } from './conntrack.ts'

const bytesOf = (write: (w: Writer) => void): Uint8Array => {
  const w = new Writer(64)
  write(w)
  return w.result()
}
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

const IP = '14000180' + '080001000a000001' + '080002000a000002'
const UDP = '1c000280' + '0500010011000000' + '0600020004000000' + '0600030000350000'
const ANSWER_IP = '14000180' + '080001000a000002' + '080002000a000001'
const ANSWER_UDP = '1c000280' + '0500010011000000' + '0600020000350000' + '0600030004000000'
const DNS: Connection = {
  original: {
    src: addr('10.0.0.1'),
    dst: addr('10.0.0.2'),
    protocol: { number: 17, sport: 1024, dport: 53 },
    zone: undefined,
  },
  reply: {
    src: addr('10.0.0.2'),
    dst: addr('10.0.0.1'),
    protocol: { number: 17, sport: 53, dport: 1024 },
    zone: undefined,
  },
  id: 0x01020304,
  zone: undefined,
}

test('all connections of a family', () => {
  assert.equal(hex(bytesOf(w => encodeGetConnections(w, 4))), '02000000')
  assert.equal(hex(bytesOf(w => encodeGetConnections(w, 6))), '0a000000')
  assert.equal(hex(bytesOf(w => encodeGetConnections(w))), '00000000')
})

test('a connection is read, and deleted by what it was at first and its number', () => {
  const told = `02000000${'34000180'}${IP}${UDP}${'34000280'}${ANSWER_IP}${ANSWER_UDP}${'08000c0001020304'}`
  assert.deepEqual(decodeConnection(new Reader(fromHex(told))), DNS)
  assert.equal(hex(bytesOf(w => encodeDeleteConnection(w, DNS))), `0200000034000180${IP}${UDP}08000c0001020304`)
})

test('what is cut short or is no connection is a DecodeError', () => {
  const told = fromHex(`0200000034000180${IP}${UDP}34000280${ANSWER_IP}${ANSWER_UDP}08000c0001020304`)
  assertOnlyDecodeErrors(decodeConnection, told)
})
