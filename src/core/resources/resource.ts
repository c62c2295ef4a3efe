// Every kind, and the way from an unknown document to a typed resource: schema, then the rules between fields, with the
// defaults filled in. A resource in memory is always valid; what is not is a list of problems.
import type { z } from 'zod'
import { failed, ok, type Problem, type Result } from '../base/problem.ts'
import { type ResourceKey, resourceKey } from './cause.ts'
import { describeIssues } from './issues.ts'
import type { DeepReadonly, KindDefinition, KindInfo } from './kind.ts'
import { bgpConfiguration, bgpPeer } from './kinds/bgp.ts'
import { kubernetesClusterNetworkPolicy } from './kinds/cluster-network-policy.ts'
import { clusterInformation, ipamConfiguration } from './kinds/configuration.ts'
import { felixConfiguration } from './kinds/felix-configuration.ts'
import { hostEndpoint } from './kinds/host-endpoint.ts'
import { ipPool } from './kinds/ip-pool.ts'
import { ipReservation } from './kinds/ip-reservation.ts'
import { namespace, pod, serviceAccount } from './kinds/kubernetes.ts'
import { kubernetesNetworkPolicy } from './kinds/kubernetes-policy.ts'
import { globalNetworkPolicy, networkPolicy } from './kinds/network-policy.ts'
import { globalNetworkSet, networkSet } from './kinds/network-set.ts'
import { node } from './kinds/node.ts'
import { profile } from './kinds/profile.ts'
import { endpointSlice, service } from './kinds/service.ts'
import { stagedGlobalNetworkPolicy, stagedKubernetesNetworkPolicy, stagedNetworkPolicy } from './kinds/staged-policy.ts'
import { tier } from './kinds/tier.ts'
import { workloadEndpoint } from './kinds/workload-endpoint.ts'
import { checkAnnotations, checkLabels, checkName, isDnsLabel } from './metadata.ts'
import { nearest } from './nearest.ts'

const DEFINITIONS = {
  NetworkPolicy: networkPolicy,
  GlobalNetworkPolicy: globalNetworkPolicy,
  StagedNetworkPolicy: stagedNetworkPolicy,
  StagedGlobalNetworkPolicy: stagedGlobalNetworkPolicy,
  StagedKubernetesNetworkPolicy: stagedKubernetesNetworkPolicy,
  Tier: tier,
  NetworkSet: networkSet,
  GlobalNetworkSet: globalNetworkSet,
  Profile: profile,
  IPPool: ipPool,
  IPReservation: ipReservation,
  IPAMConfiguration: ipamConfiguration,
  Node: node,
  WorkloadEndpoint: workloadEndpoint,
  HostEndpoint: hostEndpoint,
  BGPConfiguration: bgpConfiguration,
  BGPPeer: bgpPeer,
  FelixConfiguration: felixConfiguration,
  ClusterInformation: clusterInformation,
  Namespace: namespace,
  ServiceAccount: serviceAccount,
  Pod: pod,
  Service: service,
  EndpointSlice: endpointSlice,
  KubernetesNetworkPolicy: kubernetesNetworkPolicy,
  KubernetesClusterNetworkPolicy: kubernetesClusterNetworkPolicy,
} as const

export type Kind = keyof typeof DEFINITIONS
export type ResourceOf<K extends Kind> = DeepReadonly<z.output<(typeof DEFINITIONS)[K]['schema']>>
export type Resource = { [K in Kind]: ResourceOf<K> }[Kind]

export type NetworkPolicy = ResourceOf<'NetworkPolicy'>
export type GlobalNetworkPolicy = ResourceOf<'GlobalNetworkPolicy'>
export type StagedNetworkPolicy = ResourceOf<'StagedNetworkPolicy'>
export type StagedKubernetesNetworkPolicy = ResourceOf<'StagedKubernetesNetworkPolicy'>
export type StagedGlobalNetworkPolicy = ResourceOf<'StagedGlobalNetworkPolicy'>
export type Tier = ResourceOf<'Tier'>
export type NetworkSet = ResourceOf<'NetworkSet'>
export type GlobalNetworkSet = ResourceOf<'GlobalNetworkSet'>
export type Profile = ResourceOf<'Profile'>
export type IPPool = ResourceOf<'IPPool'>
export type IPReservation = ResourceOf<'IPReservation'>
export type IPAMConfiguration = ResourceOf<'IPAMConfiguration'>
export type Node = ResourceOf<'Node'>
export type WorkloadEndpoint = ResourceOf<'WorkloadEndpoint'>
export type HostEndpoint = ResourceOf<'HostEndpoint'>
export type BGPConfiguration = ResourceOf<'BGPConfiguration'>
export type BGPPeer = ResourceOf<'BGPPeer'>
export type FelixConfiguration = ResourceOf<'FelixConfiguration'>
export type ClusterInformation = ResourceOf<'ClusterInformation'>
export type Namespace = ResourceOf<'Namespace'>
export type ServiceAccount = ResourceOf<'ServiceAccount'>
export type Pod = ResourceOf<'Pod'>
export type Service = ResourceOf<'Service'>
export type EndpointSlice = ResourceOf<'EndpointSlice'>
export type KubernetesNetworkPolicy = ResourceOf<'KubernetesNetworkPolicy'>
export type KubernetesClusterNetworkPolicy = ResourceOf<'KubernetesClusterNetworkPolicy'>

