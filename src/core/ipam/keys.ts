// The keys under which Calico keeps its IPAM in etcd (libcalico's model: paths under /calico/ipam/v2). A block's CIDR
// has a dash for its slash; an owner is `host:<node>` or `virtual:<name>` in values and `host/<node>` in keys.
import type { Family } from '../net/addr.ts'
import { type Prefix, parsePrefixDetail, prefixFamily } from '../net/prefix.ts'

const ROOT = '/calico/ipam/v2'

/** Who blocks are affine to: `host:node-1`, `virtual:load-balancer`. */
export type Owner = `host:${string}` | `virtual:${string}`

export const hostOwner = (node: string): Owner => `host:${node}`

export const CONFIG_KEY = `${ROOT}/config`
/** Below it are the blocks of both families. */
export const ALL_BLOCKS = `${ROOT}/assignment/`
export const blocksPrefix = (family: Family): string => `${ALL_BLOCKS}ipv${family}/block/`
export const blockKey = (cidr: Prefix): string => blocksPrefix(prefixFamily(cidr)) + dashed(cidr)
export const handleKey = (handle: string): string => `${ROOT}/handle/${handle}`
export const affinitiesPrefix = (owner: Owner, family: Family): string =>
  `${ROOT}/${owner.replace(':', '/')}/ipv${family}/block/`
export const affinityKey = (owner: Owner, cidr: Prefix): string =>
  affinitiesPrefix(owner, prefixFamily(cidr)) + dashed(cidr)

/** Where the affinities of all owners of a kind are. */
export const ownersPrefix = (kind: 'host' | 'virtual'): string => `${ROOT}/${kind}/`

/** The owner of an affinity's key; undefined for any other key. */
export function ownerOfKey(key: string): Owner | undefined {
  const found = /^\/calico\/ipam\/v2\/(host|virtual)\/([^/]+)\/ipv[46]\/block\//.exec(key)
  return found ? (`${found[1]}:${found[2]}` as Owner) : undefined
}

const dashed = (cidr: Prefix): string => cidr.replace('/', '-')

/** The CIDR at the end of a block's or an affinity's key; undefined if there is none. */
export function cidrOfKey(key: string): Prefix | undefined {
  const name = key.slice(key.lastIndexOf('/') + 1)
  const dash = name.lastIndexOf('-')
  if (dash < 0) return undefined
  const parsed = parsePrefixDetail(`${name.slice(0, dash)}/${name.slice(dash + 1)}`)
  return parsed?.strict ? parsed.prefix : undefined
}
