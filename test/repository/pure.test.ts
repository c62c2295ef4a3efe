// Core is pure: no clock, no chance, no machine. The types of core leave most of these names out (its own tsconfig); this
// check finds them also where a type would come in by the back door, and the ones that the language itself brings.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isTest, sources, withoutComments } from './sources.ts'

const IMPURE: readonly RegExp[] = [
  /\bnew Date\b|\bDate\s*\(|\bDate\.\w/,
  /\bMath\.random\b/,
  /\b(?:performance|crypto|process|console|Buffer|globalThis)\b\s*(?:\.\s*[a-zA-Z]|\?\.|\[)/,
  /\bBuffer\s*\(/,
  /(?<![.\w])(?:setTimeout|setInterval|setImmediate|queueMicrotask|fetch|eval)\s*\(/,
  /\b(?:TextEncoder|TextDecoder|AbortController|WeakRef|FinalizationRegistry)\b/,
  /\basync\b|\bawait\b|\bPromise\b/,
  /\btoLocale\w+|\bIntl\b|\blocaleCompare\b/,
]

const impurities = (text: string): string[] =>
  withoutComments(text)
    .split('\n')
    .filter(line => IMPURE.some(pattern => pattern.test(line)))
    .map(line => line.trim())

describe('core', () => {
  it('is pure', () => {
    const core = sources(['src/core'], ['.ts']).filter(source => !isTest(source))
    assert.ok(core.length > 0)
    const found = core.flatMap(({ path, text }) => impurities(text).map(line => `${path}: ${line}`))
    assert.deepEqual(found, [])
  })

  it('would be caught with each of these', () => {
    for (const line of [
      'const now = Date.now()',
      'return new Date(0)',
      'Math.random()',
      'performance.now()',
      'crypto.randomUUID()',
      'process.env.HOME',
      "console.log('x')",
      'setTimeout(f, 1)',
      "Buffer.from('x')",
      'globalThis.process',
      'new TextEncoder()',
      "const a = 'http://x'; process.exit(1)",
      'async function f() {}',
    ]) {
      assert.deepEqual(impurities(line), [line])
    }
    for (const line of [
      '// Date.now() is not here',
      'const date = 1 /* process.env */',
      "message: 'the process ended'",
      'x.update(y)',
    ]) {
      assert.deepEqual(impurities(line), [], line)
    }
  })
})
