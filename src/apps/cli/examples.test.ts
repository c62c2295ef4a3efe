// The examples, judged by the oracle between the pods of the lab: what their comments promise is what they do.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { decide } from '../../core/oracle/decide.ts'
import { derived } from '../../core/resources/derive.ts'
import { decodeResource, type Resource, snapshotOf } from '../../core/resources/resource.ts'
import { findEnd, packetsOf, parseService } from './flow.ts'
import { parseInput } from './input.ts'

const EXAMPLES = path.join(import.meta.dirname, '../../../examples')

function decoded(value: unknown): Resource {
  const resource = decodeResource(value)
  assert.ok(resource.ok, JSON.stringify(resource))
  return resource.value
}

const example = (name: string): Resource[] =>
  parseInput(name, readFileSync(path.join(EXAMPLES, name), 'utf8')).documents.map(({ value }) => decoded(value))

const NAMESPACES = ['default', 'prod']
const ROLES = ['frontend', 'backend', 'db', 'client']
const LAB: readonly Resource[] = [
  decoded({
    apiVersion: 'projectcalico.org/v3',
    kind: 'Tier',
    metadata: { name: 'default' },
    spec: { order: 1000000 },
  }),
  ...[
    { name: 'kube-admin', order: 1000 },
    { name: 'kube-baseline', order: 10000000 },
  ].map(({ name, order }) =>
    decoded({
      apiVersion: 'projectcalico.org/v3',
      kind: 'Tier',
      metadata: { name },
      spec: { order, defaultAction: 'Pass' },
    }),
  ),
  ...NAMESPACES.map(name => decoded({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
  ...NAMESPACES.flatMap((namespace, i) =>
    ROLES.map((role, j) =>
      decoded({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: role, namespace, labels: { role } },
        spec: {
          nodeName: 'node-a',
          containers: [{ ports: role === 'backend' ? [{ name: 'http', containerPort: 8080, protocol: 'TCP' }] : [] }],
        },
        status: { podIPs: [{ ip: `10.0.${i}.${j + 1}` }, { ip: `fd00::${i}:${j + 1}` }] },
      }),
    ),
  ),
]

/** Rows `source destination service`, with whether the flow is allowed (in every family that it has). */
function check(name: string, rows: Readonly<Record<string, boolean>>): void {
  const stored = snapshotOf([...LAB, ...example(name)])
  const snapshot = derived(stored)
  for (const [row, allowed] of Object.entries(rows)) {
    const [from = '', to = '', service = ''] = row.split(' ')
    const ends = [findEnd(from, snapshot, 'default'), findEnd(to, snapshot, 'default')] as const
    for (const packet of packetsOf(...ends, { service: parseService(service), sourcePort: 50000 })) {
      assert.equal(decide(stored, packet).verdict, allowed ? 'allow' : 'deny', `${row} over IPv${packet.family}`)
    }
  }
}

test('allow-backend-to-frontend', () => {
  check('allow-backend-to-frontend.yaml', {
    'backend frontend tcp/80': true,
    'frontend backend udp/53': true,
    'client frontend tcp/80': false,
    'frontend client tcp/80': false,
    'prod/backend frontend tcp/80': false,
    'client backend tcp/80': true,
  })
})

test('quarantine-tier', () => {
  check('quarantine-tier.yaml', {
    'client db tcp/5432': false,
    'client prod/db tcp/5432': false,
    'prod/client db icmp': false,
    'backend db tcp/5432': true,
    'db client tcp/80': true,
  })
})

test('isolate-namespace', () => {
  check('isolate-namespace.yaml', {
    'prod/client prod/db tcp/5432': true,
    'client prod/db tcp/5432': false,
    'frontend prod/backend tcp/http': true,
    'frontend prod/backend tcp/81': false,
    'backend prod/backend tcp/http': false,
    'prod/client client tcp/80': true,
    '192.0.2.1 prod/client tcp/80': false,
  })
})

test('egress-to-known-networks', () => {
  check('egress-to-known-networks.yaml', {
    'db 198.51.100.9 tcp/443': true,
    'db 203.0.113.7 tcp/443': true,
    'db 2001:db8:100::5 tcp/443': true,
    'db 198.51.100.9 tcp/80': false,
    'db 203.0.113.8 tcp/443': false,
    'db 192.168.2.3 udp/53': true,
    'db 192.168.255.1 udp/53': false,
    'db 192.168.2.3 tcp/53': false,
    'db 169.254.169.254 udp/53': false,
    'prod/db 9.9.9.9 tcp/80': true,
    'client db tcp/5432': true,
  })
})

test('ports-and-ping', () => {
  check('ports-and-ping.yaml', {
    'frontend backend tcp/http': true,
    'client backend tcp/9005': true,
    'client backend tcp/9011': false,
    'db backend tcp/http': false,
    'db backend icmp': true,
    'client backend icmp/0': false,
    '192.0.2.1 backend icmp': false,
    'prod/client backend icmp': false,
  })
})

test('kubernetes-network-policy', () => {
  check('kubernetes-network-policy.yaml', {
    'prod/frontend prod/backend tcp/http': true,
    'frontend prod/backend tcp/http': true,
    'prod/client prod/backend tcp/http': false,
    'prod/frontend prod/backend tcp/80': false,
    'prod/frontend prod/backend icmp': false,
    'frontend prod/db tcp/80': false,
    '192.0.2.1 prod/backend tcp/http': false,
    'prod/client client tcp/80': true,
    'client backend tcp/80': true,
  })
})

test('cluster-network-policy', () => {
  check('cluster-network-policy.yaml', {
    'client db tcp/5432': false,
    'prod/client db tcp/5432': false,
    'backend db tcp/5432': true,
    'client prod/frontend tcp/80': false,
    'prod/client prod/frontend tcp/80': true,
    'prod/client frontend tcp/80': true,
    '192.0.2.1 prod/frontend tcp/80': true,
  })
})
