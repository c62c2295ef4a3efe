// The short round of the IPAM soak: some ten thousand operations at once, killed, repeated, lost and collected.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { runHistories } from '../support/ipam-history.ts'

it('IPAM: random histories give no address twice and leak none after collection', async () => {
  const counts = await runHistories({ operations: 10_000, seed: 1 })
  console.log(`# IPAM histories: ${JSON.stringify(counts)}`)
  const { operations, steps, ...events } = counts
  assert.ok(operations >= 10_000 && steps > operations)
  for (const [what, count] of Object.entries(events)) assert.ok(count >= 3, `${what}: ${count}`)
})
