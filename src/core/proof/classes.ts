// The dimensions' classes for one family: every boundary that the kernel's rules and sets or the intent know of, on both
// sides, so that no question that either can ask tells members of a class apart. Addresses that share all their marks
// (which element, which interval, which set of the intent) are one class: 20,000 pods are as many as they have kinds.
import type { Intent, PortTerm } from '../calc/intent.ts'
import { type Addr, type Family, familyOf, fromNumber, MAX, toNumber } from '../net/addr.ts'
import { type Prefix, prefixRange } from '../net/prefix.ts'
import { DIRECTIONS } from '../resources/cause.ts'
import { addressMark, MARKS, NO_INTERFACE, netMark, ownMark, spoofMark } from './intent-walk.ts'
import { next } from './lookup-set.ts'
import { CMP, type FamilyProgram, type Step, transportDims } from './program.ts'
import { type Prim, prim } from './raw.ts'
import { type Cls, type Dim, Domain, type Domains, type Locate } from './space.ts'
import { type Piece, rangeOf, widthOf } from './value.ts'

/** Values of a dimension that something distinguishes; `mark` names what, equal marks being equal answers. */
type Cut = { readonly dim: Dim; readonly from: Prim; readonly to: Prim; readonly mark: string }

const dimsOf = (p: Piece): readonly Dim[] => (p.source.at === 'dim' ? [p.source.dim] : transportDims(p))
const isWide = (dim: Dim): boolean => !['proto', 'type', 'code'].includes(dim)

/** What the kernel's rules ask of wide dimensions. */
function* kernelCuts({ chains, family }: FamilyProgram): Generator<Cut> {
  const seen = new Set<string>()
  function* of(p: Piece, answers: { from: Prim; to: Prim }, mark: string): Generator<Cut> {
    for (const dim of dimsOf(p).filter(isWide)) {
      if (p.size < widthOf(dim, family) && p.source.at === 'transport') {
        const from = BigInt(answers.from) << 8n
        yield { dim, from: Number(from), to: Number(((BigInt(answers.to) + 1n) << 8n) - 1n), mark }
        continue
      }
      const range = rangeOf(p, dim, family, answers)
      if (range) yield { dim, from: range[0], to: range[1], mark }
    }
  }
  function* ofStep(step: Step): Generator<Cut> {
    if (step.do === 'cmp') {
      for (const [i, p] of step.pieces.entries()) {
        const v = step.values[i]!
        const to = step.op === CMP.lt || step.op === CMP.gte ? (typeof v === 'number' ? v - 1 : v - 1n) : v
        const ordered = step.op !== CMP.eq && step.op !== CMP.neq
        const from = ordered ? (typeof v === 'number' ? 0 : 0n) : v
        if (to >= from) yield* of(p, { from, to }, `${from}-${to}${p.key}`)
      }
    }
    if (step.do === 'range') yield* of(step.piece, step, `${step.from}-${step.to}${step.piece.key}`)
    if (step.do !== 'lookup') return
    let at = 0
    for (const [i, p] of step.pieces.entries()) {
      const from = at
      at += p.size
      const to = at
      const kinds = dimsOf(p).map(d => (d === 'src' || d === 'dst' ? 'address' : d))
      const id = `${step.set.name} ${i} ${from} ${p.key} ${kinds.join()}`
      if (dimsOf(p).length === 0 || seen.has(id)) continue
      seen.add(id)
      const alone = step.pieces.length === 1
      for (const [n, e] of step.set.model.elements.entries()) {
        const answer = alone ? (e.value ?? (e.verdict ? `${e.verdict.kind} ${e.verdict.chain}` : 'in')) : n
        const range = { from: prim(e.key, from, to), to: prim(e.keyEnd, from, to) }
        yield* of(p, range, `${id}: ${answer}`)
      }
    }
  }
  for (const chain of chains) for (const rule of chain.rules) for (const step of rule.steps) yield* ofStep(step)
}

type Range = { readonly from: Prim; readonly to: Prim; readonly mark: string; readonly member?: string }
type AddressMarks = { readonly ranges: Range[]; readonly points: Map<Prim, { marks: string[]; members: string[] }> }

