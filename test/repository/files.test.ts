// House style that a machine can check: sizes, names, the comment that begins a file, and what must not stand in one.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isTest, sources } from './sources.ts'

const LONGEST = 500
const code = [...sources(['src', 'test', 'bench', 'scripts'], ['.ts', '.mjs', '.c'])]
const pages = [...sources(['docs', 'examples'], ['.md', '.yaml'])]

describe('files', () => {
  it('are there', () => assert.ok(code.length > 50))

  it(`have at most ${LONGEST} lines`, () => {
    const long = code.filter(({ text }) => text.split('\n').length - 1 > LONGEST)
    assert.deepEqual(
      long.map(({ path }) => path),
      [],
    )
  })

  it('have names of small letters, digits and hyphens', () => {
    const odd = code.filter(({ path }) => !/^[a-z0-9-]+(\.test|\.fixture)?\.(ts|mjs|c)$/.test(path.split('/').at(-1)!))
    assert.deepEqual(
      odd.map(({ path }) => path),
      [],
    )
  })

  it('begin with a comment that says what and why', () => {
    const bare = code.filter(source => !isTest(source) && !/^(\/\/ \S|\/\*[\s*]*\S)/.test(source.text))
    assert.deepEqual(
      bare.map(({ path }) => path),
      [],
    )
  })

  it('hold no notes to self, no disabled tests and no paths of one machine', () => {
    // Put together here, so that this file does not find itself.
    const words = [
      ['TO', 'DO'],
      ['FIX', 'ME'],
      ['XX', 'X'],
      ['/wo', 'rk/'],
      ['@ts-', 'ignore'],
      ['@ts-', 'nocheck'],
    ].map(parts => parts.join(''))
    const disabled = new RegExp(
      `\\b(it|test|describe)\\.(${['sk', 'to'].map((w, i) => w + ['ip', 'do'][i]).join('|')}|only)\\b`,
    )
    const found = [...code, ...pages].flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, index) =>
          words.some(word => line.includes(word)) || disabled.test(line)
            ? [`${path}:${index + 1}: ${line.trim()}`]
            : [],
        ),
    )
    assert.deepEqual(found, [])
  })
})