export type PolicyRule = NonNullable<GlobalNetworkPolicy['spec']['ingress']>[number]
export type EntityRule = NonNullable<PolicyRule['source']>
export type EndpointPort = NonNullable<WorkloadEndpoint['spec']['ports']>[number]
/** A port by which rules may name it, of a workload or a host. */
export type NamedPort = Pick<EndpointPort, 'name' | 'protocol' | 'port'>

/** The policies of Calico that have a tier; the staged ones are judged and never enforced. */
export type TieredPolicy = NetworkPolicy | GlobalNetworkPolicy | StagedNetworkPolicy | StagedGlobalNetworkPolicy
export const TIERED_KINDS = [
  'NetworkPolicy',
  'GlobalNetworkPolicy',
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
] as const satisfies readonly Kind[]
export const isTieredPolicy = (resource: Resource): resource is TieredPolicy =>
  TIERED_KINDS.some(kind => kind === resource.kind)

/** All resources at one moment. */
export type Snapshot = ReadonlyMap<ResourceKey, Resource>

export const KINDS: Readonly<Record<Kind, KindInfo>> = DEFINITIONS
export const KIND_NAMES = Object.keys(DEFINITIONS) as readonly Kind[]

const definition = (kind: Kind): KindDefinition<z.ZodType> => DEFINITIONS[kind] as KindDefinition<z.ZodType>

/** The kind as documents name it, `NetworkPolicy` also for Kubernetes' own. */
export const documentKind = (kind: Kind): string => KINDS[kind].documentKind ?? kind

/** The kind of a document, which need not be valid; `undefined` if no kind has its name and version. */
export function kindOfDocument({ kind, apiVersion }: Fields): Kind | undefined {
  const named = kindsNamed(kind)
  return named.find(name => KINDS[name].apiVersion === apiVersion) ?? (apiVersion === undefined ? named[0] : undefined)
}

/** Those that documents call so, Calico's before Kubernetes'. */
const kindsNamed = (name: unknown): Kind[] => KIND_NAMES.filter(kind => kind === name || documentKind(kind) === name)

/** A resource as people write it, with the kind that documents have. */
export const documentOf = (resource: Resource): object => ({ ...resource, kind: documentKind(resource.kind) })

/** The schema of a kind, for generated documents. */
export const schemaOf = (kind: Kind): z.ZodType => definition(kind).schema

/** The kind that a person means by `gnp`, `tiers` or `IPPool`; case does not matter. */
export function findKind(name: string): Kind | undefined {
  const wanted = name.toLowerCase()
  return KIND_NAMES.find(kind => {
    const { plural, aliases } = KINDS[kind]
    return kind.toLowerCase() === wanted || plural === wanted || aliases.includes(wanted)
  })
}

export const keyOf = (resource: Resource): ResourceKey =>
  resourceKey(resource.kind, resource.metadata.namespace, resource.metadata.name)

/** The resources of one kind, in the snapshot's order. */
export function* ofKind<K extends Kind>(snapshot: Snapshot, kind: K): Iterable<ResourceOf<K>> {
  for (const resource of snapshot.values()) if (resource.kind === kind) yield resource as ResourceOf<K>
}

/** One resource of a kind; `namespace` for namespaced kinds. */
export const find = <K extends Kind>(
  snapshot: Snapshot,
  kind: K,
  { name, namespace }: { readonly name: string; readonly namespace?: string },
): ResourceOf<K> | undefined => snapshot.get(resourceKey(kind, namespace, name)) as ResourceOf<K> | undefined

export const snapshotOf = (resources: Iterable<Resource>): Snapshot =>
  new Map([...resources].map(resource => [keyOf(resource), resource]))