function addressMarks(cuts: readonly Cut[], intent: Intent, family: Family): AddressMarks {
  const found: AddressMarks = { ranges: [], points: new Map() }
  const width = family === 4 ? 4 : 16
  const sized = (n: bigint): Prim => (width === 4 ? Number(n) : n)
  const numbers = new Map<Addr, Prim>()
  const numberOf = (a: Addr): Prim => {
    let n = numbers.get(a)
    if (n === undefined) {
      n = sized(toNumber(a))
      numbers.set(a, n)
    }
    return n
  }
  const point = (at: Prim) => {
    let p = found.points.get(at)
    if (!p) {
      p = { marks: [], members: [] }
      found.points.set(at, p)
    }
    return p
  }
  for (const { dim, from, to, mark } of cuts) {
    if (dim !== 'src' && dim !== 'dst') continue
    if (from === to) point(from).marks.push(mark)
    else found.ranges.push({ from, to, mark })
  }
  const addMember = (a: Addr, member: string): void => {
    if (familyOf(a) === family) point(numberOf(a)).members.push(member)
  }
  const addRange = (p: Prefix, member: string): void => {
    const r = prefixRange(p)
    if (r.family === family) found.ranges.push({ from: sized(r.first), to: sized(r.last), mark: member, member })
  }
  for (const set of intent.sets.values()) {
    for (const a of set.addresses) addMember(a, set.id)
    for (const p of set.prefixes) addRange(p, set.id)
  }
  for (const p of intent.allPools) addRange(p, MARKS.pool)
  for (const p of intent.masqueradePools) addRange(p, MARKS.masquerade)
  addRange('127.0.0.0/8' as Prefix, MARKS.loopback)
  addMember('::1' as Addr, MARKS.loopback)
  if (family === 6) {
    addRange('fe80::/10' as Prefix, MARKS.linkLocal)
    addMember('::' as Addr, MARKS.linkLocal)
  }
  const { failsafeInbound, failsafeOutbound } = intent.settings
  for (const { net } of [...failsafeInbound, ...failsafeOutbound]) if (net) addRange(net, netMark(net))
  for (const { interfaceName, addresses, spoofable, guards } of intent.endpoints) {
    for (const a of addresses) addMember(a, ownMark(interfaceName))
    for (const p of spoofable) addRange(p, spoofMark(interfaceName))
    for (const d of DIRECTIONS) {
      for (const rule of guards[d].programs[family].stages.flatMap(s => s.rules))
        for (const a of rule.ownAddresses ?? []) addMember(a, addressMark(a))
    }
  }
  return found
}

const ascending = (a: Prim, b: Prim): number => (a < b ? -1 : a > b ? 1 : 0)

/** One class for each combination of marks that occurs, and the way from an address to its class. */
function addressClasses(
  { ranges, points }: AddressMarks,
  family: Family,
): { classes: Cls[]; locate: (v: Prim) => Cls } {
  const zero: Prim = family === 4 ? 0 : 0n
  const max: Prim = family === 4 ? Number(MAX[4]) : MAX[6]
  const edges = new Map<Prim, { enter: Range[]; leave: Range[] }>([[zero, { enter: [], leave: [] }]])
  const edge = (at: Prim) => {
    const found = edges.get(at) ?? { enter: [], leave: [] }
    edges.set(at, found)
    return found
  }
  for (const r of ranges) {
    edge(r.from).enter.push(r)
    if (r.to < max) edge(next(r.to)).leave.push(r)
  }
  const starts = [...edges.keys()].sort(ascending)
  const inside = new Set<Range>()
  const cells = starts.map((from, i) => {
    for (const r of edges.get(from)!.leave) inside.delete(r)
    for (const r of edges.get(from)!.enter) inside.add(r)
    const after = starts[i + 1]
    return {
      from,
      to: after === undefined ? max : typeof after === 'number' ? after - 1 : after - 1n,
      marks: [...new Set([...inside].map(r => r.mark))].sort().join('\n'),
      members: new Set([...inside].flatMap(r => r.member ?? [])),
    }
  })
  const cellOf = (v: Prim) => {
    let low = 0
    for (let high = cells.length - 1; low < high; ) {
      const mid = (low + high + 1) >> 1
      if (cells[mid]!.from <= v) low = mid
      else high = mid - 1
    }
    return cells[low]!
  }
  const classes = new Map<string, Cls>()
  const add = (signature: string, value: Prim, members: () => ReadonlySet<string>): void => {
    if (classes.has(signature)) return
    classes.set(signature, { value, label: fromNumber(family, BigInt(value)), memberOf: members() })
  }
  const signatureOf = (value: Prim): string => {
    const point = points.get(value)
    const { marks } = cellOf(value)
    return point ? `${marks}\n\n${[...new Set([...point.marks, ...point.members])].sort().join('\n')}` : marks
  }
  for (const [value, { members }] of points)
    add(signatureOf(value), value, () => new Set([...cellOf(value).members, ...members]))
  for (const cell of cells) {
    let value = cell.from
    while (value <= cell.to && points.has(value)) value = next(value)
    if (value <= cell.to) add(cell.marks, value, () => cell.members)
  }
  return { classes: [...classes.values()], locate: value => classes.get(signatureOf(value))! }
}

