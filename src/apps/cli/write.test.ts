// apply, create, replace, delete and validate, as a person types them.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { run } from './cli.ts'
import { EXAMPLES, fakeAgents, SEED, SEED_SENTENCE, shell, WORLD } from './shell.fixture.ts'
import { CommandError } from './terminal.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'gingham-cli-'))
})
after(() => rm(dir, { recursive: true }))

async function file(name: string, text: string): Promise<string> {
  const full = path.join(dir, name)
  await writeFile(full, text)
  return full
}

test('the founding example: created, unchanged, updated, deleted', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  assert.deepEqual(await gingham(['create', '-f', SEED]), {
    code: 0,
    out: "Successfully created 1 'NetworkPolicy' resource(s)\n",
    err: `Network policy 'allow-backend-to-frontend' created in namespace 'default'. ${SEED_SENTENCE}\n`,
  })
  assert.deepEqual(await gingham(['apply', '-f', SEED]), {
    code: 0,
    out: "Successfully applied 1 'NetworkPolicy' resource(s)\n",
    err: `Network policy 'allow-backend-to-frontend' unchanged in namespace 'default'. ${SEED_SENTENCE}\n`,
  })
  assert.deepEqual(await gingham(['create', '-f', SEED]), {
    code: 1,
    out: '',
    err: "Error: failed to create 'NetworkPolicy' resource: [resource already exists: NetworkPolicy(default/allow-backend-to-frontend) with error: <nil>]\n",
  })
  assert.equal((await gingham(['create', '--skip-exists', '-f', SEED])).code, 0)
  const changed = (await gingham(['get', 'np', 'allow-backend-to-frontend', '-o', 'yaml'])).out.replace(
    'order: 100',
    'order: 7',
  )
  const updated = await gingham(['apply', '-f', '-'], changed)
  assert.equal(
    updated.err,
    `Network policy 'allow-backend-to-frontend' updated in namespace 'default'. ${SEED_SENTENCE}\n`,
  )
  // The same text again carries a version that is out of date by now.
  const stale = await gingham(['apply', '-f', '-'], changed.replace('order: 7', 'order: 8'))
  assert.equal(stale.code, 1)
  assert.match(stale.err, /update conflict: NetworkPolicy\(default\/allow-backend-to-frontend\)/)
  assert.deepEqual(await gingham(['delete', '-f', SEED]), {
    code: 0,
    out: "Successfully deleted 1 'NetworkPolicy' resource(s)\n",
    err: "Network policy 'allow-backend-to-frontend' deleted from namespace 'default'. It no longer applies to pods labeled 'role=frontend'.\n",
  })
  const again = await gingham(['delete', 'np', 'allow-backend-to-frontend'])
  assert.equal(again.code, 1)
  assert.equal(
    again.err,
    "Error: Failed to delete 'NetworkPolicy' resource: resource does not exist: NetworkPolicy(default/allow-backend-to-frontend) with error: <nil>\n",
  )
  assert.equal((await gingham(['delete', '-s', 'np', 'allow-backend-to-frontend'])).code, 0)
  assert.match(
    (await gingham(['replace', '-f', SEED])).err,
    /^Error: failed to replace 'NetworkPolicy' resource: resource does not exist/,
  )
})

test('of an input with a mistake nothing is written, unless asked for', async () => {
  const { gingham, store } = shell()
  const bad = await file(
    'bad.yaml',
    `apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: good}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: prod}
spec:
  tier: nowhere
  ingress:
  - action: Allow
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: q}
spec:
  ingress:
  - action: Alow
    protocol: TCP
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: s}
spec:
  ingress:
  - action: Allow
    http: {methods: [GET]}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: good}
`,
  )
  const refused = await gingham(['apply', '-f', bad])
  assert.equal(refused.code, 1)
  assert.equal(refused.out, '')
  const lines = refused.err.trimEnd().split('\n')
  assert.equal(lines.length, 5)
  assert.match(lines[0]!, /bad\.yaml:18:13: spec\.ingress\[0\]\.action: must be one of Allow, Deny, Log, Pass/)
  assert.match(lines[1]!, /bad\.yaml:27:5: spec\.ingress\[0\]\.http: matching HTTP is not supported/)
  assert.match(lines[2]!, /bad\.yaml:31:18: metadata\.name: Tier good is given twice, first at .*bad\.yaml:3 /)
  assert.match(lines[3]!, /bad\.yaml:9:9: spec\.tier: resource does not exist: Tier\(nowhere\) \(fix: /)
  assert.equal(lines[4], 'Error: failed to execute command: 4 mistakes, nothing was written')
  assert.equal((await store.list('')).entries.length, 0)

  const partial = await gingham(['apply', '--allow-partial', '-f', bad])
  assert.equal(partial.out, "Successfully applied 1 'Tier' resource(s)\n")
  assert.match(partial.err, /4 mistakes passed over, because of --allow-partial/)
  assert.match((await gingham(['get', 'tier', 'good'])).out, /^NAME {3}/)
})

test('warnings: switched off, never reached, matching nothing', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const { err, code } = await gingham(
    ['apply', '-f', '-'],
    `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p}
spec:
  selector: role == 'ghost'
  types: [Ingress]
  ingress:
  - action: Allow
  - action: Deny
    source:
      selector: role == 'nobody'
  egress:
  - action: Allow
`,
  )
  assert.equal(code, 0)
  assert.deepEqual(err.trimEnd().split('\n').slice(1), [
    'warning: standard input:12:3: spec.egress: 1 egress rule without effect: spec.types is Ingress (fix: add Egress to spec.types)',
    'warning: standard input:8:5: spec.ingress[0]: 1 rule after this one can never fire: it is Allow for everything (fix: move it to the end, or remove what follows)',
    'warning: standard input:5:13: spec.selector: selects no pod at present: the policy has no effect until one comes',
    'warning: standard input:10:5: spec.ingress[1].source: matches no pod and no network set at present',
  ])
})

