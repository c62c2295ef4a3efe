// Kubernetes' policies through the command line: written, shown and told in Kubernetes' words, beside Calico's of the same
// kind and name.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { shell, WORLD } from './shell.fixture.ts'

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {role: backend}}
  ingress:
  - from: [{podSelector: {matchLabels: {role: frontend}}}]
    ports: [{port: http}, {port: 443, endPort: 445}]
`
const CLUSTER = `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 10
  subject: {pods: {podSelector: {matchLabels: {role: backend}}, namespaceSelector: {}}}
  ingress:
  - {action: Deny, name: no clients, from: [{pods: {podSelector: {matchLabels: {role: client}}}}]}
  - {action: Pass, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: default}}}]}
`

test('a NetworkPolicy of Kubernetes is applied, shown and deleted beside one of Calico of the same name', async () => {
  const { gingham, store } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const calico = 'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {order: 2000}\n'
  await gingham(['apply', '-f', '-'], calico)
  const applied = await gingham(['apply', '-f', '-'], POLICY)
  assert.equal(applied.out, "Successfully applied 1 'NetworkPolicy' resource(s)\n")
  assert.equal(
    applied.err,
    "Kubernetes' network policy 'web' created in namespace 'default'. It restricts ingress traffic to pods with role=backend " +
      'to only: TCP http, TCP 443-445 from pods with role=frontend in namespace default.\n',
  )
  assert.ok(await store.get('/registry/networkpolicies/default/web'))
  assert.match((await gingham(['apply', '-f', '-'], POLICY)).err, /'web' unchanged/)
  assert.equal((await gingham(['get', 'netpol'])).out, 'NAME   POD-SELECTOR   \nweb    role=backend   \n\n')
  const yaml = (await gingham(['get', '-f', '-', '-o', 'yaml'], POLICY)).out
  assert.match(yaml, /^apiVersion: networking\.k8s\.io\/v1\nkind: NetworkPolicy\n/)
  assert.match(yaml, /policyTypes:\n {2}- Ingress\n/)
  assert.match((await gingham(['get', 'knp', '-o', 'yaml'])).out, /\nkind: NetworkPolicyList\n/)
  assert.equal((await gingham(['get', 'knp', '-o', 'name'])).out, 'networkpolicy.networking.k8s.io/web\n')
  assert.match((await gingham(['get', 'networkpolicy'])).out, /\nweb +default /)
  assert.equal((await gingham(['replace', '-f', '-'], yaml)).code, 0)
  const why = await gingham(['why', 'frontend', 'backend', 'tcp/http'])
  assert.match(
    why.out,
    /ingress of default\/backend: allowed by KubernetesNetworkPolicy default\/web ingress\[0\] Allow\n/,
  )
  assert.match(why.out, /rule {7}Allow TCP http, TCP 443-445 from pods with role=frontend in namespace default\n/)
  const gone = await gingham(['delete', '-f', '-'], POLICY)
  assert.equal(gone.out, "Successfully deleted 1 'NetworkPolicy' resource(s)\n")
  assert.match(
    gone.err,
    /^Kubernetes' network policy 'web' deleted from namespace 'default'\. It no longer applies to pods with role=backend\.\n$/,
  )
  assert.match((await gingham(['get', 'networkpolicy'])).out, /\nweb +default /)
})

test('a ClusterNetworkPolicy is applied, shown, asked and deleted', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const client =
    'apiVersion: v1\nkind: Pod\nmetadata: {name: other, labels: {role: client}}\nspec: {nodeName: node-a}\n'
  await gingham(['apply', '-f', '-'], client)
  const applied = await gingham(['apply', '-f', '-'], CLUSTER)
  assert.equal(applied.out, "Successfully applied 1 'ClusterNetworkPolicy' resource(s)\n")
  assert.equal(
    applied.err,
    "Cluster network policy 'guard' created. For ingress traffic to pods with role=backend in all namespaces, in this order, it " +
      'denies everything from pods with role=client in all namespaces; leaves to the next tier everything from all pods in ' +
      'namespace default; what no rule decides goes on to the next tier. It is judged before all policies of namespaces.\n',
  )
  assert.match((await gingham(['get', 'clusternetworkpolicies'])).out, /^NAME +TIER +PRIORITY +\nguard +Admin +10 +\n/)
  const why = await gingham(['why', 'other', 'backend', 'tcp/80'])
  assert.match(why.out, /DENIED by KubernetesClusterNetworkPolicy guard ingress\[0\] Deny\n/)
  assert.match(why.out, /rule {7}Deny everything from pods with role=client in all namespaces \(no clients\)\n/)
  assert.equal((await gingham(['delete', '-f', '-'], CLUSTER)).code, 0)
  assert.match((await gingham(['why', 'other', 'backend', 'tcp/80'])).out, /ALLOWED/)
})

test('mistakes stand at their line; what has no effect is told', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const bad = await gingham(['apply', '-f', '-'], POLICY.replace('endPort: 445', 'endPort: 44'))
  assert.equal(bad.code, 1)
  assert.match(bad.err, /^standard input:8:\d+: spec\.ingress\[0\]\.ports\[1\]\.endPort: must not be below port 443/)
  const nobody = await gingham(
    ['apply', '-f', '-'],
    `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {role: ghost}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - podSelector: {matchLabels: {role: nobody}}
    - namespaceSelector: {matchLabels: {a: b}}
    ports: [{port: nowhere}]
  egress:
  - {}
