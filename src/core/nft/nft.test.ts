// Objects of nftables without a kernel: what is compiled is recognised, what is encoded is decoded, damage is told.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { policyTable } from '../../../test/kernel/policy-table.ts'
import { Random, randomTable } from '../../../test/kernel/random-table.ts'
import { addr } from '../net/addr.ts'
import { attributes, encodeValue, text } from '../netlink/attributes.ts'
import { DecodeError, Reader } from '../netlink/bytes.ts'
import { decodeMessages } from '../netlink/message.ts'
import { takeGenHeader } from '../netlink/nfgenmsg.ts'
import { canonicalTable } from './canonical.ts'
import { anonymousSet, compile } from './compile.ts'
import { TableDump } from './decode.ts'
import { encodeBatch } from './encode.ts'
import { EncodeError } from './encode-error.ts'
import { nftType, SET, TABLE } from './nfnetlink.ts'
import type { NftTable, Rule, Statement } from './objects.ts'
import { createTable, orderObjects } from './order.ts'
import { printRule, printTable } from './print.ts'
import { recognise } from './recognise.ts'

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 })

test('a canonical table is its own canonical form', () => {
  fc.assert(
    fc.property(seeds, seed => {
      const once = canonicalTable(randomTable(seed, 200))
      assert.deepEqual(json(canonicalTable(once)), json(once))
    }),
    { numRuns: 40 },
  )
})

/** A rule with a set without a name cannot be told from a batch: the kernel gives the name. */
const isAnonymous = (s: Statement): boolean => s.kind === 'match' && 'set' in s.right && s.right.set.length > 1

const withoutAnonymous = (table: NftTable): NftTable => ({
  ...table,
  chains: table.chains.map(c => ({ ...c, rules: c.rules.filter(rule => !rule.statements.some(isAnonymous)) })),
})

const SET_NAME = attributes({ set: [2, text] })

/** Hands a batch to the reader of dumps: the messages are the same. `damage` may spoil each. */
function readBatch(table: NftTable, damage: (bytes: Uint8Array) => void = () => {}): NftTable | undefined {
  const dump = new TableDump(table.name)
  const { bytes } = encodeBatch(createTable(table), table, { seq: 1 })
  for (const { type, body } of decodeMessages(bytes)) {
    const own = new Reader(body.slice())
    if (type < 256) continue
    damage(own.bytes)
    takeGenHeader(own)
    if (type === nftType('NEWTABLE')) dump.table(own)
    if (type === nftType('NEWCHAIN')) dump.chain(own)
    if (type === nftType('NEWSET')) dump.set(own)
    if (type === nftType('NEWRULE')) dump.rule(own)
    if (type === nftType('NEWSETELEM')) dump.elements(SET_NAME.decode(new Reader(own.bytes, own.at)).set!, own)
  }
  return dump.result()
}

test('decode is the inverse of encode', () => {
  fc.assert(
    fc.property(seeds, seed => {
      const table = withoutAnonymous(randomTable(seed, 200))
      const found = readBatch(table)!
      assert.equal(found.unknown, undefined)
      assert.deepEqual(json(canonicalTable(found)), json(canonicalTable(table)))
    }),
    { numRuns: 40 },
  )
})

test('a set that grew while it was read is asked for again', () => {
  const table: NftTable = { family: 'inet', name: 't', sets: [], chains: [] }
  const set = { name: 's', key: ['mark'], elements: [{ key: [1] }, { key: [2] }, { key: '*' }] } as const
  const dump = new TableDump('t')
  const { bytes } = encodeBatch([{ op: 'add-elements', set, elements: set.elements }], table, { seq: 1 })
  const message = decodeMessages(bytes)
    .find(m => m.type === nftType('NEWSETELEM'))!
    .body.slice()
  const told = (times: number) => {
    for (let i = 0; i < times; i++) dump.elements('s', new Reader(message, 4))
    return dump.isWhole('s')
  }
  dump.table(new Reader(encodeValue(TABLE, { name: 't' })))
  dump.set(new Reader(encodeValue(SET, { table: 't', name: 's', keyType: 19, keyLength: 4, count: 2 })))
  assert.equal(told(0), false)
  assert.equal(told(2), false)
  assert.equal(told(1), true)
  assert.deepEqual(dump.result()?.sets, [set])
})

test('damaged dumps are told, never misread into a crash', () => {
  fc.assert(
    fc.property(seeds, seed => {
      const r = new Random(seed)
      const table = randomTable(seed, 60)
      try {
        readBatch(table, bytes => {
          for (let i = r.below(3); i > 0; i--) bytes[4 + r.below(bytes.length - 4)] = r.below(256)
        })
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error
      }
    }),
    { numRuns: 300 },
  )
})

const find = (name: string) => ({ interval: name === 'ranges' })
const roundTrip = (...statements: Statement[]): Statement[] => {
  const { expressions, anonymous } = compile(statements, find)
  return recognise(expressions, find, name => (name.startsWith('#') ? anonymous[Number(name.slice(1))] : undefined))
}

test('questions that a field implies are asked once and not repeated in words', () => {
  const icmp: Statement = { kind: 'match', fields: ['icmp type'], op: '==', right: { value: 8 } }
  const source: Statement = { kind: 'match', fields: ['ip saddr'], op: '==', right: { value: addr('10.0.0.1') } }
  assert.deepEqual(roundTrip(icmp, source), [icmp, source])
  assert.deepEqual(
    compile([icmp, source], find).expressions.map(e => e.name),
    ['meta', 'cmp', 'meta', 'cmp', 'payload', 'cmp', 'payload', 'cmp'],
  )
})

