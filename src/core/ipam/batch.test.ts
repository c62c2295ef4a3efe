// What several ask of one block at once: nobody gets what another has, and the block comes out as if they had come one by one.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Addr, addr } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import { allocateAll, freeAll, takeInTurn } from './batch.ts'
import { addressAt, allocate, type Block, decodeBlock, encodeBlock, free, newBlock, ordinalsOf } from './block.ts'

const cidr = prefix('10.0.0.0/29')
const empty = newBlock(cidr, 'host:a', { rfc3339: '2026-11-24T06:10:59Z', unixNano: 7n })
const holder = (handleId: string) => ({ handleId, secondary: new Map<string, string>(), rest: {} })
const anything = (): boolean => false

describe('wishes for one block', () => {
  it('are met in turn, and the last ones in part or not at all', () => {
    const wishes = [3, 2, 4, 1].map(count => ({ count, isReserved: anything }))
    assert.deepEqual(takeInTurn(empty, wishes), [[0, 1, 2], [3, 4], [5, 6, 7], []])
  })

  it('keep away from their own reservations only', () => {
    const first = addressAt(cidr, 0)
    const wishes = [
      { count: 1, isReserved: (address: Addr) => address === first },
      { count: 1, isReserved: anything },
      { count: 1, isReserved: anything },
    ]
    assert.deepEqual(takeInTurn(empty, wishes), [[1], [0], [2]])
  })

  it('are written as if each had come by itself', () => {
    const one = allocate(allocate(empty, [0], holder('h')), [1, 2], holder('i'))
    const takes = [
      { ordinals: [0], attribute: holder('h') },
      { ordinals: [1, 2], attribute: holder('i') },
    ]
    assert.equal(encodeBlock(allocateAll(empty, takes)), encodeBlock(one))
  })
})

describe('several that give addresses of one block back', () => {
  it('leave it as one release of all of them does, and changed where they have none', () => {
    const full = allocateAll(
      empty,
      [0, 1, 2].map(i => ({ ordinals: [i], attribute: holder(`h${i}`) })),
    )
    assert.equal(encodeBlock(freeAll(full, new Set([0, 2]))), encodeBlock(free(full, [0, 2])))
    const untouched = freeAll(full, new Set())
    assert.equal(untouched.sequenceNumber, full.sequenceNumber + 1n)
    assert.equal(encodeBlock({ ...untouched, sequenceNumber: full.sequenceNumber }), encodeBlock(full))
  })
})

describe('batches one after the other', () => {
  it('give every address once, and none that is reserved', () => {
    const reserved = addr('10.0.0.5')
    const counts = fc.array(fc.nat(3), { maxLength: 5 })
    fc.assert(
      fc.property(fc.array(fc.record({ counts, leaves: fc.nat(7) }), { maxLength: 6 }), batches => {
        let block: Block = empty
        for (const [i, { counts, leaves }] of batches.entries()) {
          const wishes = counts.map(count => ({ count, isReserved: (address: Addr) => address === reserved }))
          const taken = takeInTurn(block, wishes)
          const all = taken.flat()
          assert.equal(new Set(all).size, all.length)
          for (const ordinal of all) {
            assert.equal(block.allocations[ordinal], null)
            assert.notEqual(addressAt(cidr, ordinal), reserved)
          }
          const spare = block.unallocated.filter(ordinal => addressAt(cidr, ordinal) !== reserved).length
          assert.equal(
            all.length,
            Math.min(
              spare,
              counts.reduce((sum, count) => sum + count, 0),
            ),
          )
          block = allocateAll(
            block,
            taken.flatMap((ordinals, j) => (ordinals.length > 0 ? [{ ordinals, attribute: holder(`${i}.${j}`) }] : [])),
          )
          for (const [j, ordinals] of taken.entries()) {
            if (ordinals.length > 0) assert.deepEqual(ordinalsOf(block, `${i}.${j}`), ordinals.toSorted())
          }
          const gone = block.allocations.flatMap((index, ordinal) =>
            index !== null && ordinal < leaves ? [ordinal] : [],
          )
          block = freeAll(block, new Set(gone))
          assert.ok(decodeBlock(encodeBlock(block)).ok)
        }
      }),
    )
  })
})
