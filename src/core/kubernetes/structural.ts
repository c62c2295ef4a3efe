// From a zod schema to what a CustomResourceDefinition can hold: a structural schema. It describes what users may write, so
// the input side of every leaf; the API server prunes unknown fields, and Kubernetes' own metadata is not described.
import { z } from 'zod'

/** A node of an OpenAPI schema. */
export type OpenapiSchema = {
  type?: string
  format?: string
  description?: string
  default?: unknown
  enum?: readonly unknown[]
  properties?: { [name: string]: OpenapiSchema }
  required?: readonly string[]
  items?: OpenapiSchema
  additionalProperties?: OpenapiSchema
  pattern?: string
  minimum?: number
  maximum?: number
  maxLength?: number
  maxItems?: number
  nullable?: boolean
  'x-kubernetes-int-or-string'?: true
  'x-kubernetes-preserve-unknown-fields'?: true
  'x-kubernetes-validations'?: readonly Validation[]
}

/** A rule in the Common Expression Language, and what is said when it does not hold. */
export type Validation = { readonly rule: string; readonly message: string; readonly fieldPath?: string }

type Json = { readonly [key: string]: unknown }

/** Kept as they are wherever they stand. */
const PLAIN = ['format', 'default', 'enum', 'pattern', 'maxLength', 'maxItems', 'nullable', 'x-kubernetes-validations']

/** The structural schema of what a zod schema takes. Throws on a schema that cannot be expressed, which is a bug. */
export function structural(schema: z.ZodType): OpenapiSchema {
  return convert(z.toJSONSchema(schema, { io: 'input', target: 'openapi-3.0', reused: 'inline' }) as Json, '')
}

function convert(json: Json, path: string): OpenapiSchema {
  const plain: OpenapiSchema = Object.fromEntries(
    PLAIN.flatMap(key => (json[key] === undefined ? [] : [[key, json[key]]])),
  )
  const bounds = boundsOf(json)
  if (json.anyOf !== undefined) return { ...union(json.anyOf as readonly Json[], path), ...plain, ...bounds }
  switch (json.type) {
    case 'object':
      return { ...object(json, path), ...plain }
    case 'array':
      return { type: 'array', items: convert(json.items as Json, `${path}[]`), ...plain }
    case 'string':
    case 'boolean':
      return { type: json.type, ...plain }
    case 'integer':
      return { type: 'integer', format: 'int64', ...plain, ...bounds }
    case 'number':
      return { type: 'number', ...plain, ...bounds }
    default:
      throw new Error(`${path}: ${JSON.stringify(json)} has no structural schema`)
  }
}

/** zod bounds integers by what a double holds exactly, which is nothing to tell users of. */
function boundsOf({ minimum, maximum }: Json): OpenapiSchema {
  const isReal = (bound: unknown): bound is number =>
    typeof bound === 'number' && Math.abs(bound) < Number.MAX_SAFE_INTEGER
  return { ...(isReal(minimum) ? { minimum } : {}), ...(isReal(maximum) ? { maximum } : {}) }
}

function object(json: Json, path: string): OpenapiSchema {
  const fields = Object.entries((json.properties ?? {}) as Record<string, Json>)
  const properties = Object.fromEntries(fields.map(([name, field]) => [name, convert(field, `${path}.${name}`)]))
  const required = json.required as readonly string[] | undefined
  const more = json.additionalProperties as Json | false | undefined
  return {
    type: 'object',
    ...(fields.length > 0 ? { properties } : {}),
    ...(required?.length ? { required } : {}),
    // A map of values that are described, or an object with fields that are not.
    ...(more && Object.keys(more).length > 0 ? { additionalProperties: convert(more, `${path}{}`) } : {}),
    ...(more && Object.keys(more).length === 0 ? { 'x-kubernetes-preserve-unknown-fields': true as const } : {}),
  }
}

/** The unions that there are: a number or a text, and choices among single values. */
function union(options: readonly Json[], path: string): OpenapiSchema {
  const types = new Set(options.map(({ type }) => type))
  const values = options.flatMap(option => (option.enum ?? []) as readonly unknown[])
  const isChoice = options.every(option => option.enum !== undefined)
  if (isChoice && types.size === 1) {
    const whole = values.every(value => Number.isInteger(value))
    return { type: whole ? 'integer' : (options[0]!.type as string), enum: values }
  }
  if (!isChoice && types.size === 2 && types.has('string') && (types.has('number') || types.has('integer')))
    return { 'x-kubernetes-int-or-string': true }
  throw new Error(`${path}: ${JSON.stringify(options)} has no structural schema`)
}

/** The node at a path such as `spec.ingress[].source`. Throws if there is none. */
export function nodeAt(root: OpenapiSchema, path: string): OpenapiSchema {
  const steps = path === '' ? [] : path.split(/(?=\[\])|\./)
  const node = steps.reduce<OpenapiSchema | undefined>(
    (at, step) => (step === '[]' ? at?.items : at?.properties?.[step]),
    root,
  )
  if (node === undefined) throw new Error(`there is no ${path} in the schema`)
  return node
}
