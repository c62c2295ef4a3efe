// The policy dataplane: the newest snapshot becomes the kernel's table. It keeps an index of what it found and wrote,
// writes the difference by the update discipline, removes what is stale when no packet can be in it any more, and
// tells who waits that an endpoint's policy is in force. On any doubt it reads the kernel again.
import { NFT_TABLE } from '../../core/base/register.ts'
import { computeIntent } from '../../core/calc/compute.ts'
import { type Classification, classify } from '../../core/classify/classify.ts'
import type { Addr } from '../../core/net/addr.ts'
import { canonicalChain } from '../../core/nft/canonical.ts'
import type { NftOp, NftTable } from '../../core/nft/objects.ts'
import { tableState } from '../../core/nft/table-state.ts'
import { forgetUnused, NO_NUMBERS, type Numbers, policyTable } from '../../core/render/nft/table.ts'
import { type Stale, TableTracker } from '../../core/render/nft/tracker.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import type { Snapshot } from '../../core/resources/resource.ts'
import type { Logger } from '../../io/log.ts'
import type { Metrics } from './metrics.ts'

/** What the dataplane needs of the kernel; `src/io/kernel/nft-table.ts` has it. */
export type NftKernel = {
  readTable(name: string): NftTable | undefined
  /** One transaction; throws what the kernel refuses. `table`: its name, and the sets that rules look up. */
  writeBatch(ops: readonly NftOp[], table: Pick<NftTable, 'name' | 'sets'>): void
}

/** A packet that has begun its walk through the old objects has left them after this. */
const QUARANTINE_MS = 1000
const RETRY_MS = [100, 500, 2000, 10000]

export type DataplaneStatus = {
  readonly programmed: boolean
  readonly programmedRevision: number
  readonly lastWriteAt: Date | undefined
  readonly endpoints: number
  readonly atoms: number
  readonly rows: number
  readonly outcomes: number
  readonly problems: readonly string[]
}

export type DataplaneOptions = {
  readonly node: string
  readonly kernel: NftKernel
  readonly log: Logger
  readonly metrics: Metrics
  /** The kernel acknowledged a whole snapshot. */
  readonly onProgrammed: () => void
}

export class PolicyDataplane {
  readonly #node: string
  readonly #kernel: NftKernel
  readonly #log: Logger
  readonly #metrics: Metrics
  readonly #onProgrammed: () => void
  /** Undefined while what the kernel holds is in doubt. */
  #tracker: TableTracker | undefined
  /** What stands in our table and is not understood. */
  #foreign: readonly string[] = []
  #numbers: Numbers = NO_NUMBERS
  #wanted: { snapshot: Snapshot; revision: number } | undefined
  #classification: Classification | undefined
  /** When each stale object was first seen to be so. */
  readonly #staleSince = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #failure: string | undefined
  #programmedRevision = -1
  #lastWriteAt: Date | undefined
  /** Endpoint → its programmed addresses, joined. */
  #programmed: ReadonlyMap<ResourceKey, string> = new Map()

  constructor(options: DataplaneOptions) {
    this.#node = options.node
    this.#kernel = options.kernel
    this.#log = options.log
    this.#metrics = options.metrics
    this.#onProgrammed = options.onProgrammed
  }

  get classification(): Classification | undefined {
    return this.#classification
  }

