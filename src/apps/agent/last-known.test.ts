// The change from the last known state to the live one: only what differs is handed on, and what is gone is said to be.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { DerivedView } from '../../core/resources/derived-view.ts'
import { decodeResource, keyOf, type Resource } from '../../core/resources/resource.ts'
import { readState } from '../../io/state/state-file.ts'
import { LastKnown, printAge } from './last-known.ts'
import type { ViewUpdate } from './resources.ts'

const namespace = (name: string, label: string): Resource => {
  const metadata = { name, labels: { label } }
  const decoded = decodeResource({ apiVersion: 'v1', kind: 'Namespace', metadata, spec: {} })
  assert.ok(decoded.ok)
  return decoded.value
}

/** As the view of the datastore hands it on first: everything is a change. */
function first(revision: number, resources: readonly Resource[]): ViewUpdate {
  const derived = new DerivedView()
  const changes = derived.apply(resources.map(value => ({ key: keyOf(value), value })))
  return { view: derived.view, changes, revision }
}

test('a node without its datastore enforces the file, and then the difference', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gingham-known-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'state/a.json')
  const enforced: ViewUpdate[] = []
  const start = (): LastKnown =>
    new LastKnown({
      node: 'a',
      file,
      log: pino({ level: 'silent' }),
      now: () => new Date('2026-01-02T03:04:05Z'),
      isConnected: () => false,
      enforce: update => enforced.push(update),
    })
  const before = start()
  before.live(first(7, [namespace('same', 'x'), namespace('other', 'x'), namespace('gone', 'x')]))
  before.live(first(8, [namespace('same', 'x'), namespace('other', 'y'), namespace('gone', 'x')]))
  await before.stop()
  assert.ok(existsSync(file))
  const saved = await readState(file, 'a')
  assert.ok(saved.ok && saved.value.revision === 8, 'the end is written, however soon it comes')

  enforced.length = 0
  const known = start()
  known.start()
  while (enforced.length === 0) await delay(20)
  const [loaded] = enforced
  assert.equal(loaded?.revision, 8)
  assert.deepEqual(known.status, { revision: 8, writtenAt: '2026-01-02T03:04:05.000Z', ageSeconds: 0 })
  assert.match(
    known.problems.join(),
    /^enforcing the state of 2026-01-02T03:04:05.000Z \(0 seconds old\) at revision 8/,
  )
  assert.deepEqual([...loaded.view.keys()].sort(), loaded.changes.map(c => c.key).sort())

  known.live(first(9, [namespace('same', 'x'), namespace('other', 'z'), namespace('new', 'x')]))
  const { changes } = enforced[1]!
  assert.deepEqual(
    changes.map(({ key, value }) => `${value ? 'put' : 'gone'} ${key}`).sort(),
    ['gone Namespace//gone', 'gone Profile//kns.gone', 'put Namespace//new', 'put Namespace//other'].concat([
      'put Profile//kns.new',
      'put Profile//kns.other',
    ]),
  )
  assert.deepEqual([known.status, known.problems], [null, []])
  await known.stop()
})

test('ages are said in the unit that fits', () => {
  const said = [0, 1, 119, 120, 7199, 7200, 172_799, 172_800].map(printAge)
  assert.deepEqual(said, [
    ...['0 seconds old', '1 second old', '119 seconds old', '2 minutes old', '119 minutes old'],
    ...['2 hours old', '47 hours old', '2 days old'],
  ])
})
