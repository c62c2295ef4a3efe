// Kubernetes' policies: what the API server would refuse is refused with its place, what it fills in is filled in, and what
// is stored keeps its good rules beside the bad.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import type { Problem } from '../base/problem.ts'
import { clusterRules } from './kinds/cluster-network-policy.ts'
import { kubernetesRules } from './kinds/kubernetes-policy.ts'
import {
  decodeResource,
  documentOf,
  type KubernetesClusterNetworkPolicy,
  type KubernetesNetworkPolicy,
  keyOf,
} from './resource.ts'
import { decodeStored, encodeResource, storeKey } from './store-key.ts'

const networkPolicy = (spec: unknown) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'p', namespace: 'prod' },
  spec,
})
const clusterPolicy = (spec: unknown) => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name: 'c' },
  spec,
})

/** `path: message (fix)` */
const print = ({ path, message, fix }: Problem): string => `${path}: ${message}${fix === undefined ? '' : ` (${fix})`}`
function said(document: object): string[] {
  const decoded = decodeResource(document)
  return decoded.ok ? [] : decoded.problems.map(print)
}

const NP = (text: string): string[] => said(networkPolicy(parse(text)))
const ingress = (rule: string): string[] => NP(`{ingress: [${rule}]}`)
const CNP = (text: string): string[] => said(clusterPolicy(parse(text)))
const accept = (rule: string): string[] =>
  CNP(`{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [${rule}]}`)

test('NetworkPolicy: what the API server takes', () => {
  for (const text of [
    '{}',
    '{podSelector: {}}',
    '{podSelector: null, ingress: null}',
    '{ingress: [{}], egress: [{to: [], ports: []}]}',
    '{ingress: [{ports: [{port: 80, endPort: 80}, {protocol: SCTP}, {port: http, protocol: UDP}, {}]}]}',
    '{ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}}, {podSelector: {}, namespaceSelector: {}}]}]}',
    '{ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/8, except: [10.1.0.0/16]}}]}]}',
    '{podSelector: {matchExpressions: [{key: a.b/c, operator: NotIn, values: [""]}]}}',
    '{policyTypes: [Egress, Ingress]}',
  ])
    assert.deepEqual(NP(text), [], text)
})

test('NetworkPolicy: every mistake is answered with its place, a reason and a cure', () => {
  const at = 'spec.ingress[0]'
  const name = 'must be a name of at most 15 lower-case letters, digits and -, with at least one letter'
  const answers: readonly (readonly [given: string[], ...wanted: string[]])[] = [
    [ingress('{ports: [{protocol: ICMP}]}'), `${at}.ports[0].protocol: must be one of TCP, UDP, SCTP`],
    [
      ingress('{ports: [{protocol: tcp}]}'),
      `${at}.ports[0].protocol: must be one of TCP, UDP, SCTP (did you mean TCP?)`,
    ],
    [ingress('{ports: [{port: 0}]}'), `${at}.ports[0].port: must be a port number from 1 to 65535`],
    [ingress('{ports: [{port: 70000}]}'), `${at}.ports[0].port: must be a port number from 1 to 65535`],
    [ingress('{ports: [{port: "80"}]}'), `${at}.ports[0].port: ${name} (write 80 without quotes)`],
    [ingress('{ports: [{port: Web}]}'), `${at}.ports[0].port: ${name}`],
    [ingress('{ports: [{port: [1]}]}'), `${at}.ports[0].port: must be a number or a text`],
    [ingress('{ports: [{endPort: 80}]}'), `${at}.ports[0].endPort: needs a port to begin at (add port)`],
    [
      ingress('{ports: [{port: http, endPort: 80}]}'),
      `${at}.ports[0].endPort: cannot follow a port name (write port as a number)`,
    ],
    [ingress('{ports: [{port: 80, endPort: 79}]}'), `${at}.ports[0].endPort: must not be below port 80`],
    [ingress('{ports: [{port: 80, endPort: 65536}]}'), `${at}.ports[0].endPort: must be a port number from 1 to 65535`],
    [
      ingress('{from: [{}]}'),
      `${at}.from[0]: selects nothing: a peer has a podSelector, a namespaceSelector or an ipBlock (podSelector: {} for all pods of the namespace)`,
    ],
    [
      ingress('{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}'),
      `${at}.from[0].ipBlock: cannot be combined with podSelector or namespaceSelector (make it a peer of its own)`,
    ],
    [ingress('{from: [{ipBlock: {}}]}'), `${at}.from[0].ipBlock.cidr: is required`],
    [ingress('{from: [{ipBlock: {cidr: 10.0.0.1}}]}'), `${at}.from[0].ipBlock.cidr: is not a CIDR`],
    [
      ingress('{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16, 10.0.0.0/8, x]}}]}'),
      `${at}.from[0].ipBlock.except[0]: must lie inside 10.0.0.0/8 and be smaller`,
      `${at}.from[0].ipBlock.except[1]: must lie inside 10.0.0.0/8 and be smaller`,
      `${at}.from[0].ipBlock.except[2]: is not a CIDR`,
    ],
    [ingress('{to: [{podSelector: {}}]}'), `${at}.to: unknown field to (to belongs at spec.egress[].to)`],
    [
      ingress('{from: [{podSelectors: {}}]}'),
      `${at}.from[0].podSelectors: unknown field podSelectors (did you mean podSelector?)`,
    ],
    [NP('{policyTypes: [Both]}'), 'spec.policyTypes[0]: must be one of Ingress, Egress'],
    [NP('{policyTypes: [Ingress, Egress, Ingress]}'), 'spec.policyTypes: must have at most 2 entries'],
    [NP('{selector: all()}'), 'spec.selector: unknown field selector'],
    [
      NP('{podSelector: {matchLabels: {"-a": "b c"}}}'),
      'spec.podSelector.matchLabels["-a"]: is not a label name (at most 63 of A-Z a-z 0-9 - _ . after an optional domain/)',
      'spec.podSelector.matchLabels["-a"]: is not a label value (at most 63 of A-Z a-z 0-9 - _ .)',
    ],
    [
      ingress('{from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]}'),
      `${at}.from[0].podSelector.matchExpressions[0].values: is required with operator In`,
    ],
    [
      ingress('{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}'),
      `${at}.from[0].namespaceSelector.matchExpressions[0].values: must be left out with operator Exists (use operator: In)`,
    ],
    [
      NP('{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}'),
      'spec.podSelector.matchExpressions[0].operator: must be one of In, NotIn, Exists, DoesNotExist (did you mean In?)',
    ],
  ]
  for (const [given, ...wanted] of answers) assert.deepEqual(given, wanted)
})

