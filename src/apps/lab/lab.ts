// A whole lab, step by step: network, router, datastore, agents, resources, pods, routes. What `npm start` shows and what the
// cluster tests use is this.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { derived } from '../../core/resources/derive.ts'
import { ofKind, type Snapshot } from '../../core/resources/resource.ts'
import type { Bird } from '../../io/bird/bird.ts'
import { openEmbedded } from '../../io/store/embedded.ts'
import { readSnapshot } from '../../io/store/resource-watch.ts'
import type { Store } from '../../io/store/store.ts'
import {
  agentSocket,
  agentSockets,
  datastoreSocket,
  readText,
  startAgent,
  startDatastore,
  waitForAgents,
  waitUntilEnforced,
  waitUntilRouted,
} from './cluster.ts'
import { example, ginghamOk, ROOT, type Said } from './commands.ts'
import type { Probe } from './matrix.ts'
import { lastLines, type Part } from './part.ts'
import { NODES, RACKS } from './plan.ts'
import { installPlugin, type LabPod, Pods, type WiredPod } from './pods.ts'
import { type Observation, observeAndJudge, Prober } from './probing.ts'
import { startRouter } from './router.ts'
import type { RunFolder } from './run-folder.ts'
import type { Steps } from './terminal.ts'
import { buildTopology } from './topology.ts'

export class Lab {
  readonly folder: RunFolder
  readonly prefix: string
  readonly #steps: Steps
  #router: Bird | undefined
  #datastore: Part | undefined
  #store: Store | undefined
  #prober: Prober | undefined
  readonly #agents = new Map<string, Part>()
  #pods: Pods | undefined
  wired: WiredPod[] = []

  readonly #agentArgs: readonly string[]

  constructor(folder: RunFolder, prefix: string, steps: Steps, agentArgs: readonly string[] = []) {
    this.#agentArgs = agentArgs
    this.folder = folder
    this.prefix = prefix
    this.#steps = steps
  }

  get run(): string {
    return this.folder.path
  }

  get store(): Store {
    this.#store ??= openEmbedded({ socket: datastoreSocket(this.run) })
    return this.#store
  }

  /** The pods' runtime; there once the lab is built. */
  get pods(): Pods {
    return this.#pods!
  }

  agentPid(node: string): number {
    return this.#agents.get(node)!.id.pid
  }

  /** Everything up to pods that reach one another. */
  async build(): Promise<void> {
    const { folder, prefix } = this
    await this.#steps.step('network', () => {
      buildTopology(folder, prefix)
      return `${NODES.map(n => n.name).join(', ')} in ${RACKS.length} racks behind a router`
    })
    await this.#steps.step('router', async () => {
      this.#router = await startRouter(folder, prefix, w => this.#steps.say(`router: ${w}`))
      return 'BIRD as the top-of-rack router, AS 65000'
    })
    await this.#steps.step('datastore', async () => {
      const server = startDatastore(folder)
      this.#datastore = server
      const ended = server.ended.then(end => {
        throw new Error(`the datastore ended (${end}): ${lastLines(server.log)}`)
      })
      await Promise.race([this.store.list('/'), ended])
      ended.catch(() => {})
      return 'embedded server, one SQLite file'
    })
    await this.#steps.step('agents', async () => {
      for (const { name } of NODES) this.#agents.set(name, startAgent(folder, prefix, name, this.#agentArgs))
      await waitForAgents(agentSockets(this.run), 'the agents are ready', status => status.ready)
      return 'one on each node, each with its own BIRD'
    })
    await this.#steps.step('resources', async () => {
      const said = await ginghamOk(this.run, 'apply', '-f', example('lab/cluster.yaml'))
      await this.settled()
      return said.stdout.trim()
    })
    await this.#steps.step('pods', () => this.#createPods())
    await this.#steps.step('routes', async () => {
      await waitUntilRouted(agentSockets(this.run))
      return 'BGP established in both families; the network carries the routes of the pods'
    })
  }

  async #createPods(): Promise<string> {
    const plugins = new Map(
      NODES.map(({ name }) => {
        const client = path.join(ROOT, 'build/cni/gingham')
        return [name, installPlugin(this.folder, { name, agentSocket: agentSocket(this.run, name), client })]
      }),
    )
    this.#pods = new Pods(this.folder, { prefix: this.prefix, plugins })
    const { snapshot } = await readSnapshot(this.store)
    const wanted = [...ofKind(snapshot, 'Pod')].map(
      ({ metadata, spec }): LabPod => ({ namespace: metadata.namespace!, name: metadata.name, node: spec.nodeName! }),
    )
    this.wired = await Promise.all(wanted.map(pod => this.#pods!.create(pod)))
    await this.settled()
    return `${this.wired.length}, each wired by the CNI plugin`
  }

  /** What the datastore holds now, pods seen as endpoints. */
  async snapshot(): Promise<Snapshot> {
    return derived((await readSnapshot(this.store)).snapshot)
  }

  /** Waits until every node's kernel enforces what the datastore holds now. */
  settled(): Promise<void> {
    return waitUntilEnforced(this.store, agentSockets(this.run))
  }

  /** Runs `bin/gingham` with a file and waits until every node enforces the outcome. */
  async use(verb: 'create' | 'apply' | 'delete', file: string): Promise<Said> {
    const said = await ginghamOk(this.run, verb, '-f', file)
    await this.settled()
    return said
  }

  /** The same for a file that only adds, with the command and its words. */
  async create(file: string): Promise<{ readonly command: string; readonly said: string }> {
    const { stdout, stderr } = await this.use('create', file)
    return { command: 'bin/gingham create', said: `${stdout.trim()}\n${stderr.trim()}` }
  }

  /** Probes everything, judged by the oracle and by the counters of the kernel. */
  async probe(): Promise<Probe[]> {
    const snapshot = await this.snapshot()
    return observeAndJudge(() => this.observe(), { snapshot, agents: agentSockets(this.run) })
  }

  /** Probes everything; nobody else need be alive. */
  observe(): Promise<Observation[]> {
    this.#prober ??= new Prober(this.wired)
    return this.#prober.probeAll()
  }

  /** Ends a node's agent as a crash would, with what it started left behind. */
  killAgent(node: string): Promise<void> {
    return kill(this.#agents.get(node)!)
  }

  /** Without waiting for anything: the datastore may be away. `args`: of the agent, instead of the lab's. */
  launchAgent(node: string, args = this.#agentArgs): void {
    this.#agents.set(node, startAgent(this.folder, this.prefix, node, args))
  }

  async startAgent(node: string, args = this.#agentArgs): Promise<void> {
    this.launchAgent(node, args)
    await this.settled()
  }

  killDatastore(): Promise<void> {
    return kill(this.#datastore!)
  }

  /** Its clients find it again by themselves. */
  startDatastore(): void {
    this.#datastore = startDatastore(this.folder)
  }

  /** Ends a node's BIRD as a crash would; the node's agent starts the next. */
  killBird(node: string): void {
    process.kill(Number(readFileSync(path.join(this.run, 'bird', node, 'bird.pid'), 'utf8')), 'SIGKILL')
  }

  metrics(node: string): Promise<string> {
    return readText(agentSocket(this.run, node), '/metrics')
  }

  /** Ends what this process holds; the run folder's record ends the rest. */
  async stop(): Promise<void> {
    this.#prober?.close()
    this.#store?.close()
    await this.#router?.stop()
  }
}

async function kill(part: Part): Promise<void> {
  process.kill(part.id.pid, 'SIGKILL')
  await part.ended
}
