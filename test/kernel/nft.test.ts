// Tables through the real kernel, with nft as the other reader and writer: what we write reads back the same, lists without
// complaint, and its print, loaded by nft, is the same table again.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import type { NftOp, NftTable } from '../../src/core/nft/objects.ts'
import { createTable } from '../../src/core/nft/order.ts'
import { printTable } from '../../src/core/nft/print.ts'
import { KernelError } from '../../src/io/kernel/kernel-error.ts'
import { type NftConnection, openNft, watchNft } from '../../src/io/kernel/nft-table.ts'
import { freshNetns, runIn } from './netns.ts'
import { policyTable } from './policy-table.ts'
import { countObjects, randomTable, someAddr } from './random-table.ts'

function connection(t: TestContext): { nft: NftConnection; name: string; path: string } {
  const { name, path } = freshNetns(t)
  const nft = openNft(path)
  t.after(() => nft.close())
  return { nft, name, path }
}

/** Tables compare by the JSON of their canonical form. */
const form = (table: NftTable | undefined): unknown => table && JSON.parse(JSON.stringify(canonicalTable(table)))

const load = (netns: string, text: string): string =>
  execFileSync('ip', ['netns', 'exec', netns, 'nft', '-f', '-'], {
    input: text,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
  })

/** Writes, reads back, lists, prints, loads the print elsewhere, reads that. */
function roundTrip(t: TestContext, table: NftTable): void {
  const ours = connection(t)
  ours.nft.writeBatch(createTable(table), table)
  const found = ours.nft.readTable(table.name)
  assert.deepEqual(found?.unknown, undefined)
  assert.deepEqual(form(found), form(table), 'what we wrote and read back')
  runIn(ours.name, 'nft', 'list', 'ruleset')
  const theirs = connection(t)
  load(theirs.name, printTable(table))
  const loaded = theirs.nft.readTable(table.name)
  assert.deepEqual(loaded?.unknown, undefined)
  assert.deepEqual(form(loaded), form(table), 'what nft loaded from the print')
  runIn(theirs.name, 'nft', 'list', 'ruleset')
  load(theirs.name, `delete table inet ${table.name}\n${printTable(found!)}`)
  assert.deepEqual(form(theirs.nft.readTable(table.name)), form(table), 'the print of what was read')
}

test('the policy table survives every way through', t => {
  roundTrip(t, policyTable)
})

for (const size of [40, 1200, 1200, 3000]) {
  test(`a random table of ${size} objects survives every way through`, t => {
    const seed = (Date.now() ^ (size * 2654435761)) >>> 0
    t.diagnostic(`seed ${seed}`)
    const table = randomTable(seed, size)
    if (size >= 1000) assert.ok(countObjects(table) >= 1000)
    roundTrip(t, table)
  })
}

