// Tables through the real kernel, with nft as the other reader and writer: what we write reads back the same, lists without
// complaint, and its print, loaded by nft, is the same table again.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { type TestContext, test } from 'node:test'
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
  execFileSync('ip', ['netns', 'exec', netns, 'nft', '-f', '-'], { input: text, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] })

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
