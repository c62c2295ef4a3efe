import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeResource } from '../resources/resource.ts'
import { calicoNode, nodePatch } from './node.ts'

type Annotations = { [name: string]: string }
type KubernetesNode = {
  metadata: { name: string; resourceVersion: string; labels?: Annotations; annotations?: Annotations }
}

/** What the API server makes of a merge patch of annotations. */
function patched(node: KubernetesNode, patch: ReturnType<typeof nodePatch>): KubernetesNode {
  const annotations: Annotations = { ...node.metadata.annotations }
  for (const [name, text] of Object.entries(patch.metadata.annotations)) {
    if (text === null) delete annotations[name]
    else annotations[name] = text
  }
  return { ...node, metadata: { ...node.metadata, annotations } }
}

const address = fc.constantFrom('10.0.0.1', '10.0.0.2')
const mac = fc.constantFrom('66:11:22:33:44:55', 'aa:bb:cc:dd:ee:ff')
const texts = fc.dictionary(fc.constantFrom('a', 'rack', 'kubernetes.io/os'), fc.constantFrom('x', 'y'))
const optional = { requiredKeys: [] }
const bgp = fc
  .record(
    {
      asNumber: fc.integer({ min: 1, max: 0xffffffff }),
      ipv4Address: fc.constantFrom('172.31.0.1/24', '172.31.0.1'),
      ipv6Address: fc.constantFrom('fd00::1/64'),
      ipv4IPIPTunnelAddr: address,
      routeReflectorClusterID: address,
    },
    optional,
  )
  .filter(fields => Object.keys(fields).length > 0)
const wanted = fc.record({
  metadata: fc.record({ name: fc.constant('n1'), labels: texts, annotations: texts }),
  spec: fc.record(
    {
      bgp,
      ipv4VXLANTunnelAddr: address,
      vxlanTunnelMACAddr: mac,
      ipv6VXLANTunnelAddr: fc.constant('fd00::9'),
      vxlanTunnelMACAddrV6: mac,
      wireguard: fc.record({ interfaceIPv4Address: address }),
      interfaces: fc.array(fc.record({ name: fc.constantFrom('eth0', 'eth1') }), { minLength: 1, maxLength: 2 }),
    },
    optional,
  ),
})

const decoded = (document: unknown) => {
  const result = decodeResource(document)
  assert.ok(result.ok, JSON.stringify(result))
  assert.ok(result.value.kind === 'Node')
  return result.value
}

test('what is written to the annotations of a node is what is read from them, whatever was there before', () => {
  fc.assert(
    fc.property(texts, fc.array(wanted, { minLength: 1, maxLength: 3 }), (labels, states) => {
      let node: KubernetesNode = { metadata: { name: 'n1', resourceVersion: '7', labels } }
      for (const state of states) {
        const resource = decoded({ kind: 'Node', apiVersion: 'projectcalico.org/v3', ...state })
        node = patched(node, nodePatch(resource, node))
        const read = decoded(calicoNode(node))
        const { orchRefs, ...spec } = read.spec
        assert.deepEqual(orchRefs, [{ nodeName: 'n1', orchestrator: 'k8s' }])
        assert.deepEqual(spec, resource.spec)
        // A label of Kubernetes' Node cannot be taken away or changed from here.
        assert.deepEqual(read.metadata.labels ?? {}, { ...state.metadata.labels, ...labels })
        assert.deepEqual(read.metadata.annotations ?? {}, { ...state.metadata.annotations })
      }
    }),
  )
})

test('a node of Kubernetes gives its addresses and its pods’ networks', () => {
  const node = calicoNode({
    metadata: { name: 'n1', uid: 'u', annotations: { 'projectcalico.org/labels': '{', other: 'x' } },
    spec: { podCIDRs: ['10.244.0.0/24'] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '172.31.0.1' },
        { type: 'Hostname', address: 'n1' },
      ],
    },
  })
  const { spec, status, metadata } = decoded(node)
  assert.deepEqual(spec.addresses, [{ address: '172.31.0.1', type: 'InternalIP' }])
  assert.deepEqual(status.podCIDRs, ['10.244.0.0/24'])
  assert.equal(metadata.annotations, undefined)
})

test('any object is read as some node, without an error', () => {
  fc.assert(fc.property(fc.object(), object => assert.equal(calicoNode(object).kind, 'Node')))
})
