// A table's dump back into one value. Messages are handed over one by one (their bytes are borrowed); `result` puts them
// together. Nothing is dropped in silence: what cannot be understood keeps its place, empty, and is listed as unknown.

import { attributes, eachAttribute, text } from '../netlink/attributes.ts'
import { DecodeError, Reader } from '../netlink/bytes.ts'
import type { AnonymousSet } from './compile.ts'
import { anonymousSet } from './compile.ts'
import { ElementDump } from './element-dump.ts'
import { isPipapo, isTree, type Shape } from './elements.ts'
import { shapeOf } from './encode.ts'
import { EncodeError } from './encode-error.ts'
import { CHAIN, HOOKS, POLICIES, RULE, SET, SET_FLAGS, TABLE, TABLE_FLAGS } from './nfnetlink.ts'
import type { BaseHook, DataType, Element, NftChain, NftSet, NftTable, Rule, UnknownObject } from './objects.ts'
import { recognise } from './recognise.ts'
import { keyLength, keyTypes, TYPES, typeByCode, type ValueType, VERDICT_CODE } from './types.ts'
import { readComment, readSetComment } from './userdata.ts'

/** Only the names, for what is not understood otherwise. */
const NAMES = {
  chain: attributes({ table: [1, text], name: [3, text] }),
  set: attributes({ table: [1, text], name: [2, text] }),
  rule: attributes({ table: [1, text], chain: [2, text] }),
}

type RuleValues = ReturnType<typeof RULE.decode>
type SetValues = ReturnType<typeof SET.decode>

/** Named sets may have these as keys; the others occur in anonymous sets only. */
const RULE_ONLY: readonly ValueType[] = ['ifindex', 'nfproto', 'ct_state', 'fib_addrtype']

export class TableDump {
  readonly #name: string
  readonly #unknown: UnknownObject[] = []
  readonly #chains = new Map<string, NftChain>()
  readonly #sets = new Map<string, NftSet>()
  readonly #anonymous = new Map<string, { type: ValueType; interval: boolean }>()
  readonly #elements = new Map<string, ElementDump>()
  /** Sets with an element that is not understood: they are told empty. */
  readonly #failed = new Set<string>()
  /** How many elements the kernel says that a set has; it does not count catch-alls, and half a tree's. */
  readonly #counts = new Map<string, number>()
  readonly #rules: { chain: string; rule: RuleValues | DecodeError }[] = []
  #found = false

  constructor(name: string) {
    this.#name = name
  }

  /** All sets that were told so far, anonymous ones too: whose elements are still to be asked for. */
  get setNames(): readonly string[] {
    return [...this.#sets.keys(), ...this.#anonymous.keys()]
  }

  #fail(kind: UnknownObject['kind'], object: string, error: unknown): void {
    if (!(error instanceof DecodeError || error instanceof EncodeError)) throw error
    this.#unknown.push({ kind, object, reason: error.message })
  }

  /** The body of NEWTABLE, behind its nfgenmsg; so with the others below. */
  table(body: Reader): void {
    this.#found = true
    try {
      const { flags = 0, userdata } = TABLE.decode(body)
      if (flags & TABLE_FLAGS.DORMANT) throw new DecodeError('the table is dormant', body.at)
      if (userdata !== undefined && userdata.length > 0) throw new DecodeError('the table has user data', body.at)
    } catch (error) {
      this.#fail('table', this.#name, error)
    }
  }

