// The command line on a real API server, from a kubeconfig: what it does on the embedded store it does here.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { parse } from 'yaml'
import { example, ROOT } from '../../src/apps/lab/commands.ts'
import { componentPath } from '../../src/apps/lab/kubernetes/components.ts'
import { type ApiObject, applyObjects, objectPath } from '../../src/io/kubernetes/apply.ts'
import { type Cluster, openCluster } from './cluster.ts'

let cluster: Cluster
before(async () => {
  cluster = await openCluster()
})
after(() => cluster?.close())

type Said = { readonly code: number; readonly out: string; readonly err: string }
type RunOptions = { readonly env?: Readonly<Record<string, string>>; readonly stdin?: string }

/** Not synchronously: the way to the API server goes through this process. */
function run(program: string, args: readonly string[], { env = {}, stdin = '' }: RunOptions = {}): Promise<Said> {
  const { GINGHAM_DATASTORE: _, GINGHAM_RUN: __, ...rest } = process.env
  return new Promise(resolve => {
    const child = execFile(
      program,
      args,
      { env: { ...rest, NO_COLOR: '1', KUBECONFIG: cluster.plane.kubeconfig, ...env } },
      (error, out, err) => resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, out, err }),
    )
    child.stdin!.end(stdin)
  })
}

const gingham = (args: readonly string[], options?: RunOptions) => run(join(ROOT, 'bin/gingham'), args, options)
const kubectl = (args: readonly string[], options?: RunOptions) => run(componentPath('kubectl'), args, options)

async function ok(said: Promise<Said>): Promise<string> {
  const { code, out, err } = await said
  assert.equal(code, 0, err || out)
  return out
}

/** A pod as if a kubelet had started it. */
async function makePod(name: string, labels: object, ip: string): Promise<void> {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] },
  }
  await applyObjects(cluster.client, [pod])
  const body = JSON.stringify({ status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] } })
  const contentType = 'application/merge-patch+json'
  await cluster.client.request('PATCH', `${objectPath(pod)}/status`, { body, contentType })
}

const serviceAccount = (namespace: string, name: string): ApiObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name, namespace },
})

test('the definitions that are printed are those that kubectl applies', async () => {
  const printed = await ok(gingham(['crds']))
  const said = await ok(kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { stdin: printed }))
  assert.match(said, /customresourcedefinition\.apiextensions\.k8s\.io\/tiers\.projectcalico\.org serverside-applied/)
  assert.match(
    said,
    /mutatingadmissionpolicy\.admissionregistration\.k8s\.io\/types\.projectcalico\.org serverside-applied/,
  )
})

test('apply, get, why and delete, with a sentence for the policy', async () => {
  await applyObjects(cluster.client, [serviceAccount('default', 'default')])
  await makePod('frontend', { role: 'frontend' }, '10.244.0.1')
  await makePod('backend', { role: 'backend' }, '10.244.0.2')
  await makePod('client', { role: 'client' }, '10.244.0.3')

  const applied = await gingham(['apply', '-f', example('allow-backend-to-frontend.yaml')])
  assert.equal(applied.code, 0, applied.err)
  assert.match(
    applied.err,
    /Network policy 'allow-backend-to-frontend' created in namespace 'default'\. It restricts ingress and egress traffic to pods labeled 'role=frontend'/,
  )
  assert.match(await ok(gingham(['get', 'networkpolicy', '-A'])), /allow-backend-to-frontend/)
  const stored = parse(await ok(gingham(['get', 'networkpolicy', 'allow-backend-to-frontend', '-o', 'yaml'])))
  assert.deepEqual(stored.spec.types, ['Ingress', 'Egress'])
  assert.equal(stored.metadata.managedFields, undefined)
  const shown = await ok(kubectl(['get', 'cnp', '-A']))
  assert.match(shown, /NAME +TIER +ORDER +AGE\n?/)
  assert.match(shown, /default +allow-backend-to-frontend +default +100 /)

  assert.match(await ok(gingham(['why', 'default/backend', 'default/frontend', 'tcp/80'])), /allow/i)
  const denied = await gingham(['why', 'default/client', 'default/frontend', 'tcp/80', '--exit-code'])
  assert.equal(denied.code, 2, denied.err)
  assert.match(denied.out, /allow-backend-to-frontend/)

  assert.equal((await gingham(['apply', '-f', example('allow-backend-to-frontend.yaml')])).code, 0)
  await ok(gingham(['delete', 'networkpolicy', 'allow-backend-to-frontend']))
  const gone = await gingham(['get', 'networkpolicy', 'allow-backend-to-frontend'])
  assert.equal(gone.code, 1)
  assert.match(gone.err, /resource does not exist: NetworkPolicy\(default\/allow-backend-to-frontend\)/)
})

