// With whom a node speaks BGP, out of BGPPeer, BGPConfiguration and Node (calico-features 1.9 and 6): the full mesh, peers for
// all nodes, for one or for selected ones, and peers that are nodes themselves, with the way back made for them.
import type { Problem } from '../base/problem.ts'
import { type Addr, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import { parseDuration } from '../resources/field.ts'
import { parsePeerIP } from '../resources/kinds/bgp.ts'
import { type BGPPeer, ofKind, type Snapshot } from '../resources/resource.ts'
import { matches } from '../selector/match.ts'
import { selector } from '../selector/parse.ts'
import { BIRD_DEFAULTS, type BirdPeer, type PeerKind, RESTART_TIME } from './config.ts'
import { isQuotable } from './quote.ts'
import { bgpSettings, type Speaker, speakersOf } from './speaker.ts'

/** Looks a password up: the name of the Secret and the key in it. */
export type SecretLookup = (name: string, key: string) => string | undefined

export type PeersFound = {
  readonly peers: readonly BirdPeer[]
  /** Sessions that were asked for and cannot be; paths begin with the resource, as in `BGPPeer(tor).spec.password`. */
  readonly problems: readonly Problem[]
}

type SecretRef = NonNullable<BGPPeer['spec']['password']>

/** Everything that making a session needs to look at. */
type Context = {
  readonly own: Speaker
  readonly speakers: ReadonlyMap<string, Speaker>
  readonly byAddress: ReadonlyMap<string, Speaker>
  readonly secret: SecretLookup
  readonly problems: Problem[]
}

const MAX_PASSWORD = 80

/** The password of a session: nothing if none is wanted, `undefined` with a problem if it is wanted and cannot be had. */
function password(
  ref: SecretRef | undefined,
  path: string,
  { secret, problems }: Context,
): { password?: string } | undefined {
  const wanted = ref?.secretKeyRef
  if (wanted === undefined) return {}
  const name = wanted.name ?? ''
  const found = secret(name, wanted.key)
  if (found === undefined && wanted.optional === true) return {}
  const refuse = (message: string, fix: string): undefined => {
    problems.push({ path: `${path}.secretKeyRef`, message, fix })
  }
  const at = `key ${wanted.key} of the Secret ${name}`
  if (found === undefined) return refuse(`there is no ${at}, so there is no session`, 'create it where the agent runs')
  if (found === '' || found.length > MAX_PASSWORD || !isQuotable(found)) {
    return refuse(`${at} cannot be a BGP password`, 'use 1 to 80 printable ASCII characters without " and \\')
  }
  return { password: found }
}

const seconds = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Math.max(1, Math.round(parseDuration(text)! / 1000))

const restartTime = (text: string | undefined): number => Math.min(4095, seconds(text) ?? RESTART_TIME)

/** The fields of a session whose other end is one of our nodes, in one family; `undefined` unless both have an address. */
function between(own: Speaker, other: Speaker, family: Family) {
  const [source, address] = [own.addresses[family], other.addresses[family]]
  if (source === undefined || address === undefined) return undefined
  return {
    name: other.name,
    address,
    as: other.as,
    source,
    ...(other.port === BIRD_DEFAULTS.listenPort ? {} : { port: other.port }),
  }
}

/** Reflection is for internal peers outside of our cluster. */
function reflects(
  own: Speaker,
  peer: { readonly as: number; readonly clusterId: Addr | undefined; readonly localAs: number | undefined },
) {
  const internal = peer.as === (peer.localAs ?? own.as)
  return own.clusterId !== undefined && internal && own.clusterId !== peer.clusterId ? { reflectAs: own.clusterId } : {}
}

/** Two ends that both connect would meet half-way: the one with the lower address, as text, is the one that connects. */
const waits = (own: Speaker, address: Addr): boolean => address > (own.addresses[familyOf(address)] ?? '')

function meshPeers(snapshot: Snapshot, context: Context): BirdPeer[] {
  const { own, speakers } = context
  const settings = bgpSettings(snapshot, own.name)
  if (settings.nodeToNodeMeshEnabled === false || own.clusterId !== undefined) return []
  const secret = password(settings.nodeMeshPassword, 'BGPConfiguration(default).spec.nodeMeshPassword', context)
  if (secret === undefined) return []
  return [...speakers.values()].flatMap(other => {
    if (other.name === own.name || other.clusterId !== undefined) return []
    return FAMILIES.flatMap((family): BirdPeer[] => {
      const ends = between(own, other, family)
      if (ends === undefined) return []
      const restart = restartTime(settings.nodeMeshMaxRestartTime)
      return [
        { kind: 'mesh', ...ends, ...secret, restartTime: restart, passive: waits(own, ends.address), nextHop: 'auto' },
      ]
    })
  })
}

function selected(text: string, speakers: Iterable<Speaker>): Speaker[] {
  const wanted = selector(text)
  return [...speakers].filter(({ labels }) => matches(wanted, labels))
}

/** The nodes that a BGPPeer speaks for. */
function localSide({ spec }: BGPPeer, { speakers }: Context): Speaker[] {
  if (spec.node !== undefined) return [...speakers.values()].filter(({ name }) => name === spec.node)
  return spec.nodeSelector === undefined ? [...speakers.values()] : selected(spec.nodeSelector, speakers.values())
}

const kindOf = ({ spec }: BGPPeer): PeerKind =>
  spec.node === undefined && spec.nodeSelector === undefined ? 'global' : 'node'

/** What a BGPPeer says about its sessions, whoever is at the other end. */
function options({ spec }: BGPPeer) {
  const keepalive = seconds(spec.keepaliveTime)
  const mode = spec.nextHopMode?.toLowerCase() as 'auto' | 'self' | 'keep' | undefined
  return {
    restartTime: restartTime(spec.maxRestartTime),
    nextHop: spec.keepOriginalNextHop === true ? ('keep' as const) : (mode ?? ('auto' as const)),
    ...(spec.localASNumber === undefined ? {} : { localAs: spec.localASNumber }),
    ...(spec.numAllowedLocalASNumbers ? { allowLocalAs: spec.numAllowedLocalASNumbers } : {}),
    ...(spec.ttlSecurity ? { ttlSecurity: spec.ttlSecurity } : {}),
    // A hold time of three keep-alives is the proportion of RFC 4271, 10.
    ...(keepalive === undefined
      ? {}
      : { keepaliveTime: keepalive, holdTime: Math.min(65535, Math.max(3, 3 * keepalive)) }),
  }
}

type Password = { readonly password?: string }

function remotePeer(peer: BGPPeer, context: Context, secret: Password): BirdPeer[] {
  const { own, byAddress, problems } = context
  const { spec, metadata } = peer
  const path = `BGPPeer(${metadata.name}).spec`
  const remote = parsePeerIP(spec.peerIP!)!
  const address = remote.address as Addr
  const node = byAddress.get(address)
  const source = own.addresses[familyOf(address)]
  // A BGPPeer for all nodes may name one of them, and that one has nothing to do.
  if (node?.name === own.name) return []
  if (source === undefined) {
    const message = `node ${own.name} has no IPv${familyOf(address)} address, so there is no session`
    problems.push({ path: `${path}.peerIP`, message, fix: 'give the node one in spec.bgp, or select other nodes' })
    return []
  }
  const as = spec.asNumber ?? node?.as
  if (as === undefined) {
    problems.push({ path: `${path}.asNumber`, message: 'is needed for a peer that is not a node of the cluster' })
    return []
  }
  const kind = kindOf(peer)
  const port = remote.port === undefined || remote.port === 179 ? {} : { port: remote.port }
  return [
    {
      kind,
      name: metadata.name,
      address,
      as,
      ...port,
      ...(spec.sourceAddress === 'None' ? {} : { source }),
      ...options(peer),
      ...secret,
      passive: kind === 'global' && node !== undefined && waits(own, address),
      ...reflects(own, { as, clusterId: node?.clusterId, localAs: spec.localASNumber }),
      ...(spec.reachableBy === undefined ? {} : { reachableBy: spec.reachableBy as Addr }),
    },
  ]
}

/** Sessions with nodes that `peerSelector` selects; and from such a node back, unless `reversePeering` is Manual. */
function nodePeers(peer: BGPPeer, context: Context, secret: Password): BirdPeer[] {
  const { own, speakers } = context
  const [near, far] = [localSide(peer, context), selected(peer.spec.peerSelector!, speakers.values())]
  const isIn = (side: readonly Speaker[]): boolean => side.some(({ name }) => name === own.name)
  const forward = isIn(near) ? far : []
  const back = isIn(far) && peer.spec.reversePeering !== 'Manual' ? near : []
  const make = (others: readonly Speaker[], kind: PeerKind): BirdPeer[] =>
    others.flatMap(other => {
      if (other.name === own.name) return []
      return FAMILIES.flatMap((family): BirdPeer[] => {
        const ends = between(own, other, family)
        if (ends === undefined) return []
        const { source, ...others } = ends
        const reflection = reflects(own, { as: ends.as, clusterId: other.clusterId, localAs: peer.spec.localASNumber })
        const from = peer.spec.sourceAddress === 'None' ? {} : { source }
        // Both ends exist only with the way back; without it nobody may wait for the other.
        const passive = peer.spec.reversePeering !== 'Manual' && waits(own, ends.address)
        return [{ kind, ...others, ...from, ...options(peer), ...secret, passive, ...reflection }]
      })
    })
  return [...make(forward, kindOf(peer)), ...make(back, 'node')]
}

function configuredPeers(peer: BGPPeer, context: Context): BirdPeer[] {
  const path = `BGPPeer(${peer.metadata.name}).spec`
  const isRemote = peer.spec.peerIP !== undefined
  const concerned = !isRemote || localSide(peer, context).some(({ name }) => name === context.own.name)
  if (!concerned) return []
  for (const field of ['filters', 'localWorkloadSelector'] as const) {
    if (peer.spec[field] === undefined) continue
    // A session without its filters would tell and take what it must not.
    context.problems.push({
      path: `${path}.${field}`,
      message: 'is not supported, so there is no session',
      fix: `remove ${field}`,
    })
    return []
  }
  const secret = password(peer.spec.password, `${path}.password`, context)
  if (secret === undefined) return []
  if (isRemote) return remotePeer(peer, context, secret)
  if (peer.spec.peerSelector !== undefined) return nodePeers(peer, context, secret)
  context.problems.push({ path, message: 'names no peer', fix: 'set peerIP or peerSelector' })
  return []
}

/** Of several sessions with one address and port BIRD can hold one: the most specific kind, then the first name. */
const RANK: Readonly<Record<PeerKind, number>> = { node: 0, global: 1, mesh: 2 }

function oneEach(peers: readonly BirdPeer[]): BirdPeer[] {
  const order = (a: BirdPeer, b: BirdPeer): number =>
    RANK[a.kind] - RANK[b.kind] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  const chosen = new Map<string, BirdPeer>()
  for (const peer of [...peers].sort(order)) {
    const key = `${peer.address} ${peer.port ?? 179}`
    if (!chosen.has(key)) chosen.set(key, peer)
  }
  return [...chosen.values()].sort((a, b) => (a.address < b.address ? -1 : 1))
}

/** The sessions of a node, in the order of their addresses; none for a node that speaks no BGP. */
export function peersOf(snapshot: Snapshot, node: string, secret: SecretLookup = () => undefined): PeersFound {
  const speakers = speakersOf(snapshot)
  const own = speakers.get(node)
  if (own === undefined) return { peers: [], problems: [] }
  const byAddress = new Map(
    [...speakers.values()].flatMap(one =>
      Object.values(one.addresses).map(address => [address as string, one] as const),
    ),
  )
  const context: Context = { own, speakers, byAddress, secret, problems: [] }
  const configured = [...ofKind(snapshot, 'BGPPeer')].flatMap(peer => configuredPeers(peer, context))
  return { peers: oneEach([...meshPeers(snapshot, context), ...configured]), problems: context.problems }
}
