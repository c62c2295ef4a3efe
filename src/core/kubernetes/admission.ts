// What the API server does to resources on their way in, where a schema cannot: the directions of a policy that names none
// follow from its rules, each policy carries its tier as a label, and the built-in tiers cannot be deleted. Elsewhere the
// command line does the same; here it holds for kubectl, too.
import { TIER_LABEL } from '../resources/kinds/network-policy.ts'
import { BUILT_IN_TIERS } from '../resources/kinds/tier.ts'
import { KINDS, TIERED_KINDS } from '../resources/resource.ts'
import { GROUP, VERSION } from './crd.ts'

export type AdmissionObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: Readonly<Record<string, unknown>>
}

type Match = { readonly resources: readonly string[]; readonly operations: readonly string[] }

const matching = ({ resources, operations }: Match) => ({
  resourceRules: [{ apiGroups: [GROUP], apiVersions: [VERSION], operations, resources }],
})

const policies: Match = {
  resources: TIERED_KINDS.map(kind => KINDS[kind].plural),
  operations: ['CREATE', 'UPDATE'],
}

const API = 'admissionregistration.k8s.io/v1'

type Patch =
  | { readonly patchType: 'JSONPatch'; readonly jsonPatch: { readonly expression: string } }
  | { readonly patchType: 'ApplyConfiguration'; readonly applyConfiguration: { readonly expression: string } }
type Condition = { readonly name: string; readonly expression: string }

/** A change of the object, and the binding that makes it hold in the whole cluster. */
function mutation(name: string, patch: Patch, conditions: readonly Condition[]): AdmissionObject[] {
  const spec = {
    matchConstraints: matching(policies),
    matchConditions: conditions,
    failurePolicy: 'Fail',
    reinvocationPolicy: 'IfNeeded',
    mutations: [patch],
  }
  return [
    { apiVersion: API, kind: 'MutatingAdmissionPolicy', metadata: { name }, spec },
    { apiVersion: API, kind: 'MutatingAdmissionPolicyBinding', metadata: { name }, spec: { policyName: name } },
  ]
}

const has = (field: string): string => `has(object.spec) && has(object.spec.${field})`
const isFull = (field: string): string => `(${has(field)} && size(object.spec.${field}) > 0)`

/** Egress alone if there are only egress rules, both if there are both, otherwise Ingress. */
const types = mutation(
  `types.${GROUP}`,
  {
    patchType: 'JSONPatch',
    // A list is replaced as a whole, which the other kind of patch cannot do.
    jsonPatch: {
      expression: `[JSONPatch{op: 'add', path: '/spec/types', value: ${isFull('egress')} ? (${isFull('ingress')} ? ['Ingress', 'Egress'] : ['Egress']) : ['Ingress']}]`,
    },
  },
  [
    { name: 'names-no-types', expression: `!${isFull('types')}` },
    // A deletion says nothing of directions.
    { name: 'is-no-deletion', expression: `!(${has('stagedAction')} && object.spec.stagedAction == 'Delete')` },
  ],
)

const tier = `(${has('tier')} && object.spec.tier != '' ? object.spec.tier : 'default')`
const label = mutation(
  `tier-label.${GROUP}`,
  {
    patchType: 'ApplyConfiguration',
    applyConfiguration: { expression: `Object{metadata: Object.metadata{labels: {'${TIER_LABEL}': ${tier}}}}` },
  },
  [
    {
      name: 'is-not-labelled',
      expression: `!has(object.metadata.labels) || !('${TIER_LABEL}' in object.metadata.labels) || object.metadata.labels['${TIER_LABEL}'] != ${tier}`,
    },
  ],
)

const BUILT_IN = `built-in-tiers.${GROUP}`
const tiers: AdmissionObject[] = [
  {
    apiVersion: API,
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: BUILT_IN },
    spec: {
      matchConstraints: matching({ resources: [KINDS.Tier.plural], operations: ['DELETE'] }),
      failurePolicy: 'Fail',
      validations: [
        {
          expression: `!(oldObject.metadata.name in [${Object.keys(BUILT_IN_TIERS)
            .map(name => `'${name}'`)
            .join(', ')}])`,
          messageExpression: `'The built-in tier ' + oldObject.metadata.name + ' cannot be deleted'`,
        },
      ],
    },
  },
  {
    apiVersion: API,
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name: BUILT_IN },
    spec: { policyName: BUILT_IN, validationActions: ['Deny'] },
  },
]

/** All of them, each policy before its binding. */
export const admissionObjects = (): AdmissionObject[] => [...types, ...label, ...tiers]
