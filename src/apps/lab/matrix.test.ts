import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { difference, type Probe, printMatrix, summarise } from './matrix.ts'
import { coloured, plain } from './terminal.ts'

const probe = (from: string, to: string, more: Partial<Probe> = {}): Probe => ({
  from,
  to,
  what: 'tcp/80 IPv4',
  expected: 'allow',
  observed: 'allow',
  rule: 'profile kns.default',
  ...more,
})
const denied = { expected: 'deny', observed: 'deny', rule: 'default/p egress end of tier', counted: true } as const

describe('the matrix', () => {
  it('shows pairs, rules and counts', () => {
    const both = (what: string) => [probe('default/a', 'b', { what }), probe('b', 'default/a', { what, ...denied })]
    assert.equal(
      printMatrix([...both('tcp/80 IPv4'), ...both('tcp/80 IPv6')], plain),
      `tcp/80 IPv4, tcp/80 IPv6
              1 2
 1 default/a  · +
 2 b          - ·

From the pod of the row to the pod of the column: + allowed, - denied, as expected.

Deciding rules:
      0 allowed     2 denied  default/p egress end of tier
      2 allowed     0 denied  profile kns.default

4 probes: 2 allowed (50 %), 2 denied (50 %), 0 different from what was expected
`,
    )
  })

  it('gives kinds of probes that differ a table each', () => {
    const text = printMatrix([probe('a', 'b'), probe('a', 'b', { what: 'udp/80 IPv4', ...denied })], plain)
    assert.ok(text.includes('tcp/80 IPv4\n') && text.includes('udp/80 IPv4\n'))
  })

  it('shows every way to be different', () => {
    const leak = probe('a', 'b', { expected: 'deny' })
    const loss = probe('b', 'a', { observed: 'deny', counted: true })
    const silent = probe('a', 'c', { ...denied, counted: false })
    assert.equal(difference(probe('a', 'b')), undefined)
    assert.equal(difference(probe('a', 'b', denied)), undefined)
    const text = printMatrix([leak, loss, silent], plain)
    for (const line of [
      'DIFFERENCE a -> b tcp/80 IPv4: expected deny, observed allow (profile kns.default)',
      'DIFFERENCE b -> a tcp/80 IPv4: expected allow, observed deny (profile kns.default)',
      'DIFFERENCE a -> c tcp/80 IPv4: denied, but the counter of the rule did not move (default/p egress end of tier)',
      '3 probes: 1 allowed (33 %), 2 denied (67 %), 3 different from what was expected',
    ]) {
      assert.ok(text.split('\n').includes(line), `${line} in\n${text}`)
    }
    assert.equal(summarise([leak, loss, silent]).differences, 3)
  })

  it('is red where it is different, on a terminal', () => {
    const text = printMatrix([probe('a', 'b', { expected: 'deny' })], coloured)
    assert.ok(text.includes('\x1b[31mDIFFERENCE'))
    assert.ok(!printMatrix([probe('a', 'b')], coloured).includes('\x1b[31m'))
    assert.ok(!printMatrix([probe('a', 'b', { expected: 'deny' })], plain).includes('\x1b'))
  })

  it('has columns that stand in line, however many pods there are', () => {
    const pods = Array.from({ length: 12 }, (_, i) => `pod-${i}`)
    const probes = pods.flatMap(from => pods.filter(to => to !== from).map(to => probe(from, to)))
    const lines = printMatrix(probes, plain).split('\n').slice(1, 14)
    assert.equal(new Set(lines.map(line => line.length)).size, 1, lines.join('\n'))
  })
})
