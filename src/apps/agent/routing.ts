// Routes between nodes: BIRD's configuration follows the node's blocks and the BGP resources, and is loaded whenever it
// differs. The routes to this node's own pods are the CNI plugin's work; blackholes for its blocks are in BIRD's hands.
import { birdConfigOf } from '../../core/bird/node-config.ts'
import { renderBird } from '../../core/bird/render.ts'
import type { Addr } from '../../core/net/addr.ts'
import { hostPrefix, type Prefix } from '../../core/net/prefix.ts'
import type { Snapshot } from '../../core/resources/resource.ts'
import type { Bird } from '../../io/bird/bird.ts'
import type { Logger } from '../../io/log.ts'

export type OwnBlocks = { readonly own: readonly Prefix[]; readonly borrowed: readonly Addr[] }

export type PeerStatus = {
  readonly name: string
  readonly address: string
  readonly state: string
  readonly since: string | undefined
  readonly routes: number
}

const RETRY_MS = 2000
const GATHER_MS = 50

export class Routing {
  readonly #node: string
  readonly #bird: Bird
  readonly #blocksOf: () => Promise<OwnBlocks>
  readonly #log: Logger
  readonly #logFile: string
  readonly #usePodCidr: boolean
  #snapshot: Snapshot | undefined
  #running = false
  #again = false
  #stopped = false
  #problems: readonly string[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(options: {
    node: string
    bird: Bird
    blocksOf: () => Promise<OwnBlocks>
    log: Logger
    logFile: string
    usePodCidr?: boolean
  }) {
    this.#node = options.node
    this.#bird = options.bird
    this.#blocksOf = options.blocksOf
    this.#log = options.log
    this.#logFile = options.logFile
    this.#usePodCidr = options.usePodCidr ?? false
  }

  /** What could not be put into the configuration, or why BIRD refused it. */
  get problems(): readonly string[] {
    return this.#problems
  }

  want(snapshot: Snapshot): void {
    this.#snapshot = snapshot
    this.refresh()
  }

  /** Blocks may have changed. One update at a time, and a burst of changes is one: pods come faster than routes matter. */
  refresh(): void {
    this.#again = true
    if (this.#running || this.#stopped) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (!this.#running) void this.#run()
    }, GATHER_MS)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#again && !this.#stopped) {
      this.#again = false
      try {
        await this.#apply()
      } catch (error) {
        this.#problems = [`routing: ${(error as Error).message}`]
        this.#log.error({ err: error }, 'BIRD configuration failed; the one before stays in force')
        setTimeout(() => this.refresh(), RETRY_MS).unref()
      }
    }
    this.#running = false
  }

  async #apply(): Promise<void> {
    if (!this.#snapshot) return
    const { own: blocks, borrowed } = await this.#blocksOf()
    const routes = {
      node: this.#node,
      blocks,
      borrowed: borrowed.map(hostPrefix),
      usePodCidr: this.#usePodCidr,
      logFile: this.#logFile,
    }
    const wanted = birdConfigOf(this.#snapshot, routes)
    if (!wanted) {
      this.#problems = [`Node ${this.#node} has no BGP address (spec.bgp): no routes are exchanged`]
      return
    }
    this.#problems = wanted.problems.map(p => `routing: ${p.path}: ${p.message}`)
    await this.#bird.apply(renderBird(wanted.config))
  }

  async peers(): Promise<PeerStatus[]> {
    if (!this.#bird.up) return []
    const protocols = await this.#bird.protocols()
    return protocols.flatMap(p => {
      if (!p.bgp) return []
      const routes = p.channels.reduce((sum, c) => sum + c.imported, 0)
      return [{ name: p.name, address: p.bgp.address, state: p.bgp.state, since: p.since, routes }]
    })
  }
}
