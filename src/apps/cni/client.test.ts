// The CNI client against servers that behave and servers that do not. What it prints is parsed as a runtime would.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'

const here = import.meta.dirname
const folder = mkdtempSync(join(tmpdir(), 'gingham-cni-'))
const socket = join(folder, 'agent.sock')
let client = ''

type Run = { code: number | null; stdout: string }

function runClient(options: { program?: string; env?: Record<string, string>; stdin?: string }): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(options.program ?? client, [], { env: options.env ?? {}, stdio: ['pipe', 'pipe', 'inherit'] })
    let stdout = ''
    child.stdout.on('data', chunk => {
      stdout += chunk
    })
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout }))
    child.stdin.on('error', () => {})
    child.stdin.end(options.stdin ?? '')
  })
}

const config = JSON.stringify({ cniVersion: '0.4.0', name: 'k8s-pod-network', type: 'gingham' })
const environment = { GINGHAM_CNI_SOCKET: socket, CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_NETNS: '/run/netns/x' }

/** Runs `body` while a server listens on the socket. */
async function serving(server: net.Server, body: () => Promise<void>): Promise<void> {
  await new Promise<void>(resolve => server.listen(socket, resolve))
  try {
    await body()
  } finally {
    server.close()
    if (server instanceof http.Server) server.closeAllConnections()
    rmSync(socket, { force: true })
  }
}

