// One form for objects that mean the same to the kernel, so that a table read back compares with the table wanted: the
// statements that the kernel's expressions are recognised as, elements in order, counters without their values.
import { compile } from './compile.ts'
import type { Element, NftChain, NftSet, NftTable, Rule, Statement } from './objects.ts'
import { printElement } from './print.ts'
import { recognise } from './recognise.ts'

type Sets = { readonly get: (name: string) => Pick<NftSet, 'interval'> | undefined }

const withoutState = (s: Statement): Statement => (s.kind === 'counter' ? { kind: 'counter' } : s)

/** These say the same to the kernel in no other way; nearly all rules (those of outcomes) have nothing else. */
const isPlain = ({ kind }: Statement): boolean => kind === 'counter' || kind === 'set' || kind === 'verdict'

function canonicalRule(rule: Rule, sets: Sets): Rule {
  if (rule.statements.every(isPlain)) return { ...rule, statements: rule.statements.map(withoutState) }
  const find = (name: string) => sets.get(name)
  const { expressions, anonymous } = compile(rule.statements, find)
  const statements = recognise(expressions, find, name =>
    name.startsWith('#') ? anonymous[Number(name.slice(1))] : undefined,
  )
  return { ...rule, statements: statements.map(withoutState) }
}

export const canonicalChain = (chain: NftChain, sets: Sets): NftChain => ({
  ...chain,
  rules: chain.rules.map(rule => canonicalRule(rule, sets)),
})

function canonicalElement(element: Element): Element {
  if (element.key === '*') return element
  return {
    ...element,
    key: element.key.map(part => (typeof part === 'object' && part.from === part.to ? part.from : part)),
  }
}

export function canonicalSet(set: NftSet): NftSet {
  const elements = set.elements
    .map(canonicalElement)
    .map(element => ({ element, text: printElement(set, element) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
  return { ...set, elements: elements.map(({ element }) => element) }
}

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0

/** The table in its canonical form, sets and chains by name. */
export function canonicalTable(table: NftTable): NftTable {
  const sets = new Map(table.sets.map(set => [set.name, set]))
  return {
    ...table,
    sets: table.sets.map(canonicalSet).sort(byName),
    chains: table.chains.map(chain => canonicalChain(chain, sets)).sort(byName),
  }
}
