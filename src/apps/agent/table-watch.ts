// Sees to it that the table in the kernel stays ours: every transaction of another process on the ruleset leads to a look
// at once, what we wrote is read back, and a look is taken every so often whatever the kernel says, since notifications can be
// lost.

import { watchNft } from '../../io/kernel/nft-table.ts'
import type { Logger } from '../../io/log.ts'
import type { PolicyDataplane } from './dataplane.ts'

const PERIOD_MS = 60_000
/** After a write of ours: soon, but reading shall not take more than a tenth of a core. */
const AFTER_WRITE_MS = 50
const SHARE = 0.1

export class TableWatch {
  readonly #dataplane: PolicyDataplane
  readonly #log: Logger
  readonly #stopWatching: () => void
  readonly #timer: NodeJS.Timeout
  #scheduled: NodeJS.Immediate | undefined
  #by = new Set<string>()
  #afterWrite: NodeJS.Timeout | undefined
  #readMs = 0

  constructor(dataplane: PolicyDataplane, log: Logger) {
    this.#dataplane = dataplane
    this.#log = log
    this.#stopWatching = watchNft({
      changed: ({ pid, program }) => {
        if (pid !== process.pid) this.#look(`${program ?? 'a program'} (pid ${pid ?? 'unknown'})`)
      },
      overrun: () => {
        this.#log.warn('notifications of the kernel were lost: reading the policy table')
        this.#look('unknown: notifications were lost')
      },
    })
    this.#timer = setInterval(() => this.#dataplane.verify('unknown: found by the periodic look'), PERIOD_MS)
  }

  /** The dataplane wrote: what it wrote is read back. */
  wrote(): void {
    this.#afterWrite ??= setTimeout(
      () => {
        this.#afterWrite = undefined
        const began = performance.now()
        this.#dataplane.verify('unknown: found when reading back what was written')
        this.#readMs = performance.now() - began
      },
      AFTER_WRITE_MS + this.#readMs / SHARE,
    )
    this.#afterWrite.unref()
  }

  stop(): void {
    clearTimeout(this.#afterWrite)
    this.#stopWatching()
    clearInterval(this.#timer)
    if (this.#scheduled) clearImmediate(this.#scheduled)
  }

  /** Several transactions that were told of at once are one look. */
  #look(by: string): void {
    this.#by.add(by)
    this.#scheduled ??= setImmediate(() => {
      const who = [...this.#by].join(', ')
      this.#by = new Set()
      this.#scheduled = undefined
      this.#dataplane.verify(who)
    })
  }
}
