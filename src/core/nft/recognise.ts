// The kernel's expressions back into statements. A rule counts as understood only if compiling what was understood gives
// the very same expressions again: whatever this file may get wrong shows as "not understood", never as another rule.

import { type Addr, fromBytes } from '../net/addr.ts'
import { DecodeError, fromUtf8, Reader } from '../netlink/bytes.ts'
import { type AnonymousSet, type Compiled, compile, type FindSet, mergeComparisons } from './compile.ts'
import { compareBytes } from './elements.ts'
import { EncodeError } from './encode-error.ts'
import type { Expression } from './expressions.ts'
import { FIELDS, fieldsOf, type Load, TRANSPORT } from './fields.ts'
import type { Field, Operand, Scalar, Statement } from './objects.ts'
import { TYPES, takeScalar } from './types.ts'
import { decodeVerdict } from './verdict.ts'

const REGISTER = 8
const UNIT_NAMES: Readonly<Record<number, 'minute' | 'hour' | 'day'>> = { 60: 'minute', 3600: 'hour', 86400: 'day' }
const EQ = 0
const NEQ = 1
const LTE = 3
const GTE = 5

type Named<N extends Expression['name']> = Extract<Expression, { name: N }>
export type FindAnonymous = (name: string) => AnonymousSet | undefined

/** The statements of a rule's expressions. Throws a DecodeError that says what was not understood. */
export function recognise(
  expressions: readonly Expression[],
  find: FindSet,
  anonymous: FindAnonymous = () => undefined,
): Statement[] {
  const plain = expressions.map(withoutPad)
  for (const implied of [true, false]) {
    const statements = new Recogniser(plain, anonymous, implied).run()
    if (agrees(plain, statements, find, anonymous)) return statements
  }
  throw new DecodeError('the expressions mean something that these statements cannot say', 0)
}

/** On some machines the kernel aligns 64 bit numbers with an empty attribute. */
function withoutPad(e: Expression): Expression {
  if (e.name !== 'counter' && e.name !== 'limit') return e
  const { pad: _, ...rest } = e
  return rest
}

/** Whether the statements compile to these expressions, as we write them or as nft does. */
function agrees(
  expressions: readonly Expression[],
  statements: readonly Statement[],
  find: FindSet,
  anonymous: FindAnonymous,
): boolean {
  let compiled: Compiled
  try {
    compiled = compile(statements, find)
  } catch (error) {
    if (error instanceof EncodeError) return false
    throw error
  }
  const sets: AnonymousSet[] = []
  const given = expressions.map(e => {
    const set = e.name === 'lookup' && e.set !== undefined ? anonymous(e.set) : undefined
    return set ? { ...e, set: `#${sets.push(set) - 1}` } : e
  })
  if (JSON.stringify(sets) !== JSON.stringify(compiled.anonymous)) return false
  return isSame(given, compiled.expressions) || isSame(given, mergeComparisons(compiled.expressions))
}

