// Where the datastore's keys lie in the Kubernetes API. A collection is all objects of one kind: it is listed and watched as a
// whole, and its revisions are its own. Its keys have a prefix that no other collection has.
import { isObject, type Json, type JsonObject, parseJson, printJson } from '../ipam/json.ts'
import { KIND_NAMES, KINDS, type Kind, TIERED_KINDS } from '../resources/resource.ts'
import { GROUP, VERSION } from './crd.ts'
import { IPAM_COLLECTIONS, type IpamCollection } from './ipam-objects.ts'
import { IPAM_SCHEMAS } from './ipam-schema.ts'
import { calicoNode } from './node.ts'
import { slimPod } from './slim-pod.ts'

export type Place = { readonly name: string; readonly namespace?: string | undefined }

/** How values get there: as whole objects; as annotations of a node or a pod; or not at all, for others write them. */
export type Writing = 'object' | 'node' | 'pod' | 'never'

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
  readonly parse: (text: string) => JsonObject
  /**
   * The key and value of an object; undefined for one that does not belong here. `whole` keeps what only a person or a
   * later write wants; without it a value is as small as it can be for whoever keeps many.
   */
  readonly decode: (object: JsonObject, detail: 'whole' | 'slim') => Value | undefined
  /** The object of a value, as JSON without a resource version. For `object` only. */
  readonly encode: (key: string, text: string) => JsonObject
}

const METADATA_ANNOTATION = 'projectcalico.org/metadata'
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

function plainMetadata(object: JsonObject, detail: 'whole' | 'slim'): JsonObject {
  const metadata = without(fieldsOf(object.metadata), SERVER_FIELDS)
  return detail === 'whole' ? metadata : withoutAnnotation(metadata, LAST_APPLIED)
}

const plainJson = (text: string): JsonObject => fieldsOf(JSON.parse(text) as Json)

/** `/apis/GROUP/VERSION`, or `/api/v1` for the kinds without a group. */
const rootOf = (apiVersion: string): string => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`)

/** A kind whose name another one has taken here goes by its own in the API. */
const API_PLURALS: { readonly [K in Kind]?: string } = { KubernetesNetworkPolicy: 'networkpolicies' }

function resourceCollection(kind: Kind): Collection {
  const { apiVersion, plural, namespaced, storePrefix: prefix } = KINDS[kind]
  const ours = apiVersion === `${GROUP}/${VERSION}`
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
    root: isNode ? '/api/v1' : rootOf(apiVersion),
    plural: API_PLURALS[kind] ?? plural,
    namespaced,
    prefix,
    writing: isNode ? 'node' : kind === 'Pod' ? 'pod' : ours ? 'object' : 'never',
    placeOf,
    parse: plainJson,
    decode: (object, detail) => {
      const key = keyOf(fieldsOf(object.metadata))
      if (key === undefined) return undefined
      if (isNode) return { key, text: JSON.stringify(calicoNode(object)) }
      const whole = { ...object, kind, apiVersion, metadata: plainMetadata(object, detail) }
      return { key, text: JSON.stringify(kind === 'Pod' && detail === 'slim' ? slimPod(whole) : whole) }
    },
    encode: (key, text) => {
      const object = plainJson(text)
      const plain = without(fieldsOf(object.metadata), [...SERVER_FIELDS, 'resourceVersion'])
      // In etcd the name of a policy is written once more; here the object has its own.
      const tiered: readonly string[] = TIERED_KINDS
      const metadata = tiered.includes(kind) ? withoutAnnotation(plain, METADATA_ANNOTATION) : plain
      // The key says where it goes.
      return { ...object, metadata: { ...metadata, ...(placeOf(key) as JsonObject | undefined) } }
    },
  }
}

function ipamCollection({ kind, prefix, nameOf, encode, decode }: IpamCollection): Collection {
  const apiVersion = `${GROUP}/${VERSION}`
  return {
    root: rootOf(apiVersion),
    plural: IPAM_SCHEMAS[kind].plural,
    namespaced: false,
    prefix,
    writing: 'object',
    placeOf: key => {
      const name = nameOf(key)
      return name === undefined ? undefined : { name }
    },
    parse: text => fieldsOf(parseJson(text)),
    decode: object => decode(fieldsOf(object.spec)),
    encode: (key, text) => {
      const { name, spec, labels } = encode(key, text)
      return { apiVersion, kind, metadata: { name, ...(labels ? { labels } : {}) }, spec }
    },
  }
}

/** The endpoints of pods are derived from pods, wherever they are asked for: no collection holds them. */
const DERIVED: readonly Kind[] = ['WorkloadEndpoint']

export const COLLECTIONS: readonly Collection[] = [
  ...KIND_NAMES.filter(kind => !DERIVED.includes(kind)).map(resourceCollection),
  ...IPAM_COLLECTIONS.map(ipamCollection),
]

/** Text that keeps integers of 64 bits. */
export const printObject = (object: JsonObject): string => printJson(object)

/** The collection that a key or a longer prefix lies in. */
export const collectionOf = (key: string): Collection | undefined =>
  COLLECTIONS.find(({ prefix }) => key.startsWith(prefix))

/** The collections below a prefix. */
export const collectionsUnder = (prefix: string): readonly Collection[] =>
  COLLECTIONS.filter(collection => collection.prefix.startsWith(prefix))

/** The path of a collection, of one namespace of it, or of one object. */
export function apiPath({ root, plural }: Collection, { namespace, name }: Partial<Place> = {}): string {
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}${scope}/${plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`
}
