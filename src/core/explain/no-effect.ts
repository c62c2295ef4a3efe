// Settings that are accepted and change nothing yet, kind by kind, as tables. What would open something or cut somebody off
// is not here: it is refused (resources/unsupported.ts). A test holds the tables against the code that uses the settings.
import type { Problem } from '../base/problem.ts'
import {
  type BGPConfiguration,
  type BGPPeer,
  decodeResource,
  type FelixConfiguration,
  type Pod,
  type Resource,
} from '../resources/resource.ts'

const NOTHING = 'accepted, and without effect yet'
const NO_NETWORK = 'not supported yet: the pod gets no network before they are removed'

/** Those that are used (calc/node-facts.ts); all others are not. */
export const FELIX_USED = [
  'interfacePrefix',
  'defaultEndpointToHostAction',
  'disableConntrackInvalidCheck',
  'logPrefix',
  'logActionRateLimit',
  'logActionRateLimitBurst',
  'nftablesFilterDenyAction',
  'iptablesFilterDenyAction',
  'failsafeInboundHostPorts',
  'failsafeOutboundHostPorts',
  'allowVXLANPacketsFromWorkloads',
  'allowIPIPPacketsFromWorkloads',
  'vxlanPort',
  'workloadSourceSpoofing',
  'interfaceExclude',
  'iptablesNATOutgoingInterfaceFilter',
  'natOutgoingExclusions',
  'natOutgoingAddress',
  'natPortRange',
  'nodeSelector',
] as const satisfies readonly (keyof FelixConfiguration['spec'])[]

/** The few that are not used; all others are (bird/). */
export const BGP_UNUSED = [
  'serviceClusterIPs',
  'serviceExternalIPs',
  'serviceLoadBalancerIPs',
  'serviceLoadBalancerAggregation',
  'communities',
  'prefixAdvertisements',
  'localWorkloadPeeringIPV4',
  'localWorkloadPeeringIPV6',
] as const satisfies readonly (keyof BGPConfiguration['spec'])[]

/** How annotations of pods begin, by what becomes of a pod that has one (cni/pod-wishes.ts refuses some). */
const POD_ANNOTATIONS: readonly (readonly [effect: string, begins: readonly string[]])[] = [
  [NOTHING, ['qos.projectcalico.org/']],
  [NO_NETWORK, ['cni.projectcalico.org/floatingIPs']],
]

/** What is written in a resource and has no effect yet: one line for each effect, with the names. */
export function withoutEffect(resource: Resource): Problem[] {
  switch (resource.kind) {
    case 'FelixConfiguration':
      return line('spec', NOTHING, unusedOf(resource, isUsedOfFelix))
    case 'BGPConfiguration':
      return [
        ...line(
          'spec',
          NOTHING,
          unusedOf(resource, field => !BGP_UNUSED.some(unused => unused === field)),
        ),
        ...optionalPassword('spec.nodeMeshPassword', resource.spec.nodeMeshPassword),
      ]
    case 'BGPPeer':
      return optionalPassword('spec.password', resource.spec.password)
    case 'Pod':
      return annotations(resource)
    default:
      return []
  }
}

function line(path: string, effect: string, names: readonly string[]): Problem[] {
  return names.length === 0 ? [] : [{ path, message: `${effect}: ${names.join(', ')}` }]
}

const isUsedOfFelix = (field: string): boolean => FELIX_USED.some(used => used === field)

/** The fields of `spec` that are not used, by name, without those that say what is the default anyway. */
function unusedOf(resource: FelixConfiguration | BGPConfiguration, isUsed: (field: string) => boolean): string[] {
  const { kind, apiVersion, spec } = resource
  const empty = decodeResource({ kind, apiVersion, metadata: { name: 'default' } })
  const defaults: Readonly<Record<string, unknown>> = empty.ok ? { ...(empty.value as typeof resource).spec } : {}
  return Object.entries(spec)
    .filter(([field, value]) => !isUsed(field) && value !== defaults[field])
    .map(([field]) => field)
    .sort()
}

function optionalPassword(path: string, password: BGPPeer['spec']['password']): Problem[] {
  if (password?.secretKeyRef?.optional !== true) return []
  return [{ path, message: 'Secrets are not supported yet: the session goes without its optional password' }]
}

function annotations({ metadata }: Pod): Problem[] {
  const given = Object.entries(metadata.annotations ?? {}).flatMap(([key, value]) => (value.trim() === '' ? [] : [key]))
  return POD_ANNOTATIONS.flatMap(([effect, begins]) =>
    line(
      'metadata.annotations',
      effect,
      given.filter(key => begins.some(begin => key.startsWith(begin))),
    ),
  )
}
