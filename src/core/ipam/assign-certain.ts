// Giving one certain address.
import { type Addr, familyOf, toNumber } from '../net/addr.ts'
import { prefixContains } from '../net/prefix.ts'
import { claimBlock, readBlock } from './affinity.ts'
import { type AssignContext, toAttribute } from './assign.ts'
import { allocate, encodeBlock, ordinalOf, ordinalsOf } from './block.ts'
import { blockKey } from './keys.ts'
import { IpamError, type Plan, put, retry } from './plan.ts'
import { blockOf, type IPPoolLike } from './pools.ts'
import { Promises, promiseAll } from './promises.ts'

/** Out of the pools (selected by the caller); reservations do not matter. */
export function* assignIp(address: Addr, pools: readonly IPPoolLike[], context: AssignContext): Plan<void> {
  const { owner, handle, config, now } = context
  const pool = pools.find(({ cidr }) => prefixContains(cidr, address))
  if (!pool) {
    throw new IpamError('no-pool', `the IP address ${address} is not in any enabled IPv${familyOf(address)} pool`)
  }
  const cidr = blockOf(pool, toNumber(address))
  const ordinal = ordinalOf(cidr, address)!
  const promises = new Promises(context)
  try {
    yield* retry(function* (): Plan<true | undefined> {
      const found = yield* readBlock(cidr)
      if (found === 'corrupt') throw new IpamError('corrupt', `the IPAM block ${cidr} cannot be read`)
      if (found === undefined) {
        yield* claimBlock(owner, cidr, now)
        return undefined
      }
      const { block, revision } = found
      if (block.allocations[ordinal] !== null) {
        throw new IpamError('assigned', `the IP address ${address} is already assigned`)
      }
      if (config.strictAffinity && block.affinity !== owner) {
        throw new IpamError('not-owned', `${address} is in the block ${cidr}, which is not affine to ${owner}`)
      }
      const total = ordinalsOf(block, handle).length + 1
      const failures = yield* promiseAll(new Map([[promises, new Map([[cidr, total]])]]))
      for (const error of failures.values()) throw error
      const next = allocate(block, [ordinal], toAttribute(context))
      if ((yield* put(blockKey(cidr), encodeBlock(next), revision)) === undefined) return undefined
      promises.keep(cidr, total)
      return true
    })
  } finally {
    yield* promises.settle()
  }
}
