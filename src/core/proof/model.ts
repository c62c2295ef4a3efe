// What the raw ruleset says, in a form of its own: tables' base chains by hook and priority, chains as rules of expressions,
// sets as elements of numbers. Nothing is interpreted yet, and an attribute that is not asked for is simply not read: what
// an expression means is decided where it is compiled (program.ts), where anything unknown is said to be unknown.
import {
  type Attr,
  attrs,
  be32,
  bodyAttrs,
  byType,
  inner,
  type Prim,
  prim,
  RawError,
  type RawRuleset,
  text,
} from './raw.ts'

export type HookName = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'
const HOOKS: readonly HookName[] = ['prerouting', 'input', 'forward', 'output', 'postrouting']
/** NFPROTO_*. */
export const NFPROTO = { inet: 1, ip: 2, netdev: 5, ip6: 10 } as const

export type VerdictKind = 'accept' | 'drop' | 'return' | 'continue' | 'break' | 'goto' | 'jump' | 'queue'
export type Verdict = { readonly kind: VerdictKind; readonly chain?: string | undefined }
const VERDICTS: Readonly<Record<number, VerdictKind>> = {
  0: 'drop',
  1: 'accept',
  3: 'queue',
  [-1]: 'continue',
  [-2]: 'break',
  [-3]: 'jump',
  [-4]: 'goto',
  [-5]: 'return',
}

/** One expression: its kernel name, and its attributes by number. */
export type Expr = { readonly name: string; readonly at: Uint8Array; readonly attrs: ReadonlyMap<number, Attr> }
export type RuleModel = {
  readonly index: number
  readonly handle: number
  readonly comment?: string | undefined
  readonly exprs: readonly Expr[]
}
export type Base = {
  readonly hook: HookName
  readonly priority: number
  readonly type: string
  readonly policy: 'accept' | 'drop'
}
export type ChainModel = { readonly name: string; readonly base?: Base; readonly rules: readonly RuleModel[] }

/** A key is kept as bytes: how it falls into parts is known only where it is looked up. */
export type ElementModel = {
  readonly key: Uint8Array
  /** Inclusive; of interval sets only. */
  readonly keyEnd: Uint8Array
  readonly value?: Prim
  readonly verdict?: Verdict
}
export type SetModel = {
  readonly name: string
  readonly keyLength: number
  readonly dataLength: number
  readonly isMap: boolean
  readonly isVerdictMap: boolean
  readonly elements: readonly ElementModel[]
  readonly catchAll?: ElementModel
  /** Why the contents cannot be relied on: elements that time out or are added by packets. */
  readonly volatile?: string
}
export type TableModel = {
  readonly family: number
  readonly name: string
  readonly dormant: boolean
  readonly chains: ReadonlyMap<string, ChainModel>
  readonly sets: ReadonlyMap<string, SetModel>
}
export type Ruleset = { readonly generation: number; readonly tables: readonly TableModel[] }

const FLAG = { INTERVAL: 4, MAP: 8, TIMEOUT: 0x10, EVAL: 0x20, OBJECT: 0x40, CONCAT: 0x80 } as const
const VERDICT_TYPE = 0xffffff00
/** All registers together. */
const DATA_BYTES = 64

export function verdictOf(b: Uint8Array, data: Attr): { value?: Prim; verdict?: Verdict } {
  const d = byType(inner(b, data))
  const value = d.get(1)
  if (value) return { value: prim(b, value.at, value.end) }
  const v = d.get(2)
  if (!v) throw new RawError('data without value or verdict')
  const parts = byType(inner(b, v))
  const kind = VERDICTS[(be32(b, parts.get(1)) ?? 0) | 0]
  if (!kind) throw new RawError('an unknown verdict')
  return { verdict: { kind, chain: text(b, parts.get(2)) } }
}

type SetHead = Omit<SetModel, 'elements' | 'catchAll'> & { readonly tree: boolean }
type RawElement = { readonly start: boolean; readonly catchAll: boolean; readonly element: ElementModel }

function setHead(b: Uint8Array, a: ReadonlyMap<number, Attr>): SetHead {
  const flags = be32(b, a.get(3)) ?? 0
  const volatile =
    flags & FLAG.TIMEOUT
      ? 'elements time out'
      : flags & FLAG.EVAL
        ? 'packets add elements'
        : flags & FLAG.OBJECT
          ? 'it leads to objects'
          : undefined
  const [keyLength, dataLength] = [be32(b, a.get(5)) ?? 0, be32(b, a.get(7)) ?? 0]
  if (keyLength > DATA_BYTES || dataLength > DATA_BYTES) throw new RawError('a set of longer data than registers hold')
  return {
    name: text(b, a.get(2)) ?? '',
    keyLength,
    dataLength,
    isMap: (flags & FLAG.MAP) !== 0,
    isVerdictMap: be32(b, a.get(6)) === VERDICT_TYPE,
    tree: (flags & FLAG.INTERVAL) !== 0 && (flags & FLAG.CONCAT) === 0,
    ...(volatile && { volatile }),
  }
}

const EMPTY = new Uint8Array()
function element(b: Uint8Array, at: Attr): RawElement {
  const a = byType(inner(b, at))
  const keyOf = (outer: Attr | undefined): Uint8Array => {
    const v = outer && inner(b, outer)[0]
    return v ? b.subarray(v.at, v.end) : EMPTY
  }
  const flags = be32(b, a.get(3)) ?? 0
  const key = keyOf(a.get(1))
  const data = a.get(2)
  return {
    start: (flags & 1) === 0,
    catchAll: (flags & 2) !== 0,
    element: { key, keyEnd: a.has(10) ? keyOf(a.get(10)) : key, ...(data && verdictOf(b, data)) },
  }
}

