// Two nodes as network namespaces, each with its own BIRD: what one has, the other's kernel gets, in both families.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { BIRD_DEFAULTS, type BirdConfig } from '../../src/core/bird/config.ts'
import { peersOf } from '../../src/core/bird/peers.ts'
import { renderBird } from '../../src/core/bird/render.ts'
import { addr } from '../../src/core/net/addr.ts'
import { prefix } from '../../src/core/net/prefix.ts'
import { decodeResource, type Resource, snapshotOf } from '../../src/core/resources/resource.ts'
import { Bird } from '../../src/io/bird/bird.ts'

const folder = mkdtempSync(join(tmpdir(), 'gingham-cluster-'))
const namespaceOf = (name: string): string => `gtest-bgp-${process.pid}-${name}`
const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' })
const inside = (name: string, ...words: string[]): string => ip('-n', namespaceOf(name), ...words)

const resource = (name: string, last: number): Resource => {
  const bgp = { ipv4Address: `10.200.0.${last}/24`, ipv6Address: `fd00:c8::${last}/64` }
  const decoded = decodeResource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'Node',
    metadata: { name },
    spec: { bgp },
  })
  assert.ok(decoded.ok)
  return decoded.value
}
const snapshot = snapshotOf([resource('a', 1), resource('b', 2)])
const configOf = (name: 'a' | 'b'): BirdConfig => ({
  ...BIRD_DEFAULTS,
  routerId: addr(name === 'a' ? '10.200.0.1' : '10.200.0.2'),
  peers: peersOf(snapshot, name).peers,
  blocks: [],
})

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1200; i++) {
    if (await holds()) return
    await delay(50)
  }
  assert.fail(`never came true: ${what}\n${inside('b', 'route')}\n${inside('b', '-6', 'route')}`)
}

const routes = (name: string, family: 4 | 6): string[] =>
  inside(name, `-${family}`, 'route', 'show', 'proto', 'bird')
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')

describe('two nodes with a BIRD each', () => {
  const birds = { a: birdOf('a'), b: birdOf('b') }
  function birdOf(name: string): Bird {
    mkdirSync(join(folder, name))
    return new Bird({ folder: join(folder, name), command: ['ip', 'netns', 'exec', namespaceOf(name), 'bird'] })
  }
  const created: string[] = []

  before(() => {
    for (const name of ['a', 'b']) {
      ip('netns', 'add', namespaceOf(name))
      created.push(namespaceOf(name))
      inside(name, 'link', 'set', 'lo', 'up')
    }
    ip(
      'link',
      'add',
      'eth0',
      'netns',
      namespaceOf('a'),
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      namespaceOf('b'),
    )
    for (const [name, last] of [
      ['a', 1],
      ['b', 2],
    ] as const) {
      inside(name, 'address', 'add', `10.200.0.${last}/24`, 'dev', 'eth0')
      inside(name, 'address', 'add', `fd00:c8::${last}/64`, 'dev', 'eth0', 'nodad')
      inside(name, 'link', 'set', 'eth0', 'up')
    }
    // A pod of node a, with an address out of its block and one that is borrowed.
    inside('a', 'link', 'add', 'cali1', 'type', 'veth', 'peer', 'name', 'pod')
    for (const end of ['cali1', 'pod']) inside('a', 'link', 'set', end, 'up')
    for (const address of ['10.201.0.7', '10.201.9.9'])
      inside('a', 'route', 'add', `${address}/32`, 'dev', 'cali1', 'scope', 'link')
  })
  after(async () => {
    await Promise.all(Object.values(birds).map(bird => bird.stop()))
    for (const name of created) ip('netns', 'del', name)
    rmSync(folder, { recursive: true, force: true })
  })

  it('exchange the routes of a block, in both families', async () => {
    await birds.a.apply(renderBird({ ...configOf('a'), blocks: [prefix('10.201.0.0/26'), prefix('fd00:c9::/122')] }))
    await birds.b.apply(renderBird(configOf('b')))
    await until('the IPv4 route', () =>
      routes('b', 4).some(line => line.startsWith('10.201.0.0/26 via 10.200.0.1 dev eth0')),
    )
    await until('the IPv6 route', () =>
      routes('b', 6).some(line => line.startsWith('fd00:c9::/122 via fd00:c8::1 dev eth0')),
    )
  })

  it('have their sessions Established, and the control socket says so', async () => {
    const sessions = (await birds.b.protocols()).filter(({ proto }) => proto === 'BGP')
    assert.deepEqual(
      sessions.map(({ name, bgp }) => [name, bgp?.state, bgp?.as]),
      [
        ['Mesh_10_200_0_1', 'Established', 64512],
        ['Mesh_fd00_c8__1', 'Established', 64512],
      ],
    )
    assert.deepEqual(
      sessions.flatMap(({ channels }) => channels.map(({ name, imported }) => [name, imported])),
      [
        ['ipv4', 1],
        ['ipv6', 1],
      ],
    )
  })

  it('drop what belongs to no pod of their own blocks', () => {
    assert.deepEqual(routes('a', 4), ['blackhole 10.201.0.0/26 metric 1024'])
  })

  it('tell a borrowed address, but no single address of their own blocks', async () => {
    await birds.a.apply(
      renderBird({
        ...configOf('a'),
        blocks: [prefix('10.201.0.0/26'), prefix('fd00:c9::/122')],
        borrowed: [prefix('10.201.9.9/32')],
      }),
    )
    await until('the borrowed address', () => routes('b', 4).some(line => line.startsWith('10.201.9.9 via 10.200.0.1')))
    assert.deepEqual(
      routes('b', 4).map(line => line.split(' ')[0]),
      ['10.201.0.0/26', '10.201.9.9'],
    )
    inside('a', 'route', 'del', '10.201.9.9/32')
    await until('the borrowed address is gone with its route', () => routes('b', 4).length === 1)
  })

  it('keep the kernel’s routes while a BIRD is dead, and learn the rest when it is back', async () => {
    const pid = Number(readFileSync(join(folder, 'b', 'bird.pid'), 'utf8'))
    process.kill(pid, 'SIGKILL')
    await until('its end was seen', () => !birds.b.up)
    assert.equal(routes('b', 4).length, 1)
    await until('it is back', () => birds.b.up)
    await birds.a.apply(renderBird({ ...configOf('a'), blocks: [prefix('10.201.0.0/26'), prefix('10.201.0.64/26')] }))
    await until('the second block', () => routes('b', 4).some(line => line.startsWith('10.201.0.64/26 via 10.200.0.1')))
    await until('the IPv6 block is gone', () => routes('b', 6).length === 0)
  })
})
