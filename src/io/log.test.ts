import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { openLog } from './log.ts'

test('a log file is rotated by size, the newest lines stay, and the oldest files go', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gingham-log-'))
  try {
    const log = openLog({ name: 'test', file: path.join(folder, 'a.log'), maxBytes: 2000, keep: 2 })
    for (let i = 0; i < 100; i++) log.info({ i }, 'line')
    assert.deepEqual(readdirSync(folder).sort(), ['a.log', 'a.log.1', 'a.log.2'])
    const lines = readdirSync(folder).flatMap(f => {
      const text = readFileSync(path.join(folder, f), 'utf8')
      assert.ok(text.length <= 2000, `${f} has ${text.length} bytes`)
      return text
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as { i: number; name: string })
    })
    const numbers = lines.map(l => l.i).sort((a, b) => a - b)
    assert.equal(numbers.at(-1), 99)
    assert.deepEqual(
      numbers,
      Array.from({ length: numbers.length }, (_, k) => 100 - numbers.length + k),
      'no line in between is lost',
    )
    assert.equal(lines[0]?.name, 'test')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
