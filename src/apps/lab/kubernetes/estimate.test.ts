import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printRemaining, remainingSeconds } from './estimate.ts'

const ahead = [{ seconds: 30 }, { seconds: 70 }]

test('what is left is what is expected, scaled by what was seen', () => {
  const at = (expected: number, spent: number, done: { expected: number; spent: number }[] = []) =>
    remainingSeconds({ done, current: { expected, spent }, ahead })
  assert.equal(at(100, 0), 200)
  assert.equal(at(100, 40), 160)
  assert.equal(at(100, 0, [{ expected: 10, spent: 20 }]), 400)
  // A step that takes longer than it should: the machine is slower than it was thought to be.
  assert.equal(at(100, 200), 220)
  assert.equal(at(100, 10, [{ expected: 10, spent: 5 }]), 90)
})

test('a step that ought to be over takes a little longer', () => {
  assert.equal(remainingSeconds({ done: [], current: { expected: 50, spent: 50 }, ahead: [] }), 5)
})

test('the time left in words', () => {
  const words = (seconds: number) => printRemaining({ done: [], current: { expected: seconds, spent: 0 }, ahead: [] })
  assert.deepEqual([3, 42, 600].map(words), ['about 5 s left', 'about 45 s left', 'about 10 min left'])
})
