// CustomResourceDefinitions of all kinds of projectcalico.org/v3 that the datastore keeps, from the same schemas that judge
// them elsewhere.
import type { z } from 'zod'
import { NAME_RULES } from '../resources/metadata.ts'
import { KIND_NAMES, KINDS, type Kind, schemaOf } from '../resources/resource.ts'
import { API_FACTS } from './columns.ts'
import { IPAM_SCHEMAS } from './ipam-schema.ts'
import { nodeAt, type OpenapiSchema, structural, type Validation } from './structural.ts'
import { LIMITS, VALIDATIONS } from './validations.ts'

export const GROUP = 'projectcalico.org'
export const VERSION = 'v3'

export type CustomResourceDefinition = {
  readonly apiVersion: 'apiextensions.k8s.io/v1'
  readonly kind: 'CustomResourceDefinition'
  readonly metadata: { readonly name: string }
  readonly spec: { readonly names: { readonly kind: string; readonly plural: string } } & Readonly<
    Record<string, unknown>
  >
}

/** Calico kinds that Kubernetes holds in objects of its own: the endpoints of pods, and nodes. */
const DERIVED: readonly Kind[] = ['WorkloadEndpoint', 'Node']

type Definable = {
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  readonly schema: z.ZodType
  readonly rules: readonly Validation[]
}

/** All definitions, sorted by kind. */
export function customResourceDefinitions(): CustomResourceDefinition[] {
  const resources = KIND_NAMES.filter(
    kind => KINDS[kind].apiVersion === `${GROUP}/${VERSION}` && !DERIVED.includes(kind),
  )
  const all: readonly Definable[] = [
    ...resources.map(kind => ({ ...KINDS[kind], schema: schemaOf(kind), rules: nameRules(kind) })),
    ...Object.entries(IPAM_SCHEMAS).map(([kind, facts]) => ({ kind, namespaced: false, rules: [], ...facts })),
  ]
  return all.map(define).sort((a, b) => (a.spec.names.kind < b.spec.names.kind ? -1 : 1))
}

/** What a kind asks of its names beyond Kubernetes' own rule. */
function nameRules(kind: Kind): Validation[] {
  const { nameRule, singleton } = KINDS[kind]
  const { patterns, text } = NAME_RULES[nameRule]
  const matches = patterns.map(pattern => `self.metadata.name.matches(r'${pattern}')`).join(' || ')
  return [
    ...(matches === '' ? [] : [{ rule: matches, message: `a name consists of ${text}` }]),
    ...(singleton === undefined
      ? []
      : [{ rule: `self.metadata.name == '${singleton}'`, message: `there is one ${kind} only, named ${singleton}` }]),
  ]
}

function define({ kind, plural, namespaced, schema, rules }: Definable): CustomResourceDefinition {
  const { shortNames, columns, selectable, status } = API_FACTS[kind] ?? {}
  const names = { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      names: { ...names, ...(shortNames ? { shortNames } : {}) },
      scope: namespaced ? 'Namespaced' : 'Cluster',
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: objectSchema(kind, schema, rules) },
          ...(columns ? { additionalPrinterColumns: columns } : {}),
          ...(selectable ? { selectableFields: selectable.map(jsonPath => ({ jsonPath })) } : {}),
          ...(status ? { subresources: { status: {} } } : {}),
        },
      ],
    },
  }
}

function objectSchema(kind: string, schema: z.ZodType, rules: readonly Validation[]): OpenapiSchema {
  const root = structural(schema)
  const { spec, status } = root.properties ?? {}
  if (spec === undefined) throw new Error(`${kind} has no spec`)
  const required = root.required?.filter(field => field === 'spec') ?? []
  const whole: OpenapiSchema = {
    type: 'object',
    properties: {
      // The API server knows these, and refuses a description of them.
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec,
      ...(status ? { status: withoutDefault(status) } : {}),
    },
    ...(required.length > 0 ? { required } : {}),
  }
  for (const [path, maxItems] of Object.entries(LIMITS[kind] ?? {})) nodeAt(whole, path).maxItems = maxItems
  for (const [path, more] of [...Object.entries(VALIDATIONS[kind] ?? {}), ['', rules] as const]) {
    const node = nodeAt(whole, path)
    const all = [...(node['x-kubernetes-validations'] ?? []), ...more]
    if (all.length > 0) node['x-kubernetes-validations'] = all
  }
  return whole
}

/** A status is written by whoever has something to say. */
function withoutDefault({ default: _, ...schema }: OpenapiSchema): OpenapiSchema {
  return schema
}
