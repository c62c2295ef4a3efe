// What a network configuration may wait for before a pod gets a network.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { decodeConfig } from '../../core/cni/config.ts'
import { CniError } from '../../core/cni/error.ts'
import { requireGates } from './cni-gates.ts'

/** What is said to a configuration; nothing if it passes. */
async function said(config: object, mtu?: number): Promise<string> {
  const decoded = decodeConfig({ name: 'net', type: 'calico', ...config })
  assert.ok(decoded.ok, JSON.stringify(decoded))
  try {
    await requireGates(decoded.value, { node: 'node-a', mtu: () => mtu })
    return ''
  } catch (error) {
    assert.ok(error instanceof CniError)
    return `${error.code} ${error.message}: ${error.details}`
  }
}

/** A server that answers with a status, and what it was asked. */
async function server(t: TestContext, status: () => number): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const http = createServer(({ method, url }, response) => {
    asked.push(`${method} ${url}`)
    response.writeHead(status()).end('text')
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => http.once('listening', resolve))
  t.after(() => http.close().closeAllConnections())
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, asked }
}

describe('what ADD waits for', () => {
  it('every readiness gate must answer a GET with success, else the runtime is to try again', async t => {
    let status = 200
    const { url, asked } = await server(t, () => status)
    const gates = [`${url}/readiness`, `${url}/other`]
    assert.equal(await said({ readiness_gates: gates }), '')
    assert.deepEqual(asked.sort(), ['GET /other', 'GET /readiness'])
    status = 503
    assert.equal(
      await said({ readiness_gates: [gates[0]] }),
      `11 the readiness gate ${gates[0]} is not open: it answered 503`,
    )
    assert.match(await said({ readiness_gates: ['http://127.0.0.1:1/x'] }), /^11 .* http:\/\/127\.0\.0\.1:1\/x .*/)
  })

  it('the file with the node’s name must be there unless it is optional, and name this node', async t => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gingham-nodename-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = path.join(folder, 'nodename')
    assert.match(await said({ nodename_file: file }), /^11 nodename_file: ENOENT.*: check that the agent runs/)
    assert.equal(await said({ nodename_file: file, nodename_file_optional: true }), '')
    assert.equal(await said({ nodename_file: file, nodename: 'node-a' }), '', 'the name itself comes first')
    writeFileSync(file, 'node-a\n')
    assert.equal(await said({ nodename_file: file }), '')
    writeFileSync(file, 'node-b')
    assert.match(await said({ nodename_file: file, nodename_file_optional: true }), /^7 .* says node node-b, .* node-a/)
  })

  it('require_mtu_file waits until somebody knows the size of packets', async () => {
    assert.match(await said({ require_mtu_file: true }), /^11 the size of packets is not known yet/)
    assert.equal(await said({ require_mtu_file: true }, 1440), '')
    assert.equal(await said({ require_mtu_file: true, mtu: 1400 }), '')
    assert.equal(await said({}), '')
  })
})
