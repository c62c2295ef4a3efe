// The ruleset of kube-proxy in its nftables mode, written from what that program is seen to put into a kernel: one table for
// each family with its sets, maps and base chains, and for each service the chains that choose an endpoint, translate the
// destination, mark for masquerade, refuse what nobody serves, and keep a client with its endpoint.
export type KubeService = {
  /** `namespace/name`. */
  readonly name: string
  readonly clusterIP: string
  readonly port: number
  readonly protocol?: 'tcp' | 'udp' | 'sctp'
  /** None: whoever calls is refused. */
  readonly endpoints: readonly { readonly ip: string; readonly port: number }[]
  readonly nodePort?: number
  /** External and load balancer addresses. */
  readonly externalIPs?: readonly string[]
  /** Who may call the external addresses. */
  readonly sourceRanges?: readonly string[]
  /** Seconds for which a client stays with its endpoint. */
  readonly affinity?: number
  /** Calls from outside go to endpoints of this node only: then their sources are kept. */
  readonly local?: boolean
}

export type KubeProxySpec = {
  readonly family: 'ip' | 'ip6'
  readonly podCIDR: string
  readonly serviceCIDR: string
  readonly nodeIPs: readonly string[]
  readonly services: readonly KubeService[]
  /** As versions from 1.36 on write it: a map gives the destination, and who calls itself is known by the connection. */
  readonly direct?: boolean
}

type Parts = { readonly chains: string[]; readonly sets: string[]; readonly elements: Map<string, string[]> }

const addressType = (family: string): string => (family === 'ip' ? 'ipv4_addr' : 'ipv6_addr')
const bracket = (family: string, ip: string): string => (family === 'ip6' ? `[${ip}]` : ip)
const chain = (name: string, rules: readonly string[], comment?: string): string =>
  `\tchain ${name} {\n${comment ? `\t\tcomment "${comment}"\n` : ''}${rules.map(r => `\t\t${r}\n`).join('')}\t}\n`
const base = (name: string, head: string, rules: readonly string[]): string =>
  chain(name, [`type ${head}; policy accept;`, ...rules])

function addService(spec: KubeProxySpec, service: KubeService, index: number, parts: Parts): void {
  const { family, podCIDR } = spec
  const { name, clusterIP, port, protocol = 'tcp', endpoints, externalIPs = [], nodePort, affinity } = service
  const id = `${String(index).padStart(8, 'A')}-${name}/${protocol}/p${port}`
  const add = (set: string, element: string): void => {
    parts.elements.set(set, [...(parts.elements.get(set) ?? []), element])
  }
  add('cluster-ips', clusterIP)
  const addresses = [clusterIP, ...externalIPs]
  const key = (ip: string): string => `${ip} . ${protocol} . ${port}`
  const note = `comment "${name}:p${port}"`
  if (endpoints.length === 0) {
    for (const ip of addresses) add('no-endpoint-services', `${key(ip)} ${note} : goto reject-chain`)
    if (nodePort) add('no-endpoint-nodeports', `${protocol} . ${nodePort} ${note} : goto reject-chain`)
    return
  }
  const chainOf = (e: { ip: string; port: number }): string => `endpoint-${id}__${e.ip}/${e.port}`.replaceAll(':', '.')
  const kept = (e: { ip: string; port: number }): string => `affinity-${id}__${e.ip}/${e.port}`.replaceAll(':', '.')
  for (const e of endpoints) {
    if (affinity)
      parts.sets.push(
        `\tset ${kept(e)} {\n\t\ttype ${addressType(family)}\n\t\tflags dynamic,timeout\n\t\ttimeout ${affinity}s\n\t}\n`,
      )
    parts.chains.push(
      chain(chainOf(e), [
        `${family} saddr ${e.ip} jump mark-for-masquerade`,
        ...(affinity ? [`update @${kept(e)} { ${family} saddr }`] : []),
        `meta l4proto ${protocol} dnat to ${bracket(family, e.ip)}:${e.port}`,
      ]),
    )
  }
  const choices = endpoints.map((e, i) => `${i} : goto ${chainOf(e)}`).join(', ')
  const destinations = endpoints.map((e, i) => `${i} : ${e.ip} . ${e.port}`).join(', ')
  // Newer ones translate at once where no client stays with an endpoint.
  const choose =
    spec.direct && !affinity
      ? `meta l4proto ${protocol} dnat ${family} to numgen random mod ${endpoints.length} map { ${destinations} }`
      : `numgen random mod ${endpoints.length} vmap { ${choices} }`
  parts.chains.push(
    chain(`service-${id}`, [
      `${family} daddr ${clusterIP} ${family} saddr != ${podCIDR} jump mark-for-masquerade`,
      ...(affinity ? endpoints.map(e => `${family} saddr @${kept(e)} goto ${chainOf(e)}`) : []),
      choose,
    ]),
    chain(
      `external-${id}`,
      service.local
        ? [
            `${family} saddr ${podCIDR} goto service-${id} comment "short-circuit pod traffic"`,
            `fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"`,
            `fib saddr type local goto service-${id} comment "short-circuit local traffic"`,
            choose,
          ]
        : ['jump mark-for-masquerade', `goto service-${id}`],
    ),
  )
  add('service-ips', `${key(clusterIP)} : goto service-${id}`)
  for (const ip of externalIPs) add('service-ips', `${key(ip)} : goto external-${id}`)
  if (nodePort) add('service-nodeports', `${protocol} . ${nodePort} : goto external-${id}`)
  if (service.sourceRanges) {
    parts.chains.push(chain(`firewall-${id}`, [`${family} saddr != { ${service.sourceRanges.join(', ')} } drop`]))
    for (const ip of externalIPs) add('firewall-ips', `${key(ip)} ${note} : goto firewall-${id}`)
  }
}

