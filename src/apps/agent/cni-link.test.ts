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
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import { linkSocket, unlinkSocket } from './cni-link.ts'
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
    assert.match((await linkSocket(a, path.join(folder, 'file/x'))) ?? '', /cannot be made/)
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
