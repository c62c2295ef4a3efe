// The rules between fields that the API server checks by itself, for whoever writes with kubectl: those of `check` in each
// kind, as far as the Common Expression Language says them within its budget. What it cannot say (selectors, a port range
// that ends before it begins, names of communities) is judged when the resource is read.
import { PROTOCOL_NUMBERS, type ProtocolName } from '../net/protocol.ts'
import { BUILT_IN_TIERS } from '../resources/kinds/tier.ts'
import type { Validation } from './structural.ts'

/** Rules by the path of the node that they see as `self`. */
export type Validations = { readonly [path: string]: readonly Validation[] }

const rule = (text: string, message: string): Validation => ({ rule: text, message })
const isSet = (field: string): string => `has(self.${field}) && self.${field}`
const isFull = (field: string): string => `has(self.${field}) && size(self.${field}) > 0`

const SIDES = ['source', 'destination'] as const
/** `holds` of the list of each side, if it is there. (Optional types would hide from the API server how long a list is.) */
const ofLists = (fields: readonly string[], holds: (list: string) => string): string[] =>
  SIDES.flatMap(side =>
    fields.map(field => {
      const list = `self.${side}.${field}`
      return `(!has(self.${side}) || !has(${list}) || ${holds(list)})`
    }),
  )
/** The budget of a definition has room for one of the two lists. */
const NETS = ['nets']
const PORTS = ['ports', 'notPorts']
/** The ways in which people write a protocol: as Calico spells it, in one case, as a number, as the digits of it. */
const spellings = (name: ProtocolName): string[] => {
  const number = PROTOCOL_NUMBERS[name]
  const texts = [...new Set([name, name.toLowerCase(), name.toUpperCase(), String(number)])]
  return [String(number), ...texts.map(text => `'${text}'`)]
}
const isProtocol = (field: string, ...names: readonly ProtocolName[]): string =>
  `(${names
    .flatMap(spellings)
    .map(value => `dyn(self.${field}) == ${value}`)
    .join(' || ')})`
const PORTED = ['TCP', 'UDP', 'SCTP'] as const

const RULE: readonly Validation[] = [
  ...['icmp', 'notICMP'].map(field =>
    rule(
      `!has(self.${field}) || !has(self.${field}.code) || has(self.${field}.type)`,
      `${field}.code needs ${field}.type`,
    ),
  ),
  rule(
    `!has(self.icmp) || !has(self.icmp.type) || (has(self.protocol) && ${isProtocol('protocol', 'ICMP', 'ICMPv6')})`,
    'icmp needs protocol ICMP or ICMPv6',
  ),
  ...['protocol', 'notProtocol'].map(field =>
    rule(
      `!has(self.ipVersion) || !has(self.${field}) || !(self.ipVersion == 4 ? ${isProtocol(field, 'ICMPv6')} : ${isProtocol(field, 'ICMP')})`,
      `${field} is one of the other IP version`,
    ),
  ),
  rule(
    `!has(self.protocol) || ${isProtocol('protocol', ...PORTED)} || (${ofLists(PORTS, list => `size(${list}) == 0`).join(' && ')})`,
    'rules that name ports need protocol TCP, UDP or SCTP',
  ),
  rule(
    `has(self.protocol) || (${ofLists(PORTS, list => `${list}.all(port, type(port) == string)`).join(' && ')})`,
    'port numbers need a protocol: TCP, UDP or SCTP',
  ),
  ...ofLists(NETS, list => `${list}.all(net, net.contains(':') == (self.ipVersion == 6))`).map(holds =>
    rule(`!has(self.ipVersion) || ${holds}`, 'nets are not of ipVersion'),
  ),
  ...ofLists(
    NETS,
    list =>
      `size(${list}) == 0 || (${list}[0].contains(':') ? ${list}.all(net, net.contains(':')) : ${list}.all(net, !net.contains(':')))`,
  ).map(holds => rule(holds, 'nets hold CIDRs of one IP version')),
  rule(`!has(self.http) || self.action == 'Allow'`, 'http is allowed only with action Allow'),
]

const BESIDE_SERVICES = ['nets', 'notNets', 'selector', 'notSelector', 'namespaceSelector', 'serviceAccounts']
const services = (side: string, namespaced: boolean): readonly Validation[] => [
  rule(
    `!has(self.services) || !(${[...BESIDE_SERVICES, ...(side === 'destination' ? ['ports', 'notPorts'] : [])].map(field => `has(self.${field})`).join(' || ')})`,
    'cannot be combined with services',
  ),
  rule('!has(self.services) || has(self.services.name)', 'services needs a name'),
  ...(namespaced
    ? []
    : [
        rule(
          '!has(self.services) || has(self.services.namespace)',
          'services needs a namespace outside of a NetworkPolicy',
        ),
      ]),
]

