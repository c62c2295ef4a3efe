// The policy table of a node. The road of a packet that a pod receives, all by `goto`, so that nothing ever returns into an
// allow, and a missing element falls into a drop:
//
//   forward (policy drop) → to_check ─ oifname ─▶ g_… ─ source address ─▶ atom ─▶ t4_…/t6_… ─▶ row ─▶ decide
//     ─ row . protocol . port ─▶ o_…: count, log, accept or drop
//
// A pod that sends takes from_check first (its group looks at the destination); what that allows goes on to to_check if
// the receiver is on this node too. docs/design/nftables.md has the reasons.

import { NFT_TABLE } from '../../base/register.ts'
import type { AtomKey } from '../../classify/atoms.ts'
import { NOWHERE } from '../../classify/atoms.ts'
import type { Classification, Group, RowTable } from '../../classify/classify.ts'
import type { OutcomeName } from '../../classify/outcome.ts'
import { isPlain, type Row, type RowName } from '../../classify/row.ts'
import { FAMILIES, type Family, familyOf, fromNumber } from '../../net/addr.ts'
import { type Prefix, prefixFamily, prefixRange } from '../../net/prefix.ts'
import type { Element, Field, KeyPart, NftChain, NftSet, NftTable, Rule } from '../../nft/objects.ts'
import {
  DROP,
  decideIn,
  goto,
  gotoVerdict,
  is,
  makeSet,
  NFPROTO,
  priority,
  priorityFrom,
  type RowMapName,
  rowMap,
  rule,
  type SetName,
  SHAPES,
  staticChains,
} from './layout.ts'
import { assign, EMPTY_SPACE, forget, type NumberSpace, PLAIN_ROW, ROW_BASE } from './numbers.ts'
import { clip, outcomeChain } from './outcomes.ts'

/** The numbers in use; pass them on to the next rendering, so that none changes its meaning. */
export type Numbers = { readonly atoms: NumberSpace; readonly rows: NumberSpace }
export const NO_NUMBERS: Numbers = { atoms: EMPTY_SPACE, rows: EMPTY_SPACE }

/** Drops the numbers that a classification does not use; only when nothing of the others is left in the kernel. */
export const forgetUnused = (numbers: Numbers, c: Classification): Numbers => ({
  atoms: forget(numbers.atoms, key => c.atoms.vectors.has(key as AtomKey)),
  rows: forget(numbers.rows, key => c.rows.has(key as RowName)),
})

export type Rendered = { readonly table: NftTable; readonly numbers: Numbers }

/** Sorted, disjoint ranges that cover the same addresses: the kernel refuses nested intervals. */
function flatten(prefixes: readonly Prefix[], family: Family): Element[] {
  const merged: { first: bigint; last: bigint }[] = []
  const ranges = prefixes.filter(p => prefixFamily(p) === family).map(prefixRange)
  for (const r of ranges.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const end = merged.at(-1)
    if (!end || r.first > end.last + 1n) merged.push({ first: r.first, last: r.last })
    else if (r.last > end.last) end.last = r.last
  }
  return merged.map(r => ({ key: [{ from: fromNumber(family, r.first), to: fromNumber(family, r.last) }] }))
}

export function policyTable(c: Classification, before: Numbers = NO_NUMBERS): Rendered {
  const atoms = assign(
    before.atoms,
    [...c.atoms.vectors.keys()].filter(k => k !== NOWHERE),
  )
  const rows = assign(before.rows, c.rows.keys())
  const atomNumber = (key: AtomKey): number => (key === NOWHERE ? 0 : atoms.byKey.get(key)!)
  const rowNumber = (name: RowName): number => {
    const n = ROW_BASE + rows.byKey.get(name)!
    return isPlain(c.rows.get(name)!) ? PLAIN_ROW + n : n
  }

  const lists = new Map((Object.keys(SHAPES) as SetName[]).map(name => [name, [] as Element[]]))
  const add: AddElement = (name, element) => void lists.get(name)!.push(element)
  addressElements(c, atomNumber, add)
  rowElements(c, rowNumber, add)

  const groups = [...c.groups.values()].map(g => renderGroup(g, c, { atomNumber, rowNumber }))
  const table: NftTable = {
    family: 'inet',
    name: NFT_TABLE,
    sets: [...[...lists].map(([name, elements]) => makeSet(name, elements)), ...groups.flatMap(g => g.sets)],
    chains: [
      ...[...c.outcomes.values()].map(o => outcomeChain(o, c.intent.settings.logPrefix)),
      ...groups.map(g => g.chain),
      ...staticChains(c.intent.settings),
    ],
  }
  return { table, numbers: { atoms, rows } }
}

