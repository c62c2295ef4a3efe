import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeResource, type Resource, snapshotOf } from '../resources/resource.ts'
import { summarize } from './summary.ts'
import { survey, warnings } from './warnings.ts'
import { list, things } from './words.ts'

type Fields = Record<string, unknown>

function resource(kind: string, name: string, spec: Fields): Resource {
  const [namespace, rest] = name.includes('/') ? name.split('/') : [undefined, name]
  const decoded = decodeResource({
    apiVersion: 'projectcalico.org/v3',
    kind,
    metadata: { name: rest, namespace },
    spec,
  })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

/** What is said after "Network policy 'p' created in namespace 'ns'." */
function said(spec: Fields, kind = 'NetworkPolicy', ...others: Resource[]): string {
  const policy = resource(kind, kind === 'NetworkPolicy' ? 'ns/p' : 'p', spec)
  const text = summarize(policy, 'created', snapshotOf([policy, ...others]))
  return text.replace(/^[\w ]+ 'p' created( in namespace 'ns')?\. /, '')
}

const allow = (rule: Fields = {}): Fields => ({ action: 'Allow', ...rule })
const from = (source: Fields): Fields => ({ source })
const A = { selector: "role == 'a'" }

test('policies of a tier that denies', () => {
  const rows: [Fields, string][] = [
    [
      { selector: "role == 'x'", ingress: [allow(from(A))], egress: [allow({ destination: A })] },
      "It restricts ingress and egress traffic to pods labeled 'role=x' to only communicate with pods labeled 'role=a'.",
    ],
    [
      {
        selector: "role == 'x'",
        ingress: [allow(from(A))],
        egress: [allow({ destination: { selector: "role == 'b'" } })],
      },
      "It restricts ingress traffic to pods labeled 'role=x' to only come from pods labeled 'role=a'. It restricts egress traffic from pods labeled 'role=x' to only go to pods labeled 'role=b'.",
    ],
    [
      { ingress: [allow(from({ ...A, namespaceSelector: "projectcalico.org/name == 'prod'" }))] },
      "It restricts ingress traffic to all pods of the namespace to only come from pods labeled 'role=a' in namespace 'prod'.",
    ],
    [
      { ingress: [allow({ protocol: 'TCP', source: A, destination: { ports: [80, '90:95', 'http'] } })] },
      "It restricts ingress traffic to all pods of the namespace to only: TCP to ports 80, 90-95 or http from pods labeled 'role=a'.",
    ],
    [
      {
        egress: [
          allow({ protocol: 'UDP', destination: { nets: ['10.0.0.0/8'], notNets: ['10.1.0.0/16'], ports: [53] } }),
        ],
        types: ['Egress'],
      },
      'It restricts egress traffic from all pods of the namespace to only: UDP to addresses in 10.0.0.0/8 except 10.1.0.0/16 on port 53.',
    ],
    [{}, 'It isolates all pods of the namespace: no ingress traffic is allowed unless another policy allows it.'],
    [
      { selector: 'has(x)', types: ['Ingress', 'Egress'] },
      "It isolates pods with a label 'x': no ingress or egress traffic is allowed unless another policy allows it.",
    ],
    [{ ingress: [allow()] }, 'It allows all ingress traffic to all pods of the namespace.'],
    [{ egress: [{ action: 'Deny' }] }, 'It denies all egress traffic from all pods of the namespace.'],
    [
      { ingress: [{ action: 'Log', ...from(A) }, { action: 'Deny', ...from(A) }, allow()] },
      "For ingress traffic to all pods of the namespace, in this order, it logs traffic from pods labeled 'role=a'; denies traffic from pods labeled 'role=a'; allows all ingress traffic.",
    ],
    [
      { ingress: [{ action: 'Log' }] },
      'For ingress traffic to all pods of the namespace, in this order, it logs all ingress traffic; what no rule decides is denied unless another policy allows it.',
    ],
    [
      { ingress: [{ action: 'Deny', protocol: 'TCP' }] },
      'For ingress traffic to all pods of the namespace, in this order, it denies TCP; what no rule decides is denied unless another policy allows it.',
    ],
    [
      { ingress: [allow({ notProtocol: 'TCP', ipVersion: 6 }), allow({ protocol: 'ICMP', icmp: { type: 8 } })] },
      'It restricts ingress traffic to all pods of the namespace to only: IPv6 traffic other than TCP; ICMP type 8.',
    ],
    [
      { selector: "a starts with 'x' || b == 'y'", ingress: [allow(from({ serviceAccounts: { names: ['robot'] } }))] },
      `It restricts ingress traffic to pods matching "a starts with 'x' || b == 'y'" to only come from all pods with service account robot.`,
    ],
    [
      { serviceAccountSelector: "k == 'v'", ingress: [allow(from({ notSelector: "role == 'a'" }))] },
      "It restricts ingress traffic to all pods of the namespace with service accounts labeled 'k=v' to only come from all pods except pods labeled 'role=a'.",
    ],
    // The own side limits which pods are meant, so this is no plain "only come from".
    [
      { ingress: [allow({ source: A, destination: { selector: "role == 'b'" } })] },
      "It restricts ingress traffic to all pods of the namespace to only: traffic to pods labeled 'role=b' from pods labeled 'role=a'.",
    ],
  ]
  for (const [spec, expected] of rows) assert.equal(said(spec), expected)
})

test('global policies and tiers that pass', () => {
  const early = resource('Tier', 'early', { order: 1, defaultAction: 'Pass' })
  const global = (spec: Fields): string => said(spec, 'GlobalNetworkPolicy', early)
  assert.equal(
    global({ selector: "role == 'x'", ingress: [allow(from(A))] }),
    "It restricts ingress traffic to pods labeled 'role=x' in all namespaces to only come from pods and network sets labeled 'role=a'.",
  )
  assert.equal(
    global({
      tier: 'early',
      namespaceSelector: "team == 'red'",
      ingress: [{ action: 'Deny', ...from(A) }, { action: 'Pass' }],
    }),
    "For ingress traffic to all pods in namespaces labeled 'team=red', in this order, it denies traffic from pods and network sets labeled 'role=a'; leaves all ingress traffic to the next tier.",
  )
  assert.equal(
    global({ tier: 'early', ingress: [allow(from(A))] }),
    "For ingress traffic to all pods in all namespaces, in this order, it allows traffic from pods and network sets labeled 'role=a'; what no rule decides goes on to the next tier.",
  )
  assert.equal(
    global({ tier: 'early' }),
    'It has no rules for ingress traffic of all pods in all namespaces: all of it goes on to the next tier.',
  )
  assert.equal(
    global({ tier: 'elsewhere', ingress: [{ action: 'Deny', protocol: 6 }] }),
    "For ingress traffic to all pods in all namespaces, in this order, it denies protocol 6; what no rule decides is left to the default action of tier 'elsewhere'.",
  )
  assert.equal(
    global({ ingress: [allow(from({ notSelector: "role == 'a'" }))] }),
    "It restricts ingress traffic to all pods in all namespaces to only come from everyone except pods and network sets labeled 'role=a'.",
  )
})

test('other kinds and verbs', () => {
  const rows: [Resource, string][] = [
    [
      resource('Tier', 'security', { order: 100, defaultAction: 'Pass' }),
      "Tier 'security' updated. Its order is 100; what its policies select and no rule decides goes on to the next tier.",
    ],
    [
      resource('GlobalNetworkSet', 'nets', { nets: ['10.0.0.0/8', '1.2.3.4', '1.2.3.5', 'fd00::/8', '::1'] }),
      "Global network set 'nets' updated. It holds 5 networks: 10.0.0.0/8, 1.2.3.4, 1.2.3.5 and 2 more.",
    ],
    [
      resource('IPPool', 'pool', { cidr: '10.20.0.0/16', natOutgoing: true, nodeSelector: "rack == 'r1'" }),
      "IP pool 'pool' updated. Addresses of 10.20.0.0/16 are given out in blocks of 64 addresses on nodes labeled 'rack=r1'. Traffic that leaves the pools takes the node's address.",
    ],
    [resource('Node', 'n', {}), "Node 'n' updated."],
  ]
  for (const [of, expected] of rows) assert.equal(summarize(of, 'updated'), expected)
  assert.equal(
    summarize(resource('NetworkPolicy', 'ns/p', { selector: "a == 'b'" }), 'deleted'),
    "Network policy 'p' deleted from namespace 'ns'. It no longer applies to pods labeled 'a=b'.",
  )
})

test('selectors in words, or as they are', () => {
  const rows: [string, string][] = [
    ['', 'all pods'],
    ['all()', 'all pods'],
    ["a == 'b'", "pods labeled 'a=b'"],
    ["a == 'b' && c == 'd'", "pods labeled 'a=b' and 'c=d'"],
    ["a == 'b' || c == 'd'", "pods labeled 'a=b' or 'c=d'"],
    ["a in {'x', 'y'}", "pods labeled 'a=x' or 'a=y'"],
    ["a not in {'x', 'y'}", "pods not labeled 'a=x' or 'a=y'"],
    ["a != 'b'", "pods not labeled 'a=b'"],
    ['has(a)', "pods with a label 'a'"],
    ['!has(a)', "pods without a label 'a'"],
    ["a == 'b' && has(c)", "pods labeled 'a=b' and with a label 'c'"],
    ['a in {}', 'pods matching "a in {}"'],
    ["a contains 'b'", `pods matching "a contains 'b'"`],
    ["a in {'x', 'y'} && has(c)", `pods matching "a in {'x', 'y'} && has(c)"`],
    ["!(a == 'b' || has(c))", `pods matching "!(a == 'b' || has(c))"`],
  ]
  for (const [text, expected] of rows) assert.equal(things('pods', text), expected)
  assert.equal(list(['a', 'b', 'c'], 'or'), 'a, b or c')
})

test('warnings without a cluster', () => {
  const texts = (spec: Fields): string[] =>
    warnings(resource('NetworkPolicy', 'ns/p', spec)).map(w => `${w.path}: ${w.message}`)
  assert.deepEqual(texts({ types: ['Ingress'], ingress: [allow()], egress: [allow(), allow()] }), [
    'spec.egress: 2 egress rules without effect: spec.types is Ingress',
  ])
  assert.deepEqual(texts({ ingress: [{ action: 'Log' }, { action: 'Pass' }, allow(), allow()] }), [
    'spec.ingress[1]: 2 rules after this one can never fire: it is Pass for everything',
  ])
  assert.deepEqual(texts({ ingress: [allow({ metadata: { annotations: { a: 'b' } } }), allow()] }).length, 1)
  assert.deepEqual(texts({ ingress: [allow({ protocol: 'TCP' }), allow()] }), [])
})

test('warnings beside a cluster', () => {
  const pod = (name: string, labels: Fields, ports: Fields[] = []): Resource => {
    const [namespace, rest] = name.split('/')
    const decoded = decodeResource({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: rest, namespace, labels },
      spec: { nodeName: 'n', containers: [{ ports }] },
      status: { podIPs: [{ ip: '10.0.0.1' }] },
    })
    assert.ok(decoded.ok)
    return decoded.value
  }
  const cluster = [
    pod('ns/a', { role: 'a' }, [{ name: 'http', containerPort: 80 }]),
    pod('other/b', { role: 'b' }),
    resource('GlobalNetworkSet', 'set', { nets: ['192.0.2.0/24'] }),
  ]
  const texts = (spec: Fields): string[] =>
    warnings(resource('NetworkPolicy', 'ns/p', spec), survey(snapshotOf(cluster))).map(
      w => `${w.path}: ${w.message}${w.fix ? ` (${w.fix})` : ''}`,
    )
  assert.deepEqual(texts({ selector: "role == 'a'", ingress: [allow(from(A))] }), [])
  assert.deepEqual(texts({ selector: "role == 'b'", ingress: [allow()] }), [
    'spec.selector: selects no pod at present: the policy has no effect until one comes',
  ])
  assert.deepEqual(texts({ ingress: [allow(from({ selector: "role == 'b'" }))] }), [
    'spec.ingress[0].source: matches no pod and no network set at present in namespace ns (add a namespaceSelector to look in others)',
  ])
  assert.deepEqual(texts({ ingress: [allow(from({ namespaceSelector: 'global()' }))] }), [])
  assert.deepEqual(texts({ ingress: [allow({ protocol: 'TCP', destination: { ports: ['http', 'https', 22] } })] }), [
    'spec.ingress[0].destination.ports: no pod meant here has a port named https at present',
  ])
  // What types switches off is not looked at further.
  assert.equal(texts({ types: ['Egress'], ingress: [allow(from({ selector: "role == 'z'" }))] }).length, 1)
})

