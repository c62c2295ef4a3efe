// Rules as steps that can be walked: the kernel's expressions with their registers followed to where the data come from.
// Compiled for one family, so that what speaks of the other one falls away. What is not understood becomes a doubt (a
// test that may go either way) or, where it could decide or change the packet, an unknown verdict; never nothing.

import { conntrackStates, type States } from './iptables.ts'
import { LookupSet } from './lookup-set.ts'
import {
  type Base,
  type Expr,
  type HookName,
  NFPROTO,
  type RuleModel,
  type Ruleset,
  type TableModel,
  type Verdict,
  verdictOf,
} from './model.ts'
import { type Nat, readNat } from './nat.ts'
import { be32, inner, type Prim, prim, RawError, text } from './raw.ts'
import type { Dim } from './space.ts'
import {
  constant,
  isInvertible,
  type Op,
  opaque,
  type Piece,
  piece,
  type Source,
  type StateName,
  withOp,
} from './value.ts'

export type Step =
  /** Piece by piece against `values`; order comparisons have one piece only. */
  | { readonly do: 'cmp'; readonly pieces: readonly Piece[]; readonly op: number; readonly values: readonly Prim[] }
  | { readonly do: 'range'; readonly piece: Piece; readonly not: boolean; readonly from: Prim; readonly to: Prim }
  | {
      readonly do: 'lookup'
      readonly pieces: readonly Piece[]
      readonly set: LookupSet
      readonly not: boolean
      /** Where the value goes; a set without values has none. */
      readonly into?: 'verdict' | number
    }
  | { readonly do: 'verdict'; readonly verdict: Verdict }
  | { readonly do: 'state'; readonly name: StateName; readonly piece: Piece }
  | { readonly do: 'doubt'; readonly what: string }
  /** The rule's comment names the cause of what comes. */
  | { readonly do: 'count' }
  | ({ readonly do: 'nat' } & Nat)
  /** Goes on if the connection is in one of these states, or in none of them. */
  | ({ readonly do: 'states' } & States)
  | { readonly do: 'notrack' }
  | { readonly do: 'unknown'; readonly what: string }

export type RuleProgram = { readonly model: RuleModel; readonly steps: readonly Step[] }
export type ChainProgram = {
  readonly table: string
  readonly name: string
  readonly base?: Base
  readonly rules: readonly RuleProgram[]
  /** The chains of the same table. */
  readonly chains: ReadonlyMap<string, ChainProgram>
}

export const CMP = { eq: 0, neq: 1, lt: 2, lte: 3, gt: 4, gte: 5 } as const
/** NFT_CT_*. */
const CT_KEY = { state: 0, direction: 1, status: 2 } as const
const META = { protocol: 1, priority: 2, mark: 3, iif: 4, oif: 5, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 }
const PAYLOAD = { network: 1, transport: 2 }
/** Expressions that neither decide nor change what later ones see. */
const HARMLESS = ['counter', 'log', 'last', 'dup']
/** Expressions that only fill a register, and in which attribute they say which. */
const LOADS: Readonly<Record<string, number>> = {
  fib: 1,
  rt: 1,
  exthdr: 1,
  socket: 2,
  hash: 2,
  osf: 1,
  xfrm: 1,
  tunnel: 2,
}
/** Expressions that end the rule or let it go on, and change nothing that we follow. */
const TESTS = ['limit', 'quota', 'connlimit', 'objref', 'dynset']
/** A rule's last step that matters; whatever comes after it decides nothing. */
const isEffect = (s: Step): boolean =>
  s.do === 'verdict' ||
  s.do === 'state' ||
  s.do === 'unknown' ||
  s.do === 'nat' ||
  s.do === 'notrack' ||
  s.do === 'count' ||
  (s.do === 'lookup' && s.into === 'verdict')

type Place = { readonly from: number; readonly size: number; readonly dim: Dim }
const NETWORK: Readonly<Record<4 | 6, readonly Place[]>> = {
  4: [
    { from: 9, size: 1, dim: 'proto' },
    { from: 12, size: 4, dim: 'src' },
    { from: 16, size: 4, dim: 'dst' },
  ],
  6: [
    { from: 6, size: 1, dim: 'proto' },
    { from: 8, size: 16, dim: 'src' },
    { from: 24, size: 16, dim: 'dst' },
  ],
}
/** Word number of a register: 1 to 4 are the old names of the first words of each four. */
const word = (register: number): number => (register >= 8 ? register - 8 : (register - 1) * 4)

