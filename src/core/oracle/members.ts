// What an address belongs to: workload endpoints and network sets. These are what selectors select, by their own labels
// and, behind them, those of their profiles in order (the first definition of a label wins).
import type { Addr } from '../net/addr.ts'
import { hostPrefix, type Prefix, parsePrefix, prefixContains } from '../net/prefix.ts'
import { protocolNumber } from '../net/protocol.ts'
import type { ResourceKey } from '../resources/cause.ts'
import { find, type HostEndpoint, keyOf, ofKind, type Snapshot, type WorkloadEndpoint } from '../resources/resource.ts'
import { type Labels, matches } from '../selector/match.ts'
import { parseSelector } from '../selector/parse.ts'
import type { Selector } from '../selector/selector.ts'

export const NAMESPACE = 'projectcalico.org/namespace'
export const SERVICE_ACCOUNT = 'projectcalico.org/serviceaccount'
const OF_NAMESPACE = 'pcns.'
const OF_SERVICE_ACCOUNT = 'pcsa.'

export type NamedPort = { readonly name: string; readonly port: number; readonly protocol: number }

export type Member = {
  readonly key: ResourceKey
  /** `default/frontend` for a workload, the kind and name for a network set. */
  readonly name: string
  readonly labels: Labels
  readonly ports: readonly NamedPort[]
  readonly nets: readonly Prefix[]
}

export type Endpoint = Member & { readonly profiles: readonly string[] }

/** Own labels, then those that the profiles lend, in order. */
function inherit(resources: Snapshot, own: Labels, profiles: readonly string[]): Labels {
  const layers = profiles.map(name => find(resources, 'Profile', { name })?.spec.labelsToApply ?? {})
  return Object.assign({}, ...layers.reverse(), own) as Labels
}

function endpoint(resources: Snapshot, workload: WorkloadEndpoint): Endpoint {
  const { metadata, spec } = workload
  const profiles = spec.profiles ?? []
  const namespace = metadata.namespace ?? ''
  return {
    key: keyOf(workload),
    name: `${namespace}/${spec.pod ?? spec.workload ?? metadata.name}`,
    labels: inherit(resources, { ...metadata.labels, [NAMESPACE]: namespace }, profiles),
    ports: (spec.ports ?? [])
      .filter(port => port.name !== undefined)
      .map(({ name = '', port, protocol }) => ({ name, port, protocol: protocolNumber(protocol) ?? 0 })),
    nets: spec.ipNetworks ?? [],
    profiles,
  }
}

/** As selectors see it: with the addresses that it is expected to have. */
export function hostMember(resources: Snapshot, host: HostEndpoint): Endpoint {
  const { metadata, spec } = host
  const profiles = spec.profiles ?? []
  const ports = spec.ports ?? []
  return {
    key: keyOf(host),
    name: `HostEndpoint ${metadata.name}`,
    labels: inherit(resources, metadata.labels ?? {}, profiles),
    ports: ports.map(({ name, port, protocol }) => ({ name, port, protocol: protocolNumber(protocol) ?? 0 })),
    nets: (spec.expectedIPs ?? []).map(hostPrefix),
    profiles,
  }
}

/** Every host endpoint, or those of one interface's name. */
export const hostsOf = (resources: Snapshot, interfaceName?: string): Endpoint[] =>
  [...ofKind(resources, 'HostEndpoint')]
    .filter(host => interfaceName === undefined || host.spec.interfaceName === interfaceName)
    .map(host => hostMember(resources, host))

/** Every workload endpoint, by key. */
export const endpointsOf = (resources: Snapshot): Endpoint[] =>
  [...ofKind(resources, 'WorkloadEndpoint')]
    .map(workload => endpoint(resources, workload))
    .sort((a, b) => (a.key < b.key ? -1 : 1))

/** Every network set. A NetworkSet has the labels of its namespace too, as the namespace's profile lends them. */
export function setsOf(resources: Snapshot): Member[] {
  const members: Member[] = []
  for (const set of ofKind(resources, 'NetworkSet')) {
    const { name, namespace = '', labels } = set.metadata
    const inherited = inherit(resources, { ...labels, [NAMESPACE]: namespace }, [`kns.${namespace}`])
    members.push({
      key: keyOf(set),
      name: `NetworkSet ${namespace}/${name}`,
      labels: inherited,
      ports: [],
      nets: prefixes(set.spec.nets),
    })
  }
  for (const set of ofKind(resources, 'GlobalNetworkSet')) {
    const { name, labels = {} } = set.metadata
    members.push({
      key: keyOf(set),
      name: `GlobalNetworkSet ${name}`,
      labels,
      ports: [],
      nets: prefixes(set.spec.nets),
    })
  }
  return members
}

