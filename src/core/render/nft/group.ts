// A group as kernel objects: its chain and, where the peer matters, its maps from atom to row.
import type { AtomKey } from '../../classify/atoms.ts'
import type { GroupName } from '../../classify/classify.ts'
import { isPlain, type Row, type RowName } from '../../classify/row.ts'
import { type Part, type Section, SplitTable } from '../../classify/split.ts'
import { FAMILIES, type Family } from '../../net/addr.ts'
import type { Element, Field, NftChain, NftSet, Rule, Statement } from '../../nft/objects.ts'
import type { Direction, HostHook } from '../../resources/cause.ts'
import {
  DROP,
  decideIn,
  goto,
  is,
  isNot,
  jump,
  legName,
  NFPROTO,
  priority,
  priorityFrom,
  rowMap,
  rule,
  type SetName,
} from './layout.ts'
import { clip, NEXT_CODES } from './outcomes.ts'

export type GroupHead = {
  readonly name: GroupName
  readonly direction: Direction
  readonly identity: string
  readonly hook?: HostHook
}
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

/** Without double quotes, which nft lists as they are and then cannot read. */
const titleOf = ({ hook, direction, identity }: GroupHead): string =>
  clip(`${hook === undefined ? '' : `${hook} `}${direction} ${identity}`).replaceAll('"', "'")

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
  if (table instanceof SplitTable) return partRules(group.name, family, table)
  return tableRules(table, { group, family, map: rowMapName(group.name, family) }, n)
}

type Spot = { readonly group: GroupHead; readonly family: Family; readonly map: string }

function tableRules(table: TableView, { group, family, map }: Spot, n: RowLookup): Rule[] {
  const decide = goto(decideIn(legName(group)))
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

const partChain = (group: GroupName, family: Family, part: Part): string => `${group}_${family}_${part.id}`

/**
 * The way through the parts of a cut table. Each returns what it did not decide, and says in the scratch register how to go
 * on: after a Pass the other parts of its stage are left out, and after what is staged was decided, the rest of that. One
 * body, replaced as a whole, so that a packet meets the parts of before or those of now. (A chain of chains would be easier to
 * read, but the kernel counts every goto and jump as a level, and has 16.)
 */
function partRules(group: GroupName, family: Family, { staged, enforced }: SplitTable): Rule[] {
  const go = (part: Part, ...guard: Statement[]): Rule =>
    rule(ofFamily(family), ...guard, jump(partChain(group, family, part)))
  const undecided = is('meta priority', { value: NEXT_CODES.next })
  const notDone = isNot('meta priority', { value: NEXT_CODES.done })
  const rest = (parts: Section): Rule[] => parts.slice(1).map(part => go(part, undecided))
  return [
    ...staged.flatMap((parts, i) => [go(parts[0]!, ...(i === 0 ? [] : [notDone])), ...rest(parts)]),
    ...enforced.flatMap(parts => [go(parts[0]!), ...rest(parts)]),
  ]
}

/** What the parts of a cut table consist of: each a chain and, where the peer matters, a map. */
export function splitObjects(
  group: GroupHead,
  family: Family,
  table: SplitTable,
  n: Numbering,
): { readonly chains: readonly NftChain[]; readonly sets: readonly NftSet[] } {
  const parts = [...new Map(table.parts.map(part => [part.id, part])).values()]
  const mapOf = ({ id }: Part): string => `${rowMapName(group.name, family)}_${id}`
  return {
    chains: parts.map(part => ({
      name: partChain(group.name, family, part),
      rules: [...tableRules(part.table, { group, family, map: mapOf(part) }, n), rule(DROP)],
      comment: titleOf(group),
    })),
    sets: parts.flatMap(part => makeRowMap(mapOf(part), part.table, { group, n }) ?? []),
  }
}
