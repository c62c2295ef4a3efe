// Documents as users write them, right and wrong, and who refuses them: the API server by our definitions, or only we when
// the resource is read. One line each: kind, metadata, spec.
import { parse } from 'yaml'
import { KINDS, type Kind } from '../../src/core/resources/resource.ts'

/** A document in one line of YAML: `GlobalNetworkPolicy {name: a} {selector: all()}`. */
export function document(line: string): {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string }
  spec: unknown
} {
  const [, kind = '', metadata = '', spec = ''] = /^(\w+) (\{[^}]*(?:\{[^}]*\})?[^}]*\}) (.*)$/s.exec(line) ?? []
  const apiVersion = KINDS[kind as Kind]?.apiVersion ?? 'projectcalico.org/v3'
  return { apiVersion, kind, metadata: parse(metadata), spec: parse(spec) }
}

const gnp = (spec: string): string => `GlobalNetworkPolicy {name: a} ${spec}`
const ingress = (rule: string): string => gnp(`{ingress: [${rule}]}`)
const egress = (rule: string): string => gnp(`{egress: [${rule}]}`)
const pool = (spec: string): string => `IPPool {name: a} ${spec}`

/** Both take them. */
export const ACCEPTED: readonly string[] = [
  gnp('{}'),
  gnp('{tier: nosuch, selector: all(), ingress: [{action: Allow}]}'),
  gnp('{types: [Ingress, Egress]}'),
  gnp("{order: 10.5, selector: \"app in {'a', 'b'}\", types: [Egress]}"),
  gnp('{preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]}'),
  gnp('{doNotTrack: true, applyOnForward: true, ingress: [{action: Allow}], egress: [{action: Allow}]}'),
  ingress('{action: Allow, protocol: TCP, destination: {ports: [80, "8000:8100", http, 1, 65535]}}'),
  ingress('{action: Allow, protocol: tcp, source: {nets: [10.0.0.0/8, 0.0.0.0/0], notNets: [10.1.0.0/16]}}'),
  ingress('{action: Allow, source: {nets: ["fd00::/8", "::/0", "fe80::1/128"]}}'),
  ingress('{action: Allow, protocol: ICMP, icmp: {type: 8, code: 0}}'),
  ingress('{action: Allow, protocol: 58, icmp: {type: 128}, ipVersion: 6}'),
  ingress('{action: Allow, protocol: "132", destination: {ports: [1]}}'),
  ingress('{action: Allow, destination: {ports: [http]}}'),
  ingress('{action: Allow, source: {services: {name: a, namespace: b}}}'),
  ingress('{action: Allow, http: {methods: [GET], paths: [{prefix: /a}]}}'),
  ingress(
    '{action: Log, metadata: {annotations: {a: b}}, source: {serviceAccounts: {names: [a]}, namespaceSelector: global()}}',
  ),
  egress(
    '{action: Deny, notProtocol: UDP, notICMP: {type: 8, code: 1}, destination: {selector: has(a), notSelector: has(b)}}',
  ),
  egress('{action: Pass, protocol: SCTP, destination: {services: {name: a, namespace: b}}}'),
  'NetworkPolicy {name: a.b, namespace: default} {ingress: [{action: Allow, source: {services: {name: a}}}]}',
  'NetworkPolicy {name: knp.default.a, namespace: default} {egress: [{action: Allow}], serviceAccountSelector: has(a)}',
  'StagedGlobalNetworkPolicy {name: a} {stagedAction: Delete, tier: x}',
  'StagedNetworkPolicy {name: a, namespace: default} {stagedAction: Set, ingress: [{action: Allow}]}',
  'Tier {name: a} {order: 5, defaultAction: Pass}',
  'Tier {name: default} {order: 1000000, defaultAction: Deny}',
  'NetworkSet {name: a, namespace: default} {nets: [10.0.0.1, 10.0.0.1/8, "fd00::1", "::/0"]}',
  'GlobalNetworkSet {name: a, labels: {x: y}} {}',
  'Profile {name: a} {ingress: [{action: Allow}], labelsToApply: {a: b}}',
  pool('{cidr: 10.20.128.0/17}'),
  pool('{cidr: 10.0.0.0/28, disabled: true}'),
  pool('{cidr: 10.0.0.0/28, blockSize: 28, vxlanMode: CrossSubnet, nodeSelector: has(a)}'),
  pool('{cidr: "fd00::/64", blockSize: 122, natOutgoing: true, allowedUses: [Workload], namespaceSelector: all()}'),
  pool('{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], nodeSelector: all(), assignmentMode: Manual}'),
  'IPReservation {name: a} {reservedCIDRs: [10.20.0.0/30, 10.20.0.9, "fd00::1"]}',
  'IPAMConfiguration {name: default} {strictAffinity: true, autoAllocateBlocks: false, maxBlocksPerHost: 4}',
  'BGPPeer {name: a} {peerIP: "10.0.0.1:1790", asNumber: 64512, nodeSelector: all(), filters: [x]}',
  'BGPPeer {name: a} {peerSelector: has(a), keepaliveTime: 1m30s, password: {secretKeyRef: {name: a, key: b}}}',
  'BGPPeer {name: a} {peerIP: "fd00::1", asNumber: "1.10", reachableBy: "fd00::2"}',
  'BGPConfiguration {name: default} {asNumber: 64512, communities: [{name: a, value: "1:2"}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]}',
  'BGPConfiguration {name: node.a} {logSeverityScreen: debug, listenPort: 179}',
  'FelixConfiguration {name: default} {reportingInterval: 30s, bpfLogLevel: "", logSeverityScreen: Info, failsafeInboundHostPorts: [{protocol: tcp, port: 22, net: 10.0.0.0/8}]}',
  'FelixConfiguration {name: other} {nodeSelector: has(a), routeTableRanges: [{min: 1, max: 250}], natPortRange: "1000:2000"}',
  'ClusterInformation {name: default} {clusterGUID: abc, datastoreReady: true}',
]

