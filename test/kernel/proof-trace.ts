// A second opinion on what a ruleset does: follows one packet through the output of `nft -j list ruleset`. Written from
// nft's own description of its JSON, for the tests of the proof, with which it shares nothing. Throws at what it does not
// know, so that no opinion is ever given on what was not read.
import { parseAddr, toNumber } from '../../src/core/net/addr.ts'
import { prefix, prefixRange } from '../../src/core/net/prefix.ts'
import type { PlacedPacket } from '../../src/core/proof/difference.ts'

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Obj = { readonly [key: string]: Json }
type Value = number | bigint | string
type Range = { readonly from: Value; readonly to: Value }
type Part = Value | Range | '*'
type Entry = { readonly parts: readonly Part[]; readonly value: Json }
export type TracedSet = {
  readonly types: readonly string[]
  readonly entries: readonly Entry[]
  readonly valueType: string
}
type TracedRule = { readonly handle: number; readonly comment: string; readonly expr: readonly Obj[] }
export type TracedChain = {
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly type: string
  readonly prio: number
  readonly policy: string
  readonly rules: TracedRule[]
}
type Table = {
  readonly chains: Map<string, TracedChain>
  readonly sets: Map<string, TracedSet>
  readonly family: string
}
export type Tracer = { readonly tables: ReadonlyMap<string, Table> }
export type Traced = {
  readonly verdict: 'accept' | 'drop'
  readonly causes: readonly string[]
  /** The first source translation as nft has it; empty for none, and for what is dropped, also after it. */
  readonly masquerade: string
  /** It was accepted without connection tracking's knowing it. */
  readonly untracked: boolean
  /** The table whose chain dropped it. */
  readonly droppedBy?: string
}

const NAMES: Readonly<Record<string, number>> = {
  icmp: 1,
  ipencap: 4,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  'ipv6-icmp': 58,
  sctp: 132,
  udplite: 136,
}
const fail = (what: string, v: unknown): never => {
  throw new Error(`the tracer does not know ${what}: ${JSON.stringify(v)}`)
}

function scalar(v: Json, type: string): Value {
  if (type.includes('addr')) return addressNumber(String(v))
  if (type === 'ifname') return String(v)
  if (type === 'classid') {
    if (v === 'none') return 0
    if (v === 'root') return 0xffffffff
    const [major = '', minor = ''] = String(v).split(':')
    return (Number.parseInt(major || '0', 16) * 65536 + Number.parseInt(minor || '0', 16)) >>> 0
  }
  if (typeof v === 'string' && v in NAMES) return NAMES[v]!
  const n = Number(v)
  return Number.isInteger(n) ? n : fail(type, v)
}
const addressNumber = (text: string): bigint => toNumber(parseAddr(text) ?? fail('address', text))

function part(v: Json, type: string): Part {
  if (v === '*') return '*'
  if (typeof v !== 'object' || v === null) return scalar(v, type)
  const { range, prefix: p } = v as Obj
  if (Array.isArray(range)) return { from: scalar(range[0], type), to: scalar(range[1], type) }
  if (p) {
    const { addr, len } = p as { addr: string; len: number }
    const r = prefixRange(prefix(`${addr}/${len}`))
    return { from: r.first, to: r.last }
  }
  return fail('key', v)
}

function entryOf(item: Json, types: readonly string[], isMap: boolean): Entry {
  const [key, value] = isMap && Array.isArray(item) ? item : [item, null]
  const bare = typeof key === 'object' && key !== null && 'elem' in key ? ((key as Obj).elem as Obj).val! : key
  const concat =
    typeof bare === 'object' && bare !== null && 'concat' in bare ? (bare as { concat: Json[] }).concat : [bare]
  if (concat[0] === '*') return { parts: ['*'], value }
  return { parts: (concat as Json[]).map((c, i) => part(c, types[i]!)), value }
}

export function tracer(text: string): Tracer {
  const tables = new Map<string, Table>()
  const { nftables } = JSON.parse(text) as { nftables: Obj[] }
  const tableOf = (o: Obj) => tables.get(`${o.family} ${o.table}`)!
  for (const item of nftables) {
    const [kind, body] = Object.entries(item)[0] as [string, Obj]
    const name = String(body.name)
    if (kind === 'table')
      tables.set(`${body.family} ${name}`, { family: String(body.family), chains: new Map(), sets: new Map() })
    if (kind === 'chain')
      tableOf(body).chains.set(name, {
        table: `${body.family} ${body.table}`,
        name,
        ...(body.hook !== undefined && { hook: String(body.hook) }),
        type: String(body.type ?? ''),
        prio: Number(body.prio ?? 0),
        policy: String(body.policy ?? 'accept'),
        rules: [],
      })
    if (kind === 'set' || kind === 'map') {
      const types = (Array.isArray(body.type) ? body.type : [body.type]) as string[]
      const entries = ((body.elem ?? []) as Json[]).map(e => entryOf(e, types, kind === 'map'))
      tableOf(body).sets.set(name, { types, entries, valueType: String(body.map ?? '') })
    }
    if (kind === 'rule')
      tableOf(body)
        .chains.get(String(body.chain))!
        .rules.push({ handle: Number(body.handle), comment: String(body.comment ?? ''), expr: body.expr as Obj[] })
  }
  return { tables }
}

