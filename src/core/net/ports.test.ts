// The algebra of port ranges against one answer per port.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ALL_PORTS, cutPorts, inRanges, mergeRanges, type PortRange, printRange } from './ports.ts'

// Few ports at both ends, so that ranges touch, overlap and meet the borders.
const port = fc.oneof(fc.nat(25), fc.integer({ min: 65515, max: 65535 }), fc.nat(65535))
const range: fc.Arbitrary<PortRange> = fc
  .tuple(port, port)
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }))
const ranges = fc.array(range, { maxLength: 8 })

const has = (r: PortRange, p: number): boolean => r.first <= p && p <= r.last

/** One answer for each of the 65536 ports, marked one by one. */
function marked(list: readonly PortRange[]): Uint8Array {
  const ports = new Uint8Array(65536)
  for (const r of list) for (let p = r.first; p <= r.last; p++) ports[p] = 1
  return ports
}

test('merged ranges are the same ports, sorted and apart', () => {
  assert.deepEqual(mergeRanges([]), [])
  assert.deepEqual(
    mergeRanges([
      { first: 5, last: 6 },
      { first: 1, last: 2 },
      { first: 3, last: 3 },
    ]),
    [
      { first: 1, last: 3 },
      { first: 5, last: 6 },
    ],
  )
  fc.assert(
    fc.property(ranges, list => {
      const before = structuredClone(list)
      const merged = mergeRanges(list)
      assert.deepEqual(marked(merged), marked(list))
      for (const [i, r] of merged.entries()) {
        assert.ok(r.first <= r.last)
        if (i > 0) assert.ok(r.first > merged[i - 1]!.last + 1, 'neither overlapping nor adjacent')
      }
      assert.deepEqual(mergeRanges(merged), merged)
      assert.deepEqual(list, before, 'what was given stays as it was')
    }),
  )
})

test('cut ports are all ports once, in pieces on which no range changes, and no more pieces than that', () => {
  assert.deepEqual(cutPorts([]), [ALL_PORTS])
  assert.deepEqual(cutPorts([ALL_PORTS]), [ALL_PORTS])
  assert.deepEqual(cutPorts([{ first: 80, last: 80 }]), [
    { first: 0, last: 79 },
    { first: 80, last: 80 },
    { first: 81, last: 65535 },
  ])
  fc.assert(
    fc.property(ranges, list => {
      const pieces = cutPorts(list)
      const answers = (p: number): string => list.map(r => (has(r, p) ? '1' : '0')).join('')
      // Brute force: a piece begins at 0 and wherever the answers of one port differ from those of the port before.
      const begins = [0]
      for (let p = 1, before = answers(0); p <= 65535; p++) {
        const now = answers(p)
        if (now !== before) begins.push(p)
        before = now
      }
      assert.deepEqual(
        pieces,
        begins.map((first, i) => ({ first, last: (begins[i + 1] ?? 65536) - 1 })),
      )
    }),
    { numRuns: 40 },
  )
})

test('inRanges asks each range', () => {
  fc.assert(
    fc.property(ranges, port, (list, p) => {
      assert.equal(inRanges(list, p), marked(list)[p] === 1)
    }),
  )
})

test('a range is printed as its ends, or as its one port', () => {
  assert.equal(printRange({ first: 8000, last: 9000 }), '8000-9000')
  fc.assert(
    fc.property(range, r => {
      const [first, last = first] = printRange(r).split('-').map(Number)
      assert.deepEqual({ first, last }, r)
    }),
  )
})
