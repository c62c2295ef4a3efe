import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Backoff } from './backoff.ts'

test('waits grow to a limit, are never the same for all, and begin anew when all is well', () => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), fc.nat(40), (chances, tries) => {
      const backoff = new Backoff({ first: 100, longest: 5000, random: () => chances.next().value as number })
      for (let i = 0; i < tries; i++) {
        const whole = Math.min(5000, 100 * 2 ** i)
        const wait = backoff.next()
        assert.ok(wait >= whole / 2 && wait <= whole, `${wait} of ${whole}`)
      }
      backoff.reset()
      assert.ok(backoff.next() <= 100)
    }),
  )
})

test('a server that says when to come back is not asked before', () => {
  const backoff = new Backoff({ first: 100, random: () => 0 })
  assert.equal(backoff.next(3000), 3050)
  assert.equal(backoff.next(3000), 3100)
})
