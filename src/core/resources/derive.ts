// Kubernetes objects as Calico sees them: a Pod is a WorkloadEndpoint, a Namespace and a ServiceAccount are Profiles that
// lend their labels (prefixed `pcns.` and `pcsa.`). The same code serves the embedded datastore and a real API server.
import { sha1Hex } from '../base/hash.ts'
import { hostPrefix, type Prefix, parsePrefix, prefixBase } from '../net/prefix.ts'
import type { Labels } from '../selector/match.ts'
import { NAMESPACE_LABEL } from './kinds/network-set.ts'
import { DEFAULT_ALLOW } from './kinds/profile.ts'
import { endpointName, impliedLabels } from './kinds/workload-endpoint.ts'
import { sortedByKey } from './metadata.ts'
import {
  type EndpointPort,
  type HostEndpoint,
  keyOf,
  type Namespace,
  type NetworkSet,
  type Pod,
  type Profile,
  type Resource,
  type ServiceAccount,
  type Snapshot,
  type WorkloadEndpoint,
} from './resource.ts'

const POD_IP = 'cni.projectcalico.org/podIP'
const POD_IPS = 'cni.projectcalico.org/podIPs'
const AWS_POD_IPS = 'vpc.amazonaws.com/pod-ips'
const CONTAINER_ID = 'cni.projectcalico.org/containerID'
const SOURCE_PREFIXES = 'cni.projectcalico.org/allowedSourcePrefixes'
const NAME_KEY = 'projectcalico.org/name'

/** What a derived resource keeps of its source's metadata, so that it can be traced back and shown with its age. */
const origin = ({ uid, resourceVersion, creationTimestamp }: Pod['metadata']) => ({
  ...(uid === undefined ? {} : { uid }),
  ...(resourceVersion === undefined ? {} : { resourceVersion }),
  ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
})

/** Name of the host's end of a pod's interface: the prefix and 11 hex digits. */
export const interfaceName = (namespace: string, name: string, prefix = 'cali'): string =>
  prefix + sha1Hex(`${namespace}.${name}`).slice(0, 11)

/** A pod that will not speak again: its addresses may already belong to another. */
function isFinished(pod: Pod): boolean {
  const { deletionTimestamp, annotations } = pod.metadata
  if (['Failed', 'Succeeded', 'Completed'].includes(pod.status?.phase ?? '')) return true
  // The CNI plugin empties the annotation when it tears the pod down, before the kubelet updates the status.
  return deletionTimestamp !== undefined && (annotations?.[POD_IP] === '' || annotations?.[AWS_POD_IPS] === '')
}

/** The pod's addresses, each as a prefix of full length, from the first source that has any. */
export function podNetworks(pod: Pod): Prefix[] {
  const { annotations } = pod.metadata
  const sources: readonly (readonly (string | undefined)[])[] = [
    pod.status?.podIPs?.map(({ ip }) => ip) ?? [],
    [pod.status?.podIP],
    annotations?.[POD_IPS]?.split(',') ?? [],
    [annotations?.[POD_IP]],
    annotations?.[AWS_POD_IPS]?.split(',') ?? [],
  ]
  for (const source of sources) {
    const found = source.flatMap(text => parsePrefix(text?.trim() ?? '') ?? [])
    if (found.length > 0) return found.map(prefix => hostPrefix(prefixBase(prefix)))
  }
  return []
}

const PORT_PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const

function podPorts(pod: Pod): EndpointPort[] {
  const ports: EndpointPort[] = []
  for (const container of [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])]) {
    for (const { name, containerPort, hostPort = 0, hostIP = '', protocol: text } of container.ports ?? []) {
      const protocol = PORT_PROTOCOLS.find(known => known === (text || 'TCP').toUpperCase())
      if (protocol === undefined || !(name || hostPort)) continue
      ports.push({ ...(name ? { name } : {}), protocol, port: containerPort, hostPort, hostIP })
    }
  }
  return ports
}

/** What a pod may send from besides its own addresses; a list that cannot be read allows nothing. */
function sourcePrefixes(text: string | undefined): Prefix[] {
  try {
    const list: unknown = JSON.parse(text || '[]')
    return Array.isArray(list) ? list.flatMap(entry => parsePrefix(String(entry)) ?? []) : []
  } catch {
    return []
  }
}

export type DeriveOptions = {
  /** First part of interface names, `cali` unless configured. */
  readonly interfacePrefix?: string
}

/**
 * The endpoint of a pod; `undefined` for pods of the host's network, unscheduled ones, and those that have no address
 * yet. A finished pod is an endpoint without addresses.
 */
