// What a node's BIRD shall do, as a value. BIRD 2 speaks both families in one process, so there is one configuration a node.
// Rendering it (render.ts) is the only way in which it becomes text; nothing in here is trusted to be harmless text.
import { DEFAULT_AS } from '../base/register.ts'
import type { Addr } from '../net/addr.ts'
import type { Prefix } from '../net/prefix.ts'

/** Where a session comes from; the words are those of `calicoctl node status`. */
export type PeerKind = 'mesh' | 'node' | 'global'

export type BirdPeer = {
  readonly kind: PeerKind
  /** The BGPPeer or, in the mesh, the other node: shown as the session's description. */
  readonly name: string
  readonly address: Addr
  /** The peer's port when it is not 179. */
  readonly port?: number
  readonly as: number
  /** Overrides the node's own AS number on this session. */
  readonly localAs?: number
  /** The address this side of the session uses; without it the kernel's choice. */
  readonly source?: Addr
  /** At most 80 printable characters without a double quote (TCP MD5, RFC 2385; BIRD's strings know no escape). */
  readonly password?: string
  /** How often the own AS number may stand in a received path: for nodes of one AS behind a router of another. */
  readonly allowLocalAs?: number
  /** Seconds. BIRD's own are 240, and a third of the hold time for keep-alives. */
  readonly holdTime?: number
  readonly keepaliveTime?: number
  /** Seconds for which the peer shall keep our routes while BIRD restarts (RFC 4724). */
  readonly restartTime: number
  /** Only waits for the peer to connect: of two nodes that name each other, one does. */
  readonly passive: boolean
  readonly nextHop: 'auto' | 'self' | 'keep'
  /** GTSM (RFC 5082): packets that came over more hops than this are not taken. */
  readonly ttlSecurity?: number
  /** This node reflects routes to the peer, under its own cluster id. Internal sessions only. */
  readonly reflectAs?: Addr
  /** A router by which the peer is reached, as a static route. */
  readonly reachableBy?: Addr
}

export type BirdConfig = {
  /** An IPv4 address in form; on a node without one, any number that no other node has. */
  readonly routerId: Addr
  readonly localAs: number
  readonly listenPort: number
  /** Listen on the sessions' own addresses only. */
  readonly strictBind: boolean
  readonly log?: { readonly file: string; readonly level: LogLevel }
  readonly peers: readonly BirdPeer[]
  /** The blocks of this node: a blackhole for what no pod has, and what the peers are told. */
  readonly blocks: readonly Prefix[]
  /** Addresses of this node's pods out of other nodes' blocks, told to the peers one by one while the kernel has their route. */
  readonly borrowed: readonly Prefix[]
  /** Pools whose routes may go on from one peer to another (as a route reflector, or to a second router). */
  readonly pools: readonly Prefix[]
  /** Pools with `disableBGPExport`: nothing in them is told to anybody. */
  readonly notExported: readonly Prefix[]
  /** Pools whose routes the agent writes itself (tunnels): BIRD keeps its hands off the kernel there. */
  readonly notProgrammed: readonly Prefix[]
  /** Interfaces whose addresses are nobody's business, `*` allowed. */
  readonly ignoredInterfaces: readonly string[]
  /** The metric of the routes that BIRD writes, by family. */
  readonly metric: { readonly 4: number; readonly 6: number }
}

export type LogLevel = 'Trace' | 'Debug' | 'Info' | 'Warning' | 'Error' | 'Fatal'

/** What Calico's default BGPConfiguration amounts to; the rest depends on the node. */
export const BIRD_DEFAULTS = {
  localAs: DEFAULT_AS,
  listenPort: 179,
  strictBind: false,
  borrowed: [],
  pools: [],
  notExported: [],
  notProgrammed: [],
  ignoredInterfaces: [],
  metric: { 4: 1024, 6: 1024 },
} as const satisfies Partial<BirdConfig>

export const RESTART_TIME = 120
