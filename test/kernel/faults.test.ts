// Faults of the kernel interface while the policy table is written: each refusal that a batch can meet, brought about for
// real by somebody who edits the table between two of our batches; and those that a kernel cannot be made to give, thrown
// in its place (said where that is so). Always: apply does not throw, nothing forbidden opens, and in the end the table is
// proved to be what is wanted.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { TableWatch } from '../../src/apps/agent/table-watch.ts'
import { NFT_TABLE } from '../../src/core/base/register.ts'
import { addr, fromNumber } from '../../src/core/net/addr.ts'
import type { Element, NftOp, NftSet, NftTable } from '../../src/core/nft/objects.ts'
import { ERRNO, KernelError } from '../../src/io/kernel/kernel-error.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import { NftConnection } from '../../src/io/kernel/nft-table.ts'
import type { Logger } from '../../src/io/log.ts'
import { FaultyDataplane, type Meddler, STATES } from './faulty-dataplane.ts'
import { runIn } from './netns.ts'

/** Edits that make one of the batch's operations fail; false where this batch has none of the sort. */
type Conflict = (rig: FaultyDataplane, ops: readonly NftOp[]) => boolean

const opsOf = <K extends NftOp['op']>(ops: readonly NftOp[], op: K) =>
  ops.filter((o): o is NftOp & { readonly op: K } => o.op === op)
const otherValue = (e: Element): Element =>
  typeof e.value === 'number'
    ? { ...e, value: e.value + 1 }
    : e.value === undefined
      ? e
      : { ...e, value: { kind: 'drop' } }

const CONFLICTS: Readonly<Record<string, { readonly conflict: Conflict; readonly errno: string }>> = {
  'an element is there already, with another value': {
    errno: 'EEXIST',
    conflict: (rig, ops) =>
      opsOf(ops, 'add-elements').some(({ set, elements }) =>
        rig.byHand([{ op: 'add-elements', set, elements: [otherValue(elements[0]!)] }]),
      ),
  },
  'an element is gone already': {
    errno: 'ENOENT',
    conflict: (rig, ops) =>
      opsOf(ops, 'delete-elements').some(({ set, elements }) =>
        rig.byHand([{ op: 'delete-elements', set, elements: [elements[0]!] }]),
      ),
  },
  'a chain is there already, with a rule that accepts': {
    errno: 'EEXIST',
    conflict: (rig, ops) =>
      opsOf(ops, 'add-chain').some(
        ({ chain }) =>
          chain.base === undefined && rig.nftByHand(`table inet ${NFT_TABLE} { chain ${chain.name} { accept; }; }`),
      ),
  },
  'a chain is still gone to from a rule of somebody': {
    errno: 'EBUSY',
    conflict: (rig, ops) =>
      ops.some(op => {
        if (op.op !== 'delete-chain') return false
        rig.nftByHand('add', 'chain', 'inet', NFT_TABLE, 'mine')
        return rig.nftByHand('add', 'rule', 'inet', NFT_TABLE, 'mine', 'goto', op.name)
      }),
  },
  'a set is still looked up by a rule of somebody': {
    errno: 'EBUSY',
    conflict: (rig, ops) =>
      ops.some(op => {
        if (op.op !== 'delete-set') return false
        rig.nftByHand('add', 'chain', 'inet', NFT_TABLE, 'mine')
        return rig.nftByHand(
          'add',
          'rule',
          'inet',
          NFT_TABLE,
          'mine',
          'meta',
          'priority',
          'set',
          'meta',
          'priority',
          'map',
          `@${op.name}`,
        )
      }),
  },
  'a map is flushed': {
    errno: 'ENOENT',
    conflict: (rig, ops) =>
      opsOf(ops, 'delete-elements').some(({ set }) => rig.nftByHand('flush', 'set', 'inet', NFT_TABLE, set.name)),
  },
  'the table is gone': { errno: 'ENOENT', conflict: rig => rig.nftByHand('delete', 'table', 'inet', NFT_TABLE) },
  'the ruleset is flushed': { errno: 'ENOENT', conflict: rig => rig.nftByHand('flush', 'ruleset') },
}
/** Without a table nothing drops until it is there again. What keeps it there is that the kernel lets only us delete it. */
const OPENS = new Set(['the table is gone', 'the ruleset is flushed'])

