// WorkloadEndpoint: one interface of one workload. On Kubernetes it is derived from a Pod (derive.ts), never stored.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { familyOf } from '../../net/addr.ts'
import { prefixBase } from '../../net/prefix.ts'
import { address, cidr, hostCidr, interfaceName, list, macAddress, text } from '../field.ts'
import { calicoKind, type DeepReadonly } from '../kind.ts'
import { calicoHead, type Metadata, sortedByKey } from '../metadata.ts'
import { NAMESPACE_LABEL } from './network-set.ts'

export const portProtocol = () =>
  z
    .union([z.string(), z.number()])
    .transform(value => (typeof value === 'string' ? value.toUpperCase() : value))
    .pipe(z.union([z.enum(['TCP', 'UDP', 'SCTP']), z.literal([6, 17, 132])]))

const endpointPort = z.strictObject({
  name: text(),
  protocol: portProtocol(),
  port: z.int().min(1).max(65535),
  hostPort: z.int().min(0).max(65535).default(0),
  hostIP: z.string().default(''),
})

const plain = z.strictObject({
  ...calicoHead('WorkloadEndpoint'),
  spec: z
    .strictObject({
      orchestrator: text(),
      workload: text(),
      node: text(),
      containerID: text(),
      pod: text(),
      endpoint: text(),
      serviceAccountName: text(),
      ipNetworks: list(hostCidr()),
      ipNATs: list(z.strictObject({ internalIP: address(), externalIP: address() })),
      ipv4Gateway: address().optional(),
      ipv6Gateway: address().optional(),
      /** Names of profiles, in the order in which they are judged and lend their labels. */
      profiles: list(z.string()),
      interfaceName: interfaceName(),
      mac: macAddress(),
      ports: list(endpointPort),
      allowSpoofedSourcePrefixes: list(cidr()),
      qosControls: z.looseObject({}).optional(),
    })
    .prefault({}),
})

export const ORCHESTRATOR_LABEL = 'projectcalico.org/orchestrator'
export const SERVICE_ACCOUNT_LABEL = 'projectcalico.org/serviceaccount'

type Place = {
  readonly namespace?: string | undefined
  readonly orchestrator?: string | undefined
  readonly serviceAccountName?: string | undefined
}

/** The labels by which policies know where an endpoint belongs. A service account's name must be short to be one. */
export function impliedLabels({
  namespace,
  orchestrator,
  serviceAccountName,
}: Place): Readonly<Record<string, string>> {
  return {
    ...(namespace ? { [NAMESPACE_LABEL]: namespace } : {}),
    ...(orchestrator ? { [ORCHESTRATOR_LABEL]: orchestrator } : {}),
    ...(serviceAccountName && serviceAccountName.length < 63 ? { [SERVICE_ACCOUNT_LABEL]: serviceAccountName } : {}),
  }
}

const schema = plain.transform(endpoint => {
  const { namespace, labels } = endpoint.metadata
  const all = { ...labels, ...impliedLabels({ namespace, ...endpoint.spec }) }
  const metadata: Metadata = { ...endpoint.metadata, labels: sortedByKey(all) }
  return { ...endpoint, metadata }
})

export type WorkloadEndpointSpec = DeepReadonly<z.output<typeof schema>>['spec']

type Field = keyof WorkloadEndpointSpec
const IDENTIFIERS: ReadonlyMap<string, readonly Field[]> = new Map([
  ['k8s', ['node', 'orchestrator', 'pod', 'endpoint']],
  ['cni', ['node', 'orchestrator', 'containerID', 'endpoint']],
  ['libnetwork', ['node', 'orchestrator', 'endpoint']],
])
const OTHER: readonly Field[] = ['node', 'orchestrator', 'workload', 'endpoint']

/** `<node>-<orchestrator>-<workload>-<endpoint>`, dashes inside a part doubled; `undefined` while a part is missing. */
export function endpointName(spec: WorkloadEndpointSpec): string | undefined {
  const parts = identifiers(spec).map(field => spec[field] as string | undefined)
  if (parts.some(part => !part)) return undefined
  if (spec.orchestrator === 'libnetwork') parts.splice(2, 0, 'libnetwork')
  return parts.map(part => part!.replaceAll('-', '--')).join('-')
}

const identifiers = (spec: WorkloadEndpointSpec): readonly Field[] => IDENTIFIERS.get(spec.orchestrator ?? '') ?? OTHER

function checkIdentifiers(name: string, spec: WorkloadEndpointSpec): Problem[] {
  const problems: Problem[] = []
  for (const field of identifiers(spec)) {
    const part = spec[field] as string | undefined
    if (!part) problems.push({ path: `spec.${field}`, message: 'is required' })
    else if (/^-|-$/.test(part))
      problems.push({ path: `spec.${field}`, message: 'cannot begin or end with -', value: part })
  }
  const expected = endpointName(spec)
  if (expected !== undefined && expected !== name) {
    const message = 'does not match the identifiers in spec'
    problems.push({ path: 'metadata.name', message, fix: `the name must be ${expected}`, value: name })
  }
  return problems
}

export const workloadEndpoint = calicoKind({
  kind: 'WorkloadEndpoint',
  plural: 'workloadendpoints',
  namespaced: true,
  aliases: ['wep', 'weps'],
  schema,
  check: ({ metadata, spec }) => {
    const problems = checkIdentifiers(metadata.name, spec)
    if (!spec.interfaceName) problems.push({ path: 'spec.interfaceName', message: 'is required' })
    const own = new Set((spec.ipNetworks ?? []).map(prefixBase))
    spec.ipNATs?.forEach(({ internalIP, externalIP }, index) => {
      const path = `spec.ipNATs[${index}]`
      if (familyOf(internalIP) !== familyOf(externalIP))
        problems.push({ path, message: 'holds addresses of two families' })
      if (!own.has(internalIP))
        problems.push({ path: `${path}.internalIP`, message: 'is not in ipNetworks', value: internalIP })
    })
    spec.ports?.forEach((port, index) => {
      if (!port.name && port.hostPort === 0)
        problems.push({ path: `spec.ports[${index}].name`, message: 'is required without a hostPort' })
    })
    return problems
  },
})
