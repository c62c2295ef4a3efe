import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { KeyedLock } from './cni-lock.ts'

it('work on one key never overlaps, keeps its order, survives failures, and leaves nothing behind', async () => {
  const job = fc.record({ key: fc.constantFrom('a', 'b', 'c'), turns: fc.nat(4), fails: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(job, { maxLength: 30 }), async jobs => {
      const lock = new KeyedLock()
      const busy = new Set<string>()
      const order: Record<string, number[]> = {}
      const results = await Promise.allSettled(
        jobs.map(({ key, turns, fails }, i) =>
          lock.run(key, async () => {
            assert.ok(!busy.has(key))
            busy.add(key)
            for (let turn = 0; turn < turns; turn++) await Promise.resolve()
            busy.delete(key)
            order[key] = [...(order[key] ?? []), i]
            if (fails) throw new Error('failed')
            return i
          }),
        ),
      )
      assert.deepEqual(
        results.map(({ status }) => status === 'rejected'),
        jobs.map(({ fails }) => fails),
      )
      for (const done of Object.values(order))
        assert.deepEqual(
          done,
          [...done].sort((a, b) => a - b),
        )
      await new Promise(setImmediate)
      assert.equal(lock.size, 0)
    }),
  )
})

it('work on different keys goes on at the same time', async () => {
  const lock = new KeyedLock()
  let release = () => {}
  const blocked = lock.run('a', () => new Promise<void>(resolve => (release = resolve)))
  await lock.run('b', async () => {})
  release()
  await blocked
})
