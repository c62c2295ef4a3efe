// How lines of Log rules begin, and what the kernel is told a rule is called.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type RuleRef, resourceKey } from '../../resources/cause.ts'
import { logName, logPrefix } from './log.ts'

const rule = (kind: string, namespace: string | undefined, name: string): RuleRef => ({
  policy: resourceKey(kind, namespace, name),
  direction: 'ingress',
  index: 3,
})

test('logPrefix says of the rule what it is asked for, and a colon ends it', () => {
  const web = { rule: rule('NetworkPolicy', 'shop', 'web'), tier: 'security' }
  const all = { rule: rule('GlobalNetworkPolicy', undefined, 'all'), tier: 'default' }
  assert.equal(logPrefix('calico-packet', web), 'calico-packet: ')
  assert.equal(logPrefix('%t/%k %p', web), 'security/np shop/web: ')
  assert.equal(logPrefix('%t %k %n %p', all), 'default gnp all all: ')
  assert.equal(logPrefix('%x 100%', all), '%x 100%: ')
  assert.equal(logPrefix('%n', { rule: rule('NetworkPolicy', 'a', 'n'.repeat(200)) }), `${'n'.repeat(125)}: `)
})

test('a rule is called by its name; long ones are cut and still differ', () => {
  assert.equal(logName(rule('NetworkPolicy', 'shop', 'web')), 'NetworkPolicy shop/web ingress[3]')
  const name = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 253 })
  fc.assert(
    fc.property(name, name, (a, b) => {
      const [one, other] = [a, b].map(n => logName(rule('NetworkPolicy', 'x'.repeat(63), n))) as [string, string]
      assert.ok(one.length <= 127)
      assert.equal(one === other, a === b)
    }),
  )
  const long = (last: string): string => logName(rule('NetworkPolicy', 'shop', 'w'.repeat(200) + last))
  assert.notEqual(long('a'), long('b'))
})
