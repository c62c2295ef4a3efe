// NetworkPolicy and GlobalNetworkPolicy: the same spec, the global one with what only host endpoints need and a
// namespace selector. The tier lives in `spec.tier` alone; the label repeats it so that lists can select by tier.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { flag, list, selectorText } from '../field.ts'
import { calicoKind, type DeepReadonly } from '../kind.ts'
import { calicoHead, type Metadata, sortedByKey } from '../metadata.ts'
import { checkRules, rules } from '../rule.ts'

export const TIER_LABEL = 'projectcalico.org/tier'

export const POLICY_TYPES = ['Ingress', 'Egress'] as const
export type PolicyType = (typeof POLICY_TYPES)[number]

/** The fields that every policy of Calico has, enforced or staged. */
export const policyFields = {
  /** Empty means `default`. */
  tier: z
    .string()
    .optional()
    .transform(tier => tier || 'default'),
  /** Lower is earlier; absent is last. */
  order: z.number().optional(),
  ingress: rules(),
  egress: rules(),
  selector: selectorText(),
  types: list(z.enum(POLICY_TYPES)),
}
export const hints = list(z.enum(['AssumeNeededOnEveryNode']))

type Directions = { readonly ingress?: unknown; readonly egress?: unknown; readonly types?: PolicyType[] | undefined }

/** `types` absent: Egress alone if there are only egress rules, both if there are both, otherwise Ingress. */
export function withTypes<T extends Directions>(spec: T): T & { types: PolicyType[] } {
  const guessed: PolicyType[] =
    spec.egress === undefined ? ['Ingress'] : spec.ingress === undefined ? ['Egress'] : ['Ingress', 'Egress']
  return { ...spec, types: spec.types ?? guessed }
}

export function withTierLabel<T extends { metadata: Metadata; spec: { tier: string } }>(policy: T): T {
  const labels = sortedByKey({ ...policy.metadata.labels, [TIER_LABEL]: policy.spec.tier })
  return { ...policy, metadata: { ...policy.metadata, labels } }
}

export function checkTypes(types: readonly PolicyType[]): Problem[] {
  return types.flatMap((type, index) =>
    types.indexOf(type) === index
      ? []
      : [{ path: `spec.types[${index}]`, message: `'${type}' type specified more than once` }],
  )
}

const networkPolicySchema = z
  .strictObject({
    ...calicoHead('NetworkPolicy'),
    spec: z
      .strictObject({ ...policyFields, serviceAccountSelector: selectorText(), performanceHints: hints })
      .transform(withTypes)
      .prefault({}),
  })
  .transform(withTierLabel)

export const networkPolicy = calicoKind({
  kind: 'NetworkPolicy',
  plural: 'networkpolicies',
  namespaced: true,
  aliases: ['policy', 'np', 'policies', 'pol', 'pols', 'cnp', 'caliconetworkpolicy'],
  nameRule: 'policy',
  schema: networkPolicySchema,
  check: ({ spec }) => [...checkTypes(spec.types), ...checkRules(spec, { namespaced: true })],
})

/** What a global policy has besides. */
export const globalFields = {
  /** Evaluated before connection tracking, at host endpoints only. */
  doNotTrack: flag(),
  /** Evaluated before destination NAT, at host endpoints only. */
  preDNAT: flag(),
  /** At host endpoints, also judges traffic that is forwarded. */
  applyOnForward: flag(),
  serviceAccountSelector: selectorText(),
  namespaceSelector: selectorText(),
  performanceHints: hints,
}

const globalNetworkPolicySchema = z
  .strictObject({
    ...calicoHead('GlobalNetworkPolicy'),
    spec: z
      .strictObject({
        ...policyFields,
        ...globalFields,
      })
      .transform(withTypes)
      .prefault({}),
  })
  .transform(withTierLabel)

type GlobalSpec = DeepReadonly<z.output<typeof globalNetworkPolicySchema>>['spec']

export function checkHostFields(spec: GlobalSpec): Problem[] {
  const problems: Problem[] = []
  for (const field of ['doNotTrack', 'preDNAT'] as const) {
    if (spec[field] && !spec.applyOnForward) {
      problems.push({ path: `spec.${field}`, message: 'needs applyOnForward', fix: 'set applyOnForward: true' })
    }
  }
  if (spec.preDNAT && spec.doNotTrack) {
    problems.push({ path: 'spec.preDNAT', message: 'preDNAT and doNotTrack cannot both be true' })
  }
  if (spec.preDNAT && spec.egress) {
    problems.push({ path: 'spec.egress', message: 'a preDNAT policy cannot have egress rules' })
  }
  if (spec.preDNAT && spec.types.includes('Egress')) {
    problems.push({ path: 'spec.types', message: "a preDNAT policy cannot have 'Egress' type", value: spec.types })
  }
  return problems
}

export const globalNetworkPolicy = calicoKind({
  kind: 'GlobalNetworkPolicy',
  plural: 'globalnetworkpolicies',
  namespaced: false,
  aliases: ['gnp', 'gnps', 'cgnp'],
  nameRule: 'globalPolicy',
  schema: globalNetworkPolicySchema,
  check: ({ spec }) => [
    ...checkTypes(spec.types),
    ...checkHostFields(spec),
    ...checkRules(spec, { namespaced: false }),
  ],
})
