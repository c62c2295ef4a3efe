// Kubernetes' LabelSelector: matchLabels and matchExpressions, all of which must hold. Empty, it selects everything. Checked
// as the API server checks it (apimachinery, ValidateLabelSelector).
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import type { DeepReadonly } from '../kind.ts'
import { isLabelValue, isQualifiedName } from '../metadata.ts'

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const

export const labelSelector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: z.string(),
        operator: z.enum(OPERATORS),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
})

export type LabelSelector = DeepReadonly<z.output<typeof labelSelector>>

/** Whether a selector asks nothing, and so selects everything. */
export const isEmptySelector = ({ matchLabels, matchExpressions }: LabelSelector): boolean =>
  Object.keys(matchLabels ?? {}).length === 0 && (matchExpressions ?? []).length === 0

const KEY = { message: 'is not a label name', fix: 'at most 63 of A-Z a-z 0-9 - _ . after an optional domain/' }
const VALUE = { message: 'is not a label value', fix: 'at most 63 of A-Z a-z 0-9 - _ .' }

export function checkLabelSelector(selector: LabelSelector | undefined, path: string): Problem[] {
  const problems: Problem[] = []
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    const at = `${path}.matchLabels[${JSON.stringify(key)}]`
    if (!isQualifiedName(key)) problems.push({ path: at, ...KEY })
    if (!isLabelValue(value)) problems.push({ path: at, ...VALUE, value })
  }
  selector?.matchExpressions?.forEach(({ key, operator, values = [] }, index) => {
    const at = `${path}.matchExpressions[${index}]`
    if (!isQualifiedName(key)) problems.push({ path: `${at}.key`, ...KEY, value: key })
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) problems.push({ path: `${at}.values`, message: `is required with operator ${operator}` })
      values.forEach((value, i) => {
        if (!isLabelValue(value)) problems.push({ path: `${at}.values[${i}]`, ...VALUE, value })
      })
    } else if (values.length > 0) {
      const message = `must be left out with operator ${operator}`
      problems.push({
        path: `${at}.values`,
        message,
        fix: operator === 'Exists' ? 'use operator: In' : 'use operator: NotIn',
      })
    }
  })
  return problems
}