/** Applies the states one after the other, meddling in the n-th batch that has such an operation. */
async function walk(rig: FaultyDataplane, what: string, nth: number): Promise<boolean> {
  const { conflict } = CONFLICTS[what]!
  let met = 0
  let done = false
  const meddle: Meddler = (_, ops) => {
    if (done || met++ < nth) return
    if (!conflict(rig, ops)) met--
    else done = true
  }
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  rig.beforeBatch = meddle
  for (const state of [...STATES.slice(1), STATES[0]!]) {
    rig.want(state)
    if (!OPENS.has(what)) rig.assertClosed(what)
    await rig.converge(what)
    rig.assertClosed(what)
    if (done) break
    // Stale objects are removed when no packet can be in them any more.
    for (let i = 0; i < 75 && !done && what.includes('still'); i++) await delay(20)
    await rig.converge(what)
    if (done) break
  }
  rig.beforeBatch = () => {}
  return done
}

for (const [what, { errno }] of Object.entries(CONFLICTS)) {
  test(`F15 ${errno} in a batch: ${what}; it is read anew and converges`, async t => {
    const seen: string[] = []
    for (let nth = 0; nth < (what.includes('still') ? 1 : 3); nth++) {
      const rig = new FaultyDataplane(t)
      const done = await walk(rig, what, nth)
      if (!done) break
      seen.push(...rig.refused)
      assert.ok(rig.refused.length === 0 || rig.said.some(line => /writing the policy table failed/.test(line)))
      rig.dataplane.stop()
    }
    assert.ok(seen.includes(errno), `the kernel said ${seen.join(', ') || 'nothing'}`)
  })
}

/** What a kernel says that cannot be brought about here. */
const THROWN: readonly (readonly [what: string, code: keyof typeof ERRNO])[] = [
  ['F11 no such module (the kernel lacks a set type or an expression)', 'EOPNOTSUPP'],
  ['F11 the same, as older kernels say it', 'ENOENT'],
  ['F17 no memory for a big set', 'ENOMEM'],
  ['F18 no room in the socket', 'ENOBUFS'],
  ['F16 another transaction came between', 'EAGAIN'],
  ['a capability was taken away', 'EPERM'],
  ['interrupted', 'EINTR'],
]
for (const [what, code] of THROWN) {
  test(`${what}: ${code} (thrown in the kernel's place): closed, said, and done when it works again`, async t => {
    const rig = new FaultyDataplane(t)
    rig.dataplane.failClosed()
    rig.want(STATES[0]!)
    await rig.converge('at first')
    for (const [i, state] of STATES.entries()) {
      let left = 1 + (i % 2)
      const from = rig.batches + (i % 3)
      rig.beforeBatch = index => {
        if (index < from || left-- <= 0) return
        throw new KernelError('add set pod4', ERRNO[code])
      }
      const before = rig.programmed
      rig.want(state)
      rig.assertClosed(what)
      const { programmed, problems } = rig.dataplane.status()
      if (!programmed) {
        assert.match(problems.join(), new RegExp(`writing the policy table failed: .*${code}`))
        assert.equal(rig.programmed, before, 'nobody was told that the policy is in force')
      }
      await rig.converge(what)
      rig.assertClosed(what)
    }
    assert.ok(rig.refused.includes(code))
  })
}

test('a kernel that refuses everything from the start: nothing is told to be in force, and the last word says why', async t => {
  const rig = new FaultyDataplane(t)
  rig.beforeBatch = () => {
    throw new KernelError('add table', ERRNO.EOPNOTSUPP, { detail: 'no nf_tables' })
  }
  rig.want(STATES[0]!)
  const { programmed, problems } = rig.dataplane.status()
  assert.equal(programmed, false)
  assert.match(problems.join(), /EOPNOTSUPP \(no nf_tables\)/)
  assert.equal(rig.programmed, 0)
  rig.beforeBatch = () => {}
  await rig.converge('the module was loaded')
})

test('the socket is closed: a clear refusal, never a write into somebody else who has its number now', async t => {
  const rig = new FaultyDataplane(t)
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  rig.nft.close()
  rig.nft.close()
  const bystander = new NftConnection(rig.path)
  t.after(() => bystander.close())
  rig.want(STATES[1]!)
  assert.deepEqual([...new Set(rig.refused)], ['EBADF'])
  assert.match(rig.dataplane.status().problems.join(), /EBADF/)
  rig.assertClosed('closed socket')
  assert.throws(
    () => rig.nft.generation(),
    (e: unknown) => e instanceof KernelError && e.code === 'EBADF',
  )
  assert.throws(
    () => rig.nft.readTable(NFT_TABLE),
    (e: unknown) => e instanceof KernelError && e.code === 'EBADF',
  )
})

/** A connection in whose reads somebody changes the ruleset, `times` times. */
class Disturbed extends NftConnection {
  times = 0
  disturb: () => void = () => {}
  override generation(): number {
    const id = super.generation()
    if (this.times > 0) {
      this.times--
      this.disturb()
    }
    return id
  }
}

