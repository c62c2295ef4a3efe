// Faults of the kernel interface around interfaces, addresses and routes: dumps that are interrupted, events that are
// lost, links that go while they are being configured, and what others do to a pod's wiring. What is read is never a
// mixture; what is lost is read again; what cannot be made is refused in words and can be repeated.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import { prefix } from '../../src/core/net/prefix.ts'
import { DecodeError, Writer } from '../../src/core/netlink/bytes.ts'
import { decodeLink, encodeGetLink } from '../../src/core/netlink/link.ts'
import { decodeMessages, NLM_F, putMessage } from '../../src/core/netlink/message.ts'
import { TABLE_MAIN } from '../../src/core/netlink/route.ts'
import { RTM, RTNLGRP } from '../../src/core/netlink/rtnetlink.ts'
import { checkPod } from '../../src/io/cni/check-pod.ts'
import { connectPod, disconnectPod, type PodWiring } from '../../src/io/cni/pod-network.ts'
import { addAddress } from '../../src/io/kernel/addresses.ts'
import { KernelError } from '../../src/io/kernel/kernel-error.ts'
import { createLink, deleteLink, readLink, readLinks, writeLink } from '../../src/io/kernel/links.ts'
import { NETLINK, NetlinkSocket, subscribe } from '../../src/io/kernel/netlink-socket.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import { addRoute, readRoutes } from '../../src/io/kernel/routes.ts'
import { AF, bind, close, socket as openSocket, recv, SOCK, send } from '../../src/io/kernel/sys.ts'
import { freshNetns, runIn } from './netns.ts'

function socketIn(t: TestContext, netns: string): NetlinkSocket {
  const opened = new NetlinkSocket(NETLINK.ROUTE, netns)
  t.after(() => opened.close())
  return opened
}

const PAIRS = 120
/** A namespace with so many links that a dump takes several datagrams. */
function crowd(t: TestContext) {
  const netns = freshNetns(t)
  const [reader, other] = [socketIn(t, netns.path), socketIn(t, netns.path)]
  for (let i = 0; i < PAIRS; i++) createLink(other, { kind: 'veth', name: `v${i}`, peer: { name: `w${i}` } })
  return { netns, reader, other }
}

/** Reads all links by a dump of our own, in which `meanwhile` runs at the first message of each attempt. */
function readMeanwhile(reader: NetlinkSocket, meanwhile: (attempt: number) => void) {
  let attempts = 0
  let first = true
  const found = reader.dump(
    {
      op: 'read links',
      type: RTM.GETLINK,
      // The body is written once an attempt.
      body: w => {
        attempts++
        first = true
        encodeGetLink(w)
      },
    },
    m => {
      if (first) {
        first = false
        meanwhile(attempts)
      }
      return decodeLink(m.body)
    },
  )
  return { names: found.map(link => link.name), attempts }
}

test('F14 a dump that is interrupted by a change is read again, and is then of one moment', t => {
  const { reader, other } = crowd(t)
  const undisturbed = readMeanwhile(reader, () => {})
  assert.deepEqual([undisturbed.attempts, undisturbed.names.length], [1, 2 * PAIRS + 1])
  const { names, attempts } = readMeanwhile(reader, attempt => {
    if (attempt > 3) return
    deleteLink(other, readLink(other, `v${attempt}`)!.index)
    createLink(other, { kind: 'veth', name: `new${attempt}`, peer: { name: `wen${attempt}` } })
  })
  assert.equal(attempts, 4, 'the kernel marked each of the three')
  assert.deepEqual(
    [...names].sort(),
    readLinks(other)
      .map(link => link.name)
      .sort(),
  )
  assert.equal(new Set(names).size, names.length)
})

test('F14 a dump that never stands still ends in a word, not in a mixture', t => {
  const { reader, other } = crowd(t)
  let n = 0
  assert.throws(
    () =>
      readMeanwhile(reader, () => {
        createLink(other, { kind: 'veth', name: `x${n}`, peer: { name: `y${n++}` } })
      }),
    (e: unknown) => e instanceof KernelError && e.isBusy && /kept changing/.test(e.message),
  )
  // And the socket has no answers of the abandoned tries left over.
  assert.equal(readLinks(reader).length, 2 * PAIRS + 1 + 2 * n)
})

