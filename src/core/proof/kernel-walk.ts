// The kernel, told again: a box of packets goes through base chains as one packet would, with registers, lookups, jumps and
// policies, asking the walk where its members would part. The priority and the mark are followed as what they are made
// from (`pod4` of the source), so that a box is split by what they lead to and not by each number.

import type { SetNode } from './lookup-set.ts'
import type { ElementModel, SetModel, Verdict } from './model.ts'
import type { Destination } from './nat.ts'
import { type ChainProgram, CMP, ordered, type RuleProgram, type Step } from './program.ts'
import { type Prim, prim } from './raw.ts'
import type { Cls, Dim, Locate, Walk } from './space.ts'
import { type Among, applyOp, applyOps, type Op, type Piece, type StateName, swap4 } from './value.ts'

/** What a piece is for the packets of a box: one datum, or a function of one dimension, named by `key`. */
type Value =
  | { readonly kind: 'const'; readonly value: Prim; readonly size: number }
  | {
      readonly kind: 'of'
      readonly dim: Dim
      readonly key: string
      readonly get: (c: Cls) => Prim
      readonly size: number
    }
  | { readonly kind: 'opaque'; readonly what: string; readonly size: number; readonly among?: Among }

export type Hop = { readonly chain: ChainProgram; readonly rule?: RuleProgram; readonly verdict: string }

export type KernelResult = {
  /** `cut`: the walk reached the chain where another proof takes over. */
  readonly verdict: 'accept' | 'drop' | 'cut' | 'unknown'
  /** Why it is unknown. */
  readonly what?: string
  /** Comments of the counting rules of our table on the way: logs, then the deciding cause, of each direction. */
  readonly causes: readonly string[]
  readonly path: readonly Hop[]
  /** What became of the source first, in words; `translation`: of the destination, to what is not known. */
  readonly nat?: string
  /** Whose chain did that. */
  readonly natBy?: ChainProgram
  /** The destination that the packet was given on its way: all later hooks saw this one. */
  readonly to?: Translated
  /** Whether connection tracking passes it over from here on. */
  readonly untracked: boolean
  /** The mark that it has at the end; undefined if that is not known. */
  readonly mark: number | undefined
}
export type Translated = { readonly dst: Cls; readonly dport?: Cls }

/** ct state bits as nft has them. */
export const CT = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const
const CONNTRACK_PRIORITY = -200
/** IPS_*: the translations, and all that are known to be unset in a connection's first packet (expected to confirmed). */
const STATUS = { snat: 0x10, dnat: 0x20, known: 0x3f } as const
/** The kernel has no circles of chains; what is read may have been changed meanwhile. */
const MAX_HOPS = 10_000

export type KernelOptions = {
  readonly family: 4 | 6
  readonly ctState: number
  /** What is known of priority and mark at the beginning; nothing if absent. */
  readonly mark?: number
  /** Absent: translations are not followed. */
  readonly locate?: Locate
  /** Stop at a `goto` to this chain when the outgoing interface is one of these. */
  readonly cut?: { readonly chain: ChainProgram; readonly isCut: (c: Cls) => boolean }
}

type State = Record<StateName, Value>
type Frame = { readonly chain: ChainProgram; next: number }
type Ended = { readonly verdict: KernelResult['verdict']; readonly what?: string }

export class KernelWalk {
  readonly #w: Walk
  readonly #o: KernelOptions
  readonly #state: State
  readonly #causes: string[] = []
  readonly #path: Hop[] = []
  #nat: Pick<KernelResult, 'nat' | 'natBy'> | undefined
  #to: Translated | undefined
  #hook = ''
  #ct: number
  #early = false
  #untracked = false
  #slots: Value[] = []

