// Proves again and again that the kernel's ruleset means what the resources say: some time after every change, and every so
// often without one. What it finds is told; the table is read and put right; what it does not understand is never green.
import { Worker } from 'node:worker_threads'
import type { Logger } from '../../io/log.ts'
import type { Metrics } from './metrics.ts'
import type { ProofAnswer, ProofChanges, ProofRequest } from './proof-worker.ts'

/** After a change the kernel is given time to settle; without one it is proved anew after this. */
const AFTER_CHANGE_MS = 3000
const PERIOD_MS = 60_000
/** A proof may take so much of a core at most. */
const SHARE = 0.1
/** Problems of a sort that status shows. */
const SHOWN = 2

export type ProofStatus = {
  /** When a proof was last finished, whatever it said. */
  readonly at: Date | undefined
  readonly proved: boolean | undefined
  readonly classes: number
  readonly ms: number
}

export class ProofLoop {
  readonly #worker: Worker
  readonly #log: Logger
  readonly #metrics: Metrics
  readonly #onDifference: () => void
  #revision = -1
  #timer: NodeJS.Timeout | undefined
  #busy = false
  #notBefore = 0
  #last: (ProofAnswer & { at: Date }) | undefined
  #stopped = false

  constructor(options: { node: string; log: Logger; metrics: Metrics; onDifference: () => void }) {
    this.#log = options.log
    this.#metrics = options.metrics
    this.#onDifference = options.onDifference
    this.#worker = new Worker(new URL('./proof-worker.ts', import.meta.url), { workerData: { node: options.node } })
    this.#worker.on('message', (answer: ProofAnswer) => this.#answered(answer))
    this.#worker.on('error', error => this.#died(error))
    this.#worker.unref()
  }

  /** Resources or interfaces changed; the kernel follows. */
  changed(changes: ProofChanges, revision: number): void {
    this.#revision = revision
    this.#post({ kind: 'changes', ...changes })
    this.#schedule(AFTER_CHANGE_MS)
  }

  status(): ProofStatus {
    const last = this.#last
    return { at: last?.at, proved: last?.proved, classes: last?.classes ?? 0, ms: last?.ms ?? 0 }
  }

  /** One line each, few of them; all of it, with the packets' ways, is in the log. */
  get problems(): string[] {
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
    await this.#worker.terminate()
  }

  #post(request: ProofRequest): void {
    this.#worker.postMessage(request)
  }

  #schedule(ms: number): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    const wait = Math.max(ms, this.#notBefore - performance.now())
    this.#timer = setTimeout(() => this.#ask(), wait)
    this.#timer.unref()
  }

  #ask(): void {
    if (this.#busy) return
    this.#busy = true
    this.#post({ kind: 'prove', revision: this.#revision })
  }

  /** The thread is gone, and with it its copy of the resources: never green again until the agent is started anew. */
  #died(error: unknown): void {
    this.#log.error({ err: error }, 'the proof ended; nothing is proved until the agent is restarted')
    this.#stopped = true
    clearTimeout(this.#timer)
    const ended = `the proof ended (${error instanceof Error ? error.message : String(error)}): restart the agent`
    const nothing = { revision: this.#revision, proved: false, classes: 0, differences: [], notUnderstood: [], ms: 0 }
    this.#last = { ...nothing, error: ended, at: new Date() }
    this.#metrics.proved.set(0)
  }

  #answered(answer: ProofAnswer): void {
    this.#busy = false
    this.#notBefore = performance.now() + answer.ms / SHARE
    // Something changed while it ran: the kernel may have been ahead of the copy, or behind. That they were equal counts.
    if (answer.revision !== this.#revision && !answer.proved) {
      this.#schedule(AFTER_CHANGE_MS)
      return
    }
    const before = this.#last
    this.#last = { ...answer, at: new Date() }
    this.#metrics.proved.set(answer.proved ? 1 : 0)
    this.#metrics.provedClasses.set(answer.classes)
    const { proved, classes, differences, notUnderstood, error, ms } = answer
    if (!proved) this.#log.error({ differences, notUnderstood, error, ms }, 'the kernel’s ruleset is not proved')
    else if (!before?.proved) this.#log.info({ classes, ms }, 'the kernel’s ruleset is proved equal to the intent')
    if (differences.length > 0) this.#onDifference()
    this.#schedule(differences.length > 0 ? AFTER_CHANGE_MS : PERIOD_MS)
  }
}