export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}

function before(key: Uint8Array): Uint8Array {
  const bytes = key.slice()
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = (bytes[i]! + 255) & 255
    if (bytes[i] !== 255) break
  }
  return bytes
}

/** A tree finds the greatest element not above the key: an interval lasts to the next element, start or end. */
function treeIntervals(found: readonly RawElement[], length: number): ElementModel[] {
  const sorted = found.toSorted(
    (a, b) => compareKeys(a.element.key, b.element.key) || Number(a.start) - Number(b.start),
  )
  return sorted.flatMap(({ start, element: e }, i) => {
    if (!start) return []
    const next = sorted.slice(i + 1, i + 4).find(x => compareKeys(x.element.key, e.key) > 0)
    return [{ ...e, keyEnd: next ? before(next.element.key) : new Uint8Array(length).fill(255) }]
  })
}

const COMMENT = 0
function comment(b: Uint8Array, a: Attr | undefined): string | undefined {
  for (let at = a?.at ?? 0; a && at + 2 <= a.end; at += 2 + b[at + 1]!) {
    if (b[at] === COMMENT) return text(b, { type: 0, at: at + 2, end: Math.min(a.end, at + 2 + b[at + 1]!) })
  }
  return undefined
}

function rule(b: Uint8Array, a: ReadonlyMap<number, Attr>, index: number): RuleModel {
  const list = a.get(4)
  const exprs = (list ? inner(b, list) : []).map((item): Expr => {
    const parts = byType(inner(b, item))
    const data = parts.get(2)
    return { name: text(b, parts.get(1)) ?? '', at: b, attrs: byType(data ? attrs(b, data.at, data.end) : []) }
  })
  if (a.has(5)) exprs.push({ name: 'compat', at: b, attrs: new Map() })
  const handle = a.get(3)
  return { index, handle: handle ? Number(prim(b, handle.at, handle.end)) : 0, comment: comment(b, a.get(7)), exprs }
}

type Draft = {
  family: number
  name: string
  dormant: boolean
  chains: Map<string, { name: string; base?: Base; rules: RuleModel[] }>
  sets: Map<string, { head: SetHead; found: RawElement[] }>
}

/** Reads the bodies; throws a RawError for bytes that cannot be. */
export function decodeRuleset(raw: RawRuleset): Ruleset {
  const drafts = new Map<string, Draft>()
  const each = (
    bodies: readonly Uint8Array[],
    take: (b: Uint8Array, a: ReadonlyMap<number, Attr>, d: Draft) => void,
  ) => {
    for (const b of bodies) {
      const a = byType(bodyAttrs(b))
      const draft = drafts.get(`${b[0]} ${text(b, a.get(1))}`)
      if (draft) take(b, a, draft)
    }
  }
  for (const b of raw.tables) {
    const a = byType(bodyAttrs(b))
    const name = text(b, a.get(1)) ?? ''
    const dormant = ((be32(b, a.get(2)) ?? 0) & 1) !== 0
    drafts.set(`${b[0]} ${name}`, { family: b[0]!, name, dormant, chains: new Map(), sets: new Map() })
  }
  each(raw.chains, (b, a, d) => {
    const name = text(b, a.get(3)) ?? ''
    const hook = a.get(4) && byType(inner(b, a.get(4)!))
    const base: Base | undefined = hook && {
      hook: HOOKS[be32(b, hook.get(1)) ?? 0] ?? 'prerouting',
      priority: (be32(b, hook.get(2)) ?? 0) | 0,
      type: text(b, a.get(7)) ?? 'filter',
      policy: be32(b, a.get(5)) === 0 ? 'drop' : 'accept',
    }
    d.chains.set(name, { name, ...(base && { base }), rules: [] })
  })
  each(raw.sets, (b, a, d) => {
    const head = setHead(b, a)
    d.sets.set(head.name, { head, found: [] })
  })
  each(raw.elements, (b, a, d) => {
    const set = d.sets.get(text(b, a.get(2)) ?? '')
    const list = a.get(3)
    for (const item of set && list ? inner(b, list) : []) {
      const found = element(b, item)
      const { key, keyEnd } = found.element
      if (!found.catchAll && (key.length !== set!.head.keyLength || keyEnd.length !== key.length))
        throw new RawError(`a key of ${key.length} bytes in set ${set!.head.name}`)
      set!.found.push(found)
    }
  })
  each(raw.rules, (b, a, d) => {
    const chain = d.chains.get(text(b, a.get(2)) ?? '')
    chain?.rules.push(rule(b, a, chain.rules.length + 1))
  })
  return { generation: raw.generation, tables: [...drafts.values()].map(finish) }
}

function finish(d: Draft): TableModel {
  const sets = [...d.sets].map(([name, { head, found }]): [string, SetModel] => {
    const { tree, ...rest } = head
    const keyed = found.filter(f => !f.catchAll)
    const elements = tree ? treeIntervals(keyed, head.keyLength) : keyed.map(f => f.element)
    const catchAll = found.find(f => f.catchAll)?.element
    return [name, { ...rest, elements, ...(catchAll && { catchAll }) }]
  })
  return { family: d.family, name: d.name, dormant: d.dormant, chains: d.chains, sets: new Map(sets) }
}
