// Statements into the kernel's expressions, as nft does it (checked against its --debug=netlink): the questions that a
// field needs come first, once; ranges of host-order values are compared in big-endian; an anonymous set of several values
// becomes a set of the kernel's, one of a single value a plain comparison.

import { familyOf, toBytes } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import { Reader } from '../netlink/bytes.ts'
import { compareBytes, isRange, scalarBytes } from './elements.ts'
import { EncodeError } from './encode-error.ts'
import type { Expression } from './expressions.ts'
import { conversion, FIELDS, type FieldInfo, TRANSPORT } from './fields.ts'
import type { Field, KeyPart, NftSet, Operand, Scalar, Statement } from './objects.ts'
import { TYPES, takeScalar, type ValueType } from './types.ts'
import { encodeVerdict } from './verdict.ts'

/** The register that questions are loaded into; a concatenation goes on behind it. */
const REGISTER = 8
/** TCP, UDP, DCCP, SCTP and UDP-Lite. */
const WITH_PORTS = [6, 17, 33, 132, 136]
const CMP = { eq: 0, neq: 1, lte: 3, gte: 5 } as const
const LOG_WARN = 4
/** Words in a register of the old numbering. */
const WORDS = 4
/** NFT_NAT_SNAT, and NF_NAT_RANGE_*; the kernel gives addresses and their flag back also where nft leaves them out. */
const NAT = { SOURCE: 0, ADDRESS: 1, PORTS: 2 } as const
const LIMIT_BURST = 5
const UNITS = { second: 1, minute: 60, hour: 3600, day: 86_400 } as const
const LEVELS = { warn: 4, notice: 5, info: 6 } as const

/** A set without a name of its own: the right side of one comparison. */
export type AnonymousSet = {
  readonly type: ValueType
  readonly interval: boolean
  readonly elements: readonly KeyPart[]
}

export type Compiled = {
  readonly expressions: readonly Expression[]
  /** What lookups named `#0`, `#1` ... refer to. */
  readonly anonymous: readonly AnonymousSet[]
}

/** What a rule's lookups need to know: whether a named set has intervals (its host-order keys are then big-endian). */
export type FindSet = (name: string) => Pick<NftSet, 'interval'> | undefined

class Program {
  readonly expressions: Expression[] = []
  readonly anonymous: AnonymousSet[] = []
  readonly #find: FindSet
  #nfproto: number | undefined
  #l4proto: number | undefined

  constructor(find: FindSet) {
    this.#find = find
  }

  put(expression: Expression): void {
    this.expressions.push(expression)
  }

