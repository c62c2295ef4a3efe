// The canary: in every minute the agent sends packets between two endpoints of its own through the node's whole dataplane. One
// must arrive and be answered, two must not arrive. What goes otherwise is told at once, with what to try.
import { type CanaryFix, canaryFaults, canaryFix } from '../../core/node/canary.ts'
import { CanaryLinks } from '../../io/cni/canary-links.ts'
import type { Logger } from '../../io/log.ts'
import type { Metrics } from './metrics.ts'

/** What the allowed packet and its answer have; they take less than a millisecond on a node that is not overloaded. */
const PATIENCE_MS = 2000
/** After a round that failed the next comes sooner: is it so still? */
const FAILED_MS = 5000
/** Before there is policy in the kernel nothing is to be expected. */
const WAIT_MS = 500
/** So many rounds that failed one after the other make the node not ready. */
const NOT_READY = 2

export type CanaryOptions = {
  readonly log: Logger
  readonly metrics: Metrics
  /** Between two rounds. */
  readonly periodMs: number
  readonly isProgrammed: () => boolean
  /** A pool that holds an address of the canary. */
  readonly pool: () => string | undefined
  /** The node's network namespace, if it is not the process's own. */
  readonly hostNetns?: string
}

/** `unable`: it cannot be set up; nothing is known of the node. `off`: its addresses are a pool's. */
export type CanaryState = 'waiting' | 'ok' | 'failed' | 'unable' | 'off'

export type CanaryStatus = {
  readonly state: CanaryState
  /** In this state since. */
  readonly since: Date
  /** The last round. */
  readonly at: Date | undefined
  /** What went wrong in it. */
  readonly faults: readonly string[]
  readonly fix: CanaryFix | undefined
  /** The last round that failed, also if it is over. */
  readonly lastFailure: { readonly at: Date; readonly faults: readonly string[] } | undefined
}

export class Canary {
  readonly #options: CanaryOptions
  readonly #log: Logger
  #links: CanaryLinks | undefined
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #stopped = false
  #failedRounds = 0
  #status: CanaryStatus = {
    state: 'waiting',
    since: new Date(),
    at: undefined,
    faults: [],
    fix: undefined,
    lastFailure: undefined,
  }

  constructor(options: CanaryOptions) {
    this.#options = options
    this.#log = options.log
  }

  get status(): CanaryStatus {
    return this.#status
  }

  /** Why nobody should rely on this node; what cannot be tried is no reason. */
  get notReady(): string[] {
    return this.#failedRounds >= NOT_READY ? [`the canary failed: ${this.#status.faults.join(', ')}`] : []
  }

  start(): void {
    this.#later(0)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#running
    this.#close()
  }

  #later(ms: number): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#running = this.#next()
    }, ms)
    this.#timer.unref()
  }

  async #next(): Promise<void> {
    // Once there was policy it stays, whatever becomes of the agent's next writes.
    if (this.#status.at === undefined && !this.#options.isProgrammed()) {
      this.#later(WAIT_MS)
      return
    }
    const { periodMs } = this.#options
    await this.#round()
    this.#later(this.#status.state === 'failed' ? Math.min(FAILED_MS, periodMs) : periodMs)
  }

  async #round(): Promise<void> {
    const pool = this.#options.pool()
    if (pool !== undefined) {
      this.#close()
      const why = `the pool ${pool} holds its addresses, which pods may have`
      this.#tell('off', [why], { why, fix: 'use another pool, or start the agent with --canary 0' })
      return
    }
    const began = performance.now()
    try {
      this.#links ??= await CanaryLinks.open(this.#host)
      const links = this.#links
      const seen = await Promise.all(links.families.map(family => links.send(family, PATIENCE_MS)))
      const faults = seen.flatMap(canaryFaults)
      if (faults.length === 0) this.#tell('ok', [], undefined)
      else {
        const facts = links.look()
        this.#tell('failed', faults, canaryFix(seen, facts))
        // What is only changed stays so: pods' links may be changed alike, and the canary speaks for them.
        if (facts.links.some(link => link.state === 'gone')) this.#close()
      }
    } catch (error) {
      this.#close()
      const why = (error as Error).message
      this.#tell('unable', [`cannot be set up: ${why}`], { why, fix: 'see the agent log; it is tried again' })
    }
    this.#options.metrics.canarySeconds.observe((performance.now() - began) / 1000)
  }

  get #host(): { readonly hostNetns?: string } {
    const { hostNetns } = this.#options
    return hostNetns === undefined ? {} : { hostNetns }
  }

  #close(): void {
    this.#links?.close()
    this.#links = undefined
  }

  #tell(state: 'ok' | 'failed' | 'unable' | 'off', faults: readonly string[], fix: CanaryFix | undefined): void {
    const { metrics } = this.#options
    const before = this.#status
    const at = new Date()
    this.#failedRounds = state === 'failed' ? this.#failedRounds + 1 : 0
    metrics.canaryRuns.inc({ result: state })
    metrics.canarySuccess.set(state === 'ok' ? 1 : 0)
    if (state === 'ok') metrics.canaryLastSuccess.set(at.getTime() / 1000)
    const lastFailure = state === 'failed' ? { at, faults } : before.lastFailure
    const since = state === before.state ? before.since : at
    this.#status = { state, since, at, faults, fix, lastFailure }
    if (state === before.state && faults.join() === before.faults.join()) return
    if (state === 'ok') this.#log.info('the canary’s packets go as policy wants')
    else if (state === 'failed')
      this.#log.error({ faults, ...fix }, 'the canary’s packets go otherwise than policy wants')
    else this.#log.warn({ faults, ...fix }, 'there is no canary')
  }
}