type State = {
  priority: number
  mark: number
  hook: string
  prio: number
  untracked: boolean
  /** The source that it was given. */
  src?: string
}
/** What a masqueraded packet's source stands for: an address of the node, known to no set. */
const NODE: Readonly<Record<number, string>> = { 4: '203.0.113.254', 6: '2001:db8:ffff::fe' }
const STATES = { invalid: 1, established: 2, new: 8, untracked: 64 } as const

/** The value of an expression and its type; undefined when the packet has no such field. */
function read(e: Json, p: PlacedPacket, s: State): { value: Value; type: string } | undefined {
  const { meta, payload, ct } = e as {
    meta?: { key: string }
    payload?: { protocol: string; field: string }
    ct?: { key: string }
  }
  const hasOif = s.hook !== 'prerouting' && s.hook !== 'input'
  if (meta) {
    switch (meta.key) {
      case 'priority':
        return { value: s.priority, type: 'classid' }
      case 'mark':
        return { value: s.mark, type: 'mark' }
      case 'iifname':
        return { value: p.iif, type: 'ifname' }
      case 'oifname':
        return { value: hasOif ? (p.oif ?? '') : '', type: 'ifname' }
      case 'iif':
        return { value: p.iif === '' ? 0 : 5, type: 'number' }
      case 'oif':
        return { value: hasOif && p.oif !== undefined ? 7 : 0, type: 'number' }
      case 'l4proto':
        return { value: p.protocol, type: 'number' }
      case 'nfproto':
        return { value: p.family === 4 ? 2 : 10, type: 'number' }
    }
  }
  if (payload) {
    const { protocol, field } = payload
    if (protocol === 'ip' || protocol === 'ip6') {
      if ((protocol === 'ip') !== (p.family === 4)) return undefined
      if (field === 'saddr')
        return { value: s.src === undefined ? toNumber(p.src) : addressNumber(s.src), type: 'addr' }
      if (field === 'daddr') return { value: toNumber(p.dst), type: 'addr' }
    }
    if (protocol === 'icmp' || protocol === 'icmpv6') {
      if (p.protocol !== (protocol === 'icmp' ? 1 : 58) || p.family !== (protocol === 'icmp' ? 4 : 6)) return undefined
      return { value: field === 'type' ? p.icmp!.type : p.icmp!.code, type: 'number' }
    }
    if (protocol === 'tcp' || protocol === 'udp') if (p.protocol !== (protocol === 'tcp' ? 6 : 17)) return undefined
    if (['th', 'tcp', 'udp'].includes(protocol)) {
      // ICMP's type and code stand where others have the source port.
      if (field === 'sport' && p.icmp) return { value: p.icmp.type * 256 + p.icmp.code, type: 'number' }
      return { value: (field === 'sport' ? p.sport : p.dport) ?? 12_345, type: 'number' }
    }
  }
  if (ct?.key === 'state') {
    const early = (s.hook === 'prerouting' || s.hook === 'output') && s.prio <= -200
    return { value: s.untracked ? STATES.untracked : early ? 1 : STATES[p.connection], type: 'number' }
  }
  return fail('field', e)
}

const inPart = (want: Part, v: Value): boolean =>
  want === '*' || (typeof want === 'object' ? want.from <= v && v <= want.to : want === v)

function find(set: TracedSet, values: readonly Value[]): Entry | undefined {
  return (
    set.entries.find(e => e.parts[0] !== '*' && e.parts.every((want, i) => inPart(want, values[i]!))) ??
    set.entries.find(e => e.parts[0] === '*')
  )
}

function readKey(key: Json, p: PlacedPacket, s: State): Value[] | undefined {
  const { concat } = key as { concat?: Json[] }
  const found = (concat ?? [key]).map(k => read(k, p, s))
  return found.every(f => f !== undefined) ? found.map(f => f.value) : undefined
}

function matches(m: Obj, table: Table, p: PlacedPacket, s: State): boolean {
  const { op, left, right } = m as { op: string; left: Obj; right: Json }
  const not = op === '!='
  if (typeof right === 'string' && right.startsWith('@')) {
    const values = readKey(left, p, s)
    return values !== undefined && (find(table.sets.get(right.slice(1))!, values) !== undefined) !== not
  }
  if (left['&']) {
    const [field, mask] = left['&'] as [Json, Json]
    const got = read(field, p, s)!
    const masked = (Number(got.value) & Number(scalar(mask, got.type))) >>> 0
    return (masked === scalar(right, got.type)) !== not
  }
  const got = read(left, p, s)
  if (!got) return false
  if (op === 'in') {
    const bits = (Array.isArray(right) ? right : [right]).reduce<number>((n, b) => n | Number(b), 0)
    return (Number(got.value) & bits) !== 0
  }
  if (got.type === 'ifname' && typeof right === 'string' && right.endsWith('*'))
    return String(got.value).startsWith(right.slice(0, -1)) !== not
  const options =
    typeof right === 'object' && right !== null && 'set' in right ? ((right as Obj).set as Json[]) : [right]
  return options.some(o => inPart(part(o, got.type), got.value)) !== not
}

