import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { encodeTar, type TarEntry } from './tar.ts'

const name = fc
  .string({ unit: fc.constantFrom(...'abcxyz019._-+é'), minLength: 1, maxLength: 40 })
  .map(text => `n${text}`)
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map(parts => parts.join('/'))
const mode = fc.constantFrom(0o644, 0o755, 0o600, 0o444)
const entry: fc.Arbitrary<TarEntry> = fc.oneof(
  fc.record({ path, mode, bytes: fc.uint8Array({ maxLength: 1500 }) }).map(
    ({ path, mode, bytes }): TarEntry => ({
      path,
      mode,
      body: { kind: 'file', bytes },
    }),
  ),
  fc.record({ path, target: path }).map(
    ({ path, target }): TarEntry => ({
      path,
      mode: 0o777,
      body: { kind: 'symlink', target: target.slice(0, 80) },
    }),
  ),
)
/** No entry lies in another that is no directory. */
const entries = fc
  .uniqueArray(entry, { selector: ({ path }) => path, maxLength: 12 })
  .filter(all => !all.some(a => all.some(b => b.path.startsWith(`${a.path}/`))))

describe('encodeTar', () => {
  it('gives an archive from which tar makes what went in', () => {
    let seen = 0
    fc.assert(
      fc.property(entries, all => {
        seen += all.length
        const folder = mkdtempSync(join(tmpdir(), 'gingham-tar-'))
        try {
          execFileSync('tar', ['-x', '-C', folder], { input: encodeTar(all) })
          for (const { path, mode, body } of all) {
            const there = join(folder, path)
            if (body.kind === 'symlink') assert.equal(readlinkSync(there), body.target)
            if (body.kind !== 'file') continue
            assert.deepEqual(new Uint8Array(readFileSync(there)), body.bytes)
            assert.equal(lstatSync(there).mode & 0o7777, mode)
          }
        } finally {
          rmSync(folder, { recursive: true })
        }
      }),
      { numRuns: 40 },
    )
    assert.ok(seen > 40, `${seen} entries`)
  })

  it('gives the same bytes whatever the order of the entries', () => {
    fc.assert(
      fc.property(entries, all => assert.deepEqual(encodeTar([...all].reverse()), encodeTar(all))),
      { numRuns: 100 },
    )
  })

  it('refuses a path that fits no field', () => {
    const long = (path: string) => () => encodeTar([{ path, mode: 0o644, body: { kind: 'directory' } }])
    assert.throws(long('x'.repeat(101)), /too long/)
    assert.throws(long(`${'x'.repeat(156)}/y`), /too long/)
    assert.doesNotThrow(long(`${'x'.repeat(90)}/${'y'.repeat(90)}`))
  })
})
