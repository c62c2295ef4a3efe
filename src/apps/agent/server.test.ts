// Health as probes ask for it: Felix's paths and codes, with a reason where the answer is no.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { Logger } from '../../io/log.ts'
import { Metrics } from './metrics.ts'
import { serve } from './server.ts'

const ask = (socketPath: string, url: string): Promise<{ code: number; body: string }> =>
  new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path: url }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', text => {
        body += text
      })
      response.on('end', () => resolve({ code: response.statusCode ?? 0, body }))
    })
    request.on('error', reject)
  })

test('liveness and readiness: 204, or 503 and why', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gingham-server-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const socket = path.join(folder, 'agent.sock')
  let why: readonly string[] = ['policy is not programmed']
  const api = {
    status: async () => ({ ready: why.length === 0 }),
    notReady: () => why,
    counters: () => [],
    cni: async () => ({ ok: true, body: '' }),
    metrics: new Metrics(),
  }
  const stop = await serve(api, { socket, address: undefined, log: { info: () => {} } as unknown as Logger })
  t.after(stop)
  assert.equal(statSync(socket).mode & 0o777, 0o600, 'nobody but root asks for networks')
  const no = JSON.stringify({ ready: false, why })
  assert.deepEqual(await ask(socket, '/liveness'), { code: 204, body: '' })
  assert.deepEqual(await ask(socket, '/readiness'), { code: 503, body: no })
  assert.deepEqual(await ask(socket, '/readyz'), { code: 503, body: no })
  why = []
  assert.deepEqual(await ask(socket, '/readiness'), { code: 204, body: '' })
  assert.deepEqual(await ask(socket, '/readyz'), { code: 200, body: JSON.stringify({ ready: true, why: [] }) })
  assert.match((await ask(socket, '/metrics')).body, /^gingham_proof_restarts_total 0$/m)
})
