// Probes between two namespaces: what is open, refused and dropped, in both families and all three protocols.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import { addAddress } from '../../src/io/kernel/addresses.ts'
import { createLink, readLink, writeLink } from '../../src/io/kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import { close, open } from '../../src/io/kernel/sys.ts'
import { freshNetns, runIn } from './netns.ts'

/** Where an answer comes, however slow the machine; and where none will. */
const LONG = 10_000
const SHORT = 300

/** Only what leaves ports 12345 and 12346 comes in; port 81 says no. */
const RULES = `add table inet f
add chain inet f in { type filter hook input priority 0; policy drop; }
add rule inet f in icmpv6 type { 135, 136 } accept
add rule inet f in th sport 12345-12346 accept
add rule inet f in tcp dport 81 reject with tcp reset`

/** Two namespaces on one veth, 10.9.0.1 and .2, fd09::1 and ::2. */
async function wire(t: TestContext) {
  const hosts = [freshNetns(t), freshNetns(t)] as const
  const sockets = hosts.map(host => new NetlinkSocket(NETLINK.ROUTE, host.path))
  const fd = open(hosts[1].path)
  createLink(sockets[0]!, { kind: 'veth', name: 'w', peer: { name: 'w', netnsFd: fd } })
  close(fd)
  for (const [i, socket] of sockets.entries()) {
    const { index } = readLink(socket, 'w')!
    addAddress(socket, { link: index, address: addr(`10.9.0.${i + 1}`), prefixLength: 24 })
    addAddress(socket, { link: index, address: addr(`fd09::${i + 1}`), prefixLength: 64, flags: 2 })
    writeLink(socket, index, { up: true })
  }
  // Until the kernel's link watch has run, the device drops what it should send.
  for (const socket of sockets) {
    while (!readLink(socket, 'w')!.running) await setTimeout(1)
    socket.close()
  }
  const [a, b] = hosts.map(host => new ProbeHost(host.path)) as [ProbeHost, ProbeHost]
  t.after(() => {
    a.close()
    b.close()
  })
  return { a, b, target: hosts[1].name }
}

const TARGETS: readonly Addr[] = [addr('10.9.0.2'), addr('fd09::2')]

test('open, refused, and dropped are told apart', async t => {
  const { a, b, target } = await wire(t)
  b.listenTcp(80)
  b.listenUdp(53)
  /** `ms`: how long to wait where an answer is not expected. */
  const probe = (dst: Addr, ms: number) =>
    Promise.all([
      a.connectTcp(dst, 80, ms),
      a.connectTcp(dst, 81, LONG),
      a.exchangeUdp(dst, 53, ms),
      a.exchangeUdp(dst, 54, ms),
      a.ping(dst, ms),
      a.connectTcp(dst, 80, LONG, { port: 12345 }),
      a.exchangeUdp(dst, 53, LONG, { port: 12346 }),
    ])
  for (const dst of TARGETS)
    assert.deepEqual(await probe(dst, LONG), ['open', 'refused', 'open', 'refused', 'open', 'open', 'open'])
  runIn(target, 'nft', RULES)
  for (const dst of TARGETS)
    assert.deepEqual(await probe(dst, SHORT), ['timeout', 'refused', 'timeout', 'timeout', 'timeout', 'open', 'open'])
})

test('two hundred probes at once', async t => {
  const { a, b } = await wire(t)
  b.listenTcp(80)
  const results = await Promise.all(
    Array.from({ length: 200 }, (_, i) => a.connectTcp(TARGETS[i % 2]!, i % 4 < 2 ? 80 : 81, LONG)),
  )
  assert.deepEqual(
    results,
    Array.from({ length: 200 }, (_, i) => (i % 4 < 2 ? 'open' : 'refused')),
  )
})

test('a probe to nowhere is refused, a taken port is an error', async t => {
  const { a, b } = await wire(t)
  assert.equal(await a.connectTcp(addr('192.0.2.1'), 80, LONG), 'refused')
  b.listenTcp(80)
  assert.throws(() => b.listenTcp(80), { code: 'EADDRINUSE' })
})