  /**
   * Before anything is known: a node without our table gets one in which every pod interface drops. A table that is there
   * stays as it is until the datastore has told what it should be.
   */
  failClosed(): void {
    if (this.#read().found.exists) return
    this.#write(new Map())
    this.#log.info('no policy table found: pod interfaces drop until policy is known')
  }

  /** The whole desired state; written at the end of this turn of the event loop, so that a burst is one write. */
  want(snapshot: Snapshot, revision: number): void {
    this.#wanted = { snapshot, revision }
    this.#schedule(0)
  }

  isProgrammed(endpoint: ResourceKey, addresses: readonly Addr[]): boolean {
    return this.#programmed.get(endpoint) === [...addresses].sort().join(' ')
  }

  status(): DataplaneStatus {
    const c = this.#classification
    const failure = this.#failure === undefined ? [] : [this.#failure]
    return {
      programmed: this.#failure === undefined && this.#programmedRevision >= 0,
      programmedRevision: this.#programmedRevision,
      lastWriteAt: this.#lastWriteAt,
      endpoints: c?.dispatch.length ?? 0,
      atoms: c?.atoms.vectors.size ?? 0,
      rows: c?.rows.size ?? 0,
      outcomes: c?.outcomes.size ?? 0,
      problems: [...failure, ...(c?.intent.problems ?? [])],
    }
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#reconcile(), ms)
  }

  #reconcile(): void {
    if (!this.#wanted) return
    const { snapshot, revision } = this.#wanted
    const stop = this.#metrics.applyTime.startTimer()
    try {
      this.#write(snapshot)
      this.#programmedRevision = revision
      this.#failures = 0
      this.#failure = undefined
    } catch (error) {
      this.#failure = `writing the policy table failed: ${(error as Error).message}`
      this.#tracker = undefined
      this.#metrics.failures.inc()
      const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]!
      this.#log.error({ err: error, wait }, this.#failure)
      this.#schedule(wait)
      return
    }
    const programmed = this.#classification!.dispatch.map(
      ({ endpoint }) => [endpoint.key, [...endpoint.addresses].sort().join(' ')] as const,
    )
    this.#programmed = new Map(programmed)
    stop()
    this.#report(revision)
    this.#onProgrammed()
    if (this.#staleSince.size > 0) this.#schedule(QUARANTINE_MS)
  }

  #report(revision: number): void {
    const { endpoints, atoms, rows, outcomes } = this.status()
    this.#metrics.activeLocalEndpoints.set(endpoints)
    this.#metrics.atoms.set(atoms)
    this.#metrics.rows.set(rows)
    this.#metrics.outcomes.set(outcomes)
    this.#metrics.programmedRevision.set(revision)
  }

  #read(): TableTracker {
    if (this.#tracker) return this.#tracker
    const table = this.#kernel.readTable(NFT_TABLE)
    this.#foreign = table?.unknown?.map(u => `${u.kind} ${u.object}: ${u.reason}`) ?? []
    this.#tracker = new TableTracker(tableState(table))
    this.#tracker.reset(tableState(table))
    return this.#tracker
  }

  #write(snapshot: Snapshot): void {
    let tracker = this.#read()
    const classification = classify(computeIntent(snapshot, this.#node))
    const { table, numbers } = policyTable(classification, this.#numbers)
    const sets = new Map(table.sets.map(s => [s.name, s]))
    const wanted = { ...table, chains: table.chains.map(chain => canonicalChain(chain, sets)) }
    tracker.wantTable(wanted)
    if (this.#foreign.length > 0 || tracker.needsRebuild) {
      this.#log.warn({ foreign: this.#foreign }, 'the table holds what we did not write: writing it anew')
      tracker = new TableTracker(tableState(undefined))
      tracker.wantTable(wanted)
      const { create, move } = tracker.plan()
      this.#send(tracker, [{ op: 'delete-table' }, ...create.flat(), ...move.flat()], wanted)
      this.#tracker = tracker
      this.#foreign = []
    } else {
      const { create, move } = tracker.plan()
      for (const batch of [...create, ...move]) this.#send(tracker, batch, wanted)
    }
    this.#classification = classification
    this.#numbers = numbers
    this.#removeStale(tracker, wanted)
  }

  #removeStale(tracker: TableTracker, table: NftTable): void {
    const now = performance.now()
    const stale = [...tracker.stale]
    const ids = new Set(stale.map(s => s.id))
    for (const id of this.#staleSince.keys()) if (!ids.has(id)) this.#staleSince.delete(id)
    for (const id of ids) if (!this.#staleSince.has(id)) this.#staleSince.set(id, now)
    const isRipe = (s: Stale): boolean => now - this.#staleSince.get(s.id)! >= QUARANTINE_MS
    const ripe = stale.filter(isRipe)
    if (ripe.length === 0) return
    this.#send(tracker, tracker.removal(ripe), table)
    for (const s of ripe) this.#staleSince.delete(s.id)
    if (this.#staleSince.size === 0) this.#numbers = forgetUnused(this.#numbers, this.#classification!)
  }

  #send(tracker: TableTracker, batch: readonly NftOp[], table: NftTable): void {
    this.#kernel.writeBatch(batch, table)
    tracker.wrote(batch)
    this.#lastWriteAt = new Date()
    this.#metrics.nftCalls.inc()
    for (const op of batch) {
      if (op.op === 'add-elements') this.#metrics.elementsAdded.inc(op.elements.length)
      if (op.op === 'delete-elements') this.#metrics.elementsDeleted.inc(op.elements.length)
    }
  }
}
