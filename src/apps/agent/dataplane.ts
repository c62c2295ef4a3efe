// The policy dataplane: changes of resources become changes of the kernel's table. It keeps an index of what the kernel
// holds, writes differences by the update discipline, removes what is stale when no packet can be in it any more, and
// tells who waits that an endpoint's policy is in force. On any doubt it reads the kernel again.
import type { Change } from '../../core/base/change.ts'
import { NFT_TABLE } from '../../core/base/register.ts'
import { Calculator } from '../../core/calc/calculator.ts'
import { CANARIES } from '../../core/calc/canary.ts'
import type { InterfaceChange } from '../../core/calc/host-interfaces.ts'
import type { NodeFacts } from '../../core/calc/node-facts.ts'
import { Classifier } from '../../core/classify/classifier.ts'
import type { Outcome } from '../../core/classify/outcome.ts'
import type { Addr } from '../../core/net/addr.ts'
import type { NftOp, NftSet, NftTable } from '../../core/nft/objects.ts'
import { tableDifferences } from '../../core/nft/table-difference.ts'
import { tableState } from '../../core/nft/table-state.ts'
import { planUpdate, removeStale } from '../../core/render/nft/plan.ts'
import { TableRenderer } from '../../core/render/nft/renderer.ts'
import { type Stale, TableTracker } from '../../core/render/nft/tracker.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import type { Resource } from '../../core/resources/resource.ts'
import type { Logger } from '../../io/log.ts'
import type { Metrics } from './metrics.ts'
import { type ReadBack, Writes } from './read-back.ts'

/** What the dataplane needs of the kernel; `src/io/kernel/nft-table.ts` has it. */
export type NftKernel = {
  readTable(name: string): NftTable | undefined
  /** One transaction; throws what the kernel refuses. `table`: its name, and the sets that rules look up. */
  writeBatch(ops: readonly NftOp[], table: Pick<NftTable, 'name' | 'sets'>): void
}

export type DataplaneOptions = {
  readonly node: string
  readonly kernel: NftKernel
  readonly log: Logger
  readonly metrics: Metrics
  /** The kernel acknowledged everything known so far. */
  readonly onProgrammed: () => void
  /** Whether the kernel shall let nobody else edit or flush the table (flags owner and persist, kernel 6.9). */
  readonly own?: boolean
  /** A packet that has begun its walk through the old objects has left them after this. */
  readonly quarantineMs?: number
  /** Whether the node has a canary; `canary.ts`. */
  readonly canary?: boolean
  /** The NFLOG group of Log rules; without, their lines are the kernel log's. */
  readonly logGroup?: number | undefined
}

const QUARANTINE_MS = 1000
const RETRY_MS = [100, 500, 2000, 10000]

/** Somebody changed our table: what, and who if the kernel said. It is repaired by the time this exists. */
export type ForeignEdit = {
  readonly at: Date
  readonly by: string
  readonly what: readonly string[]
}

export type DataplaneStatus = {
  /** When the whole table was last read and found, or made, to be as it should. */
  readonly readBackAt: Date | undefined
  readonly lastEdit: ForeignEdit | undefined
  readonly programmed: boolean
  readonly programmedRevision: number
  readonly lastWriteAt: Date | undefined
  readonly endpoints: number
  readonly atoms: number
  readonly rows: number
  readonly outcomes: number
  readonly problems: readonly string[]
}

export class PolicyDataplane {
  readonly #kernel: NftKernel
  readonly #log: Logger
  readonly #metrics: Metrics
  readonly #onProgrammed: () => void
  readonly #calculator: Calculator
  /** Endpoints that are nobody's. */
  readonly #canaries: number
  readonly #classifier = new Classifier()
  readonly #tracker = new TableTracker(tableState(undefined))
  readonly #renderer: TableRenderer
  /** Whether the table is to be ours alone; false once the kernel said that it cannot be. */
  #own: boolean
  /** Whether the tracker knows what the kernel holds. */
  #known = false
  /** The table that an earlier agent left, until the resources are known. */
  #adopted: NftTable | undefined
  /** What stands in our table and is not understood. */
  #foreign: readonly string[] = []
  /** When each stale object was first seen to be so. */
  readonly #staleSince = new Map<string, number>()
  /** Epochs of the calculation, and when the kernel acknowledged them; the oldest first. */
  readonly #acknowledged: { readonly epoch: number; readonly at: number }[] = []
  #acknowledgedEpoch = 0
  readonly #quarantineMs: number
  #retryTimer: NodeJS.Timeout | undefined
  #settleTimer: NodeJS.Timeout | undefined
  /** What was stale when numbers were last found unused, and still is. */
  #lingering: Set<string> | undefined
  #failures = 0
  #failure: string | undefined
  /** The last edit of our table that was not ours. */
  #lastEdit: ForeignEdit | undefined
  readonly #writes = new Writes()
  #readBackAt: Date | undefined
  #revision = -1
  #programmedRevision = -1
  /** Whether the kernel acknowledged everything that was told. Revisions do not say: one may bring several changes. */
  #inForce = false
  #lastWriteAt: Date | undefined

