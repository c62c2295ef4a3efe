// What users get wrong: judged as a real calicoctl judged it, and answered with the place, a reason and a cure.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'yaml'
import type { Problem } from '../base/problem.ts'
import { decodeResource, KINDS, type Kind } from './resource.ts'

/** A document in one line of YAML: `GlobalNetworkPolicy {name: a} {selector: all()}`. */
function document(line: string): unknown {
  const [, kind = '', metadata = '', spec = ''] = /^(\w+) (\{[^}]*(?:\{[^}]*\})?[^}]*\}) (.*)$/.exec(line) ?? []
  const apiVersion = KINDS[kind as Kind]?.apiVersion ?? 'projectcalico.org/v3'
  return { apiVersion, kind, metadata: parse(metadata), spec: parse(spec) }
}

function problemsOf(line: string): readonly Problem[] {
  const decoded = decodeResource(document(line))
  return decoded.ok ? [] : decoded.problems
}

/** `path: message (fix)` */
const print = ({ path, message, fix }: Problem): string => `${path}: ${message}${fix === undefined ? '' : ` (${fix})`}`

const gnp = (spec: string): string => `GlobalNetworkPolicy {name: a} ${spec}`
const ingress = (rule: string): string => gnp(`{ingress: [${rule}]}`)

/** Borderline documents that calicoctl was given, with what `apply` said of the document itself. */
const JUDGED: readonly (readonly [accepted: boolean, line: string])[] = [
  [false, `GlobalNetworkPolicy {name: b1} {selector: "app = 'x'", ingress: [{action: Allow}]}`],
  [false, `GlobalNetworkPolicy {name: b2} {selector: "app == 'x' &&", ingress: [{action: Allow}]}`],
  [
    false,
    'GlobalNetworkPolicy {name: b3} {selector: all(), ingress: [{action: Allow, protocol: TCP, destination: {ports: ["90:80"]}}]}',
  ],
  [
    false,
    'GlobalNetworkPolicy {name: b4} {selector: all(), ingress: [{action: Allow, protocol: TCP, destination: {ports: [70000]}}]}',
  ],
  [false, 'GlobalNetworkPolicy {name: b5} {selector: all(), ingress: [{action: Allow, destination: {ports: [80]}}]}'],
  [
    false,
    'GlobalNetworkPolicy {name: b6} {selector: all(), ingress: [{action: Allow, source: {nets: [10.0.0.0/33]}}]}',
  ],
  [false, 'GlobalNetworkPolicy {name: b7} {selector: all(), ingres: [{action: Allow}]}'],
  [false, 'IPPool {name: b8} {cidr: 10.50.0.0/16, ipipMode: Always, vxlanMode: Always}'],
  [true, 'GlobalNetworkPolicy {name: nosuch.b9} {tier: nosuch, selector: all(), ingress: [{action: Allow}]}'],
  [true, 'GlobalNetworkPolicy {name: b10} {tier: security, selector: all(), ingress: [{action: Allow}]}'],
  [false, 'GlobalNetworkPolicy {name: b11} {selector: all(), ingress: [{action: Permit}]}'],
  [false, 'Wombat {name: b12} {}'],
  [false, 'GlobalNetworkPolicy {name: ""} {selector: all()}'],
  [false, 'GlobalNetworkPolicy {name: Bad_Name} {selector: all()}'],
  [true, 'IPPool {name: b16} {cidr: 10.20.128.0/17}'],
  [false, 'IPPool {name: b17} {cidr: 10.51.0.0/16, blockSize: 10}'],
  [false, 'IPPool {name: b18} {cidr: 10.52.0.0/28}'],
  [false, 'IPPool {name: b19} {cidr: 10.53.0.1/16}'],
  [
    false,
    'GlobalNetworkPolicy {name: b21} {selector: all(), ingress: [{action: Allow, protocol: ICMP, icmp: {code: 1}}]}',
  ],
  [false, 'GlobalNetworkPolicy {name: b22} {selector: all(), ingress: [{action: Allow, protocol: QUIC}]}'],
  [
    false,
    'GlobalNetworkPolicy {name: b23} {selector: all(), preDNAT: true, applyOnForward: true, types: [Egress], egress: [{action: Allow}]}',
  ],
  [false, 'GlobalNetworkPolicy {name: b24} {selector: all(), preDNAT: true, doNotTrack: true, applyOnForward: true}'],
  [
    false,
    'GlobalNetworkPolicy {name: b25} {selector: all(), ingress: [{action: Allow, ipVersion: 4, source: {nets: ["fd00::/64"]}}]}',
  ],
  [false, 'BGPPeer {name: b26} {peerIP: 10.0.0.1, asNumber: 64512, node: n, nodeSelector: all()}'],
  [false, 'FelixConfiguration {name: default} {nftablesMode: Sometimes}'],
  [
    true,
    'GlobalNetworkPolicy {name: b29} {selector: all(), ingress: [{action: Allow, protocol: TCP, destination: {ports: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}}]}',
  ],
  [
    false,
    'WorkloadEndpoint {name: wrong, namespace: prod} {node: node-1, orchestrator: k8s, pod: p, endpoint: eth0, ipNetworks: [10.20.0.9/32], interfaceName: calix}',
  ],
]

