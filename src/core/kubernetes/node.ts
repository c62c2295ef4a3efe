// A Kubernetes Node as Calico's Node: what Calico knows of a node lies in annotations of Kubernetes' own object. Labels and
// annotations that only Calico's Node has lie there as JSON.

type Fields = Readonly<Record<string, unknown>>
type Texts = Readonly<Record<string, string>>

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {})
const textsOf = (value: unknown): Texts =>
  Object.fromEntries(
    Object.entries(fieldsOf(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )

const PREFIX = 'projectcalico.org/'
const LABELS = `${PREFIX}labels`
const ANNOTATIONS = `${PREFIX}annotations`
const INTERFACES = `${PREFIX}Interfaces`

type Path = readonly [part: 'spec' | 'status', ...fields: string[]]

/** Where the text of an annotation stands in Calico's Node. */
const PLACES: readonly (readonly [annotation: string, path: Path])[] = [
  ['ASNumber', ['spec', 'bgp', 'asNumber']],
  ['IPv4Address', ['spec', 'bgp', 'ipv4Address']],
  ['IPv6Address', ['spec', 'bgp', 'ipv6Address']],
  ['IPv4IPIPTunnelAddr', ['spec', 'bgp', 'ipv4IPIPTunnelAddr']],
  ['RouteReflectorClusterID', ['spec', 'bgp', 'routeReflectorClusterID']],
  ['IPv4VXLANTunnelAddr', ['spec', 'ipv4VXLANTunnelAddr']],
  ['VXLANTunnelMACAddr', ['spec', 'vxlanTunnelMACAddr']],
  ['IPv6VXLANTunnelAddr', ['spec', 'ipv6VXLANTunnelAddr']],
  ['VXLANTunnelMACAddrV6', ['spec', 'vxlanTunnelMACAddrV6']],
  ['IPv4WireguardInterfaceAddr', ['spec', 'wireguard', 'interfaceIPv4Address']],
  ['IPv6WireguardInterfaceAddr', ['spec', 'wireguard', 'interfaceIPv6Address']],
  ['WireguardPublicKey', ['status', 'wireguardPublicKey']],
  ['WireguardPublicKeyV6', ['status', 'wireguardPublicKeyV6']],
]

function parseObject(text: string | undefined): Texts {
  try {
    return text === undefined ? {} : textsOf(JSON.parse(text))
  } catch {
    return {}
  }
}

/** Calico's Node as a document; what stands in no annotation is absent. */
export function calicoNode(node: Fields): Fields {
  const metadata = fieldsOf(node.metadata)
  const annotations = textsOf(metadata.annotations)
  const parts: { spec: { [field: string]: unknown }; status: { [field: string]: unknown } } = { spec: {}, status: {} }
  for (const [name, [part, ...fields]] of PLACES) {
    const text = annotations[PREFIX + name]
    if (!text) continue
    const last = fields.pop()!
    let at = parts[part]
    for (const field of fields) {
      const inner = fieldsOf(at[field])
      at[field] = inner
      at = inner as { [field: string]: unknown }
    }
    at[last] = text
  }
  const { uid, resourceVersion, creationTimestamp, name } = metadata
  const addresses = addressesOf(node)
  const podCIDRs = fieldsOf(node.spec).podCIDRs
  const interfaces = parseInterfaces(annotations[INTERFACES])
  return {
    kind: 'Node',
    apiVersion: 'projectcalico.org/v3',
    metadata: {
      ...{ name, uid, resourceVersion, creationTimestamp },
      labels: { ...parseObject(annotations[LABELS]), ...textsOf(metadata.labels) },
      annotations: parseObject(annotations[ANNOTATIONS]),
    },
    spec: {
      ...parts.spec,
      orchRefs: [{ nodeName: name, orchestrator: 'k8s' }],
      ...(addresses.length > 0 ? { addresses } : {}),
      ...(interfaces.length > 0 ? { interfaces } : {}),
    },
    status: { ...parts.status, ...(Array.isArray(podCIDRs) ? { podCIDRs } : {}) },
  }
}

const KNOWN_TYPES = ['InternalIP', 'ExternalIP']

function addressesOf(node: Fields): Fields[] {
  const all = fieldsOf(node.status).addresses
  return Array.isArray(all)
    ? all.map(fieldsOf).flatMap(({ address, type }) => (KNOWN_TYPES.includes(String(type)) ? [{ address, type }] : []))
    : []
}

function parseInterfaces(text: string | undefined): unknown[] {
  try {
    const found: unknown = text === undefined ? [] : JSON.parse(text)
    return Array.isArray(found) ? found : []
  } catch {
    return []
  }
}

/**
 * The change of Kubernetes' Node that makes it say what Calico's Node says, as a merge patch: null takes an annotation away.
 * Labels that Kubernetes' Node has already stay where they are; the others are kept as JSON.
 */
export function nodePatch(
  wanted: Fields,
  node: Fields,
): { metadata: { annotations: Readonly<Record<string, string | null>> } } {
  const have = textsOf(fieldsOf(node.metadata).annotations)
  const annotations: { [name: string]: string | null } = {}
  const set = (name: string, text: string | undefined): void => {
    if (text !== undefined) annotations[name] = text
    else if (have[name] !== undefined) annotations[name] = null
  }
  for (const [name, path] of PLACES) {
    const value = path.reduce<unknown>((at, field) => fieldsOf(at)[field], wanted)
    set(PREFIX + name, value === undefined || value === '' ? undefined : String(value))
  }
  const interfaces = fieldsOf(wanted.spec).interfaces
  set(INTERFACES, Array.isArray(interfaces) && interfaces.length > 0 ? JSON.stringify(interfaces) : undefined)
  const metadata = fieldsOf(wanted.metadata)
  const own = textsOf(fieldsOf(node.metadata).labels)
  const labels = Object.entries(textsOf(metadata.labels)).filter(([key, value]) => own[key] !== value)
  set(LABELS, labels.length > 0 ? JSON.stringify(Object.fromEntries(labels)) : undefined)
  const notes = textsOf(metadata.annotations)
  set(ANNOTATIONS, Object.keys(notes).length > 0 ? JSON.stringify(notes) : undefined)
  return { metadata: { annotations } }
}