test('ClusterNetworkPolicy: every mistake is answered with its place', () => {
  const at = 'spec.egress[0]'
  const to = 'to: [{namespaces: {}}]'
  const good = `{action: Accept, name: a, protocols: [{tcp: {destinationPort: {number: 80}}}, {destinationNamedPort: http}], ${to}}`
  assert.deepEqual(accept(good), [])
  assert.deepEqual(accept('{action: Pass, to: [{networks: [10.0.0.1/8, "fd00::/8"]}]}'), [])
  const answers: readonly (readonly [given: string[], ...wanted: string[]])[] = [
    [CNP('{}'), 'spec.tier: is required', 'spec.priority: is required', 'spec.subject: is required'],
    [
      CNP('{tier: Tenant, priority: 1001, subject: {}}'),
      'spec.tier: must be one of Admin, Baseline',
      'spec.priority: must be at most 1000',
    ],
    [CNP('{tier: Admin, priority: 1, subject: {}}'), 'spec.subject: is empty: exactly one field must be set'],
    [
      CNP('{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}'),
      'spec.subject: has namespaces and pods: exactly one field must be set',
    ],
    [accept(`{action: Allow, ${to}}`), `${at}.action: must be one of Accept, Deny, Pass`],
    [accept('{action: Accept}'), `${at}.to: is required`],
    [accept('{action: Accept, to: []}'), `${at}.to: must have at least 1 entries`],
    [accept('{action: Accept, to: [{}]}'), `${at}.to[0]: is empty: exactly one field must be set`],
    [
      accept('{action: Accept, to: [{namespaces: {}, networks: [10.0.0.0/8]}]}'),
      `${at}.to[0]: has namespaces and networks: exactly one field must be set`,
    ],
    [
      accept('{action: Deny, to: [{nodes: {}}]}'),
      `${at}.to[0].nodes: peers by nodes are not supported (name their addresses in networks)`,
    ],
    [
      accept('{action: Accept, to: [{domainNames: [a.example]}]}'),
      `${at}.to[0].domainNames: peers by domainNames are not supported (name their addresses in networks)`,
    ],
    [accept('{action: Deny, to: [{networks: [10.0.0.0]}]}'), `${at}.to[0].networks[0]: is not a CIDR`],
    [accept(`{action: Deny, protocols: [{}], ${to}}`), `${at}.protocols[0]: is empty: exactly one field must be set`],
    [
      accept(`{action: Deny, protocols: [{tcp: {}}], ${to}}`),
      `${at}.protocols[0].tcp.destinationPort: is required (range: {start: 1, end: 65535} for every port)`,
    ],
    [
      accept(`{action: Deny, protocols: [{udp: {destinationPort: {range: {start: 9, end: 9}}}}], ${to}}`),
      `${at}.protocols[0].udp.destinationPort.range: start must be below end (write one port as number)`,
    ],
    [
      accept('{action: Deny, protocols: [{destinationNamedPort: http}], to: [{networks: [10.0.0.0/8]}]}'),
      `${at}.protocols[0].destinationNamedPort: only pods have named ports, and a peer of this rule is none (write the number)`,
    ],
  ]
  for (const [given, ...wanted] of answers) assert.deepEqual(given, wanted)
})

