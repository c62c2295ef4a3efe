// Lines as a Linux 6.18 wrote them for the same packets, letter by letter, and lines of anything at all.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printLogLine } from './log-line.ts'

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const NONE = new Uint8Array(0)
const base = { prefix: 'calico-packet: ', in: '', out: '', mark: 0, linkHeader: NONE, payload: NONE }

const LOCAL6 = '00000000000000000000000000000001'
const ONE6 = '0000:0000:0000:0000:0000:0000:0000:0001'
const LO = bytes('000000000000 000000000000 0800')
const LO_MAC = 'MAC=00:00:00:00:00:00:00:00:00:00:00:00:08:00'

test('UDP that leaves has no MAC', () => {
  const payload = bytes('4500001f a7324000 4011ffff 7f000001 7f000001 bf0dbb7f 000b0000 68690a')
  assert.equal(
    printLogLine({ ...base, out: 'lo', payload }),
    'calico-packet: IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 LEN=31 TOS=0x00 PREC=0x00 TTL=64 ID=42802 DF PROTO=UDP SPT=48909 DPT=47999 LEN=11',
  )
})

test('TCP with its flags, and a mark at the end', () => {
  const payload = bytes('4500003c 86484000 4006ffff 7f000001 7f000001 df64bb7f 00000001 00000000 a002ffd7 00000000')
  assert.equal(
    printLogLine({ ...base, in: 'lo', linkHeader: LO, payload, mark: 0x10000 }),
    `calico-packet: IN=lo OUT= ${LO_MAC} SRC=127.0.0.1 DST=127.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=34376 DF PROTO=TCP SPT=57188 DPT=47999 WINDOW=65495 RES=0x00 SYN URGP=0 MARK=0x10000`,
  )
})

test('a ping', () => {
  const payload = bytes('45000024 ab574000 4001ffff 7f000001 7f000001 0800ffff 00010001')
  assert.equal(
    printLogLine({ ...base, in: 'lo', linkHeader: LO, payload }),
    `calico-packet: IN=lo OUT= ${LO_MAC} SRC=127.0.0.1 DST=127.0.0.1 LEN=36 TOS=0x00 PREC=0x00 TTL=64 ID=43863 DF PROTO=ICMP TYPE=8 CODE=0 ID=1 SEQ=1`,
  )
})

test('IPv6: UDP and a ping', () => {
  const udp = bytes(`600c8a51 000b1140 ${LOCAL6}${LOCAL6} ce98bb7f 000b0000`)
  const head = `SRC=${ONE6} DST=${ONE6}`
  assert.equal(
    printLogLine({ ...base, out: 'lo', payload: udp }),
    `calico-packet: IN= OUT=lo ${head} LEN=51 TC=0 HOPLIMIT=64 FLOWLBL=821841 PROTO=UDP SPT=52888 DPT=47999 LEN=11`,
  )
  const ping = bytes(`6004a41c 00103a40 ${LOCAL6}${LOCAL6} 8000ffff 00020001`)
  assert.equal(
    printLogLine({ ...base, out: 'lo', payload: ping }),
    `calico-packet: IN= OUT=lo ${head} LEN=56 TC=0 HOPLIMIT=64 FLOWLBL=304156 PROTO=ICMPv6 TYPE=128 CODE=0 ID=2 SEQ=1`,
  )
})

test('fragments, other protocols, and headers that are not all there', () => {
  const v4 = (protocol: string, fragment: string, rest: string): string =>
    printLogLine({
      ...base,
      out: 'o',
      payload: bytes(`45b80030 0001${fragment} 40${protocol}ffff 0a000001 0a000002 ${rest}`),
    })
  assert.match(v4('11', '2010', 'ffffffff'), / TOS=0x18 PREC=0xA0 TTL=64 ID=1 MF FRAG:16 PROTO=UDP$/)
  assert.match(v4('84', '0000', '00010002'), / ID=1 PROTO=132$/)
  assert.match(v4('06', '0000', '00010002'), / ID=1 PROTO=TCP INCOMPLETE \[4 bytes\]$/)
  const behind = bytes(`60000000 00201140 ${LOCAL6}${LOCAL6}`)
  behind[6] = 0
  // Hop-by-hop options, then a first fragment, then UDP.
  const payload = new Uint8Array([...behind, ...bytes('2c00000000000000 1100000112345678 0001000200080000')])
  assert.match(
    printLogLine({ ...base, out: 'o', payload }),
    / FLOWLBL=0 FRAG:0 INCOMPLETE ID:12345678 PROTO=UDP SPT=1 DPT=2 LEN=8$/,
  )
})

test('anything has a line, which begins and ends as one', () => {
  const any = fc.record({
    prefix: fc.constant('p: '),
    in: fc.constantFrom('', 'eth0'),
    out: fc.constantFrom('', 'cali1'),
    mark: fc.nat(),
    linkHeader: fc.uint8Array({ maxLength: 20 }),
    payload: fc.uint8Array({ maxLength: 140 }),
  })
  const version = fc.constantFrom(0x45, 0x60, 0x6f, 0x4f)
  fc.assert(
    fc.property(any, version, ({ payload, ...line }, first) => {
      if (payload.length > 0) payload[0] = first
      assert.match(printLogLine({ ...line, payload }), /^p: IN=\S* OUT=\S* [ -~]*\S$/)
      assert.doesNotMatch(printLogLine({ ...line, payload }), /undefined|NaN/)
    }),
  )
})
