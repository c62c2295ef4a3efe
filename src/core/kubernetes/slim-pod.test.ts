import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from '../ipam/json.ts'
import { podToEndpoint } from '../resources/derive.ts'
import { decodeResource, type Pod } from '../resources/resource.ts'
import { slimPod } from './slim-pod.ts'

const address = fc.constantFrom('', '10.0.0.1', '10.0.0.1/32', 'fd00::1', '10.0.0.1/32,fd00::1/128')
const port = fc.record(
  { name: fc.constantFrom('http', ''), containerPort: fc.constantFrom(80, 8080), hostPort: fc.constantFrom(0, 80) },
  { requiredKeys: ['containerPort'] },
)
const container = fc.record(
  { name: fc.constant('c'), image: fc.constant('i'), ports: fc.array(port, { maxLength: 2 }) },
  { requiredKeys: ['name'] },
)
const annotation = fc.constantFrom(
  ...['cni.projectcalico.org/podIP', 'cni.projectcalico.org/podIPs', 'cni.projectcalico.org/containerID'],
  ...['vpc.amazonaws.com/pod-ips', 'example.org/x', 'kubernetes.io/ingress-bandwidth'],
)
const pods = fc.record({
  metadata: fc.record(
    {
      name: fc.constant('p'),
      namespace: fc.constant('n'),
      labels: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('x', 'y')),
      annotations: fc.dictionary(annotation, address),
      deletionTimestamp: fc.constant('2026-01-01T00:00:00Z'),
      managedFields: fc.constant([{}]),
    },
    { requiredKeys: ['name', 'namespace'] },
  ),
  spec: fc.record(
    {
      nodeName: fc.constant('n1'),
      hostNetwork: fc.boolean(),
      serviceAccountName: fc.constant('s'),
      containers: fc.array(container, { maxLength: 2 }),
      initContainers: fc.array(container, { maxLength: 1 }),
      volumes: fc.constant([{}]),
    },
    { requiredKeys: [] },
  ),
  status: fc.record(
    {
      phase: fc.constantFrom('Pending', 'Running', 'Succeeded'),
      podIP: address,
      podIPs: fc.array(fc.record({ ip: fc.constantFrom('10.0.0.2', 'fd00::2') }), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  ),
})

test('a slim pod is the same endpoint as the whole one', () => {
  const endpoint = (pod: unknown) => {
    const decoded = decodeResource({ kind: 'Pod', apiVersion: 'v1', ...(pod as object) })
    assert.ok(decoded.ok, JSON.stringify(decoded))
    return podToEndpoint(decoded.value as Pod)
  }
  let endpoints = 0
  fc.assert(
    fc.property(pods, pod => {
      const whole = endpoint(pod)
      if (whole) endpoints++
      assert.deepEqual(endpoint(slimPod(pod as unknown as JsonObject)), whole)
    }),
    { numRuns: 2000 },
  )
  assert.ok(endpoints > 100, `${endpoints} endpoints`)
})

test('what no endpoint needs is left out', () => {
  const slim = slimPod({
    metadata: { name: 'p', namespace: 'n', uid: 'u', managedFields: [{}], annotations: { 'example.org/x': 'y' } },
    spec: { nodeName: 'n1', volumes: [{}], containers: [{ name: 'c', image: 'i' }] },
    status: { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }], conditions: [{}] },
  })
  assert.deepEqual(slim, {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'p', namespace: 'n' },
    spec: { nodeName: 'n1' },
    status: { phase: 'Running', podIPs: [{ ip: '10.0.0.1' }] },
  })
})
