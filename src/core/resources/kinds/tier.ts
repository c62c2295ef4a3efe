// Tiers: the groups in which policies are judged, one after the other. Three are built in, with fixed settings.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

export const DEFAULT_ACTIONS = ['Deny', 'Pass'] as const

/** The tiers that always exist: they cannot be deleted, and their settings cannot be changed. */
export const BUILT_IN_TIERS = {
  'kube-admin': { order: 1000, defaultAction: 'Pass' },
  default: { order: 1_000_000, defaultAction: 'Deny' },
  'kube-baseline': { order: 10_000_000, defaultAction: 'Pass' },
} as const

export const isBuiltInTier = (name: string): name is keyof typeof BUILT_IN_TIERS => Object.hasOwn(BUILT_IN_TIERS, name)

const schema = z.strictObject({
  ...calicoHead('Tier'),
  spec: z
    .strictObject({
      /** Lower is earlier; absent is last. */
      order: z.number().optional(),
      /** What happens to traffic that a policy of the tier selects and no rule of the tier decides. */
      defaultAction: z.enum(DEFAULT_ACTIONS).default('Deny'),
    })
    .prefault({}),
  status: z.looseObject({}).default({}),
})

export const tier = calicoKind({
  kind: 'Tier',
  plural: 'tiers',
  namespaced: false,
  aliases: [],
  nameRule: 'tier',
  schema,
  check: ({ metadata: { name }, spec }) => {
    if (!isBuiltInTier(name)) return []
    const problems: Problem[] = []
    for (const field of ['order', 'defaultAction'] as const) {
      const wanted = BUILT_IN_TIERS[name][field]
      if (spec[field] === wanted) continue
      const message = `the ${field} of the built-in tier ${name} must be ${wanted}`
      problems.push({ path: `spec.${field}`, message, fix: `set ${field}: ${wanted}`, value: spec[field] })
    }
    return problems
  },
})
