// Who owns a block. The affinity under the owner's key is written first (pending), then the block, then the affinity is
// confirmed; giving up goes the other way (pendingDeletion, block, key gone). Every half-done change is found by the
// owner's next allocation, or by its release, and finished. (A block with an owner but no affinity key comes about when a
// claim is killed after somebody else released the owner; it is found by listing the blocks.)
import type { Prefix } from '../net/prefix.ts'
import { type Block, decodeBlock, encodeBlock, isEmpty, type Moment, newBlock, touch } from './block.ts'
import { isObject, type Json, parseJson } from './json.ts'
import { affinityKey, blockKey, type Owner } from './keys.ts'
import { get, type Plan, put, remove, retry, type Stored } from './plan.ts'

export type AffinityState = 'pending' | 'confirmed' | 'pendingDeletion'

/** A block as it was read. */
export type StoredBlock = { readonly block: Block; readonly revision: number }

export const encodeAffinity = (state: AffinityState): string => `{"state":"${state}","deleted":false}`

/** The state; anything unknown counts as pending, that is, as not owned yet. */
export function decodeAffinity(text: string): AffinityState {
  let json: Json
  try {
    json = parseJson(text)
  } catch {
    return 'pending'
  }
  const state = isObject(json) ? json.state : undefined
  // Before there were states, an affinity was an empty value and simply held.
  if (state === 'confirmed' || state === '') return 'confirmed'
  return state === 'pendingDeletion' ? state : 'pending'
}

/** A block's entry decoded, `corrupt` if it makes no sense, undefined if there is none. */
export function* readBlock(cidr: Prefix): Plan<StoredBlock | 'corrupt' | undefined> {
  const stored = yield* get(blockKey(cidr))
  return stored && openBlock(stored)
}

export function openBlock({ value, revision }: Stored): StoredBlock | 'corrupt' {
  const decoded = decodeBlock(value)
  return decoded.ok ? { block: decoded.value, revision } : 'corrupt'
}

/** Makes a block the owner's, creating it if need be; undefined if it is somebody else's. Finishes a begun claim. */
export function* claimBlock(owner: Owner, cidr: Prefix, now: Moment): Plan<StoredBlock | undefined> {
  const result = yield* retry(function* (): Plan<StoredBlock | 'taken' | undefined> {
    const key = affinityKey(owner, cidr)
    const affinity = yield* get(key)
    // Written even if it is pending already, so that another process of this owner which is giving up notices.
    const pending = yield* put(key, encodeAffinity('pending'), affinity?.revision ?? 0)
    if (pending === undefined) return undefined
    const found = yield* readBlock(cidr)
    let claimed: StoredBlock
    if (found === undefined) {
      const block = newBlock(cidr, owner, now)
      const revision = yield* put(blockKey(cidr), encodeBlock(block), 0)
      if (revision === undefined) return undefined
      claimed = { block, revision }
    } else if (found === 'corrupt' || found.block.affinity !== owner) {
      return (yield* remove(key, pending)) ? 'taken' : undefined
    } else {
      claimed = found
    }
    return (yield* put(key, encodeAffinity('confirmed'), pending)) === undefined ? undefined : claimed
  })
  return result === 'taken' ? undefined : result
}

const owns = (owner: Owner, found: StoredBlock | 'corrupt' | undefined): found is StoredBlock =>
  found !== undefined && found !== 'corrupt' && found.block.affinity === owner

/** Gives a block up: an empty one goes away, another stays without owner until its last address is released. */
export function* releaseAffinity(owner: Owner, cidr: Prefix): Plan<void> {
  yield* retry(function* (): Plan<true | undefined> {
    const key = affinityKey(owner, cidr)
    const affinity = yield* get(key)
    if (!affinity && !owns(owner, yield* readBlock(cidr))) return true
    const leaving = yield* put(key, encodeAffinity('pendingDeletion'), affinity?.revision ?? 0)
    if (leaving === undefined) return undefined
    const found = yield* readBlock(cidr)
    if (owns(owner, found)) {
      const { block, revision } = found
      const freed: Block = { ...block, affinity: null, affinityClaimTime: undefined }
      const done = isEmpty(block)
        ? yield* remove(blockKey(cidr), revision)
        : (yield* put(blockKey(cidr), encodeBlock(touch(freed)), revision)) !== undefined
      if (!done) return undefined
    }
    return (yield* remove(key, leaving)) || undefined
  })
}

/** Brings one of the owner's affinities to rest: its block if that is the owner's, undefined if the affinity is gone. */
export function* settleAffinity(
  owner: Owner,
  cidr: Prefix,
  options: { affinity: Stored; now: Moment },
): Plan<StoredBlock | 'corrupt' | undefined> {
  const { affinity, now } = options
  switch (decodeAffinity(affinity.value)) {
    case 'pending':
      return yield* claimBlock(owner, cidr, now)
    case 'pendingDeletion':
      yield* releaseAffinity(owner, cidr)
      return undefined
    case 'confirmed': {
      const found = yield* readBlock(cidr)
      if (found === 'corrupt' || owns(owner, found)) return found
      yield* remove(affinity.key, affinity.revision)
      return undefined
    }
  }
}
