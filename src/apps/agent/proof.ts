// Proves again and again that the kernel's ruleset means what the resources say: some time after every change, and every so
// often without one. What it finds is told; the table is read and put right; what it does not understand is never green.
import type { Worker } from 'node:worker_threads'
import type { Logger } from '../../io/log.ts'
import { startWorker } from '../../io/worker.ts'
import type { Metrics } from './metrics.ts'
import type { ProofAnswer, ProofChanges, ProofData, ProofRequest } from './proof-worker.ts'
import type { ReadBack } from './read-back.ts'

/** After a change the kernel is given time to settle; without one it is proved anew after this. */
const AFTER_CHANGE_MS = 3000
const PERIOD_MS = 60_000
/** A proof may take so much of a core at most. */
const SHARE = 0.1
/** A thread that died is started anew after this; the longer the more often it died without an answer. */
const RESTART_MS = [1000, 5000, 30_000, 60_000]
/** A proof that takes longer than this is told: what status shows is that much older. */
const SLOW_MS = 60_000
/** A thread that has not answered for so long hangs: it is ended, and started anew like one that died. */
const HUNG_MS = 15 * 60_000
/** Problems of a sort that status shows. */
const SHOWN = 2

export type ProofStatus = {
  /** When a proof was last finished, whatever it said. */
  readonly at: Date | undefined
  readonly proved: boolean | undefined
  readonly classes: number
  readonly ms: number
  /** The ruleset meant something else than the resources, and did so still after it was put right. */
  readonly differs: boolean
}

/** Who wrote the table, and wants to know how it was found. */
export type ReadBackTarget = {
  readonly writes: number
  compare(read: ReadBack, since: number): void
}

export type ProofOptions = {
  readonly node: string
  /** Whether the node has a canary, which is part of what it must enforce. */
  readonly canary?: boolean
  readonly log: Logger
  readonly metrics: Metrics
  readonly dataplane: ReadBackTarget
  /** The ruleset means something else than the resources. */
  readonly onDifference: () => void
  /** All that was told so far, for a thread that begins in the midst. */
  readonly known: () => ProofChanges
  /** How the thread is started; a worker reads the ruleset of the namespace in which it was started. */
  readonly start?: (data: ProofData) => Worker
  readonly restartMs?: readonly number[]
  readonly slowMs?: number
  readonly hungMs?: number
}

const startProof = (workerData: ProofData): Worker => startWorker('proof-worker', import.meta.url, { workerData })

export class ProofLoop {
  readonly #options: ProofOptions
  /** None while it waits to be started anew. */
  #worker: Worker | undefined
  #restartTimer: NodeJS.Timeout | undefined
  /** Why the thread ends, if it does. */
  #end = ''
  /** Since the last answer. */
  #deaths = 0
  /** Differences found one after the other. */
  #different = 0
  readonly #log: Logger
  readonly #metrics: Metrics
  readonly #onDifference: () => void
  readonly #dataplane: ReadBackTarget
  #revision = -1
  #timer: NodeJS.Timeout | undefined
  #due = Number.POSITIVE_INFINITY
  /** Since when a proof is at work, by the clock of `performance`. */
  #askedAt: number | undefined
  #hungTimer: NodeJS.Timeout | undefined
  #notBefore = 0
  #last: (ProofAnswer & { at: Date }) | undefined
  #stopped = false

  constructor(options: ProofOptions) {
    this.#log = options.log
    this.#metrics = options.metrics
    this.#onDifference = options.onDifference
    this.#dataplane = options.dataplane
    this.#options = options
    this.#start()
  }