export function podToEndpoint(
  pod: Pod,
  { interfacePrefix = 'cali' }: DeriveOptions = {},
): WorkloadEndpoint | undefined {
  const { name, namespace = 'default', labels, annotations } = pod.metadata
  const { nodeName: node, hostNetwork, serviceAccountName } = pod.spec
  if (hostNetwork || !node) return undefined
  const finished = isFinished(pod)
  const ipNetworks = finished ? [] : podNetworks(pod)
  if (!finished && ipNetworks.length === 0) return undefined
  const containerID = annotations?.[CONTAINER_ID]
  const ports = podPorts(pod)
  const allowSpoofedSourcePrefixes = sourcePrefixes(annotations?.[SOURCE_PREFIXES])
  const identity = { orchestrator: 'k8s', node, pod: name, endpoint: 'eth0' }
  const all = sortedByKey({ ...labels, ...impliedLabels({ namespace, orchestrator: 'k8s', serviceAccountName }) })
  return {
    kind: 'WorkloadEndpoint',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name: endpointName(identity)!, namespace, ...origin(pod.metadata), ...(all ? { labels: all } : {}) },
    spec: {
      ...identity,
      ...(containerID ? { containerID } : {}),
      ...(serviceAccountName ? { serviceAccountName } : {}),
      ...(ipNetworks.length > 0 ? { ipNetworks } : {}),
      profiles: [`kns.${namespace}`, ...(serviceAccountName ? [`ksa.${namespace}.${serviceAccountName}`] : [])],
      interfaceName: interfaceName(namespace, name, interfacePrefix),
      ...(ports.length > 0 ? { ports } : {}),
      ...(allowSpoofedSourcePrefixes.length > 0 ? { allowSpoofedSourcePrefixes } : {}),
    },
  }
}

const profileHead = { kind: 'Profile', apiVersion: 'projectcalico.org/v3' } as const

const prefixed = (prefix: string, labels: Labels): Record<string, string> =>
  sortedByKey(Object.fromEntries(Object.entries(labels).map(([key, value]) => [prefix + key, value])))!

/** `kns.<namespace>`: allows everything, and lends the namespace's labels and name. */
export function namespaceToProfile({ metadata }: Namespace): Profile {
  const labelsToApply = prefixed('pcns.', { ...metadata.labels, [NAME_KEY]: metadata.name })
  const allow = [{ action: 'Allow' }] as const
  return {
    ...profileHead,
    metadata: { name: `kns.${metadata.name}`, ...origin(metadata) },
    spec: { ingress: allow, egress: allow, labelsToApply },
  }
}

/** `ksa.<namespace>.<name>`: no rules; lends the service account's labels and name. */
export function serviceAccountToProfile({ metadata }: ServiceAccount): Profile {
  const labelsToApply = prefixed('pcsa.', { ...metadata.labels, [NAME_KEY]: metadata.name })
  const name = `ksa.${metadata.namespace ?? 'default'}.${metadata.name}`
  return { ...profileHead, metadata: { name, ...origin(metadata) }, spec: { labelsToApply } }
}

/** The built-in profile; nothing stores it. */
export const DEFAULT_ALLOW_PROFILE: Profile = {
  ...profileHead,
  metadata: { name: DEFAULT_ALLOW },
  spec: { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] },
}

/** What one resource stands for besides itself. */
export function deriveFrom(resource: Resource, options: DeriveOptions = {}): WorkloadEndpoint | Profile | undefined {
  switch (resource.kind) {
    case 'Pod':
      return podToEndpoint(resource, options)
    case 'Namespace':
      return namespaceToProfile(resource)
    case 'ServiceAccount':
      return serviceAccountToProfile(resource)
    default:
      return undefined
  }
}

/**
 * The snapshot with everything that follows from it. A stored WorkloadEndpoint is kept as it is (its writer knows more
 * than the pod says); profiles of namespaces and service accounts are always those that their objects say.
 */
export function derived(snapshot: Snapshot, options: DeriveOptions = {}): Snapshot {
  const all = new Map(snapshot).set(keyOf(DEFAULT_ALLOW_PROFILE), DEFAULT_ALLOW_PROFILE)
  for (const resource of snapshot.values()) {
    const view = deriveFrom(resource, options)
    if (view === undefined || (view.kind === 'WorkloadEndpoint' && snapshot.has(keyOf(view)))) continue
    all.set(keyOf(view), view)
  }
  return all
}

export type ProfileLookup = (name: string) => Profile | undefined

/** Own labels, then those of the profiles in their order; the first to define a label wins. */
function inherited(own: Labels, profiles: readonly string[], find: ProfileLookup): Labels {
  const labels: Record<string, string> = { ...own }
  for (const name of profiles) {
    for (const [key, value] of Object.entries(find(name)?.spec.labelsToApply ?? {})) {
      if (!Object.hasOwn(labels, key)) labels[key] = value
    }
  }
  return labels
}

/** The labels by which selectors see an endpoint. */
export const endpointLabels = ({ metadata, spec }: WorkloadEndpoint | HostEndpoint, find: ProfileLookup): Labels =>
  inherited(metadata.labels ?? {}, spec.profiles ?? [], find)

/** The labels by which selectors see a NetworkSet: its own, its namespace, and what the namespace lends. */
export function networkSetLabels({ metadata }: NetworkSet, find: ProfileLookup): Labels {
  const namespace = metadata.namespace!
  return inherited({ ...metadata.labels, [NAMESPACE_LABEL]: namespace }, [`kns.${namespace}`], find)
}
