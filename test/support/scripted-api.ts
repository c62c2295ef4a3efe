// An HTTPS server that answers as a test tells it: what a real API server does only when it is unwell.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from '../../src/apps/lab/kubernetes/certificates.ts'

export type Answer = (request: IncomingMessage, response: ServerResponse) => void

export type ScriptedApi = {
  readonly url: string
  /** The authority of its certificate, as a kubeconfig holds it. */
  readonly authority: string
  /** `GET /path?query` of each request. */
  readonly requests: string[]
  /** Answers in turn; the last one answers all that come after it. */
  script(...answers: readonly Answer[]): void
  close(): Promise<void>
}

export const json =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
    response.end(JSON.stringify(body))
  }

/** Kubernetes' form of a refusal. */
export const status = (code: number, reason: string, headers: Readonly<Record<string, string>> = {}): Answer =>
  json(code, { kind: 'Status', status: 'Failure', code, reason, message: `it says ${reason}` }, headers)

/** A watch: lines, and then the end of the stream, or nothing more. */
export const lines =
  (events: readonly unknown[], then: 'end' | 'cut' | 'silence' = 'end'): Answer =>
  (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' })
    response.flushHeaders()
    response.write(events.map(event => `${JSON.stringify(event)}\n`).join(''))
    if (then === 'end') response.end()
    // What was written goes out first.
    if (then === 'cut') setTimeout(() => response.destroy(), 20)
  }

export async function openScriptedApi(): Promise<ScriptedApi> {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-api-'))
  await makeCertificates(folder, ['127.0.0.1'])
  const file = (name: string): Buffer => readFileSync(join(folder, name))
  const server = createServer({ cert: file('apiserver.crt'), key: file('apiserver.key') })
  const requests: string[] = []
  let answers: readonly Answer[] = []
  server.on('request', (request, response) => {
    requests.push(`${request.method} ${request.url}`)
    const [answer, ...more] = answers
    if (more.length > 0) answers = more
    answer!(request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address() as { port: number }
  return {
    url: `https://127.0.0.1:${address.port}`,
    authority: file('ca.crt').toString('base64'),
    requests,
    script: (...next) => {
      answers = next
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A kubeconfig for it. */
export const scriptedConfig = ({ url, authority }: ScriptedApi, user: object = {}): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: url, 'certificate-authority-data': authority } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  })
