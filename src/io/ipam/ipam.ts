// IPAM over a store: runs core's plans step by step, with the clock and chance they need. What plans of one process do from
// their first look at blocks on goes one after the other, so that a node's pods neither compete for its blocks nor claim one
// each; those that want the same and have come together share a plan. Between processes and nodes the plans' compare-and-set
// decides.

import { openBlock } from '../../core/ipam/affinity.ts'
import { type AssignContext, type AutoAssign, autoAssign } from '../../core/ipam/assign.ts'
import { assignIp } from '../../core/ipam/assign-certain.ts'
import type { Block, Moment } from '../../core/ipam/block.ts'
import { DEFAULT_CONFIG, decodeConfig, encodeConfig, type IpamConfig } from '../../core/ipam/config.ts'
import { blocksPrefix, CONFIG_KEY, hostOwner, type Owner } from '../../core/ipam/keys.ts'
import {
  type Answer,
  IpamError,
  type Plan,
  type Step,
  type Stored,
  type Write,
  type Written,
} from '../../core/ipam/plan.ts'
import { type IPPoolLike, isEnabled, type PoolUse, selectPools } from '../../core/ipam/pools.ts'
import { renewHandle } from '../../core/ipam/reclaim.ts'
import { type Release, releaseByHandle, releaseIps, releaseOwner } from '../../core/ipam/release.ts'
import { blocksOf, type NodeBlocks, type PoolUtilisation, utilisation } from '../../core/ipam/utilisation.ts'
import type { Addr, Family } from '../../core/net/addr.ts'
import { FAMILIES, familyOf } from '../../core/net/addr.ts'
import type { Prefix } from '../../core/net/prefix.ts'
import { type Entry, type Store, StoreError } from '../store/store.ts'
import { Turns, together } from '../turns.ts'

export type IpamDeps = {
  readonly now: () => Date
  /** From 0 to below 1; Math.random unless given. */
  readonly random?: () => number
}

export type AssignRequest = {
  readonly node: string
  readonly handle: string
  /** There should be no such handle yet: throws `exists`, with nothing given, if there is. Saves looking. */
  readonly isNewHandle?: boolean
  /** Calico's names: pod, namespace, type; `node` and `timestamp` are added. */
  readonly attributes?: Readonly<Record<string, string>>
  readonly pools: readonly IPPoolLike[]
  readonly use?: PoolUse
  /** Whose blocks: the node's, unless told. */
  readonly owner?: Owner
}

export type AutoAssignRequest = AssignRequest & {
  readonly num4: number
  readonly num6: number
  /** Names or CIDRs of pools asked for. */
  readonly requested4?: readonly string[]
  readonly requested6?: readonly string[]
  /** Whether a pool's selector takes the node or the namespace; without it only `all()` does. */
  readonly matchesNode?: (selector: string) => boolean
  readonly matchesNamespace?: (selector: string) => boolean
  readonly reserved?: readonly Prefix[]
  readonly maxBlocksPerHost?: number
}

export type Ipam = {
  /** All addresses asked for, or an `IpamError` and none. */
  autoAssign(request: AutoAssignRequest): Promise<{ readonly v4: readonly Addr[]; readonly v6: readonly Addr[] }>
  assignIp(address: Addr, request: AssignRequest): Promise<void>
  /** Gives the addresses that were free already. */
  releaseIps(releases: readonly Release[]): Promise<readonly Addr[]>
  /** Gives the addresses released; none if there is no such handle. Repairs what a killed process left under it. */
  releaseByHandle(handle: string): Promise<readonly Addr[]>
  /**
   * The addresses that the handle has already, IPv4 first, kept from a collection that is about to take them back as
   * nobody's: for an addition that is repeated.
   */
  renew(handle: string): Promise<readonly Addr[]>
  /** Gives up the node's blocks and gives them; addresses in use stay allocated. */
  releaseHost(node: string): Promise<readonly Prefix[]>
  utilisation(pools: readonly IPPoolLike[], reserved?: readonly Prefix[]): Promise<readonly PoolUtilisation[]>
  /** The node's own blocks, and its addresses in blocks that are not its own. */
  blocksOf(node: string): Promise<NodeBlocks>
  /** All blocks that can be read. */
  blocks(): Promise<readonly Block[]>
  config(): Promise<IpamConfig>
  setConfig(config: IpamConfig): Promise<void>
}

/** Where calicoctl keeps the resource of the same meaning; it counts while the datastore has no setting of its own. */
const CONFIG_RESOURCE_KEY = '/calico/resources/v3/projectcalico.org/ipamconfigurations/default'

/** A time as Go prints it, which is how Calico writes `timestamp`: `2026-11-24 06:36:58.571 +0000 UTC`. */
export function goTimestamp(time: Date): string {
  const [date, clock] = time.toISOString().slice(0, -1).split('T')
  return `${date} ${clock!.replace(/\.?0+$/, '')} +0000 UTC`
}

export const toMoment = (time: Date): Moment => ({
  rfc3339: `${time.toISOString().slice(0, 19)}Z`,
  unixNano: BigInt(time.getTime()) * 1_000_000n,
})

const toStored = ({ key, value, modRevision }: Entry): Stored => ({ key, value, revision: modRevision })

async function write(store: Store, { key, value, ifRevision }: Write): Promise<Written> {
  try {
    if (value !== undefined) return (await store.put(key, value, { ifRevision })).modRevision
    await store.delete(key, { ifRevision })
    return 0
  } catch (error) {
    if (error instanceof StoreError && error.code === 'conflict') return undefined
    throw error
  }
}

