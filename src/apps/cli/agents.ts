// Asking the node agents: HTTP over one unix socket per node, `<run>/agents/<node>.sock`. An agent that does not answer is
// an answer too, so nothing here throws: each question gives the value or the sentence that says why there is none.
import { readdir } from 'node:fs/promises'
import { request } from 'node:http'
import path from 'node:path'
import { z } from 'zod'

/** How long a node may take to answer before it counts as unreachable. */
const PATIENCE_MS = 3000

const outcomeSchema = z.object({
  /** `printCause` of the cause that the kernel counted for. */
  cause: z.string(),
  direction: z.enum(['ingress', 'egress']),
  hook: z.enum(['host', 'forward', 'prednat', 'untracked']).optional(),
  chain: z.string(),
  packets: z.number(),
  bytes: z.number(),
})
const countersSchema = z.object({ outcomes: z.array(outcomeSchema) })

const statusSchema = z.object({
  node: z.string(),
  version: z.string(),
  pid: z.number(),
  uptimeSeconds: z.number(),
  ready: z.boolean(),
  datastore: z.object({ connected: z.boolean(), inSync: z.boolean(), revision: z.number() }),
  dataplane: z.object({
    programmed: z.boolean(),
    programmedRevision: z.number(),
    lastWriteAt: z.string().nullish(),
    table: z.string(),
    endpoints: z.number(),
    atoms: z.number(),
    rows: z.number(),
    outcomes: z.number(),
    problems: z.array(z.string()),
    /** The whole table was last read and found, or made, to be as written. */
    readBack: z.object({ secondsAgo: z.number() }).nullish(),
    /** The meaning of the whole ruleset was last compared with the resources. */
    proof: z.object({ secondsAgo: z.number(), proved: z.boolean(), classes: z.number() }).nullish(),
    /** Somebody else changed the table; it was put right. */
    lastEdit: z.object({ secondsAgo: z.number(), by: z.string(), what: z.array(z.string()) }).nullish(),
  }),
  /** Whether packets of the agent's own go as policy wants; absent where it sends none. */
  canary: z
    .object({
      state: z.enum(['waiting', 'ok', 'failed', 'unable', 'off']),
      sinceSeconds: z.number(),
      secondsAgo: z.number().nullish(),
      faults: z.array(z.string()),
      why: z.string().optional(),
      fix: z.string().optional(),
      lastFailure: z.object({ secondsAgo: z.number(), faults: z.array(z.string()) }).nullish(),
    })
    .nullish(),
  bgp: z
    .object({
      established: z.number(),
      peers: z.array(
        z.object({
          name: z.string(),
          address: z.string(),
          state: z.string(),
          since: z.string().nullish(),
          routes: z.number().nullish(),
        }),
      ),
    })
    .nullish(),
  pods: z.number().nullish(),
})

export type AgentStatus = z.infer<typeof statusSchema>
export type OutcomeCounter = z.infer<typeof outcomeSchema>
export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why: string }

export type Agents = {
  /** The nodes that have a socket here, sorted. */
  nodes(): Promise<string[]>
  status(node: string): Promise<Answer<AgentStatus>>
  counters(node: string): Promise<Answer<readonly OutcomeCounter[]>>
}

/** GET of a path over a unix socket; resolves to the parsed body of a 200. */
function getJson(socketPath: string, url: string): Promise<Answer<unknown>> {
  return new Promise(resolve => {
    const fail = (why: string): void => resolve({ ok: false, why })
    const req = request({ socketPath, path: url, timeout: PATIENCE_MS }, res => {
      let body = ''
      res.setEncoding('utf8')
      res.on('data', chunk => {
        body += chunk
      })
      res.on('error', error => fail(error.message))
      res.on('end', () => {
        // /status of an agent that is not ready may come with 503 and the same body.
        try {
          resolve({ ok: true, value: JSON.parse(body) })
        } catch {
          fail(`it answered ${res.statusCode} and not JSON`)
        }
      })
    })
    req.on('timeout', () => req.destroy(new Error(`no answer within ${PATIENCE_MS / 1000} s`)))
    req.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') fail(`no socket at ${socketPath}`)
      else if (error.code === 'ECONNREFUSED') fail(`nobody listens at ${socketPath}: the agent stopped`)
      else if (error.code === 'EACCES') fail(`no permission for ${socketPath}: run as root`)
      else fail(error.message)
    })
    req.end()
  })
}

async function ask<T>(socketPath: string, url: string, schema: z.ZodType<T>): Promise<Answer<T>> {
  const answer = await getJson(socketPath, url)
  if (!answer.ok) return answer
  const parsed = schema.safeParse(answer.value)
  if (parsed.success) return { ok: true, value: parsed.data }
  const issue = parsed.error.issues[0]
  return { ok: false, why: `${url} is not as expected at ${issue?.path.join('.')}: ${issue?.message}` }
}

/** The agents whose sockets are in `<run>/agents`. */
export function connectAgents(run: string): Agents {
  const dir = path.join(run, 'agents')
  const socket = (node: string): string => path.join(dir, `${node}.sock`)
  return {
    async nodes() {
      const names = await readdir(dir).catch(() => [] as string[])
      return names
        .filter(name => name.endsWith('.sock'))
        .map(name => name.slice(0, -'.sock'.length))
        .sort()
    },
    status: node => ask(socket(node), '/status', statusSchema),
    async counters(node) {
      const answer = await ask(socket(node), '/counters', countersSchema)
      return answer.ok ? { ok: true, value: answer.value.outcomes } : answer
    },
  }
}
