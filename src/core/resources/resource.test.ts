// From documents to resources: versions, defaults, canonical forms, snapshots, and properties over arbitrary documents.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import type { Problem } from '../base/problem.ts'
import { OBSERVED } from './observed.fixture.ts'
import {
  decodeResource,
  findKind,
  KIND_NAMES,
  KINDS,
  type Kind,
  keyOf,
  ofKind,
  type Resource,
  snapshotOf,
} from './resource.ts'
import { decodeStored, encodeResource, storeKey } from './store-key.ts'
import { unsupported } from './unsupported.ts'

/** A document in one line of YAML: `GlobalNetworkPolicy {name: a} {selector: all()}`. */
function document(line: string): unknown {
  const [, kind = '', metadata = '', spec = ''] = /^(\w+) (\{[^}]*(?:\{[^}]*\})?[^}]*\}) (.*)$/.exec(line) ?? []
  const apiVersion = KINDS[kind as Kind]?.apiVersion ?? 'projectcalico.org/v3'
  return { apiVersion, kind, metadata: parse(metadata), spec: parse(spec) }
}

function decode(line: string): Resource {
  const decoded = decodeResource(document(line))
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

/** `path: message (fix)` */
const print = ({ path, message, fix }: Problem): string => `${path}: ${message}${fix === undefined ? '' : ` (${fix})`}`

const gnp = (spec: string): string => `GlobalNetworkPolicy {name: a} ${spec}`
const ingress = (rule: string): string => gnp(`{ingress: [${rule}]}`)

test('versions', () => {
  const decoded = decodeResource({ kind: 'Tier', apiVersion: 'projectcalico.org/v9', metadata: { name: 'a' } })
  assert.deepEqual(decoded.ok || decoded.problems.map(print), [
    'apiVersion: unknown version projectcalico.org/v9 of Tier (write apiVersion: projectcalico.org/v3)',
  ])
})

test('defaults are filled in', () => {
  const types = (spec: string) => (decode(gnp(spec)) as { spec: { types: unknown } }).spec.types
  assert.deepEqual(types('{}'), ['Ingress'])
  assert.deepEqual(types('{types: []}'), ['Ingress'])
  assert.deepEqual(types('{egress: [{action: Allow}]}'), ['Egress'])
  assert.deepEqual(types('{ingress: [{action: Allow}], egress: [{action: Allow}]}'), ['Ingress', 'Egress'])
  assert.deepEqual(types('{types: [Ingress], egress: [{action: Allow}]}'), ['Ingress'])
  assert.deepEqual(decode('GlobalNetworkPolicy {name: a, labels: {z: "1"}} {tier: "", ingress: null}'), {
    kind: 'GlobalNetworkPolicy',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name: 'a', labels: { 'projectcalico.org/tier': 'default', z: '1' } },
    spec: { tier: 'default', types: ['Ingress'] },
  })
  assert.deepEqual(decode('IPPool {name: a} {cidr: "FD00:0::/64"}').spec, {
    cidr: 'fd00::/64',
    vxlanMode: 'Never',
    ipipMode: 'Never',
    nodeSelector: 'all()',
    allowedUses: ['Workload', 'Tunnel'],
    assignmentMode: 'Automatic',
    blockSize: 122,
  })
})

test('ports and protocols become canonical', () => {
  const { spec } = decode(
    ingress('{action: Allow, protocol: tcp, notProtocol: "17", destination: {ports: ["80", "7:7", "1:2", http, 9.a]}}'),
  ) as {
    spec: { ingress: unknown }
  }
  assert.deepEqual(spec.ingress, [
    { action: 'Allow', protocol: 'TCP', notProtocol: 17, destination: { ports: [80, 7, '1:2', 'http', '9.a'] } },
  ])
})

test('what is not enforced is said', () => {
  const said = (line: string) => unsupported(decode(line)).map(print)
  assert.deepEqual(said(ingress('{action: Allow, protocol: TCP, destination: {ports: [80]}}')), [])
  assert.deepEqual(
    said(ingress('{action: Allow, source: {services: {name: a, namespace: b}}, http: {methods: [GET]}}')),
    [
      'spec.ingress[0].http: matching HTTP is not supported: the kernel would allow every request (leave http out to allow them all)',
    ],
  )
  assert.deepEqual(said(gnp('{preDNAT: true, applyOnForward: true}')), [])
})

test('what would leave pods without routes, sessions or policy is refused', () => {
  const said = (line: string) => unsupported(decode(line)).map(print)
  const pool = (mode: string): string => `IPPool {name: a} {cidr: 10.1.0.0/16, ${mode}}`
  const unrouted = 'is not supported yet: pods of this pool would get addresses that are not routed between nodes'
  for (const mode of ['Always', 'CrossSubnet']) {
    for (const field of ['vxlanMode', 'ipipMode']) {
      assert.deepEqual(said(pool(`${field}: ${mode}`)), [
        `spec.${field}: ${field} ${mode} ${unrouted} (set ${field}: Never, and let BGP route without encapsulation)`,
      ])
    }
  }
  assert.deepEqual(said(pool('vxlanMode: Never, ipipMode: Never')), [])

  const noSecrets = 'Secrets are not supported yet: without its password there would be no session'
  const fix = 'leave it out, here and at the other end'
  const ref = (more = ''): string => `{secretKeyRef: {name: bgp, key: password${more}}}`
  const peer = (password: string): string => `BGPPeer {name: a} {peerIP: 10.0.0.1, asNumber: 1, password: ${password}}`
  assert.deepEqual(said(peer(ref())), [`spec.password: ${noSecrets} (${fix})`])
  assert.deepEqual(said(peer(ref(', optional: true'))), [])
  assert.deepEqual(said(peer('{}')), [])
  const mesh = (password: string): string => `BGPConfiguration {name: default} {nodeMeshPassword: ${password}}`
  assert.deepEqual(said(mesh(ref())), [`spec.nodeMeshPassword: ${noSecrets} (${fix})`])
  assert.deepEqual(said(mesh(ref(', optional: true'))), [])

  const prefixes = (text: string): string => `FelixConfiguration {name: default} {interfacePrefix: "${text}"}`
  assert.deepEqual(said(prefixes('tap,cali')), [])
  assert.deepEqual(said(prefixes('tap')), [
    'spec.interfacePrefix: the interfaces of pods begin with cali, and no policy would guard them (write tap,cali)',
  ])
})

