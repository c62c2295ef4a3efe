import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addr } from '../net/addr.ts'
import { DecodeError, Reader, Writer } from '../netlink/bytes.ts'
import { ElementDump } from './element-dump.ts'
import { putElement, type Shape } from './elements.ts'
import type { Element } from './objects.ts'

const port = fc.integer({ min: 0, max: 65535 })
const comment = fc.option(fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme-ascii' }), { nil: undefined })
const quad = fc.ipV4().map(addr)
const named = <T extends object>(element: T, text: string | undefined): T =>
  text === undefined ? element : { ...element, comment: text }

/** Shapes with elements that are in the order in which a dump gives them back. */
const cases: fc.Arbitrary<{ shape: Shape; elements: Element[] }>[] = [
  fc.uniqueArray(fc.tuple(quad, fc.nat(), comment), { selector: ([key]) => key }).map(list => ({
    shape: { key: ['ipv4_addr'], value: 'classid' },
    elements: list.map(([key, value, text]) => named({ key: [key], value }, text)),
  })),
  fc
    .uniqueArray(fc.tuple(port, fc.constantFrom('accept', 'drop'), comment), { selector: ([key]) => key })
    .map(list => ({
      shape: { key: ['inet_proto', 'inet_service'], value: 'verdict' },
      elements: [
        ...list.map(([n, kind, text]): Element => named({ key: [6, n], value: { kind } }, text)),
        { key: '*', value: { kind: 'goto', chain: 'o_rest' } },
      ],
    })),
  fc
    .uniqueArray(port, { maxLength: 60 })
    .map(bounds => bounds.sort((a, b) => a - b))
    .map(bounds => ({
      shape: { key: ['inet_service'], interval: true },
      elements: bounds.flatMap((from, i): Element[] => {
        const to = bounds[i + 1] ?? 65535
        return i % 2 ? [] : [{ key: [from === to ? from : { from, to: i % 4 ? to : Math.max(from, to - 1) }] }]
      }),
    })),
  fc.array(fc.tuple(port, port, port)).map(list => ({
    shape: { key: ['inet_service', 'mark'], interval: true },
    elements: list.map(
      ([mark, a, b]): Element => ({
        key: [a === b ? a : { from: Math.min(a, b), to: Math.max(a, b) }, mark],
      }),
    ),
  })),
]
const samples = fc.oneof(...cases)

function encoded({ shape, elements }: { shape: Shape; elements: readonly Element[] }): Uint8Array {
  const w = new Writer()
  for (const element of elements) putElement(w, shape, element)
  return w.result()
}

/** A range of one is its only member. */
const plain = (element: Element): Element =>
  element.key === '*'
    ? element
    : { ...element, key: element.key.map(p => (typeof p === 'object' && p.from === p.to ? p.from : p)) }

test('what was written is read, in whatever messages it comes', () => {
  fc.assert(
    fc.property(samples, fc.nat(), (sample, cut) => {
      const dump = new ElementDump(sample.shape)
      const at = sample.elements.length === 0 ? 0 : cut % sample.elements.length
      for (const elements of [sample.elements.slice(0, at), sample.elements.slice(at)])
        dump.take(new Reader(encoded({ shape: sample.shape, elements })))
      assert.deepEqual(dump.result(), sample.elements.map(plain))
    }),
  )
})

test('damaged bytes are an error or elements, never anything else', () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(samples, damage, (sample, edits) => {
      const bytes = encoded(sample)
      for (const [at, byte] of edits) if (bytes.length > 0) bytes[at % bytes.length] = byte
      const dump = new ElementDump(sample.shape)
      try {
        dump.take(new Reader(bytes))
        assert.ok(Array.isArray(dump.result()))
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error
      }
    }),
    { numRuns: 500 },
  )
})

test('what we never write is not understood', () => {
  const entry = (put: (w: Writer) => void): Reader => {
    const w = new Writer()
    const outer = w.begin(1)
    put(w)
    w.end(outer)
    return new Reader(w.result())
  }
  const refused = (put: (w: Writer) => void, why: RegExp): void =>
    assert.throws(() => new ElementDump({ key: ['inet_service'] }).take(entry(put)), why)
  // NFTA_SET_ELEM_TIMEOUT; an entry without a key; a flag of the future; a value where there is none.
  refused(w => w.end(w.begin(4)), /unknown attribute 4/)
  refused(() => {}, /a key of 0 bytes/)
  refused(w => {
    const flags = w.begin(3)
    w.be32(4)
    w.end(flags)
  }, /unknown element flags 4/)
  refused(w => {
    for (const type of [1, 2]) {
      const data = w.begin(type)
      const value = w.begin(1)
      w.be16(80)
      w.end(value)
      w.end(data)
    }
  }, /a value in a set/)
})
