// The leaves: durations as Go prints them, ports and ranges, AS numbers, near names.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asNumber, judgeCidr, judgePort, parseDuration, portRange, printDuration } from './field.ts'
import { editDistance, nearestName } from './nearest.ts'

test('durations are printed as Go prints them', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['60s', '1m0s'],
    ['5m', '5m0s'],
    ['90m', '1h30m0s'],
    ['1.5s', '1.5s'],
    ['1500ms', '1.5s'],
    ['0', '0s'],
    ['0s', '0s'],
    ['250us', '250µs'],
    ['1h0m0.5s', '1h0m0.5s'],
    ['-2m', '-2m0s'],
    ['24h', '24h0m0s'],
  ]
  for (const [text, printed] of rows) assert.equal(printDuration(parseDuration(text)!), printed, text)
  for (const text of ['', '5', 's', '1d', '1m 2s', 'm5', '1..5s']) assert.equal(parseDuration(text), undefined, text)
})

test('parsing is the inverse of printing for whole microseconds', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 1e12 }), n => assert.equal(parseDuration(printDuration(n)), n)))
  fc.assert(fc.property(fc.string(), text => void parseDuration(text)))
})

test('a judged port is a port, a range or a name', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.integer(),
        fc.double(),
        fc.string(),
        fc.tuple(fc.nat(70000), fc.nat(70000)).map(p => p.join(':')),
      ),
      value => {
        const judged = judgePort(value)
        if (!judged.ok) return
        const range = portRange(judged.value)
        if (range === undefined) assert.match(String(judged.value), /^[a-zA-Z0-9_.-]{1,128}$/)
        else assert.ok(1 <= range.first && range.first <= range.last && range.last <= 65535)
        assert.deepEqual(judgePort(judged.value), judged)
      },
    ),
  )
})

test('CIDRs are canonical', () => {
  assert.deepEqual(judgeCidr('FD00:0:0::/48'), { ok: true, value: 'fd00::/48' })
  fc.assert(fc.property(fc.oneof(fc.ipV4Extended(), fc.ipV6(), fc.string()), text => void judgeCidr(`${text}/8`)))
})

test('AS numbers', () => {
  const parsed = (value: unknown) => {
    const result = asNumber().safeParse(value)
    return result.success ? result.data : undefined
  }
  const rows: readonly (readonly [unknown, number | undefined])[] = [
    [64512, 64512],
    ['64512', 64512],
    ['1.10', 65546],
    [1.1, undefined],
    ['65536.1', undefined],
    [4294967295, 4294967295],
    [4294967296, undefined],
    [-1, undefined],
    ['x', undefined],
  ]
  for (const [value, expected] of rows) assert.equal(parsed(value), expected, String(value))
})

test('near names', () => {
  assert.equal(editDistance('ingres', 'ingress'), 1)
  assert.equal(editDistance('ab', 'ba'), 1)
  assert.equal(editDistance('', 'abc'), 3)
  assert.equal(nearestName('nodeselector', ['node', 'nodeSelector', 'peerSelector']), 'nodeSelector')
  assert.equal(nearestName('colour', ['ingress', 'egress']), undefined)
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a))
      assert.equal(editDistance(a, b) === 0, a === b)
    }),
  )
})
