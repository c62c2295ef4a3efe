import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseService } from './flow.ts'
import { CommandError } from './terminal.ts'

test('services as people type them', () => {
  const rows: [string, unknown][] = [
    ['tcp/80', { protocol: 6, port: 80 }],
    ['TCP/80', { protocol: 6, port: 80 }],
    ['80', { protocol: 6, port: 80 }],
    ['udp/53', { protocol: 17, port: 53 }],
    ['sctp/1', { protocol: 132, port: 1 }],
    ['6/80', { protocol: 6, port: 80 }],
    ['tcp/My-Port', { protocol: 6, port: 'My-Port' }],
    ['icmp', { protocol: 'icmp' }],
    ['icmp/3/1', { protocol: 'icmp', icmp: { type: 3, code: 1 } }],
    ['icmpv6/128', { protocol: 58, icmp: { type: 128, code: 0 } }],
    ['protocol/47', { protocol: 47 }],
    ['udplite', { protocol: 136 }],
  ]
  for (const [text, service] of rows) assert.deepEqual(parseService(text), service, text)
})

test('anything else is refused with a sentence, never with a crash', () => {
  for (const text of [
    '',
    'tcp',
    'tcp/',
    'tcp/80/1',
    'tcp/70000',
    'quic/1',
    'icmp/300',
    'icmp/1/2/3',
    'protocol/x',
    '1/2',
    'udplite/1',
  ]) {
    assert.throws(() => parseService(text), CommandError, text)
  }
  fc.assert(
    fc.property(fc.string(), text => {
      try {
        parseService(text)
      } catch (error) {
        assert.ok(error instanceof CommandError)
      }
    }),
  )
})