/** Both refuse them. */
export const REFUSED: readonly string[] = [
  gnp('{ingres: []}'),
  gnp('{ingress: {action: Allow}}'),
  gnp('{order: first}'),
  gnp('{selector: 5}'),
  gnp('{types: [Ingress, Ingress]}'),
  gnp('{types: [Both]}'),
  gnp('{doNotTrack: true}'),
  gnp('{preDNAT: true}'),
  gnp('{preDNAT: true, doNotTrack: true, applyOnForward: true}'),
  gnp('{preDNAT: true, applyOnForward: true, types: [Egress], egress: [{action: Allow}]}'),
  gnp('{preDNAT: true, applyOnForward: true, types: [Egress]}'),
  gnp(`{selector: "${'a'.repeat(1025)}"}`),
  gnp(`{ingress: [${Array(1025).fill('{action: Log}').join(',')}]}`),
  ingress('{}'),
  ingress('{action: allow}'),
  ingress('{action: Permit}'),
  ingress('{action: Allow, ports: [80]}'),
  ingress('{action: Allow, destination: {ports: [80]}}'),
  ingress('{action: Allow, source: {notPorts: [1]}}'),
  ingress('{action: Allow, protocol: TCP, destination: {ports: [70000]}}'),
  ingress('{action: Allow, protocol: TCP, destination: {ports: ["70000"]}}'),
  ingress('{action: Allow, protocol: TCP, source: {ports: [0]}}'),
  ingress('{action: Allow, protocol: TCP, source: {ports: ["80 - 90"]}}'),
  ingress('{action: Allow, protocol: TCP, source: {ports: [{}]}}'),
  ingress('{action: Allow, protocol: UDPLite, source: {ports: [a]}}'),
  ingress('{action: Allow, protocol: TPC}'),
  ingress('{action: Allow, protocol: 0}'),
  ingress('{action: Allow, protocol: "256"}'),
  ingress('{action: Allow, source: {nets: [10.0.0.0/33]}}'),
  ingress('{action: Allow, source: {nets: [10.0.0.1]}}'),
  ingress('{action: Allow, source: {nets: ["fd00::/129"]}}'),
  ingress('{action: Allow, source: {nets: [10.0.0.0/8, "fd00::/8"]}}'),
  ingress('{action: Allow, source: {notNets: [0.0.0.0/0]}}'),
  ingress('{action: Allow, ipVersion: 4, source: {nets: ["fd00::/64"]}}'),
  ingress('{action: Allow, ipVersion: 6, protocol: ICMP}'),
  ingress('{action: Allow, ipVersion: 5}'),
  ingress('{action: Allow, icmp: {type: 8}}'),
  ingress('{action: Allow, protocol: ICMP, icmp: {code: 1}}'),
  ingress('{action: Allow, protocol: ICMP, icmp: {type: 255}}'),
  ingress('{action: Allow, source: {services: {name: a}}}'),
  ingress('{action: Allow, destination: {services: {name: a, namespace: b}}}'),
  egress('{action: Allow, protocol: TCP, destination: {services: {name: a, namespace: b}, ports: [1]}}'),
  egress('{action: Allow, destination: {services: {name: a, namespace: b}, selector: has(a)}}'),
  egress('{action: Allow, http: {methods: [GET]}}'),
  ingress('{action: Deny, http: {methods: [GET]}}'),
  'GlobalNetworkPolicy {name: a.b.c} {}',
  'GlobalNetworkPolicy {name: My_Policy} {}',
  'GlobalNetworkPolicy {name: a, namespace: b} {}',
  'NetworkPolicy {name: a} {}',
  'StagedGlobalNetworkPolicy {name: a} {stagedAction: Delete, selector: all()}',
  'StagedNetworkPolicy {name: a, namespace: default} {stagedAction: Sett}',
  'Tier {name: a.b} {}',
  'Tier {name: default} {order: 1}',
  'Tier {name: kube-admin} {order: 1000}',
  'Tier {name: a} {defaultAction: Allow}',
  'GlobalNetworkSet {name: a, labels: {"a b": c}} {}',
  'GlobalNetworkSet {name: a} {nets: [example.org]}',
  pool('{}'),
  pool('{cidr: 10.50.0.0/16, ipipMode: Always, vxlanMode: Always}'),
  pool('{cidr: 10.51.0.0/16, blockSize: 10}'),
  pool('{cidr: "fd00::/64", blockSize: 64}'),
  pool('{cidr: 10.53.0.1/16}'),
  pool('{cidr: 10.0.0.0/28}'),
  pool('{cidr: "fd00::/64", ipipMode: Always}'),
  pool('{cidr: 169.254.1.0/24}'),
  pool('{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer, Workload]}'),
  pool('{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], nodeSelector: has(a)}'),
  pool('{cidr: 10.0.0.0/16, namespaceSelector: all()}'),
  'IPReservation {name: a} {reservedCIDRs: [10.0.0.0/33]}',
  'IPAMConfiguration {name: other} {}',
  'IPAMConfiguration {name: default} {autoAllocateBlocks: false}',
  'BGPPeer {name: a} {peerIP: 10.0.0.1, asNumber: 64512, node: n, nodeSelector: all()}',
  'BGPPeer {name: a} {peerSelector: all(), asNumber: 1}',
  'BGPPeer {name: a} {peerIP: 10.0.0.1, asNumber: 1.5}',
  'BGPPeer {name: a} {reachableBy: 10.0.0.1}',
  'BGPConfiguration {name: node.a} {asNumber: 1}',
  'BGPConfiguration {name: other} {}',
  'BGPConfiguration {name: default} {communities: [{name: a, value: x}]}',
  'FelixConfiguration {name: default} {interfaceprefix: cali}',
  'FelixConfiguration {name: default} {nftablesMode: Sometimes}',
  'FelixConfiguration {name: default} {reportingInterval: 30}',
  'FelixConfiguration {name: default} {reportingInterval: "30"}',
  'FelixConfiguration {name: default} {routeTableRange: {min: 1, max: 2}, routeTableRanges: [{min: 1, max: 2}]}',
  'FelixConfiguration {name: other} {}',
  'ClusterInformation {name: other} {}',
]