/** Kinds that are known by name only: a near name would mislead whoever asks for one of them. */
const NOT_YET: readonly string[] = [
  ...['BGPFilter'],
  ...['KubeControllersConfiguration', 'CalicoNodeStatus', 'IPAMBlock', 'IPAMHandle', 'BlockAffinity'],
  ...['Endpoints', 'Secret', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'],
]

/** Kinds of Kubernetes that share their name with one of Calico's: rewriting the apiVersion would make nonsense of them. */
const KUBERNETES_OWN: { readonly [kind in Kind]?: { readonly apiVersion: RegExp; readonly fix: string } } = {
  Node: { apiVersion: /^v1$/, fix: 'describe the node in a Node of projectcalico.org/v3' },
}

/** The API server has judged their metadata. */
const JUDGED_ELSEWHERE: readonly string[] = ['v1', 'discovery.k8s.io/v1']

export type DecodeOptions = {
  /** Given to namespaced resources that name no namespace; without it that is a problem. */
  readonly defaultNamespace?: string
  /** The document comes from a datastore, where others may write: some kinds are then judged more tolerantly. */
  readonly stored?: boolean
}

type Fields = { readonly [key: string]: unknown }
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A document as a resource with its defaults applied, or everything that is wrong with it. Never throws. */
export function decodeResource(document: unknown, options: DecodeOptions = {}): Result<Resource> {
  if (!isFields(document)) return failed({ path: '', message: 'a resource is a map with kind, metadata and spec' })
  const unknownKind = checkKind(document)
  if (unknownKind) return failed(unknownKind)
  const { schema: tolerant, nameRule, singleton, check, written, ...info } = definition(kindOfDocument(document)!)
  const asWritten = options.stored ? undefined : written
  const schema = asWritten?.schema ?? tolerant
  const input = withNamespace(dropNulls(document) as Fields, info, options)
  const parsed = schema.safeParse(input)
  if (!parsed.success) return failed(...describeIssues(parsed.error.issues, { schema, input }))
  const resource = dropUndefined(parsed.data) as Resource
  const { metadata } = resource
  const problems = [...checkNamespace(resource, info), ...checkName(metadata.name, nameRule)]
  if (!JUDGED_ELSEWHERE.includes(info.apiVersion)) {
    problems.push(...checkLabels(metadata.labels, 'metadata.labels'))
    problems.push(...checkAnnotations(metadata.annotations, 'metadata.annotations'))
  }
  if (singleton !== undefined && metadata.name !== singleton && metadata.name !== '') {
    const message = `there is one ${info.kind} only, named ${singleton}`
    problems.push({ path: 'metadata.name', message, fix: `name it ${singleton}`, value: metadata.name })
  }
  problems.push(...(check?.(resource) ?? []), ...(asWritten?.check(resource) ?? []))
  return problems.length > 0 ? failed(...problems) : ok(resource)
}

/** What is wrong with the kind and apiVersion of a document, which need not be valid otherwise. */
export function checkKind(document: Fields): Problem | undefined {
  const { kind, apiVersion } = document
  if (typeof kind !== 'string') return { path: 'kind', message: kind === undefined ? 'is required' : 'must be a text' }
  const named = kindsNamed(kind)
  const [first] = named
  if (first === undefined) {
    if (NOT_YET.includes(kind)) return { path: 'kind', message: `${kind} is not supported yet`, value: kind }
    const fix = nearest(kind, KIND_NAMES.map(documentKind))
    return { path: 'kind', message: `unknown resource type ${kind}`, value: kind, ...(fix ? { fix } : {}) }
  }
  if (named.some(known => KINDS[known].apiVersion === apiVersion)) return undefined
  const path = 'apiVersion'
  const fix = `write apiVersion: ${named.map(known => KINDS[known].apiVersion).join(' or ')}`
  if (typeof apiVersion !== 'string') return { path, message: 'is required', fix }
  const own = KUBERNETES_OWN[first]
  if (own?.apiVersion.test(apiVersion)) {
    return { path, message: `Kubernetes' own ${kind} (${apiVersion}) is not supported yet`, fix: own.fix }
  }
  const message = `unknown version ${apiVersion} of ${kind}`
  return { path, message, fix, value: apiVersion }
}

function withNamespace(
  document: Fields,
  info: Pick<KindInfo, 'namespaced'>,
  { defaultNamespace }: DecodeOptions,
): Fields {
  const metadata = document.metadata
  if (!info.namespaced || defaultNamespace === undefined || !isFields(metadata) || metadata.namespace) return document
  return { ...document, metadata: { ...metadata, namespace: defaultNamespace } }
}

function checkNamespace(
  { metadata: { namespace } }: Resource,
  { kind, namespaced }: Pick<KindInfo, 'kind' | 'namespaced'>,
): Problem[] {
  const path = 'metadata.namespace'
  if (namespaced && !namespace) return [{ path, message: `is required: ${kind} is namespaced` }]
  if (!namespaced && namespace) {
    return [{ path, message: `${kind} is not namespaced`, fix: 'remove it', value: namespace }]
  }
  return namespace && !isDnsLabel(namespace)
    ? [
        {
          path,
          message: 'a namespace consists of lower-case letters, digits and -, at most 63 characters',
          value: namespace,
        },
      ]
    : []
}

/** Null means absent everywhere, as in Go's JSON; inside lists it stays and is judged. */
function dropNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(entry => (entry === null ? null : dropNulls(entry)))
  if (!isFields(value)) return value
  const kept = Object.entries(value).filter(([, entry]) => entry !== null && entry !== undefined)
  return Object.fromEntries(kept.map(([key, entry]) => [key, dropNulls(entry)]))
}

function dropUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropUndefined)
  if (!isFields(value)) return value
  const kept = Object.entries(value).filter(([, entry]) => entry !== undefined)
  return Object.fromEntries(kept.map(([key, entry]) => [key, dropUndefined(entry)]))
}
