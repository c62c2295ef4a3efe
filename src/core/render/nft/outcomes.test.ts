import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resourceKey } from '../../resources/cause.ts'
import { logPrefix } from './outcomes.ts'

test('the prefix of a log line names what it was asked to name', () => {
  const step = (kind: string, namespace: string | undefined, tier?: string) =>
    ({
      kind: 'log',
      rule: { policy: resourceKey(kind, namespace, 'web'), direction: 'ingress', index: 0 },
      ...(tier && { tier }),
    }) as const
  const rows: readonly [string, ReturnType<typeof step>, string][] = [
    ['calico-packet', step('NetworkPolicy', 'prod', 'default'), 'calico-packet: '],
    ['%t %k %n %p', step('NetworkPolicy', 'prod', 'security'), 'security np web prod/web: '],
    ['%t/%k/%p', step('GlobalNetworkPolicy', undefined, 'default'), 'default/gnp/web: '],
    ['%t %k', step('Profile', undefined), 'profile pro: '],
    ['%x %', step('Profile', undefined), '%x %: '],
    ['%n'.repeat(60), step('Profile', undefined), 'web'.repeat(60).slice(0, 127)],
  ]
  for (const [pattern, of, prefix] of rows) assert.equal(logPrefix(pattern, of), prefix)
})
