// The leaves that the schemas of all kinds are made of. A leaf judges one value and may rewrite it into canonical form;
// a mistake carries its cure along. Empty texts, empty lists and `false` are left out where Calico's Go types leave them
// out of the JSON, so that what we store reads like what Calico stores.
import { z } from 'zod'
import { failed, ok, type Result } from '../base/problem.ts'
import { parseAddr } from '../net/addr.ts'
import { type Prefix, parsePrefixDetail } from '../net/prefix.ts'
import { PROTOCOL_NUMBERS, protocolName, protocolNumber } from '../net/protocol.ts'
import { parseSelector } from '../selector/parse.ts'
import { usesGlobal } from '../selector/selector.ts'
import { nearest } from './nearest.ts'

/**
 * What the API server can check of a leaf by itself, as fields of an OpenAPI schema (`core/kubernetes/crd.ts`); the leaf's
 * own judgement is never weaker.
 */
type Openapi = {
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
}
export const openapi = <S extends z.ZodType>(schema: S, facts: Openapi): S => schema.meta({ ...facts })

export const mistake = (message: string, fix?: string): Result<never> =>
  failed({ path: '', message, ...(fix === undefined ? {} : { fix }) })

/** A schema whose value is judged, and possibly rewritten, by a function. */
export function leaf<S extends z.ZodType, T>(schema: S, judge: (value: z.output<S>) => Result<T>) {
  return schema.transform((value, context): T => {
    const judged = judge(value)
    if (judged.ok) return judged.value
    for (const { message, fix } of judged.problems) context.addIssue({ code: 'custom', message, params: { fix } })
    return z.NEVER
  })
}

/** A text that is left out when empty. */
export const text = (max = Number.POSITIVE_INFINITY) =>
  (Number.isFinite(max) ? z.string().max(max) : z.string()).transform(value => value || undefined).optional()
/** A boolean that is left out when false. */
export const flag = () =>
  z
    .boolean()
    .transform(value => value || undefined)
    .optional()
/** A list that is left out when empty. */
export const list = <S extends z.ZodType>(entry: S, max = Number.POSITIVE_INFINITY) =>
  (Number.isFinite(max) ? z.array(entry).max(max) : z.array(entry))
    .transform(values => (values.length > 0 ? values : undefined))
    .optional()
/** An integer within bounds. */
export const int = (first: number, last: number) => z.int().min(first).max(last)
/** A choice among names that is matched without regard to case and stored in the listed spelling. */
export const choice = <const T extends readonly string[]>(names: T) =>
  leaf(openapi(z.string(), { pattern: `^(?i:${names.join('|')})$` }), (value): Result<T[number]> => {
    const found = names.find(name => name.toLowerCase() === value.toLowerCase())
    return found === undefined ? mistake(`must be one of ${names.join(', ')}`, nearest(value, names)) : ok(found)
  })

const cidrFix = (value: string): string | undefined => {
  const address = parseAddr(value.split('/')[0] ?? '')
  if (address === undefined) return undefined
  return address.includes(':') ? 'the length is 0 to 128' : 'the length is 0 to 32'
}

export function judgeCidr(value: string): Result<Prefix> {
  const parsed = parsePrefixDetail(value)
  if (parsed === undefined) return mistake('is not a CIDR', cidrFix(value))
  if (!parsed.hadLength) return mistake('is an address, not a CIDR', `write ${parsed.prefix}`)
  if (!parsed.strict) return mistake('has bits set after its length', `write ${parsed.prefix}`)
  return ok(parsed.prefix)
}

// Lists of addresses are long: a pattern is free, where expressions have a budget. It does not see bits after the length, nor
// every mistake in an IPv6 address.
const BYTE = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
const V4 = `${BYTE}(\\.${BYTE}){3}`
const V6 = '[0-9a-fA-F.]*:[0-9a-fA-F:.]*'
const V4_LENGTH = '/(3[0-2]|[12]?[0-9])'
const V6_LENGTH = '/(12[0-8]|1[01][0-9]|[1-9]?[0-9])'

/** A CIDR with a length and zero host bits. */
export const cidr = () =>
  leaf(openapi(z.string(), { maxLength: 48, pattern: `^(${V4}${V4_LENGTH}|${V6}${V6_LENGTH})$` }), judgeCidr)
