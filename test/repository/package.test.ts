// package.json against the pages that speak of it: the sentence, the licence, and a reason for every dependency.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from './sources.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const manifest = JSON.parse(read('package.json'))
const named: string[] = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap(field =>
  Object.keys(manifest[field]),
)

describe('package.json', () => {
  it('says what this is in one sentence, and the README begins with the same one', () => {
    assert.match(manifest.description, /^[A-Z][^.]{20,200}$/)
    const start = read('README.md').split('\n').slice(0, 15).join(' ').replaceAll(/\s+/g, ' ')
    assert.ok(start.includes(manifest.description), `the first lines of README.md hold: ${manifest.description}`)
  })

  it('is under the licence that LICENSE holds', () => {
    assert.equal(manifest.license, 'Apache-2.0')
    assert.match(read('LICENSE'), /Apache License\s+Version 2\.0, January 2004/)
  })

  it('names no dependency without a line in docs/dependencies.md, and that page none that is gone', () => {
    const rows = [...read('docs/dependencies.md').matchAll(/^\| npm `([^`]+)` \|([^|]+)\|([^|]+)\|([^|]+)\|$/gm)]
    assert.deepEqual(rows.map(row => row[1]).sort(), named.sort())
    for (const [, name, ...cells] of rows)
      for (const cell of cells) assert.ok(cell.trim().length > 3, `${name}: ${cell}`)
  })

  it('is what the lock file was made from', () => {
    const lock = JSON.parse(read('package-lock.json'))
    const root = lock.packages['']
    for (const field of ['dependencies', 'devDependencies', 'optionalDependencies'])
      assert.deepEqual(root[field], manifest[field])
    // npm leaves packages of other platforms out of a lock file when the registry lacks them; then `npm ci` fails.
    for (const name of named) assert.ok(lock.packages[`node_modules/${name}`], `${name} in package-lock.json`)
  })
})
