// A handle: the index from an owner's name (a container, a tunnel) to the blocks that hold its addresses, with counts.
// Counts are set, never added: to what the block will hold, before the block is written, and to what it still holds,
// after it was. A count may be too high after a crash; it is too low never, so no address gets lost.
import { type Prefix, parsePrefix } from '../net/prefix.ts'
import { isObject, type Json, type JsonObject, parseJson, printJson } from './json.ts'

export type Handle = { readonly counts: ReadonlyMap<Prefix, number>; readonly rest: JsonObject }

export const EMPTY_HANDLE: Handle = { counts: new Map(), rest: {} }

/** The handle with a block's count set; 0 takes the block out. */
export function withCount(handle: Handle, cidr: Prefix, count: number): Handle {
  const counts = new Map(handle.counts)
  if (count === 0) counts.delete(cidr)
  else counts.set(cidr, count)
  return { ...handle, counts }
}

export const encodeHandle = ({ counts, rest }: Handle): string => printJson({ block: counts, deleted: false, ...rest })

/** A stored handle; undefined if it is none. */
export function decodeHandle(text: string): Handle | undefined {
  let json: Json
  try {
    json = parseJson(text)
  } catch {
    return undefined
  }
  if (!isObject(json)) return undefined
  const { block, deleted: _deleted, ...rest } = json
  if (!isObject(block ?? {})) return undefined
  const counts = new Map<Prefix, number>()
  for (const [text, count] of Object.entries(block ?? {})) {
    const cidr = parsePrefix(text)
    if (cidr === undefined || typeof count !== 'number' || !Number.isInteger(count)) return undefined
    counts.set(cidr, count)
  }
  return { counts, rest }
}