function rules(namespaced: boolean): Validations {
  const found: { [path: string]: readonly Validation[] } = {}
  for (const direction of ['ingress', 'egress'] as const) {
    const at = `spec.${direction}[]`
    const [here, there] = direction === 'ingress' ? ['source', 'destination'] : ['destination', 'source']
    found[at] = [
      ...RULE,
      rule(`!has(self.${there}) || !has(self.${there}.services)`, `services may be named only in ${here}`),
      ...(direction === 'egress' ? [rule('!has(self.http)', 'http is not allowed in egress rules')] : []),
    ]
    for (const side of SIDES) {
      found[`${at}.${side}`] = services(side, namespaced)
      found[`${at}.${side}.notNets[]`] = [rule(`!self.endsWith('/0')`, 'excludes every address')]
    }
  }
  return found
}

const TYPES: readonly Validation[] = [
  rule(
    `!has(self.types) || self.types.all(one, self.types.filter(other, other == one).size() == 1)`,
    'a type is specified more than once',
  ),
]

const HOST_FIELDS: readonly Validation[] = [
  ...['doNotTrack', 'preDNAT'].map(field =>
    rule(`!(${isSet(field)}) || (${isSet('applyOnForward')})`, `${field} needs applyOnForward: true`),
  ),
  rule(`!((${isSet('preDNAT')}) && (${isSet('doNotTrack')}))`, 'preDNAT and doNotTrack cannot both be true'),
  rule(`!(${isSet('preDNAT')}) || !(${isFull('egress')})`, 'a preDNAT policy cannot have egress rules'),
  rule(
    `!(${isSet('preDNAT')}) || !has(self.types) || !self.types.exists(one, one == 'Egress')`,
    `a preDNAT policy cannot have 'Egress' type`,
  ),
]

const DELETION_LISTS = ['ingress', 'egress', 'types', 'performanceHints']
const deletion = (...flags: readonly string[]): Validation =>
  rule(
    `!has(self.stagedAction) || self.stagedAction != 'Delete' || !(${[
      ...DELETION_LISTS.map(field => `(${isFull(field)})`),
      ...['selector', 'serviceAccountSelector'].map(field => `(has(self.${field}) && self.${field} != '')`),
      'has(self.order)',
      ...flags.map(field => `(${isSet(field)})`),
    ].join(' || ')})`,
    'Spec fields, except Tier, should all be zero-value if stagedAction is Delete',
  )

const exclusive = (a: string, b: string): Validation =>
  rule(`!has(self.${a}) || !has(self.${b})`, `${a} and ${b} cannot both be set`)

/** `self` is the whole object; of its metadata only the name can be seen. */
const builtInTiers: readonly Validation[] = Object.entries(BUILT_IN_TIERS).map(([name, { order, defaultAction }]) =>
  rule(
    `self.metadata.name != '${name}' || (has(self.spec.order) && self.spec.order == ${order}.0 && self.spec.defaultAction == '${defaultAction}')`,
    `the built-in tier ${name} has order ${order} and defaultAction ${defaultAction}`,
  ),
)

const isV6 = `self.cidr.contains(':')`
const uses = (use: string): string => `has(self.allowedUses) && self.allowedUses.exists(use, use == '${use}')`
const LOAD_BALANCER = `!(${uses('LoadBalancer')}) || `

const IP_POOL: readonly Validation[] = [
  rule('isCIDR(self.cidr) && cidr(self.cidr).masked() == cidr(self.cidr)', 'cidr has bits set after its length'),
  rule(`self.ipipMode == 'Never' || self.vxlanMode == 'Never'`, 'ipipMode and vxlanMode cannot both be enabled'),
  rule(`self.ipipMode == 'Never' || !${isV6}`, 'IP in IP carries IPv4 only'),
  rule(
    `!has(self.blockSize) || self.blockSize == 0 || (${isV6} ? self.blockSize >= 116 && self.blockSize <= 128 : self.blockSize >= 20 && self.blockSize <= 32)`,
    'blockSize must be from 20 to 32 for IPv4, from 116 to 128 for IPv6',
  ),
  rule(
    `(${isSet('disabled')}) || !isCIDR(self.cidr) || cidr(self.cidr).prefixLength() <= (has(self.blockSize) && self.blockSize != 0 ? self.blockSize : (${isV6} ? 122 : 26))`,
    'cidr is smaller than one block of the pool',
  ),
  rule(
    `!isCIDR(self.cidr) || !(cidr('169.254.0.0/16').containsCIDR(self.cidr) || cidr(self.cidr).containsCIDR('169.254.0.0/16') || cidr('fe80::/10').containsCIDR(self.cidr) || cidr(self.cidr).containsCIDR('fe80::/10'))`,
    'cidr overlaps a link-local range',
  ),
  rule(
    `!has(self.namespaceSelector) || self.namespaceSelector == '' || (has(self.allowedUses) && size(self.allowedUses) > 0 && !(${uses('Tunnel')}))`,
    'namespaceSelector cannot be used with the use Tunnel',
  ),
  rule(`${LOAD_BALANCER}size(self.allowedUses) == 1`, 'LoadBalancer cannot be combined with other uses'),
  rule(
    `${LOAD_BALANCER}(self.vxlanMode == 'Never' && self.ipipMode == 'Never')`,
    'a LoadBalancer pool has no encapsulation',
  ),
  rule(
    `${LOAD_BALANCER}!has(self.nodeSelector) || self.nodeSelector in ['', 'all()']`,
    'a LoadBalancer pool is for all()',
  ),
  rule(`${LOAD_BALANCER}!(${isSet('disableBGPExport')})`, 'disableBGPExport is not allowed in a LoadBalancer pool'),
  rule('self.cidr == oldSelf.cidr', 'cidr cannot be changed'),
  rule('self.?blockSize.orValue(0) == oldSelf.?blockSize.orValue(0)', 'blockSize cannot be changed'),
  rule(
    `!(has(oldSelf.allowedUses) && oldSelf.allowedUses.exists(use, use == 'LoadBalancer')) || (${uses('LoadBalancer')})`,
    'allowedUses cannot be changed away from LoadBalancer',
  ),
]

