// The language of nft (1.0.6): `nft -f` of the print of a table gives the same table. Also the canonical form in which two
// objects are compared: counters' values are state, not identity, and are left out.
// One thing nft reads otherwise: a source and a destination port compared with one value each, in one rule, become one
// comparison of four bytes, in the first one's place, and of `!=` twice that is even another condition. (By netlink it is
// right, and lists right.)
import { familyOf } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'
import { anonymousSet } from './compile.ts'
import { isRange } from './elements.ts'
import { EncodeError } from './encode-error.ts'
import { FIELDS } from './fields.ts'
import type {
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
} from './objects.ts'
import type { ValueType } from './types.ts'

/** Protocols that nft's own grammar knows; others are numbers, so that no file of names is needed. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  50: 'esp',
  51: 'ah',
  58: 'icmpv6',
  132: 'sctp',
  136: 'udplite',
}
const STATES: readonly (readonly [number, string])[] = [
  [1, 'invalid'],
  [2, 'established'],
  [4, 'related'],
  [8, 'new'],
  [64, 'untracked'],
]
/** RTN_*; nft knows no name for 9 and above. */
const FIB_TYPES = [
  'unspec',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
]
const FAMILIES: Readonly<Record<number, string>> = { 2: 'ipv4', 10: 'ipv6' }

const hex = (n: number): string => `0x${n.toString(16).padStart(8, '0')}`

