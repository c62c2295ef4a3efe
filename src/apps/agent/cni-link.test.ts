// The link by which the CNI client finds an agent: made, replaced when nobody serves behind it, left alone when somebody does.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../io/log.ts'
import { linkSocket, SocketLink, unlinkSocket } from './cni-link.ts'
import { DEFAULT_CNI_SOCKET } from './options.ts'

function places(t: TestContext) {
  const folder = mkdtempSync(path.join(tmpdir(), 'gingham-link-'))
  t.after(() => rmSync(folder, { recursive: true }))
  mkdirSync(path.join(folder, 'agents'))
  const socket = (node: string): string => path.join(folder, 'agents', `${node}.sock`)
  return { folder, at: path.join(folder, 'run/agent.sock'), a: socket('a'), b: socket('b') }
}

async function agent(t: TestContext, socket: string): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end(`{"served":"${path.basename(socket)}"}`))
  })
  await new Promise<void>(resolve => server.listen(socket, resolve))
  t.after(() => server.close())
  return server
}
const stopped = (server: Server): Promise<unknown> => new Promise(resolve => server.close(resolve))

describe('the link to the agent’s socket', () => {
  it('is made, kept at a restart, replaced when its agent is gone, and removed by its own agent only', async t => {
    const { at, a, b } = places(t)
    const first = await agent(t, a)
    assert.equal(await linkSocket(a, at), undefined)
    assert.equal(readlinkSync(at), a)
    assert.equal(await linkSocket(a, at), undefined, 'a second time')
    assert.match((await linkSocket(b, at)) ?? '', /leads to another agent, .*a\.sock$/)
    assert.equal(readlinkSync(at), a, 'a live agent keeps it')
    unlinkSocket(b, at)
    assert.equal(readlinkSync(at), a, 'another agent does not remove it')
    await stopped(first)
    assert.equal(await linkSocket(b, at), undefined)
    assert.equal(readlinkSync(at), b)
    unlinkSocket(b, at)
    assert.equal(lstatSync(at, { throwIfNoEntry: false }), undefined)
    unlinkSocket(b, at)
  })

  it('leaves alone what is no link', async t => {
    const { at, a, folder } = places(t)
    mkdirSync(path.dirname(at))
    writeFileSync(at, 'mine')
    assert.match((await linkSocket(a, at)) ?? '', /is no link/)
    unlinkSocket(a, at)
    assert.equal(readFileSync(at, 'utf8'), 'mine')
    rmSync(at)
    mkdirSync(at)
    assert.match((await linkSocket(a, at)) ?? '', /is no link/)
    writeFileSync(path.join(folder, 'file'), '')
    assert.equal(await linkSocket(a, a), undefined, 'the socket itself needs none')
    await assert.rejects(linkSocket(a, path.join(folder, 'file/x')), { code: 'ENOTDIR' })
  })

  it('brings what clients remembered to the agent, before the first link and between two agents', async t => {
    const { at, a } = places(t)
    mkdirSync(`${at}.del`, { recursive: true })
    writeFileSync(path.join(`${at}.del`, 'c1-eth0.http'), 'early')
    assert.equal(await linkSocket(a, at), undefined)
    assert.deepEqual(readdirSync(`${a}.del`), ['c1-eth0.http'])
    unlinkSocket(a, at)
    writeFileSync(path.join(`${at}.del`, 'c2-eth0.http'), 'late')
    assert.deepEqual(readdirSync(`${a}.del`).sort(), ['c1-eth0.http', 'c2-eth0.http'])
  })

  it('is made while clients are at work in the folder, and what they finish is the agent’s', async t => {
    const { at, a } = places(t)
    const spool = `${at}.del`
    mkdirSync(spool, { recursive: true })
    writeFileSync(path.join(spool, 'dead-eth0.http.1.new'), 'half')
    let written = 0
    let failed = 0
    // As client.c does it: a new file, its name, both by way of the folder's path.
    const client = setInterval(() => {
      const name = path.join(spool, `c${written + failed}-eth0.http`)
      const fresh = `${name}.7.new`
      mkdirSync(spool, { recursive: true })
      writeFileSync(fresh, name)
      setTimeout(() => {
        try {
          renameSync(fresh, name)
          written++
        } catch {
          failed++
        }
      }, 3)
    }, 5)
    try {
      assert.equal(await linkSocket(a, at), undefined)
    } finally {
      clearInterval(client)
    }
    await delay(20)
    assert.equal(readlinkSync(spool), `${a}.del`)
    const finished = readdirSync(`${a}.del`).filter(name => name.endsWith('.http'))
    assert.ok(written > 0)
    assert.equal(finished.length, written, `${failed} clients were told that it failed`)
  })

  it('is tried again until it can be made, and said as a problem until then', async t => {
    const { at, a, folder } = places(t)
    writeFileSync(path.join(folder, 'run'), 'in the way')
    const log = { info: () => {}, warn: () => {}, error: () => {} } as unknown as Logger
    const link = new SocketLink(a, at, log)
    t.after(() => link.stop())
    await link.make()
    assert.match(link.problems.join(), /^no pod starts here: the link .*agent\.sock cannot be made: E/)
    rmSync(path.join(folder, 'run'))
    while (link.problems.length > 0) await delay(20)
    assert.equal(readlinkSync(at), a)
  })

  it('replaces links that lead nowhere', async t => {
    const { at, a, b } = places(t)
    mkdirSync(path.dirname(at))
    symlinkSync(b, at)
    symlinkSync(`${b}.del`, `${at}.del`)
    assert.equal(await linkSocket(a, at), undefined)
    assert.deepEqual([readlinkSync(at), readlinkSync(`${at}.del`)], [a, `${a}.del`])
    assert.deepEqual(readdirSync(path.dirname(at)).sort(), ['agent.sock', 'agent.sock.del'])
  })
})

describe('the CNI client', () => {
  let program = ''
  before(() => {
    const build = path.join(import.meta.dirname, '../cni/build-client.mjs')
    program = execFileSync(process.execPath, [build], { encoding: 'utf8' }).trim()
  })

  it('looks where the agent puts its link by default', () => {
    assert.ok(readFileSync(program).includes(`${DEFAULT_CNI_SOCKET}\0`))
  })

  it('finds the agent through the link, and leaves a DEL for it through the other while it is away', async t => {
    const { at, a } = places(t)
    const run = (command: string): Promise<{ code: unknown; stdout: string }> =>
      new Promise(resolve => {
        const env = {
          GINGHAM_CNI_SOCKET: at,
          CNI_COMMAND: command,
          CNI_CONTAINERID: 'c1',
          CNI_IFNAME: 'eth0',
          CNI_NETNS: '/run/netns/x',
        }
        const child = execFile(program, { env }, (error, stdout) => resolve({ code: error?.code ?? 0, stdout }))
        child.stdin!.end('{"cniVersion":"1.0.0","name":"n","type":"gingham"}')
      })
    const server = await agent(t, a)
    assert.equal(await linkSocket(a, at), undefined)
    assert.deepEqual(await run('ADD'), { code: 0, stdout: '{"served":"a.sock"}' })
    unlinkSocket(a, at)
    await stopped(server)
    assert.equal((await run('ADD')).code, 1)
    assert.equal((await run('DEL')).code, 0)
    assert.deepEqual(readdirSync(`${a}.del`), ['c1-eth0.http'])
    assert.ok(!existsSync(at))
  })
})
