// BGPConfiguration and BGPPeer: who speaks BGP with whom, as which AS, and what is announced.
import { z } from 'zod'
import { ok, type Problem } from '../../base/problem.ts'
import { familyOf, parseAddr } from '../../net/addr.ts'
import {
  address,
  asNumber,
  choice,
  cidr,
  duration,
  int,
  leaf,
  list,
  mistake,
  openapi,
  selectorText,
  text,
} from '../field.ts'
import { calicoKind, type DeepReadonly } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

export const LOG_LEVELS = ['Trace', 'Debug', 'Info', 'Warning', 'Error', 'Fatal'] as const

const secret = z.strictObject({
  secretKeyRef: z.strictObject({ name: text(), key: z.string(), optional: z.boolean().optional() }).optional(),
})
const cidrs = list(z.strictObject({ cidr: cidr() }))
const priority = int(1, 2147483646).optional()

const COMMUNITY = /^(\d+):(\d+)(?::(\d+))?$/
/** `aa:nn` of 16 bits each, or `aa:nn:mm` of 32 bits each. */
export function isCommunity(value: string): boolean {
  const parts = COMMUNITY.exec(value)
  const limit = parts?.[3] === undefined ? 0xffff : 0xffffffff
  return parts?.slice(1).every(part => part === undefined || Number(part) <= limit) ?? false
}
const community = leaf(openapi(z.string(), { pattern: COMMUNITY.source }), value =>
  isCommunity(value)
    ? ok(value)
    : mistake('is not a community', 'write aa:nn (16 bits each) or aa:nn:mm (32 bits each)'),
)

const configuration = z.strictObject({
  ...calicoHead('BGPConfiguration'),
  spec: z
    .strictObject({
      logSeverityScreen: choice(LOG_LEVELS).default('Info'),
      nodeToNodeMeshEnabled: z.boolean().optional(),
      asNumber: asNumber().optional(),
      serviceLoadBalancerIPs: cidrs,
      serviceExternalIPs: cidrs,
      serviceClusterIPs: cidrs,
      serviceLoadBalancerAggregation: z.enum(['Enabled', 'Disabled']).default('Enabled'),
      communities: list(z.strictObject({ name: z.string(), value: community }), 500),
      prefixAdvertisements: list(z.strictObject({ cidr: cidr(), communities: list(z.string(), 50) }), 500),
      listenPort: int(1, 65535).optional(),
      nodeMeshPassword: secret.optional(),
      nodeMeshMaxRestartTime: duration().optional(),
      bindMode: z.enum(['None', 'NodeIP']).optional(),
      ignoredInterfaces: list(z.string()),
      localWorkloadPeeringIPV4: address().optional(),
      localWorkloadPeeringIPV6: address().optional(),
      programClusterRoutes: z.enum(['Enabled', 'Disabled', 'EnabledIPIPOnly', 'EnabledNoEncapOnly']).optional(),
      ipv4NormalRoutePriority: priority,
      ipv6NormalRoutePriority: priority,
    })
    .prefault({}),
})

const ONLY_DEFAULT = [
  'nodeToNodeMeshEnabled',
  'asNumber',
  'serviceLoadBalancerIPs',
  'serviceExternalIPs',
  'serviceClusterIPs',
  'nodeMeshPassword',
  'nodeMeshMaxRestartTime',
] as const

function checkConfiguration({ metadata, spec }: DeepReadonly<z.output<typeof configuration>>): Problem[] {
  const problems: Problem[] = []
  if (metadata.name !== 'default') {
    if (!metadata.name.startsWith('node.')) {
      problems.push({ path: 'metadata.name', message: 'must be default or node.<node name>', value: metadata.name })
    }
    for (const field of ONLY_DEFAULT) {
      if (spec[field] !== undefined)
        problems.push({ path: `spec.${field}`, message: 'can be set only in the BGPConfiguration default' })
    }
  }
  for (const field of ['nodeMeshPassword', 'nodeMeshMaxRestartTime'] as const) {
    if (spec[field] !== undefined && spec.nodeToNodeMeshEnabled === false) {
      problems.push({ path: `spec.${field}`, message: 'cannot be set while nodeToNodeMeshEnabled is false' })
    }
  }
  const names = new Set(spec.communities?.map(({ name }) => name))
  const used = new Set<string>()
  spec.prefixAdvertisements?.forEach(({ communities }, i) => {
    communities?.forEach((value, j) => {
      used.add(value)
      if (names.has(value) || isCommunity(value)) return
      const path = `spec.prefixAdvertisements[${i}].communities[${j}]`
      problems.push({ path, message: 'is neither a community nor the name of one in communities', value })
    })
  })
  spec.communities?.forEach(({ name }, i) => {
    if (!used.has(name))
      problems.push({ path: `spec.communities[${i}]`, message: `${name} is not used by prefixAdvertisements` })
  })
  spec.ignoredInterfaces?.forEach((value, i) => {
    if (value === '*')
      problems.push({ path: `spec.ignoredInterfaces[${i}]`, message: 'a bare * would ignore every interface' })
  })
  return problems
}