type Held = { readonly pieces: readonly Piece[]; readonly bytes: number }
type Compiling = { readonly family: 4 | 6; readonly sets: ReadonlyMap<string, LookupSet>; readonly ours: boolean }

class RuleCompiler {
  readonly steps: Step[] = []
  readonly #c: Compiling
  readonly #registers = new Map<number, Held>()
  #slots = 0
  /** A comparison that never holds: the rule does nothing. */
  dead = false

  constructor(c: Compiling) {
    this.#c = c
  }

  #put(step: Step) {
    this.steps.push(step)
  }

  #load(register: number | undefined, pieces: readonly Piece[]) {
    const bytes = pieces.reduce((n, p) => n + p.size, 0)
    const [from, to] = [word(register ?? 8), word(register ?? 8) + Math.ceil(bytes / 4)]
    for (const [at, held] of [...this.#registers]) {
      const end = at + Math.ceil(held.bytes / 4)
      if (at >= to || end <= from) continue
      // Of what is overwritten the beginning may be left; what is behind is not asked for.
      this.#registers.delete(at)
      const left = (from - at) * 4
      if (left > 0) this.#registers.set(at, { pieces: cutPieces(held.pieces, left), bytes: left })
    }
    this.#registers.set(from, { pieces, bytes })
  }

  /** What a register holds, also if it is in the middle of what was loaded at once. */
  #heldAt(at: number): Held | undefined {
    const begun = this.#registers.get(at)
    if (begun) return begun
    for (const [from, { pieces, bytes }] of this.#registers) {
      const skip = (at - from) * 4
      const [p, more] = pieces
      if (skip <= 0 || skip >= bytes || !p || more) continue
      const size = bytes - skip
      return { pieces: [withOp(p, { op: 'cut', from: skip, size, of: p.size })], bytes: size }
    }
    return undefined
  }

  /** The pieces that make up these bytes; words that end early are filled with zeros, as every load does. */
  #read(register: number | undefined, length: number): Piece[] {
    const found: Piece[] = []
    let at = word(register ?? 8)
    for (let left = length; left > 0; ) {
      const held = this.#heldAt(at)
      if (!held || held.bytes === 0) return [opaque('a register that the rule did not load', length)]
      if (held.bytes > left) {
        found.push(...cutPieces(held.pieces, left))
        return found
      }
      found.push(...held.pieces)
      const padding = Math.min(left, Math.ceil(held.bytes / 4) * 4) - held.bytes
      if (padding > 0) found.push(constant(0, padding))
      left -= held.bytes + padding
      at += Math.ceil(held.bytes / 4)
    }
    return found.map(p => this.#answerable(p))
  }

  /** Questions to a wide dimension must be ranges of it, or they cannot be split. */
  #answerable(p: Piece): Piece {
    const dims: readonly Dim[] =
      p.source.at === 'dim' ? [p.source.dim] : p.source.at === 'transport' ? transportDims(p) : []
    if (dims.every(d => isInvertible(p, d, this.#c.family))) return p
    return opaque(`an operation on ${dims.join()}`, p.size)
  }

  expression(e: Expr) {
    const n = (attr: number): number | undefined => be32(e.at, e.attrs.get(attr))
    const data = (attr: number): { value?: Prim; verdict?: Verdict; size: number; bytes: Uint8Array } => {
      const a = e.attrs.get(attr)
      if (!a) throw new RawError(`${e.name} without attribute ${attr}`)
      // The value's own attribute: the one around it is padded.
      const at = inner(e.at, a)[0] ?? a
      return { ...verdictOf(e.at, a), size: at.end - at.at, bytes: e.at.subarray(at.at, at.end) }
    }
    switch (e.name) {
      case 'meta':
        return this.#meta(n(1), n(2) ?? 0, n(3))
      case 'payload':
        if (e.attrs.has(5)) return this.#put({ do: 'unknown', what: 'a packet is rewritten' })
        return this.#load(n(1), this.#payload(n(2) ?? 0, n(3) ?? 0, n(4) ?? 0))
      case 'ct':
        if (e.attrs.has(4)) return
        return this.#load(n(1), [this.#ct(n(2))])
      case 'cmp':
        if (data(3).value === undefined || data(3).size > 64) throw new RawError('a comparison with nothing')
        return this.#cmp(this.#read(n(1), data(3).size), n(2) ?? 0, data(3).bytes)
      case 'range': {
        const [from, to] = [data(3), data(4)]
        const pieces = this.#read(n(1), from.size)
        if (pieces.length !== 1) return this.#put({ do: 'doubt', what: 'a range of several fields' })
        if (from.value === undefined || to.value === undefined || from.size !== to.size)
          throw new RawError('a range without ends')
        return this.#put({ do: 'range', piece: pieces[0]!, not: n(2) === 1, from: from.value, to: to.value })
      }
      case 'bitwise':
        return this.#bitwise(e, n(3) ?? 0)
      case 'byteorder':
        return this.#byteorder(n(1), n(2), n(4) ?? 0, n(5) ?? 0)
      case 'lookup':
        return this.#lookup(text(e.at, e.attrs.get(1)) ?? '', n(2), e.attrs.has(3) ? n(3) : undefined, n(5) === 1)
      case 'immediate': {
        const { value, verdict, size } = data(2)
        if (verdict) return this.#put({ do: 'verdict', verdict })
        if (value === undefined) throw new RawError('an immediate of nothing')
        return this.#load(n(1), [constant(value, size)])
      }
      case 'numgen': {
        const [count, from] = [n(2) ?? 0, n(4) ?? 0]
        const among = count > 0 ? { from, to: from + count - 1 } : undefined
        return this.#load(n(1), [piece({ at: 'opaque', what: e.name, ...(among && { among }) }, 4)])
      }
      case 'reject':
        return this.#put({ do: 'verdict', verdict: { kind: 'drop' } })
      case 'notrack':
        // What others take out of connection tracking we would have to follow into every later hook.
        return this.#put(this.#c.ours ? { do: 'notrack' } : { do: 'unknown', what: 'the expression notrack' })
      case 'masq':
      case 'nat':
      case 'redir':
        return this.#put({ do: 'nat', ...readNat(e.name, { ...this.#c, number: n, read: (r, s) => this.#read(r, s) }) })
      case 'match':
        return this.#match(e)
      case 'target':
        return this.#put({ do: 'unknown', what: `iptables’ target ${text(e.at, e.attrs.get(1))}` })
      default: {
        if (HARMLESS.includes(e.name)) return
        const register = LOADS[e.name]
        if (register !== undefined) {
          // Such a question may also end the rule.
          this.#put({ do: 'doubt', what: e.name })
          return this.#load(n(register), [opaque(e.name, 16)])
        }
        if (TESTS.includes(e.name)) return this.#put({ do: 'doubt', what: e.name })
        this.#put({ do: 'unknown', what: `the expression ${e.name}` })
      }
    }
  }

  #ct(key: number | undefined): Piece {
    if (key === CT_KEY.state) return piece({ at: 'ct state' }, 4)
    if (key === CT_KEY.status) return piece({ at: 'ct status' }, 4)
    return opaque(`ct ${key}`, key === CT_KEY.direction ? 1 : 4)
  }

  /** A match of iptables'. */
  #match(e: Expr) {
    const name = text(e.at, e.attrs.get(1)) ?? ''
    if (name === 'comment') return
    const states = name === 'conntrack' ? conntrackStates(e.at, e.attrs.get(3), be32(e.at, e.attrs.get(2))) : undefined
    this.#put(states ? { do: 'states', ...states } : { do: 'doubt', what: `iptables’ match ${name}` })
  }

  #meta(dreg: number | undefined, key: number, sreg: number | undefined) {
    const { family } = this.#c
    if (sreg !== undefined) {
      const name = key === META.priority ? 'priority' : key === META.mark ? 'mark' : undefined
      if (name) this.#put({ do: 'state', name, piece: this.#read(sreg, 4)[0]! })
      return
    }
    const of = (source: Source, size: number) => this.#load(dreg, [piece(source, size)])
    if (key === META.priority) return of({ at: 'state', name: 'priority' }, 4)
    if (key === META.mark) return of({ at: 'state', name: 'mark' }, 4)
    if (key === META.iif || key === META.oif) return of({ at: 'index', dim: key === META.iif ? 'iif' : 'oif' }, 4)
    if (key === META.iifname || key === META.oifname)
      return of({ at: 'dim', dim: key === META.iifname ? 'iif' : 'oif' }, 16)
    if (key === META.nfproto) return of({ at: 'const', value: family === 4 ? NFPROTO.ip : NFPROTO.ip6 }, 1)
    if (key === META.protocol) return of({ at: 'const', value: family === 4 ? 0x0800 : 0x86dd }, 2)
    if (key === META.l4proto) return of({ at: 'dim', dim: 'proto' }, 1)
    this.#load(dreg, [opaque(`meta ${key}`, 16)])
  }

  #payload(base: number, offset: number, length: number): Piece[] {
    if (length > 64) throw new RawError(`a field of ${length} bytes`)
    if (base === PAYLOAD.transport) return transportPieces(offset, length)
    if (base !== PAYLOAD.network) return [opaque(`header ${base}`, length)]
    const found: Piece[] = []
    for (let at = offset, end = offset + length; at < end; ) {
      const place = NETWORK[this.#c.family].find(p => p.from <= at && at < p.from + p.size)
      if (place) {
        const size = Math.min(end, place.from + place.size) - at
        const op: Op = { op: 'cut', from: at - place.from, size, of: place.size }
        found.push(withOp(piece({ at: 'dim', dim: place.dim }, place.size), op))
        at += size
      } else {
        const stop = Math.min(end, ...NETWORK[this.#c.family].map(p => p.from).filter(f => f > at))
        found.push(opaque(`bytes ${at} to ${stop - 1} of the network header`, stop - at))
        at = stop
      }
    }
    return found
  }

  #cmp(pieces: readonly Piece[], op: number, bytes: Uint8Array) {
    let at = 0
    const values = pieces.map(p => {
      const from = at
      at += p.size
      return prim(bytes, from, at)
    })
    const known = pieces.every(
      (p, i) => p.source.at !== 'index' || (p.ops.length === 0 && [0, 0x01000000].includes(values[i] as number)),
    )
    if (!known) return this.#put({ do: 'doubt', what: 'the number of an interface' })
    if (pieces.length > 1 && op !== CMP.eq && op !== CMP.neq)
      return this.#put({ do: 'doubt', what: 'an order of several fields' })
    if (pieces.every(p => p.source.at === 'const')) {
      const [p, value] = [pieces[0]!, values[0]!]
      const equal = pieces.every((c, i) => c.source.at === 'const' && c.source.value === values[i])
      const holds =
        op === CMP.eq ? equal : op === CMP.neq ? !equal : p.source.at === 'const' && ordered(op, p.source.value, value)
      if (!holds) this.dead = true
      return
    }
    this.#put({ do: 'cmp', pieces, op, values })
  }

  #bitwise(e: Expr, length: number) {
    const n = (attr: number): number | undefined => be32(e.at, e.attrs.get(attr))
    if (length > 64) throw new RawError(`a mask of ${length} bytes`)
    const pieces = this.#read(n(1), length)
    const [mask, xor] = [e.attrs.get(4), e.attrs.get(5)]
    if ((n(6) ?? 0) !== 0 || !mask || !xor || [mask, xor].some(a => a.end - a.at < 4 + length))
      return this.#load(n(2), [opaque('a shift', length)])
    // Behind the header of the value's own attribute.
    let at = 4
    this.#load(
      n(2),
      pieces.map(p => {
        const part = (a: { at: number }): Prim => prim(e.at, a.at + at, a.at + at + p.size)
        const op: Op = { op: 'mask', mask: part(mask), xor: part(xor) }
        at += p.size
        return withOp(p, op)
      }),
    )
  }

  #byteorder(sreg: number | undefined, dreg: number | undefined, length: number, unit: number) {
    // The kernel converts whole units: one byte in words of two is left alone.
    if (length < unit || length > 64) return
    const pieces = this.#read(sreg, length)
    const [p] = pieces
    const fits = pieces.length === 1 && (unit === 2 || unit === 4) && (length === 2 || length === 4)
    this.#load(dreg, [fits ? withOp(p!, { op: 'swap', unit: unit as 2 | 4, of: length }) : opaque('byteorder', length)])
  }

  #lookup(name: string, sreg: number | undefined, dreg: number | undefined, not: boolean) {
    const set = this.#c.sets.get(name)
    if (!set) return this.#put({ do: 'unknown', what: `no set ${name}` })
    const { model } = set
    const pieces = this.#read(sreg, model.keyLength).map(p =>
      p.source.at === 'index' ? opaque('the number of an interface', p.size) : p,
    )
    const common = { do: 'lookup', pieces, set, not } as const
    if (dreg === undefined) return this.#put(common)
    if (dreg === 0) return this.#put({ ...common, into: 'verdict' })
    const slot = this.#slots++
    this.#put({ ...common, into: slot })
    this.#load(dreg, [piece({ at: 'found', slot }, model.dataLength)])
  }
}

