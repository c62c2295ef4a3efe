// The policy tables of random clusters in a real kernel: accepted, read back equal, a restart onto them writes nothing, and
// a change from one cluster to any other arrives at exactly the other's table.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import type { NftOp, NftTable } from '../../src/core/nft/objects.ts'
import { applyOps, type TableState, tableState } from '../../src/core/nft/table-state.ts'
import { planUpdate, removeStale } from '../../src/core/render/nft/plan.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { derived } from '../../src/core/resources/derive.ts'
import type { Snapshot } from '../../src/core/resources/resource.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { cluster, HOST_INTERFACES } from '../agreement/cluster.ts'
import { netnsOfFile, nftIn } from './netns.ts'

const NETNS = `gingham-pt-${process.pid}`
let nft: NftConnection

const path = netnsOfFile(NETNS)
before(() => {
  nft = openNft(path)
})
after(() => nft?.close())

const render = (snapshot: Snapshot): NftTable =>
  canonicalTable(policyTable(classify(computeIntent(derived(snapshot), 'node0', HOST_INTERFACES.get('node0')))))

function write(found: TableState, table: NftTable): number {
  const plan = planUpdate(found, table)
  const send = (batch: readonly NftOp[]): void => {
    nft.writeBatch(batch, table)
    applyOps(found, batch)
  }
  for (const batch of [...plan.create, ...plan.move]) send(batch)
  if (plan.stale.length > 0) send(removeStale(found, plan.stale))
  return plan.create.length + plan.move.length + plan.stale.length
}

const plain = (state: TableState) => ({
  sets: [...state.sets].map(([name, { elements }]) => [name, [...elements.keys()].sort()]).sort(),
  chains: [...state.chains].map(([name, { body }]) => [name, body]).sort(),
})

test('every cluster’s table is accepted, read back equal, and adopted without a write', () => {
  let objects = 0
  fc.assert(
    fc.property(fc.array(cluster, { minLength: 1, maxLength: 3 }), history => {
      nft.deleteTable('gingham')
      const found = tableState(undefined)
      for (const snapshot of history) {
        const table = render(snapshot)
        write(found, table)
        const read = nft.readTable('gingham')!
        assert.deepEqual(read.unknown ?? [], [])
        assert.deepEqual(plain(tableState(read)), plain(tableState(table)))
        // What a restarted agent sees: nothing but the kernel.
        assert.equal(write(tableState(read), table), 0, 'a restart onto a right table writes nothing')
        objects += read.chains.length + read.sets.reduce((sum, s) => sum + 1 + s.elements.length, 0)
      }
    }),
    { numRuns: 60 },
  )
  console.log(`# ${objects} kernel objects compared`)
  const listing = nftIn(NETNS, ['list', 'ruleset'])
  assert.match(listing, /table inet gingham/)
})

test('nft reads the print of a cluster’s table back to the same table', () => {
  const [snapshot] = fc.sample(cluster, { numRuns: 1 })
  nft.deleteTable('gingham')
  const table = render(snapshot!)
  write(tableState(undefined), table)
  const listing = nftIn(NETNS, ['list', 'table', 'inet', 'gingham'])
  nft.deleteTable('gingham')
  nftIn(NETNS, ['-f', '-'], listing)
  assert.deepEqual(plain(tableState(nft.readTable('gingham'))), plain(tableState(table)))
})
