// What differs between two states of a table, in words: what somebody did to ours.
import type { Element, NftSet } from './objects.ts'
import { printElement } from './print.ts'
import type { TableState } from './table-state.ts'
import { elementValue } from './table-state.ts'

/** More than a few of a kind are counted, not listed: a flush has thousands. */
const LISTED = 5

function list(of: readonly string[], more: string): string[] {
  return of.length <= LISTED ? [...of] : [...of.slice(0, LISTED), `and ${of.length - LISTED} more ${more}`]
}

function elementDifferences(
  name: string,
  set: NftSet,
  before: ReadonlyMap<string, Element>,
  after: ReadonlyMap<string, Element>,
): string[] {
  const gone: string[] = []
  const come: string[] = []
  const changed: string[] = []
  for (const [key, element] of before) {
    const now = after.get(key)
    if (!now) gone.push(`element ${printElement(set, element)} of ${name} was deleted`)
    else if (elementValue(now) !== elementValue(element)) {
      changed.push(`element ${printElement(set, element)} of ${name} became ${printElement(set, now)}`)
    }
  }
  for (const [key, element] of after)
    if (!before.has(key)) come.push(`element ${printElement(set, element)} was added to ${name}`)
  return [
    ...list(gone, `elements of ${name} were deleted`),
    ...list(changed, `elements of ${name} became others`),
    ...list(come, `elements were added to ${name}`),
  ]
}

/** Empty if they are the same. */
export function tableDifferences(before: TableState, after: TableState): string[] {
  if (before.exists && !after.exists) return ['the table was deleted']
  const out: string[] = []
  for (const [name, { set, elements }] of before.sets) {
    const now = after.sets.get(name)
    if (now) out.push(...elementDifferences(name, set, elements, now.elements))
    else out.push(`set ${name} was deleted`)
  }
  for (const name of after.sets.keys()) if (!before.sets.has(name)) out.push(`set ${name} was added`)
  const [gone, come, changed]: [string[], string[], string[]] = [[], [], []]
  for (const [name, { chain, body }] of before.chains) {
    const now = after.chains.get(name)
    if (!now) gone.push(`chain ${name} was deleted`)
    else if (now.body !== body) {
      const [had, has] = [chain.rules.length, now.chain.rules.length]
      changed.push(
        had === has ? `a rule of chain ${name} was replaced` : `chain ${name} has ${has} rules instead of ${had}`,
      )
    }
  }
  for (const name of after.chains.keys()) if (!before.chains.has(name)) come.push(`chain ${name} was added`)
  return [
    ...out,
    ...list(gone, 'chains were deleted'),
    ...list(changed, 'chains have other rules'),
    ...list(come, 'chains were added'),
  ]
}
