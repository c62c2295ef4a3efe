// The flow that `why` is asked about: two ends and a service, as a person types them, into packets (one for each family).
import { type Addr, FAMILIES, type Family, familyOf, parseAddr } from '../../core/net/addr.ts'
import type { Packet } from '../../core/net/packet.ts'
import { prefixBase } from '../../core/net/prefix.ts'
import { hasPorts, PROTOCOL_NUMBERS, protocolNumber } from '../../core/net/protocol.ts'
import { nodeAddresses } from '../../core/oracle/decide-flow.ts'
import { find, ofKind, type Snapshot, type WorkloadEndpoint } from '../../core/resources/resource.ts'
import { CommandError } from './terminal.ts'

/** One end of a flow: a workload, or an address that need not be one's. */
export type End = {
  readonly text: string
  readonly addrs: readonly Addr[]
  readonly endpoint: WorkloadEndpoint | undefined
}

const workloadName = ({ metadata, spec }: WorkloadEndpoint): string =>
  `${metadata.namespace}/${spec.pod ?? spec.workload ?? metadata.name}`

const addressesOf = ({ spec }: WorkloadEndpoint): Addr[] => (spec.ipNetworks ?? []).map(prefixBase)

/** `default/web`, `web` (in the namespace given), `hep/eth0-of-a`, `10.0.0.1`. Takes the derived snapshot. */
export function findEnd(text: string, resources: Snapshot, namespace: string): End {
  const endpoints = [...ofKind(resources, 'WorkloadEndpoint')]
  const addr = parseAddr(text)
  if (addr !== undefined) {
    const endpoint = endpoints.find(candidate => addressesOf(candidate).includes(addr))
    return { text, addrs: [addr], endpoint }
  }
  if (text.startsWith('hep/')) return hostEnd(text, resources)
  const wanted = text.includes('/') ? text : `${namespace}/${text}`
  const endpoint = endpoints.find(candidate => workloadName(candidate) === wanted)
  if (endpoint) {
    const addrs = addressesOf(endpoint)
    if (addrs.length === 0) throw new CommandError(`${wanted} has no address: it is finished`)
    return { text: wanted, addrs, endpoint }
  }
  const [ns = '', name = ''] = wanted.split('/')
  const pod = find(resources, 'Pod', { namespace: ns, name })
  if (pod?.spec.hostNetwork) throw new CommandError(`${wanted} uses the host's network: no policy governs it`)
  if (pod) throw new CommandError(`${wanted} has no address yet (fix: wait until it runs)`)
  const near = endpoints.map(workloadName).filter(known => known.endsWith(`/${name}`))
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : 'see gingham get pods -A'
  throw new CommandError(`there is no pod ${wanted} (${hint})`)
}

/** `namespace/name` of the service whose own address this is. */
export function serviceWithAddress(text: string, resources: Snapshot): string | undefined {
  const addr = parseAddr(text)
  const found = [...ofKind(resources, 'Service')].find(({ spec }) =>
    [spec.clusterIP ?? '', ...(spec.clusterIPs ?? [])].some(own => addr !== undefined && parseAddr(own) === addr),
  )
  return found && `${found.metadata.namespace}/${found.metadata.name}`
}

function hostEnd(text: string, resources: Snapshot): End {
  const name = text.slice('hep/'.length)
  const host = find(resources, 'HostEndpoint', { name })
  if (!host) throw new CommandError(`there is no host endpoint ${name} (see gingham get heps)`)
  const { expectedIPs = [], node = '', interfaceName } = host.spec
  const addrs = expectedIPs.length > 0 ? expectedIPs : interfaceName === '*' ? nodeAddresses(resources, node) : []
  if (addrs.length > 0) return { text, addrs, endpoint: undefined }
  throw new CommandError(`the address of host endpoint ${name} is not known (fix: give it expectedIPs)`)
}

/** What is to be carried: a protocol with a port or a port's name, ICMP with type and code. */
export type Service = {
  readonly protocol: number | 'icmp'
  readonly port?: number | string
  readonly icmp?: { readonly type: number; readonly code: number }
}

