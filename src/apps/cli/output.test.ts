import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'yaml'
import { prefixBase } from '../../core/net/prefix.ts'
import { podToEndpoint } from '../../core/resources/derive.ts'
import { decodeResource, type Kind, type Pod, type Resource, snapshotOf } from '../../core/resources/resource.ts'
import { goFloat, inPrintOrder, printTable } from './columns.ts'
import { printJson, printNames, printYaml } from './output.ts'

function resource(kind: Kind, name: string, spec: unknown, metadata: Record<string, unknown> = {}): Resource {
  const decoded = decodeResource({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name, ...metadata }, spec })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

const table = (kind: Kind, resources: Resource[], wide: boolean, showNamespace = false): string =>
  printTable(kind, inPrintOrder(kind, resources), { wide, showNamespace, snapshot: snapshotOf(resources) })

const RULE = [{ action: 'Allow' }]
const POLICIES = [
  resource('GlobalNetworkPolicy', 'security.gnp-2', { tier: 'security', order: 20, selector: 'all()', ingress: RULE }),
  resource('GlobalNetworkPolicy', 'gnp-1', { order: 11, selector: "app == 'web' && has(env)", egress: RULE }),
]
const POOLS = [
  resource('IPPool', 'pool-vxlan', { cidr: '10.20.0.0/16', vxlanMode: 'CrossSubnet', natOutgoing: true }),
  resource('IPPool', 'pool-ipip', { cidr: '10.21.0.0/16', ipipMode: 'Always', nodeSelector: "rack == 'r1'" }),
]

test('tables are those of calicoctl', () => {
  assert.equal(
    table('GlobalNetworkPolicy', POLICIES, false),
    'NAME             TIER       \ngnp-1            default    \nsecurity.gnp-2   security   \n\n',
  )
  assert.equal(
    table('GlobalNetworkPolicy', POLICIES, true),
    [
      'NAME             TIER       ORDER   SELECTOR                   ',
      "gnp-1            default    11      app == 'web' && has(env)   ",
      'security.gnp-2   security   20      all()                      ',
      '\n',
    ].join('\n'),
  )
  assert.equal(
    table('IPPool', POOLS, true),
    [
      'NAME         CIDR           NAT     IPIPMODE   VXLANMODE     DISABLED   DISABLEBGPEXPORT   SELECTOR       ASSIGNMENTMODE   ',
      "pool-ipip    10.21.0.0/16   false   Always     Never         false      false              rack == 'r1'   Automatic        ",
      'pool-vxlan   10.20.0.0/16   true    Never      CrossSubnet   false      false              all()          Automatic        ',
      '\n',
    ].join('\n'),
  )
  const tiers = [
    resource('Tier', 'kube-baseline', { order: 10000000, defaultAction: 'Pass' }),
    resource('Tier', 'last', {}),
    resource('Tier', 'default', { order: 1000000 }),
    resource('Tier', 'security', { order: 100 }),
  ]
  assert.equal(
    table('Tier', tiers, false),
    'NAME            ORDER   \nsecurity        100     \ndefault         1e+06   \nkube-baseline   1e+07   \nlast            <nil>   \n\n',
  )
  const policy = resource('NetworkPolicy', 'np-1', { selector: "app == 'db'", ingress: RULE }, { namespace: 'prod' })
  assert.equal(
    table('NetworkPolicy', [policy], true, true),
    "NAMESPACE   NAME   TIER      ORDER   SELECTOR      \nprod        np-1   default   <nil>   app == 'db'   \n\n",
  )
  const nodes = [
    resource('Node', 'node-2', { bgp: { ipv4Address: '172.31.0.2/24' } }),
    resource('Node', 'node-1', { bgp: { ipv4Address: '172.31.0.1/24', asNumber: 64513 } }),
  ]
  assert.equal(
    table('Node', nodes, true),
    'NAME     ASN       IPV4            IPV6   \nnode-1   64513     172.31.0.1/24          \nnode-2   (64512)   172.31.0.2/24          \n\n',
  )
  const peers = [
    resource('BGPPeer', 'peer-1', { peerIP: '172.31.0.254', node: 'node-1', asNumber: 65000 }),
    resource('BGPPeer', 'peer-2', { nodeSelector: 'all()', peerSelector: "rr == 'true'" }),
  ]
  assert.equal(
    table('BGPPeer', peers, false),
    'NAME     PEERIP         NODE     ASN     \npeer-1   172.31.0.254   node-1   65000   \npeer-2                  all()    0       \n\n',
  )
})

