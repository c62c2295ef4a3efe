// What a client does when the server, the network or the credentials are unwell.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Answer,
  json,
  lines,
  openScriptedApi,
  type ScriptedApi,
  scriptedConfig,
  status,
} from '../../../test/support/scripted-api.ts'
import { ApiClient, type ApiClientOptions } from './api-client.ts'
import { ApiError } from './api-error.ts'
import { readCredentials } from './credentials.ts'

let api: ScriptedApi
let folder: string
const clients: ApiClient[] = []

before(async () => {
  api = await openScriptedApi()
  folder = mkdtempSync(join(tmpdir(), 'gingham-credentials-'))
})
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await api.close()
})
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
  api.requests.length = 0
})

async function open(options: ApiClientOptions = {}, user: object = {}): Promise<ApiClient> {
  const client = new ApiClient(await readCredentials({ inline: scriptedConfig(api, user) }), options)
  clients.push(client)
  return client
}

const failsWith = (code: number) => (error: unknown) => {
  assert.ok(error instanceof ApiError, String(error))
  assert.equal(error.status, code)
  return true
}

it('who waits for a server that was away waits no longer than until it grants something', async () => {
  const client = await open()
  let isOver = false
  const pause = client.pause(60_000, AbortSignal.timeout(10_000)).then(() => {
    isOver = true
  })
  api.script((_request, response) => response.destroy())
  await assert.rejects(client.request('DELETE', '/x'))
  // A server that has only just started refuses everybody.
  api.script(status(403, 'Forbidden'))
  await assert.rejects(client.request('DELETE', '/x'), failsWith(403))
  await delay(700)
  assert.ok(!isOver)
  api.script(json(200, {}))
  const began = performance.now()
  await client.request('DELETE', '/x')
  await pause
  assert.ok(performance.now() - began < 5000)
  const short = client.pause(60_000, AbortSignal.timeout(20))
  await short
})

describe('a request', () => {
  it('is repeated when it reads and the server fails, and gives up in the end', async () => {
    const client = await open({ attempts: 3 })
    api.script(status(500, 'InternalError'), status(503, 'ServiceUnavailable'), json(200, { well: true }))
    assert.equal(await client.request('GET', '/x'), '{"well":true}')
    api.script(status(502, 'BadGateway'))
    await assert.rejects(client.request('GET', '/x'), failsWith(502))
    assert.equal(api.requests.length, 6)
  })

  it('that writes is repeated only when the server says that it did nothing', async () => {
    const client = await open()
    api.script(status(429, 'TooManyRequests', { 'Retry-After': '0' }), json(201, { made: true }))
    assert.equal(await client.request('POST', '/x', { body: '{}' }), '{"made":true}')
    api.script(status(500, 'InternalError'))
    await assert.rejects(client.request('POST', '/x', { body: '{}' }), failsWith(500))
    api.script(request => request.socket.destroy())
    await assert.rejects(client.request('PUT', '/x', { body: '{}' }), /socket hang up|ECONNRESET/)
    assert.equal(api.requests.length, 4)
  })

  it('waits as long as the server asks for', async () => {
    const waits: number[] = []
    const client = await open({ wait: async milliseconds => void waits.push(milliseconds) })
    api.script(status(429, 'TooManyRequests', { 'Retry-After': '7' }), status(503, 'ServiceUnavailable'), json(200, {}))
    await client.request('GET', '/x')
    assert.equal(waits.length, 2)
    assert.ok(waits[0]! > 7000 && waits[1]! < 1000, String(waits))
  })

  it('that is refused is not repeated, and tells why', async () => {
    const client = await open()
    api.script(status(403, 'Forbidden'))
    await assert.rejects(client.request('GET', '/x'), (error: ApiError) => {
      assert.deepEqual([error.status, error.reason, error.message], [403, 'Forbidden', 'it says Forbidden'])
      return true
    })
    api.script((_request, response) => response.writeHead(400).end('<html>no</html>'))
    await assert.rejects(client.request('GET', '/x'), /<html>no/)
    assert.equal(api.requests.length, 2)
  })

  it('without an answer is given up', async () => {
    const client = await open({ timeout: 100, attempts: 2 })
    api.script(() => {})
    await assert.rejects(client.request('GET', '/x'), /no answer within 0.1 s/)
    assert.equal(api.requests.length, 2)
  })

  it('ends when the client is closed', async () => {
    const client = await open()
    api.script(() => {})
    const asked = client.request('GET', '/x')
    setTimeout(() => client.close(), 50)
    await assert.rejects(asked, /closed/)
  })
})