export function ordered(op: number, a: Prim, b: Prim): boolean {
  if (op === CMP.lt) return a < b
  if (op === CMP.lte) return a <= b
  if (op === CMP.gt) return a > b
  return a >= b
}

function cutPieces(pieces: readonly Piece[], length: number): Piece[] {
  const found: Piece[] = []
  let left = length
  for (const p of pieces) {
    if (left <= 0) break
    const size = Math.min(left, p.size)
    found.push(size === p.size ? p : withOp(p, { op: 'cut', from: 0, size, of: p.size }))
    left -= size
  }
  return found
}

/** Ports come in twos; single bytes are ICMP's type and code. */
function transportPieces(offset: number, length: number): Piece[] {
  const found: Piece[] = []
  for (let at = offset, end = offset + length; at < end; ) {
    const size = at >= 4 ? end - at : at % 2 === 0 && at + 2 <= end ? 2 : 1
    found.push(
      at >= 4 ? opaque(`byte ${at} of the transport header`, size) : piece({ at: 'transport', from: at }, size),
    )
    at += size
  }
  return found
}

/** The wide dimensions that bytes of the transport header belong to. */
export function transportDims(p: Piece): Dim[] {
  if (p.source.at !== 'transport') return []
  return [p.source.from < 2 ? 'sport' : 'dport']
}