function portClasses(cuts: readonly Cut[], terms: readonly PortTerm[], dim: Dim): Cls[] {
  const starts = new Set([0])
  const cut = (from: number, to: number): void => {
    starts.add(from)
    if (to < 65535) starts.add(to + 1)
  }
  for (const c of cuts) if (c.dim === dim) cut(Number(c.from), Number(c.to))
  for (const t of terms) cut(t.first, t.last)
  return [...starts].sort((a, b) => a - b).map(value => ({ value, label: String(value) }))
}

const NAME_BYTES = 16
function nameOf(value: bigint): string {
  const bytes = Array.from({ length: NAME_BYTES }, (_, i) => Number((value >> BigInt(8 * (15 - i))) & 255n))
  const end = bytes.indexOf(0)
  return String.fromCharCode(...bytes.slice(0, end < 0 ? NAME_BYTES : end))
}
/** A name as the kernel keeps it: 16 bytes, the rest of them zero. */
export const numberOfName = (name: string): bigint =>
  Array.from({ length: NAME_BYTES }).reduce<bigint>((n, _, i) => (n << 8n) | BigInt(name.charCodeAt(i) || 0), 0n)

const LETTERS: readonly string[] = [...'0123456789abcdefghijklmnopqrstuvwxyz']

/** Every name that anybody mentions, and for each prefix one that only it matches. */
function nameClasses(cuts: readonly Cut[], intent: Intent): Cls[] {
  const exact = new Set([...intent.endpoints, ...intent.hostInterfaces].map(e => e.interfaceName))
  exact.delete('*')
  const prefixes = new Set(['', ...intent.settings.interfacePrefixes])
  const { natInterface } = intent.settings
  if (natInterface?.endsWith('*')) prefixes.add(natInterface.slice(0, -1))
  else if (natInterface !== undefined) exact.add(natInterface)
  for (const { dim, from, to } of cuts) {
    if (dim !== 'iif' && dim !== 'oif') continue
    if (from === to || nameOf(from as bigint).length === 15) exact.add(nameOf(from as bigint))
    else prefixes.add(nameOf(from as bigint))
  }
  exact.delete('')
  const fresh = [...prefixes].flatMap(p => {
    const longer = [...prefixes].filter(q => q.length > p.length)
    const fits = (name: string): boolean =>
      name !== '' && name.length < NAME_BYTES && !exact.has(name) && !longer.some(q => name.startsWith(q))
    const more = [...LETTERS, ...LETTERS.flatMap(a => LETTERS.map(b => a + b))]
    return [...(p === '' ? ['eth0'] : []), p, ...more.map(m => p + m)].find(fits) ?? []
  })
  return [...exact, ...fresh].map(label => ({ value: numberOfName(label), label }))
}

const bytes = (from: number): Cls[] =>
  Array.from({ length: 256 - from }, (_, i) => ({ value: from + i, label: String(from + i) }))

export type Classes = {
  readonly domains: Domains
  /** The class of an address, of a port: of a destination that a packet is given on its way. */
  readonly locate: Locate
}

export function classesOf(program: FamilyProgram, intent: Intent): Classes {
  const { family } = program
  const cuts = [...kernelCuts(program)]
  const guards = [
    ...intent.endpoints.flatMap(e => DIRECTIONS.map(d => e.guards[d])),
    ...intent.hostInterfaces.flatMap(h => h.guards),
  ]
  const rules = guards.flatMap(g => g.programs[family].stages.flatMap(s => s.rules))
  const { failsafeInbound, failsafeOutbound, vxlanPort } = intent.settings
  const single = (port: number): PortTerm => ({ first: port, last: port })
  const safe = [...failsafeInbound, ...failsafeOutbound].map(f => single(f.port))
  const { classes: addresses, locate } = addressClasses(addressMarks(cuts, intent, family), family)
  const names = nameClasses(cuts, intent)
  const d = (members: readonly Cls[]): Domain => new Domain(members)
  const dports = portClasses(
    cuts,
    [single(vxlanPort), ...safe, ...rules.flatMap(r => [...(r.dports ?? []), ...(r.notDports ?? [])])],
    'dport',
  )
  const domains: Domains = {
    // What the node itself sends came by none.
    iif: d([...names, { value: numberOfName(NO_INTERFACE), label: NO_INTERFACE }]),
    oif: d(names),
    src: d(addresses),
    dst: d(addresses),
    proto: d(bytes(1)),
    sport: d(
      portClasses(cuts, [...safe, ...rules.flatMap(r => [...(r.sports ?? []), ...(r.notSports ?? [])])], 'sport'),
    ),
    dport: d(dports),
    type: d(bytes(0)),
    code: d(bytes(0)),
  }
  return { domains, locate: { address: locate, port: n => dports.findLast(c => Number(c.value) <= n)! } }
}
