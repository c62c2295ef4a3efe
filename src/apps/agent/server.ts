// What the agent answers over HTTP: on its unix socket the CNI client's requests and the command line's questions, and,
// where an address is given, health and metrics over TCP too.
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import fastify, { type FastifyInstance } from 'fastify'
import type { Logger } from '../../io/log.ts'
import type { OutcomeCounter } from './counters.ts'
import type { Metrics } from './metrics.ts'

export type AgentApi = {
  /** `src/apps/cli/agents.ts` reads this. */
  readonly status: () => Promise<{ readonly ready: boolean } & Record<string, unknown>>
  /** Why the node is not ready; nothing if it is. */
  readonly notReady: () => readonly string[]
  readonly counters: () => readonly OutcomeCounter[]
  readonly cni: (headers: Readonly<Record<string, string>>, body: string) => Promise<{ ok: boolean; body: string }>
  readonly metrics: Metrics
}

/** A CNI request carries one network configuration and a result; far below this. */
const MAX_BODY = 1024 * 1024

/** Felix's paths and codes, and Kubernetes' own. That this thread answers at all is what liveness means. */
function health(server: FastifyInstance, api: AgentApi): void {
  server.get('/liveness', (_request, reply) => reply.code(204).send())
  server.get('/healthz', () => ({ live: true }))
  server.get('/readiness', (_request, reply) => {
    const why = api.notReady()
    return why.length === 0 ? reply.code(204).send() : reply.code(503).send({ ready: false, why })
  })
  server.get('/readyz', (_request, reply) => {
    const why = api.notReady()
    return reply.code(why.length === 0 ? 200 : 503).send({ ready: why.length === 0, why })
  })
  server.get('/metrics', async (_request, reply) =>
    reply.type(api.metrics.registry.contentType).send(await api.metrics.text()),
  )
}

async function cni(
  api: AgentApi,
  headers: Record<string, unknown>,
  body: string,
): Promise<{ ok: boolean; body: string }> {
  const texts = Object.entries(headers).flatMap(([k, v]) => (typeof v === 'string' ? [[k, v]] : []))
  const command = String(headers['cni-command'] ?? 'none')
  const stop = api.metrics.cniSeconds.startTimer({ command })
  const answer = await api.cni(Object.fromEntries(texts), body)
  stop()
  api.metrics.cniRequests.inc({ command, result: answer.ok ? 'ok' : 'error' })
  return answer
}

/** Listens on the socket, whose folder is made and whose leftover is removed; `address` is `host:port`. */
export async function serve(
  api: AgentApi,
  options: { readonly socket: string; readonly address: string | undefined; readonly log: Logger },
): Promise<() => Promise<void>> {
  const local = fastify({ bodyLimit: MAX_BODY, logger: false })
  health(local, api)
  local.get('/status', () => api.status())
  local.get('/counters', () => ({ outcomes: api.counters() }))
  // The client does not say what it sends: the bytes are the runtime's, whatever they are.
  local.removeAllContentTypeParsers()
  local.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  local.post('/cni', async (request, reply) => {
    const answer = await cni(api, request.headers, typeof request.body === 'string' ? request.body : '')
    return reply
      .code(answer.ok ? 200 : 500)
      .type('application/json')
      .send(answer.body)
  })
  mkdirSync(path.dirname(options.socket), { recursive: true })
  rmSync(options.socket, { force: true })
  await local.listen({ path: options.socket })
  // Whoever can ask for a pod's network says where the plugins are that the agent runs.
  chmodSync(options.socket, 0o600)
  const open = [local]
  if (options.address) {
    const [host = '127.0.0.1', port = '9091'] = options.address.split(/:(?=\d+$)/)
    const remote = fastify({ logger: false })
    health(remote, api)
    await remote.listen({ host, port: Number(port) })
    open.push(remote)
  }
  options.log.info({ socket: options.socket, address: options.address }, 'serving')
  return async () => void (await Promise.all(open.map(server => server.close())))
}
