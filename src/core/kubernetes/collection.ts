// Where the datastore's keys lie in the Kubernetes API. A collection is all objects of one kind: it is listed and watched as a
// whole, and its revisions are its own. Its keys have a prefix that no other collection has.
import { isObject, type Json, type JsonObject, parseJson, printJson } from '../ipam/json.ts'
import { KIND_NAMES, KINDS, type Kind, TIERED_KINDS } from '../resources/resource.ts'
import { GROUP, VERSION } from './crd.ts'
import { IPAM_COLLECTIONS, type IpamCollection } from './ipam-objects.ts'
import { IPAM_SCHEMAS } from './ipam-schema.ts'
import { calicoNode } from './node.ts'
import { METADATA_ANNOTATION, unwrapMetadata } from './older-metadata.ts'
import { slimPod } from './slim-pod.ts'

export type Place = { readonly name: string; readonly namespace?: string | undefined }

/** How values get there: as whole objects; as annotations of a node or a pod; or not at all, for others write them. */
export type Writing = 'object' | 'node' | 'pod' | 'never'

/** `slim`: as small as it can be for whoever keeps many. `whole`: with what only a person or a later write wants. */
export type Detail = 'whole' | 'slim'

export type Value = { readonly key: string; readonly text: string }

export type Collection = {
  /** `/apis/projectcalico.org/v3`, `/api/v1`. */
  readonly root: string
  readonly plural: string
  readonly namespaced: boolean
  readonly prefix: string
  readonly writing: Writing
  /** The object of a key; undefined for a key that cannot be one. */
  readonly placeOf: (key: string) => Place | undefined
  /** The field selector that leaves what lies below a prefix, if there is one; some API servers do not know it. */
  readonly selector?: (prefix: string) => string | undefined
  readonly parse: (text: string) => JsonObject
  /** The key and value of an object; undefined for one that does not belong here. */
  readonly decode: (object: JsonObject, detail: Detail) => Value | undefined
  /** The object of a value, as JSON without a resource version. For `object` only. */
  readonly encode: (key: string, text: string) => JsonObject
}

const TIERED: readonly string[] = TIERED_KINDS
/** Where the older group has another name. */
const OLDER_PLURALS: { readonly [kind in Kind]?: string } = { IPAMConfiguration: 'ipamconfigs' }
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'
/** What the API server keeps for itself. */
const SERVER_FIELDS = ['managedFields', 'selfLink', 'generation']

const fieldsOf = (value: Json | undefined): JsonObject => (isObject(value) ? value : {})
const without = (fields: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))

function withoutAnnotation(metadata: JsonObject, name: string): JsonObject {
  const annotations = fieldsOf(metadata.annotations)
  return annotations[name] === undefined ? metadata : { ...metadata, annotations: without(annotations, [name]) }
}

function plainMetadata(object: JsonObject, detail: Detail): JsonObject {
  const metadata = without(fieldsOf(object.metadata), SERVER_FIELDS)
  return detail === 'whole' ? metadata : withoutAnnotation(metadata, LAST_APPLIED)
}

const plainJson = (text: string): JsonObject => fieldsOf(JSON.parse(text) as Json)