  #start(): void {
    const { node, canary = false, start = startProof } = this.#options
    const worker = start({ node, canary })
    this.#worker = worker
    this.#end = 'it stopped'
    worker.on('message', (answer: ProofAnswer) => this.#answered(answer))
    worker.on('error', error => {
      this.#end = error instanceof Error ? error.message : String(error)
    })
    worker.on('exit', () => this.#died(this.#end))
    worker.unref()
  }

  /** Resources or interfaces changed; the kernel follows. */
  changed(changes: ProofChanges, revision: number): void {
    this.#revision = revision
    this.#post({ kind: 'changes', ...changes })
    this.#schedule(AFTER_CHANGE_MS)
  }

  status(): ProofStatus {
    const last = this.#last
    const differs = this.#different > 1
    return { at: last?.at, proved: last?.proved, classes: last?.classes ?? 0, ms: last?.ms ?? 0, differs }
  }

  /** One line each, few of them; all of it, with the packets' ways, is in the log. */
  get problems(): string[] {
    return [...this.#slow(), ...this.#found()]
  }

  #slow(): string[] {
    const ms = this.#askedAt === undefined ? 0 : performance.now() - this.#askedAt
    if (ms < (this.#options.slowMs ?? SLOW_MS)) return []
    return [`a proof has been at work for ${Math.round(ms / 1000)} s: what status says of proofs is older than that`]
  }

  #found(): string[] {
    const last = this.#last
    if (!last) return []
    if (last.error) return [`not proved: ${last.error}`]
    const lines = (kind: string, of: readonly string[]): string[] => [
      ...of.slice(0, SHOWN).map(text => `${kind}: ${text.split('\n')[0]}`),
      ...(of.length > SHOWN ? [`${kind}: ${of.length - SHOWN} sorts of packets more`] : []),
    ]
    return [...lines('the kernel differs', last.differences), ...lines('not proved', last.notUnderstood)]
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#restartTimer)
    clearTimeout(this.#hungTimer)
    await this.#worker?.terminate()
  }

  #post(request: ProofRequest): void {
    // A thread that is still to be started gets everything then.
    this.#worker?.postMessage(request)
  }

  /** In so many milliseconds, or when it is due already. */
  #schedule(ms: number): void {
    const now = performance.now()
    const due = Math.max(now + ms, this.#notBefore)
    if (this.#stopped || this.#askedAt !== undefined || !this.#worker || due >= this.#due) return
    clearTimeout(this.#timer)
    this.#due = due
    this.#timer = setTimeout(() => this.#ask(), due - now)
    this.#timer.unref()
  }

  #ask(): void {
    this.#due = Number.POSITIVE_INFINITY
    this.#askedAt = performance.now()
    this.#post({ kind: 'prove', revision: this.#revision, writes: this.#dataplane.writes })
    const { hungMs = HUNG_MS } = this.#options
    this.#hungTimer = setTimeout(() => {
      this.#end = `it did not answer for ${Math.round(hungMs / 1000)} s`
      void this.#worker?.terminate()
    }, hungMs)
    this.#hungTimer.unref()
  }

  #rest(): void {
    this.#askedAt = undefined
    clearTimeout(this.#hungTimer)
  }

  /** The thread is gone, and with it its copy of the resources: not green until another one has proved. */
  #died(why: string): void {
    this.#worker = undefined
    if (this.#stopped) return
    clearTimeout(this.#timer)
    this.#due = Number.POSITIVE_INFINITY
    this.#rest()
    const waits = this.#options.restartMs ?? RESTART_MS
    const wait = waits[Math.min(this.#deaths++, waits.length - 1)]!
    this.#metrics.proofRestarts.inc()
    this.#metrics.proved.set(0)
    this.#log.error({ why, wait }, 'the proof’s thread died; it is started anew')
    const nothing = {
      revision: this.#revision,
      proved: false,
      classes: 0,
      differences: [],
      notUnderstood: [],
      ms: 0,
      writes: 0,
    }
    this.#last = { ...nothing, error: `the proof’s thread died (${why}) and is started anew`, at: new Date() }
    this.#restartTimer = setTimeout(() => {
      this.#start()
      this.#post({ kind: 'changes', ...this.#options.known() })
      this.#schedule(0)
    }, wait)
    this.#restartTimer.unref()
  }

  #answered(answer: ProofAnswer): void {
    this.#rest()
    this.#deaths = 0
    this.#notBefore = performance.now() + answer.ms / SHARE
    if (answer.readBack) this.#dataplane.compare(answer.readBack, answer.writes)
    // Something changed while it ran: the kernel may have been ahead of the copy, or behind. That they were equal counts.
    if (answer.revision !== this.#revision && !answer.proved) {
      this.#schedule(AFTER_CHANGE_MS)
      return
    }
    const before = this.#last
    this.#different = answer.differences.length > 0 ? this.#different + 1 : 0
    this.#last = { ...answer, at: new Date() }
    this.#metrics.proved.set(answer.proved ? 1 : 0)
    this.#metrics.provedClasses.set(answer.classes)
    const { proved, classes, differences, notUnderstood, error, ms } = answer
    if (!proved) this.#log.error({ differences, notUnderstood, error, ms }, 'the kernel’s ruleset is not proved')
    else if (!before?.proved) this.#log.info({ classes, ms }, 'the kernel’s ruleset is proved equal to the intent')
    if (differences.length > 0) this.#onDifference()
    this.#schedule(differences.length > 0 || answer.revision !== this.#revision ? AFTER_CHANGE_MS : PERIOD_MS)
  }
}
