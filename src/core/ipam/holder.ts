// Who holds an address, by what the allocation says of itself, and whether that one still exists. What cannot be judged
// counts as existing: an address that is kept too long costs an address, one that is given twice costs a network.
import type { Addr } from '../net/addr.ts'
import { hostPrefix, type Prefix } from '../net/prefix.ts'
import type { Pod, Resource, WorkloadEndpoint } from '../resources/resource.ts'

export type Holder =
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string; readonly node: string | undefined }
  /** A container that CNI alone knows; its WorkloadEndpoint names it. */
  | { readonly kind: 'container'; readonly id: string; readonly node: string }
  /** A node's tunnel. */
  | { readonly kind: 'node'; readonly node: string }
  /** Nobody that we could ask for: assigned by hand, reserved, a service's, a virtual machine's. */
  | { readonly kind: 'unknown' }

const UNKNOWN: Holder = { kind: 'unknown' }
/** Calico's values of the attribute `type`. */
const TUNNELS = new Set([
  'ipipTunnelAddress',
  'vxlanTunnelAddress',
  'vxlanV6TunnelAddress',
  'wireguardTunnelAddress',
  'wireguardV6TunnelAddress',
])
/** What every allocation of a node carries and that says nothing of its holder. */
const PLAIN = new Set(['node', 'timestamp'])
/** The pod's annotation that names the container whose addresses it was given last. */
const CONTAINER_ID = 'cni.projectcalico.org/containerID'

/** The container in a CNI handle, `<network>.<container>`; the whole text if there is no dot. */
const containerOf = (handle: string): string => handle.slice(handle.lastIndexOf('.') + 1)

/** Reads handle and attributes (Calico's `secondary`) as whom they mean. */
export function holderOf(handle: string, secondary: ReadonlyMap<string, string>): Holder {
  const [namespace, name, node] = [secondary.get('namespace'), secondary.get('pod'), secondary.get('node')]
  const type = secondary.get('type')
  if (type !== undefined) return TUNNELS.has(type) && node ? { kind: 'node', node } : UNKNOWN
  if ([...secondary.keys()].some(key => key.startsWith('vm'))) return UNKNOWN
  if (namespace && name) return { kind: 'pod', namespace, name, node }
  const isPlain = [...secondary.keys()].every(key => PLAIN.has(key))
  return isPlain && node && handle.includes('.') ? { kind: 'container', id: containerOf(handle), node } : UNKNOWN
}

/** The resources that holders are looked up in. */
export type Holders = {
  readonly nodes: ReadonlySet<string>
  readonly pods: ReadonlyMap<string, Pod>
  /** Endpoints by `<namespace>/<pod>`. */
  readonly endpoints: ReadonlyMap<string, readonly WorkloadEndpoint[]>
  /** Containers by `<node>/<id>`. */
  readonly containers: ReadonlySet<string>
  /** All addresses of all endpoints. */
  readonly addresses: ReadonlySet<Prefix>
}

/** Resources as a lookup; pods' endpoints may be among them (derived) or not. */
export function holders(resources: Iterable<Resource>): Holders {
  const nodes = new Set<string>()
  const pods = new Map<string, Pod>()
  const endpoints = new Map<string, WorkloadEndpoint[]>()
  const containers = new Set<string>()
  const addresses = new Set<Prefix>()
  for (const resource of resources) {
    const { name, namespace = '' } = resource.metadata
    if (resource.kind === 'Node') nodes.add(name)
    if (resource.kind === 'Pod') pods.set(`${namespace}/${name}`, resource)
    if (resource.kind !== 'WorkloadEndpoint') continue
    const { pod, node, containerID, ipNetworks } = resource.spec
    for (const network of ipNetworks ?? []) addresses.add(network)
    if (node && containerID) containers.add(`${node}/${containerID}`)
    if (!pod) continue
    const key = `${namespace}/${pod}`
    endpoints.set(key, [...(endpoints.get(key) ?? []), resource])
  }
  return { nodes, pods, endpoints, containers, addresses }
}

export type Held = { readonly address: Addr; readonly handle: string; readonly holder: Holder }

/** Whether the holder exists and the address may be its. */
export function isHeld({ address, handle, holder }: Held, known: Holders): boolean {
  switch (holder.kind) {
    case 'unknown':
      return true
    case 'node':
      return known.nodes.has(holder.node)
    case 'container':
      return known.containers.has(`${holder.node}/${holder.id}`) || known.addresses.has(hostPrefix(address))
    case 'pod':
      return isPodHolding({ address, handle, holder }, known)
  }
}

type Run = { readonly node?: string | undefined; readonly container?: string | undefined }
const runOf = ({ metadata, spec }: Pod): Run => ({
  node: spec.nodeName,
  container: metadata.annotations?.[CONTAINER_ID],
})

/** A pod of the name may be a later one: then it says other addresses, runs elsewhere, or has none of its own. */
function isPodHolding(
  { address, handle, holder }: Held & { readonly holder: Extract<Holder, { kind: 'pod' }> },
  known: Holders,
): boolean {
  const key = `${holder.namespace}/${holder.name}`
  const endpoints = known.endpoints.get(key) ?? []
  const told = endpoints.flatMap(({ spec }) => spec.ipNetworks ?? [])
  if (told.includes(hostPrefix(address))) return true
  const pod = known.pods.get(key)
  // Where the pod itself is not known its endpoints are all that speaks for it.
  const runs = pod
    ? [runOf(pod)]
    : endpoints.map(({ spec: { node, containerID } }) => ({ node, container: containerID }))
  if (runs.some(({ container }) => container && container === containerOf(handle))) return true
  if (pod?.spec.hostNetwork) return false
  const isHere = ({ node }: Run): boolean => !node || !holder.node || node === holder.node
  // Without a word from the pod: it is just getting its address.
  return runs.some(isHere) && told.length === 0
}
