// What the node enforces besides policy, from pools and settings: few resources, so they are simply read anew.
import { INTERFACE_PREFIX } from '../base/register.ts'
import { hostPrefix, type Prefix, parsePrefix, prefixBase } from '../net/prefix.ts'
import { PROTOCOL_NUMBERS, protocolNumber } from '../net/protocol.ts'
import { LOCAL_SETTINGS, parametersOf } from '../resources/felix-parameters.ts'
import { portRange } from '../resources/field.ts'
import { type FelixConfiguration, find, ofKind, type Snapshot } from '../resources/resource.ts'
import { lookup, matches } from '../selector/match.ts'
import { parseSelector } from '../selector/parse.ts'
import type { Failsafe, Intent, LogLimit, NodeSettings } from './intent.ts'

export type NodeFacts = Pick<Intent, 'settings' | 'masqueradePools' | 'allPools'>
type Spec = FelixConfiguration['spec']

const { TCP, UDP } = PROTOCOL_NUMBERS
/** Calico's: SSH, DHCP, BGP, etcd, Typha, the Kubernetes API server. */
const SAFE_TCP = [179, 2379, 2380, 5473, 6443, 6666, 6667]
const on = (protocol: number, ports: readonly number[]): Failsafe[] => ports.map(port => ({ protocol, port }))
const FAILSAFE_INBOUND = [...on(TCP, [22]), ...on(UDP, [68]), ...on(TCP, SAFE_TCP)]
const FAILSAFE_OUTBOUND = [...on(UDP, [53, 67]), ...on(TCP, SAFE_TCP)]

const failsafes = (list: Spec['failsafeInboundHostPorts']): Failsafe[] | undefined =>
  list?.map(({ protocol, port, net }) => {
    const parsed = net === undefined ? undefined : parsePrefix(net)
    return { protocol: protocolNumber(protocol ?? 'TCP') ?? TCP, port, ...(parsed && { net: parsed }) }
  })

/** Ours when nothing is set: lines are for people, and datagrams without answers are judged one by one. */
const LOG_LIMIT: LogLimit = { rate: 100, per: 'second', burst: 5 }

function logLimit({ logActionRateLimit, logActionRateLimitBurst: burst = 5 }: Spec): LogLimit {
  const [, rate, per] = /^(\d+)\/(second|minute|hour|day)$/.exec(logActionRateLimit ?? '') ?? []
  // The kernel reads a burst of 0 as its default.
  return rate === undefined ? LOG_LIMIT : { rate: Number(rate), per: per as LogLimit['per'], burst: burst || 5 }
}

/**
 * The settings of a node, field by field: those of its environment and file, then those named `node.<name>`, then those
 * whose nodeSelector selects its Node (of several the oldest), then `default`.
 */
export function felixSpec(snapshot: Snapshot, node: string): Spec {
  const self = find(snapshot, 'Node', { name: node })
  const labels = lookup(self?.metadata.labels ?? {})
  const selected = [...ofKind(snapshot, 'FelixConfiguration')].filter(({ spec }) => {
    const parsed = spec.nodeSelector === undefined ? undefined : parseSelector(spec.nodeSelector)
    return parsed?.ok && matches(parsed.value, labels)
  })
  const age = ({ metadata }: FelixConfiguration): string => `${metadata.creationTimestamp ?? ''} ${metadata.name}`
  selected.sort((a, b) => (age(a) < age(b) ? -1 : 1))
  return Object.assign(
    {},
    find(snapshot, 'FelixConfiguration', { name: 'default' })?.spec,
    selected[0]?.spec,
    find(snapshot, 'FelixConfiguration', { name: `node.${node}` })?.spec,
    // An agent knows its own; everybody else what it wrote down.
    find(snapshot, 'FelixConfiguration', { name: LOCAL_SETTINGS })?.spec ?? parametersOf(self),
  )
}

export function settingsOf(snapshot: Snapshot, node: string): NodeSettings {
  const spec = felixSpec(snapshot, node)
  const names = (text: string): string[] => text.split(',').filter(p => p !== '')
  const prefixes = names(spec.interfacePrefix ?? INTERFACE_PREFIX)
  const action = (spec.defaultEndpointToHostAction ?? 'Drop').toLowerCase()
  const actions = { drop: 'Drop', return: 'Return', accept: 'Accept', reject: 'Reject' } as const
  const natPorts = spec.natPortRange === undefined ? undefined : portRange(spec.natPortRange)
  const filter = spec.iptablesNATOutgoingInterfaceFilter
  return {
    interfacePrefixes: prefixes.length > 0 ? prefixes : [INTERFACE_PREFIX],
    endpointToHostAction: actions[action as keyof typeof actions] ?? 'Drop',
    conntrackInvalidCheck: spec.disableConntrackInvalidCheck !== true,
    logPrefix: spec.logPrefix ?? 'calico-packet',
    logLimit: logLimit(spec),
    denyAction: spec.nftablesFilterDenyAction ?? spec.iptablesFilterDenyAction ?? 'Drop',
    failsafeInbound: failsafes(spec.failsafeInboundHostPorts) ?? FAILSAFE_INBOUND,
    failsafeOutbound: failsafes(spec.failsafeOutboundHostPorts) ?? FAILSAFE_OUTBOUND,
    allowVXLAN: spec.allowVXLANPacketsFromWorkloads === true,
    allowIPIP: spec.allowIPIPPacketsFromWorkloads === true,
    vxlanPort: spec.vxlanPort ?? 4789,
    sourceSpoofing: spec.workloadSourceSpoofing === 'Any',
    excludedInterfaces: names(spec.interfaceExclude ?? 'kube-ipvs0'),
    // iptables writes the wildcard as +.
    ...(filter && { natInterface: filter.replace(/\+$/, '*') }),
    ...(spec.natOutgoingAddress && { natAddress: spec.natOutgoingAddress }),
    ...(natPorts && { natPorts }),
  }
}

const cidrs = (texts: readonly string[]): Prefix[] => texts.flatMap(text => parsePrefix(text) ?? [])

/** The addresses of every node, each as a prefix of full length. */
function nodeAddresses(snapshot: Snapshot): Prefix[] {
  const texts = [...ofKind(snapshot, 'Node')].flatMap(({ spec }) => [
    ...[spec.bgp?.ipv4Address, spec.bgp?.ipv6Address].filter(a => a !== undefined),
    ...(spec.addresses ?? []).map(a => a.address),
  ])
  return [...new Set(texts.map(text => text.replace(/\/.*/, '')))].flatMap(text => {
    const parsed = parsePrefix(text)
    return parsed ? [hostPrefix(prefixBase(parsed))] : []
  })
}

export function nodeFacts(snapshot: Snapshot, node: string): NodeFacts {
  const pools = [...ofKind(snapshot, 'IPPool')]
  const alsoHosts = felixSpec(snapshot, node).natOutgoingExclusions === 'IPPoolsAndHostIPs'
  return {
    settings: settingsOf(snapshot, node),
    masqueradePools: cidrs(pools.filter(p => p.spec.natOutgoing).map(p => p.spec.cidr)),
    allPools: [...cidrs(pools.map(p => p.spec.cidr)), ...(alsoHosts ? nodeAddresses(snapshot) : [])],
  }
}