/** A CIDR or an address as network sets take them: kept as written, host bits and all. */
export const net = () =>
  leaf(openapi(z.string(), { maxLength: 48, pattern: `^(${V4}(${V4_LENGTH})?|${V6}(${V6_LENGTH})?)$` }), value =>
    parsePrefixDetail(value) === undefined ? mistake('is neither a CIDR nor an IP address', cidrFix(value)) : ok(value),
  )
/** An address with the length of its network (`172.31.0.1/24`) or without; kept as written. */
export const interfaceAddress = net
export const address = () =>
  leaf(openapi(z.string(), { maxLength: 45, pattern: `^(${V4}|${V6})$` }), value => {
    const parsed = parseAddr(value)
    if (parsed !== undefined) return ok(parsed)
    return mistake('is not an IP address', value.includes('/') ? 'write the address without a length' : undefined)
  })
/** One host as a prefix of full length; a bare address gets it. */
export const hostCidr = () =>
  leaf(z.string(), value => {
    const parsed = parsePrefixDetail(value)
    if (parsed === undefined) return mistake('is neither a CIDR nor an IP address')
    return /\/(32|128)$/.test(parsed.prefix) && parsed.prefix.includes(':') === parsed.prefix.endsWith('/128')
      ? ok(parsed.prefix)
      : mistake('must be a single address (/32 for IPv4, /128 for IPv6)')
  })

const matching = (pattern: RegExp, meaning: string) =>
  leaf(
    openapi(z.string(), { pattern: `^$|${pattern.source}` }),
    (value): Result<string | undefined> =>
      value === '' || pattern.test(value) ? ok(value || undefined) : mistake(`is not ${meaning}`),
  ).optional()
/** A name that Linux and our own rules can take for an interface; left out when empty. */
export const interfaceName = () =>
  matching(/^[a-zA-Z0-9_.-]{1,15}$/, 'an interface name of at most 15 letters, digits, - _ .')
export const macAddress = () =>
  matching(/^(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/, 'a MAC address such as aa:bb:cc:dd:ee:ff')

/** A protocol: one of Calico's names in its canonical spelling, or a number from 1 to 255. */
export type Protocol = string | number

const PROTOCOL_TEXT = `^(?i:${Object.keys(PROTOCOL_NUMBERS).join('|')})$|^([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])$`

export const protocol = () =>
  leaf(
    openapi(z.union([z.number(), z.string()]), { minimum: 1, maximum: 255, pattern: PROTOCOL_TEXT }),
    (value): Result<Protocol> => {
      const number = protocolNumber(value)
      const names = Object.keys(PROTOCOL_NUMBERS)
      if (number === undefined) {
        if (typeof value === 'number' || /^\d+$/.test(value)) return mistake('protocol number must be from 1 to 255')
        return mistake(`protocol must be ${names.join(', ')} or a number from 1 to 255`, nearest(value, names))
      }
      return ok(typeof value === 'string' && !/^\d+$/.test(value) ? protocolName(number) : number)
    },
  )

/** A port number, a range `first:last` (first < last), or the name of an endpoint's port. */
export type Port = number | string

const PORT_NAME = /^[a-zA-Z0-9_.-]{1,128}$/
const isPort = (n: number): boolean => Number.isInteger(n) && n >= 1 && n <= 65535

export function judgePort(value: number | string): Result<Port> {
  const range = typeof value === 'string' ? /^(\d+):(\d+)$/.exec(value) : null
  const [first, last] = range ? [Number(range[1]), Number(range[2])] : [Number(value), Number(value)]
  const numeric = range !== null || typeof value === 'number' || /^\d+$/.test(value)
  if (!numeric) {
    if (typeof value === 'string' && PORT_NAME.test(value)) return ok(value)
    const dashed = /^\s*(\d+)\s*[-:]\s*(\d+)\s*$/.exec(String(value))
    return mistake(
      'is not a port, a range or a port name',
      dashed ? `write a range as "${dashed[1]}:${dashed[2]}"` : undefined,
    )
  }
  if (!isPort(first) || !isPort(last)) return mistake('port must be from 1 to 65535')
  if (first > last) return mistake(`range begins after its end`, `write "${last}:${first}"`)
  return ok(first === last ? first : `${first}:${last}`)
}

const PORT_TEXT = '[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]'
/** That a range does not begin after its end is more than a pattern can say. */
const PORT_PATTERN = `^(${PORT_TEXT})(:(${PORT_TEXT}))?$|^[a-zA-Z0-9_.-]*[a-zA-Z_.-][a-zA-Z0-9_.-]*$`

export const port = () =>
  leaf(openapi(z.union([z.number(), z.string()]), { minimum: 1, maximum: 65535, pattern: PORT_PATTERN }), judgePort)

/** First and last port of a numeric port or range; `undefined` for a named port. */
export function portRange(value: Port): { readonly first: number; readonly last: number } | undefined {
  if (typeof value === 'number') return { first: value, last: value }
  const range = /^(\d+):(\d+)$/.exec(value)
  return range ? { first: Number(range[1]), last: Number(range[2]) } : undefined
}

export type GlobalUse = 'forbidden' | 'alone' | 'allowed'

/** A selector text, checked and kept as written; left out when empty. `global` says whether `global()` may be used. */
export const selectorText = (global: GlobalUse = 'forbidden') =>
  leaf(z.string().max(1024), (value): Result<string | undefined> => {
    const parsed = parseSelector(value)
    if (!parsed.ok) return parsed
    if (usesGlobal(parsed.value)) {
      if (global === 'forbidden') return mistake('global() is not allowed here')
      if (global === 'alone' && parsed.value.op !== 'global')
        return mistake('global() cannot be combined with other selectors')
    }
    return ok(value || undefined)
  }).optional()

const UNITS: readonly (readonly [string, number])[] = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
  ['us', 0.001],
  ['µs', 0.001],
  ['ns', 0.000001],
]

