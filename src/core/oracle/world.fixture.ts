// A small cluster for tests: two namespaces, five pods, and resources that go through the same decoding as a user's YAML,
// so that a case that no user could write cannot pass for one.
import { addr, familyOf } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { protocolNumber } from '../net/protocol.ts'
import { printCause } from '../resources/cause.ts'
import { type DecodeOptions, decodeResource, type Resource, type Snapshot, snapshotOf } from '../resources/resource.ts'
import { decide } from './decide.ts'

export type Fields = Record<string, unknown>

function resource(document: Fields, options: DecodeOptions = {}): Resource {
  const decoded = decodeResource(document, options)
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  return decoded.value
}

export const v3 = (kind: string, name: string, spec: Fields, labels: Fields = {}): Resource => {
  const [namespace, rest] = name.includes('/') ? name.split('/') : [undefined, name]
  return resource({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name: rest, namespace, labels }, spec })
}
export const np = (name: string, spec: Fields): Resource => v3('NetworkPolicy', name, spec)
export const gnp = (name: string, spec: Fields): Resource => v3('GlobalNetworkPolicy', name, spec)
export const tier = (name: string, spec: Fields): Resource => v3('Tier', name, spec)
export function v1(kind: string, name: string, spec: Fields): Resource {
  const [namespace, rest] = name.split('/')
  return resource({ apiVersion: 'v1', kind, metadata: { name: rest, namespace }, spec })
}
/** A NetworkPolicy of Kubernetes, as a datastore holds it: its rules need not be valid. */
export function knp(name: string, spec: Fields): Resource {
  const [namespace, rest] = name.split('/')
  const head = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' }
  return resource({ ...head, metadata: { name: rest, namespace }, spec }, { stored: true })
}
export function kcnp(name: string, spec: Fields): Resource {
  const head = { apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy' }
  return resource({ ...head, metadata: { name }, spec }, { stored: true })
}
/** An EndpointSlice, of IPv4 unless it says otherwise. */
export function slice(name: string, service: string | undefined, fields: Fields): Resource {
  const [namespace, rest] = name.split('/')
  const labels = service === undefined ? {} : { 'kubernetes.io/service-name': service }
  const metadata = { name: rest, namespace, labels }
  return resource({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata,
    addressType: 'IPv4',
    ...fields,
  })
}
const namespace = (name: string, labels: Fields = {}): Resource =>
  resource({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })

type PodSpec = { ips: string[]; labels?: Fields; serviceAccount?: string; ports?: Fields[] }
export function pod(name: string, { ips, labels = {}, serviceAccount, ports = [] }: PodSpec): Resource {
  const [ns, rest] = name.split('/')
  return resource({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: rest, namespace: ns, labels },
    spec: { nodeName: 'node-a', serviceAccountName: serviceAccount, containers: [{ ports }] },
    status: { podIPs: ips.map(ip => ({ ip })) },
  })
}

const HTTP = [{ name: 'http', containerPort: 8080, protocol: 'TCP' }]
const PODS = [
  namespace('default', { team: 'blue' }),
  namespace('prod', { team: 'red' }),
  resource({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'robot', namespace: 'default', labels: { kind: 'machine' } },
  }),
  pod('default/frontend', { ips: ['10.0.0.1', 'fd00::1'], labels: { role: 'frontend' }, serviceAccount: 'robot' }),
  pod('default/backend', { ips: ['10.0.0.2', 'fd00::2'], labels: { role: 'backend' }, ports: HTTP }),
  pod('default/client', { ips: ['10.0.0.3', 'fd00::3'], labels: { role: 'client' } }),
  pod('prod/frontend', { ips: ['10.0.1.1', 'fd00::101'], labels: { role: 'frontend' } }),
  pod('prod/backend', { ips: ['10.0.1.2', 'fd00::102'], labels: { role: 'backend' } }),
]
const DEFAULT_TIER = tier('default', { order: 1000000 })

const NAMES: Record<string, string> = {
  frontend: '10.0.0.1',
  backend: '10.0.0.2',
  client: '10.0.0.3',
  prodfrontend: '10.0.1.1',
  prodbackend: '10.0.1.2',
  frontend6: 'fd00::1',
  backend6: 'fd00::2',
  outside: '192.0.2.9',
  other: '198.51.100.7',
  outside6: '2001:db8::9',
}

/** `frontend backend tcp/80`, `a b udp/53<1000` (source port 1000), `a b icmp/8/0`, `a b 47`. */
export function packet(text: string): Packet {
  const [from = '', to = '', what = ''] = text.split(' ')
  const [src, dst] = [addr(NAMES[from] ?? from), addr(NAMES[to] ?? to)]
  const [name = '', first, second] = what.split(/[/<]/)
  const protocol = protocolNumber(name)!
  const base = { family: familyOf(src), protocol, src, dst }
  if ([6, 17, 132].includes(protocol)) {
    const sport = what.includes('<') ? Number(second) : 40000
    return { ...base, sport, dport: Number(first) }
  }
  if (protocol === 1 || protocol === 58) return { ...base, icmp: { type: Number(first), code: Number(second ?? 0) } }
  return base
}

export const world = (...resources: Resource[]): Snapshot => snapshotOf([...PODS, DEFAULT_TIER, ...resources])
/** What becomes of a packet: `verdict: deciding cause`. */
export function outcome(snapshot: Snapshot, text: string): string {
  const decision = decide(snapshot, packet(text))
  const directions = [decision.egress, decision.ingress].filter(d => d !== undefined)
  const deciding = directions.find(d => d.verdict === 'deny') ?? directions.at(-1)
  return `${decision.verdict}: ${deciding ? printCause(deciding.cause) : 'nobody'}`
}
