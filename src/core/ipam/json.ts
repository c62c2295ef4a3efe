// JSON as Calico's Go code reads and writes it: integers of 64 bits survive (as bigint beyond 2^53), the keys of maps are
// sorted, and `<`, `>`, `&` and the two line separators are escaped, so that an unchanged value is the same bytes.

export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | ReadonlyMap<string, Json>
  | { readonly [key: string]: Json }

export type JsonObject = { readonly [key: string]: Json }

type Reviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown
const parse = JSON.parse as (text: string, reviver: Reviver) => unknown

/** Parses JSON; whole numbers that a double cannot hold become bigints. Throws SyntaxError. */
export const parseJson = (text: string): Json =>
  parse(text, (_key, value, { source }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source ?? '') ? BigInt(source!) : value,
  ) as Json

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map)

const ESCAPED = /[<>&\u2028\u2029]/g
const escaped = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
const printString = (text: string): string => JSON.stringify(text).replace(ESCAPED, escaped)

/** Go sorts by bytes of UTF-8, which is the order of code points. */
function compareText(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)]
  for (let i = 0; i < left.length && i < right.length; i++) {
    const order = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!
    if (order !== 0) return order
  }
  return left.length - right.length
}

/** Prints JSON without spaces: objects in their own order (Go structs), Maps sorted by key (Go maps). */
export function printJson(value: Json): string {
  if (typeof value === 'string') return printString(value)
  if (typeof value === 'bigint') return value.toString()
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(printJson).join(',')}]`
  const entries = value instanceof Map ? [...value].sort(([a], [b]) => compareText(a, b)) : Object.entries(value)
  return `{${entries.map(([key, item]) => `${printString(key)}:${printJson(item)}`).join(',')}}`
}