/** A duration such as `1h2m3.5s` in milliseconds; `undefined` if it is none. */
export function parseDuration(value: string): number | undefined {
  const body = value.replace(/^[+-]/, '')
  if (body === '0') return 0
  if (!/^(\d+(\.\d*)?(h|ms|m|us|µs|ns|s))+$/.test(body)) return undefined
  let total = 0
  for (const [, amount, unit] of body.matchAll(/(\d+(?:\.\d*)?)(h|ms|m|us|µs|ns|s)/g)) {
    total += Number(amount) * UNITS.find(([name]) => name === unit)![1]
  }
  return value.startsWith('-') ? -total : total
}

/** Milliseconds as Go prints a duration: `1m0s`, `1.5s`, `90ms`, `0s`. */
export function printDuration(milliseconds: number): string {
  const n = Math.abs(milliseconds)
  const sign = milliseconds < 0 ? '-' : ''
  const decimal = (value: number): string => String(Number(value.toFixed(6)))
  if (n === 0) return '0s'
  if (n < 1000) return `${sign}${n >= 1 ? `${decimal(n)}ms` : `${decimal(n * 1000)}µs`}`
  const [hours, minutes] = [Math.floor(n / 3_600_000), Math.floor(n / 60_000) % 60]
  const seconds = `${decimal((n % 60_000) / 1000)}s`
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`
}

/** A Go duration, stored in Go's canonical spelling. */
export const duration = () =>
  leaf(openapi(z.string(), { pattern: '^[+-]?(0|([0-9]+(\\.[0-9]*)?(h|ms|m|us|µs|ns|s))+)$' }), value => {
    const parsed = parseDuration(value)
    return parsed === undefined
      ? mistake('is not a duration', 'write it like 90s, 5m or 1h30m')
      : ok(printDuration(parsed))
  })

/** An AS number: an integer, digits, or the text `high.low`; stored as an integer. */
const AS_NUMBER = { minimum: 0, maximum: 0xffffffff, pattern: '^([0-9]+\\.)?[0-9]+$' }

export const asNumber = () =>
  leaf(openapi(z.union([z.number(), z.string()]), AS_NUMBER), (value): Result<number> => {
    const parts = /^(?:(\d+)\.)?(\d+)$/.exec(String(value))
    const [high, low] = [Number(parts?.[1] ?? 0), Number(parts?.[2])]
    // An unquoted 1.10 reaches us as the number 1.1: only a text tells the two apart.
    const dotted = parts?.[1] !== undefined
    const valid =
      parts !== null && (dotted ? high <= 65535 && low <= 65535 && typeof value === 'string' : low <= 0xffffffff)
    return valid
      ? ok(high * 65536 + low)
      : mistake('is not an AS number', 'write a number from 0 to 4294967295, or "high.low"')
  })
