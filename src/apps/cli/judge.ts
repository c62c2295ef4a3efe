// From what the user wrote to what is to be written: decoded, with its namespace, without duplicates, or the mistakes.
import type { Problem } from '../../core/base/problem.ts'
import { printKey, type ResourceKey } from '../../core/resources/cause.ts'
import {
  decodeResource,
  KINDS,
  type Kind,
  keyOf,
  kindOfDocument,
  type Resource,
} from '../../core/resources/resource.ts'
import { unsupported } from '../../core/resources/unsupported.ts'
import { type InputDocument, type Inputs, type Mistake, mistakesOf } from './input.ts'

/** A resource and where it was written. */
export type Wanted = { readonly resource: Resource; readonly document: InputDocument }
export type Judged = { readonly wanted: readonly Wanted[]; readonly mistakes: readonly Mistake[] }

/** What refers to others comes after them; pods come last, so that they find their policies in place. */
const WRITE_ORDER: readonly Kind[] = [
  'Namespace',
  'ServiceAccount',
  'ClusterInformation',
  'Tier',
  'IPPool',
  'IPReservation',
  'IPAMConfiguration',
  'BGPConfiguration',
  'FelixConfiguration',
  'Node',
  'BGPPeer',
  'NetworkSet',
  'GlobalNetworkSet',
  'Profile',
  'Service',
  'EndpointSlice',
  'KubernetesClusterNetworkPolicy',
  'GlobalNetworkPolicy',
  'NetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'KubernetesNetworkPolicy',
  'WorkloadEndpoint',
  'HostEndpoint',
  'Pod',
]

export const inWriteOrder = (wanted: readonly Wanted[]): Wanted[] =>
  [...wanted].sort((a, b) => WRITE_ORDER.indexOf(a.resource.kind) - WRITE_ORDER.indexOf(b.resource.kind))

type Head = { readonly kind: Kind; readonly namespace: string | undefined; readonly name: string | undefined }

/** Kind and name of a document that need not be valid; undefined if its kind is none. */
export function headOf(value: unknown): Head | undefined {
  const { metadata } = value as { metadata?: { name?: unknown; namespace?: unknown } }
  const known = kindOfDocument(value as Readonly<Record<string, unknown>>)
  if (!known) return undefined
  const text = (field: unknown): string | undefined => (typeof field === 'string' && field !== '' ? field : undefined)
  return { kind: known, namespace: text(metadata?.namespace), name: text(metadata?.name) }
}

/** The namespace that -n asks for may not contradict the document's. */
export function namespaceProblem(value: unknown, namespace: string | undefined): Problem | undefined {
  const head = headOf(value)
  if (!head || namespace === undefined || !KINDS[head.kind].namespaced) return undefined
  if (head.namespace === undefined || head.namespace === namespace) return undefined
  const message = `resource namespace does not match client namespace. ${head.namespace} != ${namespace}`
  return { path: 'metadata.namespace', message, fix: 'leave out -n, or the namespace in the file' }
}

/** Decodes every document. `namespace` is that of -n; namespaced resources without one get it, else `default`. */
export function judge(inputs: Inputs, namespace: string | undefined): Judged {
  const mistakes: Mistake[] = [...inputs.mistakes]
  const wanted: Wanted[] = []
  const seen = new Map<ResourceKey, InputDocument>()
  for (const document of inputs.documents) {
    const refuse = (problems: readonly Problem[]): void => void mistakes.push(...mistakesOf(document, problems))
    const contradiction = namespaceProblem(document.value, namespace)
    if (contradiction) {
      refuse([contradiction])
      continue
    }
    const decoded = decodeResource(document.value, { defaultNamespace: namespace ?? 'default' })
    if (!decoded.ok) {
      refuse(decoded.problems)
      continue
    }
    const resource = decoded.value
    const missing = unsupported(resource)
    if (missing.length > 0) {
      refuse(missing)
      continue
    }
    const key = keyOf(resource)
    const first = seen.get(key)
    if (first) {
      const { line } = first.position('metadata.name')
      const message = `${printKey(key)} is given twice, first at ${first.file}:${line}`
      refuse([{ path: 'metadata.name', message, fix: 'remove one of them' }])
      continue
    }
    seen.set(key, document)
    wanted.push({ resource, document })
  }
  return { wanted, mistakes }
}