const USAGE = 'write tcp/80, udp/53, tcp/http, icmp, icmp/8/0, or a protocol number'

/** `tcp/80`, `80` (TCP), `tcp/http`, `icmp`, `icmp/3/1`, `icmpv6/128`, `47`-like protocols as `protocol/47`. */
export function parseService(text: string): Service {
  const bad = (): CommandError => new CommandError(`'${text}' is no service (fix: ${USAGE})`)
  const [name = '', first, second, ...more] = text.toLowerCase().split('/')
  if (more.length > 0) throw bad()
  const number = (part: string, max: number): number => {
    if (!/^\d{1,5}$/.test(part) || Number(part) > max) throw bad()
    return Number(part)
  }
  if (/^\d+$/.test(name) && first === undefined) return { protocol: PROTOCOL_NUMBERS.TCP, port: number(name, 65535) }
  if (name === 'icmp' || name === 'icmpv6' || name === 'ping') {
    const icmp = first === undefined ? {} : { icmp: { type: number(first, 254), code: number(second ?? '0', 255) } }
    return { protocol: name === 'icmpv6' ? PROTOCOL_NUMBERS.ICMPv6 : 'icmp', ...icmp }
  }
  if (name === 'protocol' && first !== undefined && second === undefined) return { protocol: number(first, 255) }
  const protocol = protocolNumber(name)
  if (protocol === undefined || second !== undefined) throw bad()
  if (!hasPorts(protocol)) {
    if (first !== undefined) throw bad()
    return { protocol }
  }
  if (first === undefined || first === '') throw bad()
  return { protocol, port: /^\d+$/.test(first) ? number(first, 65535) : text.slice(text.indexOf('/') + 1) }
}

function portNumber(port: number | string, protocol: number, destination: End): number {
  if (typeof port === 'number') return port
  const found = destination.endpoint?.spec.ports?.find(
    candidate => candidate.name === port && protocolNumber(candidate.protocol) === protocol,
  )
  if (!found) throw new CommandError(`${destination.text} has no port named ${port} (fix: give the number)`)
  return found.port
}

export type FlowOptions = {
  readonly family?: Family | undefined
  /** The client's port; any will do unless rules look at it. */
  readonly sourcePort: number
}

/** A packet for each family in which both ends have an address. */
export function packetsOf(source: End, destination: End, flow: { service: Service } & FlowOptions): Packet[] {
  const { service, family: only, sourcePort } = flow
  const packets: Packet[] = []
  for (const family of FAMILIES) {
    if (only !== undefined && only !== family) continue
    const src = source.addrs.find(addr => familyOf(addr) === family)
    const dst = destination.addrs.find(addr => familyOf(addr) === family)
    if (src === undefined || dst === undefined) continue
    if (service.protocol === PROTOCOL_NUMBERS.ICMPv6 && family === 4) continue
    packets.push({ family, src, dst, ...payload(service, { family, destination, sourcePort }) })
  }
  if (packets.length > 0) return packets
  const asked = only === undefined ? '' : ` over IPv${only}`
  const show = (end: End): string => `${end.text} (${end.addrs.join(', ')})`
  throw new CommandError(`${show(source)} and ${show(destination)} have no address of one family for this${asked}`)
}

type PayloadContext = { readonly family: Family; readonly destination: End; readonly sourcePort: number }

function payload(
  { protocol, port, icmp }: Service,
  { family, destination, sourcePort }: PayloadContext,
): Omit<Packet, 'family' | 'src' | 'dst'> {
  if (protocol === 'icmp' || protocol === PROTOCOL_NUMBERS.ICMPv6) {
    // An echo request, unless a type is given.
    const number = family === 4 ? PROTOCOL_NUMBERS.ICMP : PROTOCOL_NUMBERS.ICMPv6
    return { protocol: number, icmp: icmp ?? { type: family === 4 ? 8 : 128, code: 0 } }
  }
  if (port === undefined) return { protocol }
  return { protocol, sport: sourcePort, dport: portNumber(port, protocol, destination) }
}
