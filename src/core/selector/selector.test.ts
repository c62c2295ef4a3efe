// The selector language: rows from Calico's grammar, and properties over random trees and random text.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Labels, matches } from './match.ts'
import { parseSelector, selector } from './parse.ts'
import {
  and,
  mapLabels,
  not,
  or,
  prefixKeys,
  printSelector,
  type Selector,
  selectorId,
  selectorLabels,
} from './selector.ts'

const CANONICAL: readonly (readonly [string, string])[] = [
  ['', 'all()'],
  [' \t ', 'all()'],
  ['all( )', 'all()'],
  ['global()', 'global()'],
  ["app=='web'&&has(env)", '(app == "web" && has(env))'],
  ["a == 'b' && c == 'd' || e == 'f'", '((a == "b" && c == "d") || e == "f")'],
  ["a == 'b' || c == 'd' && e == 'f'", '(a == "b" || (c == "d" && e == "f"))'],
  ["(a == 'b' && c == 'd') && e == 'f'", '((a == "b" && c == "d") && e == "f")'],
  ["((a == 'b'))", 'a == "b"'],
  ["!a == 'b' && has(c)", '(!a == "b" && has(c))'],
  ['!!has(a)', 'has(a)'],
  ['! ! !has( a )', '!has(a)'],
  ['!(!has(a))', 'has(a)'],
  ["a in {'y', 'x','x',}", 'a in {"x", "y"}'],
  ["a notin {'x'}", 'a not in {"x"}'],
  ["a not \t in{'x'}", 'a not in {"x"}'],
  ['a in {}', 'a in {}'],
  ["a startswith'x'", 'a starts with "x"'],
  ["a ends  with 'x'", 'a ends with "x"'],
  [`a contains 'say "hi"'`, `a contains 'say "hi"'`],
  [`a == "it's {1} ü"`, `a == "it's {1} ü"`],
  ["in in {'x'}", 'in in {"x"}'],
  ["contains contains 'contains'", 'contains contains "contains"'],
  ["has == 'x' || all != 'y'", '(has == "x" || all != "y")'],
  ["not in {'x'}", 'not in {"x"}'],
  ["k8s.io/a-b_c == ''", 'k8s.io/a-b_c == ""'],
]

test('canonical form', () => {
  for (const [text, canonical] of CANONICAL) {
    assert.equal(printSelector(selector(text)), canonical, text)
    assert.deepEqual(selector(canonical), selector(text), text)
  }
})

const REJECTED: readonly (readonly [string, string])[] = [
  ["app = 'x'", 'expected == at position 5, found "="'],
  ["app == 'x' &&", 'expected a label name at position 14, found the end'],
  ["app == 'x' & has(b)", 'expected && at position 12, found "&"'],
  ["app == 'x' | has(b)", 'expected || at position 12, found "|"'],
  ['app', 'expected an operator (==, !=, in, not in, contains, starts with, ends with) at position 4, found the end'],
  ['app == x', 'expected a quoted string at position 8, found "x"'],
  ["app == 'x", "expected ' to end the string at position 10, found the end"],
  ["a in {,'x'}", 'expected a quoted string at position 7, found ","'],
  ["a in {'x',,}", 'expected a quoted string at position 11, found ","'],
  ["a in {'x' 'y'}", 'expected , or } at position 11, found "\'"'],
  [
    "a inx {'x'}",
    'expected an operator (==, !=, in, not in, contains, starts with, ends with) at position 3, found "i"',
  ],
  ['has (a)', 'expected an operator (==, !=, in, not in, contains, starts with, ends with) at position 5, found "("'],
  ["(a == 'x'", 'expected ) at position 10, found the end'],
  ["a == 'x')", 'expected &&, || or the end at position 9, found ")"'],
  ["a == 'x' &&\n b == 'y'", 'expected a selector on one line at position 12, found "\\n"'],
  [`${'x'.repeat(513)} == 'a'`, 'expected a label name of at most 512 characters at position 1, found "x"'],
  ['('.repeat(100_000), 'expected at most 500 nested parentheses at position 502, found "("'],
]

test('mistakes are named with their position', () => {
  for (const [text, message] of REJECTED) {
    const parsed = parseSelector(text)
    assert.equal(parsed.ok, false, text)
    if (!parsed.ok) assert.equal(parsed.problems[0]?.message, message)
  }
})

test('a missing label fails positive tests and passes negative ones', () => {
  const rows: readonly (readonly [string, boolean])[] = [
    ["a == ''", false],
    ["a contains ''", false],
    ["a starts with ''", false],
    ["a ends with ''", false],
    ["a in {''}", false],
    ['has(a)', false],
    ["a != 'x'", true],
    ["a not in {'x'}", true],
    ['has(constructor)', false],
    ['!has(a)', true],
    ['all() && global()', true],
  ]
  for (const [text, expected] of rows) assert.equal(matches(selector(text), {}), expected, text)
})