test('what kubectl applies, the command line reads, and the other way round', async () => {
  const policy = `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: from-kubectl}, spec: {selector: "role == 'client'", egress: [{action: Deny}]}}`
  await ok(kubectl(['apply', '-f', '-'], { stdin: policy }))
  const stored = parse(await ok(gingham(['get', 'gnp', 'from-kubectl', '-o', 'yaml'])))
  assert.deepEqual([stored.spec.types, stored.spec.tier], [['Egress'], 'default'])
  const why = await gingham(['why', 'default/client', 'default/backend', 'tcp/80', '--exit-code'])
  assert.equal(why.code, 2, why.err)
  assert.match(why.out, /from-kubectl/)
  const tier = `{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: security}, spec: {order: 10}}`
  await ok(gingham(['create', '-f', '-'], { stdin: tier }))
  assert.match(await ok(kubectl(['get', 'tier', 'security'])), /security +10 +Deny/)
  await ok(kubectl(['delete', 'tier', 'security']))
  await ok(gingham(['delete', 'gnp', 'from-kubectl']))
})

test('what the API server refuses is said with its words', async () => {
  const pool = `{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: p}, spec: {cidr: 10.9.0.0/16}}`
  await ok(gingham(['create', '-f', '-'], { stdin: pool }))
  const again = await gingham(['create', '-f', '-'], { stdin: pool })
  assert.equal(again.code, 1)
  assert.match(again.err, /resource already exists: IPPool\(p\)/)
  const pod = await gingham(['delete', 'pod', 'client'])
  assert.equal(pod.code, 1)
  assert.match(pod.err, /operation Delete is not supported on Pod\(default\/client\): .*use kubectl/)
  await ok(gingham(['delete', 'ippool', 'p']))
})

test('a config file chooses the cluster, a token shows who asks, and who may not is told', async () => {
  const account = serviceAccount('prod', 'reader')
  await applyObjects(cluster.client, [account])
  const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} }
  const answer = await cluster.client.request('POST', `${objectPath(account)}/token`, { body: JSON.stringify(request) })
  const { token } = JSON.parse(answer).status
  const config = JSON.parse(readFileSync(cluster.plane.kubeconfig, 'utf8'))
  const inline = JSON.stringify({ ...config, users: [{ name: 'admin', user: { token } }] })
  const file = join(cluster.folder.path, 'calicoctl.cfg')
  const spec = { datastoreType: 'kubernetes', kubeconfigInline: inline }
  writeFileSync(file, JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind: 'CalicoAPIConfig', spec }))

  const asReader = () => gingham(['get', 'tiers', '-c', file], { env: { KUBECONFIG: '' } })
  const refused = await asReader()
  assert.equal(refused.code, 1)
  assert.match(
    refused.err,
    /tiers\.projectcalico\.org is forbidden: User "system:serviceaccount:prod:reader" cannot list/,
  )

  const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'tier-reader' } }
  const rules = [{ apiGroups: ['projectcalico.org'], resources: ['tiers'], verbs: ['get', 'list'] }]
  const binding = { ...role, kind: 'ClusterRoleBinding' }
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'tier-reader' }
  const subjects = [{ kind: 'ServiceAccount', name: 'reader', namespace: 'prod' }]
  await applyObjects(cluster.client, [{ ...role, rules } as ApiObject, { ...binding, roleRef, subjects } as ApiObject])
  // Rights reach the API server's authorizer a moment later.
  for (let tries = 1; ; tries++) {
    const said = await asReader()
    if (said.code === 0 || tries === 20) {
      assert.match(said.out, /default/, said.err)
      break
    }
  }
})

test('without a server the answer is one sentence', async () => {
  const nowhere = JSON.parse(readFileSync(cluster.plane.kubeconfig, 'utf8'))
  nowhere.clusters[0].cluster.server = 'https://127.0.0.1:1'
  const file = join(cluster.folder.path, 'nowhere')
  writeFileSync(file, JSON.stringify(nowhere))
  const said = await gingham(['get', 'tiers'], { env: { KUBECONFIG: file } })
  assert.equal(said.code, 1)
  assert.match(said.err, /^Error: the datastore does not answer: .*ECONNREFUSED.*\n$/)
  const missing = await gingham(['get', 'tiers'], { env: { KUBECONFIG: '/nowhere/config' } })
  assert.match(missing.err, /^Error: there is no kubeconfig \/nowhere\/config\n$/)
})
