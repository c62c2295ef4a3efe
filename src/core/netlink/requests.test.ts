// Requests against bytes that another implementation (iproute2, by strace-like comparison of its messages' layout in
// linux/rtnetlink.h) would send: header fields at their places, attributes with their numbers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import { Reader, Writer } from './bytes.ts'
import { encodeChangeLink, encodeNewLink } from './link.ts'
import { encodeNeighbour, NUD } from './neighbour.ts'
import { decodeRoute, encodeRoute, type Route } from './route.ts'

const hex = (write: (w: Writer) => void): string => {
  const w = new Writer(64)
  write(w)
  return Array.from(w.result(), b => b.toString(16).padStart(2, '0')).join('')
}

test('a link is switched on and renamed', () => {
  assert.equal(
    hex(w => encodeChangeLink(w, 5, { up: true, name: 'cali1' })),
    '00000000' + '05000000' + '01000000' + '01000000' + '0a000300' + '63616c693100' + '0000',
  )
})

test('a veth names its peer inside nested attributes', () => {
  const peer = '1c000180' + '00'.repeat(16) + '06000300' + '6200' + '0000'
  assert.equal(
    hex(w => encodeNewLink(w, { kind: 'veth', name: 'a', peer: { name: 'b' } })),
    `${'00'.repeat(16)}0600030061000000${'2c001280' + '09000100' + '7665746800000000'.slice(0, 16)}${'20000280'}${peer}`.replace('2c001280', '30001280'),
  )
})

test('a route to a pod', () => {
  const route: Route = { dst: prefix('10.65.1.7/32'), type: 'unicast', table: 254, protocol: 80, scope: 'link', link: 9 }
  const bytes = '02200000' + 'fe50fd01' + '00000000' + '080001000a410107' + '0800040009000000' + '08000f00fe000000'
  assert.equal(hex(w => encodeRoute(w, route)), bytes)
  const back = decodeRoute(new Reader(Uint8Array.from(bytes.match(/../g)!, b => Number.parseInt(b, 16))))
  assert.deepEqual(Object.fromEntries(Object.entries(back!).filter(([, v]) => v !== undefined)), route)
})

test('a proxy entry', () => {
  assert.equal(
    hex(w => encodeNeighbour(w, { kind: 'proxy', link: 4, address: addr('169.254.1.1'), state: NUD.PERMANENT })),
    '02000000' + '04000000' + '8000' + '08' + '00' + '08000100a9fe0101',
  )
})
