// From what the schema library found to problems that say where, what and how to mend it.
import type { z } from 'zod'
import { joinPath, type Problem } from '../base/problem.ts'
import { nearest, nearestName } from './nearest.ts'

type Context = { readonly schema: z.ZodType; readonly input: unknown; readonly at?: string }

/** `at`: where the input stands in the document; the paths then begin there. */
export function describeIssues(issues: readonly z.core.$ZodIssue[], { at, ...context }: Context): Problem[] {
  const problems = issues.flatMap(issue => describe(issue, context))
  if (at === undefined) return problems
  return problems.map(problem => ({ ...problem, path: problem.path === '' ? at : `${at}.${problem.path}` }))
}

function describe(issue: z.core.$ZodIssue, context: Context): Problem[] {
  const path = issue.path.reduce<string>((before, step) => joinPath(before, step as string | number), '')
  const value = issue.path.reduce<unknown>(
    (found, step) => (found as Record<PropertyKey, unknown> | undefined)?.[step],
    context.input,
  )
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => unknownField(key, issue.path, { path, schema: context.schema }))
  }
  const shown = typeof value === 'object' || value === undefined ? {} : { value }
  if (value === undefined && issue.code !== 'custom') return [{ path, message: 'is required' }]
  return [{ path, ...phrase(issue, value), ...shown }]
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
}

function phrase(issue: z.core.$ZodIssue, value: unknown): Omit<Problem, 'path'> {
  switch (issue.code) {
    case 'invalid_type': {
      const quoted = issue.expected === 'string' && (typeof value === 'number' || typeof value === 'boolean')
      return {
        message: `must be ${TYPE_NAMES[issue.expected] ?? issue.expected}`,
        ...(quoted ? { fix: `put it in quotes: "${value}"` } : {}),
      }
    }
    case 'invalid_value': {
      const names = issue.values.map(String)
      const fix = typeof value === 'string' ? nearest(value, names) : undefined
      return {
        message: names.length === 1 ? `must be ${names[0]}` : `must be one of ${names.join(', ')}`,
        ...(fix ? { fix } : {}),
      }
    }
    case 'too_big':
    case 'too_small': {
      const big = issue.code === 'too_big'
      const limit = big ? issue.maximum : issue.minimum
      const unit = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' entries' : ''
      return { message: `must ${unit === '' ? 'be' : 'have'} at ${big ? 'most' : 'least'} ${limit}${unit}` }
    }
    case 'custom': {
      const fix: unknown = issue.params?.fix
      return { message: issue.message, ...(typeof fix === 'string' ? { fix } : {}) }
    }
    case 'invalid_union': {
      const wanted = issue.errors.flatMap(errors =>
        errors.flatMap(e =>
          e.code === 'invalid_type'
            ? [TYPE_NAMES[e.expected] ?? e.expected]
            : e.code === 'invalid_value'
              ? e.values.map(String)
              : [],
        ),
      )
      return { message: `must be ${[...new Set(wanted)].join(' or ')}` }
    }
    default:
      return { message: issue.message }
  }
}

type Place = { readonly path: string; readonly schema: z.ZodType }

/** An unknown field, with the nearest known name there, or the places where a field of that name is known. */
function unknownField(key: string, at: readonly PropertyKey[], { path, schema }: Place): Problem {
  const problem = { path: joinPath(path, key), message: `unknown field ${key}` }
  const here = shapeOf(at.reduce<z.ZodType | undefined>((found, step) => stepInto(found, step), schema))
  const near = nearestName(key, Object.keys(here ?? {}))
  if (near !== undefined) return { ...problem, fix: `did you mean ${near}?` }
  const places = [...placesOf(key, schema, '')].sort((a, b) => shared(b, path) - shared(a, path))
  return places.length > 0 ? { ...problem, fix: `${key} belongs at ${places.slice(0, 2).join(' or ')}` } : problem
}

/** Length of the common beginning of a place and a path, indices aside. */
function shared(place: string, path: string): number {
  const plain = path.replace(/\[\d+\]/g, '[]')
  let n = 0
  while (n < plain.length && plain[n] === place[n]) n++
  return n
}

/** The schema below optional, default and transform wrappers. */
function unwrap(schema: z.ZodType | undefined): z.ZodType | undefined {
  let inner = schema
  while (inner !== undefined) {
    const def = inner.def as unknown as { innerType?: z.ZodType; in?: z.ZodType }
    const next = def.innerType ?? def.in
    if (next === undefined) return inner
    inner = next
  }
  return undefined
}

function shapeOf(schema: z.ZodType | undefined): Readonly<Record<string, z.ZodType>> | undefined {
  return (unwrap(schema)?.def as { shape?: Record<string, z.ZodType> } | undefined)?.shape
}

const elementOf = (schema: z.ZodType | undefined): z.ZodType | undefined =>
  (unwrap(schema)?.def as { element?: z.ZodType } | undefined)?.element

const stepInto = (schema: z.ZodType | undefined, step: PropertyKey): z.ZodType | undefined =>
  typeof step === 'number' ? elementOf(schema) : shapeOf(schema)?.[String(step)]

function* placesOf(key: string, schema: z.ZodType, path: string): Iterable<string> {
  const element = elementOf(schema)
  if (element) yield* placesOf(key, element, `${path}[]`)
  for (const [name, field] of Object.entries(shapeOf(schema) ?? {})) {
    const here = joinPath(path, name)
    if (name === key) yield here
    yield* placesOf(key, field, here)
  }
}
