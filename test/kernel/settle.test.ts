// A cluster that is never quiet: what the dataplane keeps for packets on their way, and what is stale in the kernel, is given
// up by its age while changes go on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { NFT_TABLE } from '../../src/core/base/register.ts'
import { snapshotOf } from '../../src/core/resources/resource.ts'
import { DEFAULT_TIER, endpoint, globalPolicy } from '../support/resources.ts'
import { FaultyDataplane } from './faulty-dataplane.ts'

const EDITS = 60
const QUARANTINE_MS = 300
const PAUSE_MS = 100

/** Teams of one pod each beyond the node; the only rule asks for another one at each edit. */
const state = (n: number) =>
  snapshotOf([
    DEFAULT_TIER,
    endpoint({ name: 'b', node: 'node0', addresses: ['10.65.0.3'], labels: { role: 'server' } }),
    ...Array.from({ length: EDITS + 1 }, (_, i) =>
      endpoint({ name: `r${i}`, node: 'node1', addresses: [`10.66.0.${i + 1}`], labels: { team: `t${i}` } }),
    ),
    globalPolicy(`p${n}`, {
      ...{ order: 10, selector: "role == 'server'", types: ['Ingress'] },
      ingress: [
        { action: 'Allow', protocol: 'TCP', source: { selector: `team == 't${n}'` }, destination: { ports: [80 + n] } },
      ],
    }),
  ])

test('under a change every 100 ms what is held is given up by its age, atoms, elements and chains', async t => {
  const rig = new FaultyDataplane(t, { quarantineMs: QUARANTINE_MS })
  rig.dataplane.failClosed()
  const sizes = () => {
    const table = rig.nft.readTable(NFT_TABLE)!
    const elements = table.sets.reduce((sum, s) => sum + s.elements.length, 0)
    return { atoms: rig.dataplane.status().atoms, elements, chains: table.chains.length }
  }
  rig.want(state(0))
  await rig.converge('at first')
  const first = sizes()
  const most = { ...first }
  for (let n = 1; n <= EDITS; n++) {
    rig.want(state(n))
    await delay(PAUSE_MS)
    const now = sizes()
    for (const key of ['atoms', 'elements', 'chains'] as const) most[key] = Math.max(most[key], now[key])
  }
  t.diagnostic(`at first ${JSON.stringify(first)}, at most ${JSON.stringify(most)}`)
  // What an edit leaves behind that nothing gives up, and that of half of them.
  for (const [key, left] of [['atoms', 1] as const, ['elements', 4] as const, ['chains', 1] as const])
    assert.ok(most[key] < first[key] + (left * EDITS) / 2, `${key}: ${most[key]} at most, ${first[key]} at first`)
  await rig.converge('at last')
  for (let i = 0; i < 200 && JSON.stringify(sizes()) !== JSON.stringify(first); i++) await delay(50)
  assert.deepEqual(sizes(), first, 'all is given back when it is quiet')
})
