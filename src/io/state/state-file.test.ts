// The last known state: what is written comes back, and nothing that differs from it by a bit or a byte does.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { decodeResource, type Resource } from '../../core/resources/resource.ts'
import { decodeState, readState, type SavedState, writeState } from './state-file.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'gingham-state-'))
after(() => rmSync(folder, { recursive: true }))
const file = path.join(folder, 'deep/er/node-a.json')

const V3 = 'projectcalico.org/v3'
const document = (d: object, stored = false): Resource => {
  const decoded = decodeResource(d, { stored })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const name = fc.stringMatching(/^[a-z]([a-z0-9-]{0,60}[a-z0-9])?$/)
const labels = fc.dictionary(fc.constantFrom('app', 'example.com/role', 'x_y'), fc.constantFrom('a', 'B.c', ''))
const port = fc.record({
  name: fc.option(fc.constantFrom('http', 'dns'), { nil: undefined }),
  containerPort: fc.integer({ min: 1, max: 65535 }),
  protocol: fc.constantFrom('TCP', 'UDP', 'SCTP', undefined),
  hostPort: fc.constantFrom(undefined, 8080),
  hostIP: fc.constantFrom(undefined, '192.0.2.1'),
})
const pod = fc
  .record({ name: fc.stringMatching(/^[a-z0-9]{1,253}$/), namespace: name, labels, ports: fc.array(port) })
  .map(({ ports, ...metadata }) =>
    document({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, annotations: { 'example.com/any': '\u2028 ä 𝄞 "' }, resourceVersion: '7' },
      spec: { nodeName: 'node-a', serviceAccountName: 'default', containers: [{ ports }] },
      status: { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] },
    }),
  )
const namespace = fc
  .record({ name, labels })
  .map(metadata => document({ apiVersion: 'v1', kind: 'Namespace', metadata, spec: {} }))
const policy = fc
  .record({ name, order: fc.constantFrom(undefined, 1.5, 1e6), selector: fc.constantFrom('all()', "app == 'ä'") })
  .map(({ name: policyName, ...spec }) =>
    document({
      apiVersion: V3,
      kind: 'GlobalNetworkPolicy',
      metadata: { name: policyName },
      spec: { ...spec, ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80, '90:95', 'http'] } }] },
    }),
  )
/** Kubernetes', with a rule that nobody would take from a person. */
const theirs = fc.record({ name, namespace: name }).map(metadata =>
  document(
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata,
      spec: { ingress: [{ from: [{ nodeSelector: {} }] }, { ports: [{ port: 80 }] }] },
    },
    true,
  ),
)
const resources = fc.array(fc.oneof(pod, namespace, policy, theirs), { maxLength: 6 })

const state: fc.Arbitrary<SavedState> = fc.record({
  node: fc.constant('node-a'),
  revision: fc.nat(),
  clusterGuid: fc.constantFrom('0123456789abcdef0123456789abcdef'),
  writtenAt: fc.constant('2026-01-02T03:04:05.678Z'),
  resources,
})

const SMALL: SavedState = {
  node: 'node-a',
  revision: 42,
  writtenAt: '2026-01-02T03:04:05.678Z',
  resources: [
    document({
      apiVersion: V3,
      kind: 'Tier',
      metadata: { name: 'default' },
      spec: { order: 1e6, defaultAction: 'Deny' },
    }),
  ],
}

async function written(saved: SavedState): Promise<Buffer> {
  await writeState(file, saved)
  return readFileSync(file)
}

async function said(bytes: Uint8Array | string): Promise<string> {
  writeFileSync(file, bytes)
  const read = await readState(file, 'node-a')
  assert.ok(!read.ok)
  return read.problems.map(p => `${p.path} ${p.message}`).join()
}

test('what was written comes back', async () => {
  await fc.assert(
    fc.asyncProperty(state, async saved => {
      await writeState(file, saved)
      const read = await readState(file, 'node-a')
      assert.ok(read.ok, JSON.stringify(read))
      assert.deepEqual(read.value, JSON.parse(JSON.stringify(saved)))
      assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')).state, JSON.parse(JSON.stringify(saved)))
    }),
  )
  assert.deepEqual(readdirSync(path.dirname(file)), ['node-a.json'], 'nothing is left beside it')
})

test('more resources than one slice come back in their order', async () => {
  const many = Array.from({ length: 1001 }, (_, i) =>
    document({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: `n${i}` }, spec: {} }),
  )
  await writeState(file, { ...SMALL, resources: many })
  const read = await readState(file, 'node-a')
  assert.ok(read.ok)
  assert.deepEqual(read.value.resources, many)
})

test('every flipped bit of a file is noticed', async () => {
  const bytes = await written(SMALL)
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = Uint8Array.from(bytes)
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(decodeState(damaged).ok, false, `bit ${bit}`)
  }
})

test('every cut, and every byte more, is noticed', async () => {
  const bytes = await written(SMALL)
  for (let length = 0; length < bytes.length; length++)
    assert.equal(decodeState(bytes.subarray(0, length)).ok, false, `${length} bytes`)
  for (const more of ['\n', '}', '\0']) assert.equal(decodeState(Buffer.concat([bytes, Buffer.from(more)])).ok, false)
})

test('damage of any kind in a larger file is noticed, and never thrown', async () => {
  const bytes = await written({ ...SMALL, resources: fc.sample(resources, { numRuns: 20, seed: 1 }).flat() })
  const damage = fc.record({
    at: fc.nat(bytes.length - 1),
    remove: fc.nat(50),
    put: fc.uint8Array({ maxLength: 50 }),
  })
  fc.assert(
    fc.property(damage, ({ at, remove, put }) => {
      const damaged = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + remove)])
      fc.pre(!damaged.equals(bytes))
      assert.equal(decodeState(damaged).ok, false)
    }),
  )
  fc.assert(fc.property(fc.uint8Array(), any => assert.equal(decodeState(any).ok, false)))
})

test('the reason is said in words, with the path', async () => {
  const bytes = await written(SMALL)
  const text = bytes.toString()
  rmSync(file)
  const missing = await readState(file, 'node-a')
  assert.deepEqual(missing, { ok: false, problems: [{ path: file, message: 'does not exist' }] })
  assert.match(await said(text.slice(0, -9)), /node-a\.json is cut off/)
  assert.match(await said(text.replace('42', '43')), /node-a\.json is damaged: its checksum/)
  assert.match(await said(text.replace('"format":1', '"format":2')), /written by a newer version: it has format 2/)
  assert.match(await said(text.replace('"format":1', '"format":0')), /has format 0, this version reads format 1/)
  assert.match(await said('{}'), /does not begin as a state does/)
  assert.match(await said(await written({ ...SMALL, node: 'node-b' })), /is the state of node node-b/)
  const future = { kind: 'Tier', apiVersion: 'projectcalico.org/v9', metadata: { name: 'x' } } as unknown as Resource
  assert.match(
    await said(await written({ ...SMALL, resources: [future] })),
    /resources\[0\]\.apiVersion: unknown version/,
  )
})