test('an answer cut at any byte is an error or whole messages, never a wrong one', t => {
  const { netns } = crowd(t)
  const datagram = inNetns(netns.path, () => {
    const fd = openSocket(AF.NETLINK, SOCK.RAW, NETLINK.ROUTE)
    try {
      const address = new Uint8Array(12)
      address[0] = AF.NETLINK
      bind(fd, address)
      const w = new Writer(64)
      putMessage(w, { type: RTM.GETLINK, flags: NLM_F.REQUEST | NLM_F.DUMP, seq: 7 }, body => encodeGetLink(body))
      send(fd, w.result())
      const buffer = new Uint8Array(65_536)
      return buffer.slice(0, recv(fd, buffer))
    } finally {
      close(fd)
    }
  })
  const whole = decodeMessages(datagram).map(m => decodeLink(m.body))
  assert.ok(whole.length > 2)
  let [errors, prefixes] = [0, 0]
  for (let length = 0; length < datagram.length; length++) {
    try {
      const cut = decodeMessages(datagram.slice(0, length)).map(m => decodeLink(m.body))
      assert.deepEqual(cut, whole.slice(0, cut.length), `cut at ${length}`)
      prefixes++
    } catch (error) {
      assert.ok(error instanceof DecodeError, `cut at ${length}: ${String(error)}`)
      errors++
    }
  }
  assert.ok(errors > prefixes && prefixes >= whole.length, `${errors} errors, ${prefixes} prefixes`)
})

test('F13 lost link events: whoever reads everything again after an overrun knows all links', async t => {
  const { netns, reader, other } = crowd(t)
  const known = new Set(readLinks(reader).map(link => link.name))
  let overruns = 0
  const stop = subscribe(
    { protocol: NETLINK.ROUTE, groups: [RTNLGRP.LINK], netns: netns.path, bufferBytes: 4096, keepAlive: true },
    {
      messages: messages => {
        for (const m of messages) {
          if (m.type === RTM.NEWLINK) known.add(decodeLink(m.body).name)
          if (m.type === RTM.DELLINK) known.delete(decodeLink(m.body).name)
        }
      },
      overrun: () => {
        overruns++
        known.clear()
        for (const link of readLinks(reader)) known.add(link.name)
      },
    },
  )
  t.after(stop)
  for (let i = 0; i < PAIRS / 2; i++) {
    deleteLink(other, readLink(other, `v${i}`)!.index)
    createLink(other, { kind: 'veth', name: `n${i}`, peer: { name: `m${i}` } })
  }
  const expected = readLinks(other)
    .map(link => link.name)
    .sort()
  while (overruns === 0 || [...known].sort().join() !== expected.join()) await new Promise(setImmediate)
})

test('F25 a link that is gone: every step of its configuration says so, and its number is never another one', t => {
  const netns = freshNetns(t)
  const s = socketIn(t, netns.path)
  createLink(s, { kind: 'veth', name: 'cali1', up: true, peer: { name: 'eth0' } })
  const { index } = readLink(s, 'cali1')!
  deleteLink(s, index)
  createLink(s, { kind: 'veth', name: 'cali1', up: true, peer: { name: 'eth0' } })
  const next = readLink(s, 'cali1')!
  assert.notEqual(next.index, index, 'the kernel gives out another number')
  const gone = (work: () => void): void =>
    assert.throws(work, (e: unknown) => e instanceof KernelError && e.isMissing && e.op !== '')
  gone(() => writeLink(s, index, { up: true }))
  gone(() => writeLink(s, index, { mtu: 1400 }))
  gone(() => addAddress(s, { link: index, address: addr('10.65.1.7'), prefixLength: 32 }))
  gone(() =>
    addRoute(s, {
      ...{ dst: prefix('10.65.1.7/32'), type: 'unicast', table: TABLE_MAIN, protocol: 3, scope: 'link', link: index },
    }),
  )
  gone(() => deleteLink(s, index))
  assert.equal(readLink(s, index), undefined)
  assert.deepEqual(
    readRoutes(s, { table: TABLE_MAIN }).filter(r => r.link === next.index && r.protocol === 3),
    [],
  )
})

function wiringOf(netns: string, addresses: readonly Addr[]): PodWiring {
  return {
    netns,
    interface: 'eth0',
    hostInterface: 'cali0123456789a',
    owner: 'net.container',
    addresses,
    allowForwarding: false,
  }
}

