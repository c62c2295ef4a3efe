// The space of packets: a few dimensions, each a finite list of classes of values that nobody can tell apart, each with a
// representative. A box is a product of sub-domains. Judges walk a box as if it were one packet and `ask`; where members
// of the box would answer differently, the walk goes on with one part, and the others are put on the stack to be walked
// from the start. So the leaves of all walks are a partition of the space, made only as fine as the questions were.
import type { Prim } from './raw.ts'

export const DIMS = ['iif', 'oif', 'src', 'dst', 'proto', 'sport', 'dport', 'type', 'code'] as const
export type Dim = (typeof DIMS)[number]

/** A class of values of one dimension. `value` is a member, as the bytes of its header field read big-endian. */
export type Cls = {
  readonly value: Prim
  /** For people, and for names. */
  readonly label: string
  /** Which of the intent's address sets its members are in (src and dst only). */
  readonly memberOf?: ReadonlySet<string>
}

type Part = { readonly answer: unknown; readonly domain: Domain }

/** A set of classes of one dimension. Its partitions are remembered: equal questions to equal domains cost one lookup. */
export class Domain {
  readonly members: readonly Cls[]
  readonly #parts = new Map<string, readonly Part[]>()
  readonly #derived = new Map<string, unknown>()

  constructor(members: readonly Cls[]) {
    this.members = members
  }

  split(key: string, question: (c: Cls) => unknown): readonly Part[] {
    const known = this.#parts.get(key)
    if (known) return known
    const groups = new Map<unknown, Cls[]>()
    for (const c of this.members) {
      const answer = question(c)
      const group = groups.get(answer)
      if (group) group.push(c)
      else groups.set(answer, [c])
    }
    const parts = [...groups].map(([answer, members]) => ({
      answer,
      domain: groups.size === 1 ? this : new Domain(members),
    }))
    this.#parts.set(key, parts)
    return parts
  }

  /** Something computed from the members once. */
  derive<T>(key: string, compute: (members: readonly Cls[]) => T): T {
    if (!this.#derived.has(key)) this.#derived.set(key, compute(this.members))
    return this.#derived.get(key) as T
  }
}

export type Domains = Readonly<Record<Dim, Domain>>
/** Classes by value, whatever a box has been narrowed to. */
export type Locate = { readonly address: (value: Prim) => Cls; readonly port: (value: number) => Cls }

/** `choices`: the way taken at each test whose answer nobody knows, in the order of the walk. */
export type Box = { readonly domains: Domains; readonly choices: readonly boolean[] }

/** What a judge may do with a walk. */
export type Questions = {
  readonly domains: Domains
  ask<T>(dim: Dim, key: string, question: (c: Cls) => T): T
}

/** One walk of a box. Its domains narrow as it is asked. */
export class Walk implements Questions {
  readonly domains: { [D in Dim]: Domain }
  readonly #stack: Box[]
  readonly #choices: boolean[]
  #chosen = 0
  /** What was not understood and left open; each was answered one way in this walk, the other way in another. */
  readonly doubts: string[] = []

  constructor(box: Box, stack: Box[]) {
    this.domains = { ...box.domains }
    this.#choices = [...box.choices]
    this.#stack = stack
  }

  ask<T>(dim: Dim, key: string, question: (c: Cls) => T): T {
    const domain = this.domains[dim]
    if (domain.members.length === 1) return question(domain.members[0]!)
    const parts = domain.split(key, question)
    for (let i = 1; i < parts.length; i++) {
      this.#stack.push({ domains: { ...this.domains, [dim]: parts[i]!.domain }, choices: [...this.#choices] })
    }
    this.domains[dim] = parts[0]!.domain
    return parts[0]!.answer as T
  }

  /** The same walk for whoever comes after a translation of the destination. */
  translated(to: { readonly dst: Cls; readonly dport?: Cls }): Questions {
    const given: { readonly [D in Dim]?: Cls } = to
    const one = Object.fromEntries(Object.entries(to).map(([dim, c]) => [dim, new Domain([c])]))
    return {
      domains: { ...this.domains, ...one },
      ask: (dim, key, question) => {
        const c = given[dim]
        return c ? question(c) : this.ask(dim, key, question)
      },
    }
  }

  /** A question that cannot be answered: both ways are walked. */
  doubt(what: string): boolean {
    if (this.#chosen === this.#choices.length) {
      this.#stack.push({ domains: { ...this.domains }, choices: [...this.#choices, false] })
      this.#choices.push(true)
    }
    this.doubts.push(what)
    return this.#choices[this.#chosen++]!
  }

  box(): Box {
    return { domains: { ...this.domains }, choices: [] }
  }
}

/** A walk with a doubt counts as so many: there may be endless ways through rules that nobody understands. */
const DOUBTFUL = 20

/** Walks every part of the boxes; `false` when that took more walks than allowed (the rest was not walked). */
export function explore(boxes: readonly Box[], budget: { left: number }, walk: (w: Walk) => void): boolean {
  const stack = boxes.filter(b => DIMS.every(d => b.domains[d].members.length > 0))
  for (let box = stack.pop(); box; box = stack.pop()) {
    if (budget.left-- <= 0) return false
    const w = new Walk(box, stack)
    walk(w)
    if (w.doubts.length > 0) budget.left -= DOUBTFUL - 1
  }
  return true
}
