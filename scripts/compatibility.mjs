// docs/compatibility.md names a test for each feature, as `path/to/file.test.ts: name of the test` in backquotes.
// A name here is a promise: the test must exist and must have passed in this very run. Of a folder that a run leaves out
// the tests must exist all the same.
import { existsSync, readFileSync } from 'node:fs'

const NAMED = /`((?:src|test)\/[^`]+?\.test\.ts): ([^`]+)`/g

/** The tests that the page names, with the line on which it does. A table's `\|` stands for `|`. */
export function namedTests(markdown) {
  return markdown.split('\n').flatMap((line, index) =>
    [...line.matchAll(NAMED)].map(match => ({
      file: match[1],
      name: match[2].replaceAll('\\|', '|').trim(),
      line: index + 1,
    })),
  )
}

/**
 * What the page promises and the run did not keep. `results` are `{ file, name, path, status }`, as the reporter writes
 * them; `leftOut` is the folder that was not part of the run.
 */
export function brokenPromises(markdown, results, leftOut) {
  const named = namedTests(markdown)
  if (named.length === 0) return ['docs/compatibility.md names no test']
  return named.flatMap(({ file, name, line }) => {
    const found = results.filter(result => result.file === file && (result.name === name || result.path === name))
    const where = `docs/compatibility.md:${line}: ${file}: ${name}`
    if (leftOut !== undefined && file.startsWith(`${leftOut}/`)) {
      return existsSync(file) && readFileSync(file, 'utf8').includes(name) ? [] : [`${where}: there is no such test`]
    }
    if (found.length === 0) return [`${where}: there is no such test`]
    const bad = found.find(result => result.status !== 'passed')
    return bad === undefined ? [] : [`${where}: the test ${bad.status}`]
  })
}
