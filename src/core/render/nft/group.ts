// A group as kernel objects: its chain and, where the peer matters, its maps from atom to row.
import type { AtomKey } from '../../classify/atoms.ts'
import type { GroupName } from '../../classify/classify.ts'
import { isPlain, type Row, type RowName } from '../../classify/row.ts'
import { FAMILIES, type Family } from '../../net/addr.ts'
import type { Element, Field, NftChain, NftSet, Rule } from '../../nft/objects.ts'
import type { Direction } from '../../resources/cause.ts'
import { DROP, decideIn, goto, is, NFPROTO, priority, priorityFrom, rowMap, rule, type SetName } from './layout.ts'
import { clip } from './outcomes.ts'

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
  if (table.isUniform) return undefined
  const entries = [...table.entries()].map(([atom, row]) => rowElement(atom, row, n))
  return rowMap(rowMapName(group.name, family), [...entries, otherwiseElement(table.otherwise, n)], titleOf(group))
}

/** Without double quotes, which nft lists as they are and then cannot read. */
const titleOf = ({ direction, identity }: GroupHead): string => clip(`${direction} ${identity}`).replaceAll('"', "'")

export function groupChain(group: GroupHead, tables: Readonly<Record<Family, TableView>>, n: RowLookup): NftChain {
  const always = FAMILIES.map(family => {
    const row = tables[family].isUniform ? n.rowOf(tables[family].otherwise) : undefined
    return row && isPlain(row) ? row.otherwise : undefined
  })
  const same = always[0] !== undefined && always[0] === always[1] ? always[0] : undefined
  const rules = same ? [rule(goto(same))] : [...FAMILIES.flatMap(f => familyRules(group, f, tables[f], n)), rule(DROP)]
  return { name: group.name, rules, comment: titleOf(group) }
}

function familyRules(group: GroupHead, family: Family, table: TableView, n: RowLookup): Rule[] {
  const ofFamily = is('meta nfproto', { value: NFPROTO[family] })
  const decide = goto(decideIn(group.direction))
  if (table.isUniform) {
    const row = n.rowOf(table.otherwise)
    if (isPlain(row)) return [rule(ofFamily, goto(row.otherwise))]
    return [rule(ofFamily, priority(n.rowNumber(row.name)), decide)]
  }
  const map = rowMapName(group.name, family)
  const peer: Field = `${family === 4 ? 'ip' : 'ip6'} ${group.direction === 'ingress' ? 'saddr' : 'daddr'}`
  // A rule ends where a lookup misses, so the second is only asked for what is no pod.
  const ask = (addresses: SetName): Rule =>
    rule(priorityFrom([peer], addresses), priorityFrom(['meta priority'], map), decide)
  return [ask(`pod${family}`), ask(`net${family}`)]
}
