// What is said of Kubernetes' policies that cannot be enforced as they were meant; what they mean is the oracle's to judge.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeResource,
  type KubernetesClusterNetworkPolicy,
  type KubernetesNetworkPolicy,
} from '../resources/resource.ts'
import { printSelector } from '../selector/selector.ts'
import { kubernetesPolicyOf } from './kubernetes-policies.ts'

type Policy = KubernetesNetworkPolicy | KubernetesClusterNetworkPolicy
function policy(document: object): Policy {
  const decoded = decodeResource(document, { stored: true })
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  return decoded.value as Policy
}
const np = (spec: object): Policy =>
  policy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'prod' },
    spec,
  })
const cnp = (spec: object): Policy =>
  policy({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'c' },
    spec,
  })

test('a NetworkPolicy is a policy of tier default at order 1000, over pods, with one rule for each peer and protocol', () => {
  const { policy: made, problem } = kubernetesPolicyOf(
    np({
      podSelector: { matchLabels: { b: '2', a: '1' } },
      ingress: [
        {
          from: [{ namespaceSelector: {} }, { podSelector: {} }],
          ports: [{ port: 80 }, { port: 81 }, { protocol: 'UDP' }],
        },
      ],
    }),
  )
  assert.equal(problem, undefined)
  const { tier, order, types, selector, rules } = made
  assert.deepEqual({ tier, order, types }, { tier: 'default', order: 1000, types: ['ingress'] })
  const pods = 'projectcalico.org/orchestrator == "k8s"'
  assert.equal(printSelector(selector), `(${pods} && projectcalico.org/namespace == "prod" && a == "1" && b == "2")`)
  const shown = rules.ingress.map(r => [
    r.ref.index,
    r.protocol,
    printSelector(r.source.selector!),
    r.destination.ports?.ranges,
  ])
  const own = `(${pods} && projectcalico.org/namespace == "prod")`
  assert.deepEqual(shown, [
    [0, 6, pods, [{ first: 80, last: 81 }]],
    [0, 6, own, [{ first: 80, last: 81 }]],
    [0, 17, pods, undefined],
    [0, 17, own, undefined],
  ])
})

test('rules that cannot be converted, and policies that are passed over, are named', () => {
  const problem = (made: Policy): string | undefined => kubernetesPolicyOf(made).problem
  assert.equal(
    problem(np({ ingress: [{ ports: [{ port: 9, endPort: 8 }] }, {}], egress: [{ to: [{}] }] })),
    'KubernetesNetworkPolicy prod/p: ingress[0] allows nothing: spec.ingress[0].ports[0].endPort: must not be below port 9; ' +
      'egress[0] allows nothing: spec.egress[0].to[0]: selects nothing: a peer has a podSelector, a namespaceSelector or an ipBlock',
  )
  const subject = { namespaces: {} }
  const nodes = { to: [{ nodes: {} }] }
  const unsupported = 'peers by nodes are not supported'
  const base = { tier: 'Admin', priority: 1, subject }
  assert.equal(
    problem(
      cnp({
        ...base,
        egress: [
          { action: 'Accept', ...nodes },
          { action: 'Pass', ...nodes },
        ],
      }),
    ),
    `KubernetesClusterNetworkPolicy c: egress[0] accepts nothing: spec.egress[0].to[0].nodes: ${unsupported}; ` +
      `egress[1] denies everything: spec.egress[1].to[0].nodes: ${unsupported}`,
  )
  assert.deepEqual(kubernetesPolicyOf(cnp({ ...base, egress: [{ action: 'Accept', ...nodes }] })).policy.types, [])
  assert.equal(
    problem(cnp({ ...base, tier: 'Tenant' })),
    'KubernetesClusterNetworkPolicy c is passed over: there is no tier Tenant',
  )
  assert.equal(
    problem(cnp({ ...base, subject: {} })),
    'KubernetesClusterNetworkPolicy c is passed over: it has no subject',
  )
})
