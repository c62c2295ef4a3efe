// Does a selector match these labels? A missing label fails every positive test and passes `!=` and `not in`.
import type { Selector } from './selector.ts'

export type Labels = { readonly [key: string]: string }
export type LabelLookup = (key: string) => string | undefined

/** Labels as a lookup; names such as `constructor` are not found by accident. */
export const lookup =
  (labels: Labels): LabelLookup =>
  key =>
    Object.hasOwn(labels, key) ? labels[key] : undefined

export const matches = (selector: Selector, labels: LabelLookup | Labels): boolean =>
  test(selector, typeof labels === 'function' ? labels : lookup(labels))

function test(selector: Selector, labels: LabelLookup): boolean {
  switch (selector.op) {
    case 'all':
    case 'global':
      return true
    case 'not':
      return !test(selector.operand, labels)
    case 'and':
      return selector.operands.every(operand => test(operand, labels))
    case 'or':
      return selector.operands.some(operand => test(operand, labels))
  }
  const found = labels(selector.label)
  switch (selector.op) {
    case 'has':
      return found !== undefined
    case '==':
      return found === selector.value
    case '!=':
      return found !== selector.value
    case 'contains':
      return found?.includes(selector.value) ?? false
    case 'starts with':
      return found?.startsWith(selector.value) ?? false
    case 'ends with':
      return found?.endsWith(selector.value) ?? false
    case 'in':
      return found !== undefined && selector.values.includes(found)
    case 'not in':
      return found === undefined || !selector.values.includes(found)
  }
}
