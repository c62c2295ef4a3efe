// Names, labels and annotations: what every kind carries, and the rules Kubernetes and Calico have for them.
import { z } from 'zod'
import type { Problem } from '../base/problem.ts'

/** The same map in the order of its keys, or nothing if it is empty. */
export function sortedByKey(record: Readonly<Record<string, string>>): Record<string, string> | undefined {
  const keys = Object.keys(record).sort()
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map(key => [key, record[key]!]))
}
/** A map of texts: stored in the order of its keys (as Go does), left out when empty. */
export const textMap = () => z.record(z.string(), z.string()).transform(sortedByKey).optional()

/** Kubernetes' ObjectMeta, fields in the order of its JSON. */
export const metadata = z.strictObject({
  name: z.string().default(''),
  generateName: z.string().optional(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.number().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.number().optional(),
  labels: textMap(),
  annotations: textMap(),
  ownerReferences: z.array(z.looseObject({})).optional(),
  finalizers: z.array(z.string()).optional(),
  managedFields: z.array(z.looseObject({})).optional(),
  selfLink: z.string().optional(),
})

/** The first fields of every Calico kind. */
export const calicoHead = <K extends string>(kind: K) => ({
  kind: z.literal(kind),
  apiVersion: z.literal('projectcalico.org/v3'),
  metadata,
})

export type Metadata = z.output<typeof metadata>

const LABEL = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?'
const SUBDOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`)
const PART = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/

export const isSubdomain = (name: string): boolean => name.length <= 253 && SUBDOMAIN.test(name)

const ONE = new RegExp(`^${LABEL}$`)
export const isDnsLabel = (name: string): boolean => name.length <= 63 && ONE.test(name)

export type NameRule = 'subdomain' | 'policy' | 'globalPolicy' | 'tier'

const ONE_OR_TWO = new RegExp(`^${LABEL}(?:\\.${LABEL})?$`)
const CONVERTED = new RegExp(`^(?:knp|ossg)\\.default\\.${LABEL}(?:\\.${LABEL})*$`)

type NameFacts = {
  readonly holds: (name: string) => boolean
  readonly text: string
  /** What is asked of a name beyond Kubernetes' own rule: patterns of which one must match. */
  readonly patterns: readonly string[]
}

export const NAME_RULES: Readonly<Record<NameRule, NameFacts>> = {
  subdomain: { holds: isSubdomain, patterns: [], text: 'lower-case letters, digits, - and ., at most 253 characters' },
  policy: {
    patterns: [ONE_OR_TWO.source, CONVERTED.source],
    holds: name => name.length <= 253 && (ONE_OR_TWO.test(name) || CONVERTED.test(name)),
    text: 'lower-case letters, digits and -, with at most one dot (tier.name)',
  },
  globalPolicy: {
    patterns: [ONE_OR_TWO.source],
    holds: name => name.length <= 253 && ONE_OR_TWO.test(name),
    text: 'lower-case letters, digits and -, with at most one dot (tier.name)',
  },
  tier: {
    patterns: [`^${LABEL}$`],
    holds: isDnsLabel,
    text: 'lower-case letters, digits and -, without a dot, at most 63 characters',
  },
}

export function checkName(name: string, rule: NameRule): Problem[] {
  const path = 'metadata.name'
  if (name === '') return [{ path, message: 'is required' }]
  const { holds, text } = NAME_RULES[rule]
  if (holds(name)) return []
  const tamed = name
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '')
  const fix = holds(tamed) ? `for example ${tamed}` : undefined
  return [{ path, message: `a name consists of ${text}`, value: name, ...(fix === undefined ? {} : { fix }) }]
}

/** Whether a text is a qualified name: `name` or `dns.domain/name`. */
export function isQualifiedName(key: string): boolean {
  const slash = key.indexOf('/')
  const part = key.slice(slash + 1)
  if (slash >= 0 && !isSubdomain(key.slice(0, slash))) return false
  return part.length <= 63 && PART.test(part)
}

export const isLabelValue = (value: string): boolean => value === '' || (value.length <= 63 && PART.test(value))

export function checkLabels(labels: Readonly<Record<string, string>> | undefined, path: string): Problem[] {
  const problems: Problem[] = []
  for (const [key, value] of Object.entries(labels ?? {})) {
    const at = `${path}[${JSON.stringify(key)}]`
    if (!isQualifiedName(key)) {
      problems.push({
        path: at,
        message: 'is not a label name',
        fix: 'at most 63 of A-Z a-z 0-9 - _ . after an optional domain/',
      })
    }
    if (!isLabelValue(value)) {
      problems.push({ path: at, message: 'is not a label value', fix: 'at most 63 of A-Z a-z 0-9 - _ .', value })
    }
  }
  return problems
}

const MAX_ANNOTATIONS = 262144

/** Size in bytes of a text in UTF-8. */
function utf8Length(text: string): number {
  let size = 0
  for (const char of text) {
    const code = char.codePointAt(0)!
    size += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
  }
  return size
}

export function checkAnnotations(annotations: Readonly<Record<string, string>> | undefined, path: string): Problem[] {
  const problems: Problem[] = []
  let size = 0
  for (const [key, value] of Object.entries(annotations ?? {})) {
    size += utf8Length(key) + utf8Length(value)
    if (!isQualifiedName(key.toLowerCase()))
      problems.push({ path: `${path}[${JSON.stringify(key)}]`, message: 'is not an annotation name' })
  }
  if (size > MAX_ANNOTATIONS) problems.push({ path, message: `holds ${size} bytes, more than ${MAX_ANNOTATIONS}` })
  return problems
}
