// What another thread reads of our table against what was written: it agrees with every state, it sees every edit, and it says
// nothing of what was written meanwhile.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { readBack } from '../../src/apps/agent/read-back.ts'
import { NFT_TABLE } from '../../src/core/base/register.ts'
import { type Transaction, watchNft } from '../../src/io/kernel/nft-table.ts'
import { FaultyDataplane, STATES } from './faulty-dataplane.ts'
import { runIn } from './netns.ts'

const read = (rig: FaultyDataplane) => readBack(rig.reader.read(), NFT_TABLE)

async function programmed(t: TestContext) {
  const rig = new FaultyDataplane(t, { quarantineMs: 50 })
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  return rig
}

test('the table of every state is read back as it was written, without a look by who wrote it', async t => {
  const rig = await programmed(t)
  let looks = 0
  rig.beforeRead = () => void looks++
  for (const state of [...STATES, ...STATES]) {
    rig.want(state)
    for (let i = 0; i < 4; i++) {
      rig.dataplane.compare(read(rig), rig.dataplane.writes)
      await delay(40)
    }
  }
  assert.equal(looks, 0)
  assert.equal(rig.dataplane.status().lastEdit, undefined)
})

const EDITS: readonly (readonly [what: string, args: readonly string[], says: RegExp])[] = [
  ['an element gone', ['delete', 'element', 'inet', NFT_TABLE, 'pod4', '{ 10.66.0.1 }'], /10\.66\.0\.1 .*was deleted/],
  ['a set more', ['add', 'set', 'inet', NFT_TABLE, 'mine', '{ type ipv4_addr; }'], /set mine was added/],
  ['a chain more', ['add', 'chain', 'inet', NFT_TABLE, 'mine'], /chain mine was added/],
  ['a rule more', ['insert', 'rule', 'inet', NFT_TABLE, 'to_check', 'accept'], /chain to_check has/],
  ['the table gone', ['delete', 'table', 'inet', NFT_TABLE], /the table was deleted/],
]
for (const [what, args, says] of EDITS) {
  test(`${what}: seen when it is read back, said in words, put right`, async t => {
    const rig = await programmed(t)
    assert.ok(rig.nftByHand(...args))
    rig.dataplane.compare(read(rig), rig.dataplane.writes)
    assert.match(rig.dataplane.status().lastEdit?.what.join() ?? '', says)
    await rig.converge(what)
    for (let i = 0; i < 100 && runIn(rig.name, 'nft', 'list', 'ruleset').includes('mine'); i++) await delay(20)
    const edit = rig.dataplane.status().lastEdit
    rig.dataplane.compare(read(rig), rig.dataplane.writes)
    assert.equal(rig.dataplane.status().lastEdit, edit)
  })
}

test('an answer says nothing of what was written after it was asked for, and all of the rest', async t => {
  const rig = await programmed(t)
  const { writes } = rig.dataplane
  const early = read(rig)
  rig.want(STATES[1]!)
  rig.dataplane.compare(early, writes)
  assert.equal(rig.dataplane.status().lastEdit, undefined)
  const before = rig.dataplane.writes
  assert.ok(rig.nftByHand('add', 'chain', 'inet', NFT_TABLE, 'mine'))
  const edited = read(rig)
  rig.dataplane.verify('somebody')
  const edit = rig.dataplane.status().lastEdit
  assert.match(edit!.what.join(), /chain mine was added/)
  rig.dataplane.compare(edited, before)
  assert.equal(rig.dataplane.status().lastEdit, edit, 'it was read and put right since')
})

test('a transaction tells which tables of ours it touched', async t => {
  const rig = await programmed(t)
  const heard: Transaction[] = []
  t.after(watchNft({ changed: by => heard.push(by), overrun: () => assert.fail('overrun') }, rig.path))
  const tables = async (...args: string[]): Promise<string[]> => {
    const before = heard.length
    assert.ok(rig.nftByHand(...args))
    for (let i = 0; i < 100 && heard.length === before; i++) await delay(20)
    return [...heard.at(-1)!.tables]
  }
  assert.deepEqual(await tables('add', 'table', 'inet', 'other'), ['other'])
  assert.deepEqual(await tables('add', 'table', 'ip', NFT_TABLE), [])
  assert.deepEqual(await tables('add', 'chain', 'inet', NFT_TABLE, 'mine'), [NFT_TABLE])
  assert.deepEqual(await tables('delete', 'element', 'inet', NFT_TABLE, 'pod4', '{ 10.66.0.1 }'), [NFT_TABLE])
  assert.deepEqual((await tables('flush', 'ruleset')).sort(), [NFT_TABLE, 'other'])
})