test('policyTypes is filled in as the API server does; of what is stored, Ingress alone', () => {
  const types = (spec: object, stored: boolean) => {
    const decoded = decodeResource(networkPolicy(spec), { stored })
    return decoded.ok && (decoded.value as KubernetesNetworkPolicy).spec.policyTypes
  }
  assert.deepEqual(types({}, false), ['Ingress'])
  assert.deepEqual(types({ egress: [] }, false), ['Ingress'])
  assert.deepEqual(types({ egress: [{}] }, false), ['Ingress', 'Egress'])
  assert.deepEqual(types({ egress: [{}], policyTypes: ['Egress'] }, false), ['Egress'])
  assert.deepEqual(types({ egress: [{}] }, true), ['Ingress'])
  assert.deepEqual(types({ policyTypes: ['Egress', 'Sideways'] }, true), ['Egress'])
})

test('they are stored as Kubernetes writes them, and read back', () => {
  for (const [document, key] of [
    [networkPolicy({ podSelector: {}, ingress: [{}] }), '/registry/networkpolicies/prod/p'],
    [
      clusterPolicy({ tier: 'Admin', priority: 0, subject: { namespaces: {} } }),
      '/registry/policy.networking.k8s.io/clusternetworkpolicies/c',
    ],
  ] as const) {
    const decoded = decodeResource(document)
    assert.ok(decoded.ok)
    assert.equal(storeKey(keyOf(decoded.value)), key)
    const text = encodeResource(decoded.value)
    const { kind, apiVersion } = JSON.parse(text)
    assert.deepEqual({ kind, apiVersion }, { kind: document.kind, apiVersion: document.apiVersion })
    const stored = decodeStored(key, text, 7)
    assert.ok(stored.ok)
    assert.equal(encodeResource(stored.value.resource), text)
    assert.equal((documentOf(stored.value.resource) as { kind: string }).kind, document.kind)
  }
})

test('a bad rule of a stored policy does not take the good ones along', () => {
  const np = decodeResource(networkPolicy({ ingress: [{ from: [{ nodeSelector: {} }] }, { ports: [{ port: 80 }] }] }), {
    stored: true,
  })
  assert.ok(np.ok)
  assert.deepEqual(
    kubernetesRules(np.value as KubernetesNetworkPolicy, 'ingress').map(({ problems }) => problems.map(p => p.path)),
    [['spec.ingress[0].from[0].nodeSelector'], []],
  )
  const spec = {
    priority: 1,
    ingress: [
      { action: 'Deny', from: [] },
      { action: 'Hmm', from: [{ namespaces: {} }] },
    ],
  }
  const cnp = decodeResource(clusterPolicy(spec), { stored: true })
  assert.ok(cnp.ok)
  assert.deepEqual(
    clusterRules(cnp.value as KubernetesClusterNetworkPolicy, 'ingress').map(r => [r.action, r.problems[0]?.path]),
    [
      ['Deny', 'spec.ingress[0].from'],
      [undefined, 'spec.ingress[1].action'],
    ],
  )
})

test('whatever is in a rule: it is judged without throwing, and a rule without problems has none when it is written', () => {
  const key = fc.constantFrom(
    'from',
    'to',
    'ports',
    'port',
    'endPort',
    'protocol',
    'podSelector',
    'ipBlock',
    'cidr',
    'action',
  )
  const leaf = fc.oneof(fc.constantFrom(80, '80', 'http', 'TCP', '10.0.0.0/8', 'Deny', null, {}), fc.jsonValue())
  const { value } = fc.letrec(tie => ({
    value: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('value'), { maxLength: 2 }),
      fc.dictionary(key, tie('value'), { maxKeys: 3 }),
    ),
  }))
  const rules = fc.array(fc.dictionary(key, value, { maxKeys: 3 }), { maxLength: 3 })
  fc.assert(
    fc.property(rules, rules, (into, out) => {
      const spec = { ingress: into, egress: out }
      const stored = decodeResource(networkPolicy(spec), { stored: true })
      if (!stored.ok) return
      const policy = stored.value as KubernetesNetworkPolicy
      const problems = (['ingress', 'egress'] as const).flatMap(d =>
        kubernetesRules(policy, d).flatMap(r => r.problems),
      )
      assert.equal(decodeResource(networkPolicy(spec)).ok, problems.length === 0)
      const cluster = decodeResource(
        clusterPolicy({ tier: 'Admin', priority: 1, subject: { namespaces: {} }, ...spec }),
        { stored: true },
      )
      if (cluster.ok)
        for (const d of ['ingress', 'egress'] as const) clusterRules(cluster.value as KubernetesClusterNetworkPolicy, d)
    }),
    { numRuns: 1500 },
  )
})