const ONLY_DEFAULT = [
  ...['nodeToNodeMeshEnabled', 'asNumber', 'serviceLoadBalancerIPs', 'serviceExternalIPs', 'serviceClusterIPs'],
  ...['nodeMeshPassword', 'nodeMeshMaxRestartTime'],
]

/** Lists that rules look through are bounded: without that a rule might be dear, and the API server takes none such. */
export const LIMITS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  NetworkPolicy: { 'spec.types': 2 },
  GlobalNetworkPolicy: { 'spec.types': 2 },
  StagedNetworkPolicy: { 'spec.types': 2 },
  StagedGlobalNetworkPolicy: { 'spec.types': 2 },
  IPPool: { 'spec.allowedUses': 3 },
}

export const VALIDATIONS: Readonly<Record<string, Validations>> = {
  NetworkPolicy: { spec: TYPES, ...rules(true) },
  GlobalNetworkPolicy: { spec: [...TYPES, ...HOST_FIELDS], ...rules(false) },
  StagedNetworkPolicy: { spec: [...TYPES, deletion()], ...rules(true) },
  StagedGlobalNetworkPolicy: {
    spec: [...TYPES, ...HOST_FIELDS, deletion('doNotTrack', 'preDNAT', 'applyOnForward')],
    ...rules(false),
  },
  Profile: rules(false),
  Tier: { '': builtInTiers },
  IPPool: { spec: IP_POOL },
  IPAMConfiguration: {
    spec: [
      rule(
        'self.?strictAffinity.orValue(false) || self.?autoAllocateBlocks.orValue(true)',
        'autoAllocateBlocks must be true unless strictAffinity is true',
      ),
    ],
  },
  BGPPeer: {
    spec: [
      exclusive('node', 'nodeSelector'),
      exclusive('peerIP', 'peerSelector'),
      exclusive('peerIP', 'localWorkloadSelector'),
      exclusive('peerSelector', 'localWorkloadSelector'),
      exclusive('peerSelector', 'asNumber'),
      exclusive('keepOriginalNextHop', 'nextHopMode'),
      rule('!has(self.localWorkloadSelector) || has(self.asNumber)', 'localWorkloadSelector needs asNumber'),
      rule('!has(self.reachableBy) || has(self.peerIP)', 'reachableBy needs peerIP'),
    ],
  },
  BGPConfiguration: {
    '': [
      rule(
        `self.metadata.name == 'default' || self.metadata.name.startsWith('node.')`,
        'the name is default or node.<node name>',
      ),
      rule(
        `self.metadata.name == 'default' || !(${ONLY_DEFAULT.map(field => `has(self.spec.${field})`).join(' || ')})`,
        'this can be set only in the BGPConfiguration default',
      ),
    ],
    spec: ['nodeMeshPassword', 'nodeMeshMaxRestartTime'].map(field =>
      rule(
        `!has(self.${field}) || !has(self.nodeToNodeMeshEnabled) || self.nodeToNodeMeshEnabled`,
        `${field} cannot be set while nodeToNodeMeshEnabled is false`,
      ),
    ),
  },
  FelixConfiguration: {
    '': [
      rule(
        `(self.metadata.name == 'default' || self.metadata.name.startsWith('node.')) != has(self.spec.nodeSelector)`,
        'the name is default or node.<node name>, or else spec.nodeSelector is given',
      ),
    ],
    spec: [exclusive('routeTableRange', 'routeTableRanges')],
  },
}
