// The label selector language of Calico as a value: the tree, its constructors, its canonical text and its identity.
// Two selectors that print alike are the same selector: one id, one set of members, one thing to explain.
import { uniqueId } from '../base/hash.ts'

/** A test of one label against one string. */
export type ComparisonOperator = '==' | '!=' | 'contains' | 'starts with' | 'ends with'
/** A test of one label against a set of strings. */
export type SetOperator = 'in' | 'not in'

export type Selector =
  /** `all()`. What it ranges over depends on the field it stands in; as a test it is always true. */
  | { readonly op: 'all' }
  /** `global()`: meaningful in namespace selectors only; as a test it is always true. */
  | { readonly op: 'global' }
  | { readonly op: 'has'; readonly label: string }
  | { readonly op: ComparisonOperator; readonly label: string; readonly value: string }
  /** The values are sorted and distinct. */
  | { readonly op: SetOperator; readonly label: string; readonly values: readonly string[] }
  /** The operand is never itself a `not`. */
  | { readonly op: 'not'; readonly operand: Selector }
  /** At least two operands. */
  | { readonly op: 'and' | 'or'; readonly operands: readonly Selector[] }

export const ALL: Selector = { op: 'all' }
export const GLOBAL: Selector = { op: 'global' }

export const has = (label: string): Selector => ({ op: 'has', label })
export const compare = (label: string, op: ComparisonOperator, value: string): Selector => ({ op, label, value })
export const equals = (label: string, value: string): Selector => compare(label, '==', value)
export const inSet = (label: string, op: SetOperator, values: Iterable<string>): Selector => ({
  op,
  label,
  values: [...new Set(values)].sort(),
})
export const not = (operand: Selector): Selector => (operand.op === 'not' ? operand.operand : { op: 'not', operand })
/** All of them; nothing to satisfy is `all()`. Groups are kept as written, not flattened. */
export const and = (...operands: readonly Selector[]): Selector => group('and', operands)
/** Any of them; with nothing to choose from, a selector that matches nothing. */
export const or = (...operands: readonly Selector[]): Selector => group('or', operands)

function group(op: 'and' | 'or', operands: readonly Selector[]): Selector {
  if (operands.length === 0) return op === 'and' ? ALL : not(ALL)
  return operands.length === 1 ? operands[0]! : { op, operands }
}

/** A value in the quotes it can stand in. The language has no escapes, so no value holds both kinds. */
const quote = (value: string): string => (value.includes('"') ? `'${value}'` : `"${value}"`)

/** The canonical text, Calico's normal form: groups in parentheses, double quotes, sorted sets. */
export function printSelector(selector: Selector): string {
  switch (selector.op) {
    case 'all':
    case 'global':
      return `${selector.op}()`
    case 'has':
      return `has(${selector.label})`
    case 'not':
      return `!${printSelector(selector.operand)}`
    case 'and':
    case 'or':
      return `(${selector.operands.map(printSelector).join(selector.op === 'and' ? ' && ' : ' || ')})`
    case 'in':
    case 'not in':
      return `${selector.label} ${selector.op} {${selector.values.map(quote).join(', ')}}`
    default:
      return `${selector.label} ${selector.op} ${quote(selector.value)}`
  }
}

/** The id of a selector, equal for all spellings with one canonical text; computed as Felix computes it. */
export const selectorId = (selector: Selector): string => uniqueId('s', printSelector(selector))

/** The same selector over other label names. */
export function mapLabels(selector: Selector, rename: (label: string) => string): Selector {
  switch (selector.op) {
    case 'all':
    case 'global':
      return selector
    case 'not':
      return { op: 'not', operand: mapLabels(selector.operand, rename) }
    case 'and':
    case 'or':
      return { op: selector.op, operands: selector.operands.map(operand => mapLabels(operand, rename)) }
    default:
      return { ...selector, label: rename(selector.label) }
  }
}

/** Puts a prefix (`pcns.`, `pcsa.`) before every label: a selector of namespaces becomes one of their endpoints. */
export const prefixKeys = (selector: Selector, prefix: string): Selector => mapLabels(selector, label => prefix + label)

/** Every label that the selector looks at. */
export function selectorLabels(selector: Selector): ReadonlySet<string> {
  const labels = new Set<string>()
  mapLabels(selector, label => {
    labels.add(label)
    return label
  })
  return labels
}

/** Whether `global()` stands anywhere in the selector; most fields do not allow it. */
export function usesGlobal(selector: Selector): boolean {
  if (selector.op === 'not') return usesGlobal(selector.operand)
  if (selector.op === 'and' || selector.op === 'or') return selector.operands.some(usesGlobal)
  return selector.op === 'global'
}
