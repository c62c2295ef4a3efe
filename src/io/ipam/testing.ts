// What the IPAM tests share: small pools, a clock that stands still, stores that die or are audited.
import assert from 'node:assert/strict'
import { IpamError } from '../../core/ipam/plan.ts'
import type { IPPoolLike } from '../../core/ipam/pools.ts'
import { prefix } from '../../core/net/prefix.ts'
import { openMemory } from '../store/memory.ts'
import type { Store } from '../store/store.ts'
import { wrap } from '../store/testing.ts'
import { audit } from './audit.ts'
import { type AutoAssignRequest, openIpam } from './ipam.ts'

export const NOW = new Date('2026-11-24T06:10:59.670Z')
export const deps = { now: () => NOW, random: () => 0.5 }

/** Four blocks of four addresses, and of IPv6 two blocks of four. */
export const small4: IPPoolLike = { name: 'small4', cidr: prefix('10.0.0.0/28'), blockSize: 30 }
export const small6: IPPoolLike = { name: 'small6', cidr: prefix('fd00::/125'), blockSize: 126 }
export const pools = [small4, small6]

export const open = () => {
  const store = openMemory()
  return { store, ipam: openIpam(store, deps) }
}

export const ask = (node: string, handle: string, more: Partial<AutoAssignRequest> = {}): AutoAssignRequest => ({
  node,
  handle,
  pools,
  num4: 1,
  num6: 0,
  ...more,
})

export const ipamError = (code: IpamError['code'], message?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof IpamError, String(error))
  assert.equal(error.code, code)
  if (message) assert.match(error.message, message)
  return true
}

export async function assertSound(store: Store): Promise<void> {
  const { broken, unfinished } = await audit(store)
  assert.deepEqual({ broken, unfinished }, { broken: [], unfinished: [] })
}

export async function assertNothingLeft(store: Store): Promise<void> {
  const { entries } = await store.list('/calico/ipam/v2/')
  assert.deepEqual(
    entries.map(({ key }) => key),
    [],
  )
}

export class Killed extends Error {}

/** The store, until its nth write: that one is done or not, and its answer never comes. */
export function dyingStore(store: Store, writes: number, applies: boolean): Store {
  let left = writes
  const dying =
    <A extends unknown[], T>(write: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      if (--left > 0) return write(...args)
      if (left === 0 && applies) await write(...args).catch(() => {})
      throw new Killed()
    }
  return {
    ...wrap(store),
    put: dying((...args) => store.put(...args)),
    delete: dying((...args) => store.delete(...args)),
  }
}
