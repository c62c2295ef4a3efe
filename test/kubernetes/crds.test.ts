// Our definitions in a real API server: taken, established, and refusing what we refuse as far as they can say it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { API_FACTS } from '../../src/core/kubernetes/columns.ts'
import { customResourceDefinitions } from '../../src/core/kubernetes/crd.ts'
import { OBSERVED } from '../../src/core/resources/observed.fixture.ts'
import { decodeResource } from '../../src/core/resources/resource.ts'
import { ApiError } from '../../src/io/kubernetes/api-error.ts'
import { type ApiObject, applyObjects, objectPath } from '../../src/io/kubernetes/apply.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { ACCEPTED, document, ONLY_OURS, REFUSED } from './corpus.ts'

let cluster: Cluster
before(async () => {
  cluster = await openCluster()
})
after(() => cluster?.close())

const parent = (object: ApiObject): string => objectPath(object).replace(/\/[^/]*$/, '')

/** What the API server says to a new object without keeping it: undefined if it takes it. As strict as kubectl asks. */
async function refusal(object: ApiObject): Promise<string | undefined> {
  try {
    const query = { dryRun: 'All', fieldValidation: 'Strict' }
    await cluster.client.request('POST', parent(object), { body: JSON.stringify(object), query })
    return undefined
  } catch (error) {
    assert.ok(error instanceof ApiError && error.status < 500, String(error))
    return error.message
  }
}

async function read(path: string): Promise<{ [key: string]: never } & { metadata: { resourceVersion: string } }> {
  return JSON.parse(await cluster.client.request('GET', path))
}

test('every definition is established and structural, and applying it twice changes nothing', async () => {
  const definitions = customResourceDefinitions()
  assert.ok(definitions.length >= 17)
  const look = () => Promise.all(definitions.map(definition => read(objectPath(definition))))
  const first = await look()
  for (const [i, found] of first.entries()) {
    const { conditions } = found.status as unknown as {
      conditions: { type: string; status: string; message: string }[]
    }
    const states = Object.fromEntries(conditions.map(({ type, status }) => [type, status]))
    const name = definitions[i]!.metadata.name
    assert.equal(states.Established, 'True', name)
    assert.equal(states.NamesAccepted, 'True', name)
    assert.notEqual(states.NonStructuralSchema, 'True', name)
  }
  await applyObjects(cluster.client, definitions)
  const second = await look()
  assert.deepEqual(
    second.map(({ metadata }) => metadata.resourceVersion),
    first.map(({ metadata }) => metadata.resourceVersion),
  )
})

test('what users may write, the API server takes', async () => {
  for (const line of ACCEPTED) {
    const decoded = decodeResource(document(line))
    assert.ok(decoded.ok, `${line}: ${decoded.ok ? '' : JSON.stringify(decoded.problems)}`)
    assert.equal(await refusal(document(line)), undefined, line)
  }
})

test('what a real calicoctl stored, the API server takes', async () => {
  const taken = OBSERVED.map(({ document }) => document as ApiObject).filter(({ kind }) =>
    customResourceDefinitions().some(({ spec }) => spec.names.kind === kind),
  )
  assert.ok(taken.length >= 10)
  for (const object of taken) assert.equal(await refusal(object), undefined, JSON.stringify(object))
})

test('what is wrong, the API server refuses like we do', async () => {
  for (const line of REFUSED) {
    assert.ok(!decodeResource(document(line)).ok, line)
    assert.notEqual(await refusal(document(line)), undefined, line)
  }
})

test('what definitions cannot say is taken, and found when it is read', async () => {
  for (const line of ONLY_OURS) {
    assert.ok(!decodeResource(document(line)).ok, line)
    assert.equal(await refusal(document(line)), undefined, line)
  }
})

test('defaults, types and the label of the tier are filled in for whoever uses kubectl', async () => {
  const made = async (line: string) =>
    JSON.parse(
      await cluster.client.request('POST', parent(document(line)), {
        body: JSON.stringify(document(line)),
        query: { dryRun: 'All' },
      }),
    )
  const types = async (spec: string) => (await made(`GlobalNetworkPolicy {name: a} ${spec}`)).spec.types
  assert.deepEqual(await types('{}'), ['Ingress'])
  assert.deepEqual(await types('{ingress: [{action: Allow}]}'), ['Ingress'])
  assert.deepEqual(await types('{egress: [{action: Allow}]}'), ['Egress'])
  assert.deepEqual(await types('{egress: [{action: Allow}], ingress: [{action: Deny}]}'), ['Ingress', 'Egress'])
  assert.deepEqual(await types('{egress: [{action: Allow}], types: [Ingress]}'), ['Ingress'])
  const deletion = await made('StagedGlobalNetworkPolicy {name: a} {stagedAction: Delete}')
  assert.equal(deletion.spec.types, undefined)
  const labels = async (line: string) => (await made(line)).metadata.labels
  assert.deepEqual(await labels('GlobalNetworkPolicy {name: a, labels: {x: y}} {}'), {
    x: 'y',
    'projectcalico.org/tier': 'default',
  })
  assert.deepEqual(await labels('NetworkPolicy {name: a, namespace: default} {tier: security}'), {
    'projectcalico.org/tier': 'security',
  })
  const pool = await made('IPPool {name: a} {cidr: 10.0.0.0/16}')
  assert.equal(pool.spec.ipipMode, 'Never')
  assert.equal(pool.spec.assignmentMode, 'Automatic')
})

test('what is immutable in a pool stays, and built-in tiers cannot be deleted', async () => {
  const pool = document('IPPool {name: p} {cidr: 10.0.0.0/16, blockSize: 26}')
  await applyObjects(cluster.client, [pool])
  const change = (spec: object) => applyObjects(cluster.client, [{ ...pool, spec } as ApiObject])
  await assert.rejects(change({ cidr: '10.1.0.0/16', blockSize: 26 }), /cidr cannot be changed/)
  await assert.rejects(change({ cidr: '10.0.0.0/16', blockSize: 27 }), /blockSize cannot be changed/)
  await change({ cidr: '10.0.0.0/16', blockSize: 26, natOutgoing: true })
  const tier = document('Tier {name: default} {order: 1000000, defaultAction: Deny}')
  await applyObjects(cluster.client, [tier])
  await assert.rejects(
    cluster.client.request('DELETE', objectPath(tier)),
    /The built-in tier default cannot be deleted/,
  )
})

test('short names, columns, selectable fields and status are as Calico has them', async () => {
  const discovered = (await read('/apis/projectcalico.org/v3')) as unknown as {
    resources: { name: string; kind: string; shortNames?: string[] }[]
  }
  for (const { name, kind, shortNames } of discovered.resources.filter(({ name }) => !name.includes('/')))
    assert.deepEqual(shortNames ?? [], API_FACTS[kind]?.shortNames ?? [], name)
  const statuses = discovered.resources.filter(({ name }) => name.endsWith('/status')).map(({ name }) => name)
  assert.deepEqual(statuses.sort(), ['ippools/status', 'tiers/status'])

  const policies = ['a', 'b'].map(tier => document(`GlobalNetworkPolicy {name: ${tier}} {tier: ${tier}, order: 3}`))
  await applyObjects(cluster.client, policies)
  const listed = JSON.parse(
    await cluster.client.request('GET', parent(policies[0]!), { query: { fieldSelector: 'spec.tier=b' } }),
  )
  assert.deepEqual(
    listed.items.map(({ metadata }: ApiObject) => metadata.name),
    ['b'],
  )
})