/** What definitions cannot say: the API server takes these, and whoever reads them finds them invalid. */
export const ONLY_OURS: readonly string[] = [
  // Selectors have a grammar of their own.
  gnp(`{selector: "app = 'x'"}`),
  gnp('{selector: global()}'),
  ingress('{action: Allow, source: {namespaceSelector: "global() && has(a)"}}'),
  // Arithmetic on the text of a port or CIDR in every rule is beyond the budget.
  ingress('{action: Allow, protocol: TCP, source: {ports: ["90:80"]}}'),
  ingress('{action: Allow, source: {ports: ["80"]}}'),
  ingress('{action: Allow, source: {nets: [10.0.0.1/8]}}'),
  ingress('{action: Allow, source: {nets: ["fd00:::/8"]}}'),
  // So is looking through all lists of CIDRs at once.
  ingress('{action: Allow, source: {nets: [10.0.0.0/8]}, destination: {notNets: ["fd00::/8"]}}'),
  ingress('{action: Allow, http: {paths: [{exact: /a, prefix: /b}]}}'),
  // Expressions do not see labels.
  'GlobalNetworkSet {name: a, labels: {projectcalico.org/namespace: c}} {}',
  'BGPPeer {name: a} {peerIP: "10.0.0.1:0"}',
  'BGPConfiguration {name: default} {prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [nosuch]}]}',
]
