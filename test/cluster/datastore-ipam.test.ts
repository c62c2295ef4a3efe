// IPAM over the real datastore: four hosts, each with its own connection, allocate and release while the server is
// killed under them. Every address is unique, and at the end nothing is left.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spawnDatastore, startDatastore, temporaryDirectory } from '../../src/apps/datastore/spawn.ts'
import type { Addr } from '../../src/core/net/addr.ts'
import { prefix } from '../../src/core/net/prefix.ts'
import { audit } from '../../src/io/ipam/audit.ts'
import { openIpam } from '../../src/io/ipam/ipam.ts'
import { openEmbedded } from '../../src/io/store/embedded.ts'

const HOSTS = ['node-1', 'node-2', 'node-3', 'node-4']
/** The first host has more pods than a block holds. */
const PODS = [105, 45, 45, 45]
const KILLS = 10

test('four hosts allocate over a datastore that is killed under them', async t => {
  const { path, remove } = temporaryDirectory()
  let server = await startDatastore(path, ['--log-level', 'warn'])
  const stores = HOSTS.map(() => openEmbedded({ socket: server.socket }))
  const pools = [
    // Four blocks for four hosts: the host with many pods has to borrow.
    { name: 'v4', cidr: prefix('10.244.0.0/24') },
    { name: 'v6', cidr: prefix('fd00:10:244::/64') },
  ]
  try {
    const held = new Map<Addr, string>()
    let busy = true
    let pods = 0
    const working = Promise.all(
      HOSTS.map(async (node, i) => {
        const ipam = openIpam(stores[i]!, { now: () => new Date() })
        for (let n = 0; n < PODS[i]!; n++) {
          const handle = `k8s-pod-network.${node}-${n}`
          const { v4, v6 } = await ipam.autoAssign({ node, handle, pools, num4: 1, num6: 1 })
          assert.deepEqual([v4.length, v6.length], [1, 1])
          for (const address of [...v4, ...v6]) {
            assert.equal(held.get(address), undefined, `${address} given twice`)
            held.set(address, handle)
          }
          pods++
          if (n % 3 !== 0) continue
          for (const address of [...v4, ...v6]) held.delete(address)
          assert.equal((await ipam.releaseByHandle(handle)).length, 2)
        }
      }),
    ).finally(() => {
      busy = false
    })
    working.catch(() => {})
    let kills = 0
    while (busy && kills < KILLS) {
      await server.ready
      const before = pods
      while (busy && pods < before + 5) await new Promise(resolve => setTimeout(resolve, 2))
      await server.stop('SIGKILL')
      kills++
      server = spawnDatastore(path, ['--log-level', 'warn'])
    }
    await working
    assert.equal(kills, KILLS)

    const found = await audit(stores[0]!)
    assert.deepEqual([found.broken, found.unfinished], [[], []])
    assert.deepEqual(found.allocated, held)
    const ipam = openIpam(stores[0]!, { now: () => new Date() })
    const { own, borrowed } = await ipam.blocksOf(HOSTS[0]!)
    t.diagnostic(`${pods} pods, ${kills} kills, ${HOSTS[0]} has ${own.join(' and ')} and borrows ${borrowed.length}`)
    assert.ok(borrowed.length > 0)
    for (const handle of new Set(held.values())) await ipam.releaseByHandle(handle)
    for (const node of HOSTS) await ipam.releaseHost(node)
    assert.deepEqual((await stores[0]!.list('/calico/ipam/')).entries, [])
  } finally {
    for (const store of stores) store.close()
    await server.stop('SIGKILL')
    remove()
  }
})