/** Text in quotes; nft has no way to escape one inside. */
function quote(text: string): string {
  if (/["\n\\]/.test(text)) throw new EncodeError(`nft cannot quote ${JSON.stringify(text)}`)
  return `"${text}"`
}

export function printScalar(type: ValueType, value: Scalar): string {
  switch (type) {
    case 'ifname':
      return quote(String(value))
    case 'inet_proto':
      return PROTOCOLS[Number(value)] ?? String(value)
    case 'nfproto':
      return FAMILIES[Number(value)] ?? String(value)
    case 'classid':
      return `${(Number(value) >>> 16).toString(16)}:${(Number(value) & 0xffff).toString(16)}`
    case 'mark':
      return hex(Number(value))
    case 'ct_state':
      return printStates(Number(value))
    case 'fib_addrtype':
      return FIB_TYPES[Number(value)] ?? String(value)
    default:
      return String(value)
  }
}

function printStates(mask: number): string {
  const names = STATES.filter(([bit]) => mask & bit)
  const rest = names.reduce((left, [bit]) => left & ~bit, mask)
  return mask === 0 || rest !== 0 ? String(mask) : names.map(([, name]) => name).join(',')
}

function printPart(type: ValueType, part: KeyPart): string {
  if (!isRange(part)) return printScalar(type, part)
  if (part.from === part.to) return printScalar(type, part.from)
  // `icmp-tcp` would be one word to nft.
  const end = (value: Scalar) => (type === 'inet_proto' ? String(value) : printScalar(type, value))
  return `${end(part.from)}-${end(part.to)}`
}

export const printVerdict = (verdict: Verdict): string =>
  verdict.kind === 'goto' || verdict.kind === 'jump' ? `${verdict.kind} ${verdict.chain}` : verdict.kind

const keyTypesOf = (set: Pick<NftSet, 'key'>): readonly ValueType[] => set.key as readonly ValueType[]

export function printElement(set: Pick<NftSet, 'key' | 'value'>, { key, value, comment }: Element): string {
  const types = keyTypesOf(set)
  const left = key === '*' ? '*' : key.map((part, i) => printPart(types[i]!, part)).join(' . ')
  const note = comment === undefined ? '' : ` comment ${quote(comment)}`
  if (value === undefined) return left + note
  const right = typeof value === 'object' ? printVerdict(value) : printScalar(set.value as ValueType, value)
  return `${left}${note} : ${right}`
}

function printOperand(field: Field, right: Operand, mask: boolean): string {
  const { type } = FIELDS[field]
  if ('ref' in right) return `@${right.ref}`
  if ('set' in right) {
    // As it is compiled: nft would merge what touches, and then keep a set of one range.
    const { elements } = anonymousSet(type, right.set)
    const parts = elements.map(part => printPart(type, part))
    return parts.length === 1 ? parts[0]! : `{ ${parts.join(', ')} }`
  }
  // Numbers where nft would take a name for something else: behind a mask, and states in a range.
  const plain = (value: Scalar) => (typeof value === 'number' ? hex(value) : printScalar(type, value))
  if ('from' in right && right.from !== right.to)
    return mask || type === 'ct_state' ? `${plain(right.from)}-${plain(right.to)}` : printPart(type, right)
  const value = 'from' in right ? right.from : right.value
  return mask ? plain(value) : printScalar(type, value)
}

/** A mask, and a value behind it, as plain hexadecimal: the same in every type. */
function printMatch({ fields, op, right, mask }: Extract<Statement, { kind: 'match' }>): string {
  const left = fields.join(' . ')
  const field = fields[0]!
  const operand = printOperand(field, right, mask !== undefined)
  // nft reads `ct state a` as "any of", as `==` is meant here.
  const equals = op === '!=' ? ' !=' : ''
  return mask === undefined ? `${left}${equals} ${operand}` : `${left} & ${hex(mask)} ${op} ${operand}`
}

export function printStatement(s: Statement): string {
  switch (s.kind) {
    case 'match':
      return printMatch(s)
    case 'vmap':
      return `${s.fields.join(' . ')} vmap @${s.map}`
    case 'set':
      return `${s.field} set ${printScalar(FIELDS[s.field].type, s.value)}`
    case 'set-bits':
      return `${s.field} set ${s.field} ${s.on ? `| ${hex(s.bits)}` : `& ${hex(~s.bits >>> 0)}`}`
    case 'set-map':
      return `${s.field} set ${s.fields.join(' . ')} map @${s.map}`
    case 'counter':
      return 'counter'
    case 'limit':
      return `limit rate ${s.rate}/${s.per}${s.burst === undefined || s.burst === 5 ? '' : ` burst ${s.burst} packets`}`
    case 'log':
      return [
        'log',
        ...(s.prefix === undefined ? [] : [`prefix ${prefix(s.prefix)}`]),
        ...(s.group === undefined ? [] : [`group ${s.group}`]),
        ...(s.level === undefined || s.level === 'warn' ? [] : [`level ${s.level}`]),
      ].join(' ')
    case 'verdict':
      return printVerdict(s.verdict)
    case 'masquerade':
      return `masquerade${s.ports ? ` to ${portsOf(s.ports)}` : ''}`
    case 'snat': {
      const six = familyOf(s.to) === 6
      const to = six && s.ports ? `[${s.to}]` : s.to
      return `snat ${six ? 'ip6' : 'ip'} to ${to}${s.ports ? portsOf(s.ports) : ''}`
    }
    case 'notrack':
    case 'reject':
      return s.kind
  }
}

const portsOf = ({ first, last }: PortRange): string => `:${first === last ? first : `${first}-${last}`}`

/** In a prefix nft looks for variables too. */
function prefix(text: string): string {
  if (text.includes('$')) throw new EncodeError(`nft cannot quote ${JSON.stringify(text)} in a prefix`)
  return quote(text)
}

export function printRule({ statements, comment }: Rule): string {
  return [...statements.map(printStatement), ...(comment === undefined ? [] : [`comment ${quote(comment)}`])].join(' ')
}

const indent = (lines: readonly string[]): string[] => lines.map(line => `\t${line}`)

export function printSet(set: NftSet): string[] {
  const { name, key, value, interval, elements, comment } = set
  return [
    `${value === undefined ? 'set' : 'map'} ${name} {`,
    ...indent([
      `type ${key.join(' . ')}${value === undefined ? '' : ` : ${value}`}`,
      ...(interval ? ['flags interval'] : []),
      ...(comment === undefined ? [] : [`comment ${quote(comment)}`]),
      ...(elements.length === 0 ? [] : ['elements = {', ...indent(elements.map(e => `${printElement(set, e)},`)), '}']),
    ]),
    '}',
  ]
}

export function printChain({ name, base, rules, comment }: NftChain): string[] {
  return [
    `chain ${name} {`,
    ...indent([
      ...(comment === undefined ? [] : [`comment ${quote(comment)}`]),
      ...(base === undefined
        ? []
        : [`type ${base.type} hook ${base.hook} priority ${base.priority}; policy ${base.policy};`]),
      ...rules.map(printRule),
    ]),
    '}',
  ]
}

/** A file for `nft -f`. */
export function printTable({ family, name, sets, chains }: NftTable): string {
  return `${[`table ${family} ${name} {`, ...indent([...sets.flatMap(printSet), ...chains.flatMap(printChain)]), '}'].join('\n')}\n`
}
