// Which addresses a handle holds, read from its blocks: how a repeated ADD finds what the first one was given.
import { readBlock } from '../../core/ipam/affinity.ts'
import { addressAt, ordinalsOf } from '../../core/ipam/block.ts'
import type { Plan } from '../../core/ipam/plan.ts'
import { readHandle } from '../../core/ipam/release.ts'
import type { Addr } from '../../core/net/addr.ts'
import { runPlan } from '../ipam/ipam.ts'
import type { Store } from '../store/store.ts'

function* addressesOf(id: string): Plan<Addr[]> {
  const addresses: Addr[] = []
  const { handle } = yield* readHandle(id)
  for (const cidr of handle.counts.keys()) {
    const found = yield* readBlock(cidr)
    if (found === undefined || found === 'corrupt') continue
    addresses.push(...ordinalsOf(found.block, id).map(ordinal => addressAt(cidr, ordinal)))
  }
  return addresses
}

/** Empty if there is no such handle. IPv4 first. */
export async function readHandleAddresses(store: Store, handle: string): Promise<Addr[]> {
  const addresses = await runPlan(store, addressesOf(handle))
  return addresses.sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')))
}
