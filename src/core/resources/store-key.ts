// Resources as they lie in the datastore: Calico's keys and its JSON, so that an etcd datastore of Calico is ours and
// the other way round. The four tiered policy kinds carry their name once more in an annotation, which people never see.
import { failed, ok, type Problem, type Result } from '../base/problem.ts'
import { type ResourceKey, resourceKey, splitKey } from './cause.ts'
import {
  decodeResource,
  documentOf,
  KIND_NAMES,
  KINDS,
  type Kind,
  keyOf,
  type Resource,
  schemaOf,
  TIERED_KINDS,
} from './resource.ts'

const METADATA_ANNOTATION = 'projectcalico.org/metadata'
const TIERED: readonly string[] = TIERED_KINDS

/** The datastore's key of a resource. */
export function storeKey(key: ResourceKey): string {
  const { kind, namespace, name } = splitKey(key)
  return KINDS[kind as Kind].storePrefix + (namespace === '' ? '' : `${namespace}/`) + name
}

/** The prefix under which all resources of a kind lie, or those of one namespace. */
export const storePrefix = (kind: Kind, namespace?: string): string =>
  KINDS[kind].storePrefix + (namespace === undefined ? '' : `${namespace}/`)

/** The resource that a datastore key belongs to; `undefined` for keys of anything else. */
export function parseStoreKey(key: string): ResourceKey | undefined {
  for (const kind of KIND_NAMES) {
    const { storePrefix: prefix, namespaced } = KINDS[kind]
    if (!key.startsWith(prefix)) continue
    const parts = key.slice(prefix.length).split('/')
    if (parts.length !== (namespaced ? 2 : 1) || parts.some(part => part === '')) return undefined
    return namespaced ? resourceKey(kind, parts[0], parts[1]!) : resourceKey(kind, undefined, parts[0]!)
  }
  return undefined
}

/** JSON as Go prints it: `<`, `>`, `&` and the line separators of Unicode escaped. */
const goJson = (value: unknown): string =>
  JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** The text that is stored: fields in the order of Calico's types; the resource version is the datastore's own. */
export function encodeResource(resource: Resource): string {
  const { resourceVersion: _, ...metadata } = resource.metadata
  const stored = { ...resource, metadata: TIERED.includes(resource.kind) ? withAnnotation(metadata) : metadata }
  // Parsing puts the fields into the order of the schema, whatever order they were built in.
  return goJson(documentOf(schemaOf(resource.kind).parse(stored) as Resource))
}

type AnyMetadata = { readonly name: string; readonly annotations?: Readonly<Record<string, string>> | undefined }

const withAnnotation = <M extends AnyMetadata>(metadata: M): M => ({
  ...metadata,
  annotations: { ...metadata.annotations, [METADATA_ANNOTATION]: goJson({ name: metadata.name }) },
})

export type Stored = {
  readonly resource: Resource
  /** Fields that this version does not know (a newer Calico's); they are not part of the resource. */
  readonly unknown: readonly Problem[]
}

type Fields = { [key: string]: unknown }
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * A stored text as a resource. Unknown fields are passed over and listed, except inside rules: there a criterion that is
 * not understood would widen the rule, so that the resource is refused. Never throws.
 */
export function decodeStored(key: string, text: string, modRevision: number): Result<Stored> {
  const place = parseStoreKey(key)
  if (place === undefined) return failed({ path: '', message: `${key} is not the key of a resource` })
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    return failed({ path: '', message: 'the stored value is not JSON' })
  }
  if (!isFields(document)) return failed({ path: '', message: 'the stored value is not a resource' })
  const { kind, namespace, name } = splitKey(place)
  restoreMetadata(document, { name, namespace, resourceVersion: String(modRevision) })
  if (TIERED.includes(kind)) restorePolicy(document)
  return tolerant(document, kind)
}

function tolerant(document: Fields, kind: string): Result<Stored> {
  const unknown: Problem[] = []
  for (;;) {
    const decoded = decodeResource(document, { stored: true })
    if (decoded.ok) {
      if (decoded.value.kind === kind) return ok({ resource: decoded.value, unknown })
      return failed({ path: 'kind', message: `is ${decoded.value.kind} under a key of ${kind}` })
    }
    const passable = decoded.problems.filter(problem => isPassable(problem))
    // The paths of unknown fields are exact, so every round removes at least one field: the loop ends.
    if (passable.length !== decoded.problems.length || !passable.every(problem => removeAt(document, problem.path))) {
      return decoded
    }
    unknown.push(...passable)
  }
}

const isPassable = ({ path, message }: Problem): boolean =>
  message.startsWith('unknown field ') && !/^spec\.((ingress|egress)\[|podSelector\.|subject\.)/.test(path)

/** Deletes the field at a path such as `spec.nets[3].extra`; false if it is not there. */
function removeAt(document: Fields, path: string): boolean {
  const steps = path.split(/[.[]/).map(step => (step.endsWith(']') ? Number(step.slice(0, -1)) : step))
  const last = steps.pop()!
  const parent = steps.reduce<unknown>(
    (found, step) => (found as Record<string | number, unknown> | undefined)?.[step],
    document,
  )
  if (!isFields(parent) || !Object.hasOwn(parent, last)) return false
  delete parent[String(last)]
  return true
}

type Identity = { readonly name: string; readonly namespace: string; readonly resourceVersion: string }

function restoreMetadata(document: Fields, { name, namespace, resourceVersion }: Identity): void {
  const metadata = isFields(document.metadata) ? document.metadata : {}
  document.metadata = { ...metadata, name, resourceVersion, ...(namespace === '' ? {} : { namespace }) }
}

/**
 * Undoes what is done to policies on the way in. Older Calicos stored `<tier>.<name>`, with `default.` hidden from
 * users; and a stored policy without types governs both directions, whereas one that is applied gets a default.
 */
function restorePolicy(document: Fields): void {
  const metadata = document.metadata as Fields
  const spec = isFields(document.spec) ? document.spec : {}
  const annotations = isFields(metadata.annotations) ? { ...metadata.annotations } : {}
  const named = nameInAnnotation(annotations[METADATA_ANNOTATION])
  delete annotations[METADATA_ANNOTATION]
  const inDefaultTier = [undefined, null, '', 'default'].includes(spec.tier as string | null | undefined)
  const stored = String(metadata.name)
  metadata.annotations = annotations
  metadata.name = named ?? (inDefaultTier ? stored.replace(/^default\./, '') : stored)
  const types = spec.types
  const isDeletion = spec.stagedAction === 'Delete'
  if (!isDeletion && (!Array.isArray(types) || types.length === 0)) spec.types = ['Ingress', 'Egress']
  document.spec = spec
}

function nameInAnnotation(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const found: unknown = JSON.parse(text)
    return isFields(found) && typeof found.name === 'string' && found.name !== '' ? found.name : undefined
  } catch {
    return undefined
  }
}

/** Whether a stored resource lies under the key that its name has today; policies of older Calicos may not. */
export const isAtItsKey = (key: string, resource: Resource): boolean => storeKey(keyOf(resource)) === key
