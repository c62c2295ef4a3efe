// A table as an index: what is in the kernel, or what should be, by name and by element key, so that two can be compared
// and a batch can be applied. Forms that the kernel does not distinguish (80 and 80-80) have one key here.
import type { Element, KeyPart, NftChain, NftOp, NftSet, NftTable, Rule } from './objects.ts'
import { count, printSum, type Sum } from './sum.ts'

export type SetState = { readonly set: NftSet; readonly elements: Map<string, Element> }
/** `body` is the canonical text of the rules, counters' values left out. */
export type ChainState = { readonly chain: NftChain; readonly body: string }

export type TableState = {
  exists: boolean
  readonly sets: Map<string, SetState>
  readonly chains: Map<string, ChainState>
  /** Of each set its shape and elements, by name, and of all chains; kept by `tableState` and `applyOps` only. */
  readonly sums: Map<string, Sum>
}

/** Where the sum of all chains is; no set can have this name. */
const CHAINS = '*chains'

const partKey = (part: KeyPart): string => {
  if (typeof part !== 'object') return String(part)
  return part.from === part.to ? String(part.from) : `${part.from}-${part.to}`
}

/** One string for an element's key, equal for equal keys. */
export function elementKey({ key }: Element): string {
  if (key === '*') return '*'
  return key.length === 1 ? partKey(key[0]!) : key.map(partKey).join(' . ')
}

export const elementValue = (element: Element): string => {
  const { value } = element
  if (value === undefined) return ''
  return typeof value === 'object' ? `${value.kind} ${'chain' in value ? value.chain : ''}` : String(value)
}

export const sameValue = (a: Element, b: Element): boolean => a.value === b.value || elementValue(a) === elementValue(b)

/** Everything of a set but its elements. */
export const setShape = (set: NftSet): string => JSON.stringify([set.key, set.value ?? null, set.interval ?? false])

/** Canonical text of a chain: hook and rules. */
export function chainBody(chain: NftChain): string {
  const rules = chain.rules.map((rule: Rule) => [
    rule.comment ?? null,
    rule.statements.map(s => (s.kind === 'counter' ? { kind: 'counter' } : s)),
  ])
  return JSON.stringify(sortKeys([chain.base ?? null, rules]))
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (value === null || typeof value !== 'object') return value
  const entries = Object.entries(value).filter(([, v]) => v !== undefined)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, sortKeys(v)]))
}

export function tableState(table: NftTable | undefined): TableState {
  const state: TableState = { exists: table !== undefined, sets: new Map(), chains: new Map(), sums: new Map() }
  state.sums.set(CHAINS, { a: 0, b: 0 })
  for (const set of table?.sets ?? []) addSet(state, set)
  for (const chain of table?.chains ?? []) putChain(state, chain)
  return state
}

/** What two states that hold the same have alike, in a few strings: by set, and for all chains. */
export const tableSums = (state: TableState): Map<string, string> =>
  new Map([...state.sums].map(([name, sum]) => [name, printSum(sum)]))

/** Under which of these names a batch changes something. */
export const sumsOf = (ops: readonly NftOp[]): Set<string> =>
  new Set(
    ops.flatMap(op => {
      if ('set' in op) return op.set.name
      if (op.op === 'delete-set') return op.name
      return op.op === 'add-table' ? [] : CHAINS
    }),
  )

const textOf = (key: string, element: Element): string => `${key}\0${elementValue(element)}`

function addSet(state: TableState, set: NftSet): void {
  const sum: Sum = { a: 0, b: 0 }
  count(sum, setShape(set), 1)
  state.sets.set(set.name, { set: { ...set, elements: [] }, elements: new Map() })
  state.sums.set(set.name, sum)
  for (const element of set.elements) putElement(state, set.name, element)
}

function putElement(state: TableState, set: string, element: Element): void {
  const key = elementKey(element)
  dropElement(state, set, key)
  state.sets.get(set)!.elements.set(key, element)
  count(state.sums.get(set)!, textOf(key, element), 1)
}

function dropElement(state: TableState, set: string, key: string): void {
  const { elements } = state.sets.get(set)!
  const known = elements.get(key)
  if (!known) return
  elements.delete(key)
  count(state.sums.get(set)!, textOf(key, known), -1)
}

function putChain(state: TableState, chain: NftChain): void {
  dropChain(state, chain.name)
  const body = chainBody(chain)
  state.chains.set(chain.name, { chain, body })
  count(state.sums.get(CHAINS)!, `${chain.name} ${body}`, 1)
}

function dropChain(state: TableState, name: string): void {
  const known = state.chains.get(name)
  if (!known) return
  state.chains.delete(name)
  count(state.sums.get(CHAINS)!, `${name} ${known.body}`, -1)
}

/** Brings the index to what the kernel holds after a batch that it accepted. */
export function applyOps(state: TableState, ops: readonly NftOp[]): void {
  for (const op of ops) {
    switch (op.op) {
      case 'add-table':
        state.exists = true
        break
      case 'delete-table':
        state.exists = false
        state.sets.clear()
        state.chains.clear()
        state.sums.clear()
        state.sums.set(CHAINS, { a: 0, b: 0 })
        break
      case 'add-set':
        if (!state.sets.has(op.set.name)) addSet(state, op.set)
        break
      case 'delete-set':
        state.sets.delete(op.name)
        state.sums.delete(op.name)
        break
      case 'add-elements':
        for (const e of op.elements) putElement(state, op.set.name, e)
        break
      case 'delete-elements':
        for (const e of op.elements) dropElement(state, op.set.name, elementKey(e))
        break
      case 'add-chain':
      case 'replace-rules':
        putChain(state, op.chain)
        break
      case 'delete-chain':
        dropChain(state, op.name)
        break
    }
  }
}