describe('CNI client', () => {
  before(() => {
    client = execFileSync(process.execPath, [join(here, 'build-client.mjs')], { encoding: 'utf8' }).trim()
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('is static and below 1 MB', () => {
    assert.ok(statSync(client).size < 1_000_000)
    const header = execFileSync('head', ['-c', '4096', client]).toString('latin1')
    assert.ok(!header.includes('ld-linux'), 'no program interpreter')
  })

  it('hands over stdin and the variables, and copies the result back', async () => {
    let seen: { method?: string; url?: string; headers: http.IncomingHttpHeaders; body: string } | undefined
    const server = http.createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      seen = { method: request.method!, url: request.url!, headers: request.headers, body }
      response.end('{"cniVersion":"0.4.0","ips":[]}\n')
    })
    await serving(server, async () => {
      const env = { ...environment, CNI_ARGS: 'K8S_POD_NAME=ä;X=50%\r\nCni-Command: DEL' }
      const result = await runClient({ env, stdin: config })
      assert.deepEqual(result, { code: 0, stdout: '{"cniVersion":"0.4.0","ips":[]}\n' })
    })
    assert.equal(seen?.method, 'POST')
    assert.equal(seen?.url, '/cni')
    assert.equal(seen?.body, config)
    assert.equal(seen?.headers['cni-command'], 'ADD')
    assert.equal(seen?.headers['cni-containerid'], 'c1')
    assert.equal(seen?.headers['cni-netns'], '/run/netns/x')
    assert.equal(seen?.headers['cni-ifname'], undefined)
    assert.equal(decodeURIComponent(seen?.headers['cni-args'] as string), 'K8S_POD_NAME=ä;X=50%\r\nCni-Command: DEL')
  })

  it('ends with 1 and the error that the agent gave', async () => {
    const error = '{"cniVersion":"0.4.0","code":7,"msg":"no such network"}'
    const server = http.createServer((request, response) => {
      request.resume()
      request.on('end', () => response.writeHead(500).end(error))
    })
    await serving(server, async () => {
      assert.deepEqual(await runClient({ env: environment, stdin: config }), { code: 1, stdout: error })
    })
  })

  it('joins a result that comes in chunks', async () => {
    const server = http.createServer((request, response) => {
      request.resume()
      response.write('{"cniVersion":')
      request.on('end', () => response.end('"1.1.0"}'))
    })
    await serving(server, async () => {
      assert.deepEqual(await runClient({ env: environment, stdin: config }), {
        code: 0,
        stdout: '{"cniVersion":"1.1.0"}',
      })
    })
  })

  it('carries a megabyte both ways', async () => {
    const large = JSON.stringify({ cniVersion: '1.0.0', prevResult: 'x'.repeat(1_000_000) })
    const server = http.createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      response.end(body)
    })
    await serving(server, async () => {
      const { code, stdout } = await runClient({ env: environment, stdin: large })
      assert.equal(code, 0)
      assert.ok(stdout === large, `${stdout.length} of ${large.length} characters`)
    })
  })

  it('says that the agent does not answer, with the path and the version of the configuration', async () => {
    const { code, stdout } = await runClient({ env: environment, stdin: config })
    assert.equal(code, 1)
    const error = JSON.parse(stdout)
    assert.equal(error.code, 11)
    assert.equal(error.cniVersion, '0.4.0')
    assert.ok(error.msg.includes(socket) && error.msg.includes('check that it runs'), error.msg)
  })

  it('answers STATUS without an agent by the code for a plugin that is not available', async () => {
    const { code, stdout } = await runClient({ env: { ...environment, CNI_COMMAND: 'STATUS' }, stdin: config })
    assert.equal(code, 1)
    assert.equal(JSON.parse(stdout).code, 50)
  })

  describe('DEL without an agent', () => {
    const spool = `${socket}.del`
    const del = { ...environment, CNI_COMMAND: 'DEL', CNI_IFNAME: 'eth0', CNI_ARGS: 'K8S_POD_NAME=\u00e4' }
    const remembered = () => readdirSync(spool).sort()
    const fails = async (env: Record<string, string>, why: RegExp, stdin = config): Promise<void> => {
      const { code, stdout } = await runClient({ env, stdin })
      assert.equal(code, 1)
      assert.match(JSON.parse(stdout).details, why)
      assert.equal(JSON.parse(stdout).code, 11)
    }
    beforeEach(() => rmSync(spool, { recursive: true, force: true }))

    it('is remembered whole, and twice is once', async () => {
      for (let i = 0; i < 2; i++)
        assert.deepEqual(await runClient({ env: del, stdin: config }), { code: 0, stdout: '' })
      assert.deepEqual(await runClient({ env: { ...del, CNI_CONTAINERID: 'c.2_-' }, stdin: '' }), {
        code: 0,
        stdout: '',
      })
      assert.deepEqual(remembered(), ['c.2_--eth0.http', 'c1-eth0.http'])
      const text = readFileSync(join(spool, 'c1-eth0.http'), 'utf8')
      assert.match(text, /^POST \/cni HTTP\/1\.1\r\n/)
      assert.ok(
        text.includes('\r\nCni-Command: DEL\r\n') && text.includes('\r\nCni-Args: K8S_POD_NAME=%C3%A4\r\n'),
        text,
      )
      assert.ok(text.endsWith(`\r\n\r\n${config}`), text)
      assert.equal(statSync(spool).mode & 0o777, 0o700)
      assert.equal(statSync(join(spool, 'c1-eth0.http')).mode & 0o777, 0o600)
    })

    it('is remembered when the agent dies at it', async () => {
      const server = net.createServer(connection => {
        connection.on('error', () => {})
        connection.on('data', () => connection.destroy())
      })
      await serving(server, async () => {
        assert.deepEqual(await runClient({ env: del, stdin: config }), { code: 0, stdout: '' })
      })
      assert.deepEqual(remembered(), ['c1-eth0.http'])
    })

    it('is not remembered when the agent answers, with success or not', async () => {
      const server = http.createServer((request, response) => {
        request.resume()
        request.on('end', () => response.writeHead(500).end('{"code":11}'))
      })
      await serving(server, async () => {
        assert.deepEqual(await runClient({ env: del, stdin: config }), { code: 1, stdout: '{"code":11}' })
      })
      assert.throws(remembered, /ENOENT/)
    })

    it('fails where it cannot be remembered, and nothing is written elsewhere', async () => {
      for (const CNI_CONTAINERID of ['', '../../x', '.hidden', 'a/b', 'x'.repeat(201)])
        await fails({ ...del, CNI_CONTAINERID }, /name is not valid/)
      await fails({ ...del, CNI_IFNAME: '..' }, /name is not valid/)
      await fails(del, /too long to be remembered/, 'x'.repeat(64 * 1024))
      await fails({ ...del, GINGHAM_CNI_SOCKET: join(folder, 'none/agent.sock') }, /No such file or directory/)
      for (let i = 0; i < 4096; i++) writeFileSync(join(spool, `${i}`), '')
      await fails(del, /too many requests wait/)
      assert.equal(remembered().length, 4096)
    })

    it('is of no concern to other commands', async () => {
      for (const CNI_COMMAND of ['ADD', 'CHECK', 'GC', 'STATUS'])
        assert.equal((await runClient({ env: { ...del, CNI_COMMAND }, stdin: config })).code, 1)
      assert.throws(remembered, /ENOENT/)
    })
  })

  it('answers VERSION without an agent', async () => {
    const { code, stdout } = await runClient({ env: { CNI_COMMAND: 'VERSION' }, stdin: '{ "cniVersion" : "1.0.0" }' })
    assert.equal(code, 0)
    assert.deepEqual(JSON.parse(stdout), {
      cniVersion: '1.0.0',
      supportedVersions: ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    })
  })

  it('refuses to run without CNI_COMMAND', async () => {
    const { code, stdout } = await runClient({ stdin: config })
    assert.equal(code, 1)
    assert.equal(JSON.parse(stdout).code, 4)
  })

  for (const [name, reply] of [
    ['nothing', ''],
    ['garbage', 'hello\r\n\r\n'],
    ['half a result', 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"cni'],
    ['a result without a length', 'HTTP/1.1 200 OK\r\n\r\n{}'],
    ['a chunk too few', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n'],
    ['half a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n{}\r\n0\r\n\r\n'],
  ] as const) {
    it(`does not take ${name} for a result`, async () => {
      const server = net.createServer(connection => {
        connection.on('error', () => {})
        connection.on('data', () => connection.end(reply))
      })
      await serving(server, async () => {
        const { code, stdout } = await runClient({ env: environment, stdin: config })
        assert.equal(code, 1)
        assert.equal(JSON.parse(stdout).code, 11)
      })
    })
  }

  it('finds its socket in the file beside it', async () => {
    const copy = join(folder, 'gingham')
    copyFileSync(client, copy)
    writeFileSync(`${copy}.socket`, `${socket}\n`)
    const server = http.createServer((request, response) => {
      request.resume()
      request.on('end', () => response.end('{}'))
    })
    await serving(server, async () => {
      const { GINGHAM_CNI_SOCKET: _, ...env } = environment
      assert.deepEqual(await runClient({ program: copy, env, stdin: config }), { code: 0, stdout: '{}' })
    })
  })

  it('gives up on an agent that takes the request and never replies', async () => {
    const impatient = join(folder, 'impatient')
    execFileSync('gcc', ['-DTIME_LIMIT=1', '-o', impatient, join(here, 'client.c')])
    const server = net.createServer(connection => {
      connection.on('error', () => {})
      connection.resume()
    })
    await serving(server, async () => {
      const { code, stdout } = await runClient({ program: impatient, env: environment, stdin: config })
      assert.equal(code, 1)
      const error = JSON.parse(stdout)
      assert.equal(error.code, 11)
      assert.ok(error.msg.includes('took too long'), error.msg)
    })
  })
})