function compileRule(model: RuleModel, c: Compiling): RuleProgram | undefined {
  const compiler = new RuleCompiler(c)
  let counted = false
  for (const e of model.exprs) {
    if (c.ours && model.comment && !counted && ['counter', 'limit', 'log'].includes(e.name)) {
      counted = true
      compiler.steps.push({ do: 'count' })
    }
    compiler.expression(e)
    if (compiler.dead) return undefined
  }
  const last = compiler.steps.findLastIndex(isEffect)
  return last < 0 ? undefined : { model, steps: compiler.steps.slice(0, last + 1) }
}

function compileTable(table: TableModel, family: 4 | 6, ours: string): ChainProgram[] {
  const sets = new Map([...table.sets].map(([name, set]) => [name, new LookupSet(table.name, set)]))
  const chains = new Map<string, ChainProgram>()
  const c = { family, sets, ours: table.family === NFPROTO.inet && table.name === ours }
  for (const { name, base, rules } of table.chains.values()) {
    const programs = rules.flatMap(r => compileRule(r, c) ?? [])
    chains.set(name, { table: table.name, name, ...(base && { base }), rules: programs, chains })
  }
  return [...chains.values()]
}

export type FamilyProgram = {
  readonly family: 4 | 6
  /** All chains that packets of the family can meet. */
  readonly chains: readonly ChainProgram[]
  /** Our table's base chains, and everybody else's; by priority. */
  readonly ours: readonly ChainProgram[]
  readonly others: readonly ChainProgram[]
}

