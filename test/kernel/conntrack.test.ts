// Forgetting the connections of an address in the real kernel: all of its own go, at whichever end it is and whichever
// protocol they have, and none of another address. The kernel's own listing is the second opinion.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { addr } from '../../src/core/net/addr.ts'
import { flushAddresses } from '../../src/io/kernel/conntrack.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import * as sys from '../../src/io/kernel/sys.ts'
import { freshNetns, runIn } from './netns.ts'

const LONG = 10_000
/** Every packet is tracked as soon as a rule asks for its state; one address is reached under another's name. */
const RULES = `add table inet t
add chain inet t out { type filter hook output priority 0; }
add rule inet t out ct state established accept
add chain inet t other { type nat hook output priority -100; }
add rule inet t other ip daddr 10.7.0.100 dnat ip to 10.7.0.2`

/** Addresses 10.7.0.1 to .4 and fd07::1 to ::4 on one host, with servers. */
function host(t: TestContext) {
  const { name, path } = freshNetns(t)
  for (let i = 1; i <= 4; i++) {
    runIn(name, 'ip', 'addr', 'add', `10.7.0.${i}/32`, 'dev', 'lo')
    runIn(name, 'ip', 'addr', 'add', `fd07::${i}/128`, 'dev', 'lo', 'nodad')
  }
  runIn(name, 'ip', 'route', 'add', '10.7.0.100/32', 'dev', 'lo')
  runIn(name, 'nft', RULES)
  const probes = new ProbeHost(path)
  t.after(() => probes.close())
  probes.listenTcp(80)
  /** The addresses of every connection, as the kernel prints them, without the loopback's own. */
  const listed = (): string[] =>
    runIn(name, 'cat', '/proc/net/nf_conntrack')
      .split('\n')
      .filter(line => line !== '')
      .map(line => [...line.matchAll(/(?:src|dst)=(\S+)/g)].map(([, text]) => addr(text!)).join(' '))
  /** A datagram that nobody answers makes a connection too. */
  const send = (from: string, to: string, port = 53): void => {
    const fd = inNetns(path, () => sys.socket(to.includes(':') ? sys.AF.INET6 : sys.AF.INET, sys.SOCK.DGRAM, 0))
    sys.bind(fd, sys.inetAddress(addr(from), 0))
    sys.sendTo(fd, Uint8Array.of(1), sys.inetAddress(addr(to), port))
    sys.close(fd)
  }
  return { path, probes, listed, send }
}

test('every connection of an address is forgotten, and no other', async t => {
  const { path, probes, listed, send } = host(t)
  const connect = async (from: string, to: string): Promise<void> => {
    const [source, dst] = [{ address: addr(from) }, addr(to)]
    assert.equal(await probes.connectTcp(dst, 80, LONG, source), 'open')
    send(from, to)
    assert.equal(await probes.ping(dst, LONG, source), 'open')
  }
  for (const net of ['10.7.0.', 'fd07::']) {
    for (const [from, to] of ['12', '21', '34', '43', '13'] as unknown as [string, string][])
      await connect(net + from, net + to)
  }
  // Its own address shows in the answers only.
  await connect('10.7.0.3', '10.7.0.100')
  const before = listed()
  assert.ok(before.length >= 32, before.join('\n'))
  const of =
    (...addresses: string[]) =>
    (line: string) =>
      addresses.some(a => line.split(' ').includes(a))

  const [first, second] = ['10.7.0.2', 'fd07::2'] as const
  const gone = before.filter(of(first, second)).length
  assert.equal(await flushAddresses([addr(first), addr(second)], path), gone)
  assert.deepEqual(listed().sort(), before.filter(line => !of(first, second)(line)).sort(), 'the others stay')
  assert.equal(await flushAddresses([addr(first), addr(second)], path), 0, 'nothing is left of them')
  assert.equal(await flushAddresses([], path), 0)
  assert.ok((await flushAddresses([addr('10.7.0.1'), addr('10.7.0.3')], path)) > 0)
  assert.deepEqual(
    listed().filter(line => line.includes('10.7.')),
    [],
  )
})

test('among many connections only those of the address are told', async t => {
  const { path, listed, send } = host(t)
  for (let port = 1000; port < 2000; port++) send('10.7.0.3', '10.7.0.4', port)
  send('10.7.0.3', '10.7.0.1')
  assert.equal(listed().length, 1001)
  assert.equal(await flushAddresses([addr('10.7.0.1')], path), 1)
  assert.equal(await flushAddresses([addr('10.7.0.4')], path), 1000)
  assert.deepEqual(listed(), [])
})
