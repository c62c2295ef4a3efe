// The columns of `get`, kind by kind: the headings, and what stands under them. Calico's kinds have calicoctl's columns.
import { DEFAULT_AS } from '../../core/base/register.ts'
import { prefixBase } from '../../core/net/prefix.ts'
import { clusterPeerText, selectorText } from '../../core/oracle/kubernetes-words.ts'
import { podNetworks } from '../../core/resources/derive.ts'
import { SERVICE_NAME_LABEL } from '../../core/resources/kinds/service.ts'
import {
  find,
  KINDS,
  type Kind,
  type Resource,
  type ResourceOf,
  type Snapshot,
  type TieredPolicy,
} from '../../core/resources/resource.ts'
import { tabStops } from './table.ts'

type Cell<K extends Kind> = (resource: ResourceOf<K>, snapshot: Snapshot) => string
type Columns<K extends Kind> = { readonly [heading: string]: Cell<K> }
type Tables<K extends Kind> = { readonly ps: Columns<K>; readonly wide?: Columns<K> }

/** A number as Go prints a float: shortest digits, an exponent from 1e+06 on. */
export function goFloat(n: number): string {
  const [digits = '0', exponentText = '0'] = n.toExponential().split('e')
  const exponent = Number(exponentText)
  if (exponent >= -4 && exponent < 21 && n === 0) return '0'
  if (exponent >= -4 && exponent < 6) return String(n)
  const sign = exponent < 0 ? '-' : '+'
  return `${digits}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`
}

