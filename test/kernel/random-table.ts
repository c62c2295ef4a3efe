// Random tables of nftables objects of every kind, as the kernel and nft accept them: the raw material of round trips.
// A table is a function of its seed. Base chains reach middle chains, those reach leaves; maps of verdicts name leaves.
import { type Addr, fromNumber } from '../../src/core/net/addr.ts'
import type {
  BaseHook,
  DataType,
  Element,
  Field,
  KeyPart,
  NftChain,
  NftSet,
  NftTable,
  Operand,
  Rule,
  Scalar,
  Statement,
  Verdict,
} from '../../src/core/nft/objects.ts'

/** mulberry32: a small generator with a 32 bit state. */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  /** From 0 to `n` - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n)
  }
  chance(of: number): boolean {
    return this.below(of) === 0
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }
  text(max: number): string {
    const letters = 'abcXYZ 019-_.:/,;{}#@%äß'
    const length = 1 + this.below(max)
    return Array.from({ length }, () => letters[this.below(letters.length)]).join('')
  }
}

const BITS: Readonly<Partial<Record<DataType, number>>> = {
  ipv4_addr: 32,
  ipv6_addr: 128,
  inet_proto: 8,
  inet_service: 16,
  icmp_type: 8,
  icmp_code: 8,
  icmpv6_type: 8,
  icmpv6_code: 8,
  classid: 32,
  mark: 32,
}
const KEYS: readonly (readonly DataType[])[] = [
  ['ipv4_addr'],
  ['ipv6_addr'],
  ['ifname'],
  ['inet_proto'],
  ['inet_service'],
  ['icmp_type'],
  ['icmpv6_type'],
  ['classid'],
  ['mark'],
  ['icmp_code'],
  ['icmpv6_code'],
  ['classid', 'inet_proto', 'inet_service'],
  ['classid', 'icmp_type', 'icmp_code'],
  ['classid', 'icmpv6_type', 'icmpv6_code'],
  ['ifname', 'ipv4_addr'],
  ['ifname', 'ipv6_addr'],
  ['classid', 'inet_proto'],
  ['mark', 'ipv4_addr', 'inet_service'],
  ['ipv6_addr', 'inet_proto', 'inet_service'],
  ['inet_proto', 'inet_service'],
]
const FIELDS: Readonly<Partial<Record<DataType, readonly Field[]>>> = {
  ipv4_addr: ['ip saddr', 'ip daddr'],
  ipv6_addr: ['ip6 saddr', 'ip6 daddr'],
  ifname: ['iifname', 'oifname'],
  inet_proto: ['meta l4proto'],
  inet_service: ['th sport', 'th dport'],
  icmp_type: ['icmp type'],
  icmp_code: ['icmp code'],
  icmpv6_type: ['icmpv6 type'],
  icmpv6_code: ['icmpv6 code'],
  classid: ['meta priority'],
  mark: ['meta mark'],
}
const VALUES: readonly DataType[] = [
  'verdict',
  'classid',
  'mark',
  'ipv4_addr',
  'ipv6_addr',
  'inet_service',
  'verdict',
  'classid',
]

const scalarOf = (type: DataType, n: bigint): Scalar =>
  type === 'ipv4_addr' ? fromNumber(4, n) : type === 'ipv6_addr' ? fromNumber(6, n) : Number(n)

function bits(r: Random, width: number): bigint {
  let n = 0n
  for (let i = 0; i < width; i += 16) n = (n << 16n) | BigInt(r.below(65536))
  return n & ((1n << BigInt(width)) - 1n)
}

export function randomScalar(r: Random, type: DataType): Scalar {
  if (type === 'ifname') return `cali${r.below(100_000).toString(36)}`
  const width = BITS[type]!
  if (r.chance(12)) return scalarOf(type, r.chance(2) ? 0n : (1n << BigInt(width)) - 1n)
  return scalarOf(type, bits(r, width))
}

const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)

/** Disjoint ranges, some of one value, some that touch the next, some at the ends of the space. */
function disjoint(r: Random, type: DataType, count: number): KeyPart[] {
  const width = BITS[type]!
  const max = (1n << BigInt(width)) - 1n
  const points = new Set<bigint>()
  if (r.chance(2)) points.add(0n)
  if (r.chance(2)) points.add(max)
  for (let i = 0; i < count * 2; i++) points.add(bits(r, width))
  const sorted = [...points].sort(ascending)
  const parts: KeyPart[] = []
  for (let i = 0; i + 1 < sorted.length; i += 2) {
    const [low, high] = [sorted[i]!, sorted[i + 1]!]
    const kind = r.below(4)
    if (kind === 0) parts.push(scalarOf(type, low))
    else if (kind === 1 && low + 1n < high) {
      const middle = (low + high) / 2n
      parts.push(range(type, low, middle), range(type, middle + 1n, high))
    } else parts.push(range(type, low, high))
  }
  return parts
}