/** Sets may hold plain addresses and prefixes with host bits; what is meant is the net around them. */
const prefixes = (nets: readonly string[] | undefined): Prefix[] => (nets ?? []).flatMap(net => parsePrefix(net) ?? [])

const holds =
  (addr: Addr) =>
  (member: Member): boolean =>
    member.nets.some(net => prefixContains(net, addr))

/** The workload that has an address; of several (a mistake elsewhere) the first by key. */
export const endpointAt = (resources: Snapshot, addr: Addr): Endpoint | undefined =>
  endpointsOf(resources).find(holds(addr))

/** Everything that an address belongs to; nothing for an address outside that no set names. */
export const membersAt = (resources: Snapshot, addr: Addr): Member[] =>
  [...endpointsOf(resources), ...hostsOf(resources), ...setsOf(resources)].filter(holds(addr))

/** The labels that begin with a prefix, without it: those of the namespace (`pcns.`) or service account (`pcsa.`). */
function labelsOf(prefix: string, labels: Labels): Labels {
  const entries = Object.entries(labels).filter(([key]) => key.startsWith(prefix))
  return Object.fromEntries(entries.map(([key, value]) => [key.slice(prefix.length), value]))
}

export type Test = (labels: Labels) => boolean

/** Texts that do not parse select nothing: they are refused at the door, and what slips in must not open anything. */
export function selecting(text: string): Test {
  const parsed = parseSelector(text)
  return labels => parsed.ok && matches(parsed.value, labels)
}

/** What `all()` and `global()` say of one thing, wherever in a selector they stand. */
type Constants = { readonly all: boolean; readonly global: boolean }

/** Whether labels meet a selector in which the constants have a truth of their own; comparisons are as everywhere. */
function holdsWith(selector: Selector, labels: Labels, constants: Constants): boolean {
  switch (selector.op) {
    case 'all':
    case 'global':
      return constants[selector.op]
    case 'not':
      return !holdsWith(selector.operand, labels, constants)
    case 'and':
      return selector.operands.every(operand => holdsWith(operand, labels, constants))
    case 'or':
      return selector.operands.some(operand => holdsWith(operand, labels, constants))
    default:
      return matches(selector, labels)
  }
}

/** Over the namespace's labels; `all()` means whatever has a namespace, `global()` whatever has none. */
export function selectingNamespace(text: string): Test {
  const parsed = parseSelector(text)
  return labels => {
    const all = Object.hasOwn(labels, NAMESPACE)
    return parsed.ok && holdsWith(parsed.value, labelsOf(OF_NAMESPACE, labels), { all, global: !all })
  }
}

/** Over the service account's labels; `all()` asks for one to be there. `global()` is not allowed here, and says no more. */
export function selectingServiceAccount(text: string): Test {
  const parsed = parseSelector(text)
  return labels => {
    const all = Object.hasOwn(labels, SERVICE_ACCOUNT)
    return parsed.ok && holdsWith(parsed.value, labelsOf(OF_SERVICE_ACCOUNT, labels), { all, global: all })
  }
}

export const serviceAccountOf = (labels: Labels): string | undefined =>
  Object.hasOwn(labels, SERVICE_ACCOUNT) ? labels[SERVICE_ACCOUNT] : undefined

const printLabels = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`)
  return pairs.length === 0 ? 'none' : pairs.join(',')
}

/** What a person wants to see of a thing that does not match. */
export const show = {
  labels: ({ labels }: Member): string => {
    const own = Object.entries(labels).filter(([key]) => !/^(pcns\.|pcsa\.|projectcalico\.org\/)/.test(key))
    return `labels ${printLabels(Object.fromEntries(own))}`
  },
  namespace: ({ labels }: Member): string =>
    Object.hasOwn(labels, NAMESPACE) ? `it is in namespace ${labels[NAMESPACE]}` : 'it has no namespace',
  namespaceLabels: (member: Member): string => {
    const { labels } = member
    if (!Object.hasOwn(labels, NAMESPACE)) return show.namespace(member)
    return `namespace ${labels[NAMESPACE]} has labels ${printLabels(labelsOf(OF_NAMESPACE, labels))}`
  },
  serviceAccount: ({ labels }: Member): string => `its service account is ${serviceAccountOf(labels) ?? 'none'}`,
  serviceAccountLabels: ({ labels }: Member): string =>
    `its service account has labels ${printLabels(labelsOf(OF_SERVICE_ACCOUNT, labels))}`,
}