  constructor(options: DataplaneOptions) {
    this.#kernel = options.kernel
    this.#log = options.log
    this.#metrics = options.metrics
    this.#onProgrammed = options.onProgrammed
    this.#own = options.own ?? true
    this.#quarantineMs = options.quarantineMs ?? QUARANTINE_MS
    const { canary = false } = options
    this.#canaries = canary ? CANARIES.length : 0
    this.#calculator = new Calculator(options.node, { canary })
    this.#renderer = new TableRenderer(this.#tracker, this.#calculator, this.#classifier, {
      logGroup: options.logGroup,
    })
  }

  /** Every outcome that the table has. */
  outcomes(): Iterable<Outcome> {
    return this.#classifier.store.outcomes()
  }

  get facts(): NodeFacts {
    return this.#calculator.facts
  }

  /** How FelixConfiguration wants lines of Log rules to begin. */
  get logPrefix(): string {
    return this.#calculator.facts.settings.logPrefix
  }

  /**
   * Before anything is known: a node without our table, or with one that an earlier agent did not finish, gets one in
   * which every pod interface drops (the table itself is there: reading takes ownership of it). One that packets go
   * through stays as it is until the datastore has told what it should be.
   */
  failClosed(): void {
    this.#read()
    const { wanted, found } = this.#tracker
    const bases = [...wanted.chains.values()].filter(c => c.chain.base)
    if (bases.every(c => found.chains.has(c.chain.name))) return
    this.#write()
    this.#adopted = undefined
    this.#log.info('no policy table found: pod interfaces drop until policy is known')
  }

  /** Takes changes of derived resources and of interfaces, and writes what they make of the table before it returns. */
  apply(
    changes: readonly Change<ResourceKey, Resource>[],
    revision: number,
    interfaces: readonly InterfaceChange[] = [],
  ): void {
    const stop = this.#metrics.applyTime.startTimer()
    this.#inForce = false
    const intent = this.#calculator.apply(changes, interfaces)
    this.#renderer.apply(intent, this.#classifier.apply(this.#calculator, intent))
    this.#revision = revision
    this.#adopted = undefined
    this.#reconcile()
    stop()
  }

  isProgrammed(endpoint: ResourceKey, addresses: readonly Addr[]): boolean {
    const found = this.#calculator.endpoints.get(endpoint)?.addresses
    return this.#inForce && [...(found ?? [])].sort().join() === [...addresses].sort().join()
  }

  status(): DataplaneStatus {
    return {
      programmed: this.#failure === undefined && this.#programmedRevision >= 0,
      programmedRevision: this.#programmedRevision,
      lastWriteAt: this.#lastWriteAt,
      readBackAt: this.#readBackAt,
      lastEdit: this.#lastEdit,
      endpoints: this.#calculator.endpoints.size - this.#canaries,
      atoms: this.#classifier.atoms.size,
      rows: this.#classifier.store.rowCount,
      outcomes: this.#classifier.store.outcomeCount,
      problems: [
        ...(this.#failure === undefined ? [] : [this.#failure]),
        ...this.#calculator.problems,
        ...this.#classifier.cut(),
      ],
    }
  }

  /** How much was written; who reads the table elsewhere notes it before. */
  get writes(): number {
    return this.#writes.count
  }

  /** Compares what another thread read with what was written; `since`: `writes` before it read. Reads here only if it differs. */
  compare(read: ReadBack, since: number): void {
    if (!this.#known || this.#failure !== undefined) return
    if (!this.#writes.differs(this.#tracker.found, read, since)) {
      this.#readBackAt = new Date()
      return
    }
    const before = this.#lastEdit
    this.verify('unknown: found when reading it back')
    // Somebody undid it meanwhile, or the two readings are not alike.
    if (this.#lastEdit === before) this.#log.warn('the policy table was found changed, and at a second look was not')
  }

  /**
   * Reads the whole table and compares it with what was written. What somebody else changed is told in words and put right
   * at once. `by`: who did it, as far as the kernel says. `anew`: compare what is wanted too, not only what was written.
   */
  verify(by = 'unknown', { anew = false } = {}): void {
    if (!this.#known) return
    try {
      const table = this.#kernel.readTable(NFT_TABLE)
      const found = tableState(table)
      const unknown = (table?.unknown ?? []).map(u => `${u.kind} ${u.object} is not ours: ${u.reason}`)
      const what = [...tableDifferences(this.#tracker.found, found), ...unknown]
      if (what.length > 0) {
        this.#lastEdit = { at: new Date(), by, what }
        this.#metrics.foreignEdits.inc()
        this.#log.error({ by, what }, 'somebody else changed the policy table; putting it right')
        this.#foreign = unknown
      }
      if (what.length > 0 || anew) this.#tracker.reset(found)
      this.#writes.known()
      this.#readBackAt = new Date()
      if (what.length === 0 && !anew) return
      // What the resources want is not known yet: the table is made again what it was when it was found.
      if (this.#revision < 0 && this.#adopted) {
        this.#restore(this.#adopted)
        return
      }
    } catch (error) {
      this.#known = false
      this.#log.error({ err: error }, 'the policy table cannot be read back')
    }
    this.#reconcile()
  }

  stop(): void {
    clearTimeout(this.#retryTimer)
    clearTimeout(this.#settleTimer)
  }

  /** When the oldest of what is there only for packets on their way is ripe; changes that come meanwhile do not put it off. */
  #settleLater(): void {
    const [acknowledged] = this.#acknowledged
    const [stale] = this.#staleSince.values()
    const oldest = Math.min(acknowledged?.at ?? Number.POSITIVE_INFINITY, stale ?? Number.POSITIVE_INFINITY)
    if (this.#settleTimer !== undefined || oldest === Number.POSITIVE_INFINITY) return
    // Under a stream of changes some of them at once. A timer may be a bit early.
    const wait = Math.max(oldest + this.#quarantineMs - performance.now() + 1, this.#quarantineMs / 4)
    this.#settleTimer = setTimeout(() => {
      this.#settleTimer = undefined
      // A failed write is tried again by its own timer, and settled after that.
      if (this.#failure === undefined) this.#settle()
    }, wait)
  }

  /** What was kept for packets that have left the old objects is given up, and what is stale for as long removed. */
  #settle(): void {
    const ripe = performance.now() - this.#quarantineMs
    let epoch: number | undefined
    while (this.#acknowledged[0] && this.#acknowledged[0].at <= ripe) epoch = this.#acknowledged.shift()!.epoch
    if (epoch !== undefined) {
      const intent = this.#calculator.settle(epoch)
      this.#renderer.apply(intent, this.#classifier.apply(this.#calculator, intent))
    }
    this.#reconcile()
    if (this.#known) this.#forgetNumbers()
  }

  /** Numbers are given again when everything that was stale while nothing used them is gone from the kernel. */
  #forgetNumbers(): void {
    const stale = new Set([...this.#tracker.stale].map(s => s.id))
    if (this.#lingering === undefined) {
      this.#renderer.markUnused()
      this.#lingering = stale
    }
    for (const id of this.#lingering) if (!stale.has(id)) this.#lingering.delete(id)
    if (this.#lingering.size > 0) return
    this.#renderer.forgetUnused()
    this.#lingering = undefined
  }

  #reconcile(): void {
    try {
      this.#read()
      this.#write()
      this.#programmedRevision = this.#revision
      this.#inForce = this.#revision >= 0
      this.#failures = 0
      this.#failure = undefined
    } catch (error) {
      this.#failure = `writing the policy table failed: ${(error as Error).message}`
      this.#known = false
      this.#inForce = false
      this.#metrics.failures.inc()
      const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]!
      this.#log.error({ err: error, wait }, this.#failure)
      // What was written of it may have been met by packets since: what is stale is so from when that is known again.
      this.#staleSince.clear()
      this.#retryTimer ??= setTimeout(() => {
        this.#retryTimer = undefined
        this.#reconcile()
      }, wait)
      return
    }
    clearTimeout(this.#retryTimer)
    this.#retryTimer = undefined
    const { epoch, unsettled } = this.#calculator
    if (!unsettled) this.#acknowledged.length = 0
    else if (epoch > this.#acknowledgedEpoch) this.#acknowledged.push({ epoch, at: performance.now() })
    this.#acknowledgedEpoch = epoch
    this.#report()
    this.#onProgrammed()
    this.#settleLater()
  }

  #report(): void {
    const { endpoints, atoms, rows, outcomes, programmedRevision } = this.status()
    this.#metrics.activeLocalEndpoints.set(endpoints)
    this.#metrics.atoms.set(atoms)
    this.#metrics.rows.set(rows)
    this.#metrics.outcomes.set(outcomes)
    this.#metrics.programmedRevision.set(programmedRevision)
  }

  #restore(table: NftTable): void {
    const { create, move, stale } = planUpdate(this.#tracker.found, table)
    const send = (batch: readonly NftOp[]): void => {
      if (batch.length > 0) this.#kernel.writeBatch(batch, table)
    }
    for (const batch of [...create, ...move]) send(batch)
    send(removeStale(this.#tracker.found, stale))
    this.#known = false
    this.#read()
  }

  /** What the kernel holds, read if that is in doubt. */
  #read(): void {
    if (this.#known) return
    const table = this.#kernel.readTable(NFT_TABLE)
    this.#readBackAt = new Date()
    this.#foreign = table?.unknown?.map(u => `${u.kind} ${u.object}: ${u.reason}`) ?? []
    this.#tracker.reset(tableState(table))
    this.#writes.known()
    this.#known = true
    if (this.#revision < 0 && table && table.chains.length > 0) this.#adopted ??= table
    if (this.#own) this.#takeOwnership()
  }

  /** Creates the table or adopts the one that an earlier agent left. */
  #takeOwnership(): void {
    const take: NftOp[] = [{ op: 'add-table', owned: true }]
    try {
      this.#kernel.writeBatch(take, { name: NFT_TABLE, sets: [] })
      this.#wrote(take)
    } catch (error) {
      // The kernel is older than the flags, or an agent without them made the table; anything else is tried again.
      if (!(error as { isUnsupported?: boolean }).isUnsupported) throw error
      this.#own = false
      const why = (error as Error).message
      this.#log.warn({ why }, 'the table cannot be made ours alone: edits by others are repaired, not refused')
    }
  }

  #write(): void {
    if (this.#foreign.length > 0 || this.#tracker.needsRebuild) {
      this.#log.warn({ foreign: this.#foreign }, 'the table holds what we did not write: writing it anew')
      this.#tracker.reset(tableState(undefined))
      const { create, move } = this.#tracker.plan()
      this.#send([{ op: 'delete-table' }, ...create.flat(), ...move.flat()])
      this.#foreign = []
    } else {
      const { create, move } = this.#tracker.plan()
      for (const batch of [...create, ...move]) this.#send(batch)
    }
    this.#removeStale()
  }

  #removeStale(): void {
    const now = performance.now()
    const stale = [...this.#tracker.stale]
    const ids = new Set(stale.map(s => s.id))
    for (const id of this.#staleSince.keys()) if (!ids.has(id)) this.#staleSince.delete(id)
    for (const id of ids) if (!this.#staleSince.has(id)) this.#staleSince.set(id, now)
    const isRipe = (s: Stale): boolean => now - this.#staleSince.get(s.id)! >= this.#quarantineMs
    const ripe = stale.filter(isRipe)
    if (ripe.length === 0) return
    this.#send(this.#tracker.removal(ripe))
    for (const s of ripe) this.#staleSince.delete(s.id)
  }

  #send(ops: readonly NftOp[]): void {
    const batch = ops.map(op => (op.op === 'add-table' ? { ...op, owned: this.#own } : op))
    this.#kernel.writeBatch(batch, { name: NFT_TABLE, sets: this.#lookedUp(batch) })
    this.#wrote(batch)
    this.#lastWriteAt = new Date()
    this.#metrics.nftCalls.inc()
    for (const op of batch) {
      if (op.op === 'add-elements') this.#metrics.elementsAdded.inc(op.elements.length)
      if (op.op === 'delete-elements') this.#metrics.elementsDeleted.inc(op.elements.length)
    }
  }

  #wrote(batch: readonly NftOp[]): void {
    this.#tracker.wrote(batch)
    this.#writes.wrote(batch)
  }

  /** The sets that the rules of a batch may look up. */
  #lookedUp(batch: readonly NftOp[]): NftSet[] {
    const writesRules = batch.some(op => op.op === 'add-chain' || op.op === 'replace-rules')
    return writesRules ? [...this.#tracker.wanted.sets.values()].map(s => s.set) : []
  }
}
