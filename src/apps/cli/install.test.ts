import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { AGENT_RULES } from '../../core/install/access.ts'
import { COLLECTIONS } from '../../core/kubernetes/collection.ts'
import { printManifest } from './install.ts'

const ROOT = resolve(import.meta.dirname, '../../..')

type Container = {
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
  readonly securityContext: {
    readonly privileged?: boolean
    readonly readOnlyRootFilesystem: boolean
    readonly allowPrivilegeEscalation: boolean
    readonly capabilities: { readonly drop: readonly string[] }
  }
  readonly volumeMounts: readonly { readonly name: string }[]
}
type PodSpec = {
  readonly containers: readonly Container[]
  readonly initContainers: readonly Container[]
  readonly volumes: readonly { readonly name: string }[]
}

const objects = (text: string) =>
  parseAllDocuments(text).map(document => document.toJS() as { kind: string; spec?: unknown })
const podSpec = (text: string): PodSpec => {
  const found = objects(text).find(({ kind }) => kind === 'DaemonSet')
  return (found!.spec as { template: { spec: PodSpec } }).template.spec
}

describe('gingham install manifest', () => {
  it('prints what install/gingham.yaml holds (else run: bin/gingham install manifest > install/gingham.yaml)', () =>
    assert.equal(readFileSync(join(ROOT, 'install/gingham.yaml'), 'utf8'), printManifest({})))

  it('gives containers no more rights than they need, and mounts every volume', () => {
    const { containers, initContainers, volumes } = podSpec(printManifest({}))
    const all = [...initContainers, ...containers]
    assert.equal(all.length, 2)
    for (const { securityContext } of all) {
      assert.equal(securityContext.privileged, undefined)
      assert.equal(securityContext.readOnlyRootFilesystem, true)
      assert.equal(securityContext.allowPrivilegeEscalation, false)
      assert.deepEqual(securityContext.capabilities.drop, ['ALL'])
    }
    assert.deepEqual(
      all.flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name)).sort(),
      volumes.map(({ name }) => name).sort(),
    )
  })

  it('takes an image, a pool, IPv6 and a way of finding addresses', () => {
    const text = printManifest({
      image: 'example.org/g:1',
      pool: '10.1.0.0/16',
      ipv6: true,
      autodetection: 'first-found',
    })
    const [agent] = podSpec(text).containers
    const env = Object.fromEntries(agent!.env!.map(({ name, value }) => [name, value]))
    assert.equal(env.CALICO_IPV4POOL_CIDR, '10.1.0.0/16')
    assert.equal(env.IP_AUTODETECTION_METHOD, 'first-found')
    assert.equal(env.IP6, 'autodetect')
    assert.equal(text.match(/image: example.org\/g:1/g)?.length, 2)
  })

  it('gives the agent rights for kinds that there are, and none for all resources of a group that others share', () => {
    const all = objects(printManifest({}))
    const definitions = all.filter(({ kind }) => kind === 'CustomResourceDefinition')
    const defined = new Set(definitions.map(({ spec }) => (spec as { names: { plural: string } }).names.plural))
    for (const object of all.filter(({ kind }) => kind === 'ClusterRole')) {
      const { rules } = object as unknown as { rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[] }
      for (const { apiGroups, resources, verbs } of rules) {
        assert.ok(!verbs.includes('*') && !apiGroups.includes('*'))
        if (apiGroups.includes('projectcalico.org'))
          for (const resource of resources) assert.ok(defined.has(resource), `there are no ${resource}`)
        if (resources.includes('*'))
          assert.deepEqual([apiGroups, verbs], [['crd.projectcalico.org'], ['get', 'list', 'watch']])
      }
    }
  })

  it('lets the agent read every kind that it follows: one that it may not would keep it from ever being in sync', () => {
    const readable = AGENT_RULES.filter(({ verbs }) => ['list', 'watch'].every(verb => verbs.includes(verb)))
    for (const { root, plural } of COLLECTIONS) {
      const [, , group = ''] = root.startsWith('/apis/') ? root.split('/') : []
      const rule = readable.find(({ apiGroups, resources }) => apiGroups.includes(group) && resources.includes(plural))
      assert.ok(rule, `${group}/${plural}`)
    }
  })
})
