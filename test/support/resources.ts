// Short ways to typed resources for tests and benchmarks. The documents are ours, so one that is refused is a bug.
import {
  decodeResource,
  type GlobalNetworkPolicy,
  type Resource,
  type Tier,
  type WorkloadEndpoint,
} from '../../src/core/resources/resource.ts'

const V3 = 'projectcalico.org/v3'

export function resource<T extends Resource>(document: object): T {
  const decoded = decodeResource(document)
  if (!decoded.ok) throw new Error(`${JSON.stringify(document)}: ${JSON.stringify(decoded.problems)}`)
  return decoded.value as T
}

export const DEFAULT_TIER: Tier = resource({
  apiVersion: V3,
  kind: 'Tier',
  metadata: { name: 'default' },
  spec: { order: 1_000_000, defaultAction: 'Deny' },
})

export type EndpointSpec = {
  readonly name: string
  readonly node: string
  readonly addresses: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

/** A pod's endpoint, whose interface is `cali` and the pod's name; without policy it allows everything. */
export const endpoint = ({ name, node, addresses, labels }: EndpointSpec): WorkloadEndpoint =>
  resource({
    apiVersion: V3,
    kind: 'WorkloadEndpoint',
    metadata: { name: `${node}-k8s-${name}-eth0`, namespace: 'default', labels },
    spec: {
      ...{ orchestrator: 'k8s', node, pod: name, endpoint: 'eth0', interfaceName: `cali${name}` },
      ipNetworks: addresses.map(a => `${a}/32`),
      profiles: ['projectcalico-default-allow'],
    },
  })

export const globalPolicy = (name: string, spec: object): GlobalNetworkPolicy =>
  resource({ apiVersion: V3, kind: 'GlobalNetworkPolicy', metadata: { name }, spec })