const range = (type: DataType, low: bigint, high: bigint): KeyPart =>
  low === high ? scalarOf(type, low) : { from: scalarOf(type, low), to: scalarOf(type, high) }

function randomKeys(r: Random, set: Pick<NftSet, 'key' | 'interval'>, count: number): (readonly KeyPart[])[] {
  const [first] = set.key
  if (set.interval && set.key.length === 1) return disjoint(r, first!, count).map(part => [part])
  const keys = new Map<string, readonly KeyPart[]>()
  for (let i = 0; i < count; i++) {
    // In a pipapo the first part is one value, and no two elements share it: so they do not overlap.
    const key = set.key.map((type, n) => {
      if (!set.interval || n === 0 || type === 'ifname' || r.chance(2)) return randomScalar(r, type)
      const [low, high] = [bits(r, BITS[type]!), bits(r, BITS[type]!)].sort(ascending)
      return range(type, low!, high!)
    })
    keys.set(set.interval ? String(key[0]) : JSON.stringify(key), key)
  }
  return [...keys.values()]
}

function randomSet(r: Random, name: string, leaves: readonly string[]): NftSet {
  const key = r.pick(KEYS)
  const interval = r.chance(3) && !(key.length === 1 && key[0] === 'ifname')
  const value = r.chance(3) ? undefined : r.pick(VALUES)
  const size = r.chance(8) ? 0 : 1 + r.below(24)
  const verdict = (): Verdict =>
    r.chance(3)
      ? { kind: r.pick(['accept', 'drop', 'return', 'continue'] as const) }
      : { kind: r.pick(['goto', 'jump'] as const), chain: r.pick(leaves) }
  const mapped = () => (value === undefined ? {} : { value: value === 'verdict' ? verdict() : randomScalar(r, value) })
  const comment = () => (r.chance(5) ? { comment: r.text(100).slice(0, 100) } : {})
  const elements: Element[] = randomKeys(r, { key, interval }, size).map(parts => ({
    key: parts,
    ...mapped(),
    ...comment(),
  }))
  if (!interval && r.chance(3)) elements.push({ key: '*', ...mapped() })
  return { name, key, ...(value && { value }), ...(interval && { interval }), elements, ...comment() }
}

/** What a rule has said already: nft refuses contradictions. */
type Flavour = { readonly family: 4 | 6; readonly icmp: boolean }

const fits = (set: NftSet, { family, icmp }: Flavour): boolean =>
  set.key.every(type => {
    if (type === 'ipv4_addr') return family === 4
    if (type === 'ipv6_addr') return family === 6
    if (type === 'icmp_type' || type === 'icmp_code') return family === 4 && icmp
    if (type === 'icmpv6_type' || type === 'icmpv6_code') return family === 6 && icmp
    if (type === 'inet_service' || type === 'inet_proto') return !icmp
    return true
  })

const fieldsFor = (r: Random, set: NftSet): Field[] => set.key.map(type => r.pick(FIELDS[type]!))

