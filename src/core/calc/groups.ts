// Groups of endpoints that are guarded alike in one direction, and the blocks of rules that guard them. An edit replaces
// the edited policy's blocks and leaves the others as they are, object by object, so that followers see what changed.
import { FAMILIES, type Family } from '../net/addr.ts'
import type { Direction, HostHook, ResourceKey } from '../resources/cause.ts'
import type { Block, Blocks, RuleList } from './blocks.ts'
import { identityOf, printException } from './guard.ts'
import type { Stage } from './intent.ts'
import { ownException, ownSide, type SetSource } from './resolve.ts'
import type { Labelled } from './sets.ts'

export type LiveSource = {
  readonly kind: Stage['kind']
  readonly name: string
  readonly defaultAction: Stage['defaultAction']
  readonly staged?: true
  readonly lists: readonly RuleList[]
}

/** A stage whose rules stand in blocks, one for each policy, in order. */
export type LiveStage = Omit<LiveSource, 'lists'> & { readonly blocks: readonly Block[] }
export type LiveProgram = {
  readonly direction: Direction
  readonly family: Family
  readonly stages: readonly LiveStage[]
  readonly hook?: HostHook
}

export type LiveGroup = {
  readonly direction: Direction
  /** Of host endpoints: where it judges. */
  readonly hook?: HostHook
  readonly identity: string
  /** Its endpoints; any of them may stand for all when rules are resolved. */
  readonly endpoints: Map<ResourceKey, Labelled>
  sources: readonly LiveSource[]
  programs: Readonly<Record<Family, LiveProgram>>
  /** Where its first endpoint was before: it is likely to differ little from that. Told once, with the change that made it. */
  from: LiveGroup | undefined
  gone: boolean
}

/** A direction of workloads, or a leg of host endpoints. */
export type At = { readonly direction: Direction; readonly hook?: HostHook }
type Member = { readonly key: ResourceKey; readonly self: Labelled }

/** What is no longer wanted, and the epoch of the change that made it so. */
type Held = { readonly epoch: number; readonly release: () => void }

/**
 * Make before break: what a group held before an edit, and a group that lost its last endpoint, stay until `settle`. While
 * packets may still meet the old rules, their sets exist, so that an edit only ever refines the classes of addresses.
 * Changes are counted in epochs; what an epoch made superfluous can be given up when the kernel has moved on from it,
 * whatever came after.
 */
export class Groups {
  readonly #blocks: Blocks
  readonly #selects: SetSource['selects']
  readonly #groups = new Map<string, LiveGroup>()
  #changed = new Set<LiveGroup>()
  #taken: ReadonlySet<LiveGroup> = new Set()
  #epoch = 0
  /** The oldest first. */
  readonly #held: Held[] = []
  /** Groups without endpoints, by the epoch in which they lost the last one; the oldest first. */
  readonly #empty = new Map<LiveGroup, number>()

  constructor(blocks: Blocks, selects: SetSource['selects']) {
    this.#blocks = blocks
    this.#selects = selects
  }

  all(): Iterable<LiveGroup> {
    return this.#groups.values()
  }

  /** The number of the change that is being made, or was made last. */
  get epoch(): number {
    return this.#epoch
  }

  /** Another change begins. */
  nextEpoch(): void {
    this.#epoch++
  }

  /** Whether there is something that `settle` would give back, of whatever epoch. */
  get unsettled(): boolean {
    return this.#held.length > 0 || this.#empty.size > 0
  }