`,
  )
  assert.equal(nobody.code, 0)
  const lines = nobody.err.trimEnd().split('\n')
  assert.deepEqual(lines.slice(1), [
    'warning: standard input:12:3: spec.egress: 1 egress rule without effect: spec.policyTypes is Ingress (fix: add Egress to spec.policyTypes)',
    'warning: standard input:5:3: spec.podSelector: selects no pod at present: the policy has no effect until one comes',
    'warning: standard input:9:7: spec.ingress[0].from[0]: matches no pod at present',
    'warning: standard input:10:7: spec.ingress[0].from[1]: matches no pod at present',
    'warning: standard input:11:20: spec.ingress[0].ports[0].port: no pod meant here has a port named nowhere at present',
  ])
  // A pod of that label is elsewhere: a usual mistake.
  const pod =
    'apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: prod, labels: {role: far}}\nspec: {nodeName: node-a}\nstatus: {podIP: 10.9.9.9}\n'
  await gingham(['apply', '-f', '-'], pod)
  const far = await gingham(['apply', '-f', '-'], POLICY.replace('role: frontend', 'role: far'))
  assert.match(
    far.err,
    /from\[0\]: matches no pod at present in namespace default \(fix: add a namespaceSelector to look in others\)\n/,
  )
})

test('sentences: isolation, everything, both directions, baseline, no rules', async () => {
  const { gingham } = shell()
  const say = async (kind: 'NetworkPolicy' | 'ClusterNetworkPolicy', spec: string): Promise<string> => {
    const apiVersion = kind === 'NetworkPolicy' ? 'networking.k8s.io/v1' : 'policy.networking.k8s.io/v1alpha2'
    const { err } = await gingham(
      ['validate', '-f', '-'],
      `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: a}\nspec: ${spec}\n`,
    )
    return err.replace(/^[^.]*\. /, '').trimEnd()
  }
  const rows: readonly (readonly ['NetworkPolicy' | 'ClusterNetworkPolicy', string, string])[] = [
    [
      'NetworkPolicy',
      '{}',
      'It isolates all pods of the namespace: no ingress traffic is allowed unless another policy allows it.',
    ],
    [
      'NetworkPolicy',
      '{policyTypes: [Ingress, Egress]}',
      'It isolates all pods of the namespace: no ingress or egress traffic is allowed unless another policy allows it.',
    ],
    ['NetworkPolicy', '{ingress: [{}]}', 'It allows all ingress traffic to all pods of the namespace.'],
    [
      'NetworkPolicy',
      '{policyTypes: [Ingress, Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}, {ports: [{protocol: UDP, port: 53}]}]}',
      'It allows no ingress traffic to all pods of the namespace unless another policy does. It restricts egress traffic from all ' +
        'pods of the namespace to only: everything to 10.0.0.0/8; UDP 53.',
    ],
    [
      'ClusterNetworkPolicy',
      '{tier: Baseline, priority: 1, subject: {namespaces: {matchLabels: {a: b}}}, egress: [{action: Accept, to: [{networks: [10.0.0.0/8]}], protocols: [{tcp: {destinationPort: {number: 80}}}]}]}',
      'For egress traffic from all pods in namespaces with a=b, in this order, it accepts TCP 80 to 10.0.0.0/8; what no rule decides ' +
        'goes on to the next tier. It is judged only where no policy of a namespace decides.',
    ],
    [
      'ClusterNetworkPolicy',
      '{tier: Admin, priority: 1, subject: {namespaces: {}}}',
      'It has no rules, and so no effect on all pods in all namespaces.',
    ],
  ]
  for (const [kind, spec, wanted] of rows) assert.equal(await say(kind, spec), wanted)
})