test('a question that is asked explicitly in its place is the same rule', () => {
  const family: Statement = { kind: 'match', fields: ['meta nfproto'], op: '==', right: { value: 2 } }
  const source: Statement = { kind: 'match', fields: ['ip saddr'], op: '==', right: { value: addr('10.0.0.1') } }
  assert.deepEqual(roundTrip(family, source), [source])
  const name: Statement = { kind: 'match', fields: ['iifname'], op: '==', right: { value: 'eth0' } }
  assert.deepEqual(roundTrip(family, name, source), [family, name, source])
})

test('a rule that these statements cannot say is not understood', () => {
  const { expressions } = compile([{ kind: 'match', fields: ['th dport'], op: '==', right: { value: 80 } }], find)
  const [load, cmp] = expressions
  assert.throws(() => recognise([{ ...load!, offset: 9 } as never, cmp!], find), DecodeError)
  assert.throws(() => recognise([load!], find), DecodeError)
  assert.throws(() => recognise([load!, { ...cmp!, op: 2 } as never], find), DecodeError)
  assert.throws(() => recognise([load!, { ...cmp!, sreg: 9 } as never], find), DecodeError)
})

test('anonymous sets have one form', () => {
  assert.deepEqual(anonymousSet('inet_service', [443, 80, 80]), {
    type: 'inet_service',
    interval: false,
    elements: [80, 443],
  })
  assert.deepEqual(anonymousSet('icmpv6_type', [143, { from: 130, to: 133 }, 136, 135]).elements, [
    { from: 130, to: 133 },
    { from: 135, to: 136 },
    143,
  ])
  assert.deepEqual(anonymousSet('inet_service', [{ from: 0, to: 65535 }, 7]).elements, [{ from: 0, to: 65535 }])
})

const refused: readonly (readonly [string, Statement])[] = [
  ['a wildcard in a set', { kind: 'match', fields: ['iifname'], op: '==', right: { set: ['a*', 'b'] } }],
  ['states in ranges', { kind: 'match', fields: ['ct state'], op: '==', right: { set: [{ from: 1, to: 4 }, 8] } }],
  ['a range the wrong way round', { kind: 'match', fields: ['th dport'], op: '==', right: { from: 9, to: 8 } }],
  [
    'several fields against a value',
    { kind: 'match', fields: ['th dport', 'th sport'], op: '==', right: { value: 8 } },
  ],
  ['a number too large', { kind: 'match', fields: ['th dport'], op: '==', right: { value: 65536 } }],
  [
    'an address of the other family',
    { kind: 'match', fields: ['ip saddr'], op: '==', right: { value: addr('fd00::1') } },
  ],
  ['a long name', { kind: 'match', fields: ['iifname'], op: '==', right: { value: 'a234567890123456' } }],
  ['an empty set', { kind: 'match', fields: ['th dport'], op: '==', right: { set: [] } }],
  ['a level for a group', { kind: 'log', group: 1, level: 'info' }],
]
for (const [name, statement] of refused)
  test(`refused: ${name}`, () => {
    assert.throws(() => compile([statement], find), EncodeError)
  })

test('refused: what nft could not read back', () => {
  assert.throws(() => printRule({ statements: [], comment: 'say "hi"' }), EncodeError)
  assert.throws(() => printRule({ statements: [{ kind: 'log', prefix: '$x' }] }), EncodeError)
  const long: Rule = { statements: [], comment: 'x'.repeat(128) }
  const table: NftTable = { family: 'inet', name: 't', sets: [], chains: [{ name: 'c', rules: [long] }] }
  assert.throws(() => encodeBatch(createTable(table), table, { seq: 1 }), EncodeError)
})

test('what is needed comes first', () => {
  const ops = orderObjects(policyTable)
  const at = (name: string) =>
    ops.findIndex(op => ('chain' in op && op.chain.name === name) || ('set' in op && op.set.name === name))
  for (const [first, then] of [
    ['o_5', 'by_port'],
    ['by_port', 'decide'],
    ['decide', 'g1_known'],
    ['to_workload', 'to_check'],
    ['from_check', 'forward'],
  ] as const)
    assert.ok(at(first) < at(then), `${first} before ${then}`)
  assert.equal(ops.length, policyTable.sets.length + policyTable.chains.length)
  assert.throws(() => orderObjects({ sets: [], chains: policyTable.chains }), EncodeError)
  const loop = (name: string, to: string) =>
    ({ name, rules: [{ statements: [{ kind: 'verdict', verdict: { kind: 'goto', chain: to } }] }] }) as const
  assert.throws(() => orderObjects({ sets: [], chains: [loop('a', 'b'), loop('b', 'a')] }), /a cycle/)
})

test('the print of the policy table is nft’s language', () => {
  const print = printTable(policyTable)
  for (const line of [
    '\t\tmeta priority & 0x80000000 != 0x00000000 meta priority vmap @by_row',
    '\t\tmeta priority . meta l4proto . th dport vmap @by_port',
    '\t\tmeta priority set meta priority map @g1_rows goto decide',
    '\t\tlimit rate 100/second log prefix "5" group 1',
    '\t\tct state established,related accept',
    '\t\ttype filter hook forward priority 0; policy drop;',
    '\t\t\t1:b . tcp . 8000-9000 : goto o_5,',
    '\t\ticmpv6 type { 130-133, 135-136, 143 } ip6 saddr { ::, fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff } accept',
  ])
    assert.ok(print.includes(`${line}\n`), line)
})