  /** Gives back what nothing uses any more since `epoch` or longer. To be called when the kernel has moved on from it. */
  settle(epoch: number): void {
    const kept = this.#held.findIndex(held => held.epoch > epoch)
    const ripe = this.#held.splice(0, kept < 0 ? this.#held.length : kept)
    for (const [group, since] of this.#empty) {
      if (since > epoch) break
      for (const family of FAMILIES) ripe.push({ epoch: since, release: this.#release(group, family) })
      this.#build(group, [], undefined)
      this.#empty.delete(group)
      this.#groups.delete(idOf(group, group.identity))
      group.gone = true
    }
    for (const { release } of ripe) release()
  }

  /** Groups that are new, whose rules changed, or that are gone, since the last call. */
  takeChanged(): ReadonlySet<LiveGroup> {
    // Else every group would keep all those before it.
    for (const group of this.#taken) group.from = undefined
    this.#taken = this.#changed
    this.#changed = new Set()
    return this.#taken
  }

  /** Puts an endpoint into the group of those that these sources guard as they guard it; `from`: where it was before. */
  join(at: At, sources: readonly LiveSource[], member: Member, from?: LiveGroup): LiveGroup {
    const identity = this.#identity(at, sources, member.self)
    const id = idOf(at, identity)
    const known = this.#groups.get(id)
    const group: LiveGroup = known ?? {
      ...at,
      identity,
      endpoints: new Map(),
      sources: [],
      programs: emptyPrograms(at),
      from,
      gone: false,
    }
    group.endpoints.set(member.key, member.self)
    this.#empty.delete(group)
    this.#groups.set(id, group)
    // Resolved for who joins: what the others' own sides are now may not have been asked yet.
    if (!known || !sameSources(known.sources, sources)) this.#replace(group, sources, member.self)
    return group
  }

  leave(group: LiveGroup, key: ResourceKey): void {
    group.endpoints.delete(key)
    if (group.endpoints.size === 0) this.#empty.set(group, this.#epoch)
  }

  /** Resolves the blocks that speak of these port names again. Every endpoint must be in the group that it belongs to now. */
  refresh(scopes: ReadonlySet<string>): void {
    if (scopes.size === 0) return
    const speaks = (block: Block): boolean => block.scopes.some(scope => scopes.has(scope))
    const touched = [...this.#groups.values()].filter(g =>
      FAMILIES.some(f => g.programs[f].stages.some(s => s.blocks.some(speaks))),
    )
    // Blocks that only wait to be released are not to be found again either.
    this.#blocks.renew(speaks)
    // A group without endpoints has none to resolve rules for: who joins it gives it its rules.
    for (const group of touched) {
      const [self] = group.endpoints.values()
      if (self) this.#replace(group, group.sources, self)
      else this.#replace(group, [])
    }
  }

  #identity({ direction, hook }: At, sources: readonly LiveSource[], self: Labelled): string {
    const exceptions: string[] = []
    // At a host endpoint the own side is a matter of sets, the same for all.
    for (const family of hook === undefined ? FAMILIES : []) {
      const place = { self, direction, family }
      for (const list of sources.flatMap(s => s.lists)) {
        if (!list.ownSensitive) continue
        for (const rule of list.rules) {
          const exception = ownException(rule, place, ownSide(rule, place, this.#selects))
          if (exception) exceptions.push(printException(rule, family, exception))
        }
      }
    }
    return identityOf(sources, exceptions)
  }

  /** Gives a group its rules; what it held is given back by `settle`. */
  #replace(group: LiveGroup, sources: readonly LiveSource[], self?: Labelled): void {
    for (const family of FAMILIES) this.#held.push({ epoch: this.#epoch, release: this.#release(group, family) })
    this.#build(group, sources, self)
  }

  #build(group: LiveGroup, sources: readonly LiveSource[], self: Labelled | undefined): void {
    const at = atOf(group)
    const place = { self: self!, hook: group.hook }
    const programs = FAMILIES.map(family => {
      const stages = sources.map(({ lists, ...stage }): LiveStage => {
        return { ...stage, blocks: lists.map(list => this.#blocks.acquire(list, family, place)) }
      })
      return [family, { ...at, family, stages }] as const
    })
    group.sources = sources
    group.programs = Object.fromEntries(programs) as unknown as Record<Family, LiveProgram>
    this.#changed.add(group)
  }

  /** What gives back the blocks that a group holds now. */
  #release(group: LiveGroup, family: Family): () => void {
    const { sources } = group
    const { stages } = group.programs[family]
    return () => {
      for (const [i, { blocks }] of stages.entries()) {
        for (const [k, block] of blocks.entries()) this.#blocks.release(sources[i]!.lists[k]!, family, block)
      }
    }
  }
}

const atOf = ({ direction, hook }: At): At => ({ direction, ...(hook && { hook }) })
const idOf = ({ direction, hook }: At, identity: string): string => `${hook ?? ''} ${direction} ${identity}`

const emptyPrograms = (at: At): Record<Family, LiveProgram> => ({
  4: { ...at, family: 4, stages: [] },
  6: { ...at, family: 6, stages: [] },
})

type Head = Omit<LiveSource, 'lists'>
/** Whether two stages are the same but for their rules. */
export const sameHead = (s: Head, t: Head | undefined): boolean =>
  t !== undefined &&
  s.kind === t.kind &&
  s.name === t.name &&
  s.defaultAction === t.defaultAction &&
  s.staged === t.staged

const sameSources = (a: readonly LiveSource[], b: readonly LiveSource[]): boolean =>
  a.length === b.length &&
  a.every((s, i) => {
    const t = b[i]!
    return sameHead(s, t) && s.lists.length === t.lists.length && s.lists.every((list, k) => list === t.lists[k])
  })