test('borderline documents are judged as calicoctl judged them', () => {
  for (const [accepted, line] of JUDGED)
    assert.equal(problemsOf(line).length === 0, accepted, `${line}\n${problemsOf(line).map(print)}`)
})

/** The whole answer to a mistake. */
const ANSWERS: readonly (readonly [line: string, ...answers: string[]])[] = [
  [gnp(`{selector: "app = 'x'"}`), `spec.selector: expected == at position 5, found "=" (write == for "equals")`],
  [gnp('{ingres: []}'), 'spec.ingres: unknown field ingres (did you mean ingress?)'],
  [
    ingress('{action: Allow, ports: [80]}'),
    'spec.ingress[0].ports: unknown field ports (ports belongs at spec.ingress[].source.ports or spec.ingress[].destination.ports)',
  ],
  [ingress('{action: allow}'), 'spec.ingress[0].action: must be one of Allow, Deny, Log, Pass (did you mean Allow?)'],
  [ingress('{}'), 'spec.ingress[0].action: is required'],
  [gnp('{ingress: {action: Allow}}'), 'spec.ingress: must be a list'],
  [gnp('{order: first}'), 'spec.order: must be a number'],
  [gnp('{selector: 5}'), 'spec.selector: must be a text (put it in quotes: "5")'],
  [gnp('{selector: global()}'), 'spec.selector: global() is not allowed here'],
  [gnp('{types: [Ingress, Ingress]}'), "spec.types[1]: 'Ingress' type specified more than once"],
  [gnp('{doNotTrack: true}'), 'spec.doNotTrack: needs applyOnForward (set applyOnForward: true)'],
  [
    ingress('{action: Allow, source: {nets: [10.0.0.1/8]}}'),
    'spec.ingress[0].source.nets[0]: has bits set after its length (write 10.0.0.0/8)',
  ],
  [
    ingress('{action: Allow, source: {nets: [10.0.0.1]}}'),
    'spec.ingress[0].source.nets[0]: is an address, not a CIDR (write 10.0.0.1/32)',
  ],
  [
    ingress('{action: Allow, source: {nets: [10.0.0.0/33]}}'),
    'spec.ingress[0].source.nets[0]: is not a CIDR (the length is 0 to 32)',
  ],
  [
    ingress('{action: Allow, source: {notNets: [0.0.0.0/0]}}'),
    'spec.ingress[0].source.notNets[0]: excludes every address, so the rule could never match (remove 0.0.0.0/0, or the whole rule)',
  ],
  [
    ingress('{action: Allow, source: {nets: [10.0.0.0/8]}, destination: {notNets: ["fd00::/8"]}}'),
    'spec.ingress[0].destination.notNets[0]: is IPv6, but spec.ingress[0].source.nets[0] is IPv4; a rule holds CIDRs of one family (write one rule for each of IPv4 and IPv6)',
  ],
  [
    ingress('{action: Allow, protocol: UDPLite, source: {ports: [a]}}'),
    'spec.ingress[0].source.ports: protocol UDPLite has no ports here; rules that name ports need protocol TCP, UDP or SCTP',
  ],
  [
    ingress('{action: Allow, source: {notPorts: [1]}}'),
    'spec.ingress[0].source.notPorts: port numbers need a protocol: TCP, UDP or SCTP (add protocol: TCP (or UDP, SCTP) beside action)',
  ],
  [
    ingress('{action: Allow, protocol: TCP, source: {ports: [0]}}'),
    'spec.ingress[0].source.ports[0]: port must be from 1 to 65535',
  ],
  [
    ingress('{action: Allow, protocol: TCP, source: {ports: ["90:80"]}}'),
    'spec.ingress[0].source.ports[0]: range begins after its end (write "80:90")',
  ],
  [
    ingress('{action: Allow, protocol: TCP, source: {ports: ["80 - 90"]}}'),
    'spec.ingress[0].source.ports[0]: is not a port, a range or a port name (write a range as "80:90")',
  ],
  [
    ingress('{action: Allow, protocol: TCP, source: {ports: [{}]}}'),
    'spec.ingress[0].source.ports[0]: must be a number or a text',
  ],
  [
    ingress('{action: Allow, protocol: TPC}'),
    'spec.ingress[0].protocol: protocol must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255 (did you mean TCP?)',
  ],
  [ingress('{action: Allow, protocol: 0}'), 'spec.ingress[0].protocol: protocol number must be from 1 to 255'],
  [
    ingress('{action: Allow, ipVersion: 6, protocol: ICMP}'),
    'spec.ingress[0].protocol: ICMP is a protocol of IPv4, but ipVersion is 6 (set ipVersion: 4 or leave it out)',
  ],
  [ingress('{action: Allow, ipVersion: 5}'), 'spec.ingress[0].ipVersion: must be 4 or 6'],
  [
    ingress('{action: Allow, icmp: {type: 8}}'),
    'spec.ingress[0].icmp: needs protocol ICMP or ICMPv6 (set protocol: ICMP)',
  ],
  [ingress('{action: Allow, protocol: ICMP, icmp: {type: 255}}'), 'spec.ingress[0].icmp.type: must be at most 254'],
  [
    ingress(`{action: Allow, source: {namespaceSelector: "global() && has(a)"}}`),
    'spec.ingress[0].source.namespaceSelector: global() cannot be combined with other selectors',
  ],
  [
    ingress('{action: Allow, source: {services: {name: a}}}'),
    'spec.ingress[0].source.services.namespace: is required outside of a NetworkPolicy',
  ],
  [
    gnp(
      '{egress: [{action: Allow, protocol: TCP, destination: {services: {name: a, namespace: b}, ports: [1], selector: has(a)}}]}',
    ),
    'spec.egress[0].destination.selector: cannot be combined with services',
    'spec.egress[0].destination.ports: cannot be combined with services',
  ],
  [
    ingress('{action: Allow, destination: {services: {name: a, namespace: b}}}'),
    'spec.ingress[0].destination.services: an ingress rule may name services only in its source',
  ],
  [
    gnp('{egress: [{action: Deny, http: {methods: [GET, GET]}}]}'),
    'spec.egress[0].http: is not allowed in egress rules',
    'spec.egress[0].http: is allowed only with action Allow',
    'spec.egress[0].http.methods[1]: GET is listed twice',
  ],
  [
    ingress('{action: Allow, http: {paths: [{exact: /a, prefix: /b}, {prefix: "a?"}]}}'),
    'spec.ingress[0].http.paths[0]: needs exactly one of exact and prefix',
    'spec.ingress[0].http.paths[1]: must begin with / and hold no ?, # or space',
  ],
  [gnp(`{ingress: [${Array(1025).fill('{action: Log}').join(',')}]}`), 'spec.ingress: must have at most 1024 entries'],
  [
    'GlobalNetworkPolicy {name: a.b.c} {}',
    'metadata.name: a name consists of lower-case letters, digits and -, with at most one dot (tier.name)',
  ],
  [
    'GlobalNetworkPolicy {name: My_Policy} {}',
    'metadata.name: a name consists of lower-case letters, digits and -, with at most one dot (tier.name) (for example my-policy)',
  ],
  [
    'GlobalNetworkPolicy {name: a, namespace: b} {}',
    'metadata.namespace: GlobalNetworkPolicy is not namespaced (remove it)',
  ],
  ['NetworkPolicy {name: a} {}', 'metadata.namespace: is required: NetworkPolicy is namespaced'],
  [
    'GlobalNetworkSet {name: a, labels: {"a b": c}} {}',
    'metadata.labels["a b"]: is not a label name (at most 63 of A-Z a-z 0-9 - _ . after an optional domain/)',
  ],
  [
    'GlobalNetworkSet {name: a, labels: {projectcalico.org/namespace: c}} {}',
    'metadata.labels: projectcalico.org/namespace is not a valid label name (it is set by itself)',
  ],
  ['GlobalNetworkSet {name: a} {nets: [example.org]}', 'spec.nets[0]: is neither a CIDR nor an IP address'],
  [
    'NetworkPolicy {name: a, namespace: ../tiers} {}',
    'metadata.namespace: a namespace consists of lower-case letters, digits and -, at most 63 characters',
  ],
  [
    'Pod {name: a/b, namespace: c} {}',
    'metadata.name: a name consists of lower-case letters, digits, - and ., at most 253 characters (for example a-b)',
  ],
  [
    'Tier {name: a.b} {}',
    'metadata.name: a name consists of lower-case letters, digits and -, without a dot, at most 63 characters',
  ],
  [
    'Tier {name: default} {order: 1}',
    'spec.order: the order of the built-in tier default must be 1000000 (set order: 1000000)',
  ],
  [
    'Tier {name: kube-admin} {order: 1000}',
    'spec.defaultAction: the defaultAction of the built-in tier kube-admin must be Pass (set defaultAction: Pass)',
  ],
  ['IPPool {name: a} {}', 'spec.cidr: is required'],
  [
    'IPReservation {name: a} {reservedCIDRs: [10.0.0.7, 10.0.0.0/33]}',
    'spec.reservedCIDRs[1]: is neither a CIDR nor an IP address (the length is 0 to 32)',
  ],
  [
    'IPPool {name: a} {cidr: 10.0.0.0/28}',
    'spec.cidr: is smaller than one block of the pool (/26) (a larger CIDR, or blockSize: 28)',
  ],
  [
    'IPPool {name: a} {cidr: "fd00::/64", ipipMode: Always}',
    'spec.ipipMode: IP in IP carries IPv4 only (use vxlanMode)',
  ],
  ['IPPool {name: a} {cidr: 169.254.1.0/24}', 'spec.cidr: overlaps the link-local range 169.254.0.0/16'],
  [
    'IPPool {name: a} {cidr: 10.0.0.0/16, allowedUses: [LoadBalancer, Workload]}',
    'spec.allowedUses: LoadBalancer cannot be combined with other uses',
  ],
  [
    'IPPool {name: a} {cidr: 10.0.0.0/16, namespaceSelector: all()}',
    'spec.namespaceSelector: cannot be used with the use Tunnel (set allowedUses: [Workload])',
  ],
  [
    'IPAMConfiguration {name: other} {}',
    'metadata.name: there is one IPAMConfiguration only, named default (name it default)',
  ],
  [
    'IPAMConfiguration {name: default} {autoAllocateBlocks: false}',
    'spec.autoAllocateBlocks: must be true unless strictAffinity is true (set autoAllocateBlocks: true or strictAffinity: true)',
  ],
  [
    'BGPPeer {name: a} {peerIP: "10.0.0.1:0"}',
    'spec.peerIP: is not a peer address (write 10.0.0.1, 10.0.0.1:179, fd00::1 or [fd00::1]:179)',
  ],
  [
    'BGPPeer {name: a} {peerSelector: all(), asNumber: 1}',
    'spec.asNumber: peerSelector and asNumber cannot both be set',
  ],
  [
    'BGPPeer {name: a} {peerIP: 10.0.0.1, asNumber: 1.5}',
    'spec.asNumber: is not an AS number (write a number from 0 to 4294967295, or "high.low")',
  ],
  ['BGPConfiguration {name: node.a} {asNumber: 1}', 'spec.asNumber: can be set only in the BGPConfiguration default'],
  [
    'BGPConfiguration {name: default} {prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [nosuch]}]}',
    'spec.prefixAdvertisements[0].communities[0]: is neither a community nor the name of one in communities',
  ],
  [
    'FelixConfiguration {name: default} {interfaceprefix: cali}',
    'spec.interfaceprefix: unknown field interfaceprefix (did you mean interfacePrefix?)',
  ],
  [
    'FelixConfiguration {name: default} {reportingInterval: 30}',
    'spec.reportingInterval: must be a text (put it in quotes: "30")',
  ],
  [
    'FelixConfiguration {name: default} {reportingInterval: "30"}',
    'spec.reportingInterval: is not a duration (write it like 90s, 5m or 1h30m)',
  ],
  [
    'FelixConfiguration {name: other} {}',
    'metadata.name: other would apply to no node (name it default or node.<node name>, or give spec.nodeSelector)',
  ],
  ['Node {name: a} {bgp: {}}', 'spec.bgp: must not be empty (leave bgp out or give its address)'],
  ['Node {name: a} {bgp: {ipv4Address: "fd00::1/64"}}', 'spec.bgp.ipv4Address: is not IPv4'],
  [
    'GlobalNetworkPolcy {name: a} {}',
    'kind: unknown resource type GlobalNetworkPolcy (did you mean GlobalNetworkPolicy?)',
  ],
  ['BGPFilter {name: a} {}', 'kind: BGPFilter is not supported yet'],
  [
    'HostEndpoint {name: a} {}',
    'spec.node: is required (name the node that has the interface)',
    'spec.interfaceName: is required without expectedIPs (name the interface, or * for all, or give its addresses in expectedIPs)',
  ],
  ['HostEndpoint {name: a} {node: n, interfaceName: "*"}'],
  [
    'HostEndpoint {name: a} {node: n, interfaceName: ""}',
    'spec.interfaceName: is required without expectedIPs (name the interface, or * for all, or give its addresses in expectedIPs)',
  ],
  [
    'HostEndpoint {name: a} {node: n, interfaceName: "eth*"}',
    'spec.interfaceName: is not an interface name of at most 15 letters, digits, - _ ., nor *',
  ],
  [
    'HostEndpoint {name: a} {node: n, expectedIPs: [10.0.0.0/24]}',
    'spec.expectedIPs[0]: is not an IP address (write the address without a length)',
  ],
  [
    'HostEndpoint {name: a} {node: n, interfaceName: eth0, ports: [{name: "80", protocol: TCP, port: 80}]}',
    'spec.ports[0].name: is not the name of a port: letters, digits, - _ ., not digits alone',
  ],
  [
    'HostEndpoint {name: a} {node: n, interfaceName: eth0, ports: [{protocol: TCP, port: 80}]}',
    'spec.ports[0].name: is required',
  ],
  ['BGPFilter {name: a} {}', 'kind: BGPFilter is not supported yet'],
  ['Endpoints {name: a} {}', 'kind: Endpoints is not supported yet'],
  ['Service {name: a} {}', 'metadata.namespace: is required: Service is namespaced'],
  ['Service {name: a, namespace: b} {ports: [{port: 0}]}', 'spec.ports[0].port: must be at least 1'],
  ['EndpointSlice {name: a, namespace: b} {}', 'addressType: is required'],
]