/** Once all have come to an end; then throws the first that failed. */
async function all<T>(works: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(works)
  return Promise.all(works)
}

async function answer(store: Store, step: Step): Promise<Answer> {
  switch (step.kind) {
    case 'get':
      return all<Stored | undefined>(step.keys.map(key => store.get(key).then(entry => entry && toStored(entry))))
    case 'list':
      return (await store.list(step.prefix)).entries.map(toStored)
    case 'write': {
      const written = step.writes.map((one): Promise<Written | Error> => write(store, one))
      return all(step.apart ? written.map(work => work.catch((error: Error) => error)) : written)
    }
  }
}

/** All blocks that can be read. */
export async function readBlocks(store: Store): Promise<readonly Block[]> {
  const lists = await Promise.all(FAMILIES.map(family => store.list(blocksPrefix(family))))
  return lists.flatMap(({ entries }) =>
    entries.flatMap(entry => {
      const opened = openBlock(toStored(entry))
      return opened === 'corrupt' ? [] : [opened.block]
    }),
  )
}

/** Runs a plan to its end. A store that fails ends it where it stands, which every plan allows. */
export async function runPlan<T>(store: Store, plan: Plan<T>): Promise<T> {
  let next = plan.next()
  while (!next.done) next = plan.next(await answer(store, next.value))
  return next.value
}

/** Whether a step reads blocks or affinities. */
const looksAtBlocks = (step: Step): boolean =>
  step.kind !== 'write' && /\/ipv[46]\/block\//.test(step.kind === 'list' ? step.prefix : (step.keys[0] ?? ''))

export function openIpam(store: Store, deps: IpamDeps): Ipam {
  const random = deps.random ?? Math.random
  const turns = new Turns()
  const run = async <T>(plan: Plan<T>): Promise<T> => {
    let release: (() => void) | undefined
    try {
      let next = plan.next()
      while (!next.done) {
        if (looksAtBlocks(next.value)) release ??= await turns.take()
        next = plan.next(await answer(store, next.value))
      }
      return next.value
    } finally {
      release?.()
    }
  }

  const assign = together((requests: readonly AutoAssign[]) => runPlan(store, autoAssign(requests)), turns)
  const releaseHandle = together((handles: readonly string[]) => runPlan(store, releaseByHandle(handles)), turns)

  const config = async (): Promise<IpamConfig> => {
    const [own, resource] = await Promise.all([store.get(CONFIG_KEY), store.get(CONFIG_RESOURCE_KEY)])
    const entry = own ?? resource
    if (!entry) return DEFAULT_CONFIG
    const decoded = decodeConfig(entry.value)
    if (!decoded) throw new IpamError('corrupt', `the IPAM configuration ${entry.key} cannot be read`)
    return decoded
  }

  const context = async (request: AssignRequest & { reserved?: readonly Prefix[] }): Promise<AssignContext> => {
    const now = deps.now()
    return {
      owner: request.owner ?? hostOwner(request.node),
      handle: request.handle,
      isNewHandle: request.isNewHandle ?? false,
      attributes: { node: request.node, timestamp: goTimestamp(now), ...request.attributes },
      config: await config(),
      reserved: request.reserved ?? [],
      now: toMoment(now),
      seed: Math.floor(random() * 2 ** 32),
    }
  }

  const blocks = () => readBlocks(store)

  return {
    autoAssign: async request => {
      const wanted = (family: Family, count: number, requested: readonly string[] = []) => ({
        count,
        pools:
          count === 0
            ? []
            : selectPools(request.pools, {
                family,
                use: request.use ?? 'Workload',
                requested,
                matchesNode: request.matchesNode ?? (() => false),
                matchesNamespace: request.matchesNamespace ?? (() => false),
              }),
      })
      const assigned = await assign({
        ...(await context(request)),
        wanted: { 4: wanted(4, request.num4, request.requested4), 6: wanted(6, request.num6, request.requested6) },
        maxBlocksPerHost: request.maxBlocksPerHost ?? 0,
      })
      return { v4: assigned[4], v6: assigned[6] }
    },
    assignIp: async (address, request) => {
      const { use = 'Workload' } = request
      const pools = request.pools.filter(
        pool =>
          isEnabled(pool) &&
          familyOf(pool.cidr) === familyOf(address) &&
          (pool.allowedUses ?? ['Workload', 'Tunnel']).includes(use),
      )
      await run(assignIp(address, pools, await context(request)))
    },
    releaseIps: releases => run(releaseIps(releases)),
    releaseByHandle: releaseHandle,
    renew: async handle => (await run(renewHandle(handle))).sort((a, b) => familyOf(a) - familyOf(b)),
    releaseHost: node => run(releaseOwner(hostOwner(node))),
    utilisation: async (pools, reserved = []) => utilisation(pools, await blocks(), reserved),
    blocksOf: async node => blocksOf(node, await blocks()),
    blocks,
    config,
    setConfig: async ({ strictAffinity, autoAllocateBlocks, maxBlocksPerHost }) => {
      if (!strictAffinity && !autoAllocateBlocks) {
        throw new IpamError('invalid', "Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time")
      }
      await store.put(CONFIG_KEY, encodeConfig({ strictAffinity, autoAllocateBlocks, maxBlocksPerHost }))
    },
  }
}
