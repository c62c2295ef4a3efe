// An agent that starts on a table of an earlier one, and whose datastore is away: the table stays as it is, and what somebody
// does to it meanwhile is put right to what was found, never to nothing.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import pino from 'pino'
import { PolicyDataplane } from '../../src/apps/agent/dataplane.ts'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { type TableState, tableState } from '../../src/core/nft/table-state.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { cluster } from '../agreement/cluster.ts'
import { netnsOfFile, nftIn } from './netns.ts'

const NETNS = `gingham-at-${process.pid}`
let nft: NftConnection

const path = netnsOfFile(NETNS)
before(() => {
  nft = openNft(path)
})
after(() => nft?.close())

const agent = (): PolicyDataplane =>
  new PolicyDataplane({
    ...{ node: 'node0', kernel: nft, log: pino({ level: 'silent' }), metrics: new Metrics(), own: false },
    onProgrammed: () => {},
  })
const plain = (state: TableState) => ({
  sets: [...state.sets].map(([name, { elements }]) => [name, [...elements.keys()].sort()]).sort(),
  chains: [...state.chains].map(([name, { body }]) => [name, body]).sort(),
})
const nftTool = (...args: string[]): string => nftIn(NETNS, args)

test('what somebody does to an adopted table before the resources are known is undone', () => {
  const [snapshot] = fc.sample(cluster, { numRuns: 1, seed: 7 })
  const first = agent()
  first.apply(
    [...derived(snapshot!)].map(([key, value]) => ({ key, value })),
    1,
  )
  first.stop()
  const wanted = plain(tableState(nft.readTable('gingham')))
  assert.ok(wanted.chains.length > 15)
  for (const edit of [
    () => nftTool('flush', 'table', 'inet', 'gingham'),
    () => nftTool('delete', 'table', 'inet', 'gingham'),
    () => nftTool('add', 'chain', 'inet', 'gingham', 'mine'),
    () => nftTool('insert', 'rule', 'inet', 'gingham', 'forward', 'accept'),
  ]) {
    const second = agent()
    second.failClosed()
    assert.deepEqual(plain(tableState(nft.readTable('gingham'))), wanted, 'adopted as it is')
    edit()
    second.verify('test')
    assert.deepEqual(plain(tableState(nft.readTable('gingham'))), wanted)
    assert.ok(second.status().lastEdit)
    second.stop()
  }
})

test('a node without a table gets one that drops, and keeps it', () => {
  nft.deleteTable('gingham')
  const fresh = agent()
  fresh.failClosed()
  const closed = plain(tableState(nft.readTable('gingham')))
  assert.ok(closed.chains.some(([name]) => name === 'forward'))
  nftTool('delete', 'table', 'inet', 'gingham')
  fresh.verify('test')
  assert.deepEqual(plain(tableState(nft.readTable('gingham'))), closed)
  fresh.stop()
})
