// StagedNetworkPolicy, StagedGlobalNetworkPolicy and StagedKubernetesNetworkPolicy: a policy that is judged and never enforced. It stands for the enforced
// policy of the same name: `Set` says what that one would become, `Delete` that it would be gone.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { selectorText } from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'
import { checkRules } from '../rule.ts'
import { ruleProblems, storedFields, withStoredTypes, withWrittenTypes, writtenFields } from './kubernetes-policy.ts'
import { checkLabelSelector } from './label-selector.ts'
import {
  checkHostFields,
  checkTypes,
  globalFields,
  hints,
  type PolicyType,
  policyFields,
  withTierLabel,
  withTypes,
} from './network-policy.ts'

export const STAGED_ACTIONS = ['Set', 'Delete', 'Learn', 'Ignore'] as const
const stagedAction = z
  .union([z.literal(''), z.enum(STAGED_ACTIONS)])
  .optional()
  .transform(action => action || 'Set')

type Staged = Parameters<typeof withTypes>[0] & { readonly stagedAction: string }

/** A deletion says nothing of directions. */
const withStagedTypes = <T extends Staged>(spec: T): T & { types: PolicyType[] } =>
  spec.stagedAction === 'Delete' ? { ...spec, types: spec.types ?? [] } : withTypes(spec)

/** Calico's rule: beside `Delete` there is the tier and nothing else. */
function checkDeletion(spec: { readonly stagedAction: string }, ...given: readonly string[]): Problem[] {
  if (spec.stagedAction !== 'Delete') return []
  const isZero = (value: unknown): boolean =>
    value === undefined ||
    value === false ||
    value === '' ||
    (typeof value === 'object' && Object.keys(value ?? {}).length === 0)
  return Object.entries(spec)
    .filter(([field, value]) => !['stagedAction', 'tier', ...given].includes(field) && !isZero(value))
    .map(([field, value]) => ({
      path: `spec.${field}`,
      message: 'Spec fields, except Tier, should all be zero-value if stagedAction is Delete',
      fix: `remove ${field}, or write stagedAction: Set`,
      value,
    }))
}

const stagedNetworkPolicySchema = z
  .strictObject({
    ...calicoHead('StagedNetworkPolicy'),
    spec: z
      .strictObject({ stagedAction, ...policyFields, serviceAccountSelector: selectorText(), performanceHints: hints })
      .transform(withStagedTypes)
      .prefault({}),
  })
  .transform(withTierLabel)

export const stagedNetworkPolicy = calicoKind({
  kind: 'StagedNetworkPolicy',
  plural: 'stagednetworkpolicies',
  namespaced: true,
  aliases: ['stagedpolicy', 'stagedpolicies', 'snp', 'snps', 'spol', 'spols'],
  nameRule: 'policy',
  schema: stagedNetworkPolicySchema,
  check: ({ spec }) => [...checkDeletion(spec), ...checkTypes(spec.types), ...checkRules(spec, { namespaced: true })],
})

const stagedGlobalNetworkPolicySchema = z
  .strictObject({
    ...calicoHead('StagedGlobalNetworkPolicy'),
    spec: z
      .strictObject({ stagedAction, ...policyFields, ...globalFields })
      .transform(withStagedTypes)
      .prefault({}),
  })
  .transform(withTierLabel)

export const stagedGlobalNetworkPolicy = calicoKind({
  kind: 'StagedGlobalNetworkPolicy',
  plural: 'stagedglobalnetworkpolicies',
  namespaced: false,
  aliases: ['sgnp', 'sgnps'],
  nameRule: 'globalPolicy',
  schema: stagedGlobalNetworkPolicySchema,
  check: ({ spec }) => [
    ...checkDeletion(spec),
    ...checkTypes(spec.types),
    ...checkHostFields(spec),
    ...checkRules(spec, { namespaced: false }),
  ],
})

const kubernetesHead = calicoHead('StagedKubernetesNetworkPolicy')

/** The spec of Kubernetes' NetworkPolicy. A deletion has types by default too, which say nothing. */
export const stagedKubernetesNetworkPolicy = calicoKind({
  kind: 'StagedKubernetesNetworkPolicy',
  plural: 'stagedkubernetesnetworkpolicies',
  namespaced: true,
  aliases: ['stagedkubernetespolicy', 'stagedkubernetespolicies', 'sknp', 'sknps', 'skpol', 'skpols'],
  schema: z.strictObject({
    ...kubernetesHead,
    spec: z
      .strictObject({ stagedAction, ...storedFields })
      .transform(withStoredTypes)
      .prefault({}),
  }),
  check: ({ spec }) => checkLabelSelector(spec.podSelector, 'spec.podSelector'),
  written: {
    schema: z.strictObject({
      ...kubernetesHead,
      spec: z
        .strictObject({ stagedAction, ...writtenFields })
        .transform(withWrittenTypes)
        .prefault({}),
    }),
    check: policy => [...checkDeletion(policy.spec, 'policyTypes'), ...ruleProblems(policy)],
  },
})
