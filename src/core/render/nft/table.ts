// The policy table of a node. The road of a packet that a pod receives, all by `goto`, so that nothing ever returns into an
// allow, and a missing element falls into a drop:
//
//   forward (policy drop) → to_check ─ oifname ─▶ g_… ─ source address ─▶ atom ─▶ t4_…/t6_… ─▶ row ─▶ decide
//     ─ row . protocol . port ─▶ o_…: count, log, accept or drop
//
// A pod that sends takes from_check first (its group looks at the destination); what that allows goes on to to_check if
// the receiver is on this node too. docs/design/nftables.md has the reasons.

import { NFT_TABLE } from '../../base/register.ts'
import { type AtomKey, NOWHERE } from '../../classify/atoms.ts'
import type { Classification } from '../../classify/classify.ts'
import { isPlain, type Row, type RowName } from '../../classify/row.ts'
import { SplitTable } from '../../classify/split.ts'
import { FAMILIES, familyOf } from '../../net/addr.ts'
import type { Element, NftTable } from '../../nft/objects.ts'
import { dispatchElements, flatten, intervalElement, rowElements } from './elements.ts'
import { groupChain, rowMapOf, splitObjects } from './group.ts'
import { hostChain, hostElements, legsOf, ownMap } from './host-chains.ts'
import { makeSet, type SetName, STATIC_SETS, setsOfLeg } from './layout.ts'
import { NumberBook, PLAIN_ROW, ROW_BASE } from './numbers.ts'
import { outcomeChain, type RenderOptions } from './outcomes.ts'
import { staticChains } from './static-chains.ts'

/** The whole table of a classification, plainly. `renderer.ts` is the one that follows changes. */
export function policyTable(c: Classification, options: RenderOptions = {}): NftTable {
  const [atoms, rows] = [new NumberBook(), new NumberBook()]
  const atomNumber = (key: AtomKey): number => (key === NOWHERE ? 0 : atoms.of(key))
  const rowNumber = (name: RowName): number => {
    const n = ROW_BASE + rows.of(name)
    return isPlain(c.rows.get(name)!) ? PLAIN_ROW + n : n
  }

  const legs = legsOf(c.hosts.flatMap(h => h.groups))
  const lists = new Map([...STATIC_SETS, ...legs.flatMap(setsOfLeg)].map(name => [name, [] as Element[]]))
  const add: AddElement = (name, element) => void lists.get(name)!.push(element)
  addressElements(c, atomNumber, add)
  for (const row of c.rows.values())
    for (const [set, element] of rowElements(row, rowNumber(row.name))) add(set, element)

  const { settings } = c.intent
  const hostGroups = [...new Set(c.hosts.flatMap(h => h.groups))]
  const hosts = hostGroups.map(g => {
    const head = { ...g, isUniform: g.byOwn.size === 0 }
    return { chains: [hostChain(head, settings)], sets: [ownMap(head, atomNumber)].filter(m => m !== undefined) }
  })
  for (const [set, element] of hostElements(
    c.hosts.map(({ host, groups: guards }) => ({ interfaceName: host.interfaceName, guards })),
  ))
    add(set, element)

  const rowOf = (name: RowName): Row => c.rows.get(name)!
  const groups = [...c.groups.values()].map(g => {
    const numbering = { atomNumber, rowNumber, rowOf }
    const parts = FAMILIES.map(family => {
      const table = g.tables[family]
      if (table instanceof SplitTable) return splitObjects(g, family, table, numbering)
      const map = rowMapOf(g, family, table, numbering)
      return { sets: map ? [map] : [], chains: [] }
    })
    const chains = [groupChain(g, g.tables, numbering), ...parts.flatMap(p => p.chains)]
    return { sets: parts.flatMap(p => p.sets), chains }
  })
  return {
    family: 'inet',
    name: NFT_TABLE,
    sets: [
      ...[...lists].map(([name, elements]) => makeSet(name, elements)),
      ...[...groups, ...hosts].flatMap(g => g.sets),
    ],
    chains: [
      ...[...c.outcomes.values()].map(o => outcomeChain(o, settings, options)),
      ...[...groups, ...hosts].flatMap(g => g.chains),
      ...staticChains(settings, { masquerades: c.intent.masqueradePools.length > 0, legs }),
    ],
  }
}

type AddElement = (set: SetName, element: Element) => void

/** Elements that follow addresses and interfaces. */
function addressElements(c: Classification, atomNumber: (key: AtomKey) => number, add: AddElement): void {
  for (const [addr, atom] of c.atoms.exact) add(`pod${familyOf(addr)}`, { key: [addr], value: atomNumber(atom) })
  for (const family of FAMILIES) {
    for (const interval of c.atoms.cover[family]) add(`net${family}`, intervalElement(family, interval, atomNumber))
    for (const element of flatten(c.intent.allPools, family)) add(`pools${family}`, element)
    for (const element of flatten(c.intent.masqueradePools, family)) add(`masquerade${family}`, element)
  }
  for (const { endpoint, groups } of c.dispatch) {
    for (const [set, element] of dispatchElements(endpoint, groups)) add(set, element)
  }
}
