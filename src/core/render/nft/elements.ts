// The elements of the table's maps and sets, each from the one thing that it stands for.
import type { AtomKey, Interval } from '../../classify/atoms.ts'
import type { GroupName } from '../../classify/classify.ts'
import type { OutcomeName } from '../../classify/outcome.ts'
import { isPlain, type Row } from '../../classify/row.ts'
import { type Addr, FAMILIES, type Family, familyOf, fromNumber } from '../../net/addr.ts'
import { type Prefix, prefixFamily, prefixRange } from '../../net/prefix.ts'
import type { Element, KeyPart } from '../../nft/objects.ts'
import type { Direction } from '../../resources/cause.ts'
import { gotoVerdict, legName, type RowMapName, type SetName } from './layout.ts'

export type Placed = readonly [set: SetName, element: Element]

export const intervalElement = (
  family: Family,
  { first, last, atom }: Interval,
  numberOf: (a: AtomKey) => number,
): Element => ({
  key: [{ from: fromNumber(family, first), to: fromNumber(family, last) }],
  value: numberOf(atom),
})

/** Sorted, disjoint ranges that cover the same addresses: the kernel refuses nested intervals. */
export function flatten(prefixes: readonly Prefix[], family: Family): Element[] {
  const merged: { first: bigint; last: bigint }[] = []
  const ranges = prefixes.filter(p => prefixFamily(p) === family).map(prefixRange)
  for (const r of ranges.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const end = merged.at(-1)
    if (!end || r.first > end.last + 1n) merged.push({ first: r.first, last: r.last })
    else if (r.last > end.last) end.last = r.last
  }
  return merged.map(r => ({ key: [{ from: fromNumber(family, r.first), to: fromNumber(family, r.last) }] }))
}

/** What an endpoint may send and receive, and which addresses are its own. */
export function dispatchElements(
  endpoint: {
    readonly interfaceName: string
    readonly addresses: readonly Addr[]
    readonly spoofable: readonly Prefix[]
  },
  groups: Readonly<Record<Direction, GroupName>>,
): Placed[] {
  const { interfaceName, addresses, spoofable } = endpoint
  const foreign = (family: Family): Placed[] =>
    flatten(spoofable, family).map(e => [`spoofed${family}`, { key: [interfaceName, ...(e.key as KeyPart[])] }])
  return [
    ...FAMILIES.flatMap(foreign),
    ...addresses.map((addr): Placed => [`sources${familyOf(addr)}`, { key: [interfaceName, addr] }]),
    ['from_workload', { key: [interfaceName], value: gotoVerdict(groups.egress) }],
    ['to_workload', { key: [interfaceName], value: gotoVerdict(groups.ingress) }],
  ]
}

/** What leads from a row to its outcomes. It never changes its meaning: rows are named by content. */
export function rowElements(row: Row, number: number): Placed[] {
  const lead = (map: RowMapName, key: KeyPart[], outcome: OutcomeName): Placed => [
    `${legName(row)}_${map}`,
    { key: [number, ...key], value: gotoVerdict(outcome) },
  ]
  return [
    ...row.ports.map(({ protocol, first, last, outcome }) =>
      first === last
        ? lead('by_port', [protocol, first], outcome)
        : lead('by_range', [protocol, { from: first, to: last }], outcome),
    ),
    ...row.types.map(({ family, type, code, outcome }) =>
      code === undefined ? lead(`by_type${family}`, [type], outcome) : lead(`by_code${family}`, [type, code], outcome),
    ),
    ...row.protocols.map(({ protocol, outcome }) => lead('by_proto', [protocol], outcome)),
    lead(isPlain(row) ? 'by_plain' : 'by_row', [], row.otherwise),
  ]
}