test('elements, rules and chains change in place', t => {
  const { nft, name } = connection(t)
  nft.writeBatch(createTable(policyTable), policyTable)
  const set = (wanted: string) => policyTable.sets.find(s => s.name === wanted)!
  const fresh = {
    name: 'o_7',
    rules: [{ statements: [{ kind: 'verdict', verdict: { kind: 'accept' } }], comment: 'new' }],
  } as const
  const to = { kind: 'goto', chain: 'o_7' } as const
  const net = [{ key: [{ from: someAddr(0), to: someAddr(255) }], value: 3 }] as const
  const ops: NftOp[] = [
    { op: 'add-chain', chain: fresh },
    { op: 'delete-elements', set: set('pod4'), elements: [set('pod4').elements[0]!] },
    { op: 'add-elements', set: set('pod4'), elements: [{ ...set('pod4').elements[0]!, value: 9 }] },
    // An interval's start and end go, and come back with another value.
    { op: 'delete-elements', set: set('net4'), elements: net },
    { op: 'add-elements', set: set('net4'), elements: [{ ...net[0], value: 8 }] },
    { op: 'delete-elements', set: set('by_range'), elements: set('by_range').elements },
    { op: 'add-elements', set: set('by_range'), elements: [{ ...set('by_range').elements[0]!, value: to }] },
    { op: 'delete-elements', set: set('g1_rows'), elements: [{ key: '*' }] },
    { op: 'add-elements', set: set('g1_rows'), elements: [{ key: '*', value: 77 }] },
    { op: 'replace-rules', chain: { name: 'g3_ingress', rules: [{ statements: [{ kind: 'verdict', verdict: to }] }] } },
    { op: 'delete-set', name: 'sources6_none' },
  ]
  // One refusal refuses all, and says whose it was.
  assert.throws(
    () => nft.writeBatch(ops, policyTable),
    (e: unknown) => e instanceof KernelError && e.isMissing && e.object === 'set sources6_none' && e.op === 'delete',
  )
  assert.deepEqual(form(nft.readTable('gingham')), form(policyTable))
  nft.writeBatch(ops.slice(0, -1), policyTable)
  const changed: Record<string, (s: NftTable['sets'][number]) => NftTable['sets'][number]> = {
    pod4: s => ({ ...s, elements: [{ ...s.elements[0]!, value: 9 }, s.elements[1]!] }),
    net4: s => ({ ...s, elements: [s.elements[0]!, { ...net[0], value: 8 }, s.elements[2]!] }),
    by_range: s => ({ ...s, elements: [{ ...s.elements[0]!, value: to }] }),
    g1_rows: s => ({ ...s, elements: [s.elements[0]!, { key: '*', value: 77 }] }),
  }
  const wanted: NftTable = {
    ...policyTable,
    sets: policyTable.sets.map(s => changed[s.name]?.(s) ?? s),
    chains: [
      ...policyTable.chains.map(c =>
        c.name === 'g3_ingress' ? { ...c, rules: [{ statements: [{ kind: 'verdict', verdict: to }] }] as const } : c,
      ),
      fresh,
    ],
  }
  assert.deepEqual(form(nft.readTable('gingham')), form(wanted))
  runIn(name, 'nft', 'list', 'ruleset')
  assert.equal(nft.deleteTable('gingham'), true)
  assert.equal(nft.deleteTable('gingham'), false)
  assert.equal(nft.readTable('gingham'), undefined)
})

test('every element of a large set arrives, in slices of one transaction, and goes', async t => {
  const { nft, name } = connection(t)
  const elements = Array.from({ length: 12_000 }, (_, i) => ({ key: [someAddr(i)], value: i }))
  const set = { name: 'pods', key: ['ipv4_addr'], value: 'classid', elements } as const
  const table: NftTable = { family: 'inet', name: 'big', sets: [set], chains: [] }
  nft.writeBatch(createTable(table), table)
  // Not deepEqual: the difference of so large values would take minutes to print.
  const isThere = (): boolean => isDeepStrictEqual(form(nft.readTable('big')), form(table))
  // While the kernel makes the set's hash table larger, in the background, a dump misses elements that move meanwhile.
  for (let tries = 0; tries < 20 && !isThere(); tries++) await setTimeout(100)
  assert.ok(isThere(), 'twelve thousand elements')
  nft.writeBatch([{ op: 'delete-elements', set, elements: elements.slice(0, 11_999) }], table)
  assert.deepEqual(nft.readTable('big')?.sets[0]?.elements, [elements[11_999]])
  assert.match(runIn(name, 'nft', 'list', 'table', 'inet', 'big'), /10\.0\.46\.223 : 0:2edf/)
})

test('what we do not know is told, in its place', t => {
  const { nft, name } = connection(t)
  load(
    name,
    `table inet x {
	set timed { type ipv4_addr; flags timeout; elements = { 10.0.0.1 timeout 1h }; }
	set macs { type ether_addr; }
	chain c {
		ip saddr 10.0.0.1 accept
		ip ttl 5 accept
		ip saddr 10.0.0.0/8 accept
		tcp flags syn drop
	}
	chain d { type filter hook ingress device "lo" priority 0; }
}`,
  )
  const found = nft.readTable('x')!
  assert.deepEqual(found.unknown?.map(u => `${u.kind} ${u.object}`).sort(), [
    'chain d',
    'rule rule 2 of chain c',
    'rule rule 3 of chain c',
    'rule rule 4 of chain c',
    'set macs',
    'set timed',
  ])
  assert.deepEqual(
    found.chains.find(c => c.name === 'c')?.rules.map(r => r.statements.length),
    [2, 0, 0, 0],
  )
})