test('every mistake is answered with its place, a reason and a cure', () => {
  for (const [line, ...answers] of ANSWERS) assert.deepEqual(problemsOf(line).map(print), answers, line)
})

test('kinds of Kubernetes that share a name with one of Calico are not taken for it', () => {
  const said = (kind: string, apiVersion: unknown) => {
    const decoded = decodeResource({ apiVersion, kind, metadata: { name: 'a', namespace: 'b' }, spec: {} })
    return decoded.ok ? [] : decoded.problems.map(print)
  }
  const versions = 'write apiVersion: projectcalico.org/v3 or networking.k8s.io/v1'
  assert.deepEqual(said('NetworkPolicy', 'extensions/v1beta1'), [
    `apiVersion: unknown version extensions/v1beta1 of NetworkPolicy (${versions})`,
  ])
  assert.deepEqual(said('Node', 'v1'), [
    "apiVersion: Kubernetes' own Node (v1) is not supported yet (describe the node in a Node of projectcalico.org/v3)",
  ])
  assert.deepEqual(said('NetworkPolicy', 'v1'), [`apiVersion: unknown version v1 of NetworkPolicy (${versions})`])
  assert.deepEqual(said('NetworkPolicy', undefined), [`apiVersion: is required (${versions})`])
  for (const [apiVersion, kind] of [
    ['projectcalico.org/v3', 'NetworkPolicy'],
    ['networking.k8s.io/v1', 'KubernetesNetworkPolicy'],
  ]) {
    const decoded = decodeResource({
      apiVersion,
      kind: 'NetworkPolicy',
      metadata: { name: 'a', namespace: 'b' },
      spec: {},
    })
    assert.equal(decoded.ok && decoded.value.kind, kind)
  }
})