test('numbers print as in Go', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [100, '100'],
    [11.5, '11.5'],
    [-3, '-3'],
    [999999, '999999'],
    [1000000, '1e+06'],
    [1234567, '1.234567e+06'],
    [0.00001, '1e-05'],
    [0.0001, '0.0001'],
  ]
  for (const [n, text] of cases) assert.equal(goFloat(n), text)
})

const NODE = resource(
  'Node',
  'node-1',
  {
    bgp: { asNumber: 64513, ipv4Address: '172.31.0.1/24', ipv4IPIPTunnelAddr: '10.21.0.1' },
    ipv4VXLANTunnelAddr: '10.20.0.1',
    vxlanTunnelMACAddr: '66:11:22:33:44:55',
  },
  {
    creationTimestamp: '2026-11-24T06:01:59Z',
    labels: { rack: 'r1', on: 'yes' },
    resourceVersion: '60',
    uid: 'a0e28810-a8ac-4907-991d-dad598e021aa',
  },
)

test('YAML is that of calicoctl', () => {
  const text = printYaml({ kind: 'list', of: 'Node', resources: [NODE], revision: 61 })
  assert.equal(
    text,
    `apiVersion: projectcalico.org/v3
items:
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata:
    creationTimestamp: "2026-11-24T06:01:59Z"
    labels:
      "on": "yes"
      rack: r1
    name: node-1
    resourceVersion: "60"
    uid: a0e28810-a8ac-4907-991d-dad598e021aa
  spec:
    bgp:
      asNumber: 64513
      ipv4Address: 172.31.0.1/24
      ipv4IPIPTunnelAddr: 10.21.0.1
    ipv4VXLANTunnelAddr: 10.20.0.1
    vxlanTunnelMACAddr: "66:11:22:33:44:55"
  status: {}
kind: NodeList
metadata:
  resourceVersion: "61"
`,
  )
  const bare = printYaml({ kind: 'named', resources: [NODE] })
  assert.deepEqual(parse(bare), JSON.parse(JSON.stringify(NODE)))
})

test('JSON stands in the order of the types, with the escapes of Go', () => {
  const text = printJson({ kind: 'named', resources: [POLICIES[1]!] })
  assert.ok(text.startsWith('{\n  "kind": "GlobalNetworkPolicy",\n  "apiVersion": "projectcalico.org/v3",\n'))
  assert.ok(text.includes(`"app == 'web' \\u0026\\u0026 has(env)"`))
  assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(POLICIES[1])))
  const many = JSON.parse(printJson({ kind: 'list', of: 'IPPool', resources: POOLS, revision: 7 }))
  assert.equal(many.kind, 'IPPoolList')
  assert.equal(many.items.length, 2)
})

test('names', () => {
  assert.equal(printNames(POLICIES.slice(1)), 'globalnetworkpolicy.projectcalico.org/gnp-1\n')
})

test('the addresses of a pod are those that policies see, from the first source that has any', () => {
  const pod = (annotations: Record<string, string>, status?: unknown): Resource => {
    const metadata = { name: 'a', namespace: 'prod', annotations }
    const decoded = decodeResource({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName: 'n' }, status })
    assert.ok(decoded.ok, JSON.stringify(decoded))
    return decoded.value
  }
  const ips = (resource: Resource, wide: boolean): string | undefined =>
    table('Pod', [resource], wide).split('\n')[1]?.split(/ +/)[2]
  const cni = {
    'cni.projectcalico.org/podIPs': '10.0.0.2/32,fd00::2/128',
    'cni.projectcalico.org/podIP': '10.0.0.9/32',
  }
  const rows: readonly (readonly [Resource, string])[] = [
    [pod(cni), '10.0.0.2,fd00::2'],
    [pod(cni, { phase: 'Pending' }), '10.0.0.2,fd00::2'],
    [pod(cni, { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] }), '10.0.0.1,fd00::1'],
    [pod(cni, { podIP: '10.0.0.3' }), '10.0.0.3'],
    [pod({ 'cni.projectcalico.org/podIP': '10.0.0.9/32' }), '10.0.0.9'],
    [pod({ 'cni.projectcalico.org/podIPs': '', 'cni.projectcalico.org/podIP': '' }), ''],
    [pod({}), ''],
  ]
  for (const [resource, expected] of rows) {
    for (const wide of [false, true]) assert.equal(ips(resource, wide), expected)
    assert.deepEqual(
      podToEndpoint(resource as Pod)
        ?.spec.ipNetworks?.map(prefixBase)
        .join(',') ?? '',
      expected,
    )
  }
})