function randomMatch(r: Random, flavour: Flavour, seen: Set<Field>): Statement | undefined {
  const { family, icmp } = flavour
  const choices: Field[] = [
    'iifname',
    'oifname',
    'oif',
    'meta priority',
    'meta mark',
    'ct state',
    'fib daddr type',
    ...(family === 4 ? (['ip saddr', 'ip daddr'] as const) : (['ip6 saddr', 'ip6 daddr'] as const)),
    ...(icmp
      ? family === 4
        ? (['icmp type', 'icmp code'] as const)
        : (['icmpv6 type', 'icmpv6 code'] as const)
      : (['meta l4proto', 'th sport', 'th dport'] as const)),
  ]
  const field = r.pick(choices)
  // nft reorders neighbouring header fields, merges them even where that is wrong (see print.ts), and a second question about the protocol may contradict the first.
  const before: Partial<Record<Field, readonly Field[]>> = {
    'th sport': ['th dport'],
    'th dport': ['th sport'],
    'icmp type': ['icmp code'],
    'icmpv6 type': ['icmpv6 code'],
    'icmp code': ['icmp type'],
    'icmpv6 code': ['icmpv6 type'],
    'meta l4proto': ['meta l4proto'],
  }
  if (before[field]?.some(f => seen.has(f))) return undefined
  seen.add(field)
  const op = r.pick(['==', '!='] as const)
  const match = (right: Operand, extra: { mask?: number } = {}): Statement => ({
    kind: 'match',
    fields: [field],
    op,
    right,
    ...extra,
  })
  const type = (Object.keys(FIELDS) as DataType[]).find(t => FIELDS[t]!.includes(field))
  switch (field) {
    case 'ct state': {
      const states = [1, 2, 4, 8, 64]
      if (r.chance(4)) return match({ set: [r.pick(states), r.pick(states), r.pick(states)] })
      return match({ value: r.pick(states) | (r.chance(2) ? r.pick(states) : 0) })
    }
    case 'fib daddr type':
      return match(r.chance(3) ? { set: [2, r.below(9), r.below(9)] } : { value: r.below(9) })
    case 'oif':
      return match(
        r.chance(3) ? { set: [1, 5000 + r.below(100), 6000] } : { value: r.below(2) === 0 ? 1 : 5000 + r.below(1000) },
      )
    case 'iifname':
    case 'oifname': {
      const name = String(randomScalar(r, 'ifname'))
      if (r.chance(3)) return match({ set: [name, randomScalar(r, 'ifname'), randomScalar(r, 'ifname')] })
      return match({ value: r.chance(2) ? name : `${name}*` })
    }
    case 'meta mark':
    case 'meta priority':
      if (r.chance(3)) {
        const mask = 1 + r.below(0xfffffffe)
        return match({ value: (r.below(2 ** 32) & mask) >>> 0 }, { mask })
      }
  }
  if (field === 'meta l4proto' && op === '==') {
    const known = [6, 17, 132, 136]
    // nft cannot list a rule that asks for the ports of other protocols (see compile.ts).
    return match(r.chance(3) ? { set: known.slice(r.below(3)) } : { value: r.pick(known) })
  }
  const right = randomOperand(r, type!)
  return match(right)
}

function randomOperand(r: Random, type: DataType): Operand {
  if (r.chance(3)) return { value: randomScalar(r, type) }
  const parts = disjoint(r, type, 1 + r.below(5))
  const part = parts[0]
  if (part !== undefined && r.chance(2)) return typeof part === 'object' ? part : { value: part }
  if (parts.length > 0 && r.chance(2)) return { set: parts }
  return { set: Array.from({ length: 1 + r.below(5) }, () => randomScalar(r, type)) }
}

type Scope = { readonly sets: readonly NftSet[]; readonly targets: readonly string[]; readonly verdictMaps: boolean }

function randomRule(r: Random, scope: Scope): Rule {
  const flavour: Flavour = { family: r.pick([4, 6] as const), icmp: r.chance(3) }
  const seen = new Set<Field>()
  const statements: Statement[] = []
  for (let i = r.below(4); i > 0; i--) {
    const match = randomMatch(r, flavour, seen)
    if (match) statements.push(match)
  }
  const usable = scope.sets.filter(set => fits(set, flavour))
  const set = usable.length > 0 && r.chance(2) ? r.pick(usable) : undefined
  const clash =
    set?.key.some(type =>
      FIELDS[type]!.some(field => field.startsWith('th ') || field.startsWith('icmp') || field === 'meta l4proto'),
    ) && seen.size > 0
  const side = randomSide(r)
  if (side) statements.push(side)
  if (set && !clash) {
    const fields = fieldsFor(r, set)
    if (set.value === undefined)
      statements.push({ kind: 'match', fields, op: r.pick(['==', '!='] as const), right: { ref: set.name } })
    else if (set.value === 'classid')
      statements.push({ kind: 'set-map', field: 'meta priority', fields, map: set.name })
    else if (set.value === 'mark') statements.push({ kind: 'set-map', field: 'meta mark', fields, map: set.name })
    else if (set.value === 'verdict' && scope.verdictMaps)
      return withComment(r, [...statements, { kind: 'vmap', fields, map: set.name }])
  }
  const end = randomEnd(r, scope.targets)
  return withComment(
    r,
    end === undefined && statements.length > 0
      ? statements
      : [...statements, end ?? { kind: 'verdict', verdict: { kind: 'drop' } }],
  )
}

const withComment = (r: Random, statements: readonly Statement[]): Rule =>
  r.chance(5) ? { statements, comment: r.text(100).slice(0, 100) } : { statements }

