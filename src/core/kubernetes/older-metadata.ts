// The older group, crd.projectcalico.org/v1: what users see as the metadata of an object is kept as JSON in an annotation of
// the stored object, whose own labels and uid are others.
import { isObject, type Json, type JsonObject } from '../ipam/json.ts'

export const METADATA_ANNOTATION = 'projectcalico.org/metadata'

const fieldsOf = (value: Json | undefined): JsonObject => (isObject(value) ? value : {})

function wrapped(annotations: JsonObject): JsonObject | undefined {
  const text = annotations[METADATA_ANNOTATION]
  if (typeof text !== 'string') return undefined
  try {
    const found = JSON.parse(text) as Json
    return isObject(found) ? found : undefined
  } catch {
    return undefined
  }
}

/** The metadata that users see. Of tiered policies the annotation stays: the datastore's decoding takes the name from it. */
export function unwrapMetadata(metadata: JsonObject, tiered: boolean): JsonObject {
  const own = fieldsOf(metadata.annotations)
  const uid: JsonObject = typeof metadata.uid === 'string' ? { uid: convertUid(metadata.uid) } : {}
  const inner = wrapped(own)
  if (inner === undefined) return { ...metadata, ...uid }
  const { labels, annotations, creationTimestamp, ownerReferences } = inner
  const { labels: _labels, annotations: _annotations, ownerReferences: _owners, ...rest } = metadata
  const shown = { ...fieldsOf(annotations), ...(tiered ? { [METADATA_ANNOTATION]: own[METADATA_ANNOTATION]! } : {}) }
  return {
    ...rest,
    ...uid,
    ...given({
      creationTimestamp,
      labels,
      ownerReferences,
      annotations: Object.keys(shown).length > 0 ? shown : undefined,
    }),
  }
}

/** Go writes null for what is not there. */
const given = (fields: { readonly [name: string]: Json | undefined }): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, Json] => entry[1] != null))

/** Places of a UUID's version and variant, which stay as they are. */
const FIXED_BYTES = [6, 8]

/**
 * The uid in the other group: the bits of each byte in reverse order, so that no two objects of a cluster have the same.
 * Applied twice it gives the uid back. What is no UUID stays.
 */
export function convertUid(uid: string): string {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(uid)) return uid
  let at = 0
  return uid.replace(/[0-9a-f]{2}/g, byte => (FIXED_BYTES.includes(at++) ? byte : reverseBits(byte)))
}

function reverseBits(byte: string): string {
  const bits = Number.parseInt(byte, 16).toString(2).padStart(8, '0')
  return Number.parseInt([...bits].reverse().join(''), 2)
    .toString(16)
    .padStart(2, '0')
}