  chain(body: Reader): void {
    const names = NAMES.chain.decode(copy(body))
    if (names.table !== this.#name || names.name === undefined) return
    const { name } = names
    try {
      const v = CHAIN.decode(body)
      if (((v.flags ?? 0) & ~1) !== 0) throw new DecodeError(`unknown chain flags ${v.flags}`, body.at)
      const comment = v.userdata && readComment(v.userdata)
      this.#chains.set(name, {
        name,
        ...(v.hook && { base: baseHook(v) }),
        rules: [],
        ...(comment !== undefined && { comment }),
      })
    } catch (error) {
      this.#fail('chain', name, error)
      this.#chains.set(name, { name, rules: [] })
    }
  }

  set(body: Reader): void {
    const names = NAMES.set.decode(copy(body))
    if (names.table !== this.#name || names.name === undefined) return
    const { name } = names
    try {
      const values = SET.decode(body)
      if ((values.flags ?? 0) & SET_FLAGS.ANONYMOUS) this.#anonymous.set(name, anonymousShape(values))
      else {
        const set = namedSet(name, values)
        this.#sets.set(name, set)
        if (values.count !== undefined && !isTree(shapeOf(set))) this.#counts.set(name, values.count)
      }
    } catch (error) {
      this.#fail('set', name, error)
    }
  }

  /** The body of NEWSETELEM of the set `name`. */
  elements(name: string, body: Reader): void {
    const shape = this.#shapeOf(name)
    // A set that is not understood is told as such.
    if (shape === undefined || this.#failed.has(name)) return
    const dump = this.#elements.get(name) ?? new ElementDump(shape)
    this.#elements.set(name, dump)
    try {
      for (const { type, payload } of eachAttribute(body)) {
        if (type === SET_ELEM_LIST.ELEMENTS) dump.take(payload)
        else if (type !== SET_ELEM_LIST.TABLE && type !== SET_ELEM_LIST.SET)
          throw new DecodeError(`unknown attribute ${type}`, payload.at)
      }
    } catch (error) {
      this.#fail('elements', `set ${name}`, error)
      this.#failed.add(name)
      this.#elements.delete(name)
    }
  }

  #shapeOf(name: string): Shape | undefined {
    const set = this.#sets.get(name)
    if (set) return shapeOf(set)
    const anonymous = this.#anonymous.get(name)
    return anonymous && { key: [anonymous.type], interval: anonymous.interval }
  }

  /**
   * Whether all elements of a set came, each once. A hash that grows while it is dumped tells some twice and others not at
   * all, without any flag. When they did not, they are forgotten, to be asked for again.
   */
  isWhole(name: string): boolean {
    const count = this.#counts.get(name)
    const keyed = this.#elements.get(name)?.keyed ?? 0
    if (count === undefined || this.#failed.has(name) || keyed === count) return true
    this.#elements.delete(name)
    return false
  }

  rule(body: Reader): void {
    const names = NAMES.rule.decode(copy(body))
    if (names.table !== this.#name || names.chain === undefined) return
    try {
      this.#rules.push({ chain: names.chain, rule: RULE.decode(body) })
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#rules.push({ chain: names.chain, rule: error })
    }
  }

  /** The whole table; undefined when the kernel told of none. */
  result(): NftTable | undefined {
    if (!this.#found) return undefined
    const sets = [...this.#sets.values()].map(set => ({ ...set, elements: this.#elementsOf(set.name) }))
    const anonymous = new Map<string, AnonymousSet>()
    for (const [name, shape] of this.#anonymous) {
      const set = this.#anonymousSet(name, shape)
      if (set) anonymous.set(name, set)
    }
    const rules = new Map<string, Rule[]>()
    for (const { chain, rule } of this.#rules) {
      const list = rules.get(chain) ?? []
      list.push(this.#rule(`rule ${list.length + 1} of chain ${chain}`, rule, anonymous))
      rules.set(chain, list)
    }
    const chains = [...this.#chains.values()].map(chain => ({ ...chain, rules: rules.get(chain.name) ?? [] }))
    const table: NftTable = { family: 'inet', name: this.#name, sets, chains }
    return this.#unknown.length > 0 ? { ...table, unknown: this.#unknown } : table
  }

  #elementsOf(name: string): readonly Element[] {
    try {
      return this.#elements.get(name)?.result() ?? []
    } catch (error) {
      this.#fail('elements', `set ${name}`, error)
      return []
    }
  }

  #anonymousSet(name: string, { type, interval }: { type: ValueType; interval: boolean }): AnonymousSet | undefined {
    try {
      const elements = this.#elementsOf(name)
      const parts = elements.map(({ key, comment }) => {
        if (key === '*' || comment !== undefined) throw new DecodeError('more than a key', 0)
        return key[0]!
      })
      return { ...anonymousSet(type, parts), interval }
    } catch (error) {
      this.#fail('elements', `set ${name}`, error)
      return undefined
    }
  }

  #rule(object: string, values: RuleValues | DecodeError, anonymous: ReadonlyMap<string, AnonymousSet>): Rule {
    try {
      if (values instanceof DecodeError) throw values
      const statements = recognise(
        values.expressions ?? [],
        name => this.#sets.get(name),
        name => anonymous.get(name),
      )
      const comment = values.userdata && readComment(values.userdata)
      return comment === undefined ? { statements } : { statements, comment }
    } catch (error) {
      this.#fail('rule', object, error)
      return { statements: [] }
    }
  }
}

const SET_ELEM_LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const

const copy = (r: Reader): Reader => new Reader(r.bytes, r.at, r.end)

function baseHook({ hook, policy, type }: ReturnType<typeof CHAIN.decode>): BaseHook {
  const name = HOOKS[hook?.hook ?? -1]
  const verdict = POLICIES[policy ?? 1]
  if (name === undefined || verdict === undefined || (type !== 'filter' && type !== 'nat'))
    throw new DecodeError(`an unknown base chain: type ${type}, hook ${hook?.hook}, policy ${policy}`, 0)
  return { type, hook: name, priority: (hook?.priority ?? 0) | 0, policy: verdict }
}

function namedSet(name: string, v: SetValues): NftSet {
  const key = keyTypes(v.keyType ?? 0)
  if (key === undefined || key.some(type => RULE_ONLY.includes(type)))
    throw new DecodeError(`an unknown key type ${v.keyType}`, 0)
  const flags = v.flags ?? 0
  const interval = (flags & SET_FLAGS.INTERVAL) !== 0
  const isMap = (flags & SET_FLAGS.MAP) !== 0
  const value = isMap ? valueType(v) : undefined
  const concat = isPipapo({ key, interval })
  const allowed = SET_FLAGS.INTERVAL | SET_FLAGS.MAP | (concat ? SET_FLAGS.CONCAT : 0)
  if ((flags & ~allowed) !== 0 || (concat && !(flags & SET_FLAGS.CONCAT)))
    throw new DecodeError(`unknown set flags ${flags}`, 0)
  if (v.keyLength !== keyLength(key)) throw new DecodeError(`a key of ${v.keyLength} bytes`, 0)
  if (v.policy) throw new DecodeError(`an unknown set policy ${v.policy}`, 0)
  if (v.desc?.size !== undefined) throw new DecodeError('a limit of size', 0)
  if (concat && !key.every((type, i) => v.desc?.concat?.[i]?.length === TYPES[type].size))
    throw new DecodeError('the parts of the key have other lengths', 0)
  const comment = v.userdata && readSetComment(v.userdata)
  return {
    name,
    key: key as readonly DataType[],
    ...(value && { value }),
    ...(interval && { interval }),
    elements: [],
    ...(comment !== undefined && { comment }),
  }
}

function valueType(v: SetValues): DataType {
  const type = v.dataType === VERDICT_CODE ? 'verdict' : typeByCode(v.dataType ?? 0)
  if (type === undefined || (type !== 'verdict' && (RULE_ONLY.includes(type) || v.dataLength !== TYPES[type].size)))
    throw new DecodeError(`an unknown type of values ${v.dataType}`, 0)
  return type as DataType
}

function anonymousShape(v: SetValues): { type: ValueType; interval: boolean } {
  const key = keyTypes(v.keyType ?? 0)
  const type = key?.[0]
  const flags = v.flags ?? 0
  const known = SET_FLAGS.ANONYMOUS | SET_FLAGS.CONSTANT | SET_FLAGS.INTERVAL
  if (type === undefined || key?.length !== 1 || v.keyLength !== TYPES[type].size || (flags & ~known) !== 0)
    throw new DecodeError(`an anonymous set of type ${v.keyType} with flags ${flags}`, 0)
  return { type, interval: (flags & SET_FLAGS.INTERVAL) !== 0 }
}
