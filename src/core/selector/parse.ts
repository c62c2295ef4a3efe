// From text to selector. The grammar is Calico's, quirks included: only space and tab separate, strings have no
// escapes, the words of an operator may be written together, and operator words are words only right after a label.
//
//   expr := and ('||' and)*     and := op ('&&' op)*     set := '{' [string (',' string)* [',']] '}'
//   op   := '!'* ( 'has(' label ')' | 'all()' | 'global()' | label test | '(' expr ')' )
//   test := ('==' | '!=' | 'contains' | 'starts with' | 'ends with') string | ('in' | 'not in') set
import { failed, ok, type Result } from '../base/problem.ts'
import {
  ALL,
  and,
  type ComparisonOperator,
  compare,
  GLOBAL,
  has,
  inSet,
  not,
  or,
  type Selector,
  type SetOperator,
} from './selector.ts'

const LABEL = /[A-Za-z0-9_./-]+/y
const MAX_LABEL = 512
/** Deeper nesting is refused so that no text can exhaust the stack; fields hold at most 1024 characters. */
const MAX_DEPTH = 500

const COMPARISONS: readonly (readonly [RegExp, ComparisonOperator])[] = [
  [/==/y, '=='],
  [/!=/y, '!='],
  [/contains\b/y, 'contains'],
  [/starts[ \t]*with\b/y, 'starts with'],
  [/ends[ \t]*with\b/y, 'ends with'],
]
const SETS: readonly (readonly [RegExp, SetOperator])[] = [
  [/in\b/y, 'in'],
  [/not[ \t]*in\b/y, 'not in'],
]

/** Thrown and caught inside this file only: where the text stops making sense, what should stand there, and a cure. */
class Expected extends Error {
  readonly at: number
  readonly fix: string | undefined
  constructor(at: number, message: string, fix?: string) {
    super(message)
    this.at = at
    this.fix = fix
  }
}

class Reader {
  readonly text: string
  at = 0
  constructor(text: string) {
    this.text = text
  }
  skip(): void {
    while (this.text[this.at] === ' ' || this.text[this.at] === '\t') this.at++
  }
  /** Takes what the sticky pattern matches here, after white space. */
  take(pattern: RegExp): string | undefined {
    this.skip()
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0]
    this.at += found?.length ?? 0
    return found
  }
  takeText(token: string): boolean {
    this.skip()
    if (!this.text.startsWith(token, this.at)) return false
    this.at += token.length
    return true
  }
  expect(token: string): void {
    if (!this.takeText(token)) throw new Expected(this.at, `expected ${token}`)
  }
}

/** Parses a selector; an empty text is `all()`. The problem's message names the position, counted from 1. */
export function parseSelector(text: string): Result<Selector> {
  const reader = new Reader(text)
  try {
    reader.skip()
    if (reader.at === text.length) return ok(ALL)
    const selector = parseOr(reader, 0)
    reader.skip()
    if (reader.at < text.length) throw afterOperand(reader)
    return ok(selector)
  } catch (error) {
    if (!(error instanceof Expected)) throw error
    const found = error.at < text.length ? `found ${JSON.stringify(text[error.at])}` : 'found the end'
    const message = `${error.message} at position ${error.at + 1}, ${found}`
    return failed({ path: '', message, value: text, ...(error.fix === undefined ? {} : { fix: error.fix }) })
  }
}

/** The selector of a literal in code or of a text that was validated before; throws on a mistake. */
export function selector(text: string): Selector {
  const parsed = parseSelector(text)
  if (!parsed.ok) throw new Error(`not a selector: ${text}: ${parsed.problems[0]!.message}`)
  return parsed.value
}

/** What is wrong when a complete operand is followed by something that continues nothing. */
function afterOperand(reader: Reader): Expected {
  const next = reader.text[reader.at]
  if (next === '&') return new Expected(reader.at, 'expected &&', 'write && for "and"')
  if (next === '|') return new Expected(reader.at, 'expected ||', 'write || for "or"')
  if (next === '\n' || next === '\r') return lineBreak(reader)
  return new Expected(reader.at, 'expected &&, || or the end')
}

