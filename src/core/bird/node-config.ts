// The whole BIRD configuration of one node: its sessions, and what the pools and the BGPConfiguration say of routes.

import { sha1Hex } from '../base/hash.ts'
import type { Problem } from '../base/problem.ts'
import { type Addr, fromNumber } from '../net/addr.ts'
import { type Prefix, parsePrefix } from '../net/prefix.ts'
import { type IPPool, ofKind, type Snapshot } from '../resources/resource.ts'
import { BIRD_DEFAULTS, type BirdConfig } from './config.ts'
import { peersOf, type SecretLookup } from './peers.ts'
import { type BgpSettings, bgpSettings, speakersOf } from './speaker.ts'

export type NodeRoutes = {
  readonly node: string
  /** The blocks with affinity to this node. */
  readonly blocks: readonly Prefix[]
  /** Full-length prefixes of this node's pods out of blocks of other nodes. */
  readonly borrowed: readonly Prefix[]
  /** Whether the node's networks (`podCIDRs`) are its blocks, too: those of host-local IPAM (USE_POD_CIDR). */
  readonly usePodCidr?: boolean
  readonly logFile?: string
  readonly secret?: SecretLookup
}

/** Whether BIRD, not the agent, writes the routes to a pool's pods on other nodes into the kernel (`programClusterRoutes`). */
function isProgrammed({ spec }: IPPool, settings: BgpSettings): boolean {
  // Tunnel routes need the neighbour entries that only the agent writes.
  if (spec.vxlanMode !== 'Never') return false
  const mode = settings.programClusterRoutes ?? 'EnabledNoEncapOnly'
  return mode === 'Enabled' || mode === (spec.ipipMode === 'Never' ? 'EnabledNoEncapOnly' : 'EnabledIPIPOnly')
}

const networksOf = (snapshot: Snapshot, name: string): Prefix[] => {
  const node = [...ofKind(snapshot, 'Node')].find(({ metadata }) => metadata.name === name)
  return (node?.status.podCIDRs ?? []).flatMap(cidr => parsePrefix(cidr) ?? [])
}

/** A node without IPv4 still needs a 32-bit id that no other node has: the first digits of a hash of its name. */
const hashedId = (node: string): Addr => fromNumber(4, BigInt(`0x${sha1Hex(node).slice(0, 8)}`) | 1n)

/** The configuration and what could not be put into it; `undefined` for a node that speaks no BGP. */
export function birdConfigOf(
  snapshot: Snapshot,
  routes: NodeRoutes,
): { readonly config: BirdConfig; readonly problems: readonly Problem[] } | undefined {
  const own = speakersOf(snapshot).get(routes.node)
  if (own === undefined) return undefined
  const settings = bgpSettings(snapshot, routes.node)
  const pools = [...ofKind(snapshot, 'IPPool')]
  const cidrs = (wanted: (pool: IPPool) => boolean): Prefix[] =>
    pools.filter(wanted).map(pool => pool.spec.cidr as Prefix)
  const { peers, problems } = peersOf(snapshot, routes.node, routes.secret)
  const level = settings.logSeverityScreen ?? 'Info'
  const config: BirdConfig = {
    routerId: own.addresses[4] ?? hashedId(routes.node),
    localAs: own.as,
    listenPort: own.port,
    strictBind: settings.bindMode === 'NodeIP',
    ...(routes.logFile === undefined ? {} : { log: { file: routes.logFile, level } }),
    peers,
    blocks: routes.usePodCidr ? [...routes.blocks, ...networksOf(snapshot, routes.node)] : routes.blocks,
    borrowed: routes.borrowed,
    pools: cidrs(pool => !pool.spec.disableBGPExport),
    notExported: cidrs(pool => pool.spec.disableBGPExport === true),
    notProgrammed: cidrs(pool => !isProgrammed(pool, settings)),
    ignoredInterfaces: settings.ignoredInterfaces ?? [],
    metric: {
      4: settings.ipv4NormalRoutePriority ?? BIRD_DEFAULTS.metric[4],
      6: settings.ipv6NormalRoutePriority ?? BIRD_DEFAULTS.metric[6],
    },
  }
  return { config, problems }
}
