// The pairs of features that are left out are exactly those that validation refuses or that are never asked: none is left out
// for comfort, and none is waited for that can never come.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostHook } from '../../src/core/resources/cause.ts'
import { decodeResource, keyOf, type Resource, snapshotOf } from '../../src/core/resources/resource.ts'
import { dice } from '../support/dice.ts'
import { FEATURED_FIXED, featuredPolicy } from './featured-policy.ts'
import { EVERY_PAIR, FEATURES, featuresOf, membersOf, WANTED, whyImpossible } from './features.ts'

const V3 = 'projectcalico.org/v3'
const DEFAULT = { apiVersion: V3, kind: 'Tier', metadata: { name: 'default' }, spec: { order: 1e6 } }
const FIXED = [...FEATURED_FIXED, DEFAULT].flatMap((document): Resource[] => {
  const decoded = decodeResource(document)
  return decoded.ok ? [decoded.value] : []
})

/** Where a policy is asked. */
function placesOf({ kind, spec }: Resource): (HostHook | undefined)[] {
  if (kind === 'Profile') return [undefined, 'host']
  if (!/^(Staged)?GlobalNetworkPolicy$/.test(kind)) return [undefined]
  const { applyOnForward, preDNAT, doNotTrack } = spec as Readonly<Record<string, boolean>>
  if (doNotTrack) return ['untracked']
  if (preDNAT) return ['prednat']
  return [undefined, 'host', ...(applyOnForward ? ['forward' as const] : [])]
}

/** Whether the only rule of some valid document has all of them; what is by chance in it gets several tries. */
const canBe = (wanted: readonly string[]): boolean =>
  Array.from({ length: 20 }, (_, seed) => featuredPolicy(wanted, 'p', dice(seed))).some(document => {
    const decoded = decodeResource(document)
    if (!decoded.ok) return false
    const policy = decoded.value
    const snapshot = snapshotOf([...FIXED, policy])
    const { ingress } = policy.spec as { readonly ingress?: readonly unknown[] }
    const rule = { policy: keyOf(policy), direction: ingress?.length ? 'ingress' : 'egress', index: 0 } as const
    return placesOf(policy).some(hook =>
      ([4, 6] as const).some(family => {
        const found = featuresOf(snapshot, { rule, hook, family })
        return wanted.every(f => found.includes(f))
      }),
    )
  })

test('every feature alone makes a valid policy', () => {
  for (const feature of FEATURES) assert.ok(canBe([feature]), feature)
})

test('the pairs left out are those that cannot be', () => {
  const wrong = EVERY_PAIR.filter(pair => canBe(membersOf(pair)) !== (whyImpossible(...membersOf(pair)) === undefined))
  assert.deepEqual(wrong, [])
  console.log(
    `# ${FEATURES.length} features, ${EVERY_PAIR.length} pairs, ${EVERY_PAIR.length - WANTED.length} impossible`,
  )
})
