// The processes of the lab: the datastore's server, and on each node the agent (which starts its BIRD). They are what runs
// on real machines; only their places are the lab's.
import { request } from 'node:http'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { RESOURCE_PREFIXES } from '../../io/store/resource-watch.ts'
import type { Store } from '../../io/store/store.ts'
import { type Part, startPart } from './part.ts'
import { NODES, names } from './plan.ts'
import type { RunFolder } from './run-folder.ts'

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')
const program = (app: string): string => path.join(ROOT, 'src/apps', app, 'main.ts')

/** How long a part may take to come up, or a change to arrive everywhere. */
const PATIENCE_MS = 30_000

export type AgentStatus = {
  readonly ready: boolean
  readonly dataplane: { readonly programmedRevision: number; readonly problems: readonly string[] }
  readonly bgp: { readonly established: number; readonly peers: readonly { readonly routes: number }[] } | null
}
export type OutcomeCounter = { readonly cause: string; readonly direction: string; readonly packets: number }

export const agentSocket = (run: string, node: string): string => path.join(run, 'agents', `${node}.sock`)
/** The agents' sockets by node. */
export type AgentSockets = ReadonlyMap<string, string>
export const agentSockets = (run: string): AgentSockets =>
  new Map(NODES.map(({ name }) => [name, agentSocket(run, name)]))
export const datastoreSocket = (run: string): string => path.join(run, 'datastore.sock')

/** Starts the datastore's server; its clients wait for it by themselves. */
export const startDatastore = (folder: RunFolder): Part =>
  startPart(folder, {
    name: 'datastore',
    command: [
      ...[process.execPath, program('datastore')],
      ...['--file', path.join(folder.path, 'datastore.db'), '--socket', datastoreSocket(folder.path)],
    ],
  })

/** Starts a node's agent in the node's network namespace. Its log is rotated by itself; what it prints is kept beside. */
export const startAgent = (folder: RunFolder, prefix: string, node: string, more: readonly string[] = []): Part =>
  startPart(folder, {
    name: `agent-${node}`,
    namespace: names(prefix).node(node),
    command: [
      ...[process.execPath, program('agent'), '--node', node, '--run', folder.path],
      // Several agents share the machine: none is the one that a CNI plugin without settings means.
      ...['--no-cni-socket', '--log', path.join(folder.path, 'log', `agent-${node}.json`), ...more],
    ],
  })

/** GET of a path on a unix socket. */
export function readText(socketPath: string, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path: url, timeout: 3000 }, res => {
      let body = ''
      res.setEncoding('utf8').on('data', chunk => {
        body += chunk
      })
      res.on('end', () => resolve(body))
    })
    req.on('error', reject)
    req.on('timeout', () => req.destroy(new Error(`${socketPath} does not answer`)))
    req.end()
  })
}

/** As JSON; undefined while nobody answers. */
const get = <T>(socketPath: string, url: string): Promise<T | undefined> =>
  readText(socketPath, url).then(
    text => JSON.parse(text) as T,
    () => undefined,
  )

export const readStatus = (run: string, node: string): Promise<AgentStatus | undefined> =>
  get<AgentStatus>(agentSocket(run, node), '/status')

/** Packets counted so far, by node, direction and cause. */
export async function readCounters(agents: AgentSockets): Promise<Map<string, number>> {
  const counted = new Map<string, number>()
  for (const [name, socket] of agents) {
    const answer = await get<{ outcomes: readonly OutcomeCounter[] }>(socket, '/counters')
    for (const { cause, direction, packets } of answer?.outcomes ?? []) {
      const key = counterKey(name, direction, cause)
      counted.set(key, (counted.get(key) ?? 0) + packets)
    }
  }
  return counted
}

export const counterKey = (node: string, direction: string, cause: string): string => `${node} ${direction} ${cause}`

/** Waits until every node's agent says that something holds; the error names the nodes for which it does not. */
export async function waitForAgents(
  agents: AgentSockets,
  what: string,
  holds: (status: AgentStatus) => boolean,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const asked = [...agents].map(async ([name, socket]) => ({
      name,
      status: await get<AgentStatus>(socket, '/status'),
    }))
    const all = await Promise.all(asked)
    const missing = all.filter(({ status }) => status === undefined || !holds(status))
    if (missing.length === 0) return
    if (performance.now() > deadline) {
      const said = missing.map(({ name, status }) => `${name}: ${JSON.stringify(status ?? 'no answer')}`)
      throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s. ${said.join('; ')}`)
    }
    await delay(50)
  }
}

/** Waits until the network carries the routes of pods on all nodes: each node hears of the others' blocks. */
export async function waitUntilRouted(agents: AgentSockets): Promise<void> {
  const others = NODES.length - 1
  await waitForAgents(agents, 'BGP sessions are established and routes have come', ({ bgp }) => {
    const peers = bgp?.peers ?? []
    return bgp?.established === peers.length && peers.length > 0 && peers.every(p => p.routes >= others)
  })
}

/** Waits until every node's kernel enforces what the datastore holds now. */
export async function waitUntilEnforced(store: Store, agents: AgentSockets): Promise<void> {
  const lists = await Promise.all(RESOURCE_PREFIXES.map(prefix => store.list(prefix)))
  const revision = Math.max(...lists.flatMap(l => l.entries.map(e => e.modRevision)))
  await waitForAgents(agents, `revision ${revision} is enforced`, s => s.dataplane.programmedRevision >= revision)
}
