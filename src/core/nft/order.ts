// The order in which a table's objects can be created: a set whose verdicts name chains comes after those chains, a chain
// after the sets and chains that its rules name. The kernel allows no cycle, so there is such an order.
import { EncodeError } from './encode-error.ts'
import type { NftChain, NftOp, NftSet, NftTable, Statement } from './objects.ts'

type Item = { readonly key: string; readonly op: NftOp; readonly needs: readonly string[] }

const setKey = (name: string): string => `set ${name}`
const chainKey = (name: string): string => `chain ${name}`

function setNeeds(set: NftSet): string[] {
  const needs = new Set<string>()
  for (const { value } of set.elements)
    if (typeof value === 'object' && (value.kind === 'goto' || value.kind === 'jump')) needs.add(chainKey(value.chain))
  return [...needs]
}

/** The names that a statement needs to be there. */
function statementNeeds(s: Statement): string[] {
  switch (s.kind) {
    case 'match':
      return 'ref' in s.right ? [setKey(s.right.ref)] : []
    case 'vmap':
    case 'set-map':
      return [setKey(s.map)]
    case 'verdict':
      return s.verdict.kind === 'goto' || s.verdict.kind === 'jump' ? [chainKey(s.verdict.chain)] : []
    default:
      return []
  }
}

const chainNeeds = (chain: NftChain): string[] => chain.rules.flatMap(rule => rule.statements.flatMap(statementNeeds))

/**
 * The sets and chains of a table as operations, what is needed before what needs it; base chains last, so that no packet
 * sees half a table even without a transaction. Throws when a name is missing or the references form a cycle.
 */
export function orderObjects(table: Pick<NftTable, 'sets' | 'chains'>): NftOp[] {
  const plain = table.chains.filter(chain => chain.base === undefined)
  const base = table.chains.filter(chain => chain.base !== undefined)
  const items: Item[] = [
    ...table.sets.map(set => ({ key: setKey(set.name), op: { op: 'add-set', set } as const, needs: setNeeds(set) })),
    ...[...plain, ...base].map(chain => ({
      key: chainKey(chain.name),
      op: { op: 'add-chain', chain } as const,
      needs: chainNeeds(chain),
    })),
  ]
  const byKey = new Map(items.map(item => [item.key, item]))
  const done = new Set<string>()
  const ops: NftOp[] = []
  const visit = (key: string, path: readonly string[]): void => {
    if (done.has(key)) return
    const item = byKey.get(key)
    if (item === undefined) throw new EncodeError(`${path.at(-1) ?? 'the table'} names a ${key} that is not there`)
    if (path.includes(key)) throw new EncodeError(`a cycle: ${[...path, key].join(', ')}`)
    for (const need of item.needs) visit(need, [...path, key])
    done.add(key)
    ops.push(item.op)
  }
  for (const { key } of items) visit(key, [])
  return ops
}

/** Everything that makes the table where there is none. */
export const createTable = (table: NftTable, owned = false): NftOp[] => [
  owned ? { op: 'add-table', owned } : { op: 'add-table' },
  ...orderObjects(table),
]
