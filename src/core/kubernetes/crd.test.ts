import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { KIND_NAMES, KINDS } from '../resources/resource.ts'
import { API_FACTS } from './columns.ts'
import { customResourceDefinitions } from './crd.ts'
import { nodeAt, type OpenapiSchema, structural } from './structural.ts'
import { LIMITS, VALIDATIONS } from './validations.ts'

const definitions = customResourceDefinitions()

type Version = { readonly schema: { readonly openAPIV3Schema: OpenapiSchema } }
const schemaOf = (kind: string): OpenapiSchema => {
  const found = definitions.find(({ spec }) => spec.names.kind === kind)
  const [version] = found!.spec.versions as readonly Version[]
  return version!.schema.openAPIV3Schema
}

function* nodes(schema: OpenapiSchema): Iterable<OpenapiSchema> {
  yield schema
  for (const child of Object.values(schema.properties ?? {})) yield* nodes(child)
  for (const child of [schema.items, schema.additionalProperties]) if (child) yield* nodes(child)
}

test('every kind of Calico that is kept has a definition', () => {
  const kinds = definitions.map(({ spec }) => spec.names.kind)
  for (const kind of KIND_NAMES.filter(kind => KINDS[kind].apiVersion === 'projectcalico.org/v3')) {
    assert.equal(kinds.includes(kind), !['WorkloadEndpoint', 'Node'].includes(kind), kind)
  }
  for (const kind of ['IPAMBlock', 'IPAMHandle', 'BlockAffinity']) assert.ok(kinds.includes(kind), kind)
  assert.deepEqual(kinds, [...kinds].sort())
})

test('the schemas are structural: one type a node, no unknown words, no default in a status', () => {
  for (const { spec } of definitions) {
    const schema = schemaOf(spec.names.kind)
    for (const node of nodes(schema)) {
      assert.ok((node.type === undefined) === (node['x-kubernetes-int-or-string'] === true), JSON.stringify(node))
      assert.ok(node.properties === undefined || node.additionalProperties === undefined)
    }
    assert.deepEqual(schema.properties!.metadata, { type: 'object' })
    assert.equal(schema.properties!.status?.default, undefined)
  }
})

test('rules and limits are for fields that there are, and facts for kinds that there are or will be', () => {
  for (const [kind, paths] of [...Object.entries(VALIDATIONS), ...Object.entries(LIMITS)])
    for (const path of Object.keys(paths)) assert.ok(nodeAt(schemaOf(kind), path), `${kind} ${path}`)
  assert.throws(() => nodeAt(schemaOf('Tier'), 'spec.nosuch'), /there is no spec.nosuch/)
  for (const { spec } of definitions) {
    const { columns = [], selectable = [] } = API_FACTS[spec.names.kind] ?? {}
    for (const path of [...columns.map(({ jsonPath }) => jsonPath), ...selectable].filter(p => p.startsWith('.spec.')))
      assert.ok(nodeAt(schemaOf(spec.names.kind), path.slice(1)), path)
  }
})

test('a schema becomes what its input may be', () => {
  const schema = z.strictObject({
    a: z.string().max(3).optional(),
    b: z.enum(['x', 'y']).default('x'),
    c: z.union([z.literal(4), z.literal(6)]),
    d: z.union([z.number(), z.string()]).transform(String),
    e: z.array(z.int().min(0).max(9)),
    f: z.record(z.string(), z.string()),
    g: z.looseObject({}).optional(),
    h: z.union([z.literal(''), z.enum(['p'])]).optional(),
    i: z.int().nullable(),
  })
  assert.deepEqual(structural(schema), {
    type: 'object',
    properties: {
      a: { type: 'string', maxLength: 3 },
      b: { type: 'string', default: 'x', enum: ['x', 'y'] },
      c: { type: 'integer', enum: [4, 6] },
      d: { 'x-kubernetes-int-or-string': true },
      e: { type: 'array', items: { type: 'integer', format: 'int64', minimum: 0, maximum: 9 } },
      f: { type: 'object', additionalProperties: { type: 'string' } },
      g: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      h: { type: 'string', enum: ['', 'p'] },
      i: { type: 'integer', format: 'int64', nullable: true },
    },
    required: ['c', 'd', 'e', 'f', 'i'],
  })
  assert.throws(
    () => structural(z.object({ x: z.union([z.string(), z.boolean()]) })),
    /\.x: .* has no structural schema/,
  )
})
