// The reporter fails a run for what node's own would let pass. Each case is a run of its own, in a folder of its own.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from './sources.ts'

const HEAD = `import test, { describe, it } from 'node:test'\nimport assert from 'node:assert/strict'\n`
const GOOD = `${HEAD}describe('group', () => { it('holds', () => {}) })\ntest('parent', t => t.test('child | b', () => {}))\n`

type Run = {
  code: number | null
  lines: string[]
  results: { file: string; name: string; status: string; kind: string }[]
}

function runTests(files: Record<string, string>, all = false, leftOut = ''): Run {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-reporter-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    const isLeftOut = (name: string) => leftOut !== '' && name.startsWith(`${leftOut}/`)
    const tests = Object.keys(files).filter(name => name.endsWith('.test.ts') && !isLeftOut(name))
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const args = [
      '--test',
      `--test-reporter=${join(ROOT, 'scripts/reporter.mjs')}`,
      '--test-reporter-destination=stdout',
      ...tests,
    ]
    const { status, stdout } = spawnSync(process.execPath, args, {
      cwd: folder,
      env: { ...env, GINGHAM_TEST_ALL: all ? '1' : '0', GINGHAM_TEST_LEFT_OUT: leftOut },
      encoding: 'utf8',
    })
    const results = JSON.parse(readFileSync(join(folder, 'build/test-results.json'), 'utf8'))
    return { code: status, lines: stdout.trimEnd().split('\n'), results }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const page = (...named: string[]): string =>
  `| feature | test |\n|---|---|\n${named.map(name => `| x | \`${name}\` |\n`).join('')}`

describe('the reporter', () => {
  it('counts real tests, and says so last', () => {
    const { code, lines, results } = runTests({ 'src/a.test.ts': GOOD })
    assert.equal(code, 0)
    assert.equal(lines.at(-1), '2 passed, 0 failed')
    assert.deepEqual(
      results.filter(r => r.kind === 'test').map(r => [r.file, r.name, r.status]),
      [
        ['src/a.test.ts', 'holds', 'passed'],
        ['src/a.test.ts', 'child | b', 'passed'],
      ],
    )
  })

  it('shows a failure in full and fails', () => {
    const { code, lines } = runTests({
      'a.test.ts': `${HEAD}it('is one', () => assert.equal(1, 2))`,
      'b.test.ts': GOOD,
    })
    assert.equal(code, 1)
    assert.equal(lines.at(-1), '2 passed, 1 failed')
    assert.ok(lines.some(line => line.includes('FAILED  a.test.ts: is one')))
    assert.ok(lines.some(line => line.includes('1 !== 2')))
  })

  it('fails on a file without cases', () => {
    for (const text of ['', `${HEAD}describe('empty', () => {})`]) {
      const { code, lines } = runTests({ 'a.test.ts': text, 'b.test.ts': GOOD })
      assert.equal(code, 1)
      assert.ok(lines.includes('PROBLEM a.test.ts: no test in this file'), lines.join('\n'))
    }
  })

  it('fails on a file that dies, with what it printed', () => {
    const { code, lines } = runTests({ 'a.test.ts': `throw new Error('boom')`, 'b.test.ts': GOOD })
    assert.equal(code, 1)
    assert.equal(lines.at(-1), '2 passed, 1 failed')
    assert.ok(lines.some(line => line.includes('Error: boom')))
  })

  it('wants a reason for a test that does not run', () => {
    const left = (options: string) => runTests({ 'a.test.ts': `${GOOD}test('left', { ${options} }, () => {})` })
    for (const options of ['skip: true', 'todo: true', "skip: ''"]) {
      const { code, lines } = left(options)
      assert.equal(code, 1, options)
      assert.ok(lines.includes('PROBLEM a.test.ts: left: a skip or todo without a reason'))
    }
    const { code, lines } = left("skip: 'this kernel has no wireguard'")
    assert.equal(code, 0)
    assert.equal(lines.at(-1), '2 passed, 0 failed, 1 skipped')
  })

  it('keeps the promises of docs/compatibility.md', () => {
    const withPage = (...named: string[]) =>
      runTests({ 'src/a.test.ts': GOOD, 'docs/compatibility.md': page(...named) }, true)
    assert.equal(withPage('src/a.test.ts: holds', 'src/a.test.ts: parent > child \\| b').code, 0)
    const gone = withPage('src/a.test.ts: holds', 'src/a.test.ts: does not')
    assert.equal(gone.code, 1)
    assert.ok(gone.lines.includes('PROBLEM docs/compatibility.md:4: src/a.test.ts: does not: there is no such test'))
    assert.equal(withPage().code, 1, 'a page without names')
    assert.equal(runTests({ 'src/a.test.ts': GOOD }, true).code, 1, 'no page')
    const failing = runTests(
      {
        'src/a.test.ts': `${HEAD}it('x', { skip: 'why' }, () => {})`,
        'docs/compatibility.md': page('src/a.test.ts: x'),
      },
      true,
    )
    assert.ok(
      failing.lines.includes('PROBLEM docs/compatibility.md:3: src/a.test.ts: x: the test skipped'),
      failing.lines.join('\n'),
    )
  })

  it('says aloud which folder a run leaves out, whose tests must exist all the same', () => {
    const without = (...named: string[]) => {
      const files = { 'src/a.test.ts': GOOD, 'test/real/b.test.ts': `${HEAD}test('is real', () => {})` }
      return runTests({ ...files, 'docs/compatibility.md': page(...named) }, true, 'test/real')
    }
    const { code, lines } = without('src/a.test.ts: holds', 'test/real/b.test.ts: is real')
    assert.equal(code, 0)
    assert.ok(lines.some(line => line.startsWith('NOT RUN  every test of test/real')))
    assert.equal(lines.at(-1), '2 passed, 0 failed')
    assert.equal(without('test/real/b.test.ts: is not').code, 1)
  })
})
