import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { applyChanges, difference } from '../base/change.ts'
import type { ResourceKey } from './cause.ts'
import { derived, deriveFrom } from './derive.ts'
import { DerivedView } from './derived-view.ts'
import { decodeResource, keyOf, type Resource } from './resource.ts'

const make = (document: object): Resource => {
  const decoded = decodeResource(document)
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  return decoded.value
}

const pod = fc
  .record({ name: fc.constantFrom('a', 'b', 'a-b'), node: fc.constantFrom('n', 'm', undefined), ip: fc.nat(3) })
  .map(({ name, node, ip }) =>
    make({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'x' },
      spec: { ...(node && { nodeName: node }) },
      status: { podIP: `10.0.0.${ip}`, podIPs: [{ ip: `10.0.0.${ip}` }] },
    }),
  )
const namespace = fc
  .constantFrom({}, { team: 'a' })
  .map(labels => make({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'x', labels } }))
const account = fc
  .constantFrom('sa', 'default')
  .map(name => make({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'x' } }))
const profile = fc.constantFrom('kns.x', 'own').map(name =>
  make({
    apiVersion: 'projectcalico.org/v3',
    kind: 'Profile',
    metadata: { name },
    spec: { egress: [{ action: 'Deny' }] },
  }),
)
const endpoint = fc.constantFrom('a', 'b').map(name =>
  make({
    apiVersion: 'projectcalico.org/v3',
    kind: 'WorkloadEndpoint',
    metadata: { name: `n-k8s-${name}-eth0`, namespace: 'x' },
    spec: {
      node: 'n',
      orchestrator: 'k8s',
      pod: name,
      endpoint: 'eth0',
      interfaceName: 'cali1',
      ipNetworks: ['10.9.9.9/32'],
    },
  }),
)
const world = fc
  .array(fc.oneof(pod, namespace, account, profile, endpoint), { maxLength: 8 })
  .map(resources => new Map<ResourceKey, Resource>(resources.map(r => [keyOf(r), r])))

test('of pods elsewhere that have an endpoint only that is kept, through random histories', () => {
  const sorted = (m: ReadonlyMap<ResourceKey, Resource>) => [...m].sort(([a], [b]) => (a < b ? -1 : 1))
  const kept = (all: ReadonlyMap<ResourceKey, Resource>, node: string) =>
    [...all].filter(([, r]) => {
      if (r.kind !== 'Pod' || r.spec.nodeName === node) return true
      return deriveFrom(r) === undefined
    })
  const count = { kept: 0, left: 0 }
  fc.assert(
    fc.property(fc.array(world, { minLength: 1, maxLength: 5 }), fc.constantFrom('n', 'm'), (history, node) => {
      const live = new DerivedView({ node })
      const followed = new Map(live.view)
      let before = new Map<ResourceKey, Resource>()
      for (const now of [...history, new Map<ResourceKey, Resource>()]) {
        applyChanges(followed, live.apply(difference(before, now)))
        const wanted = new Map(kept(derived(now), node))
        count.kept += wanted.size
        count.left += derived(now).size - wanted.size
        assert.deepEqual(sorted(live.view), sorted(wanted))
        assert.deepEqual(sorted(followed), sorted(live.view))
        before = now
      }
    }),
  )
  assert.ok(count.kept > 0 && count.left > 0, JSON.stringify(count))
})

test('over random histories the view is what a derivation of everything gives', () => {
  fc.assert(
    fc.property(fc.array(world, { minLength: 1, maxLength: 5 }), history => {
      const live = new DerivedView()
      const followed = new Map(live.view)
      let before = new Map<ResourceKey, Resource>()
      for (const now of [...history, new Map<ResourceKey, Resource>()]) {
        applyChanges(followed, live.apply(difference(before, now)))
        const sorted = (m: ReadonlyMap<ResourceKey, Resource>) => [...m].sort(([a], [b]) => (a < b ? -1 : 1))
        assert.deepEqual(sorted(live.view), sorted(derived(now)))
        assert.deepEqual(sorted(followed), sorted(live.view))
        before = now
      }
    }),
  )
})
