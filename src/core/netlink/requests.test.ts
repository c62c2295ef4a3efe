// Requests as bytes, written out by hand from linux/rtnetlink.h: header fields at their places, attributes with their numbers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addr } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import { Reader, Writer } from './bytes.ts'
import { encodeChangeLink, encodeDeleteLinks, encodeNewLink } from './link.ts'
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

test('links are put into a group and deleted by it', () => {
  const group = '08001b00' + '01000080'
  assert.equal(
    hex(w => encodeChangeLink(w, 5, { group: 0x80000001 })),
    `0000000005000000${'00'.repeat(8)}${group}`,
  )
  assert.equal(
    hex(w => encodeDeleteLinks(w, 0x80000001)),
    `${'00'.repeat(16)}${group}`,
  )
})

test('a veth names its peer inside nested attributes', () => {
  const header = '00'.repeat(16)
  const peer = `1c000180${header}0600030062000000`
  const info = `09000100766574680000000020000280${peer}`
  assert.equal(
    hex(w => encodeNewLink(w, { kind: 'veth', name: 'a', peer: { name: 'b' } })),
    `${header}060003006100000030001280${info}`,
  )
})

test('a route to a pod', () => {
  const route: Route = {
    dst: prefix('10.65.1.7/32'),
    type: 'unicast',
    table: 254,
    protocol: 80,
    scope: 'link',
    link: 9,
  }
  const bytes = '02200000' + 'fe50fd01' + '00000000' + '080001000a410107' + '0800040009000000' + '08000f00fe000000'
  assert.equal(
    hex(w => encodeRoute(w, route)),
    bytes,
  )
  const back = decodeRoute(new Reader(Uint8Array.from(bytes.match(/../g)!, b => Number.parseInt(b, 16))))
  assert.deepEqual(Object.fromEntries(Object.entries(back!).filter(([, v]) => v !== undefined)), route)
})

test('a proxy entry', () => {
  assert.equal(
    hex(w => encodeNeighbour(w, { kind: 'proxy', link: 4, address: addr('169.254.1.1'), state: NUD.PERMANENT })),
    '02000000' + '04000000' + '8000' + '08' + '00' + '08000100a9fe0101',
  )
})
