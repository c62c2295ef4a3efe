// Resolved rules by policy: the unit that an edit replaces. A block of a policy whose rules say nothing of the endpoint's
// own side is shared by all groups; it holds its sets as long as somebody holds it.
import { FAMILIES, type Family } from '../net/addr.ts'
import type { Rule } from '../policy/model.ts'
import type { Direction, HostHook } from '../resources/cause.ts'
import type { ActiveSets } from './active-sets.ts'
import type { ResolvedRule, SetId } from './intent.ts'
import { hasOwnSide, hostSide, ownSide, resolveRule, type SetSource } from './resolve.ts'
import type { Labelled } from './sets.ts'

export type Block = {
  readonly rules: readonly ResolvedRule[]
  /** Every set that a rule mentions, for peers. */
  readonly sets: readonly SetId[]
  readonly scopes: readonly string[]
  /** How many hold it. */
  users: number
}

/** The rules of one policy or profile in one direction. An edit makes a new one. */
export type RuleList = {
  readonly name: string
  readonly direction: Direction
  readonly rules: readonly Rule[]
  /** Whether endpoints may see it differently. */
  readonly ownSensitive: boolean
  /** Whether both families see it alike. */
  readonly anyFamily: boolean
}

export function ruleList(name: string, direction: Direction, rules: readonly Rule[]): RuleList {
  const ownSensitive = rules.some(r => hasOwnSide(r, direction))
  const anyFamily = !ownSensitive && rules.every(r => FAMILIES.every(f => r.families.includes(f)))
  return { name, direction, rules, ownSensitive, anyFamily }
}

type Shared = Readonly<Record<Family | 'any', Map<RuleList, Block>>>

export class Blocks {
  readonly #sets: ActiveSets
  /** Shared blocks, by family and rule list; what both families see alike is one block. */
  readonly #shared: Shared = { 4: new Map(), 6: new Map(), any: new Map() }
  /** Those of lists that ask about the own side, as host endpoints ask: shared too, since there it is a matter of sets. */
  readonly #hosts: Shared = { 4: new Map(), 6: new Map(), any: new Map() }
  /** Which selectors a source asks of own addresses. */
  readonly #selects: SetSource['selects']

  constructor(sets: ActiveSets, selects: SetSource['selects']) {
    this.#sets = sets
    this.#selects = selects
  }

  /** `hook`: of a host endpoint; else the block is for `self`. */
  acquire(list: RuleList, family: Family, place: { self: Labelled; hook?: HostHook | undefined }): Block {
    const among = list.ownSensitive ? place.hook && this.#hosts : this.#shared
    const pool = among?.[list.anyFamily ? 'any' : family]
    const shared = pool?.get(list)
    const block = shared ?? this.#resolve(list, family, place)
    block.users++
    if (!shared) pool?.set(list, block)
    return block
  }

  release(list: RuleList, family: Family, block: Block): void {
    if (--block.users > 0) return
    const of = list.anyFamily ? 'any' : family
    for (const pool of [this.#shared[of], this.#hosts[of]]) if (pool.get(list) === block) pool.delete(list)
    for (const id of block.sets) this.#sets.release(id)
    for (const scope of block.scopes) this.#sets.releasePorts(scope)
  }

  /** The next `acquire` resolves anew what speaks of these; who holds the old block keeps it until it is released. */
  renew(speaks: (block: Block) => boolean): void {
    for (const pool of [this.#shared, this.#hosts].flatMap(shared => Object.values(shared))) {
      for (const [list, block] of pool) if (speaks(block)) pool.delete(list)
    }
  }

  #resolve(list: RuleList, family: Family, { self, hook }: { self: Labelled; hook?: HostHook | undefined }): Block {
    const sets: SetId[] = []
    const scopes: string[] = []
    const note = (id: SetId): SetId => {
      sets.push(id)
      return id
    }
    const source: SetSource = {
      selector: selector => note(this.#sets.acquireSelector(selector)),
      nets: nets => note(this.#sets.acquireNets(nets)),
      portName: (name, selector) => {
        const { scope, terms } = this.#sets.acquirePortName(name, selector)
        scopes.push(scope)
        for (const term of terms) note(term.peerIn!)
        return terms
      },
      service: service => note(this.#sets.acquireService(service)),
      servicePorts: service => {
        const { scope, terms } = this.#sets.acquireServicePorts(service)
        scopes.push(scope)
        for (const term of terms) note(term.peerIn!)
        return terms
      },
      selects: this.#selects,
    }
    const place = { self, direction: list.direction, family }
    const rules = list.rules.flatMap(rule => {
      const own = hook ? hostSide(rule, place, source) : ownSide(rule, place, this.#selects)
      return own ? [resolveRule(rule, place, own, source)] : []
    })
    return { rules, sets, scopes, users: 0 }
  }
}