test('F16 the ruleset changes while it is read: never a mixture, and an end to the trying', async t => {
  let nft!: Disturbed
  const rig = new FaultyDataplane(t, {
    connect: path => {
      nft = new Disturbed(path)
      return nft
    },
  })
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  const quiet = nft.readTable(NFT_TABLE)
  let n = 0
  nft.disturb = () => {
    assert.ok(rig.nftByHand('add', 'chain', 'inet', NFT_TABLE, `mine${n++ % 2}`, '{', 'counter', ';', '}'))
    rig.nftByHand('delete', 'chain', 'inet', NFT_TABLE, `mine${n % 2}`)
  }
  nft.times = 5
  const found = nft.readTable(NFT_TABLE)
  assert.ok(n >= 5 && nft.times === 0)
  assert.equal(found?.chains.filter(c => c.name.startsWith('mine')).length, 1)
  nft.times = 1000
  assert.throws(
    () => nft.readTable(NFT_TABLE),
    (e: unknown) => e instanceof KernelError && e.isBusy,
  )
  // The dataplane that cannot read what it must know says so and tries again; then the additions go.
  rig.dataplane.verify('a restless neighbour')
  assert.equal(rig.dataplane.status().programmed, false)
  rig.assertClosed('while it cannot be read')
  nft.times = 0
  await rig.converge('quiet again')
  while ((nft.readTable(NFT_TABLE)?.chains.length ?? 0) !== quiet?.chains.length) await delay(50)
})

test('F13 notifications are lost: the table is read at once and put right', async t => {
  const rig = new FaultyDataplane(t)
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  const said: string[] = []
  const log = { warn: (text: string) => said.push(text), info: () => {}, error: () => {} } as unknown as Logger
  const watch = inNetns(rig.path, () => new TableWatch(rig.dataplane, log))
  t.after(() => watch.stop())
  // An edit and a flood by this very process: its transactions are not looked at, only the loss of them is.
  rig.byHand([{ op: 'delete-elements', ...someElements(rig) }])
  assert.ok(!rig.proof().proved, 'the edit matters')
  const set: NftSet = { name: 'big', key: ['ipv4_addr'], elements: [] }
  const table = { name: 'flood', sets: [] }
  rig.other.writeBatch([{ op: 'add-table' }, { op: 'add-set', set }], table)
  const elements = Array.from({ length: 5000 }, (_, i) => ({ key: [fromNumber(4, BigInt(0x0a000000 + i))] }))
  for (let i = 0; i < 60; i++) {
    rig.other.writeBatch([{ op: 'add-elements', set, elements }], table)
    rig.other.writeBatch([{ op: 'delete-elements', set, elements }], table)
  }
  while (!said.some(text => text.includes('were lost'))) await delay(20)
  while (rig.dataplane.status().lastEdit === undefined) await delay(20)
  assert.match(rig.dataplane.status().lastEdit!.by, /lost/)
  rig.other.deleteTable('flood')
  await rig.converge('after the loss')
})

/** Elements of the map of pods' addresses, as they are in the kernel. */
function someElements(rig: FaultyDataplane): { set: NftSet; elements: readonly Element[] } {
  const set = rig.nft.readTable(NFT_TABLE)!.sets.find(s => s.name === 'from_workload')!
  assert.ok(set.elements.length > 0)
  return { set: { ...set, elements: [] }, elements: set.elements }
}

test('F20 somebody flushes, deletes and edits at random while policies change: it converges, every time', async t => {
  const rig = new FaultyDataplane(t)
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  const script = `
    trap 'exit 0' TERM
    while :; do
      for c in 'flush ruleset' 'delete table inet ${NFT_TABLE}' 'flush table inet ${NFT_TABLE}' 'flush set inet ${NFT_TABLE} pod4' \
        'flush set inet ${NFT_TABLE} to_workload' 'add chain inet ${NFT_TABLE} mine' 'add table ip other' 'add rule inet ${NFT_TABLE} decide drop'; do
        nft $c 2>/dev/null; sleep 0.0$((RANDOM % 9))
      done
    done`
  const vandal = spawn('ip', ['netns', 'exec', rig.name, 'bash', '-c', script], { stdio: 'ignore' })
  const ended = once(vandal, 'exit')
  t.after(() => vandal.kill('SIGTERM'))
  try {
    for (let i = 0; i < 60; i++) {
      rig.want(STATES[i % STATES.length]!)
      if (i % 5 === 0) rig.dataplane.verify('nft')
      await delay(10)
    }
  } finally {
    vandal.kill('SIGTERM')
    await ended
  }
  rig.nftByHand('delete', 'table', 'ip', 'other')
  rig.dataplane.verify('nft')
  await rig.converge('he is gone')
  rig.assertClosed('he is gone')
  assert.ok(rig.refused.length > 0 || rig.dataplane.status().lastEdit !== undefined, 'he did get in between')
})

