// The reference calculation: everything from the resources, every time, plain and slow. The incremental one is judged by
// it. Input is the derived snapshot: pods have become endpoints, namespaces and service accounts profiles.

import type { Addr } from '../net/addr.ts'
import { type Prefix, parsePrefix, prefixBase } from '../net/prefix.ts'
import { policiesOf } from '../policy/policies.ts'
import { type Direction, HOST_LEGS } from '../resources/cause.ts'
import { endpointLabels, networkSetLabels, type ProfileLookup } from '../resources/derive.ts'
import { find, type HostEndpoint, keyOf, ofKind, type Snapshot, type WorkloadEndpoint } from '../resources/resource.ts'
import { CANARIES, CANARY_PROFILE } from './canary.ts'
import { guardOf, hostGuardOf } from './guard.ts'
import { guardedInterfaces, hasHook, type Interfaces } from './host-interfaces.ts'
import type { Guard, HostInterface, Intent, LocalEndpoint } from './intent.ts'
import { nodeFacts } from './node-facts.ts'
import { SliceIndex, sliceMembers } from './services.ts'
import { type Labelled, SetCollector } from './sets.ts'

type Profiled = Labelled & { readonly profiles: readonly string[] }
type Endpoint = { readonly resource: WorkloadEndpoint; readonly labelled: Profiled }

const addressesOf = (wep: WorkloadEndpoint): Addr[] =>
  (wep.spec.ipNetworks ?? []).flatMap(net => {
    const prefix = parsePrefix(net)
    return prefix ? [prefixBase(prefix)] : []
  })

function endpointsOf(snapshot: Snapshot, profile: ProfileLookup): Endpoint[] {
  return [...ofKind(snapshot, 'WorkloadEndpoint')].map(resource => ({
    resource,
    labelled: {
      labels: endpointLabels(resource, profile),
      addresses: addressesOf(resource),
      prefixes: [],
      ports: resource.spec.ports ?? [],
      profiles: resource.spec.profiles ?? [],
    },
  }))
}

const hostMember = (resource: HostEndpoint, profile: ProfileLookup): Profiled => ({
  labels: endpointLabels(resource, profile),
  addresses: resource.spec.expectedIPs ?? [],
  prefixes: [],
  ports: resource.spec.ports ?? [],
  profiles: resource.spec.profiles ?? [],
})

function networkSetsOf(snapshot: Snapshot, profile: ProfileLookup): Labelled[] {
  const member = (labels: Labelled['labels'], nets: readonly string[] | undefined): Labelled => ({
    labels,
    addresses: [],
    prefixes: prefixesOf(nets ?? []),
    ports: [],
  })
  return [
    ...[...ofKind(snapshot, 'GlobalNetworkSet')].map(s => member(s.metadata.labels ?? {}, s.spec.nets)),
    ...[...ofKind(snapshot, 'NetworkSet')].map(s => member(networkSetLabels(s, profile), s.spec.nets)),
  ]
}

const prefixesOf = (texts: readonly string[]): Prefix[] => texts.flatMap(text => parsePrefix(text) ?? [])

/** The canary's endpoints, as if they had a profile that is not among the resources. */
function canaries(sets: SetCollector): LocalEndpoint[] {
  const policies = { tiers: [], problems: [], profiles: new Map([[CANARY_PROFILE.name, CANARY_PROFILE]]) }
  return CANARIES.map(canary => {
    const profiles = [CANARY_PROFILE.name]
    const self = { labels: {}, addresses: canary.addresses, prefixes: [], ports: [], profiles }
    const guard = (direction: Direction): Guard => guardOf(policies, self, { direction, sets })
    return { ...canary, guards: { ingress: guard('ingress'), egress: guard('egress') } }
  })
}

/** `interfaces`: of the node, by which host endpoints find theirs. `canary`: whether it has one. */
export function computeIntent(
  snapshot: Snapshot,
  node: string,
  interfaces: Interfaces = new Map(),
  { canary = false } = {},
): Intent {
  const profile: ProfileLookup = name => find(snapshot, 'Profile', { name })
  const policies = policiesOf(snapshot)
  const endpoints = endpointsOf(snapshot, profile)
  const slices = new SliceIndex()
  for (const slice of ofKind(snapshot, 'EndpointSlice')) slices.set(keyOf(slice), sliceMembers(slice))
  const hosts = new Map([...ofKind(snapshot, 'HostEndpoint')].map(h => [h, hostMember(h, profile)]))
  const members = [...endpoints.map(e => e.labelled), ...hosts.values(), ...networkSetsOf(snapshot, profile)]
  const sets = new SetCollector(members, slices)
  const facts = nodeFacts(snapshot, node)
  const local: LocalEndpoint[] = []
  for (const { resource, labelled } of endpoints) {
    const { spec, metadata } = resource
    if (spec.node !== node || !spec.interfaceName || labelled.addresses.length === 0) continue
    local.push({
      key: keyOf(resource),
      name: `${metadata.namespace}/${spec.pod ?? spec.workload ?? metadata.name}`,
      interfaceName: spec.interfaceName,
      addresses: labelled.addresses,
      spoofable: spec.allowSpoofedSourcePrefixes ?? [],
      guards: {
        ingress: guardOf(policies, labelled, { direction: 'ingress', sets }),
        egress: guardOf(policies, labelled, { direction: 'egress', sets }),
      },
    })
  }
  if (canary) local.push(...canaries(sets))
  local.sort((a, b) => (a.key < b.key ? -1 : 1))
  const guarded = guardedInterfaces(hosts.keys(), { node, interfaces, settings: facts.settings })
  const hostInterfaces = [...guarded].map(([interfaceName, host]): HostInterface => {
    const legs = HOST_LEGS.filter(({ hook }) => hasHook(interfaceName, hook))
    const guards = legs.flatMap(leg => hostGuardOf(policies, hosts.get(host)!, { leg, sets }) ?? [])
    return { interfaceName, key: keyOf(host), name: host.metadata.name, guards }
  })
  return {
    node,
    ...facts,
    endpoints: local,
    hostInterfaces,
    sets: sets.sets,
    problems: policies.problems,
  }
}
