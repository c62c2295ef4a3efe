// Services in rules, told from the EndpointSlices again at every question: a slice belongs to the service that its label
// names, every address in it counts whatever its conditions, and the ports of a slice are those of all its addresses. The
// service's own address matches nothing: by the time a rule is asked it has become that of an endpoint.
import { type Addr, parseAddr } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { protocolName, protocolNumber } from '../net/protocol.ts'
import { type EndpointSlice, ofKind, type Snapshot } from '../resources/resource.ts'
import type { Failure } from './decision.ts'

/** That an address is an endpoint of a service; by one slice. */
export type Served = {
  /** `namespace/name`. */
  readonly service: string
  readonly ports: readonly { readonly protocol: number; readonly port: number }[]
}

const serviceOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace}/${metadata.labels?.['kubernetes.io/service-name'] ?? ''}`

/** Whatever services an address is an endpoint of. */
export function servedAt(resources: Snapshot, addr: Addr): Served[] {
  const found: Served[] = []
  for (const slice of ofKind(resources, 'EndpointSlice')) {
    if (!slice.endpoints.some(({ addresses }) => addresses.some(text => parseAddr(text) === addr))) continue
    const ports = (slice.ports ?? []).flatMap(({ port, protocol }) =>
      port === undefined ? [] : [{ port, protocol: protocolNumber(protocol ?? 'TCP')! }],
    )
    found.push({ service: serviceOf(slice), ports })
  }
  return found
}

export type ServiceSide = {
  readonly name: 'source' | 'destination'
  readonly addr: Addr
  readonly served: readonly Served[]
}

/** What keeps a side from being a service's endpoint: as a destination on a port of it, as a source on any. */
export function serviceFailures(service: string, side: ServiceSide, packet: Packet): Failure[] {
  const { name, addr } = side
  const mine = side.served.filter(served => served.service === service)
  if (mine.length === 0) {
    const text = `${name} ${addr} is no endpoint of service ${service}`
    return [{ text, wanted: `the ${name} were an endpoint of service ${service}` }]
  }
  if (name === 'source') return []
  const ports = mine.flatMap(served => served.ports)
  if (ports.some(({ protocol, port }) => protocol === packet.protocol && port === packet.dport)) return []
  const words = [...new Set(ports.map(({ protocol, port }) => `${protocolName(protocol).toLowerCase()}/${port}`))]
  const serves = words.length === 0 ? 'serves on no port' : `serves on ${words.join(', ')} only`
  return [{ text: `service ${service} ${serves}`, wanted: `it went to a port of service ${service}` }]
}
