// Sees to it that the table in the kernel stays ours: a transaction of another process on it leads to a look at once. What
// we write ourselves is read back by the proof's thread; if that did not happen for long, a look is taken here.

import { NFT_TABLE } from '../../core/base/register.ts'
import { watchNft } from '../../io/kernel/nft-table.ts'
import type { Logger } from '../../io/log.ts'
import type { PolicyDataplane } from './dataplane.ts'

const PERIOD_MS = 60_000
/** Much more than the proof's own period. */
const READ_BACK_MS = 5 * PERIOD_MS

export class TableWatch {
  readonly #dataplane: PolicyDataplane
  readonly #log: Logger
  readonly #stopWatching: () => void
  readonly #timer: NodeJS.Timeout
  #scheduled: NodeJS.Immediate | undefined
  #by = new Set<string>()

  constructor(dataplane: PolicyDataplane, log: Logger) {
    this.#dataplane = dataplane
    this.#log = log
    this.#stopWatching = watchNft({
      changed: ({ pid, program, tables }) => {
        if (pid !== process.pid && tables.has(NFT_TABLE))
          this.#look(`${program ?? 'a program'} (pid ${pid ?? 'unknown'})`)
      },
      overrun: () => {
        this.#log.warn('notifications of the kernel were lost: reading the policy table')
        this.#look('unknown: notifications were lost')
      },
    })
    this.#timer = setInterval(() => {
      const { readBackAt } = this.#dataplane.status()
      if (Date.now() - (readBackAt?.getTime() ?? 0) < READ_BACK_MS) return
      this.#dataplane.verify('unknown: found by the periodic look')
    }, PERIOD_MS)
  }

  stop(): void {
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