test('counters are read by chain, in the order of the rules', t => {
  const { nft } = connection(t)
  const counter = (packets: number, bytes: number) => ({ statements: [{ kind: 'counter', packets, bytes }] }) as const
  const table: NftTable = {
    family: 'inet',
    name: 'n',
    sets: [],
    chains: [
      { name: 'a', rules: [counter(5, 2 ** 40), { statements: [{ kind: 'notrack' }] }, counter(7, 8)] },
      { name: 'b', rules: [counter(1, 2)] },
      { name: 'none', rules: [] },
    ],
  }
  nft.writeBatch(createTable(table), table)
  assert.deepEqual(
    [...nft.readCounters('n')],
    [
      [
        'a',
        [
          { packets: 5, bytes: 2 ** 40 },
          { packets: 7, bytes: 8 },
        ],
      ],
      ['b', [{ packets: 1, bytes: 2 }]],
    ],
  )
  assert.deepEqual(nft.readTable('n')?.chains[0]?.rules[0]?.statements, [
    { kind: 'counter', packets: 5, bytes: 2 ** 40 },
  ])
})

test('a batch planned against another generation is refused', t => {
  const { nft, name } = connection(t)
  const table: NftTable = { family: 'inet', name: 'g', sets: [], chains: [] }
  const before = nft.generation()
  runIn(name, 'nft', 'add', 'table', 'inet', 'other')
  assert.throws(
    () => nft.writeBatch(createTable(table), table, before),
    (e: unknown) => e instanceof KernelError && e.isBusy && e.code === 'ERESTART',
  )
  nft.writeBatch(createTable(table), table, nft.generation())
  assert.deepEqual(nft.readTable('g'), table)
})

test('an owned table cannot be flushed by others, outlives its socket, and is adopted', t => {
  const { nft, name, path } = connection(t)
  nft.writeBatch(createTable(policyTable, true), policyTable)
  assert.throws(() => runIn(name, 'nft', 'delete', 'table', 'inet', 'gingham'), /Operation not permitted/)
  runIn(name, 'nft', 'flush', 'ruleset')
  assert.deepEqual(form(nft.readTable('gingham')), form(policyTable))
  nft.close()
  const next = openNft(path)
  t.after(() => next.close())
  next.writeBatch(
    [
      { op: 'add-table', owned: true },
      { op: 'add-chain', chain: { name: 'more', rules: [] } },
    ],
    policyTable,
  )
  assert.equal(next.readTable('gingham')?.chains.length, policyTable.chains.length + 1)
})

test('a watcher hears of each transaction and who made it', async t => {
  const { nft, name, path } = connection(t)
  const heard: (string | undefined)[] = []
  t.after(watchNft({ changed: by => heard.push(by.program), overrun: () => assert.fail('overrun') }, path))
  const table: NftTable = { family: 'inet', name: 'w', sets: [], chains: [] }
  nft.writeBatch(createTable(table), table)
  runIn(name, 'nft', 'delete', 'table', 'inet', 'w')
  while (heard.length < 2) await new Promise(setImmediate)
  assert.equal(heard[1], 'nft')
  assert.notEqual(heard[0], 'nft')
})

test('the kernel refuses with the object that it is about', t => {
  const { nft } = connection(t)
  nft.writeBatch(createTable(policyTable), policyTable)
  const set = policyTable.sets[0]!
  const refused = (ops: readonly NftOp[], code: string, object: RegExp) =>
    assert.throws(
      () => nft.writeBatch(ops, policyTable),
      (e: unknown) => e instanceof KernelError && e.code === code && object.test(e.object),
    )
  refused(
    [{ op: 'add-elements', set, elements: [{ ...set.elements[0]!, value: 1 }] }],
    'EEXIST',
    /set pod4: .*10\.65\.1\.7/,
  )
  refused([{ op: 'add-chain', chain: policyTable.chains[0]! }], 'EEXIST', /chain o_5/)
  refused([{ op: 'delete-chain', name: 'decide' }], 'EBUSY', /chain decide/)
  refused(
    [
      {
        op: 'replace-rules',
        chain: {
          name: 'decide',
          rules: [{ statements: [{ kind: 'verdict', verdict: { kind: 'goto', chain: 'nowhere' } }] }],
        },
      },
    ],
    'ENOENT',
    /rule 1 of chain decide/,
  )
})
