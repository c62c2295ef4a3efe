// Profiles: rules that are judged after all tiers, and labels that endpoints inherit.
import { z } from 'zod'
import { calicoKind } from '../kind.ts'
import { calicoHead, checkLabels, textMap } from '../metadata.ts'
import { checkRules, rules } from '../rule.ts'

/** The built-in profile that allows everything; it always exists and cannot be written. */
export const DEFAULT_ALLOW = 'projectcalico-default-allow'

export const profile = calicoKind({
  kind: 'Profile',
  plural: 'profiles',
  namespaced: false,
  aliases: ['pro', 'pros'],
  schema: z.strictObject({
    ...calicoHead('Profile'),
    spec: z.strictObject({ ingress: rules(), egress: rules(), labelsToApply: textMap() }).prefault({}),
  }),
  check: ({ spec }) => [
    ...checkRules(spec, { namespaced: false }),
    ...checkLabels(spec.labelsToApply, 'spec.labelsToApply'),
  ],
})
