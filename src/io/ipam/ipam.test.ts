// IPAM over the memory store: what Calico's users expect of it.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { IPPoolLike } from '../../core/ipam/pools.ts'
import { type Addr, addr } from '../../core/net/addr.ts'
import { prefix } from '../../core/net/prefix.ts'
import type { Store } from '../store/store.ts'
import { wrap } from '../store/testing.ts'
import { audit } from './audit.ts'
import { type AutoAssignRequest, goTimestamp, openIpam } from './ipam.ts'
import { ask, assertNothingLeft, assertSound, deps, ipamError, NOW, open, pools, small4 } from './testing.ts'

describe('assignment', () => {
  it('writes what Calico writes', async () => {
    const { store, ipam } = open()
    const pool = { name: 'default', cidr: prefix('10.20.247.0/26') }
    const { v4 } = await ipam.autoAssign(
      ask('node-2', 'net1.c1', { pools: [pool], attributes: { pod: 'p', namespace: 'n' } }),
    )
    assert.deepEqual(v4, ['10.20.247.0'])
    const value = async (key: string) => (await store.get(`/calico/ipam/v2/${key}`))?.value
    assert.equal(await value('handle/net1.c1'), '{"block":{"10.20.247.0/26":1},"deleted":false}')
    assert.equal(await value('host/node-2/ipv4/block/10.20.247.0-26'), '{"state":"confirmed","deleted":false}')
    const block = await value('assignment/ipv4/block/10.20.247.0-26')
    assert.ok(
      block?.startsWith(
        '{"cidr":"10.20.247.0/26","affinity":"host:node-2","affinity_claim_time":"2026-11-24T06:10:59Z","allocations":[0,null,',
      ),
    )
    assert.ok(
      block?.endsWith(
        '"attributes":[{"handle_id":"net1.c1","secondary":{"namespace":"n","node":"node-2","pod":"p",' +
          '"timestamp":"2026-11-24 06:10:59.67 +0000 UTC"}}],"sequenceNumber":1795500659670000001,' +
          '"sequenceNumberForAllocation":{"0":1795500659670000000},"deleted":false}',
      ),
    )
    await assertSound(store)
  })

  it('fills own blocks before it claims others, and each host begins elsewhere', async () => {
    const { store, ipam } = open()
    for (let i = 0; i < 4; i++) await ipam.autoAssign(ask('a', `h${i}`))
    assert.equal((await ipam.blocksOf('a')).own.length, 1)
    await ipam.autoAssign(ask('a', 'h4', { num4: 2 }))
    assert.equal((await ipam.blocksOf('a')).own.length, 2)
    await ipam.autoAssign(ask('b', 'h5'))
    assert.equal((await ipam.blocksOf('b')).own.length, 1)
    assert.deepEqual((await ipam.blocksOf('b')).borrowed, [])
    await assertSound(store)
  })

  it('borrows when no block is left, unless affinity is strict', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(ask('a', 'big', { num4: 13 }))
    const { v4 } = await ipam.autoAssign(ask('b', 'h'))
    assert.deepEqual(await ipam.blocksOf('b'), { own: [], borrowed: v4 })
    await ipam.setConfig({ strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 0 })
    await assert.rejects(ipam.autoAssign(ask('b', 'i')), ipamError('exhausted', /no free IPv4 address: 0 of 1/))
    await ipam.autoAssign(ask('a', 'j'))
    await assertSound(store)
  })

  it('keeps to the limit of blocks, the stricter of two', async () => {
    const { store, ipam } = open()
    await ipam.setConfig({ strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 2 })
    await ipam.autoAssign(ask('a', 'h', { num4: 8 }))
    const limited = ipamError(
      'block-limit',
      /^Need to allocate an IPAM block but could not - limit of 2 blocks reached for this node$/,
    )
    await assert.rejects(ipam.autoAssign(ask('a', 'i')), limited)
    await assert.rejects(ipam.autoAssign(ask('b', 'i', { num4: 5, maxBlocksPerHost: 1 })), ipamError('block-limit'))
    assert.equal((await audit(store)).allocated.size, 8, 'four of five are given back')
    await assertSound(store)
  })

  it('has a limit of 20 blocks if none is set', async () => {
    const { ipam } = open()
    const wide = { name: 'wide', cidr: prefix('10.0.0.0/16'), blockSize: 32 }
    await ipam.autoAssign(ask('a', 'h', { pools: [wide], num4: 20 }))
    await assert.rejects(ipam.autoAssign(ask('a', 'i', { pools: [wide] })), ipamError('block-limit', /limit of 20/))
  })

  it('claims nothing itself when that is switched off', async () => {
    const { ipam } = open()
    await assert.rejects(
      ipam.setConfig({ strictAffinity: false, autoAllocateBlocks: false, maxBlocksPerHost: 0 }),
      ipamError('invalid'),
    )
    await ipam.setConfig({ strictAffinity: true, autoAllocateBlocks: false, maxBlocksPerHost: 0 })
    await assert.rejects(ipam.autoAssign(ask('a', 'h')), ipamError('exhausted'))
  })

  it('makes a new handle without a look, with one write for the blocks of both families', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(ask('a', 'h', { num6: 1 }))
    const writes: string[] = []
    const counted: Store = {
      ...wrap(store),
      get: key => {
        assert.ok(!key.includes('/handle/'), key)
        return store.get(key)
      },
      put: (key, ...rest) => {
        writes.push(key.replace(/[^/]+$/, ''))
        return store.put(key, ...rest)
      },
    }
    await openIpam(counted, deps).autoAssign(ask('a', 'i', { num6: 1, isNewHandle: true }))
    const places = ['handle/', 'assignment/ipv4/block/', 'assignment/ipv6/block/']
    assert.deepEqual(
      writes,
      places.map(place => `/calico/ipam/v2/${place}`),
    )
    await assert.rejects(ipam.autoAssign(ask('a', 'i', { num6: 1, isNewHandle: true })), ipamError('exists'))
    assert.equal((await audit(store)).allocated.size, 4, 'nothing is given to a handle that should not be there')
    await assertSound(store)
  })

  it('gives both families or none', async () => {
    const { store, ipam } = open()
    const { v4, v6 } = await ipam.autoAssign(ask('a', 'h', { num6: 1 }))
    assert.deepEqual([v4.length, v6.length], [1, 1])
    await assert.rejects(
      ipam.autoAssign(ask('a', 'i', { num4: 2, num6: 8 })),
      ipamError('exhausted', /IPv6 address: 7 of 8/),
    )
    assert.equal((await audit(store)).allocated.size, 2)
    await assertSound(store)
    await assert.rejects(ipam.autoAssign(ask('a', 'i', { num6: 1, pools: [small4] })), ipamError('no-pool'))
    assert.equal((await audit(store)).allocated.size, 2)
  })

  it('does not give reserved addresses, nor claim reserved blocks', async () => {
    const { store, ipam } = open()
    const reserved = [prefix('10.0.0.0/29'), prefix('10.0.0.8/32')]
    const { v4 } = await ipam.autoAssign(ask('a', 'h', { num4: 7, reserved }))
    assert.equal(new Set(v4).size, 7)
    for (const address of v4) assert.ok(Number(address.split('.')[3]) > 8)
    assert.equal((await ipam.blocksOf('a')).own.length, 2)
    await assert.rejects(ipam.autoAssign(ask('a', 'i', { reserved })), ipamError('exhausted'))
    const [use] = await ipam.utilisation([small4], reserved)
    assert.deepEqual([use?.capacity, use?.inUse, use?.reserved, use?.free], [16, 7, 9, 0])
    await assertSound(store)
  })

  it('works in a pool too large to be walked', async () => {
    const { store, ipam } = open()
    const huge = { name: 'huge', cidr: prefix('fd00::/48') }
    for (const node of ['a', 'b', 'c']) await ipam.autoAssign(ask(node, node, { pools: [huge], num4: 0, num6: 100 }))
    assert.equal((await ipam.blocks()).length, 6)
    await assertSound(store)
  })

  it('takes the pools that the rules of selection leave', async () => {
    const pool = (name: string, third: number, more: Partial<IPPoolLike> = {}): IPPoolLike => ({
      name,
      cidr: prefix(`10.0.${third}.0/24`),
      ...more,
    })
    const all = [
      pool('off', 0, { disabled: true }),
      pool('gone', 1, { terminating: true }),
      pool('overlap', 2, { allocatable: false }),
      pool('manual', 3, { assignmentMode: 'Manual' }),
      pool('tunnels', 4, { allowedUses: ['Tunnel'] }),
      pool('rack', 5, { nodeSelector: "rack == 'r1'" }),
      pool('team', 6, { namespaceSelector: "team == 'a'" }),
      pool('any', 7, { nodeSelector: 'all()' }),
    ]
    const third = async (more: Partial<AutoAssignRequest>) => {
      const { v4 } = await open().ipam.autoAssign(ask('a', 'h', { pools: all, ...more }))
      return Number(v4[0]!.split('.')[2])
    }
    assert.equal(await third({}), 7)
    assert.equal(await third({ matchesNode: selector => selector === "rack == 'r1'" }), 5)
    assert.equal(await third({ matchesNamespace: selector => selector === "team == 'a'" }), 6)
    assert.equal(await third({ use: 'Tunnel' }), 4)
    assert.equal(await third({ requested4: ['manual'] }), 3)
    assert.equal(await third({ requested4: ['10.0.5.0/24'] }), 5)
    await assert.rejects(
      third({ requested4: ['off'] }),
      ipamError('no-pool', /the given pool \(off\) does not exist, or is not enabled/),
    )
    await assert.rejects(third({ use: 'LoadBalancer' }), ipamError('no-pool', /cannot find a qualified ippool/))
  })

  it('prints times as Go does', () => {
    assert.equal(goTimestamp(new Date('2026-11-24T06:36:50.000Z')), '2026-11-24 06:36:50 +0000 UTC')
    assert.equal(goTimestamp(new Date('2026-11-24T06:36:58.570Z')), '2026-11-24 06:36:58.57 +0000 UTC')
  })
})

