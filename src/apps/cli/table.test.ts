import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { columns, framed, tabStops } from './table.ts'

test('tab stops are those of calicoctl', () => {
  assert.equal(
    tabStops([
      ['NAME', 'ASN', 'IPV4', 'IPV6'],
      ['node-1', '64513', '172.31.0.1/24', ''],
      ['node-2', '(64512)', '172.31.0.2/24', ''],
    ]),
    [
      'NAME     ASN       IPV4            IPV6   \n',
      'node-1   64513     172.31.0.1/24          \n',
      'node-2   (64512)   172.31.0.2/24          \n',
    ].join(''),
  )
})

test('a framed table is that of calicoctl ipam show', () => {
  assert.equal(
    framed(
      ['GROUPING', 'CIDR', 'IPS TOTAL', 'IPS IN USE', 'IPS RESERVED', 'IPS FREE'],
      [
        ['IP Pool', '10.20.0.0/16', '65536', '20 (0%)', '0 (0%)', '65516 (100%)'],
        ['Block', '10.20.247.0/26', '64', '20 (31%)', '0 (0%)', '44 (69%)'],
      ],
      [2, 3, 4, 5],
    ),
    `+----------+----------------+-----------+------------+--------------+--------------+
| GROUPING | CIDR           | IPS TOTAL | IPS IN USE | IPS RESERVED | IPS FREE     |
+----------+----------------+-----------+------------+--------------+--------------+
| IP Pool  | 10.20.0.0/16   |     65536 |    20 (0%) |       0 (0%) | 65516 (100%) |
| Block    | 10.20.247.0/26 |        64 |   20 (31%) |       0 (0%) |     44 (69%) |
+----------+----------------+-----------+------------+--------------+--------------+
`,
  )
})

test('every cell of a column starts at the same place, at least three spaces after its neighbour', () => {
  const cell = fc.stringMatching(/^[a-z]{0,12}$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1 }), rows => {
      const lines = tabStops(rows).split('\n').slice(0, -1)
      assert.equal(new Set(lines.map(line => line.length)).size, 1)
      const first = Math.max(5, ...rows.map(row => row[0].length + 3))
      for (const [i, row] of rows.entries()) assert.ok(lines[i]!.startsWith(row[1], first))
    }),
  )
})

test('columns for people have no trailing space', () => {
  assert.deepEqual(
    columns([
      ['a', 'bb', ''],
      ['aaa', 'b', 'c'],
    ]),
    ['a    bb', 'aaa  b   c'],
  )
})
