// Frames come out the same however the bytes are cut, and nothing but a request is taken for one.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FrameError, FrameReader } from './frames.ts'
import { keyProblem, MAX_KEY, MAX_VALUE, parseRequest, prefixEnd, valueProblem } from './protocol.ts'

const read = (reader: FrameReader, pieces: readonly Uint8Array[]): string[] =>
  pieces.flatMap(piece => [...reader.push(piece)])

describe('a frame reader', () => {
  it('gives the same frames for any cuts', () => {
    const line = fc.string({ unit: 'binary' }).map(text => text.replaceAll('\n', ' '))
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat(50)), (lines, cuts) => {
        const bytes = Buffer.from(lines.map(text => `${text}\n`).join(''))
        const pieces: Uint8Array[] = []
        let at = 0
        for (const cut of cuts) {
          pieces.push(bytes.subarray(at, at + cut))
          at += cut
        }
        pieces.push(bytes.subarray(at))
        assert.deepEqual(read(new FrameReader(), pieces), lines)
      }),
    )
  })

  it('refuses what is too long, ended or not, and what is not UTF-8', () => {
    const text = (bytes: number) => Buffer.from('x'.repeat(bytes))
    assert.deepEqual(read(new FrameReader(4), [text(4), Buffer.from('\n')]), ['xxxx'])
    assert.throws(() => read(new FrameReader(4), [text(3), text(2)]), FrameError)
    assert.throws(() => read(new FrameReader(4), [Buffer.from('xxxxx\n')]), FrameError)
    assert.throws(() => read(new FrameReader(), [Buffer.from([0xc3, 10])]), FrameError)
  })
})

describe('a request', () => {
  it('is only what has all its fields and no other', () => {
    const good = { id: 1, op: 'put', key: '/a', value: '1', request: 'r' }
    assert.deepEqual(parseRequest(JSON.stringify(good)), { request: good })
    const changed: readonly object[] = [
      { op: 'set' },
      { id: -1 },
      { id: 1.5 },
      { key: 1 },
      { value: null },
      { request: '' },
    ]
    for (const change of [...changed, { ifRevision: -1 }, { more: 1 }]) {
      assert.ok('problem' in parseRequest(JSON.stringify({ ...good, ...change })), JSON.stringify(change))
    }
  })

  it('never throws (fuzz)', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), text => void parseRequest(text)))
  })
})

describe('keys and values', () => {
  it('are bounded in bytes and come back as written', () => {
    assert.equal(keyProblem('/a/\u{1f600}'), undefined)
    for (const key of ['', '/\0', '/\ud800', 'x'.repeat(MAX_KEY + 1), 'é'.repeat(MAX_KEY / 2 + 1)])
      assert.ok(keyProblem(key))
    assert.equal(valueProblem('x'.repeat(MAX_VALUE)), undefined)
    assert.ok(valueProblem('é'.repeat(MAX_VALUE / 2 + 1)))
  })

  it('a prefix and its end enclose exactly the keys with the prefix', () => {
    const unit = fc.constantFrom('a', 'b', '/', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}', '\0', '\x7f')
    const text = fc.string({ unit, maxLength: 4 })
    const before = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0
    fc.assert(
      fc.property(text, text, (prefix, key) => {
        const end = prefixEnd(prefix)
        const enclosed = !before(key, prefix) && (end === undefined || before(key, end))
        assert.equal(enclosed, key.startsWith(prefix))
      }),
      { numRuns: 2000 },
    )
  })
})