describe('a certain address', () => {
  it('is given once, from a pool', async () => {
    const { store, ipam } = open()
    await ipam.assignIp(addr('10.0.0.6'), { node: 'a', handle: 'h', pools })
    await assert.rejects(ipam.assignIp(addr('10.0.0.6'), { node: 'a', handle: 'i', pools }), ipamError('assigned'))
    await assert.rejects(ipam.assignIp(addr('10.9.0.6'), { node: 'a', handle: 'i', pools }), ipamError('no-pool'))
    await ipam.assignIp(addr('10.0.0.5'), { node: 'b', handle: 'i', pools })
    assert.deepEqual(await ipam.blocksOf('b'), { own: [], borrowed: ['10.0.0.5'] })
    await ipam.setConfig({ strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 0 })
    await assert.rejects(ipam.assignIp(addr('10.0.0.4'), { node: 'b', handle: 'j', pools }), ipamError('not-owned'))
    await assertSound(store)
  })
})

describe('release', () => {
  it('by handle takes all back, over blocks and families, and does so again without harm', async () => {
    const { store, ipam } = open()
    const { v4, v6 } = await ipam.autoAssign(ask('a', 'h', { num4: 6, num6: 2 }))
    await ipam.autoAssign(ask('a', 'other'))
    assert.deepEqual(new Set(await ipam.releaseByHandle('h')), new Set([...v4, ...v6]))
    assert.deepEqual(await ipam.releaseByHandle('h'), [])
    assert.equal((await audit(store)).allocated.size, 1)
    await assertSound(store)
  })

  it('by address says what was free already, and minds handle and sequence', async () => {
    const { store, ipam } = open()
    const { v4 } = await ipam.autoAssign(ask('a', 'h', { num4: 3 }))
    const [one, two] = v4 as [Addr, Addr]
    await assert.rejects(ipam.releaseIps([{ address: one, handle: 'i' }]), ipamError('handle'))
    await assert.rejects(ipam.releaseIps([{ address: one, sequence: 1n }]), ipamError('sequence'))
    assert.equal((await audit(store)).allocated.size, 3)
    const sequence = BigInt(NOW.getTime()) * 1_000_000n
    assert.deepEqual(await ipam.releaseIps([{ address: one, handle: 'h', sequence }, { address: addr('10.9.9.9') }]), [
      '10.9.9.9',
    ])
    assert.deepEqual(await ipam.releaseIps([{ address: one }, { address: two }]), [one])
    assert.equal((await audit(store)).allocated.size, 1)
    await assertSound(store)
  })

  it('of a node: empty blocks go, others stay without owner until their last address is released', async () => {
    const { store, ipam } = open()
    await ipam.autoAssign(ask('a', 'h', { num4: 4 }))
    await ipam.autoAssign(ask('a', 'i', { num4: 1 }))
    await ipam.releaseByHandle('i')
    assert.equal((await ipam.releaseHost('a')).length, 2)
    assert.deepEqual(
      (await ipam.blocks()).map(({ affinity }) => affinity),
      [null],
    )
    assert.equal((await ipam.blocksOf('a')).borrowed.length, 4)
    await assertSound(store)
    await ipam.releaseByHandle('h')
    await assertNothingLeft(store)
  })
})

describe('utilisation', () => {
  it('has the numbers of ipam show', async () => {
    const { ipam } = open()
    const pool = { name: 'p', cidr: prefix('10.20.0.0/16') }
    await ipam.autoAssign(ask('node-2', 'h', { pools: [pool], num4: 20 }))
    const [use] = await ipam.utilisation([pool], [prefix('10.20.0.0/28'), prefix('10.20.0.0/30')])
    assert.deepEqual([use?.capacity, use?.inUse, use?.reserved, use?.free], [65536, 20, 16, 65500])
    assert.deepEqual(
      use?.blocks.map(({ capacity, inUse, reserved, free, affinity }) => [capacity, inUse, reserved, free, affinity]),
      [[64, 20, 0, 44, 'host:node-2']],
    )
  })
})
