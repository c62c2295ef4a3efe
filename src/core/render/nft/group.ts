// A group as kernel objects: its chain and, where the peer matters, its maps from atom to row.
import { sha1Hex } from '../../base/hash.ts'
import type { AtomKey } from '../../classify/atoms.ts'
import type { GroupName } from '../../classify/classify.ts'
import { isPlain, type Row, type RowName } from '../../classify/row.ts'
import { type Part, type Section, SplitTable } from '../../classify/split.ts'
import { FAMILIES, type Family } from '../../net/addr.ts'
import type { Element, Field, NftChain, NftSet, Rule, Statement } from '../../nft/objects.ts'
import type { Direction } from '../../resources/cause.ts'
import {
  DROP,
  decideIn,
  goto,
  is,
  isNot,
  jump,
  NFPROTO,
  priority,
  priorityFrom,
  RETURN,
  rowMap,
  rule,
  type SetName,
} from './layout.ts'
import { clip, NEXT_CODES } from './outcomes.ts'

export type GroupHead = { readonly name: GroupName; readonly direction: Direction; readonly identity: string }
/** A group's map from atom to row: the entries that differ from `otherwise`. */
export type TableView = {
  readonly otherwise: RowName
  readonly isUniform: boolean
  entries(): Iterable<[AtomKey, RowName]>
}

export type RowLookup = { readonly rowNumber: (name: RowName) => number; readonly rowOf: (name: RowName) => Row }
export type Numbering = RowLookup & { readonly atomNumber: (key: AtomKey) => number }

export const rowMapName = (group: GroupName, family: Family): string => `t${family}_${group.slice(2)}`

export const rowElement = (atom: AtomKey, row: RowName, n: Numbering): Element => ({
  key: [n.atomNumber(atom)],
  value: n.rowNumber(row),
})
export const otherwiseElement = (row: RowName, n: RowLookup): Element => ({ key: '*', value: n.rowNumber(row) })

/** The map, or undefined where every peer has the same row. */
export function rowMapOf(group: GroupHead, family: Family, table: TableView, n: Numbering): NftSet | undefined {
  return makeRowMap(rowMapName(group.name, family), table, { group, n })
}

function makeRowMap(
  name: string,
  table: TableView,
  { group, n }: { readonly group: GroupHead; readonly n: Numbering },
): NftSet | undefined {
  if (table.isUniform) return undefined
  const entries = [...table.entries()].map(([atom, row]) => rowElement(atom, row, n))
  return rowMap(name, [...entries, otherwiseElement(table.otherwise, n)], titleOf(group))
}

const titleOf = ({ direction, identity }: GroupHead): string => clip(`${direction} ${identity}`)

export function groupChain(
  group: GroupHead,
  tables: Readonly<Record<Family, TableView | SplitTable>>,
  n: RowLookup,
): NftChain {
  const always = FAMILIES.map(family => {
    const table = tables[family]
    const row = !(table instanceof SplitTable) && table.isUniform ? n.rowOf(table.otherwise) : undefined
    return row && isPlain(row) ? row.otherwise : undefined
  })
  const same = always[0] !== undefined && always[0] === always[1] ? always[0] : undefined
  const rules = same ? [rule(goto(same))] : [...FAMILIES.flatMap(f => familyRules(group, f, tables[f], n)), rule(DROP)]
  return { name: group.name, rules, comment: titleOf(group) }
}

const ofFamily = (family: Family): Statement => is('meta nfproto', { value: NFPROTO[family] })

function familyRules(group: GroupHead, family: Family, table: TableView | SplitTable, n: RowLookup): Rule[] {
  if (table instanceof SplitTable) return [rule(ofFamily(family), goto(splitChain(group.name, family)))]
  return tableRules(table, { group, family, map: rowMapName(group.name, family) }, n)
}

type Spot = { readonly group: GroupHead; readonly family: Family; readonly map: string }

function tableRules(table: TableView, { group, family, map }: Spot, n: RowLookup): Rule[] {
  const decide = goto(decideIn(group.direction))
  if (table.isUniform) {
    const row = n.rowOf(table.otherwise)
    if (isPlain(row)) return [rule(ofFamily(family), goto(row.otherwise))]
    return [rule(ofFamily(family), priority(n.rowNumber(row.name)), decide)]
  }
  const peer: Field = `${family === 4 ? 'ip' : 'ip6'} ${group.direction === 'ingress' ? 'saddr' : 'daddr'}`
  // A rule ends where a lookup misses, so the second is only asked for what is no pod.
  const ask = (addresses: SetName): Rule =>
    rule(priorityFrom([peer], addresses), priorityFrom(['meta priority'], map), decide)
  return [ask(`pod${family}`), ask(`net${family}`)]
}

const splitChain = (group: GroupName, family: Family, more = ''): string => `${group}_${family}${more}`

/** What a table that is cut into parts consists of: chains that go through the parts, and each part's map. */
export function splitObjects(
  group: GroupHead,
  family: Family,
  table: SplitTable,
  n: Numbering,
): { readonly chains: readonly NftChain[]; readonly sets: readonly NftSet[] } {
  const chains = new Map<string, NftChain>()
  const sets = new Map<string, NftSet>()
  const make = (more: string, rules: readonly Rule[]): string => {
    const name = splitChain(group.name, family, more)
    chains.set(name, { name, rules, comment: titleOf(group) })
    return name
  }
  const partChain = (part: Part): string => {
    const map = `${rowMapName(group.name, family)}_${part.id}`
    const set = makeRowMap(map, part.table, { group, n })
    if (set) sets.set(map, set)
    return make(`_${part.id}`, [...tableRules(part.table, { group, family, map }, n), rule(DROP)])
  }
  /** A stage of several parts: after a Pass, or when all is done, the others are left out. */
  const sectionChain = (parts: Section): string => {
    if (parts.length === 1) return partChain(parts[0]!)
    const id = sha1Hex(parts.map(p => p.id).join()).slice(0, 12)
    const rules = parts.flatMap(part => [
      rule(jump(partChain(part))),
      rule(isNot('meta priority', { value: NEXT_CODES.next }), RETURN),
    ])
    return make(`_${id}`, rules)
  }
  const walk = (sections: readonly Section[], ...after: Rule[]): Rule[] =>
    sections.flatMap(parts => [rule(jump(sectionChain(parts))), ...after])
  const isDone = rule(is('meta priority', { value: NEXT_CODES.done }), RETURN)
  const staged = walk(table.staged, isDone)
  // One body, replaced as a whole: a packet goes through the parts of before, or through those of now.
  const first = staged.length > 0 ? [rule(jump(make(`_${idOf(table.staged)}`, staged)))] : []
  make('', [...first, ...walk(table.enforced), rule(DROP)])
  return { chains: [...chains.values()], sets: [...sets.values()] }
}

const idOf = (sections: readonly Section[]): string =>
  sha1Hex(`staged ${sections.map(parts => parts.map(p => p.id).join()).join(';')}`).slice(0, 12)
