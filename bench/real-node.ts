// A node as it runs in a cluster, for benchmarks: the datastore with resources in it, and an agent, each a process of its own,
// the agent in a namespace with the pods. What was begun is ended by `close`, whatever failed.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startDatastore, temporaryDirectory } from '../src/apps/datastore/spawn.ts'
import { agentSocket, readText } from '../src/apps/lab/cluster.ts'
import { keyOf, type Resource } from '../src/core/resources/resource.ts'
import { encodeResource, storeKey } from '../src/core/resources/store-key.ts'
import { openEmbedded } from '../src/io/store/embedded.ts'
import type { Store } from '../src/io/store/store.ts'
import { openLab, type PodLab } from '../test/support/pod-lab.ts'
import { NODE } from './scenario.ts'

const AGENT = fileURLToPath(new URL('../src/apps/agent/main.ts', import.meta.url))
const PATIENCE_MS = 120_000
/** Writes of the datastore on their way at once. */
const AT_ONCE = 500

export const put = (store: Store, resource: Resource): (() => Promise<unknown>) => {
  const [key, text] = [storeKey(keyOf(resource)), encodeResource(resource)]
  return () => store.put(key, text)
}

type Begun = { readonly run: string; readonly store: Store; readonly lab: PodLab; readonly agent: ChildProcess }

export class RealNode {
  readonly store: Store
  readonly lab: PodLab
  readonly #run: string
  readonly #agent: ChildProcess
  readonly #undo: (() => unknown)[]

  private constructor({ run, store, lab, agent }: Begun, undo: (() => unknown)[]) {
    this.#run = run
    this.store = store
    this.lab = lab
    this.#agent = agent
    this.#undo = undo
  }

  /** The agent is started last; it may still be reading. */
  static async start(resources: readonly Resource[], lab: Parameters<typeof openLab>[0]): Promise<RealNode> {
    const undo: (() => unknown)[] = []
    try {
      const { path: run, remove } = temporaryDirectory()
      undo.push(remove)
      const datastore = await startDatastore(run)
      undo.push(() => datastore.stop())
      const store = openEmbedded({ socket: datastore.socket })
      undo.push(() => store.close())
      for (let i = 0; i < resources.length; i += AT_ONCE)
        await Promise.all(resources.slice(i, i + AT_ONCE).map(resource => put(store, resource)()))
      const pods = openLab(lab)
      undo.push(() => pods.close())
      const agent = startAgent(pods, run, datastore.socket)
      undo.push(() => stop(agent))
      return new RealNode({ run, store, lab: pods, agent }, undo)
    } catch (error) {
      for (const step of undo.reverse()) await step()
      throw error
    }
  }

  /** Until the agent has read the datastore, and programmed what it says. */
  async inSync(): Promise<void> {
    const log = join(this.#run, 'agent.log')
    const until = performance.now() + PATIENCE_MS
    while (!readFileSync(log, 'utf8').includes('in sync with the datastore')) {
      if (performance.now() > until) throw new Error(readFileSync(log, 'utf8'))
      await setTimeout(100)
    }
  }

  /** What the agent answers on its socket. */
  ask(url: string): Promise<string> {
    return readText(agentSocket(this.#run, NODE), url)
  }

  /** `ip netns exec` has become the agent. */
  get pid(): number {
    return this.#agent.pid!
  }

  async close(): Promise<void> {
    for (const step of this.#undo.reverse()) await step()
  }
}

function startAgent(lab: PodLab, run: string, datastore: string): ChildProcess {
  const log = openSync(join(run, 'agent.log'), 'a')
  const options = ['--node', NODE, '--run', run, '--datastore', datastore, '--no-bird', '--no-cni-socket']
  const netns = lab.node.split('/').at(-1)!
  return spawn('ip', ['netns', 'exec', netns, process.execPath, AGENT, ...options], { stdio: ['ignore', log, log] })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill()
  await once(child, 'exit')
}