/** Of expressions and what they consist of: equal ones have the same bytes. What is undefined is not there. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b) === 0
  const [x, y] = [a as Record<string, unknown>, b as Record<string, unknown>]
  for (const key in x) if (!isSame(x[key], y[key])) return false
  for (const key in y) if (x[key] === undefined && y[key] !== undefined) return false
  return true
}

class Recogniser {
  readonly #expressions: readonly Expression[]
  readonly #anonymous: FindAnonymous
  /** Whether a question about the protocol is left out where the next field implies it. */
  readonly #implied: boolean
  readonly #statements: Statement[] = []
  #at = 0
  /** Values in registers, for a translation. */
  readonly #loaded = new Map<number, Uint8Array>()
  #nfproto: number | undefined
  #l4proto: number | undefined
  /** How many of the last statements are questions about protocols that the next field may imply. */
  #questions = 0

  constructor(expressions: readonly Expression[], anonymous: FindAnonymous, implied: boolean) {
    this.#expressions = expressions
    this.#anonymous = anonymous
    this.#implied = implied
  }

  run(): Statement[] {
    while (this.#at < this.#expressions.length) this.#statement()
    return this.#statements
  }

  #next(): Expression | undefined {
    return this.#expressions[this.#at]
  }

  /** The next expression, when it has this name. */
  #take<N extends Expression['name']>(name: N): Named<N> | undefined {
    const e = this.#next()
    if (e?.name !== name) return undefined
    this.#at++
    return e as Named<N>
  }

  #push(statement: Statement): void {
    this.#statements.push(statement)
    this.#questions = 0
  }

  #statement(): void {
    const e = this.#next()!
    switch (e.name) {
      case 'counter':
        this.#at++
        this.#push({ kind: 'counter', packets: e.packets ?? 0, bytes: e.bytes ?? 0 })
        break
      case 'limit':
        this.#at++
        this.#push({
          kind: 'limit',
          rate: e.rate ?? 0,
          per: UNIT_NAMES[e.unit ?? 1] ?? 'second',
          ...(e.burst === 5 ? {} : { burst: e.burst ?? 0 }),
        })
        break
      case 'log':
        this.#at++
        this.#push(log(e))
        break
      case 'masq':
        this.#at++
        this.#push({ kind: 'masquerade', ...this.#ports(e) })
        break
      case 'nat':
        this.#at++
        this.#push({ kind: 'snat', to: this.#to(e), ...this.#ports(e) })
        break
      case 'notrack':
        this.#at++
        this.#push({ kind: 'notrack' })
        break
      case 'reject':
        this.#at++
        this.#push({ kind: 'reject' })
        break
      case 'immediate':
        this.#immediate(e)
        break
      default:
        this.#question()
        break
    }
  }

  #immediate(e: Named<'immediate'>): void {
    this.#at++
    if (e.data?.verdict) {
      this.#push({ kind: 'verdict', verdict: decodeVerdict(e.data.verdict) })
      return
    }
    // What a translation takes from registers comes before it.
    if (['immediate', 'nat', 'masq'].includes(this.#next()?.name ?? '')) {
      this.#loaded.set(e.dreg ?? 0, e.data?.value ?? new Uint8Array())
      return
    }
    const field = this.#written()
    this.#push({
      kind: 'set',
      field,
      value: Number(takeScalar(new Reader(e.data?.value ?? new Uint8Array()), FIELDS[field].type)),
    })
  }

  #ports({ protoMin, protoMax }: Named<'masq'> | Named<'nat'>): { ports?: { first: number; last: number } } {
    if (protoMin === undefined) return {}
    const port = (register: number): number =>
      Number(takeScalar(new Reader(this.#loaded.get(register) ?? new Uint8Array(2)), 'inet_service'))
    return { ports: { first: port(protoMin), last: port(protoMax ?? protoMin) } }
  }

  #to({ addrMin = 0, family }: Named<'nat'>): Addr {
    const value = this.#loaded.get(addrMin)
    if (value?.length !== (family === 2 ? 4 : 16)) throw new DecodeError('a translation to no address', 0)
    return fromBytes(value)
  }

  /** The field that the register is written to. */
  #written(): 'meta priority' | 'meta mark' {
    const e = this.#take('meta')
    if (e?.sreg !== undefined && e.key === 2) return 'meta priority'
    if (e?.sreg !== undefined && e.key === 3) return 'meta mark'
    throw new DecodeError(`a value that is written to ${e?.name ?? 'nothing'} ${e?.key ?? ''}`, 0)
  }

  /** Loads, and what is done with the loaded. */
  #question(): void {
    const first = this.#load(REGISTER)
    if (first === undefined) throw new DecodeError(`${this.#next()?.name} where a value should be loaded`, 0)
    let mask: Uint8Array | undefined
    const bitwise = this.#take('bitwise')
    if (bitwise) mask = bitwise.mask?.value
    const written = this.#next()
    if (bitwise && written?.name === 'meta' && written.sreg !== undefined) {
      this.#bits(bitwise)
      return
    }
    this.#take('byteorder')
    const cmp = this.#take('cmp')
    if (cmp) {
      this.#comparison(first, mask, cmp)
      return
    }
    const range = this.#take('range')
    if (range) {
      this.#match(first, mask, range.op === NEQ ? '!=' : '==', { from: range.from?.value, to: range.to?.value })
      return
    }
    const fields = [this.#field(first)]
    let register = REGISTER + Math.ceil(TYPES[FIELDS[fields[0]!].type].size / 4)
    for (let more = this.#load(register); more; more = this.#load(register)) {
      this.#take('byteorder')
      const field = this.#field(more)
      fields.push(field)
      register += Math.ceil(TYPES[FIELDS[field].type].size / 4)
    }
    const found = this.#take('lookup')
    if (found === undefined) throw new DecodeError(`${this.#next()?.name ?? 'nothing'} after a load`, 0)
    this.#looked(fields, found)
  }

  /** A mark with some bits set or cleared, written back. */
  #bits({ mask, xor }: Named<'bitwise'>): void {
    const field = this.#written()
    const number = (value: Uint8Array | undefined): number =>
      Number(takeScalar(new Reader(value ?? new Uint8Array(4)), FIELDS[field].type))
    if (field !== 'meta mark') throw new DecodeError('bits of a priority', 0)
    this.#push({ kind: 'set-bits', field, bits: ~number(mask?.value) >>> 0, on: number(xor?.value) !== 0 })
  }

  /** The next expression, when it loads into this register. */
  #load(dreg: number): Load | undefined {
    const e = this.#next()
    if (e === undefined || !('dreg' in e) || e.dreg !== dreg) return undefined
    if (e.name !== 'meta' && e.name !== 'payload' && e.name !== 'ct' && e.name !== 'fib') return undefined
    this.#at++
    const { dreg: _, ...load } = e
    return load as Load
  }

  #field(load: Load): Field {
    const known = { nfproto: this.#nfproto, l4proto: this.#l4proto }
    const field = fieldsOf(load, known)[0]
    if (field === undefined) throw new DecodeError(`an unknown question ${JSON.stringify(load)}`, 0)
    return field
  }

  /** Takes back the questions about the protocol that these fields imply. */
  #imply(fields: readonly Field[]): void {
    const needs = (field: Field, name: 'nfproto' | 'l4proto', value: Scalar) => FIELDS[field][name] === value
    const questions = this.#statements.splice(this.#statements.length - this.#questions)
    for (const s of questions) {
      const asked = s.kind === 'match' && 'value' in s.right ? s.right.value : undefined
      const name = s.kind === 'match' && s.fields[0] === 'meta nfproto' ? 'nfproto' : 'l4proto'
      if (!this.#implied || asked === undefined || !fields.some(f => needs(f, name, asked))) this.#statements.push(s)
    }
    this.#questions = 0
  }

  #looked(fields: Field[], { set, dreg, flags }: Named<'lookup'>): void {
    if (set === undefined) throw new DecodeError('a lookup in nothing', 0)
    this.#imply(fields)
    const op = flags ? '!=' : '=='
    const anonymous = this.#anonymous(set)
    if (anonymous) this.#push({ kind: 'match', fields, op, right: { set: anonymous.elements } })
    else if (dreg === undefined) this.#push({ kind: 'match', fields, op, right: { ref: set } })
    else if (dreg === 0) this.#push({ kind: 'vmap', fields, map: set })
    else this.#push({ kind: 'set-map', field: this.#written(), fields, map: set })
  }

  #comparison(load: Load, mask: Uint8Array | undefined, cmp: Named<'cmp'>): void {
    if (cmp.op === EQ || cmp.op === NEQ) {
      this.#match(load, mask, cmp.op === EQ ? '==' : '!=', { value: cmp.data?.value })
      return
    }
    const end = this.#take('cmp')
    if (cmp.op !== GTE || end?.op !== LTE) throw new DecodeError(`comparison ${cmp.op} alone`, 0)
    this.#match(load, mask, '==', { from: cmp.data?.value, to: end.data?.value })
  }

  #match(
    load: Load,
    mask: Uint8Array | undefined,
    op: '==' | '!=',
    bytes: Record<string, Uint8Array | undefined>,
  ): void {
    const merged =
      load.name === 'payload' && load.base === TRANSPORT && (!this.#known(load) || (this.#isIcmp() && load.length > 1))
    if (merged && bytes.value && mask === undefined && op === '==') this.#split(load, bytes.value)
    else this.#compared(load, mask, op, bytes)
  }

  #compared(
    load: Load,
    mask: Uint8Array | undefined,
    op: '==' | '!=',
    bytes: Record<string, Uint8Array | undefined>,
  ): void {
    const field = this.#field(load)
    const { type } = FIELDS[field]
    const scalar = (name: string, bigEndian: boolean): Scalar => {
      const value = bytes[name]
      if (value === undefined) throw new DecodeError('a comparison with nothing', 0)
      if (type === 'ifname' && value.length < 16) return `${fromUtf8(value)}*`
      return takeScalar(new Reader(value), type, bigEndian)
    }
    const right: Operand =
      'value' in bytes ? { value: scalar('value', false) } : { from: scalar('from', true), to: scalar('to', true) }
    const masked = mask && Number(takeScalar(new Reader(mask), type))
    // A set bit of several states: compile says this for `ct state a,b`.
    if (field === 'ct state' && op === '!=' && masked !== undefined && 'value' in right && right.value === 0) {
      this.#push({ kind: 'match', fields: [field], op: '==', right: { value: masked } })
      return
    }
    const match: Statement = {
      kind: 'match',
      fields: [field],
      op,
      right,
      ...(masked === undefined ? {} : { mask: masked }),
    }
    if (field !== 'meta nfproto' && field !== 'meta l4proto') {
      this.#imply([field])
      this.#push(match)
      return
    }
    const questions = this.#questions
    this.#push(match)
    if (op !== '==' || mask !== undefined || !('value' in right)) return
    if (field === 'meta nfproto') this.#nfproto = Number(right.value)
    else this.#l4proto = Number(right.value)
    this.#questions = questions + 1
  }

  /** One comparison of neighbouring fields, as nft merges them. */
  #split(load: Extract<Load, { name: 'payload' }>, value: Uint8Array): void {
    for (let offset = 0; offset < value.length; ) {
      const rest = value.length - offset
      const lengths = this.#isIcmp() ? [1, 2] : [2]
      const part = lengths.find(
        length => length <= rest && this.#known({ ...load, offset: load.offset + offset, length }),
      )
      if (part === undefined) throw new DecodeError(`an unknown question ${JSON.stringify(load)}`, 0)
      this.#compared({ ...load, offset: load.offset + offset, length: part }, undefined, '==', {
        value: value.subarray(offset, offset + part),
      })
      offset += part
    }
  }

  #isIcmp(): boolean {
    return this.#l4proto === 1 || this.#l4proto === 58
  }

  #known(load: Load): boolean {
    return fieldsOf(load, { nfproto: this.#nfproto, l4proto: this.#l4proto }).length > 0
  }
}

function log({ group, prefix, level }: Named<'log'>): Statement {
  const names: Readonly<Record<number, 'notice' | 'info'>> = { 5: 'notice', 6: 'info' }
  const name = level === undefined ? undefined : names[level]
  return {
    kind: 'log',
    ...(prefix === undefined ? {} : { prefix }),
    ...(group === undefined ? {} : { group }),
    ...(name === undefined ? {} : { level: name }),
  }
}
