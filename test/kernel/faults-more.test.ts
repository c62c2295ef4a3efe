// Faults of the kernel that are not a refusal: a commit that takes long, a table of connections that is full, that holds the
// same connection in several zones or takes up connections in their middle, and programs of others on our interfaces. The
// kernel is the real one unless a test's title says what is put in its place. Gingham loads no eBPF of its own, so that of
// eBPF's faults only those of other people's programs are left.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { NFT_TABLE } from '../../src/core/base/register.ts'
import { type Addr, addr, fromNumber } from '../../src/core/net/addr.ts'
import { attributes, be16, be32, u8 } from '../../src/core/netlink/attributes.ts'
import { Writer } from '../../src/core/netlink/bytes.ts'
import { CT } from '../../src/core/netlink/conntrack.ts'
import { NLM_F, putMessage } from '../../src/core/netlink/message.ts'
import { AF_INET, address } from '../../src/core/netlink/rtnetlink.ts'
import type { NftOp } from '../../src/core/nft/objects.ts'
import { checkPod } from '../../src/io/cni/check-pod.ts'
import { connectPod, disconnectPod } from '../../src/io/cni/pod-network.ts'
import { flushAddresses } from '../../src/io/kernel/conntrack.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import { NftConnection } from '../../src/io/kernel/nft-table.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import * as sys from '../../src/io/kernel/sys.ts'
import { readSysctl, writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { FaultyDataplane, STATES } from './faulty-dataplane.ts'
import { freshNetns, runIn } from './netns.ts'

const LONG = 10_000
/** For what must not come. */
const SHORT = 700
const [A, B] = [addr('10.65.0.2'), addr('10.65.0.3')]

/** Somebody else's transaction: a set of many ranges, again and again. */
async function hog(t: TestContext, netns: string): Promise<() => Promise<void>> {
  const ranges = Array.from({ length: 60_000 }, (_, i) => {
    const from = fromNumber(4, BigInt(0x0b000000 + i * 8))
    return `${from}-${fromNumber(4, BigInt(0x0b000000 + i * 8 + 3))}`
  })
  const rules = `table ip hog\ndelete table ip hog\ntable ip hog { set s { type ipv4_addr; flags interval; elements = { ${ranges.join(',')} }; }; }\n`
  const script = `trap 'exit 0' TERM; f=$(mktemp); trap 'rm -f $f' EXIT; cat > $f; echo; while :; do nft -f $f; done`
  const args = ['netns', 'exec', netns, 'bash', '-c', script]
  const hog = spawn('ip', args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = once(hog, 'exit')
  const stop = async (): Promise<void> => {
    hog.kill('SIGTERM')
    await ended
  }
  t.after(stop)
  hog.stdin.end(rules)
  await once(hog.stdout, 'data')
  return stop
}

test('F19 a commit waits for somebody’s big one: it is done in its turn, refused never, told only when done', async t => {
  let waited = 0
  let longest = 0
  const kept: { rig?: FaultyDataplane } = {}
  class Watched extends NftConnection {
    override writeBatch(...args: Parameters<NftConnection['writeBatch']>): void {
      const before = this.generation()
      const told = kept.rig?.programmed
      const begun = performance.now()
      super.writeBatch(...args)
      longest = Math.max(longest, performance.now() - begun)
      // Our own transaction is one step; anything more came in between.
      if (this.generation() - before > 1) waited++
      assert.equal(kept.rig?.programmed, told)
    }
  }
  const rig = new FaultyDataplane(t, { connect: path => new Watched(path) })
  kept.rig = rig
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  const stop = await hog(t, rig.name)
  for (let i = 1; i < 200 && waited < 5; i++) {
    rig.want(STATES[i % STATES.length]!)
    if (i % 20 === 0) rig.assertClosed('while commits wait')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  await stop()
  t.diagnostic(`${waited} commits waited for another one, the longest ${longest.toFixed(0)} ms`)
  assert.ok(waited >= 5)
  rig.nftByHand('delete', 'table', 'ip', 'hog')
  assert.deepEqual(new Set(rig.refused), new Set(), rig.said.join('\n'))
  await rig.converge('the other one is gone')
  rig.assertClosed('the other one is gone')
})

test('F19 a commit of 10 s (slept in the kernel’s place, before it and after it): the old policy holds, then the new one', async t => {
  for (const when of ['before', 'after'] as const) {
    const sleep = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000)
    const slow = { next: false }
    class Slow extends NftConnection {
      override writeBatch(ops: readonly NftOp[], table: Parameters<NftConnection['writeBatch']>[1]): void {
        const { next } = slow
        slow.next = false
        if (next && when === 'before') sleep()
        super.writeBatch(ops, table)
        if (next && when === 'after') sleep()
      }
    }
    const rig = new FaultyDataplane(t, { connect: path => new Slow(path) })
    rig.dataplane.failClosed()
    rig.want(STATES[0]!)
    await rig.converge('at first')
    slow.next = true
    rig.want(STATES[1]!)
    assert.equal(slow.next, false, 'there was a batch')
    rig.assertClosed(when)
    for (const state of STATES) rig.want(state)
    assert.deepEqual(rig.refused, [])
    await rig.converge(when)
    rig.assertClosed(when)
  }
})

/** The first state's pods a and b on a real link each, policy in force, servers in b. */
async function twoPods(t: TestContext) {
  const rig = new FaultyDataplane(t)
  for (const setting of ['net/ipv4/ip_forward']) writeSysctl(setting, 1, rig.path)
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  await rig.converge('at first')
  const [a, b] = await Promise.all(
    [A, B].map(async (own, i) => {
      const { name, path } = freshNetns(t)
      const hostInterface = i === 0 ? 'calia' : 'calib'
      const wiring = { netns: path, interface: 'eth0', hostInterface, owner: 'x', addresses: [own] }
      await connectPod({ ...wiring, allowForwarding: false }, { hostNetns: rig.path })
      const probes = new ProbeHost(path)
      t.after(() => probes.close())
      for (const port of [22, 80]) probes.listenTcp(port)
      return { name, path, probes, wiring: { ...wiring, allowForwarding: false } }
    }),
  )
  const reach = (port: number, ms: number, from = {}) => a!.probes.connectTcp(B, port, ms, from)
  assert.equal(await reach(80, LONG), 'open')
  assert.equal(await reach(22, SHORT), 'timeout')
  return { rig, a: a!, b: b!, reach }
}

const TUPLE = attributes({
  ip: [1, attributes({ src: [1, address], dst: [2, address] })],
  protocol: [2, attributes({ number: [1, u8], sport: [2, be16], dport: [3, be16] })],
})
const ENTRY = attributes({
  original: [1, TUPLE],
  reply: [2, TUPLE],
  status: [3, be32],
  timeout: [7, be32],
  zone: [18, be16],
})
/** IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED: an entry that the kernel does not give up for a newer one. */
const ASSURED = 2 | 4 | 8
type Forged = { src: Addr; dst: Addr; sport: number; dport: number; protocol?: number; zone?: number }

/** Enters connections as `conntrack -I` does; the kernel answers only for those that it refuses. Gives their number. */
function enter(netns: string, forged: readonly Forged[]): number {
  using socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  let refused = 0
  for (let at = 0; at < forged.length; at += 500) {
    const slice = forged.slice(at, at + 500)
    const w = new Writer(1 << 16)
    for (const { src, dst, sport, dport, protocol = 17, zone } of slice) {
      const header = { type: CT.NEW, flags: NLM_F.REQUEST | NLM_F.CREATE | NLM_F.EXCL, seq: socket.nextSeq() }
      putMessage(w, header, body => {
        for (const byte of [AF_INET, 0, 0, 0]) body.u8(byte)
        ENTRY.encode(body, {
          original: { ip: { src, dst }, protocol: { number: protocol, sport, dport } },
          reply: { ip: { src: dst, dst: src }, protocol: { number: protocol, sport: dport, dport: sport } },
          status: ASSURED,
          timeout: 600,
          zone,
        })
      })
    }
    socket.sendBytes('enter connections', w.result())
    for (const { ack } of socket.answers()) if (ack.errno !== 0) refused++
  }
  return forged.length - refused
}

const countIn = (netns: string): number => Number(readSysctl('net/netfilter/nf_conntrack_count', netns))

test('F23 the table of connections is full: nothing new passes, nothing opens, policy goes on, and a flush finds its own', async t => {
  const { rig, reach } = await twoPods(t)
  const max = Number(readSysctl('net/netfilter/nf_conntrack_max', rig.path))
  const [x, y] = [addr('10.99.0.1'), addr('10.99.0.2')]
  const forged = Array.from({ length: max + 1000 }, (_, i) => ({
    ...{ src: x, dst: y, sport: 1 + (i % 60_000), dport: 1 + Math.floor(i / 60_000) },
  }))
  const own = countIn(rig.path)
  const entered = enter(rig.path, forged)
  t.diagnostic(`${entered} of ${forged.length} entered beside ${own}; at most ${max}`)
  assert.ok(entered < forged.length && countIn(rig.path) >= max, 'it is full')
  for (const port of [80, 22]) assert.equal(await reach(port, SHORT), 'timeout', `port ${port}`)
  for (const state of [STATES[1]!, STATES[2]!, STATES[0]!]) {
    rig.want(state)
    rig.assertClosed('full')
    await rig.converge('full')
  }
  // A kernel whose table is full gives up connections that nobody has answered: of our own few or none may be left.
  const left = countIn(rig.path) - entered
  const flushed = await flushAddresses([A], rig.path)
  assert.ok(flushed >= Math.min(1, left) && flushed <= left, `${flushed} of at most ${left}`)
  assert.equal(countIn(rig.path), left + entered - flushed, 'the others stay')
  assert.equal(await reach(80, LONG), 'open', 'there is room for one again')
  assert.equal(await reach(22, SHORT), 'timeout')
  assert.equal(await flushAddresses([x], rig.path), entered)
  assert.equal(await reach(80, LONG), 'open')
})

test('F23 the same connection in other zones: it opens nothing, and an address’s are forgotten in all of them', async t => {
  const { rig, reach } = await twoPods(t)
  await flushAddresses([A, B], rig.path)
  const tcp = { dport: 22, protocol: 6 }
  const zones = [1, 7, 65_535].map(zone => ({ ...tcp, zone }))
  const mine = [...zones.map(z => ({ ...z, src: A, dst: B, sport: 4000 })), { ...tcp, src: A, dst: B, sport: 4001 }]
  const [x, y] = [addr('10.99.0.1'), addr('10.99.0.2')]
  const others = [tcp, ...zones].map(z => ({ ...z, src: x, dst: y, sport: 1 }))
  assert.equal(enter(rig.path, [...mine, ...others]), 8)
  assert.equal(await reach(22, SHORT, { port: 4000 }), 'timeout')
  assert.equal(await reach(22, LONG, { port: 4001 }), 'open', 'in the packets’ own zone the entry would count')
  // A packet of the pod that somebody's rule puts into zone 7 is judged by policy there too.
  assert.ok(
    rig.nftByHand(
      'table inet zones { chain c { type filter hook prerouting priority raw; iifname "cali*" ct zone set 7; }; }',
    ),
  )
  assert.equal(await reach(22, SHORT, { port: 4002 }), 'timeout')
  assert.equal(await reach(80, LONG), 'open')
  assert.ok((await flushAddresses([A], rig.path)) >= mine.length)
  const left = runIn(rig.name, 'cat', '/proc/net/nf_conntrack')
    .split('\n')
    .filter(line => / udp | tcp /.test(line))
  assert.deepEqual([left.length, left.filter(line => line.includes(`=${A} `))], [others.length, []])
  assert.equal(await reach(80, LONG), 'open')
})

/** A connection from a to b's port 80 that stays; `passed` counts its data at b's interface, `came` at a's. */
async function connection(t: TestContext, { rig, a }: Awaited<ReturnType<typeof twoPods>>) {
  const rules = `table inet count {
    counter came {}; counter passed {};
    chain pre { type filter hook prerouting priority -500; iifname calia tcp flags & psh == psh counter name came; }
    chain post { type filter hook postrouting priority 500; oifname calib tcp flags & psh == psh counter name passed; }
  }`
  assert.ok(rig.nftByHand(rules))
  const fd = inNetns(a.path, () => sys.socket(sys.AF.INET, sys.SOCK.STREAM, 0))
  t.after(() => sys.close(fd))
  sys.connect(fd, sys.inetAddress(B, 80))
  assert.ok(await sys.whenReady(fd, sys.WRITABLE, LONG))
  assert.equal(sys.getOption(fd, sys.SOL.SOCKET, sys.SO.ERROR), 0)
  const count = (name: string): number =>
    Number(/packets (\d+)/.exec(runIn(rig.name, 'nft', 'reset', 'counter', 'inet', 'count', name))![1])
  /** Sends, waits until packets (and repetitions of what got lost) have come, and says how many passed. */
  return async (): Promise<number> => {
    for (const name of ['came', 'passed']) count(name)
    assert.equal(sys.send(fd, Buffer.from('data')), 4)
    let passed = 0
    for (let came = 0; came < 3 && passed === 0; ) {
      await new Promise(resolve => setTimeout(resolve, 50))
      came += count('came')
      passed += count('passed')
    }
    return passed
  }
}

for (const loose of [0, 1]) {
  test(`F23 tcp_loose ${loose}: a connection that the kernel has forgotten is judged anew, and never let through against policy`, async t => {
    const pods = await twoPods(t)
    const { rig, reach } = pods
    writeSysctl('net/netfilter/nf_conntrack_tcp_loose', loose, rig.path)
    const allowed = await connection(t, pods)
    assert.ok((await allowed()) > 0, 'it works')
    assert.ok((await flushAddresses([A], rig.path)) > 0)
    // Taken up in its middle, where the kernel does that; else it is no connection to the kernel, and policy drops those.
    assert.equal((await allowed()) > 0, loose === 1)
    rig.want(STATES[2]!)
    await rig.converge('a may not any more')
    await flushAddresses([A], rig.path)
    assert.equal(await allowed(), 0)
    assert.equal(await reach(22, SHORT), 'timeout')
    assert.equal(await reach(80, SHORT), 'timeout')
  })
}

test('F24 somebody’s tc and BPF programs on a pod’s link: left as they are, policy holds, CHECK and DEL do their work', async t => {
  const { rig, a, reach } = await twoPods(t)
  const tc = (...args: string[]): string => runIn(rig.name, 'tc', ...args)
  tc('qdisc', 'add', 'dev', 'calia', 'clsact')
  // TC_ACT_OK for every packet, on both ways.
  const program = (way: string, verdict: number, pref = '10') =>
    ['dev', 'calia', way, 'pref', pref, 'protocol', 'all', 'bpf', 'da', 'bytecode', `1,6 0 0 ${verdict}`] as const
  for (const way of ['ingress', 'egress']) tc('filter', 'add', ...program(way, 0))
  const filters = (): string => ['ingress', 'egress'].map(way => tc('filter', 'show', 'dev', 'calia', way)).join()
  const before = filters()
  assert.match(before, /bytecode/)
  assert.equal(await reach(80, LONG), 'open')
  assert.equal(await reach(22, SHORT), 'timeout')
  for (const state of [...STATES, STATES[0]!]) rig.want(state)
  rig.dataplane.verify('nft')
  await rig.converge('with programs')
  assert.equal(rig.dataplane.status().lastEdit, undefined)
  assert.deepEqual(checkPod(a.wiring, { hostNetns: rig.path }), [])
  assert.equal(filters(), before)
  assert.equal(await reach(80, LONG), 'open')
  // TC_ACT_SHOT: nothing passes, and nothing of ours gives way.
  tc('filter', 'add', ...program('ingress', 2, '1'))
  assert.equal(await reach(80, SHORT), 'timeout')
  assert.ok(rig.proof().proved)
  tc('filter', 'del', 'dev', 'calia', 'ingress', 'pref', '1')
  assert.equal(await reach(80, LONG), 'open')
  assert.equal(await disconnectPod('calia', { hostNetns: rig.path }), true)
  assert.ok(!runIn(rig.name, 'ip', '-br', 'link').includes('calia'))
  assert.ok(runIn(rig.name, 'nft', 'list', 'tables').includes(NFT_TABLE))
})
