import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { convertUid, unwrapMetadata } from './older-metadata.ts'

test('a uid is reversed byte by byte, but for version and variant, and comes back', () => {
  assert.equal(convertUid('01020304-0506-4708-890a-0b0c0d0e0f10'), '8040c020-a060-4710-8950-d030b070f008')
  assert.equal(convertUid('no uuid'), 'no uuid')
  fc.assert(fc.property(fc.uuid(), uid => assert.equal(convertUid(convertUid(uid)), uid)))
})

test('what users see is what the annotation holds', () => {
  const inner = {
    name: 'p',
    uid: 'x',
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { a: 'b' },
    annotations: { c: 'd' },
  }
  const stored = {
    name: 'default.p',
    resourceVersion: '7',
    uid: '00000000-0000-4000-8000-000000000001',
    creationTimestamp: '2027-01-01T00:00:00Z',
    labels: { 'projectcalico.org/tier': 'default' },
    annotations: { 'projectcalico.org/metadata': JSON.stringify(inner) },
  }
  const shown = {
    name: 'default.p',
    resourceVersion: '7',
    uid: '00000000-0000-4000-8000-000000000080',
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { a: 'b' },
    annotations: { c: 'd' },
  }
  assert.deepEqual(unwrapMetadata(stored, false), shown)
  const annotations = { c: 'd', 'projectcalico.org/metadata': JSON.stringify(inner) }
  assert.deepEqual(unwrapMetadata(stored, true), { ...shown, annotations })
  const empty = JSON.stringify({ creationTimestamp: null })
  assert.deepEqual(
    unwrapMetadata({ name: 'p', labels: { x: 'y' }, annotations: { 'projectcalico.org/metadata': empty } }, false),
    {
      name: 'p',
    },
  )
})

test('without the annotation, or with one that is no JSON, the object speaks for itself', () => {
  for (const text of [undefined, '{', '[]']) {
    const annotations = { a: 'b', ...(text === undefined ? {} : { 'projectcalico.org/metadata': text }) }
    const metadata = { name: 'p', labels: { x: 'y' }, annotations }
    assert.deepEqual(unwrapMetadata(metadata, false), metadata)
  }
})