test('a long list of rules is cut, and says by how many', () => {
  const rules = Array.from({ length: 9 }, (_, i) => allow({ protocol: 'TCP', destination: { ports: [i + 1] } }))
  assert.match(said({ ingress: rules }), / to only: TCP to port 1; .*TCP to port 5; and what 4 more rules allow\.$/)
  assert.match(said({ ingress: [...rules, { action: 'Deny' }] }), /allows TCP to port 5; follows 5 more rules\.$/)
})

test('every rule of a policy is named in its sentence', () => {
  const port = fc.integer({ min: 1, max: 65535 })
  const rule = fc.record({ action: fc.constantFrom('Allow', 'Deny', 'Log', 'Pass'), port })
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 1, maxLength: 5 }),
      fc.constantFrom('ingress', 'egress'),
      (rules, direction) => {
        const specs = rules.map(r => ({ action: r.action, protocol: 'TCP', destination: { ports: [r.port] } }))
        const text = said({ [direction]: specs, types: [direction === 'ingress' ? 'Ingress' : 'Egress'] })
        for (const r of rules) assert.match(text, new RegExp(`port ${r.port}\\b`))
        const verbs = { Allow: 'allows', Deny: 'denies', Log: 'logs', Pass: 'leaves' }
        const onlyAllows = rules.every(r => r.action === 'Allow')
        for (const r of rules)
          assert.ok(onlyAllows ? text.includes('to only:') : text.includes(verbs[r.action as 'Allow']))
      },
    ),
  )
})