/** `/apis/GROUP/VERSION`, or `/api/v1` for the kinds without a group. */
const rootOf = (apiVersion: string): string => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`)

/** The group that Calico's kinds are kept in: its own API, or the older one, which wraps metadata and is only read. */
export type ApiGroup = 'projectcalico.org/v3' | 'crd.projectcalico.org/v1'

/** A kind whose name another one has taken here goes by its own in the API. */
const API_PLURALS: { readonly [K in Kind]?: string } = { KubernetesNetworkPolicy: 'networkpolicies' }

function resourceCollection(kind: Kind, group: ApiGroup): Collection {
  const { apiVersion, plural, namespaced, storePrefix: prefix } = KINDS[kind]
  const ours = apiVersion === `${GROUP}/${VERSION}`
  const older = ours && group === 'crd.projectcalico.org/v1'
  const isNode = kind === 'Node'
  const placeOf = (key: string): Place | undefined => {
    const [first, second, ...more] = key.startsWith(prefix) ? key.slice(prefix.length).split('/') : []
    if (!first || more.length > 0 || (second === undefined) === namespaced || second === '') return undefined
    return namespaced ? { namespace: first, name: second! } : { name: first }
  }
  const keyOf = (metadata: JsonObject): string | undefined => {
    const { name, namespace } = metadata
    if (typeof name !== 'string' || (namespaced && typeof namespace !== 'string')) return undefined
    return `${prefix}${namespaced ? `${namespace}/` : ''}${name}`
  }
  return {
    root: isNode ? '/api/v1' : rootOf(ours ? group : apiVersion),
    plural: (older ? OLDER_PLURALS[kind] : API_PLURALS[kind]) ?? plural,
    namespaced,
    prefix,
    writing: isNode ? 'node' : kind === 'Pod' ? 'pod' : ours && !older ? 'object' : 'never',
    placeOf,
    parse: plainJson,
    decode: (object, detail) => {
      const key = keyOf(fieldsOf(object.metadata))
      if (key === undefined) return undefined
      if (isNode) return { key, text: JSON.stringify(calicoNode(object)) }
      const plain = plainMetadata(object, detail)
      const metadata = older ? unwrapMetadata(plain, TIERED.includes(kind)) : plain
      const whole = { ...object, kind, apiVersion, metadata }
      return { key, text: JSON.stringify(kind === 'Pod' && detail === 'slim' ? slimPod(whole) : whole) }
    },
    encode: (key, text) => {
      const object = plainJson(text)
      const plain = without(fieldsOf(object.metadata), [...SERVER_FIELDS, 'resourceVersion'])
      // In etcd the name of a policy is written once more; here the object has its own.
      const metadata = TIERED.includes(kind) ? withoutAnnotation(plain, METADATA_ANNOTATION) : plain
      // The key says where it goes.
      return { ...object, metadata: { ...metadata, ...(placeOf(key) as JsonObject | undefined) } }
    },
  }
}

function ipamCollection(
  { kind, prefix, nameOf, selector, encode, decode }: IpamCollection,
  apiVersion: ApiGroup,
): Collection {
  const older = apiVersion === 'crd.projectcalico.org/v1'
  return {
    root: rootOf(apiVersion),
    plural: IPAM_SCHEMAS[kind].plural,
    namespaced: false,
    prefix,
    writing: 'object',
    // The older definitions have no selectable fields.
    ...(selector && !older ? { selector } : {}),
    placeOf: key => {
      const name = nameOf(key)
      return name === undefined ? undefined : { name }
    },
    parse: text => fieldsOf(parseJson(text)),
    decode: object => decode(fieldsOf(object.spec)),
    encode: (key, text) => {
      const { name, spec: plain, labels } = encode(key, text)
      // The older group has the flag of an affinity as a text.
      const spec = older && kind === 'BlockAffinity' ? { ...plain, deleted: String(plain.deleted) } : plain
      return { apiVersion, kind, metadata: { name, ...(labels ? { labels } : {}) }, spec }
    },
  }
}

/** The endpoints of pods are derived from pods, wherever they are asked for: no collection holds them. */
const DERIVED: readonly Kind[] = ['WorkloadEndpoint']

/** All collections of a cluster that keeps Calico's kinds in this group. */
export const collectionsIn = (group: ApiGroup): readonly Collection[] => [
  ...KIND_NAMES.filter(kind => !DERIVED.includes(kind)).map(kind => resourceCollection(kind, group)),
  ...IPAM_COLLECTIONS.map(collection => ipamCollection(collection, group)),
]

/** Text that keeps integers of 64 bits. */
export const printObject = (object: JsonObject): string => printJson(object)

/** The path of a collection, of one namespace of it, or of one object. */
export function apiPath({ root, plural }: Collection, { namespace, name }: Partial<Place> = {}): string {
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}${scope}/${plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`
}
