// Atoms: the classes of addresses that no rule in use on this node can tell apart. An address has exactly one atom: the
// vector of the sets it is in. Single addresses are exact entries, wider nets an interval map flattened to a full cover
// (disjoint intervals from the first to the last address), because overlapping intervals and catch-alls are refused or
// mishandled by the kernel and nft (docs/design/nftables.md).
import type { AddressSet, SetId } from '../calc/intent.ts'
import { type Addr, FAMILIES, type Family, familyOf, MAX, toNumber } from '../net/addr.ts'
import { prefixRange } from '../net/prefix.ts'

/** The sorted ids of the sets, joined by a space. The empty key is everything that no set holds. */
export type AtomKey = string & { readonly __atom: true }
export const NOWHERE = '' as AtomKey

export type Interval = { readonly first: bigint; readonly last: bigint; readonly atom: AtomKey }

export type Atoms = {
  /** Every atom in use with its vector, `NOWHERE` included. */
  readonly vectors: ReadonlyMap<AtomKey, ReadonlySet<SetId>>
  /** Addresses whose atom is not that of the interval around them. */
  readonly exact: ReadonlyMap<Addr, AtomKey>
  /** Sorted, disjoint, without gaps. */
  readonly cover: Readonly<Record<Family, readonly Interval[]>>
}

export function atomKey(ids: Iterable<SetId>): AtomKey {
  const list = [...ids]
  return (list.length === 1 ? list[0]! : list.sort().join(' ')) as string as AtomKey
}

/** The interval that holds an address. */
export function intervalAt(cover: readonly Interval[], addr: Addr): Interval {
  if (cover.length === 1) return cover[0]!
  const n = toNumber(addr)
  let low = 0
  let high = cover.length - 1
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if (cover[mid]!.first <= n) low = mid
    else high = mid - 1
  }
  return cover[low]!
}

export function atomOf(atoms: Atoms, addr: Addr): AtomKey {
  return atoms.exact.get(addr) ?? intervalAt(atoms.cover[familyOf(addr)], addr).atom
}

/** `sets`: their prefixes by id. */
export function coverOf(family: Family, sets: Iterable<Pick<AddressSet, 'id' | 'prefixes'>>): Interval[] {
  const edges = new Map<bigint, { enter: SetId[]; leave: SetId[] }>()
  const edge = (at: bigint) => {
    const found = edges.get(at) ?? { enter: [], leave: [] }
    edges.set(at, found)
    return found
  }
  edge(0n)
  for (const set of sets) {
    for (const prefix of set.prefixes) {
      const range = prefixRange(prefix)
      if (range.family !== family) continue
      edge(range.first).enter.push(set.id)
      if (range.last < MAX[family]) edge(range.last + 1n).leave.push(set.id)
    }
  }
  const cover: { first: bigint; last: bigint; atom: AtomKey }[] = []
  const inside = new Map<SetId, number>()
  for (const at of [...edges.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))) {
    const { enter, leave } = edges.get(at)!
    for (const id of enter) inside.set(id, (inside.get(id) ?? 0) + 1)
    for (const id of leave) {
      const depth = inside.get(id)! - 1
      if (depth === 0) inside.delete(id)
      else inside.set(id, depth)
    }
    const atom = atomKey(inside.keys())
    const before = cover.at(-1)
    if (before?.atom === atom) continue
    if (before) before.last = at - 1n
    cover.push({ first: at, last: MAX[family], atom })
  }
  return cover
}

export function atomsOf(sets: ReadonlyMap<SetId, AddressSet>): Atoms {
  const cover = Object.fromEntries(FAMILIES.map(f => [f, coverOf(f, sets.values())])) as Record<Family, Interval[]>
  const memberOf = new Map<Addr, SetId[]>()
  for (const set of sets.values()) {
    for (const addr of set.addresses) {
      const ids = memberOf.get(addr)
      if (ids) ids.push(set.id)
      else memberOf.set(addr, [set.id])
    }
  }
  const vectors = new Map<AtomKey, ReadonlySet<SetId>>([[NOWHERE, new Set()]])
  const remember = (key: AtomKey): void => {
    if (!vectors.has(key)) vectors.set(key, new Set(key.split(' ') as SetId[]))
  }
  for (const family of FAMILIES) for (const interval of cover[family]) remember(interval.atom)
  const exact = new Map<Addr, AtomKey>()
  for (const [addr, ids] of memberOf) {
    const around = intervalAt(cover[familyOf(addr)], addr).atom
    const atom = atomKey(new Set([...ids, ...vectors.get(around)!]))
    if (atom === around) continue
    remember(atom)
    exact.set(addr, atom)
  }
  return { vectors, exact, cover }
}
