// The reference calculation: everything from the resources, every time, plain and slow. The incremental one is judged by
// it. Input is the derived snapshot: pods have become endpoints, namespaces and service accounts profiles.

import type { Addr } from '../net/addr.ts'
import { type Prefix, parsePrefix, prefixBase } from '../net/prefix.ts'
import { policiesOf } from '../policy/policies.ts'
import { endpointLabels, networkSetLabels, type ProfileLookup } from '../resources/derive.ts'
import { find, keyOf, ofKind, type Snapshot, type WorkloadEndpoint } from '../resources/resource.ts'
import { guardOf } from './guard.ts'
import type { Intent, LocalEndpoint } from './intent.ts'
import { nodeFacts } from './node-facts.ts'
import { SliceIndex, sliceMembers } from './services.ts'
import { type Labelled, SetCollector } from './sets.ts'

type Endpoint = { readonly resource: WorkloadEndpoint; readonly labelled: Labelled & { profiles: readonly string[] } }

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

export function computeIntent(snapshot: Snapshot, node: string): Intent {
  const profile: ProfileLookup = name => find(snapshot, 'Profile', { name })
  const policies = policiesOf(snapshot)
  const endpoints = endpointsOf(snapshot, profile)
  const slices = new SliceIndex()
  for (const slice of ofKind(snapshot, 'EndpointSlice')) slices.set(keyOf(slice), sliceMembers(slice))
  const sets = new SetCollector([...endpoints.map(e => e.labelled), ...networkSetsOf(snapshot, profile)], slices)
  const local: LocalEndpoint[] = []
  for (const { resource, labelled } of endpoints) {
    const { spec, metadata } = resource
    if (spec.node !== node || !spec.interfaceName || labelled.addresses.length === 0) continue
    local.push({
      key: keyOf(resource),
      name: `${metadata.namespace}/${spec.pod ?? spec.workload ?? metadata.name}`,
      interfaceName: spec.interfaceName,
      addresses: labelled.addresses,
      guards: {
        ingress: guardOf(policies, labelled, { direction: 'ingress', sets }),
        egress: guardOf(policies, labelled, { direction: 'egress', sets }),
      },
    })
  }
  local.sort((a, b) => (a.key < b.key ? -1 : 1))
  return {
    node,
    ...nodeFacts(snapshot, node),
    endpoints: local,
    sets: sets.sets,
    problems: policies.problems,
  }
}
