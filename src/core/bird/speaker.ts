// A node as a BGP speaker: its addresses, AS number, port and cluster, out of its Node and the BGPConfigurations.
// A node without `spec.bgp` speaks no BGP at all.
import type { Addr, Family } from '../net/addr.ts'
import { FAMILIES, parseAddr } from '../net/addr.ts'
import { type BGPConfiguration, find, type Node, ofKind, type Snapshot } from '../resources/resource.ts'
import { BIRD_DEFAULTS } from './config.ts'

export type Speaker = {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly as: number
  readonly addresses: { readonly [family in Family]?: Addr }
  readonly port: number
  /** Set on route reflectors. */
  readonly clusterId?: Addr
}

export type BgpSettings = Partial<BGPConfiguration['spec']>

/** The settings of a node: those of `default`, each replaced by what `node.<name>` says. */
export function bgpSettings(snapshot: Snapshot, node: string): BgpSettings {
  return {
    ...find(snapshot, 'BGPConfiguration', { name: 'default' })?.spec,
    ...find(snapshot, 'BGPConfiguration', { name: `node.${node}` })?.spec,
  }
}

/** The address of an interface address such as `10.0.0.1/24`. */
const bareAddress = (text: string | undefined): Addr | undefined => parseAddr(text?.split('/')[0] ?? '')

function speaker(snapshot: Snapshot, { metadata, spec }: Node): Speaker[] {
  if (spec.bgp === undefined) return []
  const texts = { 4: spec.bgp.ipv4Address, 6: spec.bgp.ipv6Address }
  const addresses = FAMILIES.flatMap(family => {
    const address = bareAddress(texts[family])
    return address === undefined ? [] : [[family, address] as const]
  })
  const settings = bgpSettings(snapshot, metadata.name)
  const clusterId = bareAddress(spec.bgp.routeReflectorClusterID)
  const own: Speaker = {
    name: metadata.name,
    labels: metadata.labels ?? {},
    as: spec.bgp.asNumber ?? settings.asNumber ?? BIRD_DEFAULTS.localAs,
    addresses: Object.fromEntries(addresses),
    port: settings.listenPort ?? BIRD_DEFAULTS.listenPort,
    ...(clusterId === undefined ? {} : { clusterId }),
  }
  return [own]
}

/** Every node that speaks BGP, by name. */
export function speakersOf(snapshot: Snapshot): ReadonlyMap<string, Speaker> {
  const all = [...ofKind(snapshot, 'Node')].flatMap(node => speaker(snapshot, node))
  return new Map(all.map(one => [one.name, one]))
}
