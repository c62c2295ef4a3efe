// The pairs of features that are left out are exactly those that validation refuses: none is left out for comfort, and none
// is waited for that can never come.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeResource } from '../../src/core/resources/resource.ts'
import { dice } from '../support/dice.ts'
import { featuredPolicy } from './featured-policy.ts'
import { EVERY_PAIR, FEATURES, membersOf, WANTED, whyImpossible } from './features.ts'

/** Whether some document with both is a valid one; what is by chance in it gets several tries. */
const canBe = (pair: readonly string[]): boolean =>
  Array.from({ length: 20 }, (_, seed) => featuredPolicy(pair, 'p', dice(seed))).some(doc => decodeResource(doc).ok)

test('every feature alone makes a valid policy', () => {
  for (const feature of FEATURES) assert.ok(canBe([feature]), feature)
})

test('the pairs left out are those that validation refuses', () => {
  const wrong = EVERY_PAIR.filter(pair => canBe(membersOf(pair)) !== (whyImpossible(...membersOf(pair)) === undefined))
  assert.deepEqual(wrong, [])
  console.log(
    `# ${FEATURES.length} features, ${EVERY_PAIR.length} pairs, ${EVERY_PAIR.length - WANTED.length} impossible`,
  )
})
