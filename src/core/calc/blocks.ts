// Resolved rules by policy: the unit that an edit replaces. A block of a policy whose rules say nothing of the endpoint's
// own side is shared by all groups; it holds its sets as long as somebody holds it.
import { FAMILIES, type Family } from '../net/addr.ts'
import type { Rule } from '../policy/model.ts'
import type { Direction } from '../resources/cause.ts'
import type { ActiveSets } from './active-sets.ts'
import type { ResolvedRule, SetId } from './intent.ts'
import { hasOwnSide, ownSide, resolveRule, type SetSource } from './resolve.ts'
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

export class Blocks {
  readonly #sets: ActiveSets
  /** Shared blocks, by family and rule list; what both families see alike is one block. */
  readonly #shared: Readonly<Record<Family | 'any', Map<RuleList, Block>>> = {
    4: new Map(),
    6: new Map(),
    any: new Map(),
  }
  /** Which selectors a source asks of own addresses. */
  readonly #selects: SetSource['selects']

  constructor(sets: ActiveSets, selects: SetSource['selects']) {
    this.#sets = sets
    this.#selects = selects
  }

  acquire(list: RuleList, family: Family, self: Labelled): Block {
    const shared = this.#shared[list.anyFamily ? 'any' : family]
    const known = list.ownSensitive ? undefined : shared.get(list)
    const block = known ?? this.#resolve(list, family, self)
    block.users++
    if (!known && !list.ownSensitive) shared.set(list, block)
    return block
  }

  release(list: RuleList, family: Family, block: Block): void {
    if (--block.users > 0) return
    const shared = this.#shared[list.anyFamily ? 'any' : family]
    if (shared.get(list) === block) shared.delete(list)
    for (const id of block.sets) this.#sets.release(id)
    for (const scope of block.scopes) this.#sets.releasePorts(scope)
  }

  /** The next `acquire` resolves anew what speaks of these; who holds the old block keeps it until it is released. */
  renew(speaks: (block: Block) => boolean): void {
    for (const shared of Object.values(this.#shared)) {
      for (const [list, block] of shared) if (speaks(block)) shared.delete(list)
    }
  }

  #resolve(list: RuleList, family: Family, self: Labelled): Block {
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
      const own = ownSide(rule, place, this.#selects)
      return own ? [resolveRule(rule, place, own, source)] : []
    })
    return { rules, sets, scopes, users: 0 }
  }
}
