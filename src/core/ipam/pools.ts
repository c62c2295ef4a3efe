// Which pools an allocation may use (Calico's rules of pool selection) and in what order a host walks a pool's blocks.
import { BITS, type Family, toNumber } from '../net/addr.ts'
import { makePrefix, type Prefix, parsePrefix, prefixBase, prefixFamily, prefixLength } from '../net/prefix.ts'
import { IpamError } from './plan.ts'

export type PoolUse = 'Workload' | 'Tunnel' | 'LoadBalancer'

/** What IPAM needs of an IPPool resource: its name and the fields of its spec; absent ones have Calico's defaults. */
export type IPPoolLike = {
  readonly name: string
  readonly cidr: Prefix
  readonly blockSize?: number
  readonly disabled?: boolean
  readonly nodeSelector?: string
  readonly namespaceSelector?: string
  readonly assignmentMode?: 'Automatic' | 'Manual'
  readonly allowedUses?: readonly PoolUse[]
  /** The status condition `Allocatable`, if it is set. */
  readonly allocatable?: boolean
  readonly terminating?: boolean
}

export const DEFAULT_BLOCK_SIZE: Readonly<Record<Family, number>> = { 4: 26, 6: 122 }
const DEFAULT_USES: readonly PoolUse[] = ['Workload', 'Tunnel']

export const blockSizeOf = (pool: IPPoolLike): number => pool.blockSize ?? DEFAULT_BLOCK_SIZE[prefixFamily(pool.cidr)]

export const isEnabled = (pool: IPPoolLike): boolean =>
  pool.disabled !== true && pool.terminating !== true && pool.allocatable !== false

export type PoolWish = {
  readonly family: Family
  readonly use: PoolUse
  /** Names or CIDRs of pools asked for; those are taken whatever their selectors and mode. Empty: none asked for. */
  readonly requested: readonly string[]
  readonly matchesNode: (selector: string) => boolean
  readonly matchesNamespace: (selector: string) => boolean
}

/** The pools to allocate from, in order; throws `no-pool` as Calico does. */
export function selectPools(pools: readonly IPPoolLike[], wish: PoolWish): readonly IPPoolLike[] {
  const enabled = pools.filter(pool => isEnabled(pool) && prefixFamily(pool.cidr) === wish.family)
  if (wish.requested.length > 0) {
    return wish.requested.map(text => {
      const pool = enabled.find(({ name, cidr }) => name === text || cidr === parsePrefix(text))
      if (!pool) throw new IpamError('no-pool', `the given pool (${text}) does not exist, or is not enabled`)
      return pool
    })
  }
  const qualified = enabled.filter(
    pool =>
      pool.assignmentMode !== 'Manual' &&
      (pool.allowedUses ?? DEFAULT_USES).includes(wish.use) &&
      matches(pool.nodeSelector, wish.matchesNode) &&
      matches(pool.namespaceSelector, wish.matchesNamespace),
  )
  if (qualified.length === 0) throw new IpamError('no-pool', `cannot find a qualified ippool for IPv${wish.family}`)
  return qualified
}

const matches = (selector: string | undefined, test: (selector: string) => boolean): boolean =>
  selector === undefined || selector === '' || selector === 'all()' || test(selector)

/** FNV-1a over the text's UTF-16 code units, 32 bits: spreads hosts over a pool. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0
  return hash
}

/** All blocks of a pool, from a place that depends on the host's name, once round: hosts seldom want the same block. */
export function* blocksFrom(pool: IPPoolLike, host: string): Generator<Prefix> {
  const family = prefixFamily(pool.cidr)
  const size = blockSizeOf(pool)
  const bits = size - prefixLength(pool.cidr)
  if (bits < 0 || size > BITS[family]) return
  const count = 1n << BigInt(bits)
  const step = 1n << BigInt(BITS[family] - size)
  const base = toNumber(prefixBase(pool.cidr))
  const hash = (BigInt(hashText(host)) << 32n) | BigInt(hashText(`${host}/`))
  for (let i = 0n; i < count; i++) yield makePrefix(family, base + ((hash + i) % count) * step, size)
}

/** A Fisher-Yates shuffle by a seeded generator (mulberry32). */
export function shuffle<T>(items: readonly T[], seed: number): T[] {
  const result = [...items]
  let state = seed >>> 0
  for (let i = result.length - 1; i > 0; i--) {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    const j = ((t ^ (t >>> 14)) >>> 0) % (i + 1)
    ;[result[i], result[j]] = [result[j]!, result[i]!]
  }
  return result
}

/** The pool's block that an address (as a number) falls into. */
export const blockOf = (pool: IPPoolLike, n: bigint): Prefix =>
  makePrefix(prefixFamily(pool.cidr), n, blockSizeOf(pool))