test('services: what is applied says whom it means, a rule that means nobody is told', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const policy = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p}
spec:
  selector: role == 'backend'
  egress:
  - action: Allow
    destination: {services: {name: web}}
`
  const nobody =
    'spec.egress[0].destination.services: there is no service default/web at present, so that this matches nothing'
  assert.ok((await gingham(['apply', '-f', '-'], policy)).err.includes(nobody))
  const service = `apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, selector: {role: frontend}, ports: [{port: 80}]}
`
  const applied = await gingham(['apply', '-f', '-'], service)
  assert.match(applied.err, /^Service 'web' created in namespace 'default'\. Policies that name it mean its endpoints/)
  assert.match(
    applied.err,
    /warning: .*: spec\.selector: has no endpoints: .* label kubernetes\.io\/service-name: web\)/,
  )
  assert.match((await gingham(['apply', '-f', '-'], policy)).err, /service default\/web has no endpoints at present/)
  const slice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 8080}]
`
  assert.match((await gingham(['apply', '-f', '-'], slice)).err, /It gives service 'web' 1 endpoint on TCP 8080\.\n$/)
  assert.ok(!(await gingham(['apply', '-f', '-'], policy)).err.includes('warning'))
  assert.match((await gingham(['get', 'svc'])).out, /\nweb +ClusterIP +10\.96\.0\.1 +80\/TCP/)
  assert.match((await gingham(['get', 'endpointslices', '-o', 'wide'])).out, /\nweb-1 +web +IPv4 +8080 +10\.0\.0\.1/)
  const allowed = await gingham(['why', 'backend', 'frontend', 'tcp/8080'])
  assert.match(allowed.out, /egress of default\/backend: allowed by NetworkPolicy default\/p egress\[0\] Allow/)
  const denied = await gingham(['why', 'backend', 'frontend', 'tcp/80'])
  assert.match(denied.out, /but service default\/web serves on tcp\/8080 only/)
  const virtual = await gingham(['why', 'backend', '10.96.0.1', 'tcp/80'])
  assert.match(virtual.err, /^note: 10\.96\.0\.1 is the address of service default\/web\./)
  assert.equal((await gingham(['delete', '-f', '-'], slice)).code, 0)
})

test('what has no effect yet is told, what would cut pods off is refused', async () => {
  const { gingham } = shell()
  const pod = (more: string): string =>
    `apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations: {${more}}\nspec: {nodeName: node-a}\n`
  const warned = await gingham(['apply', '-f', '-'], pod('qos.projectcalico.org/egressBandwidth: 1M'))
  assert.equal(warned.code, 0)
  assert.match(
    warned.err,
    /^warning: standard input:5:\d+: metadata\.annotations: accepted, and without effect yet: qos\.projectcalico\.org\/egressBandwidth$/m,
  )
  const v3 = (kind: string, spec: string): string =>
    `apiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: {name: default}\nspec: {${spec}}\n`
  const felix = await gingham(['apply', '-f', '-'], v3('FelixConfiguration', 'wireguardEnabled: true, vxlanMTU: 1400'))
  assert.equal(felix.code, 0)
  assert.match(felix.err, /^warning: .* accepted, and without effect yet: vxlanMTU, wireguardEnabled$/m)
  const pool = await gingham(['apply', '-f', '-'], v3('IPPool', 'cidr: 10.1.0.0/16, vxlanMode: Always'))
  assert.equal(pool.code, 1)
  assert.match(pool.err, /spec\.vxlanMode: .* not routed between nodes \(fix: set vxlanMode: Never/)
  assert.match(pool.err, /nothing was written/)
})

test('a pod keeps its addresses when it is applied without them', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const text = 'apiVersion: v1\nkind: Pod\nmetadata: {name: other, labels: {role: client}}\nspec: {nodeName: node-a}\n'
  assert.match((await gingham(['apply', '-f', '-'], text)).err, /Pod 'other' updated/)
  assert.match((await gingham(['get', 'pods', 'other', '-o', 'wide'])).out, /other +node-a +10\.0\.0\.3 +role=client/)
})

test('validate says what files mean, without a datastore', async () => {
  const result = { out: '', err: '' }
  const code = await run(['validate', '-f', EXAMPLES], {
    terminal: {
      out: text => {
        result.out += text
      },
      err: text => {
        result.err += text
      },
      stdin: Readable.from([]),
    },
    connect: async () => {
      throw new CommandError('no datastore')
    },
    agents: fakeAgents({}),
    version: '0',
  })
  assert.equal(code, 0, result.err)
  assert.match(result.out, /^Successfully validated \d+ resource\(s\)\n$/)
  assert.ok(!result.err.includes('warning'), result.err)
})