const lineBreak = (reader: Reader): Expected =>
  new Expected(reader.at, 'expected a selector on one line', 'in YAML, fold long selectors with > and - (">-")')

function parseOr(reader: Reader, depth: number): Selector {
  const operands = [parseAnd(reader, depth)]
  while (reader.takeText('||')) operands.push(parseAnd(reader, depth))
  return or(...operands)
}

function parseAnd(reader: Reader, depth: number): Selector {
  const operands = [parseOperand(reader, depth)]
  while (reader.takeText('&&')) operands.push(parseOperand(reader, depth))
  return and(...operands)
}

function parseOperand(reader: Reader, depth: number): Selector {
  if (depth > MAX_DEPTH) throw new Expected(reader.at, `expected at most ${MAX_DEPTH} nested parentheses`)
  let negated = false
  while (reader.takeText('!')) negated = !negated
  const operand = parsePositive(reader, depth)
  return negated ? not(operand) : operand
}

function parsePositive(reader: Reader, depth: number): Selector {
  if (reader.takeText('(')) {
    const inner = parseOr(reader, depth + 1)
    reader.skip()
    if (reader.text[reader.at] !== ')') throw reader.at < reader.text.length ? withParen(reader) : missingParen(reader)
    reader.at++
    return inner
  }
  if (reader.takeText('has(')) {
    const label = parseLabel(reader)
    reader.expect(')')
    return has(label)
  }
  for (const constant of [ALL, GLOBAL]) {
    if (reader.takeText(`${constant.op}(`)) {
      reader.expect(')')
      return constant
    }
  }
  const label = parseLabel(reader)
  for (const [pattern, op] of COMPARISONS) if (reader.take(pattern)) return compare(label, op, parseString(reader))
  for (const [pattern, op] of SETS) if (reader.take(pattern)) return inSet(label, op, parseSet(reader))
  throw operatorExpected(reader, label)
}

const missingParen = (reader: Reader): Expected => new Expected(reader.at, 'expected )')

function withParen(reader: Reader): Expected {
  const error = afterOperand(reader)
  return new Expected(error.at, error.message.replace('or the end', 'or )'), error.fix)
}

function operatorExpected(reader: Reader, label: string): Expected {
  reader.skip()
  if (reader.text[reader.at] === '=') return new Expected(reader.at, 'expected ==', 'write == for "equals"')
  const bare = reader.at === reader.text.length || '&|)'.includes(reader.text[reader.at]!)
  const fix = bare ? `to test that the label exists, write has(${label})` : undefined
  return new Expected(reader.at, `expected an operator (==, !=, in, not in, contains, starts with, ends with)`, fix)
}

function parseLabel(reader: Reader): string {
  const label = reader.take(LABEL)
  if (label === undefined) {
    const next = reader.text[reader.at]
    if (next === '\n' || next === '\r') throw lineBreak(reader)
    const quoted = next === '"' || next === "'"
    throw new Expected(
      reader.at,
      'expected a label name',
      quoted ? 'label names are written without quotes' : undefined,
    )
  }
  if (label.length > MAX_LABEL) {
    throw new Expected(reader.at - label.length, `expected a label name of at most ${MAX_LABEL} characters`)
  }
  return label
}

function parseString(reader: Reader): string {
  reader.skip()
  const quote = reader.text[reader.at]
  if (quote !== '"' && quote !== "'") {
    throw new Expected(reader.at, 'expected a quoted string', `put the value in quotes: 'value'`)
  }
  const end = reader.text.indexOf(quote, reader.at + 1)
  if (end < 0) throw new Expected(reader.text.length, `expected ${quote} to end the string`)
  const value = reader.text.slice(reader.at + 1, end)
  reader.at = end + 1
  return value
}

function parseSet(reader: Reader): string[] {
  const values: string[] = []
  reader.expect('{')
  while (!reader.takeText('}')) {
    if (values.length > 0 && !reader.takeText(',')) throw new Expected(reader.at, 'expected , or }')
    if (values.length > 0 && reader.takeText('}')) break
    values.push(parseString(reader))
  }
  return values
}