  /** Asks for the protocols that the fields' headers belong to, unless the rule has asked already. */
  require(fields: readonly FieldInfo[]): void {
    for (const { nfproto, l4proto, type } of fields) {
      // nft aborts when it lists a rule that asks for the ports of a protocol that it does not know to have some.
      if (type === 'inet_service' && this.#l4proto !== undefined && !WITH_PORTS.includes(this.#l4proto))
        throw new EncodeError(`ports of protocol ${this.#l4proto}`)
      // Who knows that it is ICMP knows the family, says nft.
      if (l4proto !== undefined && l4proto === this.#l4proto) continue
      if (nfproto !== undefined && nfproto !== this.#nfproto) this.#ask('meta nfproto', nfproto)
      if (l4proto !== undefined && l4proto !== this.#l4proto) this.#ask('meta l4proto', l4proto)
    }
  }

  #ask(field: 'meta nfproto' | 'meta l4proto', value: number): void {
    this.load(field, REGISTER)
    this.compare('eq', Uint8Array.of(value))
    this.learn(field, value)
  }

  /** A question with one answer tells what the rule need not ask again. */
  learn(field: Field, value: Scalar): void {
    if (field === 'meta nfproto') this.#nfproto = Number(value)
    if (field === 'meta l4proto') this.#l4proto = Number(value)
  }

  /** Port unreachable, in the family's own words where the rule knows the family. */
  reject(): void {
    const own = this.#nfproto === 2 ? 3 : this.#nfproto === 10 ? 4 : undefined
    this.put(own === undefined ? { name: 'reject', type: 2, code: 1 } : { name: 'reject', type: 0, code: own })
  }

  load(field: Field, dreg: number): void {
    this.put({ ...FIELDS[field].load, dreg } as Expression)
  }

  compare(op: keyof typeof CMP, value: Uint8Array): void {
    this.put({ name: 'cmp', sreg: REGISTER, op: CMP[op], data: { value } })
  }

  convert(field: Field, register: number, concatenation: boolean): void {
    const sizes = conversion(field, concatenation)
    if (sizes) this.put({ name: 'byteorder', sreg: register, dreg: register, op: 1, length: sizes[0], size: sizes[1] })
  }

  /** Loads a key of one or several fields, for a set with or without intervals. */
  loadKey(fields: readonly Field[], interval: boolean): void {
    this.require(fields.map(field => FIELDS[field]))
    let register = REGISTER
    for (const field of fields) {
      this.load(field, register)
      if (interval) this.convert(field, register, fields.length > 1)
      register += Math.ceil(TYPES[FIELDS[field].type].size / 4)
    }
    if (register > REGISTER + 16) throw new EncodeError(`the key ${fields.join(' . ')} is too long`)
  }

  lookup(
    fields: readonly Field[],
    set: string,
    options: { readonly dreg?: number; readonly not?: boolean } = {},
  ): void {
    const found = this.#find(set)
    if (found === undefined) throw new EncodeError(`no set ${set}`)
    this.loadKey(fields, found.interval === true)
    this.put({ name: 'lookup', set, sreg: REGISTER, dreg: options.dreg, flags: options.not ? 1 : 0 })
  }

  lookupAnonymous(field: Field, set: AnonymousSet, not: boolean): void {
    this.loadKey([field], set.interval)
    this.put({ name: 'lookup', set: `#${this.anonymous.length}`, sreg: REGISTER, flags: not ? 1 : 0 })
    this.anonymous.push(set)
  }
}

/**
 * What nft makes of neighbouring comparisons of transport header fields when it reads a text: one comparison of up to four
 * bytes. We write them apart (nft lists them better), but the same rule loaded by nft must be understood.
 */
export function mergeComparisons(expressions: readonly Expression[]): Expression[] {
  const merged: Expression[] = []
  for (let i = 0; i < expressions.length; i++) {
    const [load, cmp] = [expressions[i]!, expressions[i + 1]]
    const [before, last] = [merged.at(-2), merged.at(-1)]
    const [a, b] = [comparison(before, last), comparison(load, cmp)]
    if (a && b && a.offset + a.value.length === b.offset && a.value.length + b.value.length <= 4) {
      const value = Uint8Array.of(...a.value, ...b.value)
      merged.splice(-2, 2, { ...(before as Extract<Expression, { name: 'payload' }>), length: value.length })
      merged.push({ ...(last as Extract<Expression, { name: 'cmp' }>), data: { value } })
      i++
    } else merged.push(load)
  }
  return merged
}

function comparison(
  load: Expression | undefined,
  cmp: Expression | undefined,
): { offset: number; value: Uint8Array } | undefined {
  if (load?.name !== 'payload' || cmp?.name !== 'cmp' || load.base !== TRANSPORT || cmp.op !== CMP.eq) return undefined
  const value = cmp.data?.value
  return value === undefined || value.length !== load.length || load.offset === undefined
    ? undefined
    : { offset: load.offset, value }
}

/** The expressions of a rule. Throws an EncodeError for what cannot be said (a bug of the caller's). */
export function compile(statements: readonly Statement[], find: FindSet): Compiled {
  const program = new Program(find)
  for (const statement of statements) compileStatement(program, statement)
  return program
}

function compileStatement(p: Program, s: Statement): void {
  switch (s.kind) {
    case 'match':
      compileMatch(p, s)
      break
    case 'vmap':
      p.lookup(s.fields, s.map, { dreg: 0 })
      break
    case 'set':
      p.put({ name: 'immediate', dreg: REGISTER, data: { value: scalarBytes(FIELDS[s.field].type, s.value) } })
      p.put({ ...FIELDS[s.field].load, sreg: REGISTER } as Expression)
      break
    case 'set-bits': {
      const { type } = FIELDS[s.field]
      p.load(s.field, REGISTER)
      putMask(p, type, ~s.bits >>> 0, s.on ? s.bits : 0)
      p.put({ ...FIELDS[s.field].load, sreg: REGISTER } as Expression)
      break
    }
    case 'set-map':
      p.lookup(s.fields, s.map, { dreg: REGISTER })
      p.put({ ...FIELDS[s.field].load, sreg: REGISTER } as Expression)
      break
    case 'counter':
      p.put({ name: 'counter', bytes: s.bytes ?? 0, packets: s.packets ?? 0 })
      break
    case 'limit':
      p.put({
        name: 'limit',
        rate: s.rate,
        unit: UNITS[s.per],
        burst: s.burst ?? LIMIT_BURST,
        type: 0,
        flags: 0,
      })
      break
    case 'log': {
      const level = s.group === undefined ? (s.level ? LEVELS[s.level] : LOG_WARN) : undefined
      if (s.group !== undefined && s.level !== undefined) throw new EncodeError('a log to a group has no level')
      p.put({ name: 'log', group: s.group, prefix: s.prefix, level })
      break
    }
    case 'verdict':
      p.put({ name: 'immediate', dreg: 0, data: { verdict: encodeVerdict(s.verdict) } })
      break
    case 'masquerade': {
      const ports = putPorts(p, REGISTER, s.ports)
      p.put({ name: 'masq', ...(s.ports && { flags: NAT.PORTS }), ...ports })
      break
    }
    case 'snat': {
      const four = familyOf(s.to) === 4
      p.put({ name: 'immediate', dreg: REGISTER, data: { value: toBytes(s.to) } })
      const ports = putPorts(p, REGISTER + WORDS, s.ports)
      const flags = NAT.ADDRESS | (s.ports ? NAT.PORTS : 0)
      const addrs = { addrMin: REGISTER, addrMax: REGISTER }
      p.put({ name: 'nat', type: NAT.SOURCE, family: four ? 2 : 10, ...addrs, ...ports, flags })
      break
    }
    case 'notrack':
      p.put({ name: 'notrack' })
      break
    case 'reject':
      p.reject()
      break
  }
}

/** Loads the ports, which start a register of four words each, as nft does. */
function putPorts(p: Program, first: number, ports: PortRange | undefined): { protoMin?: number; protoMax?: number } {
  if (!ports) return {}
  const last = ports.first === ports.last ? first : first + WORDS
  p.put({ name: 'immediate', dreg: first, data: { value: scalarBytes('inet_service', ports.first) } })
  if (last !== first) p.put({ name: 'immediate', dreg: last, data: { value: scalarBytes('inet_service', ports.last) } })
  return { protoMin: first, protoMax: last }
}

type Match = Extract<Statement, { kind: 'match' }>

function compileMatch(p: Program, match: Match): void {
  const { fields, op, right, mask } = match
  if ('ref' in right) {
    if (mask !== undefined) throw new EncodeError('a mask before a lookup')
    p.lookup(fields, right.ref, { not: op === '!=' })
    return
  }
  const field = fields[0]
  if (field === undefined || fields.length > 1)
    throw new EncodeError('several fields are compared with a named set only')
  if (!('set' in right)) {
    compileComparison(p, { field, op, right, mask })
    return
  }
  const set = anonymousSet(FIELDS[field].type, right.set)
  if (set.elements.length === 1) compileMatch(p, { ...match, right: single(set.elements[0]!) })
  else if (set.elements.length === 0) throw new EncodeError('a comparison with an empty set')
  else if (mask !== undefined) throw new EncodeError('a mask before a lookup')
  else p.lookupAnonymous(field, set, op === '!=')
}

type Comparison = {
  readonly field: Field
  readonly op: '==' | '!='
  readonly right: Extract<Operand, { value: Scalar } | { from: Scalar }>
  readonly mask: number | undefined
}

function compileComparison(p: Program, { field, op, right, mask }: Comparison): void {
  const { type } = FIELDS[field]
  p.require([FIELDS[field]])
  p.load(field, REGISTER)
  if (mask !== undefined) putMask(p, type, mask)
  const equal = op === '==' ? 'eq' : 'neq'
  if ('from' in right && right.from !== right.to) {
    compareRange(p, field, op, right)
    return
  }
  const value = 'from' in right ? right.from : right.value
  if (field === 'ct state' && op === '==' && mask === undefined) {
    // A state is one bit of several: equal means any of the named ones.
    putMask(p, type, Number(value))
    p.compare('neq', scalarBytes(type, 0))
  } else if (TYPES[type].kind === 'name' && typeof value === 'string' && value.endsWith('*')) {
    p.compare(equal, wildcard(value))
  } else {
    p.compare(equal, scalarBytes(type, value))
    if (op === '==' && mask === undefined) p.learn(field, value)
  }
}

/** `xor`: the bits that are set afterwards. */
function putMask(p: Program, type: ValueType, mask: number, xor = 0): void {
  const { size, kind } = TYPES[type]
  if (kind !== 'number') throw new EncodeError(`a mask on ${type}`)
  p.put({
    name: 'bitwise',
    sreg: REGISTER,
    dreg: REGISTER,
    length: size,
    op: 0,
    mask: { value: scalarBytes(type, mask) },
    xor: { value: scalarBytes(type, xor) },
  })
}

function compareRange(
  p: Program,
  field: Field,
  op: '==' | '!=',
  { from, to }: { readonly from: Scalar; readonly to: Scalar },
): void {
  const { type } = FIELDS[field]
  if (TYPES[type].kind === 'name') throw new EncodeError('a range of interface names')
  p.convert(field, REGISTER, false)
  const low = scalarBytes(type, from, true)
  const high = scalarBytes(type, to, true)
  if (compareBytes(low, high) > 0) throw new EncodeError(`the range ${from}-${to} ends before it begins`)
  if (op === '==') {
    p.compare('gte', low)
    p.compare('lte', high)
  } else p.put({ name: 'range', sreg: REGISTER, op: CMP.neq, from: { value: low }, to: { value: high } })
}

/** The bytes before the star: the kernel compares no more than it is given. */
function wildcard(name: string): Uint8Array {
  const bytes = scalarBytes('ifname', name.slice(0, -1))
  return bytes.subarray(0, bytes.indexOf(0))
}

const single = (part: KeyPart): Operand => (isRange(part) ? part : { value: part })

/** An anonymous set in its one form: in order, without repetition, and with what touches merged where there are ranges. */
export function anonymousSet(type: ValueType, parts: readonly KeyPart[]): AnonymousSet {
  if (type === 'ct_state' && parts.some(isRange))
    throw new EncodeError('a set with ranges of ct state: nft cannot list it')
  const ranges = parts.map(part => ({
    low: scalarBytes(type, isRange(part) ? part.from : part, true),
    high: scalarBytes(type, isRange(part) ? part.to : part, true),
  }))
  ranges.sort((a, b) => compareBytes(a.low, b.low) || compareBytes(a.high, b.high))
  const interval = parts.some(part => isRange(part) && part.from !== part.to)
  if (interval && TYPES[type].kind === 'name') throw new EncodeError('a range of interface names')
  const merged: { low: Uint8Array; high: Uint8Array }[] = []
  for (const range of ranges) {
    const last = merged.at(-1)
    const touches = last && compareBytes(range.low, interval ? after(last.high) : last.high) <= 0
    if (last && (touches || (interval && after(last.high).every(b => b === 0)))) {
      if (compareBytes(range.high, last.high) > 0) last.high = range.high
    } else merged.push({ ...range })
  }
  const value = (bytes: Uint8Array): Scalar => takeScalar(new Reader(bytes), type, true)
  const elements = merged.map(({ low, high }) =>
    compareBytes(low, high) === 0 ? value(low) : { from: value(low), to: value(high) },
  )
  return { type, interval: elements.some(isRange), elements }
}

/** The next key; zeros after the last. */
function after(key: Uint8Array): Uint8Array {
  const bytes = key.slice()
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = (bytes[i]! + 1) & 255
    if (bytes[i] !== 0) break
  }
  return bytes
}