const orderOf = (order: number | undefined): string => (order === undefined ? '<nil>' : goFloat(order))
const name = ({ metadata }: { readonly metadata: { readonly name: string } }): string => metadata.name
const flag = (value: boolean | undefined): string => String(value ?? false)
/** A list with commas, cut at 80 characters. */
function joined(values: readonly string[] | undefined): string {
  const text = (values ?? []).join(',')
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

const NAME = { NAME: name }
const tiered = {
  ps: { NAME: name, TIER: (p: TieredPolicy) => p.spec.tier },
  wide: {
    NAME: name,
    TIER: (p: TieredPolicy) => p.spec.tier,
    ORDER: (p: TieredPolicy) => orderOf(p.spec.order),
    SELECTOR: (p: TieredPolicy) => p.spec.selector ?? '',
  },
}
const sets = {
  ps: NAME,
  wide: { NAME: name, NETS: (s: ResourceOf<'NetworkSet' | 'GlobalNetworkSet'>) => joined(s.spec.nets) },
}

const workload = ({ spec }: ResourceOf<'WorkloadEndpoint'>): string =>
  spec.pod ?? spec.workload ?? spec.containerID ?? ''

/** From the status or, until there is one, from where the CNI plugin wrote them: what policies see. */
const addressesOf = (pod: ResourceOf<'Pod'>): string => podNetworks(pod).map(prefixBase).join(',')

/** A node's own AS number, or that of the cluster in parentheses. */
function asNumber({ spec }: ResourceOf<'Node'>, snapshot: Snapshot): string {
  const own = spec.bgp?.asNumber
  if (own !== undefined) return String(own)
  const config = find(snapshot, 'BGPConfiguration', { name: 'default' })
  return `(${config?.spec.asNumber ?? DEFAULT_AS})`
}

/** As kubectl shows them: `<none>` for what is not there. */
const serviceType = ({ spec }: ResourceOf<'Service'>): string => spec.type ?? 'ClusterIP'
const clusterIp = ({ spec }: ResourceOf<'Service'>): string => spec.clusterIP || '<none>'
type ShownPort = { readonly port?: number | undefined; readonly protocol?: string | undefined }
const portsOf = (ports: readonly ShownPort[] | undefined): string =>
  ports?.length ? ports.map(({ port, protocol = 'TCP' }) => `${port}/${protocol}`).join(',') : '<none>'
const slicePorts = ({ ports }: ResourceOf<'EndpointSlice'>): string =>
  ports?.length ? ports.map(({ port }) => port ?? '*').join(',') : '<unset>'

const TABLES: { readonly [K in Kind]: Tables<K> } = {
  NetworkPolicy: tiered,
  GlobalNetworkPolicy: tiered,
  StagedNetworkPolicy: tiered,
  StagedGlobalNetworkPolicy: tiered,
  Tier: { ps: { NAME: name, ORDER: t => orderOf(t.spec.order) } },
  NetworkSet: sets,
  GlobalNetworkSet: sets,
  Profile: {
    ps: NAME,
    wide: {
      NAME: name,
      LABELS: p =>
        Object.entries(p.spec.labelsToApply ?? {})
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
    },
  },
  IPPool: {
    ps: { NAME: name, CIDR: p => p.spec.cidr, SELECTOR: p => p.spec.nodeSelector },
    wide: {
      NAME: name,
      CIDR: p => p.spec.cidr,
      NAT: p => flag(p.spec.natOutgoing),
      IPIPMODE: p => p.spec.ipipMode,
      VXLANMODE: p => p.spec.vxlanMode,
      DISABLED: p => flag(p.spec.disabled),
      DISABLEBGPEXPORT: p => flag(p.spec.disableBGPExport),
      SELECTOR: p => p.spec.nodeSelector,
      ASSIGNMENTMODE: p => p.spec.assignmentMode,
    },
  },
  IPReservation: { ps: NAME, wide: { NAME: name, CIDRS: r => joined(r.spec.reservedCIDRs) } },
  IPAMConfiguration: {
    ps: {
      NAME: name,
      STRICTAFFINITY: c => flag(c.spec.strictAffinity),
      AUTOALLOCATEBLOCKS: c => flag(c.spec.autoAllocateBlocks),
    },
    wide: {
      NAME: name,
      STRICTAFFINITY: c => flag(c.spec.strictAffinity),
      AUTOALLOCATEBLOCKS: c => flag(c.spec.autoAllocateBlocks),
      MAXBLOCKSPERHOST: c => String(c.spec.maxBlocksPerHost ?? 0),
    },
  },
  Node: {
    ps: NAME,
    wide: {
      NAME: name,
      ASN: asNumber,
      IPV4: n => n.spec.bgp?.ipv4Address ?? '',
      IPV6: n => n.spec.bgp?.ipv6Address ?? '',
    },
  },
  WorkloadEndpoint: {
    ps: {
      WORKLOAD: workload,
      NODE: w => w.spec.node ?? '',
      NETWORKS: w => joined(w.spec.ipNetworks),
      INTERFACE: w => w.spec.interfaceName ?? '',
    },
    wide: {
      NAME: name,
      WORKLOAD: workload,
      NODE: w => w.spec.node ?? '',
      NETWORKS: w => joined(w.spec.ipNetworks),
      INTERFACE: w => w.spec.interfaceName ?? '',
      PROFILES: w => joined(w.spec.profiles),
      NATS: w => joined(w.spec.ipNATs?.map(nat => nat.externalIP)),
    },
  },
  HostEndpoint: {
    ps: { NAME: name, NODE: h => h.spec.node ?? '' },
    wide: {
      NAME: name,
      NODE: h => h.spec.node ?? '',
      INTERFACE: h => h.spec.interfaceName ?? '',
      IPS: h => joined(h.spec.expectedIPs),
      PROFILES: h => joined(h.spec.profiles),
    },
  },
  BGPConfiguration: {
    ps: {
      NAME: name,
      LOGSEVERITY: c => c.spec.logSeverityScreen,
      MESHENABLED: c => (c.spec.nodeToNodeMeshEnabled === undefined ? '' : String(c.spec.nodeToNodeMeshEnabled)),
      ASNUMBER: c => String(c.spec.asNumber ?? ''),
    },
  },
  BGPPeer: {
    ps: {
      NAME: name,
      PEERIP: p => p.spec.peerIP ?? '',
      NODE: p => p.spec.node ?? p.spec.nodeSelector ?? '(global)',
      ASN: p => String(p.spec.asNumber ?? 0),
    },
  },
  FelixConfiguration: { ps: NAME },
  ClusterInformation: {
    ps: {
      NAME: name,
      CLUSTERGUID: c => c.spec.clusterGUID ?? '',
      CLUSTERTYPE: c => c.spec.clusterType ?? '',
      CALICOVERSION: c => c.spec.calicoVersion ?? '',
      DATASTOREREADY: c => (c.spec.datastoreReady === undefined ? '' : String(c.spec.datastoreReady)),
    },
  },
  StagedKubernetesNetworkPolicy: {
    ps: NAME,
    wide: { NAME: name, PODSELECTOR: p => selectorText(p.spec.podSelector) },
  },
  // As kubectl shows them.
  KubernetesNetworkPolicy: {
    ps: { NAME: name, 'POD-SELECTOR': p => selectorText(p.spec.podSelector) || '<none>' },
    wide: {
      NAME: name,
      'POD-SELECTOR': p => selectorText(p.spec.podSelector) || '<none>',
      TYPES: p => p.spec.policyTypes.join(','),
    },
  },
  KubernetesClusterNetworkPolicy: {
    ps: { NAME: name, TIER: p => p.spec.tier ?? '', PRIORITY: p => String(p.spec.priority) },
    wide: {
      NAME: name,
      TIER: p => p.spec.tier ?? '',
      PRIORITY: p => String(p.spec.priority),
      SUBJECT: p => clusterPeerText(p.spec.subject),
    },
  },
  Namespace: { ps: NAME },
  ServiceAccount: { ps: NAME },
  Service: { ps: { NAME: name, TYPE: serviceType, 'CLUSTER-IP': clusterIp, 'PORT(S)': s => portsOf(s.spec.ports) } },
  EndpointSlice: {
    ps: {
      NAME: name,
      ADDRESSTYPE: s => s.addressType,
      PORTS: slicePorts,
      ENDPOINTS: s => joined(s.endpoints.flatMap(({ addresses }) => addresses)) || '<unset>',
    },
    wide: {
      NAME: name,
      SERVICE: s => s.metadata.labels?.[SERVICE_NAME_LABEL] ?? '',
      ADDRESSTYPE: s => s.addressType,
      PORTS: slicePorts,
      ENDPOINTS: s => joined(s.endpoints.flatMap(({ addresses }) => addresses)) || '<unset>',
    },
  },
  Pod: {
    ps: {
      NAME: name,
      NODE: p => p.spec.nodeName ?? '',
      IPS: addressesOf,
    },
    wide: {
      NAME: name,
      NODE: p => p.spec.nodeName ?? '',
      IPS: addressesOf,
      PHASE: p => p.status?.phase ?? '',
      LABELS: p =>
        Object.entries(p.metadata.labels ?? {})
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
    },
  },
}

export type TableOptions = {
  readonly wide: boolean
  /** Puts NAMESPACE first, for namespaced kinds. */
  readonly showNamespace: boolean
  /** What some columns look up. */
  readonly snapshot: Snapshot
}

/** The table of resources of one kind, with the blank line that ends it. */
export function printTable(kind: Kind, resources: readonly Resource[], options: TableOptions): string {
  const tables = TABLES[kind] as Tables<Kind>
  const columns = Object.entries((options.wide && tables.wide) || tables.ps)
  const shown = options.showNamespace && KINDS[kind].namespaced
  const heading = [...(shown ? ['NAMESPACE'] : []), ...columns.map(([title]) => title)]
  const rows = resources.map(resource => [
    ...(shown ? [resource.metadata.namespace ?? ''] : []),
    ...columns.map(([, cell]) => cell(resource as never, options.snapshot)),
  ])
  return `${tabStops([heading, ...rows])}\n`
}

/** Tiers by their order, without one last; everything else by namespace and name. */
export function inPrintOrder(kind: Kind, resources: readonly Resource[]): Resource[] {
  const place = (r: Resource): number =>
    kind === 'Tier' && r.kind === 'Tier' ? (r.spec.order ?? Number.POSITIVE_INFINITY) : 0
  const text = ({ metadata }: Resource): string => `${metadata.namespace ?? ''}/${metadata.name}`
  return [...resources].sort((a, b) => {
    const [left, right] = [place(a), place(b)]
    return left < right ? -1 : left > right ? 1 : text(a) < text(b) ? -1 : 1
  })
}
