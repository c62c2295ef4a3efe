// Kubernetes objects as Calico sees them: the rules for pods row by row, the profiles, and the labels that result.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { resourceKey } from './cause.ts'
import {
  DEFAULT_ALLOW_PROFILE,
  derived,
  endpointLabels,
  namespaceToProfile,
  networkSetLabels,
  podToEndpoint,
  serviceAccountToProfile,
} from './derive.ts'
import {
  decodeResource,
  find,
  type Namespace,
  type NetworkSet,
  type Pod,
  type Resource,
  type ServiceAccount,
  snapshotOf,
} from './resource.ts'

function decode<T extends Resource>(document: object): T {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value as T
}

type Parts = { metadata?: object; spec?: object; status?: object }
const pod = ({ metadata = {}, spec = {}, status = { podIP: '10.0.0.1' } }: Parts = {}): Pod =>
  decode({
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'web-0', namespace: 'prod', ...metadata },
    spec: { nodeName: 'node-1', ...spec },
    status,
  })
const namespace: Namespace = decode({
  kind: 'Namespace',
  apiVersion: 'v1',
  metadata: { name: 'prod', labels: { team: 'a', app: 'of-namespace' } },
})
const account: ServiceAccount = decode({
  kind: 'ServiceAccount',
  apiVersion: 'v1',
  metadata: { name: 'robot', namespace: 'prod', labels: { role: 'x' } },
})

test('a whole pod', () => {
  const digest = createHash('sha1').update('prod.web-0').digest('hex')
  const ports = [
    { name: 'http', containerPort: 8080 },
    { containerPort: 9090 },
    { containerPort: 53, hostPort: 5353, hostIP: '1.2.3.4', protocol: 'UDP' },
    { name: 'odd', containerPort: 1, protocol: 'DCCP' },
  ]
  const endpoint = podToEndpoint(
    pod({
      metadata: {
        labels: { app: 'web', 'projectcalico.org/namespace': 'lie' },
        annotations: { 'cni.projectcalico.org/containerID': 'abc' },
        uid: 'u',
        resourceVersion: '9',
      },
      spec: {
        serviceAccountName: 'robot',
        containers: [{ ports }],
        initContainers: [{ ports: [{ name: 'mesh', containerPort: 15001, protocol: 'SCTP' }] }],
      },
      status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }, { ip: 'FD00::1' }] },
    }),
  )
  assert.deepEqual(endpoint, {
    kind: 'WorkloadEndpoint',
    apiVersion: 'projectcalico.org/v3',
    metadata: {
      name: 'node--1-k8s-web--0-eth0',
      namespace: 'prod',
      uid: 'u',
      resourceVersion: '9',
      labels: {
        app: 'web',
        'projectcalico.org/namespace': 'prod',
        'projectcalico.org/orchestrator': 'k8s',
        'projectcalico.org/serviceaccount': 'robot',
      },
    },
    spec: {
      orchestrator: 'k8s',
      node: 'node-1',
      pod: 'web-0',
      endpoint: 'eth0',
      containerID: 'abc',
      serviceAccountName: 'robot',
      ipNetworks: ['10.0.0.1/32', 'fd00::1/128'],
      profiles: ['kns.prod', 'ksa.prod.robot'],
      interfaceName: `cali${digest.slice(0, 11)}`,
      ports: [
        { name: 'http', protocol: 'TCP', port: 8080, hostPort: 0, hostIP: '' },
        { protocol: 'UDP', port: 53, hostPort: 5353, hostIP: '1.2.3.4' },
        { name: 'mesh', protocol: 'SCTP', port: 15001, hostPort: 0, hostIP: '' },
      ],
    },
  })
  assert.deepEqual(decodeResource(endpoint), { ok: true, value: endpoint }, 'a derived endpoint is a valid one')
})

test('pods that are no endpoints', () => {
  assert.equal(podToEndpoint(pod({ spec: { hostNetwork: true } })), undefined)
  assert.equal(podToEndpoint(pod({ spec: { nodeName: '' } })), undefined)
  assert.equal(podToEndpoint(pod({ status: {} })), undefined)
})

const TORN_DOWN = { deletionTimestamp: '2026-01-01T00:00:00Z', annotations: { 'cni.projectcalico.org/podIP': '' } }

test('finished pods keep their endpoint but no address', () => {
  const finished: readonly Parts[] = [
    { status: { phase: 'Failed', podIP: '10.0.0.1' } },
    { status: { phase: 'Succeeded', podIP: '10.0.0.1' } },
    { metadata: TORN_DOWN },
    { metadata: { ...TORN_DOWN, annotations: { 'vpc.amazonaws.com/pod-ips': '' } } },
  ]
  for (const parts of finished) {
    const endpoint = podToEndpoint(pod(parts))
    assert.ok(endpoint)
    assert.equal(endpoint.spec.ipNetworks, undefined)
  }
  const alive: readonly Parts[] = [
    { metadata: { deletionTimestamp: TORN_DOWN.deletionTimestamp } },
    { metadata: { annotations: TORN_DOWN.annotations } },
  ]
  for (const parts of alive) assert.deepEqual(podToEndpoint(pod(parts))?.spec.ipNetworks, ['10.0.0.1/32'])
})