type AddElement = (set: SetName, element: Element) => void

/** Elements that follow addresses and interfaces. */
function addressElements(c: Classification, atomNumber: (key: AtomKey) => number, add: AddElement): void {
  for (const [addr, atom] of c.atoms.exact) add(`pod${familyOf(addr)}`, { key: [addr], value: atomNumber(atom) })
  for (const family of FAMILIES) {
    for (const { first, last, atom } of c.atoms.cover[family]) {
      const part: KeyPart = { from: fromNumber(family, first), to: fromNumber(family, last) }
      add(`net${family}`, { key: [part], value: atomNumber(atom) })
    }
    for (const element of flatten(c.intent.allPools, family)) add(`pools${family}`, element)
    for (const element of flatten(c.intent.masqueradePools, family)) add(`masquerade${family}`, element)
  }
  for (const { endpoint, groups } of c.dispatch) {
    const key = [endpoint.interfaceName]
    add('from_workload', { key, value: gotoVerdict(groups.egress) })
    add('to_workload', { key, value: gotoVerdict(groups.ingress) })
    for (const addr of endpoint.addresses) add(`sources${familyOf(addr)}`, { key: [endpoint.interfaceName, addr] })
  }
}

/** Elements that lead from a row to its outcomes. They never change their meaning: rows are named by content. */
function rowElements(c: Classification, rowNumber: (name: RowName) => number, add: AddElement): void {
  for (const row of c.rows.values()) {
    const n = rowNumber(row.name)
    const lead = (map: RowMapName, key: KeyPart[], outcome: OutcomeName): void =>
      add(`${row.direction}_${map}`, { key: [n, ...key], value: gotoVerdict(outcome) })
    for (const { protocol, first, last, outcome } of row.ports) {
      if (first === last) lead('by_port', [protocol, first], outcome)
      else lead('by_range', [protocol, { from: first, to: last }], outcome)
    }
    for (const { family, type, code, outcome } of row.types) {
      if (code === undefined) lead(`by_type${family}`, [type], outcome)
      else lead(`by_code${family}`, [type, code], outcome)
    }
    for (const { protocol, outcome } of row.protocols) lead('by_proto', [protocol], outcome)
    lead('by_row', [], row.otherwise)
  }
}

type Numbering = { atomNumber: (key: AtomKey) => number; rowNumber: (name: RowName) => number }

/** A group's chain and, where peers matter, its maps from atom to row. */
function renderGroup(group: Group, c: Classification, n: Numbering): { sets: NftSet[]; chain: NftChain } {
  const sets: NftSet[] = []
  const bodies = FAMILIES.map(family => familyRules(group, family, { ...n, c, sets }))
  const same = bodies[0]!.always && bodies[0]!.always === bodies[1]!.always
  const rules = same ? [rule(goto(bodies[0]!.always!))] : [...bodies.flatMap(b => b.rules), rule(DROP)]
  return { sets, chain: { name: group.name, rules, comment: clip(`${group.direction} ${group.identity}`) } }
}

type Context = Numbering & { c: Classification; sets: NftSet[] }

/** `always`: the one outcome whatever the peer, protocol and port. */
function familyRules(group: Group, family: Family, x: Context): { rules: Rule[]; always?: string } {
  const table: RowTable = group.tables[family]
  const ofFamily = is('meta nfproto', { value: NFPROTO[family] })
  const only: Row | undefined = table.rows.size === 0 ? x.c.rows.get(table.otherwise)! : undefined
  if (only && isPlain(only)) return { rules: [rule(ofFamily, goto(only.otherwise))], always: only.otherwise }
  if (only) return { rules: [rule(ofFamily, priority(x.rowNumber(only.name)), goto(decideIn(group.direction)))] }
  const map = `t${family}_${group.name.slice(2)}`
  const entries: Element[] = [...table.rows].map(([atom, row]) => ({
    key: [x.atomNumber(atom)],
    value: x.rowNumber(row),
  }))
  const otherwise: Element = { key: '*', value: x.rowNumber(table.otherwise) }
  x.sets.push(rowMap(map, [...entries, otherwise], clip(`${group.direction} ${group.identity}`)))
  const peer: Field = `${family === 4 ? 'ip' : 'ip6'} ${group.direction === 'ingress' ? 'saddr' : 'daddr'}`
  // A rule ends where a lookup misses, so the second is only asked for what is no pod.
  const ask = (addresses: SetName): Rule =>
    rule(priorityFrom([peer], addresses), priorityFrom(['meta priority'], map), goto(decideIn(group.direction)))
  return { rules: [ask(`pod${family}`), ask(`net${family}`)] }
}
