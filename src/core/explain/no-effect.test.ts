// Settings without effect are named, and only those. Whether a setting has one is asked of the code that would use it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { birdConfigOf } from '../bird/node-config.ts'
import { nodeFacts } from '../calc/node-facts.ts'
import { decodeResource, KINDS, type Kind, type Resource, schemaOf, snapshotOf } from '../resources/resource.ts'
import { BGP_UNUSED, FELIX_USED } from './no-effect.ts'
import { warnings } from './warnings.ts'

type Fields = Readonly<Record<string, unknown>>

function resource(kind: Kind, spec: Fields, { name = 'default', annotations = {} } = {}): Resource {
  const metadata = { name, annotations, ...(KINDS[kind].namespaced && { namespace: 'ns' }) }
  const decoded = decodeResource({ apiVersion: KINDS[kind].apiVersion, kind, metadata, spec })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const said = (of: Resource): string[] => warnings(of).map(({ path, message }) => `${path}: ${message}`)

/** Every field that the schema of a kind knows in `spec`. */
function fieldsOf(kind: Kind): string[] {
  const schema = z.toJSONSchema(schemaOf(kind), { io: 'input', unrepresentable: 'any' })
  const spec = schema.properties?.spec as { readonly properties: object }
  return Object.keys(spec.properties)
}
/** The resource with a field as it stands, valid or not: only whether anybody looks at it matters. */
const having = (kind: Kind, field: string, value: unknown): Resource => {
  // A burst says something of a rate only.
  const valid = resource(kind, kind === 'FelixConfiguration' ? { logActionRateLimit: '5/minute' } : {})
  return { ...valid, spec: { ...('spec' in valid ? valid.spec : {}), [field]: value } } as Resource
}
/** One of these makes a difference wherever a field is looked at. */
const VALUES = ['x', true, 'Accept', '9/hour', 7, 'Any', 'IPPoolsAndHostIPs'] as const

test('the parameters of FelixConfiguration that are used are those that change what the node does', () => {
  const all = fieldsOf('FelixConfiguration')
  assert.ok(all.length > 150, `${all.length} parameters`)
  const node = resource('Node', { bgp: { ipv4Address: '10.0.0.1/24' } }, { name: 'a' })
  const facts = (r: Resource): string => {
    try {
      return JSON.stringify(nodeFacts(snapshotOf([r, node]), 'a'))
    } catch {
      return 'trips over the value, so it looks at it'
    }
  }
  const without = facts(resource('FelixConfiguration', { logActionRateLimit: '5/minute' }))
  const used = all.filter(field => VALUES.some(v => facts(having('FelixConfiguration', field, v)) !== without))
  assert.deepEqual(used.sort(), [...FELIX_USED].sort())
})

test('the fields of BGPConfiguration that are not used do not change BIRD’s configuration', () => {
  const node = resource('Node', { bgp: { ipv4Address: '10.0.0.1/24' } }, { name: 'a' })
  const config = (r: Resource): string =>
    JSON.stringify(birdConfigOf(snapshotOf([node, r]), { node: 'a', blocks: [], borrowed: [] }))
  const without = config(resource('BGPConfiguration', {}))
  for (const field of BGP_UNUSED) {
    for (const v of [...VALUES, ['x'], [{ cidr: '10.0.0.0/8' }]]) {
      assert.equal(config(having('BGPConfiguration', field, v)), without, field)
    }
  }
  const ignoring = resource('BGPConfiguration', { ignoredInterfaces: ['eth9'] })
  assert.notEqual(config(ignoring), without)
  assert.deepEqual(said(ignoring), [])
})

test('settings without effect are told in one line', () => {
  const felix = (spec: Fields, name?: string): string[] =>
    said(resource('FelixConfiguration', spec, { ...(name && { name }) }))
  const nothing = 'spec: accepted, and without effect yet'
  assert.deepEqual(felix({}), [])
  assert.deepEqual(felix({ logPrefix: 'x', defaultEndpointToHostAction: 'Accept', interfacePrefix: 'cali' }), [])
  assert.deepEqual(felix({ logPrefix: 'x', wireguardEnabled: true, chainInsertMode: 'Append' }, 'node.a'), [
    `${nothing}: chainInsertMode, wireguardEnabled`,
  ])
  // What says the default anyway is not what people look for.
  assert.deepEqual(felix({ nftablesMode: 'Auto', floatingIPs: 'Disabled' }), [])
  assert.deepEqual(felix({ nftablesMode: 'Disabled' }), [`${nothing}: nftablesMode`])
  assert.deepEqual(felix({ nodeSelector: 'all()', logPrefix: 'x' }, 'some'), [])

  const ref = { secretKeyRef: { name: 'bgp', key: 'p', optional: true } }
  const goesWithout = 'Secrets are not supported yet: the session goes without its optional password'
  assert.deepEqual(
    said(
      resource('BGPConfiguration', {
        asNumber: 64513,
        listenPort: 1179,
        serviceClusterIPs: [{ cidr: '10.96.0.0/12' }],
        communities: [{ name: 'c', value: '1:2' }],
        prefixAdvertisements: [{ cidr: '10.0.0.0/8', communities: ['c'] }],
        localWorkloadPeeringIPV4: '169.254.1.2',
        nodeMeshPassword: ref,
      }),
    ),
    [
      `${nothing}: communities, localWorkloadPeeringIPV4, prefixAdvertisements, serviceClusterIPs`,
      `spec.nodeMeshPassword: ${goesWithout}`,
    ],
  )
  assert.deepEqual(said(resource('BGPPeer', { peerIP: '10.0.0.1', asNumber: 1, password: ref })), [
    `spec.password: ${goesWithout}`,
  ])
  assert.deepEqual(said(resource('BGPPeer', { peerIP: '10.0.0.1', asNumber: 1 })), [])
})

test('annotations of a pod that nobody follows', () => {
  const pod = (annotations: Record<string, string>): string[] => said(resource('Pod', {}, { name: 'a', annotations }))
  assert.deepEqual(
    pod({ 'cni.projectcalico.org/podIPs': '10.0.0.1/32', 'cni.projectcalico.org/ipAddrs': '["10.0.0.1"]' }),
    [],
  )
  assert.deepEqual(
    pod({
      'qos.projectcalico.org/ingressBandwidth': '1M',
      'cni.projectcalico.org/allowedSourcePrefixes': '["10.0.0.0/8"]',
      'cni.projectcalico.org/floatingIPs': '["192.0.2.1"]',
      'cni.projectcalico.org/ipAddrsNoIpam': '["10.0.0.9"]',
      'other.example/qos.projectcalico.org': 'x',
    }),
    [
      'metadata.annotations: accepted, and without effect yet: qos.projectcalico.org/ingressBandwidth',
      'metadata.annotations: not supported yet: the pod gets no network before they are removed: cni.projectcalico.org/floatingIPs',
    ],
  )
  assert.deepEqual(pod({ 'cni.projectcalico.org/floatingIPs': ' ' }), [])
})
