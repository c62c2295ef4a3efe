// A table as an index: what is in the kernel, or what should be, by name and by element key, so that two can be compared
// and a batch can be applied. Forms that the kernel does not distinguish (80 and 80-80) have one key here.
import type { Element, KeyPart, NftChain, NftOp, NftSet, NftTable, Rule } from './objects.ts'

export type SetState = { readonly set: NftSet; readonly elements: Map<string, Element> }
/** `body` is the canonical text of the rules, counters' values left out. */
export type ChainState = { readonly chain: NftChain; readonly body: string }

export type TableState = {
  exists: boolean
  readonly sets: Map<string, SetState>
  readonly chains: Map<string, ChainState>
}

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

function indexSet(set: NftSet): SetState {
  const elements = new Map<string, Element>()
  for (const e of set.elements) elements.set(elementKey(e), e)
  return { set: { ...set, elements: [] }, elements }
}

export function tableState(table: NftTable | undefined): TableState {
  return {
    exists: table !== undefined,
    sets: new Map(table?.sets.map(s => [s.name, indexSet(s)])),
    chains: new Map(table?.chains.map(c => [c.name, { chain: c, body: chainBody(c) }])),
  }
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
        break
      case 'add-set':
        if (!state.sets.has(op.set.name)) state.sets.set(op.set.name, indexSet(op.set))
        break
      case 'delete-set':
        state.sets.delete(op.name)
        break
      case 'add-elements':
        for (const e of op.elements) state.sets.get(op.set.name)!.elements.set(elementKey(e), e)
        break
      case 'delete-elements':
        for (const e of op.elements) state.sets.get(op.set.name)!.elements.delete(elementKey(e))
        break
      case 'add-chain':
      case 'replace-rules':
        state.chains.set(op.chain.name, { chain: op.chain, body: chainBody(op.chain) })
        break
      case 'delete-chain':
        state.chains.delete(op.name)
        break
    }
  }
}
