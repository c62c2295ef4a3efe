// DESIGN.md says where a verdict is decided, compiled, written and read back: one file each, and the files are there.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from './sources.ts'

describe('DESIGN.md', () => {
  for (const step of ['decided', 'compiled', 'written', 'read back']) {
    it(`names the one file where a verdict is ${step}`, () => {
      const rows = readFileSync(join(ROOT, 'DESIGN.md'), 'utf8')
        .split('\n')
        .filter(line => new RegExp(`^\\|\\s*\\**${step}\\**\\s*\\|`).test(line))
      assert.equal(rows.length, 1, `one table row that begins with | ${step} |`)
      const files = [...rows[0]!.matchAll(/`(src\/[^`]+)`/g)].map(match => match[1]!)
      assert.equal(files.length, 1, rows[0]!)
      assert.ok(existsSync(join(ROOT, files[0]!)), `${files[0]} exists`)
    })
  }
})