const PODS_ADDRESSES = [addr('10.65.1.7')]

test('F25 a veth deleted under us at any moment of being made: refused in words, repeated with success, nothing left', async t => {
  const [host, pod] = [freshNetns(t), freshNetns(t)]
  const wiring = wiringOf(pod.path, PODS_ADDRESSES)
  const hostNetns = host.path
  const script = `trap 'exit 0' TERM; while :; do ip link del ${wiring.hostInterface} 2>/dev/null; done`
  const vandal = spawn('ip', ['netns', 'exec', host.name, 'bash', '-c', script], { stdio: 'ignore' })
  const ended = once(vandal, 'exit')
  t.after(() => vandal.kill('SIGTERM'))
  let made = 0
  const refused = new Map<string, number>()
  try {
    for (let i = 0; i < 300 && (i < 60 || refused.size < 3); i++) {
      try {
        await connectPod(wiring, { hostNetns })
        made++
      } catch (error) {
        assert.ok(error instanceof KernelError, String(error))
        const what = `${error.op}: ${error.code}`
        refused.set(what, (refused.get(what) ?? 0) + 1)
      }
    }
  } finally {
    vandal.kill('SIGTERM')
    await ended
  }
  assert.ok(refused.size > 0, `${made} made, none refused`)
  console.log(`# a link deleted while it is made: ${made} made, refused ${JSON.stringify([...refused])}`)
  await connectPod(wiring, { hostNetns })
  assert.deepEqual(checkPod(wiring, { hostNetns }), [])
  assert.equal(await disconnectPod(wiring.hostInterface, { hostNetns }), true)
  assert.doesNotMatch(runIn(host.name, 'ip', 'link'), /cali/)
  assert.doesNotMatch(runIn(host.name, 'ip', 'route', 'show', 'table', 'all'), /10\.65/)
  assert.doesNotMatch(runIn(pod.name, 'ip', 'link'), /eth0/)
})

/** What others do to a pod's wiring, and how it is told. */
const DAMAGE: readonly (readonly [what: string, where: 'host' | 'pod', command: string, says: RegExp])[] = [
  ['the route to the pod is deleted', 'host', 'route del 10.65.1.7', /no route to 10\.65\.1\.7/],
  [
    'the route to the pod leads elsewhere',
    'host',
    'route replace 10.65.1.7 dev lo scope link',
    /no route to 10\.65\.1\.7/,
  ],
  ["the host's end is down", 'host', 'link set cali0123456789a down', /is down/],
  [
    "the host's end has another MAC address",
    'host',
    'link set cali0123456789a address 02:00:00:00:00:05',
    /MAC address/,
  ],
  ["the host's end is somebody else's", 'host', 'link set cali0123456789a alias net.other', /belongs to net\.other/],
  ['the link is deleted', 'host', 'link del cali0123456789a', /no interface cali0123456789a/],
  ["the pod's end is down", 'pod', 'link set eth0 down', /eth0 is down|no carrier/],
  ["the pod's address is deleted", 'pod', 'address flush dev eth0 scope global', /does not have the address/],
  ["the pod's way out is deleted", 'pod', 'route del default', /no default route/],
]

test('F25, F26 what others do to a pod is told in words, and adding it again puts it right', async t => {
  const [host, pod] = [freshNetns(t), freshNetns(t)]
  const wiring = wiringOf(pod.path, PODS_ADDRESSES)
  const hostNetns = host.path
  await connectPod(wiring, { hostNetns })
  for (const [what, where, command, says] of DAMAGE) {
    assert.deepEqual(checkPod(wiring, { hostNetns }), [], what)
    runIn((where === 'host' ? host : pod).name, 'ip', ...command.split(' '))
    assert.match(checkPod(wiring, { hostNetns }).join('; '), says, what)
    await connectPod(wiring, { hostNetns })
  }
  assert.deepEqual(checkPod(wiring, { hostNetns }), [])
  // A second route of another daemon beside ours changes nothing of what is ours.
  runIn(host.name, 'ip', 'route', 'add', '10.65.1.7', 'dev', 'lo', 'metric', '50', 'proto', '77')
  assert.deepEqual(checkPod(wiring, { hostNetns }), [])
})