test('Kubernetes kinds keep the fields that nobody here knows', () => {
  const pod = {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'p', namespace: 'd', extra: { a: [1] } },
    spec: { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 1, x: 2 }] }], dnsPolicy: 'Default' },
    status: { phase: 'Running', conditions: [{ type: 'Ready' }] },
  }
  assert.deepEqual(decodeResource(pod), { ok: true, value: pod })
})

test('the addresses of an endpoint slice are of its type', () => {
  const slice = (addressType: string, ...addresses: string[]) => {
    const head = { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', metadata: { name: 's', namespace: 'd' } }
    const decoded = decodeResource({ ...head, addressType, endpoints: [{ addresses: ['x'] }, { addresses }].slice(1) })
    return decoded.ok ? [] : decoded.problems.map(print)
  }
  assert.deepEqual(slice('IPv4', '10.0.0.1', '10.0.0.2'), [])
  assert.deepEqual(slice('IPv6', 'fd00::1'), [])
  assert.deepEqual(slice('FQDN', 'a.example'), [])
  assert.deepEqual(slice('IPv4', '10.0.0.1', 'fd00::1'), ['endpoints[0].addresses[1]: is not an IPv4 address'])
  assert.deepEqual(slice('IPv6', 'x'), ['endpoints[0].addresses[0]: is not an IPv6 address'])
  assert.deepEqual(slice('IPv5'), ['addressType: must be one of IPv4, IPv6, FQDN (did you mean IPv4?)'])
})

test('kinds are found by every name people type', () => {
  const rows: readonly (readonly [string, Kind | undefined])[] = [
    ['gnp', 'GlobalNetworkPolicy'],
    ['NetworkPolicies', 'NetworkPolicy'],
    ['POOL', 'IPPool'],
    ['wep', 'WorkloadEndpoint'],
    ['bgppeers', 'BGPPeer'],
    ['wombat', undefined],
  ]
  for (const [name, kind] of rows) assert.equal(findKind(name), kind, name)
  const names = KIND_NAMES.flatMap(kind => [
    ...new Set([kind.toLowerCase(), KINDS[kind].plural, ...KINDS[kind].aliases]),
  ])
  assert.equal(new Set(names).size, names.length, 'no name stands for two kinds')
})

test('a snapshot gives the resources of a kind', () => {
  const [a, b, tier] = [
    decode('NetworkSet {name: a, namespace: x} {}'),
    decode('NetworkSet {name: b, namespace: x} {}'),
    decode('Tier {name: a} {}'),
  ]
  const snapshot = snapshotOf([a, tier, b])
  assert.deepEqual([...snapshot.keys()], ['NetworkSet/x/a', 'Tier//a', 'NetworkSet/x/b'])
  assert.deepEqual([...ofKind(snapshot, 'NetworkSet')].map(keyOf), ['NetworkSet/x/a', 'NetworkSet/x/b'])
})

test('decoding what was decoded changes nothing', () => {
  for (const { document: input } of OBSERVED) {
    const first = decodeResource(input)
    assert.ok(first.ok)
    assert.deepEqual(decodeResource(first.value), first)
  }
})

/** Values that look like what some field wants, or that trip code that trusts its keys. */
const CUNNING = [
  '10.0.0.0/8',
  'fd00::/8',
  'all()',
  'global()',
  80,
  '1:2',
  'tcp',
  '../tiers',
  '__proto__',
  'constructor',
  -0,
  Number.NaN,
]

test('whatever is done to a document, it is refused with a reason or becomes a resource that survives its storage', () => {
  const documents = fc.constantFrom(...OBSERVED.map(o => o.document))
  const path = fc.array(fc.nat(20), { minLength: 1, maxLength: 7 })
  const junk = fc.oneof(fc.anything(), fc.jsonValue(), fc.constantFrom(...CUNNING))
  fc.assert(
    fc.property(documents, path, junk, (original, steps, value) => {
      const decoded = decodeResource(mutate(original, steps, value))
      if (!decoded.ok) {
        assert.ok(decoded.problems.length > 0 && decoded.problems.every(problem => problem.message !== ''))
        return
      }
      assert.deepEqual(decodeResource(decoded.value), decoded)
      const text = encodeResource(decoded.value)
      const stored = decodeStored(storeKey(keyOf(decoded.value)), text, 1)
      assert.ok(stored.ok, JSON.stringify(stored))
      assert.equal(encodeResource(stored.value.resource), text)
    }),
    { numRuns: 4000 },
  )
  fc.assert(fc.property(fc.anything(), value => void decodeResource(value)))
})

/** Replaces the value at a place that the steps choose among those there are. */
function mutate(value: unknown, [step = 0, ...rest]: readonly number[], junk: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return junk
  const keys = Object.keys(value)
  const chosen = keys[step % keys.length]!
  const entries = Object.entries(value).map(([key, old]) => [
    key,
    key !== chosen ? old : rest.length === 0 ? junk : mutate(old, rest, junk),
  ])
  return Array.isArray(value) ? entries.map(([, entry]) => entry) : Object.fromEntries(entries)
}