  constructor(w: Walk, options: KernelOptions) {
    this.#w = w
    this.#o = options
    this.#ct = options.ctState
    const unknown = (what: string): Value => ({ kind: 'opaque', what, size: 4 })
    this.#state = {
      priority: unknown('the priority a packet came with'),
      mark: options.mark === undefined ? unknown('the mark a packet came with') : num(options.mark),
    }
  }

  /** Through base chains of one or several hooks, in this order; a drop ends it. */
  run(bases: readonly ChainProgram[]): KernelResult {
    for (const base of bases) {
      // Only a connection's first packet comes through these.
      if (base.base!.type === 'nat' && (this.#o.ctState !== CT.new || this.#untracked)) continue
      const ended = this.#base(base, base)
      if (ended.verdict !== 'accept') return this.#result(ended)
    }
    return this.#result({ verdict: 'accept' })
  }

  /** From the beginning of `chain`, as if it had been reached by goto from the base chain. */
  runFrom(base: ChainProgram, chain: ChainProgram): KernelResult {
    return this.#result(this.#base(base, chain))
  }

  #result(ended: Ended): KernelResult {
    const { mark } = this.#state
    return {
      ...ended,
      causes: this.#causes,
      path: this.#path,
      ...this.#nat,
      ...(this.#to && { to: this.#to }),
      untracked: this.#untracked,
      mark: mark.kind === 'const' ? swap4(mark.value as number) : undefined,
    }
  }

  #base(base: ChainProgram, from: ChainProgram): Ended {
    this.#hook = base.base!.hook
    // Before connection tracking a packet has no connection yet, which nft calls invalid.
    const tracks = this.#hook === 'prerouting' || this.#hook === 'output'
    this.#early = tracks && base.base!.priority <= CONNTRACK_PRIORITY
    this.#ct = this.#untracked ? CT.untracked : this.#early ? CT.invalid : this.#o.ctState
    const stack: Frame[] = []
    let at: Frame = { chain: from, next: 0 }
    for (let hops = 0; ; ) {
      const rule = at.chain.rules[at.next++]
      if (!rule) {
        const caller = stack.pop()
        if (caller) {
          at = caller
          continue
        }
        this.#path.push({ chain: at.chain, verdict: `policy ${base.base!.policy} of ${base.name}` })
        return { verdict: base.base!.policy }
      }
      const verdict = this.#rule(rule, at.chain)
      if (!verdict) continue
      if ('unknown' in verdict) {
        this.#path.push({ chain: at.chain, rule, verdict: `not understood: ${verdict.unknown}` })
        return { verdict: 'unknown', what: verdict.unknown }
      }
      const { kind, chain: target } = verdict
      if (kind === 'continue' || kind === 'break') continue
      this.#path.push({ chain: at.chain, rule, verdict: target === undefined ? kind : `${kind} ${target}` })
      if (kind === 'accept' || kind === 'drop') return { verdict: kind }
      if (kind === 'queue') return { verdict: 'unknown', what: 'a queue to a program' }
      if (kind === 'return') {
        at = { chain: at.chain, next: at.chain.rules.length }
        continue
      }
      const to = at.chain.chains.get(target ?? '')
      if (!to) return { verdict: 'unknown', what: `no chain ${target}` }
      const { cut } = this.#o
      if (kind === 'goto' && stack.length === 0 && to === cut?.chain && this.#w.ask('oif', 'is cut', cut.isCut))
        return { verdict: 'cut' }
      if (++hops > MAX_HOPS) return { verdict: 'unknown', what: 'chains that lead in a circle' }
      if (kind === 'jump') stack.push(at)
      at = { chain: to, next: 0 }
    }
  }

  #rule(rule: RuleProgram, chain: ChainProgram): Verdict | { readonly unknown: string } | undefined {
    this.#slots = []
    for (const step of rule.steps) {
      switch (step.do) {
        case 'verdict':
          if (step.verdict.kind === 'continue') continue
          return step.verdict
        case 'unknown':
          return { unknown: step.what }
        case 'nat':
          this.#translate(step, chain)
          return { kind: 'accept' }
        case 'notrack':
          // Too late for a packet that connection tracking has seen.
          if (this.#early) this.#untracked = true
          continue
        case 'count':
          this.#causes.push(rule.model.comment ?? '')
          continue
        case 'state':
          this.#state[step.name] = this.#resolve(step.piece)[0]!
          continue
        case 'doubt':
          if (!this.#w.doubt(step.what)) return undefined
          continue
        case 'cmp':
          if (!this.#compare(step)) return undefined
          continue
        case 'range':
          if (!this.#range(step)) return undefined
          continue
        case 'states':
          if (!this.#inStates(step)) return undefined
          continue
        case 'lookup': {
          const found = this.#lookup(step)
          if (found === false) return undefined
          if (found === true || found.kind === 'continue') continue
          return found
        }
      }
    }
    return undefined
  }

  #translate({ what, to }: Extract<Step, { do: 'nat' }>, natBy: ChainProgram) {
    const known = to && this.#destination(to)
    if (known) this.#to = known
    else this.#nat ??= { nat: what, natBy }
  }

  /** Where a translation leads, if that is followed and known for all packets of the box. */
  #destination({ address, port }: Destination): Translated | undefined {
    const { locate } = this.#o
    const fixed = (p: Piece): Prim | undefined => {
      const [v, more] = this.#resolve(p)
      return v?.kind === 'const' && !more ? v.value : undefined
    }
    const [dst, dport] = [fixed(address), port && fixed(port)]
    if (!locate || dst === undefined || (port && dport === undefined)) return undefined
    return { dst: locate.address(dst), ...(dport !== undefined && { dport: locate.port(Number(dport)) }) }
  }

  /** Of a connection's first packet: whether its destination was translated; undefined where that is not known. */
  get #isTranslated(): boolean | undefined {
    if (this.#ct !== CT.new || this.#nat?.nat === 'translation') return undefined
    return this.#to !== undefined
  }

  #inStates({ states, dnat, not }: Extract<Step, { do: 'states' }>): boolean {
    if ((states & this.#ct) !== 0) return !not
    if (!dnat) return not
    return (this.#isTranslated ?? this.#w.doubt('the translation of a connection')) !== not
  }

  #status(p: Piece): Value {
    const isTranslated = this.#isTranslated
    const [op] = p.ops
    const asked = op?.op === 'mask' ? swap4(Number(op.mask)) : ~0
    if (isTranslated === undefined || (asked & ~STATUS.known) !== 0)
      return { kind: 'opaque', what: 'ct status', size: p.size }
    return this.#done(num((isTranslated ? STATUS.dnat : 0) | (this.#nat ? STATUS.snat : 0)), p)
  }

  #resolve(p: Piece): Value[] {
    const { source, size } = p
    switch (source.at) {
      case 'const':
        return [{ kind: 'const', value: source.value, size }]
      case 'ct state':
        return [this.#done(num(this.#ct), p)]
      case 'ct status':
        return [this.#status(p)]
      case 'opaque':
        return [{ ...source, kind: 'opaque', size }]
      case 'state':
        return [this.#done(this.#state[source.name], p)]
      case 'found':
        return [this.#done(this.#slots[source.slot]!, p)]
      case 'index':
        if (source.dim === 'oif' && !this.#hasOif) return [{ kind: 'const', value: 0, size }]
        return [
          this.#of(
            source.dim,
            `index ${source.dim}`,
            c => (c.label === 'lo' ? swap4(1) : c.label === '' ? 0 : -1),
            size,
          ),
        ]
      case 'dim':
        if (source.dim === 'oif' && !this.#hasOif) return [{ kind: 'const', value: applyOps(0n, p.ops), size }]
        return [
          this.#done(
            this.#of(source.dim, source.dim, c => c.value, size),
            p,
          ),
        ]
      case 'transport':
        return this.#transport(p, source.from)
    }
  }

  get #hasOif(): boolean {
    return this.#hook !== 'prerouting' && this.#hook !== 'input'
  }

  #transport(p: Piece, from: number): Value[] {
    const { size } = p
    const icmp = this.#o.family === 4 ? 1 : 58
    if (from < 2 && this.#w.ask('proto', 'is icmp', c => c.value === icmp)) {
      const parts = (['type', 'code'] as const).slice(from, from + size)
      if (p.ops.length > 0 && size > 1) return [{ kind: 'opaque', what: 'an operation on type and code', size }]
      return parts.map(dim =>
        this.#done(
          this.#of(dim, dim, c => c.value, 1),
          p,
        ),
      )
    }
    const dim = from < 2 ? 'sport' : 'dport'
    const whole = this.#of(dim, dim, c => c.value, 2)
    if (size === 2) return [this.#done(whole, p)]
    if (from % 2 === 1) return [{ kind: 'opaque', what: 'the low byte of a port', size }]
    return [this.#done(done(whole, [{ op: 'cut', from: 0, size: 1, of: 2 }], '[0+1]', 1), p)]
  }

  #of(dim: Dim, key: string, get: (c: Cls) => Prim, size: number): Value {
    const given = dim === 'dst' || dim === 'dport' ? this.#to?.[dim] : undefined
    if (given) return { kind: 'const', value: get(given), size }
    if (this.#nat && (dim === 'src' || dim === 'sport'))
      return { kind: 'opaque', what: 'the source after its translation', size }
    const { members } = this.#w.domains[dim]
    return members.length === 1 ? { kind: 'const', value: get(members[0]!), size } : { kind: 'of', dim, key, get, size }
  }

  /** With the piece's operations; a function of a dimension of one class has become a constant. */
  #done(v: Value, p: Piece): Value {
    if (v.kind === 'of' && this.#w.domains[v.dim].members.length === 1)
      return done(
        { kind: 'const', value: v.get(this.#w.domains[v.dim].members[0]!), size: v.size },
        p.ops,
        p.key,
        p.size,
      )
    return done(v, p.ops, p.key, p.size)
  }

  #test(v: Value, key: string, holds: (value: Prim) => boolean): boolean {
    if (v.kind === 'const') return holds(v.value)
    if (v.kind === 'opaque') return this.#w.doubt(v.what)
    return this.#w.ask(v.dim, `${v.key}${key}`, c => holds(v.get(c)))
  }

  #compare({ pieces, op, values }: Extract<Step, { do: 'cmp' }>): boolean {
    if (op !== CMP.eq && op !== CMP.neq) {
      const [v] = this.#resolve(pieces[0]!)
      return this.#test(v!, ` op${op} ${values[0]}`, x => ordered(op, x, values[0]!))
    }
    const equal = pieces.every((p, i) => {
      const parts = this.#resolve(p)
      const wanted = parts.length === 1 ? [values[i]!] : [Number(values[i]) >> 8, Number(values[i]) & 255]
      return parts.every((v, j) => this.#test(v, `=${wanted[j]}`, x => x === wanted[j]))
    })
    return equal === (op === CMP.eq)
  }

  #range({ piece, not, from, to }: Extract<Step, { do: 'range' }>): boolean {
    const parts = this.#resolve(piece)
    if (parts.length !== 1) return this.#w.doubt('a range of type and code')
    return this.#test(parts[0]!, ` in ${from}-${to}`, x => from <= x && x <= to) !== not
  }

  /** `false`: the rule ends here; a verdict of the map's; or `true`, and the value is in the slot. */
  #lookup({ pieces, set, not, into }: Extract<Step, { do: 'lookup' }>): boolean | Verdict {
    const { model } = set
    const values = pieces.flatMap(p => this.#resolve(p))
    const doubt = model.volatile ? `set ${set.name}: ${model.volatile}` : values.find(v => v.kind === 'opaque')?.what
    if (doubt !== undefined) {
      const [only, more] = values
      const among = !model.volatile && !more && only?.kind === 'opaque' ? only.among : undefined
      return this.#anyOf(among ? chosenFrom(model, among) : model, doubt, not, into)
    }
    let node: SetNode | undefined = set.root(values.map(v => v.size))
    for (const [i, v] of values.entries()) {
      if (v.kind === 'opaque') return false
      if (v.kind === 'const') {
        node = node.child(v.value)
      } else if (i < values.length - 1) {
        const at: SetNode = node
        node = this.#w.ask(v.dim, `${at.id} ${v.key}`, c => at.child(v.get(c)))
      } else return this.#last(node, v, { model, not, into })
      if (!node) break
    }
    return this.#found(node?.element ?? model.catchAll, { not, into, size: model.dataLength })
  }

  /** A key that is not known: any of the set's answers, or none. */
  #anyOf(
    model: Pick<SetModel, 'elements' | 'catchAll' | 'dataLength'> & { readonly isSure?: boolean },
    doubt: string,
    not: boolean,
    into: 'verdict' | number | undefined,
  ): boolean | Verdict {
    if (into === undefined) return this.#w.doubt(doubt) !== not
    if (into !== 'verdict') {
      // Where it is one of a few, each is followed.
      const last = model.isSure ? model.elements.at(-1) : undefined
      const e = last && (model.elements.find(one => one === last || this.#w.doubt(doubt)) ?? last)
      if (e) return this.#found(e, { not, into, size: model.dataLength })
      this.#slots[into] = { kind: 'opaque', what: doubt, size: model.dataLength }
      return this.#w.doubt(doubt)
    }
    const answers = new Set([...model.elements, model.catchAll].map(e => verdictText(e?.verdict)).filter(t => t !== ''))
    const list = [...answers]
    // One of them it is: the last needs no question.
    const last = model.isSure ? list.pop() : undefined
    const found = list.find(() => this.#w.doubt(doubt)) ?? last
    return found !== undefined && parseVerdict(found)
  }

  #found(
    e: ElementModel | undefined,
    { not, into, size }: { not: boolean; into: 'verdict' | number | undefined; size: number },
  ): boolean | Verdict {
    if (into === undefined) return (e !== undefined) !== not
    if (!e) return false
    if (into === 'verdict') return e.verdict ?? false
    if (e.value === undefined) return false
    this.#slots[into] = { kind: 'const', value: e.value, size }
    return true
  }

  /** The last part of a key depends on the packet: split by what the answer does, not by the key. */
  #last(
    node: SetNode,
    v: Extract<Value, { kind: 'of' }>,
    o: { model: { catchAll?: ElementModel; dataLength: number }; not: boolean; into: 'verdict' | number | undefined },
  ): boolean | Verdict {
    const { catchAll } = o.model
    const at = (c: Cls): ElementModel | undefined => node.child(v.get(c))?.element ?? catchAll
    const key = `${node.id} ${v.key}`
    if (o.into === undefined) return this.#w.ask(v.dim, `${key} ?`, c => at(c) !== undefined) !== o.not
    if (o.into === 'verdict') {
      const found = this.#w.ask(v.dim, `${key} !`, c => verdictText(at(c)?.verdict))
      return found === '' ? false : parseVerdict(found)
    }
    if (!this.#w.ask(v.dim, `${key} ?`, c => at(c)?.value !== undefined)) return false
    const { members } = this.#w.domains[v.dim]
    const get = (c: Cls): Prim => at(c)!.value!
    const size = o.model.dataLength
    this.#slots[o.into] =
      members.length === 1
        ? { kind: 'const', value: get(members[0]!), size }
        : { kind: 'of', dim: v.dim, key: `(${key})`, get, size }
    return true
  }
}

/** The elements that a number among these may find; sure if it finds one whichever it is. */
function chosenFrom(model: SetModel, { from, to }: Among): SetModel & { readonly isSure: boolean } {
  const keys = new Map(model.elements.map(e => [swap4(Number(prim(e.key, 0, model.keyLength))), e]))
  const elements = [...keys].filter(([n]) => from <= n && n <= to).map(([, e]) => e)
  return { ...model, elements, isSure: elements.length === to - from + 1 }
}

const num = (hostOrder: number): Value => ({ kind: 'const', value: swap4(hostOrder), size: 4 })

const verdictText = (v: Verdict | undefined): string => (v ? `${v.kind} ${v.chain ?? ''}` : '')
function parseVerdict(text: string): Verdict {
  const space = text.indexOf(' ')
  const chain = text.slice(space + 1)
  return { kind: text.slice(0, space) as Verdict['kind'], ...(chain !== '' && { chain }) }
}

function done(v: Value, ops: readonly Op[], opsKey: string, size: number): Value {
  if (ops.length === 0) return v
  if (v.kind === 'opaque') return { ...v, size }
  if (v.kind === 'const') return { kind: 'const', value: applyOps(v.value, ops), size }
  const { get } = v
  return { ...v, size, key: `${v.key}${opsKey}`, get: c => ops.reduce(applyOp, get(c)) }
}