test('addresses come from the first source that has any', () => {
  const annotations = {
    'cni.projectcalico.org/podIP': '10.0.0.4/32',
    'cni.projectcalico.org/podIPs': '10.0.0.3/32,fd00::3/128',
    'vpc.amazonaws.com/pod-ips': '10.0.0.5, 10.0.0.6',
  }
  const { 'cni.projectcalico.org/podIPs': _, ...withoutIPs } = annotations
  const { 'cni.projectcalico.org/podIP': __, ...aws } = withoutIPs
  const rows: readonly (readonly [Parts, readonly string[]])[] = [
    [{ status: { podIP: '10.0.0.2', podIPs: [{ ip: '10.0.0.1' }] }, metadata: { annotations } }, ['10.0.0.1/32']],
    [{ status: { podIP: '10.0.0.2', podIPs: [] }, metadata: { annotations } }, ['10.0.0.2/32']],
    [{ status: { podIPs: [{}] }, metadata: { annotations } }, ['10.0.0.3/32', 'fd00::3/128']],
    [{ status: {}, metadata: { annotations: withoutIPs } }, ['10.0.0.4/32']],
    [{ status: {}, metadata: { annotations: aws } }, ['10.0.0.5/32', '10.0.0.6/32']],
  ]
  for (const [parts, expected] of rows) assert.deepEqual(podToEndpoint(pod(parts))?.spec.ipNetworks, expected)
})

test('interface prefix, long service accounts', () => {
  const endpoint = podToEndpoint(pod({ spec: { serviceAccountName: 's'.repeat(63) } }), { interfacePrefix: 'gn' })
  assert.match(endpoint?.spec.interfaceName ?? '', /^gn[0-9a-f]{11}$/)
  assert.deepEqual(endpoint?.metadata.labels, {
    'projectcalico.org/namespace': 'prod',
    'projectcalico.org/orchestrator': 'k8s',
  })
  assert.deepEqual(endpoint?.spec.profiles, ['kns.prod', `ksa.prod.${'s'.repeat(63)}`])
})

test('namespaces and service accounts are profiles', () => {
  const kns = namespaceToProfile(namespace)
  assert.equal(kns.metadata.name, 'kns.prod')
  assert.deepEqual(kns.spec, {
    ingress: [{ action: 'Allow' }],
    egress: [{ action: 'Allow' }],
    labelsToApply: {
      'pcns.app': 'of-namespace',
      'pcns.kubernetes.io/metadata.name': 'prod',
      'pcns.projectcalico.org/name': 'prod',
      'pcns.team': 'a',
    },
  })
  const ksa = serviceAccountToProfile(account)
  assert.equal(ksa.metadata.name, 'ksa.prod.robot')
  assert.deepEqual(ksa.spec, { labelsToApply: { 'pcsa.projectcalico.org/name': 'robot', 'pcsa.role': 'x' } })
})

test('a snapshot with what follows from it', () => {
  const stored = decode({
    kind: 'WorkloadEndpoint',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name: 'node--1-k8s-web--0-eth0', namespace: 'prod' },
    spec: {
      orchestrator: 'k8s',
      node: 'node-1',
      pod: 'web-0',
      endpoint: 'eth0',
      interfaceName: 'cali1',
      mac: 'aa:bb:cc:dd:ee:ff',
    },
  })
  const stale = decode({ kind: 'Profile', apiVersion: 'projectcalico.org/v3', metadata: { name: 'kns.prod' } })
  const all = derived(snapshotOf([stored, stale, pod(), pod({ metadata: { name: 'web-1' } }), namespace, account]))
  assert.equal(all.get(resourceKey('WorkloadEndpoint', 'prod', 'node--1-k8s-web--0-eth0')), stored)
  assert.ok(find(all, 'WorkloadEndpoint', { namespace: 'prod', name: 'node--1-k8s-web--1-eth0' }))
  assert.deepEqual(find(all, 'Profile', { name: 'kns.prod' }), namespaceToProfile(namespace))
  assert.equal(find(all, 'Profile', { name: 'projectcalico-default-allow' }), DEFAULT_ALLOW_PROFILE)
  assert.equal(all.size, 6 + 3)
})

test('labels are inherited: own first, then the profiles in their order', () => {
  const profile = (name: string, labelsToApply: object) =>
    decode({ kind: 'Profile', apiVersion: 'projectcalico.org/v3', metadata: { name }, spec: { labelsToApply } })
  const all = snapshotOf([
    profile('one', { a: '1', b: '1' }),
    profile('two', { a: '2', b: '2', c: '2', constructor: 'x' }),
  ])
  const lookup = (name: string) => find(all, 'Profile', { name })
  const endpoint = podToEndpoint(pod({ metadata: { labels: { a: 'own' } } }))!
  const labels = endpointLabels(
    { ...endpoint, spec: { ...endpoint.spec, profiles: ['one', 'missing', 'two'] } },
    lookup,
  )
  assert.deepEqual(labels, {
    a: 'own',
    b: '1',
    c: '2',
    constructor: 'x',
    'projectcalico.org/namespace': 'prod',
    'projectcalico.org/orchestrator': 'k8s',
  })
})

test('a network set belongs to its namespace', () => {
  const set: NetworkSet = decode({
    kind: 'NetworkSet',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name: 's', namespace: 'prod', labels: { set: 'good' } },
    spec: { nets: ['192.0.2.0/24'] },
  })
  assert.deepEqual(
    networkSetLabels(set, name => (name === 'kns.prod' ? namespaceToProfile(namespace) : undefined)),
    {
      set: 'good',
      'projectcalico.org/namespace': 'prod',
      'pcns.team': 'a',
      'pcns.app': 'of-namespace',
      // As the API server labels every namespace.
      'pcns.kubernetes.io/metadata.name': 'prod',
      'pcns.projectcalico.org/name': 'prod',
    },
  )
})