/** What a mark's own value becomes, where it is what is written. */
function bitsOf(value: Json): { and: number; or: number } | undefined {
  const [op, args] = Object.entries(Object(value) as Obj)[0] ?? []
  if (op !== '|' && op !== '&') return undefined
  const n = Number((args as Json[])[1])
  return op === '|' ? { and: 0xffffffff, or: n } : { and: n, or: 0 }
}

/** Whether a reject, by its sort, is for such packets. */
function rejects(body: Obj | null, p: PlacedPacket): boolean {
  const type = body?.type
  if (type === 'icmp' || type === 'icmpv6') return p.family === (type === 'icmp' ? 4 : 6)
  return type !== 'tcp reset' || p.protocol === 6
}

/** What becomes of a packet on its whole way. */
export function trace(t: Tracer, p: PlacedPacket): Traced {
  const state: State = { priority: 0, mark: 0, hook: '', prio: 0, untracked: false }
  const causes: string[] = []
  let masquerade = ''
  let translation = ''
  const bases = (hook: string) =>
    [...t.tables.values()]
      .filter(x => x.family === 'inet' || x.family === (p.family === 4 ? 'ip' : 'ip6'))
      .flatMap(table => [...table.chains.values()].filter(c => c.hook === hook).map(chain => ({ table, chain })))
      .sort((a, b) => a.chain.prio - b.chain.prio)
  const through = p.oif === undefined ? ['prerouting', 'input'] : ['prerouting', 'forward', 'postrouting']
  for (const hook of p.iif === '' ? ['output', 'postrouting'] : through) {
    for (const { table, chain } of bases(hook)) {
      // Translations are made once, for a connection's first packet: others do not come through these chains.
      if (chain.type === 'nat' && (p.connection !== 'new' || state.untracked)) continue
      state.hook = hook
      state.prio = chain.prio
      const verdict = run(table, chain)
      if (verdict === 'masquerade') masquerade ||= translation
      if ((verdict ?? chain.policy) === 'drop')
        return { verdict: 'drop', causes, masquerade: '', untracked: false, droppedBy: chain.table }
    }
  }
  return { verdict: 'accept', causes, masquerade, untracked: state.untracked || p.connection === 'untracked' }

  /** A verdict, or undefined when the chain came to its end. */
  function run(table: Table, chain: TracedChain): string | undefined {
    rules: for (const rule of chain.rules) {
      let said = false
      for (const e of rule.expr) {
        const [kind, body] = Object.entries(e)[0] as [string, Obj]
        if (['counter', 'limit', 'log'].includes(kind) && !said && rule.comment && chain.table === 'inet gingham') {
          said = true
          causes.push(rule.comment)
        }
        let verdict: Obj | undefined
        // The listing leaves out what a reject of some sort implies.
        if (kind === 'reject' && !rejects(body, p)) continue rules
        if (kind === 'match') {
          if (!matches(body, table, p, state)) continue rules
        } else if (kind === 'vmap' || kind === 'mangle') {
          const { key, data } = (kind === 'vmap' ? body : ((body.value as Obj | null)?.map ?? {})) as {
            key?: Json
            data?: string
          }
          const name = kind === 'vmap' ? 'verdict' : (body.key as { meta: { key: 'priority' | 'mark' } }).meta.key
          const bits = kind === 'mangle' && bitsOf(body.value!)
          if (bits) state.mark = ((state.mark & bits.and) | bits.or) >>> 0
          else if (data === undefined)
            state[name as 'priority'] = Number(scalar(body.value!, name === 'priority' ? 'classid' : 'mark'))
          else {
            const values = readKey(key!, p, state)
            const set = table.sets.get(data.slice(1))!
            const found = values && find(set, values)
            if (!found) continue rules
            if (kind === 'vmap') verdict = found.value as Obj
            else state[name as 'priority'] = Number(scalar(found.value, set.valueType))
          }
        } else if (['accept', 'drop', 'goto', 'jump', 'return', 'continue', 'reject'].includes(kind)) verdict = e
        else if (kind === 'masquerade' || kind === 'snat') {
          translation = JSON.stringify(e)
          state.src ??= kind === 'snat' ? String((body as Obj).addr) : NODE[p.family]!
          verdict = { masquerade: null }
        } else if (kind === 'notrack') state.untracked ||= state.prio <= -200 && /prerouting|output/.test(state.hook)
        else if (!['counter', 'limit', 'log'].includes(kind)) fail('statement', e)
        if (!verdict) continue
        const [what, target] = Object.entries(verdict)[0] as [string, { target: string } | null]
        if (what === 'reject') return 'drop'
        if (what === 'continue') continue
        if (what === 'return') return undefined
        if (what !== 'goto' && what !== 'jump') return what
        const there = run(table, table.chains.get(target!.target)!)
        if (there !== undefined || what === 'goto') return there
      }
    }
    return undefined
  }
}