test('the id is that of Felix: equal for all spellings', () => {
  assert.match(selectorId(selector('all()')), /^s:[A-Za-z0-9_-]{38}$/)
  assert.equal(selectorId(selector("a in {'y','x'}")), selectorId(selector('a  in {"x", "y",}')))
  assert.notEqual(selectorId(selector("a == 'x'")), selectorId(selector("a == 'y'")))
})

test('prefixing and labels', () => {
  const prefixed = prefixKeys(selector("has(a) && !(b in {'x'} || all())"), 'pcns.')
  assert.equal(printSelector(prefixed), '(has(pcns.a) && !(pcns.b in {"x"} || all()))')
  assert.deepEqual([...selectorLabels(prefixed)].sort(), ['pcns.a', 'pcns.b'])
})

test('and, or and not keep the form canonical', () => {
  assert.equal(printSelector(and()), 'all()')
  assert.equal(printSelector(or()), '!all()')
  assert.equal(printSelector(not(not(selector('has(a)')))), 'has(a)')
  assert.equal(printSelector(and(selector('has(a)'))), 'has(a)')
})

const label = fc.constantFrom('a', 'b', 'in', 'has', 'all', 'k8s.io/x-y')
const value = fc.oneof(
  fc.constantFrom('', 'x', 'y', 'xy', 'yx'),
  fc.string().filter(s => !(s.includes('"') && s.includes("'"))),
)
const tree: fc.Arbitrary<Selector> = fc.letrec<{ node: Selector }>(tie => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Selector>({ op: 'all' }, { op: 'global' }),
    label.map((l): Selector => ({ op: 'has', label: l })),
    fc
      .record(
        { op: fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with'), label, value },
        { noNullPrototype: true },
      )
      .map(r => r as Selector),
    fc
      .record(
        { op: fc.constantFrom('in', 'not in'), label, values: fc.uniqueArray(value, { maxLength: 4 }) },
        { noNullPrototype: true },
      )
      .map(r => ({ ...r, values: [...r.values].sort() }) as Selector),
    tie('node').map(not),
    fc
      .record(
        {
          op: fc.constantFrom('and' as const, 'or' as const),
          operands: fc.array(tie('node'), { minLength: 2, maxLength: 3 }),
        },
        { noNullPrototype: true },
      )
      .map((r): Selector => r),
  ),
})).node

test('parse is the inverse of print', () => {
  fc.assert(fc.property(tree, node => assert.deepEqual(selector(printSelector(node)), node)))
})

test('no text makes the parser throw, and what it accepts it prints stably', () => {
  const word = fc.constantFrom(
    'a',
    ' ',
    '(',
    ')',
    '!',
    '&&',
    '||',
    '==',
    '=',
    "'x'",
    '"',
    'has(',
    'all()',
    'in',
    'not',
    '{',
    '}',
    ',',
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(word, { maxLength: 20 }).map(words => words.join('')),
  )
  fc.assert(
    fc.property(text, input => {
      const parsed = parseSelector(input)
      if (parsed.ok) assert.deepEqual(selector(printSelector(parsed.value)), parsed.value)
      else assert.match(parsed.problems[0]!.message, /at position \d+, found/s)
    }),
    { numRuns: 2000 },
  )
})

/** A second evaluator: negations are pushed to the leaves, and strings are compared in other ways than the first does. */
function naive(node: Selector, labels: Labels, wanted: boolean): boolean {
  switch (node.op) {
    case 'all':
    case 'global':
      return wanted
    case 'not':
      return naive(node.operand, labels, !wanted)
    case 'and':
    case 'or': {
      const results = node.operands.map(operand => naive(operand, labels, wanted))
      return (node.op === 'and') === wanted ? !results.includes(false) : results.includes(true)
    }
    case '!=':
      return naive({ op: '==', label: node.label, value: node.value }, labels, !wanted)
    case 'not in':
      return naive({ op: 'in', label: node.label, values: node.values }, labels, !wanted)
  }
  const found = new Map(Object.entries(labels)).get(node.label)
  if (found === undefined) return !wanted
  switch (node.op) {
    case 'has':
      return wanted
    case '==':
      return (found.length === node.value.length && found.indexOf(node.value) === 0) === wanted
    case 'contains':
      return (found.split(node.value).length > 1 || node.value === '') === wanted
    case 'starts with':
      return (found.slice(0, node.value.length) === node.value) === wanted
    case 'ends with':
      return (
        (node.value.length <= found.length && found.slice(found.length - node.value.length) === node.value) === wanted
      )
    case 'in':
      return new Set(node.values).has(found) === wanted
  }
}

test('a naive second evaluator agrees', () => {
  const labels = fc.dictionary(label, fc.constantFrom('', 'x', 'y', 'xy', 'yx'), { noNullPrototype: true })
  fc.assert(
    fc.property(tree, labels, (node, found) => {
      assert.equal(matches(node, found), naive(node, found, true))
      assert.equal(
        matches(
          mapLabels(node, l => l),
          key => found[key],
        ),
        naive(node, found, true),
      )
    }),
    { numRuns: 2000 },
  )
})
