// A watch on a server that is unwell, and lists whose pages are forgotten: nothing missed, nothing twice, no storm.
import assert from 'node:assert/strict'
import { after, afterEach, before, it } from 'node:test'
import {
  json,
  lines,
  openScriptedApi,
  type ScriptedApi,
  scriptedConfig,
  status,
} from '../../../../test/support/scripted-api.ts'
import { ApiClient } from '../../kubernetes/api-client.ts'
import { readCredentials } from '../../kubernetes/credentials.ts'
import { collect, printEvent } from '../conformance.ts'
import { StoreError } from '../store.ts'
import { KubernetesStore } from './store.ts'

const TIERS = '/calico/resources/v3/projectcalico.org/tiers/'
const PATH = '/apis/projectcalico.org/v3/tiers'

let api: ScriptedApi
const stores: KubernetesStore[] = []
before(async () => {
  api = await openScriptedApi()
})
after(() => api.close())
afterEach(() => {
  for (const store of stores.splice(0)) store.close()
  api.requests.length = 0
})

async function open(): Promise<KubernetesStore> {
  const store = new KubernetesStore(
    new ApiClient(await readCredentials({ inline: scriptedConfig(api) }), { idle: 300 }),
  )
  stores.push(store)
  return store
}

const tier = (name: string, resourceVersion: number) => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'Tier',
  metadata: { name, resourceVersion: String(resourceVersion), managedFields: [{ manager: 'x' }] },
})
const event = (type: string, name: string, revision: number) => ({ type, object: tier(name, revision) })
const bookmark = (revision: number) => ({
  type: 'BOOKMARK',
  object: { metadata: { resourceVersion: String(revision) } },
})
const page = (items: readonly unknown[], revision: number, more?: string) =>
  json(200, { metadata: { resourceVersion: String(revision), ...(more ? { continue: more } : {}) }, items })
const silence = lines([], 'silence')

/** What was asked for, without the times that are chance. */
const asked = () => api.requests.map(text => text.replace(/&?timeoutSeconds=\d+/, '').replace(`${PATH}?`, ''))
const from = (revision: number) => `GET watch=1&allowWatchBookmarks=true&resourceVersion=${revision}`
const short = (text: string) => text.replace(/\/calico.*tiers\//, '').replace(/=\{.*\}@/, '@')

it('a watch goes on from the last event or bookmark, whether the stream ends, is cut or falls silent', async () => {
  const store = await open()
  api.script(
    lines([event('ADDED', 'a', 11), event('MODIFIED', 'a', 12)]),
    lines([bookmark(20)], 'cut'),
    lines([event('DELETED', 'a', 25)], 'silence'),
    lines([event('ADDED', 'b', 30)], 'silence'),
  )
  const watch = collect(store, TIERS, 10)
  await watch.until(4)
  watch.watch.close()
  assert.deepEqual(watch.events.map(printEvent).map(short), ['put a@11', 'put a@12', 'delete a@25', 'put b@30'])
  assert.deepEqual(asked(), [from(10), from(12), from(20), from(25)])
  const first = watch.events[0]!
  assert.ok(first.kind === 'put' && !first.entry.value.includes('managedFields'))
})

it('a watch ends with compacted when the server has forgotten, in either way of saying so, after what it still said', async () => {
  const store = await open()
  api.script(status(410, 'Expired'))
  assert.equal((await collect(store, TIERS, 10).end())?.code, 'compacted')
  const gone = { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } }
  api.script(lines([event('ADDED', 'a', 11), gone]))
  const watch = collect(store, TIERS, 10)
  assert.equal((await watch.end())?.code, 'compacted')
  assert.deepEqual(watch.events.map(printEvent).map(short), ['put a@11'])
  assert.equal(api.requests.length, 2)
})

it('a server that was set back to an older state is noticed', async () => {
  const store = await open()
  api.script(lines([bookmark(7)]))
  assert.equal((await collect(store, TIERS, 10).end())?.code, 'compacted')
})

it('a server that fails is asked again from the same revision', async () => {
  const store = await open()
  api.script(
    status(500, 'InternalError'),
    status(429, 'TooManyRequests', { 'Retry-After': '0' }),
    request => request.socket.destroy(),
    lines([event('ADDED', 'a', 11)], 'silence'),
  )
  const watch = collect(store, TIERS, 10)
  await watch.until(1)
  assert.deepEqual(asked(), Array(4).fill(from(10)))
})

it('a kind that the cluster does not have is an empty list, and a kind that is taken away is listed anew', async () => {
  const store = await open()
  api.script(status(404, 'NotFound'))
  assert.deepEqual(await store.list(TIERS), { entries: [], revision: 0 })
  assert.equal((await collect(store, TIERS, 10).end())?.code, 'compacted')
})

it('a list whose pages are forgotten begins anew and holds each object once', async () => {
  const store = await open()
  api.script(
    page([tier('a', 1)], 5, 'next'),
    status(410, 'Expired'),
    page([tier('b', 2)], 9, 'more'),
    page([tier('c', 3)], 9),
  )
  const { entries, revision } = await store.list(TIERS)
  assert.deepEqual([entries.map(({ key }) => key.slice(TIERS.length)), revision], [['b', 'c'], 9])
  assert.deepEqual(asked(), [
    'GET limit=500',
    'GET limit=500&continue=next',
    'GET limit=500',
    'GET limit=500&continue=more',
  ])
})

it('who may not list is told so, as somebody who may ask again', async () => {
  const store = await open()
  api.script(status(403, 'Forbidden'))
  await assert.rejects(store.list(TIERS), (error: unknown) => {
    assert.ok(error instanceof StoreError && error.code === 'unavailable')
    assert.match(error.message, /Forbidden/)
    return true
  })
})

it('an object without a readable version is an error, not a guess', async () => {
  const store = await open()
  api.script(page([{ metadata: { name: 'a', resourceVersion: 'x7' } }], 5))
  await assert.rejects(store.list(TIERS), /"x7" is no resource version/)
  api.script(silence)
})