describe('credentials', () => {
  const tokens: string[] = []
  const wants =
    (token: string): Answer =>
    (request, response) => {
      tokens.push(String(request.headers.authorization))
      const good = request.headers.authorization === `Bearer ${token}`
      ;(good ? json(200, {}) : status(401, 'Unauthorized'))(request, response)
    }
  afterEach(() => void tokens.splice(0))

  it('are read anew when the server does not take them: a token file that was renewed', async () => {
    const [token, config] = [join(folder, 'token'), join(folder, 'kubeconfig')]
    writeFileSync(token, 'one\n')
    writeFileSync(config, scriptedConfig(api, { tokenFile: token }))
    const client = new ApiClient(await readCredentials({ kubeconfig: config }))
    clients.push(client)
    api.script(wants('one'))
    await client.request('GET', '/x')
    writeFileSync(token, 'two\n')
    api.script(wants('two'))
    await client.request('GET', '/x')
    assert.deepEqual(tokens, ['Bearer one', 'Bearer one', 'Bearer two'])
    api.script(wants('three'))
    await assert.rejects(client.request('GET', '/x'), failsWith(401))
  })

  it('of a pod come from files, which are read anew when the server does not take the token', async () => {
    const file = (name: string, text: string): void => writeFileSync(join(folder, name), text)
    file('ca.crt', Buffer.from(api.authority, 'base64').toString())
    file('token', 'one\n')
    const { hostname, port } = new URL(api.url)
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port }
    const client = new ApiClient(await readCredentials({ inCluster: true, folder, env }))
    clients.push(client)
    api.script(wants('one'))
    await client.request('GET', '/x')
    file('token', 'two\n')
    await assert.rejects(readCredentials({ inCluster: true, folder, env: {} }), /this is no pod of a cluster/)
    api.script(wants('two'))
    await client.request('GET', '/x')
    assert.deepEqual(tokens, ['Bearer one', 'Bearer one', 'Bearer two'])
    api.script(wants('three'))
    await assert.rejects(client.request('GET', '/x'), failsWith(401))
    const six = await readCredentials({ inCluster: true, folder, env: { KUBERNETES_SERVICE_HOST: 'fd00::1' } })
    assert.equal(six.server, 'https://[fd00::1]:443')
  })

  it('come from a plugin, which is asked once while its answer holds, and again when it is not taken', async () => {
    const [plugin, count] = [join(folder, 'plugin'), join(folder, 'count')]
    const credential = (token: string) =>
      JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } })
    writeFileSync(
      plugin,
      `#!/bin/sh\necho x >> ${count}\necho '${credential('TOKEN')}' | sed "s/TOKEN/$(wc -l < ${count})/"\n`,
    )
    chmodSync(plugin, 0o755)
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' }
    const client = await open({}, { exec })
    api.script(wants('1'))
    await Promise.all([client.request('GET', '/x'), client.request('GET', '/x')])
    await client.request('GET', '/x')
    api.script(wants('2'))
    await client.request('GET', '/x')
    assert.deepEqual(tokens, ['Bearer 1', 'Bearer 1', 'Bearer 1', 'Bearer 1', 'Bearer 2'])
  })

  it('that name no cluster, or a server of another authority, are an error', async () => {
    await assert.rejects(readCredentials({ inline: '{"kind":"Config","apiVersion":"v1"}' }), /names no cluster/)
    const other = scriptedConfig({ ...api, authority: Buffer.from('').toString('base64') })
    const client = new ApiClient(await readCredentials({ inline: other }), { attempts: 1 })
    clients.push(client)
    await assert.rejects(client.request('GET', '/x'), /certificate|SELF_SIGNED/i)
    assert.equal(api.requests.length, 0)
  })
})

describe('a stream', () => {
  it('gives whole lines, wherever the network parts them', async () => {
    const client = await open()
    const text = '{"a":"\u00e9\u{1f600}"}\n{"b":1}\n'
    api.script((_request, response) => {
      response.writeHead(200)
      const bytes = Buffer.from(text)
      let at = 0
      const timer = setInterval(() => {
        if (at === bytes.length) {
          clearInterval(timer)
          response.end()
        } else response.write(bytes.subarray(at, ++at))
      }, 1)
    })
    const got: string[] = []
    await client.stream('/x', {}, { signal: new AbortController().signal, lines: more => void got.push(...more) })
    assert.deepEqual(got, ['{"a":"é😀"}', '{"b":1}'])
  })

  it('that is cut is an error, one that says nothing is dead, one that is aborted simply ends', async () => {
    const client = await open({ idle: 150 })
    const follow = (signal = new AbortController().signal) => client.stream('/x', {}, { signal, lines: () => {} })
    api.script(lines([{ n: 1 }], 'cut'))
    await assert.rejects(follow())
    api.script(lines([{ n: 1 }], 'silence'))
    await assert.rejects(follow(), /nothing came/)
    api.script(status(410, 'Expired'))
    await assert.rejects(follow(), failsWith(410))
    const abort = new AbortController()
    api.script(lines([], 'silence'))
    setTimeout(() => abort.abort(), 50)
    await follow(abort.signal)
  })
})
