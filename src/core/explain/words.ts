// Selectors, ports and lists in plain words. A selector whose words could be misread is quoted as it was written: a text
// that is always right is worth more than one that reads smoothly and is sometimes wrong.
import { parseSelector } from '../selector/parse.ts'
import type { Selector } from '../selector/selector.ts'

/** `a`, `a and b`, `a, b and c`. */
export function list(items: readonly string[], word = 'and'): string {
  if (items.length <= 1) return items[0] ?? ''
  return `${items.slice(0, -1).join(', ')} ${word} ${items.at(-1)}`
}

/** So many items are told one by one; more make a sentence that nobody reads. */
const TOLD = 5

/** The first ones of many, and a word about how many are left out. One more than can be told is told too. */
export const cut = (words: readonly string[], rest: (n: number) => string): string[] =>
  words.length <= TOLD + 1 ? [...words] : [...words.slice(0, TOLD), rest(words.length - TOLD)]

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

const labeled = (label: string, value: string): string => `'${label}=${value}'`

/** What a selector asks of a thing, to be put after its noun: `labeled 'a=b'`; empty for all(); undefined if not sayable. */
function clause(selector: Selector): string | undefined {
  switch (selector.op) {
    case 'all':
      return ''
    case '==':
      return `labeled ${labeled(selector.label, selector.value)}`
    case '!=':
      return `not labeled ${labeled(selector.label, selector.value)}`
    case 'has':
      return `with a label '${selector.label}'`
    case 'in':
      return selector.values.length === 0
        ? undefined
        : `labeled ${list(
            selector.values.map(value => labeled(selector.label, value)),
            'or',
          )}`
    case 'not in':
      return selector.values.length === 0
        ? undefined
        : `not labeled ${list(
            selector.values.map(value => labeled(selector.label, value)),
            'or',
          )}`
    case 'not':
      return selector.operand.op === 'has' ? `without a label '${selector.operand.label}'` : undefined
    case 'and': {
      if (selector.operands.every(operand => operand.op === '==')) {
        return `labeled ${list(selector.operands.map(o => (o.op === '==' ? labeled(o.label, o.value) : '')))}`
      }
      const clauses = selector.operands.map(clause)
      // "labeled a or b and with c" has two readings.
      const plain = selector.operands.every(o => o.op === '==' || o.op === '!=' || o.op === 'has' || o.op === 'not')
      return plain && clauses.every(c => c !== undefined) ? list(clauses) : undefined
    }
    case 'or':
      return selector.operands.every(operand => operand.op === '==')
        ? `labeled ${list(
            selector.operands.map(o => (o.op === '==' ? labeled(o.label, o.value) : '')),
            'or',
          )}`
        : undefined
    default:
      return undefined
  }
}

/** `pods labeled 'role=a'`, `all pods`, `pods matching "..."`. An empty text is all(). */
export function things(noun: string, selectorText: string | undefined): string {
  const parsed = parseSelector(selectorText ?? '')
  const said = parsed.ok ? clause(parsed.value) : undefined
  if (said === '') return `all ${noun}`
  return said === undefined ? `${noun} matching "${(selectorText ?? '').trim()}"` : `${noun} ${said}`
}