export const bgpConfiguration = calicoKind({
  kind: 'BGPConfiguration',
  plural: 'bgpconfigurations',
  namespaced: false,
  aliases: ['bgpconfig', 'bgpconfigs'],
  schema: configuration,
  check: checkConfiguration,
})

/** Address and port of `1.2.3.4`, `1.2.3.4:179`, `fd00::1` or `[fd00::1]:179`; `undefined` if it is none of them. */
export function parsePeerIP(
  value: string,
): { readonly address: string; readonly port: number | undefined } | undefined {
  const withPort = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(value)
  const text = withPort ? (withPort[1] ?? withPort[2]!) : value
  const [parsed, port] = [parseAddr(text), withPort ? Number(withPort[3]) : undefined]
  if (parsed === undefined || (withPort?.[1] !== undefined && familyOf(parsed) === 4)) return undefined
  return port === undefined || (port >= 1 && port <= 65535) ? { address: parsed, port } : undefined
}
const peerIP = leaf(z.string(), value => {
  if (value === '') return ok(undefined)
  return parsePeerIP(value)
    ? ok(value)
    : mistake('is not a peer address', 'write 10.0.0.1, 10.0.0.1:179, fd00::1 or [fd00::1]:179')
}).optional()

const peer = z.strictObject({
  ...calicoHead('BGPPeer'),
  spec: z
    .strictObject({
      node: text(253),
      nodeSelector: selectorText(),
      peerIP,
      asNumber: asNumber()
        .transform(value => value || undefined)
        .optional(),
      localASNumber: asNumber().optional(),
      keepOriginalNextHop: z
        .boolean()
        .transform(value => value || undefined)
        .optional(),
      password: secret.optional(),
      sourceAddress: z.enum(['UseNodeIP', 'None']).optional(),
      maxRestartTime: duration().optional(),
      keepaliveTime: duration().optional(),
      numAllowedLocalASNumbers: int(0, 0x7fffffff).optional(),
      ttlSecurity: int(0, 255).optional(),
      reachableBy: address().optional(),
      filters: list(z.string()),
      peerSelector: selectorText(),
      localWorkloadSelector: selectorText(),
      reversePeering: z.enum(['Auto', 'Manual']).optional(),
      nextHopMode: z.enum(['Auto', 'Self', 'Keep']).optional(),
    })
    .prefault({}),
})

function checkPeer({ spec }: DeepReadonly<z.output<typeof peer>>): Problem[] {
  const problems: Problem[] = []
  const exclusive = (a: keyof typeof spec, b: keyof typeof spec) => {
    if (spec[a] === undefined || spec[b] === undefined) return
    problems.push({ path: `spec.${b}`, message: `${a} and ${b} cannot both be set` })
  }
  exclusive('node', 'nodeSelector')
  exclusive('peerIP', 'peerSelector')
  exclusive('peerIP', 'localWorkloadSelector')
  exclusive('peerSelector', 'localWorkloadSelector')
  exclusive('peerSelector', 'asNumber')
  exclusive('keepOriginalNextHop', 'nextHopMode')
  if (spec.localWorkloadSelector !== undefined && spec.asNumber === undefined) {
    problems.push({ path: 'spec.asNumber', message: 'is required with localWorkloadSelector' })
  }
  if (spec.reachableBy !== undefined) {
    const remote = spec.peerIP === undefined ? undefined : parsePeerIP(spec.peerIP)
    if (remote === undefined) problems.push({ path: 'spec.reachableBy', message: 'needs peerIP' })
    else if (familyOf(remote.address) !== familyOf(spec.reachableBy)) {
      problems.push({
        path: 'spec.reachableBy',
        message: 'is not of the same family as peerIP',
        value: spec.reachableBy,
      })
    }
  }
  return problems
}

export const bgpPeer = calicoKind({
  kind: 'BGPPeer',
  plural: 'bgppeers',
  namespaced: false,
  aliases: ['bgpp', 'bgpps', 'bp', 'bps'],
  schema: peer,
  check: checkPeer,
})
