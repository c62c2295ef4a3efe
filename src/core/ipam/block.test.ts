// Blocks and handles: Calico's bytes survive, the queue is first in first out, and nothing malformed gets in.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Result } from '../base/problem.ts'
import { addr } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import {
  type Attribute,
  addressAt,
  allocate,
  type Block,
  blockCapacity,
  decodeBlock,
  encodeBlock,
  free,
  freeOrdinals,
  handleAt,
  isEmpty,
  newBlock,
  ordinalOf,
  ordinalsOf,
} from './block.ts'
import { decodeConfig, encodeConfig } from './config.ts'
import { decodeHandle, encodeHandle, withCount } from './handle.ts'
import { parseJson, printJson } from './json.ts'
import { affinityKey, blockKey, cidrOfKey, handleKey } from './keys.ts'

const observed = readFileSync(new URL('fixtures/calico-block.json', import.meta.url), 'utf8').trim()

function must<T>(result: Result<T>): T {
  assert.ok(result.ok, result.ok ? '' : JSON.stringify(result.problems))
  return result.value
}

const attribute = (handleId: string, secondary: Record<string, string> = {}): Attribute => ({
  handleId,
  secondary: new Map(Object.entries(secondary)),
  rest: {},
})

const never = () => false
const NOW = { rfc3339: '2026-11-24T06:10:59Z', unixNano: 1795500659674000000n }

describe('a block that Calico wrote', () => {
  it('is read as it is meant', () => {
    const block = must(decodeBlock(observed))
    assert.equal(block.affinity, 'host:node-2')
    assert.equal(block.sequenceNumber, 1795500659674108644n)
    assert.equal(block.sequenceNumberForAllocation.get('15'), 1795500659674108638n)
    assert.equal(handleAt(block, 1), 'net1.c314')
    assert.deepEqual(ordinalsOf(block, 'net1.c306'), [2])
    assert.equal(block.attributes[0]?.secondary.get('timestamp'), '2026-11-24 06:36:58.57150888 +0000 UTC')
    assert.deepEqual(freeOrdinals(block, 3, never), [9, 19, 20])
  })

  it('is written as the same bytes', () => {
    assert.equal(encodeBlock(must(decodeBlock(observed))), observed)
  })

  it('goes on as Calico would: number for the address, then the next number for the block', () => {
    const block = must(decodeBlock(observed))
    const next = allocate(block, [9], attribute('net1.c320'))
    assert.equal(next.sequenceNumberForAllocation.get('9'), 1795500659674108644n)
    assert.equal(next.sequenceNumber, 1795500659674108645n)
    assert.match(encodeBlock(next), /"8":1795500659674108641,"9":1795500659674108644},"deleted":false}$/)
    assert.ok(encodeBlock(next).includes('{"handle_id":"net1.c320"}]'))
  })

  it('keeps fields that are unknown here', () => {
    const text = observed.replace('"deleted":false', '"deleted":false,"later":{"big":18446744073709551615}')
    const withAlternate = text.replace('"secondary":', '"alternate":{"a":"b"},"secondary":')
    const block = must(decodeBlock(withAlternate))
    const printed = encodeBlock(free(block, [1]))
    assert.ok(printed.includes('"later":{"big":18446744073709551615}'))
    assert.ok(printed.includes('"alternate":{"a":"b"}'))
  })
})

