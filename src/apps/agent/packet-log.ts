// Lines of Log rules where the kernel's own log is silent, in a network namespace that is not the first: the rules hand
// their packets to us, and we write the line that the kernel would have written, with the rule's name, into the agent's log.
import { LOG_GROUP } from '../../core/base/register.ts'
import type { LogStep, Outcome } from '../../core/classify/outcome.ts'
import { printLogLine } from '../../core/netlink/log-line.ts'
import { logName, logPrefix } from '../../core/render/nft/log.ts'
import { printRule } from '../../core/resources/cause.ts'
import { KernelError } from '../../io/kernel/kernel-error.ts'
import { kernelLogs, type NamedPacket, watchLog } from '../../io/kernel/nflog.ts'
import type { Logger } from '../../io/log.ts'
import type { Metrics } from './metrics.ts'

const SECOND_MS = 1000
/** Of all rules together: the limit of a rule is in the kernel, and there may be thousands of rules. */
const LINES_PER_SECOND = 1000

export type PacketLogOptions = {
  readonly log: Logger
  readonly metrics: Pick<Metrics, 'logLines' | 'logLost'>
  /** What is rendered now. */
  readonly outcomes: () => Iterable<Outcome>
  /** FelixConfiguration's. */
  readonly logPrefix: () => string
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
  /** Path of the namespace; without, the process's own. */
  readonly netns?: string
}

export class PacketLog {
  readonly #options: PacketLogOptions
  /** The NFLOG group that Log rules are to use; none where the kernel's log has the lines, or nothing can. */
  readonly group: number | undefined
  #stop: (() => void) | undefined
  #retry: NodeJS.Timeout | undefined
  #stopped = false
  /** By what the kernel calls a rule. */
  #rules: Map<string, LogStep> | undefined
  #second = 0
  #lines = 0
  #lost = 0

  /** Listens from now on if that is for us to do. */
  constructor(options: PacketLogOptions) {
    this.#options = options
    if (!kernelLogs(options.netns) && this.#listen()) this.group = LOG_GROUP
  }

  /** Other rules are rendered. */
  changed(): void {
    this.#rules = undefined
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retry)
    this.#stop?.()
  }

  /** Whether the kernel has such groups. Who holds ours, perhaps an agent that is about to end, is waited for. */
  #listen(): boolean {
    const { log, netns } = this.#options
    try {
      this.#stop = watchLog(
        LOG_GROUP,
        { packets: packets => this.#write(packets), lost: count => this.#lose(count) },
        netns === undefined ? {} : { netns },
      )
      return true
    } catch (error) {
      // So the kernel says that another has it, and to a process without the right to anything, which comes nowhere here.
      if (error instanceof KernelError && error.code === 'EPERM') {
        if (!this.#retry) log.warn({ group: LOG_GROUP }, 'somebody else reads the packets of Log rules; waiting for it')
        this.#retry = setTimeout(() => {
          if (!this.#stopped) this.#listen()
        }, SECOND_MS).unref()
        return true
      }
      log.warn({ err: error }, 'Log rules are silent: the kernel logs nothing of this network namespace, nor by NFLOG')
      return false
    }
  }

  #write(packets: readonly NamedPacket[]): void {
    const { log, metrics, now } = this.#options
    const second = Math.floor(now() / SECOND_MS)
    if (second !== this.#second) {
      if (this.#lost > 0) log.warn({ lost: this.#lost }, 'lines of Log rules are missing: there were too many')
      this.#second = second
      this.#lines = 0
      this.#lost = 0
    }
    const room = Math.max(0, LINES_PER_SECOND - this.#lines)
    for (const packet of packets.slice(0, room)) log.info({ rule: this.#ruleOf(packet) }, this.#lineOf(packet))
    const written = Math.min(room, packets.length)
    this.#lines += written
    metrics.logLines.inc(written)
    if (written < packets.length) this.#lose(packets.length - written)
  }

  #lose(count: number): void {
    this.#options.metrics.logLost.inc(count)
    this.#lost += count
  }

  #lineOf(packet: NamedPacket): string {
    const step = this.#step(packet.prefix)
    const template = this.#options.logPrefix()
    return printLogLine({ ...packet, prefix: step ? logPrefix(template, step) : `${template}: ` })
  }

  #ruleOf({ prefix }: NamedPacket): string {
    const step = this.#step(prefix)
    return step ? printRule(step.rule) : prefix
  }

  /** A rule that is gone since is known by its name in the kernel alone. */
  #step(name: string): LogStep | undefined {
    this.#rules ??= new Map(
      [...this.#options.outcomes()].flatMap(({ steps }) =>
        steps.flatMap((s): [string, LogStep][] => (s.kind === 'log' ? [[logName(s.rule), s]] : [])),
      ),
    )
    return this.#rules.get(name)
  }
}
