// A whole table into a kernel that has none: no plan, no difference, only the order that lets every part point at what is
// there. And the writer that tests hold against the real one: it makes one table into another in a single transaction.
import type { NftOp, NftTable } from '../../src/core/nft/objects.ts'
import { chainBody, elementKey, elementValue, type TableState, tableState } from '../../src/core/nft/table-state.ts'
import type { NftConnection } from '../../src/io/kernel/nft-table.ts'

const SLICE = 5000

export function loadTable(connection: Pick<NftConnection, 'writeBatch'>, table: NftTable): void {
  const plain = table.chains.filter(c => !c.base)
  connection.writeBatch(
    [
      { op: 'add-table' },
      ...table.sets.map((set): NftOp => ({ op: 'add-set', set: { ...set, elements: [] } })),
      ...plain.map((chain): NftOp => ({ op: 'add-chain', chain: { ...chain, rules: [] } })),
      ...plain.map((chain): NftOp => ({ op: 'replace-rules', chain })),
    ],
    table,
  )
  for (const set of table.sets) {
    for (let from = 0; from < set.elements.length; from += SLICE) {
      const elements = set.elements.slice(from, from + SLICE)
      connection.writeBatch([{ op: 'add-elements', set: { ...set, elements: [] }, elements }], table)
    }
  }
  const bases = table.chains.filter(c => c.base)
  connection.writeBatch(
    bases.map((chain): NftOp => ({ op: 'add-chain', chain })),
    table,
  )
}

/**
 * What a plausible writer does: everything that changes at once, what is not wanted any more deleted with it. The kernel
 * takes it as one transaction, and yet a packet that makes several lookups sees a mix.
 */
export function oneTransaction(found: TableState, table: NftTable): NftOp[] {
  const want = tableState(table)
  const changed = table.chains.filter(c => found.chains.get(c.name)?.body !== chainBody(c))
  const added = changed.filter(c => !found.chains.has(c.name))
  const ops: NftOp[] = [
    ...table.sets
      .filter(s => !found.sets.has(s.name))
      .map((s): NftOp => ({ op: 'add-set', set: { ...s, elements: [] } })),
    ...added.map((chain): NftOp => ({ op: 'add-chain', chain: { ...chain, rules: [] } })),
    ...changed.map((chain): NftOp => ({ op: 'replace-rules', chain })),
  ]
  const goneSets = [...found.sets.values()].filter(({ set }) => !want.sets.has(set.name))
  for (const { set, elements } of [...want.sets.values(), ...goneSets.map(s => ({ ...s, elements: new Map() }))]) {
    const before = [...(found.sets.get(set.name)?.elements.values() ?? [])]
    const same = (e: (typeof before)[number]) => {
      const now = elements.get(elementKey(e))
      return now !== undefined && elementValue(now) === elementValue(e)
    }
    const kept = new Set(before.filter(same).map(elementKey))
    const gone = before.filter(e => !kept.has(elementKey(e)))
    const fresh = [...elements.values()].filter(e => !kept.has(elementKey(e)))
    if (gone.length > 0) ops.push({ op: 'delete-elements', set, elements: gone })
    if (fresh.length > 0) ops.push({ op: 'add-elements', set, elements: fresh })
  }
  const goneChains = [...found.chains.values()].filter(({ chain }) => !want.chains.has(chain.name))
  return [
    ...ops,
    ...goneChains.map(({ chain }): NftOp => ({ op: 'replace-rules', chain: { ...chain, rules: [] } })),
    ...goneChains.map(({ chain }): NftOp => ({ op: 'delete-chain', name: chain.name })),
    ...goneSets.map(({ set }): NftOp => ({ op: 'delete-set', name: set.name })),
  ]
}