describe('a new block', () => {
  it('has the shape of Calico', () => {
    assert.equal(
      encodeBlock(newBlock(prefix('10.0.0.0/30'), 'host:n', NOW)),
      '{"cidr":"10.0.0.0/30","affinity":"host:n","affinity_claim_time":"2026-11-24T06:10:59Z",' +
        '"allocations":[null,null,null,null],"unallocated":[0,1,2,3],"attributes":[],' +
        '"sequenceNumber":1795500659674000000,"sequenceNumberForAllocation":{},"deleted":false}',
    )
    assert.equal(blockCapacity(prefix('fd00::/122')), 64)
    assert.equal(addressAt(prefix('fd00::40/122'), 63), 'fd00::7f')
    assert.equal(ordinalOf(prefix('10.0.0.64/26'), addr('10.0.0.65')), 1)
    assert.equal(ordinalOf(prefix('10.0.0.64/26'), addr('10.0.0.1')), undefined)
  })

  it('gives a freed address as late as possible', () => {
    const empty = newBlock(prefix('10.0.0.0/30'), 'host:n', NOW)
    const two = allocate(empty, freeOrdinals(empty, 2, never), attribute('a'))
    const one = free(two, [0])
    assert.deepEqual(freeOrdinals(one, 9, never), [2, 3, 0])
    assert.deepEqual(
      freeOrdinals(one, 1, address => address === '10.0.0.2'),
      [3],
    )
    assert.deepEqual(one.unallocated, [2, 3, 0], 'a reserved ordinal keeps its place')
  })

  it('shares equal attributes and drops those that nobody has', () => {
    const empty = newBlock(prefix('10.0.0.0/30'), 'host:n', NOW)
    const one = allocate(empty, [0], attribute('a', { pod: 'p' }))
    const two = allocate(one, [1], attribute('a', { pod: 'p' }))
    const three = allocate(two, [2], attribute('a', { pod: 'q' }))
    assert.deepEqual(three.allocations, [0, 0, 1, null])
    const left = free(three, [0, 1])
    assert.deepEqual(left.allocations, [null, null, 0, null])
    assert.equal(left.attributes.length, 1)
    assert.equal(left.sequenceNumberForAllocation.size, 1)
  })
})

const actions = fc.array(fc.tuple(fc.boolean(), fc.nat(3), fc.nat(4)), { maxLength: 40 })

describe('any history of a block', () => {
  it('keeps allocations and queue in agreement, and reads back as written', () => {
    fc.assert(
      fc.property(actions, history => {
        let block: Block = newBlock(prefix('fd00::/125'), 'host:n', NOW)
        const model = new Map<number, string>()
        let queue = [...block.unallocated]
        for (const [gives, who, count] of history) {
          const handle = `h${who}`
          if (gives) {
            const ordinals = freeOrdinals(block, count, never)
            assert.deepEqual(ordinals, queue.slice(0, count))
            block = allocate(block, ordinals, attribute(handle, { '2': 'b', '10': 'a' }))
            for (const ordinal of ordinals) model.set(ordinal, handle)
            queue = queue.slice(count)
          } else {
            const ordinals = ordinalsOf(block, handle)
            block = free(block, ordinals)
            for (const ordinal of ordinals) model.delete(ordinal)
            queue.push(...ordinals)
          }
          assert.deepEqual(must(decodeBlock(encodeBlock(block))), block)
        }
        assert.deepEqual(block.unallocated, queue)
        assert.equal(isEmpty(block), model.size === 0)
        for (let ordinal = 0; ordinal < 8; ordinal++) assert.equal(handleAt(block, ordinal), model.get(ordinal))
        assert.equal(block.sequenceNumber, 1795500659674000000n + BigInt(history.length))
      }),
    )
  })
})

describe('decoding', () => {
  it('refuses a block that contradicts itself', () => {
    const cases: readonly (readonly [from: string, to: string])[] = [
      ['"unallocated":[9,', '"unallocated":['],
      ['"unallocated":[9,', '"unallocated":[9,9,'],
      ['"unallocated":[9,', '"unallocated":[1,9,'],
      ['"allocations":[null,', '"allocations":['],
      ['"allocations":[null,12', '"allocations":[null,20'],
      ['"allocations":[null,12', '"allocations":[null,-1'],
      ['"allocations":[null,12', '"allocations":[null,1.5'],
      ['10.20.247.0/26', '10.20.247.1/26'],
      ['10.20.247.0/26', '10.0.0.0/8'],
      ['"sequenceNumber":1795500659674108644', '"sequenceNumber":-1'],
      ['"sequenceNumber":1795500659674108644', '"sequenceNumber":18446744073709551616'],
      ['"affinity":"host:node-2"', '"affinity":7'],
      ['"handle_id":"net1.c306"', '"handle_id":{}'],
    ]
    for (const [from, to] of cases) {
      assert.ok(observed.includes(from))
      assert.ok(!decodeBlock(observed.replace(from, to)).ok, to)
    }
  })

  it('never throws, whatever the text (fuzz)', () => {
    const tokens = observed.split(/(?<=[,:{}[\]])|(?=[,:{}[\]])/)
    const edits = fc.array(
      fc.tuple(fc.nat(tokens.length - 1), fc.constantFrom('', 'null', '{}', '[', '-1', '"x"', '1e400', '9'.repeat(30))),
      {
        maxLength: 6,
      },
    )
    fc.assert(
      fc.property(edits, list => {
        const changed = [...tokens]
        for (const [at, token] of list) changed[at] = token
        const decoded = decodeBlock(changed.join(''))
        if (decoded.ok) assert.ok(decodeBlock(encodeBlock(decoded.value)).ok)
      }),
      { numRuns: 1000 },
    )
    fc.assert(fc.property(fc.string(), text => void [decodeBlock(text), decodeHandle(text), decodeConfig(text)]))
    fc.assert(fc.property(fc.json(), text => void [decodeBlock(text), decodeHandle(text), decodeConfig(text)]))
  })
})