/** `ours`: the name of the table (family inet) that the intent is written to. */
export function compileFamily(ruleset: Ruleset, family: 4 | 6, ours: string): FamilyProgram {
  const own = family === 4 ? NFPROTO.ip : NFPROTO.ip6
  const isOurs = (t: TableModel): boolean => t.family === NFPROTO.inet && t.name === ours
  const live = ruleset.tables.filter(t => !t.dormant && (t.family === NFPROTO.inet || t.family === own))
  const compiled = live.map(t => ({ ours: isOurs(t), chains: compileTable(t, family, ours) }))
  const bases = (which: boolean): ChainProgram[] =>
    compiled
      .filter(t => t.ours === which)
      .flatMap(t => t.chains.filter(c => c.base))
      .sort((a, b) => a.base!.priority - b.base!.priority)
  return { family, chains: compiled.flatMap(t => t.chains), ours: bases(true), others: bases(false) }
}

/** The roads through a node: what is for it, what passes it, what it sends itself. */
export type Road = 'input' | 'forward' | 'output'
const HOOKS_OF: Readonly<Record<Road, readonly HookName[]>> = {
  input: ['prerouting', 'input'],
  forward: ['prerouting', 'forward', 'postrouting'],
  output: ['output', 'postrouting'],
}

/** The base chains on a packet's whole way, everybody's, in the order in which it meets them. */
export function wayOf({ ours, others }: FamilyProgram, road: Road): ChainProgram[] {
  const all = [...ours, ...others].sort((a, b) => a.base!.priority - b.base!.priority)
  return HOOKS_OF[road].flatMap(hook => all.filter(c => c.base!.hook === hook))
}