/** Endpoints that may call themselves. */
function hairpins({ services }: KubeProxySpec): string {
  const of = ({ endpoints, protocol = 'tcp' }: KubeService): string[] =>
    endpoints.map(e => `${e.ip} . ${e.ip} . ${protocol} . ${e.port}`)
  const all = [...new Set(services.flatMap(of))]
  return all.length === 0 ? '' : `\t\telements = { ${all.join(',\n\t\t\t')} }\n`
}

/** As `nft -f` takes it. */
export function kubeProxyTable(spec: KubeProxySpec): string {
  const { family, serviceCIDR, nodeIPs } = spec
  const parts: Parts = { chains: [], sets: [], elements: new Map([['nodeport-ips', [...nodeIPs]]]) }
  for (const [i, service] of spec.services.entries()) addService(spec, service, i, parts)
  const address = addressType(family)
  const elements = (set: string): string => {
    const list = parts.elements.get(set) ?? []
    return list.length === 0 ? '' : `\t\telements = { ${[...new Set(list)].join(',\n\t\t\t')} }\n`
  }
  const set = (kind: 'set' | 'map', name: string, type: string): string =>
    `\t${kind} ${name} {\n\t\ttype ${type}\n${elements(name)}\t}\n`
  const byService = `${address} . inet_proto . inet_service : verdict`
  const byPort = 'inet_proto . inet_service : verdict'
  const ask = (map: string): string => `${family} daddr . meta l4proto . th dport vmap @${map}`
  const askPort = (map: string): string => `${family} daddr @nodeport-ips meta l4proto . th dport vmap @${map}`
  return [
    `table ${family} kube-proxy {\n\tcomment "rules for kube-proxy"\n`,
    set('set', 'cluster-ips', address),
    set('set', 'nodeport-ips', address),
    ...parts.sets,
    chain('reject-chain', ['reject'], 'helper for services without endpoints'),
    chain('mark-for-masquerade', ['meta mark set meta mark or 0x4000']),
    ...parts.chains,
    set('map', 'firewall-ips', byService),
    set('map', 'no-endpoint-nodeports', byPort),
    set('map', 'no-endpoint-services', byService),
    set('map', 'service-ips', byService),
    set('map', 'service-nodeports', byPort),
    chain('cluster-ips-check', [
      `${family} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"`,
      `${family} daddr { ${serviceCIDR} } drop comment "Drop traffic to unallocated ClusterIPs"`,
    ]),
    chain('firewall-check', [ask('firewall-ips')]),
    chain('nodeport-endpoints-check', [askPort('no-endpoint-nodeports')]),
    chain('service-endpoints-check', [ask('no-endpoint-services')]),
    chain('services', [ask('service-ips'), askPort('service-nodeports')]),
    ...(spec.direct
      ? [
          `\tset hairpin-connections {\n\t\ttype ${address} . ${address} . inet_proto . inet_service\n${hairpins(spec)}\t}\n`,
          chain('masquerading', [
            'meta mark and 0x4000 != 0 meta mark set meta mark xor 0x4000 masquerade fully-random',
            `ct status dnat ${family} saddr . ${family} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random`,
          ]),
        ]
      : [
          chain('masquerading', [
            'meta mark and 0x4000 == 0 return',
            'meta mark set meta mark xor 0x4000',
            'masquerade fully-random',
          ]),
        ]),
    base('filter-prerouting-pre-dnat', 'filter hook prerouting priority -110', ['ct state new jump firewall-check']),
    base('filter-output-pre-dnat', 'filter hook output priority -110', ['ct state new jump firewall-check']),
    base('filter-forward', 'filter hook forward priority 0', [
      'ct state new jump service-endpoints-check',
      'ct state new jump cluster-ips-check',
    ]),
    base('filter-input', 'filter hook input priority 0', [
      'ct state new jump nodeport-endpoints-check',
      'ct state new jump service-endpoints-check',
    ]),
    base('filter-output', 'filter hook output priority 0', [
      'ct state new jump service-endpoints-check',
      'ct state new jump cluster-ips-check',
    ]),
    base('nat-prerouting', 'nat hook prerouting priority -100', ['jump services']),
    base('nat-output', 'nat hook output priority -100', ['jump services']),
    base('nat-postrouting', 'nat hook postrouting priority 100', ['jump masquerading']),
    '}\n',
  ].join('')
}