describe('the other values', () => {
  it('have the shapes and keys of Calico', () => {
    const handle = '{"block":{"10.20.247.0/26":1},"deleted":false}'
    assert.equal(encodeHandle(decodeHandle(handle)!), handle)
    assert.equal(
      encodeHandle(withCount(decodeHandle(handle)!, prefix('10.20.247.0/26'), 0)),
      '{"block":{},"deleted":false}',
    )
    const cidr = prefix('10.20.247.0/26')
    assert.equal(blockKey(cidr), '/calico/ipam/v2/assignment/ipv4/block/10.20.247.0-26')
    assert.equal(affinityKey('host:node-2', cidr), '/calico/ipam/v2/host/node-2/ipv4/block/10.20.247.0-26')
    assert.equal(
      affinityKey('virtual:load-balancer', cidr),
      '/calico/ipam/v2/virtual/load-balancer/ipv4/block/10.20.247.0-26',
    )
    assert.equal(blockKey(prefix('fd00:10::40/122')), '/calico/ipam/v2/assignment/ipv6/block/fd00:10::40-122')
    assert.equal(handleKey('net1.c300'), '/calico/ipam/v2/handle/net1.c300')
    assert.equal(cidrOfKey(blockKey(prefix('fd00:10::40/122'))), 'fd00:10::40/122')
    for (const key of ['/x', '/x/10.0.0.0', '/x/10.0.0.1-26', '/x/-', '']) assert.equal(cidrOfKey(key), undefined)
  })

  it('read a configuration where an absent field of a written value means false', () => {
    assert.deepEqual(decodeConfig('{"strict_affinity":true}'), {
      strictAffinity: true,
      autoAllocateBlocks: false,
      maxBlocksPerHost: 0,
    })
    const config = { strictAffinity: false, autoAllocateBlocks: true, maxBlocksPerHost: 4 }
    assert.equal(encodeConfig(config), '{"auto_allocate_blocks":true,"maxBlocksPerHost":4}')
    assert.deepEqual(decodeConfig(encodeConfig(config)), config)
    assert.deepEqual(decodeConfig('{"kind":"IPAMConfiguration","spec":{"strictAffinity":true,"maxBlocksPerHost":4}}'), {
      strictAffinity: true,
      autoAllocateBlocks: true,
      maxBlocksPerHost: 4,
    })
  })

  it('print JSON as Go does, whole numbers of any size included', () => {
    const text = '{"a":"\\u003c\\u0026\\u003e\\u2028é","n":18446744073709551615,"m":-1,"f":1.5,"t":[true,null]}'
    assert.equal(printJson(parseJson(text)), text)
    assert.equal(
      printJson(
        new Map([
          ['\uffee', 1],
          ['\u{1f600}', 2],
          ['9', 3],
          ['10', 4],
        ]),
      ),
      '{"10":4,"9":3,"\uffee":1,"\u{1f600}":2}',
    )
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }), n => {
        assert.equal(printJson(parseJson(`{"n":${n}}`)), `{"n":${n}}`)
      }),
    )
  })
})