test('F21 tables of others with drops and marks: reported by the proof, never touched', async t => {
  const rig = new FaultyDataplane(t)
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  const foreign = `table ip firewall {
    chain forward { type filter hook forward priority filter + 10; policy drop; tcp dport 80 meta mark set 0x4000; }
  }`
  assert.ok(rig.nftByHand(foreign))
  const text = (): string => runIn(rig.name, 'nft', 'list', 'table', 'ip', 'firewall')
  const before = text()
  const { proved, differences } = rig.proof()
  assert.equal(proved, false)
  assert.ok(
    differences.some(d => d.path.some(hop => hop.includes('firewall') || hop.includes('forward'))),
    'it is named',
  )
  for (const state of STATES) rig.want(state)
  rig.dataplane.verify('nft')
  assert.equal(text(), before)
  assert.equal(rig.dataplane.status().lastEdit, undefined, 'our table is as it was')
  assert.ok(rig.nftByHand('delete', 'table', 'ip', 'firewall'))
  await rig.converge('without it')
})

test('a table that the kernel keeps for us survives a flush of the ruleset in the middle of a write', async t => {
  const rig = new FaultyDataplane(t, { own: true })
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  let tried = 0
  rig.beforeBatch = () => {
    tried++
    rig.nftByHand('flush', 'ruleset')
    assert.equal(rig.nftByHand('delete', 'table', 'inet', NFT_TABLE), false)
  }
  for (const state of STATES) {
    rig.want(state)
    rig.assertClosed('flushed between its batches')
  }
  assert.ok(tried > STATES.length)
  assert.deepEqual(rig.refused, [])
  await rig.converge('flushed')
})

/** Elements that cannot be, and the part of the batch that could: none of it may stay. */
const WRONG: readonly (readonly [what: string, set: NftSet, elements: readonly Element[], refusal: RegExp])[] = [
  [
    'an overlapping interval',
    { name: 's', key: ['ipv4_addr'], interval: true, elements: [] },
    [
      { key: [{ from: addr('10.0.0.0'), to: addr('10.0.0.9') }] },
      { key: [{ from: addr('10.0.0.5'), to: addr('10.0.0.20') }] },
    ],
    /EEXIST/,
  ],
  [
    'one key twice with two values',
    { name: 's', key: ['ipv4_addr'], value: 'classid', elements: [] },
    [
      { key: [addr('10.0.0.1')], value: 1 },
      { key: [addr('10.0.0.1')], value: 2 },
    ],
    /EEXIST/,
  ],
  ['a port above 65535', { name: 's', key: ['inet_service'], elements: [] }, [{ key: [70_000] }], /70000|range/],
  ['a protocol above 255', { name: 's', key: ['inet_proto'], elements: [] }, [{ key: [300] }], /300|range/],
  [
    'a range that ends before it begins',
    { name: 's', key: ['inet_service'], interval: true, elements: [] },
    [{ key: [{ from: 9000, to: 80 }] }],
    /./,
  ],
  [
    'a goto to a chain that is not there',
    { name: 's', key: ['ifname'], value: 'verdict', elements: [] },
    [{ key: ['cali1'], value: { kind: 'goto', chain: 'nowhere' } }],
    /ENOENT/,
  ],
]
for (const [what, set, elements, refusal] of WRONG) {
  test(`an element that cannot be: ${what}; the whole batch is refused`, t => {
    const rig = new FaultyDataplane(t)
    const table: NftTable = { family: 'inet', name: 'w', sets: [], chains: [] }
    rig.nft.writeBatch([{ op: 'add-table' }], table)
    const before = rig.nft.readTable('w')
    const ops: NftOp[] = [
      { op: 'add-chain', chain: { name: 'fine', rules: [] } },
      { op: 'add-set', set },
      { op: 'add-elements', set, elements },
    ]
    assert.throws(() => rig.nft.writeBatch(ops, table), refusal)
    assert.deepEqual(rig.nft.readTable('w'), before)
    // And the connection is as good as before.
    rig.nft.writeBatch([{ op: 'add-chain', chain: { name: 'fine', rules: [] } }], table)
    assert.equal(rig.nft.readTable('w')?.chains.length, 1)
  })
}
