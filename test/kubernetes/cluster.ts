// A control plane for the tests of one file, with our kinds defined, ready before the first and gone after the last.
import { setTimeout as sleep } from 'node:timers/promises'
import { ControlPlane } from '../../src/apps/lab/kubernetes/control-plane.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { admissionObjects } from '../../src/core/kubernetes/admission.ts'
import { customResourceDefinitions } from '../../src/core/kubernetes/crd.ts'
import type { ApiClient } from '../../src/io/kubernetes/api-client.ts'
import { ApiError } from '../../src/io/kubernetes/api-error.ts'
import { applyObjects } from '../../src/io/kubernetes/apply.ts'

export type Cluster = {
  readonly plane: ControlPlane
  /** The administrator's. */
  readonly client: ApiClient
  readonly folder: RunFolder
  close(): Promise<void>
}

let count = 0

/** A bare control plane: Kubernetes' own kinds only. */
export async function openBareCluster(): Promise<Cluster> {
  const prefix = `gk${process.pid}-${++count}`
  const folder = await RunFolder.claim(`/run/gingham-test-${prefix}`, prefix)
  try {
    const plane = await ControlPlane.start(folder, { prefix })
    const client = await plane.client()
    return {
      plane,
      client,
      folder,
      close: async () => {
        client.close()
        await plane.stop()
        await folder.cleanUp()
      },
    }
  } catch (error) {
    await folder.cleanUp()
    throw error
  }
}

const TIER = { apiVersion: 'projectcalico.org/v3', kind: 'Tier', metadata: { name: 'probe' }, spec: { order: 1 } }
const POLICIES = '/apis/projectcalico.org/v3/globalnetworkpolicies'
const POLICY = {
  apiVersion: 'projectcalico.org/v3',
  kind: 'GlobalNetworkPolicy',
  metadata: { name: 'probe' },
  spec: { selector: 'all()' },
}

/** The namespaces that tests write into. */
const NAMESPACES = ['prod', 'staging']

/** A control plane that has our kinds. */
export async function openCluster(): Promise<Cluster> {
  const cluster = await openBareCluster()
  try {
    await applyObjects(cluster.client, customResourceDefinitions())
    await applyObjects(cluster.client, admissionObjects())
    const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    await applyObjects(cluster.client, NAMESPACES.map(namespace))
    await untilServed(() => applyObjects(cluster.client, [TIER]))
    // A policy of admission that names a new kind works only once the API server has found the kind.
    await untilServed(async () => {
      const body = JSON.stringify(POLICY)
      const made = JSON.parse(await cluster.client.request('POST', POLICIES, { body, query: { dryRun: 'All' } }))
      if (made.spec.types === undefined) throw new ApiError(503, { message: 'admission is not there yet' })
    })
    await cluster.client.request('DELETE', '/apis/projectcalico.org/v3/tiers/probe')
    return cluster
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** Repeats what is refused while new kinds settle in the API server. */
async function untilServed(attempt: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + 90_000
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      if (!(error instanceof ApiError) || performance.now() > deadline) throw error
      await sleep(100)
    }
  }
}
