import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { mistakesOf, parseInput, printMistake, readInputs } from './input.ts'

const POLICY = `# a comment
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: a
  labels:
    example.org/team: x
spec:
  ingress:
    - action: Permit
      source:
        selector: role == 'b'
`

test('a path finds its line and column, an absent one the nearest that exists', () => {
  const { documents, mistakes } = parseInput('p.yaml', POLICY)
  assert.deepEqual(mistakes, [])
  const position = documents[0]!.position
  const cases: [string, number, number][] = [
    ['spec.ingress[0].action', 10, 15],
    ['spec.ingress[0].source.selector', 12, 19],
    ['spec.ingress[0].source', 11, 7],
    ['spec.ingress[0].destination.ports', 10, 7],
    ['spec.ingress[3]', 9, 3],
    ['metadata.labels.example.org/team', 7, 23],
    ['metadata.labels["example.org/team"]', 7, 23],
    ['spec.order', 8, 1],
    ['', 2, 1],
  ]
  for (const [at, line, column] of cases) assert.deepEqual(position(at), { line, column }, at)
})

test('a mistake prints as one line that an editor can follow', () => {
  const { documents } = parseInput('p.yaml', POLICY)
  const problem = { path: 'spec.ingress[0].action', message: 'no such action', fix: 'use Allow or Deny' }
  assert.deepEqual(mistakesOf(documents[0]!, [problem]).map(printMistake), [
    'p.yaml:10:15: spec.ingress[0].action: no such action (fix: use Allow or Deny)',
  ])
})

test('documents, lists, arrays and JSON', () => {
  const kinds = (text: string): unknown[] =>
    parseInput('x', text).documents.map(d => (d.value as Record<string, unknown>).kind)
  assert.deepEqual(kinds('kind: A\n---\n---\nkind: B\n'), ['A', 'B'])
  assert.deepEqual(kinds('kind: List\nitems:\n- kind: A\n- kind: B\n'), ['A', 'B'])
  assert.deepEqual(kinds('{"kind":"TierList","items":[{"kind":"Tier"}]}'), ['Tier'])
  assert.deepEqual(kinds('[{"kind":"A"},{"kind":"B"}]'), ['A', 'B'])
  assert.deepEqual(kinds('# nothing\n'), [])
  const list = parseInput('x', 'kind: List\nitems:\n- kind: A\n- kind: B\n  spec: {order: x}\n')
  assert.deepEqual(list.documents[1]!.position('spec.order'), { line: 5, column: 17 })
})

test('what is no resource is a mistake with its place', () => {
  const lines = (text: string): string[] => parseInput('x', text).mistakes.map(printMistake)
  assert.match(lines('kind: A\n---\nkind: [B\n')[0]!, /^x:4:1: not valid YAML: /)
  assert.match(lines('kind: A\nkind: B\n')[0]!, /^x:2:1: not valid YAML: Map keys must be unique/)
  assert.match(lines('just text\n')[0]!, /^x:1:1: a resource is a map/)
  assert.match(lines('kind: List\nitems: 3\n')[0]!, /^x:2:8: items: a List has its resources under items/)
  assert.match(lines('kind: List\nitems:\n- 7\n')[0]!, /^x:3:3: items\[0\]: a resource is a map/)
})

test('no text makes the parser throw, and every mistake and document has a place', () => {
  const alphabet = fc.constantFrom(
    'kind',
    ':',
    ' ',
    '\n',
    '-',
    '---\n',
    '[',
    ']',
    '{',
    '}',
    '&a',
    '*a',
    '"',
    "'",
    '!',
    '#',
    '\t',
    '|',
    'List',
  )
  const texts = fc.oneof(
    fc.string(),
    fc.array(alphabet, { maxLength: 40 }).map(parts => parts.join('')),
  )
  fc.assert(
    fc.property(texts, fc.string(), (text, at) => {
      const { documents, mistakes } = parseInput('x', text)
      for (const mistake of mistakes) assert.ok(mistake.line >= 1 && mistake.column >= 1)
      for (const document of documents) assert.ok(document.position(at).line >= 1)
    }),
    { numRuns: 2000 },
  )
})

test('files, directories and standard input', async () => {
  const dir = await mkdtemp(path.join(tmpdir(), 'gingham-input-'))
  try {
    await writeFile(path.join(dir, 'b.yaml'), 'kind: B\n')
    await writeFile(path.join(dir, 'a.json'), '{"kind":"A"}')
    await writeFile(path.join(dir, 'note.txt'), 'kind: No\n')
    await mkdir(path.join(dir, 'sub'))
    await writeFile(path.join(dir, 'sub', 'c.yml'), 'kind: C\n')
    const kinds = async (names: string[], recursive: boolean): Promise<unknown[]> => {
      const { documents } = await readInputs(names, { recursive, stdin: Readable.from(['kind: S\n']) })
      return documents.map(d => (d.value as Record<string, unknown>).kind)
    }
    assert.deepEqual(await kinds([dir], false), ['A', 'B'])
    assert.deepEqual(await kinds([dir], true), ['A', 'B', 'C'])
    assert.deepEqual(await kinds(['-', path.join(dir, 'b.yaml')], false), ['S', 'B'])
    const { mistakes } = await readInputs([path.join(dir, 'none.yaml')], { recursive: false, stdin: Readable.from([]) })
    assert.equal(mistakes[0]!.message, 'no such file or directory')
  } finally {
    await rm(dir, { recursive: true })
  }
})
