// The reporter of the one test run: a line per file, every failure in full, and last the count of real tests.
// It is stricter than node's own: a file without cases, a skip or todo without a reason, and a promise of
// docs/compatibility.md that this run did not keep make the run fail. The results go to build/test-results.json.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { inspect } from 'node:util'
import { brokenPromises } from './compatibility.mjs'

const PAGE = 'docs/compatibility.md'
const RESULTS = 'build/test-results.json'
/** A folder whose tests are not part of this run, because this machine lacks what they need. */
const LEFT_OUT = process.env.GINGHAM_TEST_LEFT_OUT || undefined

const indent = text => text.replaceAll(/^/gm, '    ')
const fileOf = data => relative('.', data.entryFile ?? data.file ?? '')

function explain(error) {
  // The runner wraps what a test threw; the wrapper's own stack says nothing.
  const cause = error?.cause ?? error
  return indent(cause instanceof Error ? inspect(cause, { depth: 8 }) : String(cause))
}

/** Adds up the events of a run. A real test is a test without tests inside: suites, parents and files do not count. */
class Tally {
  results = []
  problems = []
  /** Per file: the names of the tests now open, by nesting, and the deepest nesting reported since each began. */
  #open = new Map()

  start({ name, nesting, ...data }) {
    const names = this.#open.get(fileOf(data)) ?? []
    this.#open.set(fileOf(data), [...names.slice(0, nesting), { name, parent: false }])
    if (nesting > 0 && names[nesting - 1]) names[nesting - 1].parent = true
  }

  /** Records the end of a test; returns the result if it is a real one or a failure of its own. */
  end(data, passed) {
    const open = this.#open.get(fileOf(data)) ?? []
    const own = open[data.nesting]
    const reason = data.skip ?? data.todo
    const kind = data.details.type === 'suite' || own?.parent ? 'group' : 'test'
    const status = !passed && data.todo === undefined ? 'failed' : reason === undefined ? 'passed' : 'skipped'
    const path = [...open.slice(0, data.nesting).map(test => test.name), data.name].join(' > ')
    if (reason === true || reason === '')
      this.problems.push(`${fileOf(data)}: ${path}: a skip or todo without a reason`)
    const result = { file: fileOf(data), name: data.name, path, kind, status }
    this.results.push(result)
    return result
  }

  count = (status, file) =>
    this.results.filter(r => r.kind === 'test' && r.status === status && (file === undefined || r.file === file)).length
}

function compatibility(results) {
  if (!existsSync(PAGE)) return [`${PAGE} is missing`]
  return brokenPromises(readFileSync(PAGE, 'utf8'), results, LEFT_OUT)
}

function printCount(tally, file) {
  const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map(status => tally.count(status, file))
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

async function* reporter(events) {
  const files = process.argv.slice(1).map(file => relative('.', resolve(file)))
  const tally = new Tally()
  const failures = []
  // What a file prints is shown only if the file fails.
  const output = new Map()
  let current
  let clean = true

  function finish(file) {
    if (file === undefined) return ''
    const printed = output.get(file)
    output.delete(file)
    const failed = tally.count('failed', file) > 0
    const empty = !tally.results.some(r => r.kind === 'test' && r.file === file)
    const verdict = failed ? 'FAILED' : empty ? 'EMPTY ' : 'ok    '
    return `${verdict}  ${file}  (${printCount(tally, file)})\n${failed && printed ? `${indent(printed)}\n` : ''}`
  }

  for await (const { type, data } of events) {
    if (type === 'test:stdout' || type === 'test:stderr') {
      const file = fileOf(data)
      output.set(file, `${output.get(file) ?? ''}${data.message}`)
    } else if (type === 'test:start') tally.start(data)
    else if (type === 'test:pass' || type === 'test:fail') {
      // These come file by file, also when several files run at once.
      if (current !== fileOf(data)) yield finish(current)
      current = fileOf(data)
      const passed = type === 'test:pass'
      // A file is reported like a test when it holds none, or when it died.
      if (data.nesting === 0 && relative('.', resolve(data.name)) === current && passed) continue
      const result = tally.end(data, passed)
      if (passed || data.details.error?.failureType === 'subtestsFailed' || result.status !== 'failed') continue
      // A suite whose hook failed, a parent that failed by itself: a failure, whatever it holds.
      result.kind = 'test'
      failures.push(`${result.file}: ${result.path}`)
      yield `\nFAILED  ${failures.at(-1)}\n${explain(data.details.error)}\n\n`
    } else if (type === 'test:summary' && data.file === undefined) clean = data.success
  }
  yield finish(current)

  const withCases = new Set(tally.results.filter(r => r.kind === 'test').map(r => r.file))
  for (const file of files) if (!withCases.has(file)) tally.problems.push(`${file}: no test in this file`)
  if (files.length === 0) tally.problems.push('no test file')
  // A run of chosen files cannot keep every promise.
  if (process.env.GINGHAM_TEST_ALL === '1') tally.problems.push(...compatibility(tally.results))
  if (!clean && failures.length === 0) tally.problems.push('the runner reports a failure that belongs to no test')

  mkdirSync('build', { recursive: true })
  writeFileSync(RESULTS, `${JSON.stringify(tally.results, null, 1)}\n`)
  if (failures.length > 0) yield `\n${failures.length} failed:\n${failures.map(text => `  ${text}\n`).join('')}`
  if (tally.problems.length > 0) yield `\n${tally.problems.map(text => `PROBLEM ${text}\n`).join('')}`
  if (failures.length + tally.problems.length > 0) process.exitCode = 1
  if (LEFT_OUT) yield `\nNOT RUN  every test of ${LEFT_OUT}: what they start is not built (npm run kubernetes:build)\n`
  yield `\n${printCount(tally)}\n`
}

// biome-ignore lint/style/noDefaultExport: node --test takes a reporter by its default export.
export { reporter as default }
