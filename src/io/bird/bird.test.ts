// A real BIRD, alone: it reads what we write, refuses what it cannot read, comes back when it dies, and ends when told.
// It runs in a network namespace of its own, so that it sees and touches no route of this machine.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { BIRD_DEFAULTS, type BirdConfig, type BirdPeer } from '../../core/bird/config.ts'
import { renderBird } from '../../core/bird/render.ts'
import { addr } from '../../core/net/addr.ts'
import { prefix } from '../../core/net/prefix.ts'
import { askBird, BirdRefusal } from './ask.ts'
import { Bird, BirdConfigError } from './bird.ts'

const namespace = `gtest-bird-${process.pid}`
const folder = mkdtempSync(join(tmpdir(), 'gingham-bird-'))
const command = ['ip', 'netns', 'exec', namespace, 'bird']
const peer: BirdPeer = {
  kind: 'global',
  name: 'router',
  address: addr('10.0.0.1'),
  as: 65000,
  restartTime: 120,
  passive: true,
  nextHop: 'auto',
}
const config: BirdConfig = {
  ...BIRD_DEFAULTS,
  routerId: addr('10.0.0.2'),
  peers: [peer],
  blocks: [prefix('10.1.0.0/26')],
}
const pidOf = (): number => Number(readFileSync(join(folder, 'bird.pid'), 'utf8'))
const lives = (pid: number): boolean => {
  try {
    return !/^\d+ \(bird\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await holds()) return
    await delay(50)
  }
  assert.fail(`never came true: ${what}`)
}

describe('a BIRD of our own', () => {
  const troubles: string[] = []
  const bird = new Bird({ folder, command, onTrouble: what => troubles.push(what) })
  before(() => execFileSync('ip', ['netns', 'add', namespace]))
  after(async () => {
    await bird.stop()
    execFileSync('ip', ['netns', 'del', namespace])
    rmSync(folder, { recursive: true, force: true })
  })

  it('starts with its first configuration and answers', async () => {
    await bird.apply(renderBird(config))
    const protocols = await bird.protocols()
    assert.deepEqual(protocols.map(({ name }) => name).sort(), [
      'Global_10_0_0_1',
      'blocks4',
      'device1',
      'direct1',
      'kernel4',
      'kernel6',
    ])
    assert.equal(protocols.find(({ name }) => name === 'blocks4')?.channels[0]?.imported, 1)
    assert.equal(statSync(join(folder, 'bird.conf')).mode & 0o077, 0, 'passwords stand in it')
  })

  it('takes the next configuration without a restart', async () => {
    const pid = pidOf()
    await bird.apply(renderBird({ ...config, blocks: [prefix('10.1.0.0/26'), prefix('10.1.0.64/26')] }))
    const protocols = await bird.protocols()
    assert.equal(protocols.find(({ name }) => name === 'blocks4')?.channels[0]?.imported, 2)
    assert.equal(pidOf(), pid)
  })

  it('refuses what it cannot read, shows the line, and keeps what it has', async () => {
    const kept = readFileSync(join(folder, 'bird.conf'), 'utf8')
    await assert.rejects(bird.apply(`${kept}protocol nonsense x {\n}\n`), (error: unknown) => {
      assert.ok(error instanceof BirdConfigError)
      assert.equal(error.line, kept.split('\n').length)
      assert.match(error.message, /protocol nonsense x/)
      return true
    })
    assert.equal(readFileSync(join(folder, 'bird.conf'), 'utf8'), kept)
    assert.equal((await bird.protocols()).find(({ name }) => name === 'blocks4')?.channels[0]?.imported, 2)
  })

  it('says no to a command that it does not know', async () => {
    await assert.rejects(askBird(bird.socket, 'dance'), BirdRefusal)
  })

  it('comes back when it dies', async () => {
    const pid = pidOf()
    process.kill(pid, 'SIGKILL')
    await until('another process', () => bird.up && pidOf() !== pid)
    assert.ok(troubles.some(what => what.startsWith('BIRD ended')))
    assert.equal((await bird.protocols()).find(({ name }) => name === 'blocks4')?.channels[0]?.imported, 2)
  })

  it('is found again by the next agent', async () => {
    const pid = pidOf()
    await bird.leave()
    assert.ok(lives(pid))
    const next = new Bird({ folder, command })
    await next.apply(renderBird(config))
    assert.equal(pidOf(), pid)
    assert.equal((await next.protocols()).find(({ name }) => name === 'blocks4')?.channels[0]?.imported, 1)
    await next.stop()
    await until('the process is gone', () => !lives(pid))
    await assert.rejects(next.apply(renderBird(config)), /was ended/)
  })

  it('says why it does not start', async () => {
    const lost = new Bird({ folder, command: ['ip', 'netns', 'exec', `${namespace}-not`, 'bird'] })
    await assert.rejects(lost.apply(renderBird(config)), /BIRD cannot read|did not start|No such/)
    await lost.stop()
  })
})

describe('BIRD itself', () => {
  it('reads whatever names, patterns and passwords users choose, as one configuration of the same shape', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'gingham-bird-')), 'b.conf')
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('";}\nprotocol static evil { ipv4; }', '"; include "/etc/shadow', '/*', '#', '\\"'),
    )
    const password = fc.stringMatching(/^[\x20\x21\x23-\x5b\x5d-\x7e]{1,80}$/)
    const address = fc.ipV4().map(addr)
    try {
      fc.assert(
        fc.property(text, text, password, address, fc.boolean(), (name, pattern, secret, other, passive) => {
          const peers: BirdPeer[] = [
            {
              ...peer,
              name,
              password: secret,
              passive,
              allowLocalAs: 1,
              nextHop: 'keep',
              ttlSecurity: 1,
              keepaliveTime: 30,
              holdTime: 90,
            },
            {
              ...peer,
              kind: 'node',
              as: 64512,
              address: addr('fd00::1'),
              name,
              source: addr('fd00::2'),
              port: 1790,
              reflectAs: other,
              reachableBy: addr('fd00::9'),
            },
          ]
          const full: BirdConfig = {
            ...config,
            peers,
            log: { file: '/dev/null', level: 'Debug' },
            strictBind: true,
            listenPort: 1179,
            ignoredInterfaces: [pattern],
            blocks: [prefix('10.1.0.0/26'), prefix('10.1.0.64/32'), prefix('fd00::/122'), prefix('fd00::40/128')],
            borrowed: [prefix('10.2.0.1/32'), prefix('fd01::1/128')],
            pools: [prefix('10.0.0.0/8'), prefix('fd00::/16')],
            notExported: [prefix('10.3.0.0/16')],
            notProgrammed: [prefix('10.4.0.0/16'), prefix('fd04::/64')],
          }
          writeFileSync(file, renderBird(full))
          execFileSync('bird', ['-p', '-c', file], { stdio: ['ignore', 'pipe', 'pipe'] })
        }),
        { numRuns: 200 },
      )
    } finally {
      rmSync(join(file, '..'), { recursive: true, force: true })
    }
  })
})