function randomSide(r: Random): Statement | undefined {
  switch (r.below(10)) {
    case 0:
      return { kind: 'counter' }
    case 1:
      return {
        kind: 'limit',
        rate: 1 + r.below(10_000),
        per: r.pick(['second', 'minute', 'hour', 'day'] as const),
        ...(r.chance(2) && { burst: 1 + r.below(100) }),
      }
    case 2:
      return { kind: 'log', ...(r.chance(2) && { prefix: r.text(80) }), group: r.below(65536) }
    case 3:
      return {
        kind: 'log',
        ...(r.chance(2) && { prefix: r.text(80) }),
        ...(r.chance(2) && { level: r.pick(['info', 'notice', 'warn'] as const) }),
      }
    case 4:
      return { kind: 'set', field: 'meta priority', value: r.below(2 ** 32) }
    case 5:
      return { kind: 'set', field: 'meta mark', value: r.below(2 ** 32) }
    case 6:
      return { kind: 'notrack' }
    case 7:
      return { kind: 'set-bits', field: 'meta mark', bits: 1 << r.below(31), on: r.chance(2) }
    default:
      return undefined
  }
}

function randomEnd(r: Random, targets: readonly string[]): Statement | undefined {
  if (r.chance(4)) return undefined
  if (r.chance(8)) return { kind: 'reject' }
  if (targets.length > 0 && r.chance(2))
    return { kind: 'verdict', verdict: { kind: r.pick(['goto', 'jump'] as const), chain: r.pick(targets) } }
  return { kind: 'verdict', verdict: { kind: r.pick(['accept', 'drop', 'return', 'continue'] as const) } }
}

const many = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))

/** A table of about `size` sets, chains, rules and elements together. */
export function randomTable(seed: number, size: number): NftTable {
  const r = new Random(seed)
  const leaves = many(Math.max(2, size / 25), i => `leaf${i}`)
  const middles = many(Math.max(2, size / 50), i => `mid${i}`)
  const sets = many(Math.max(3, size / 20), i => randomSet(r, `s${i}`, leaves))
  const chain = (name: string, scope: Omit<Scope, 'sets'>, base?: BaseHook): NftChain => ({
    name,
    ...(base && { base }),
    rules: many(r.below(12), () => randomRule(r, { sets, ...scope })),
    ...(r.chance(4) && { comment: r.text(60) }),
  })
  const filter = (hook: BaseHook['hook']): BaseHook => ({
    type: 'filter',
    hook,
    priority: r.below(401) - 200,
    policy: r.pick(['accept', 'drop'] as const),
  })
  const chains = [
    ...leaves.map(name => chain(name, { targets: [], verdictMaps: false })),
    ...middles.map(name => chain(name, { targets: leaves, verdictMaps: true })),
    ...(['input', 'forward', 'output'] as const).map(hook =>
      chain(`at_${hook}`, { targets: middles, verdictMaps: false }, filter(hook)),
    ),
    {
      name: 'nat_out',
      base: { type: 'nat', hook: 'postrouting', priority: 100, policy: 'accept' } as const,
      rules: Array.from({ length: 8 }, () => ({
        statements: [
          { kind: 'match', fields: ['oifname'], op: '!=', right: { value: 'cali*' } } as const,
          ...randomTranslation(r),
        ],
        comment: 'leaves the cluster',
      })),
    },
    { name: 'raw', base: { type: 'filter', hook: 'prerouting', priority: -300, policy: 'accept' } as const, rules: [] },
  ]
  return { family: 'inet', name: `t${seed}`, sets, chains }
}

/** Sets, chains, rules and elements of a table. */
export const countObjects = (table: NftTable): number =>
  table.sets.reduce((n, s) => n + 1 + s.elements.length, 0) + table.chains.reduce((n, c) => n + 1 + c.rules.length, 0)

export const someAddr = (n: number): Addr => fromNumber(4, BigInt(0x0a000000 + n))

/** A source translation; with ports it needs to know the protocol. */
function randomTranslation(r: Random): Statement[] {
  const first = 1 + r.below(60_000)
  const ports = r.chance(2) ? { first, last: r.chance(3) ? first : first + r.below(5000) } : undefined
  const to = randomScalar(r, r.chance(2) ? 'ipv4_addr' : 'ipv6_addr') as Addr
  const ask: Statement = { kind: 'match', fields: ['meta l4proto'], op: '==', right: { value: r.pick([6, 17]) } }
  const what: Statement = r.chance(2) ? { kind: 'masquerade' } : { kind: 'snat', to }
  return ports ? [ask, { ...what, ports }] : [what]
}
