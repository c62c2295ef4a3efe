// Blocks, handles and affinities of IPAM as objects of the Kubernetes API, named and written as Calico does: the same values
// as under its etcd keys, in a spec with a few names changed.

import { isObject, type Json, type JsonObject, parseJson, printJson } from '../ipam/json.ts'
import { cidrOfKey, handleKey, type Owner, ownerOfKey } from '../ipam/keys.ts'
import { prefixFamily } from '../net/prefix.ts'
import type { IpamKind } from './ipam-schema.ts'

const ASSIGNMENTS = '/calico/ipam/v2/assignment/'
const HANDLES = handleKey('')

/** An API object's name and spec. */
export type IpamObject = {
  readonly name: string
  readonly spec: JsonObject
  readonly labels?: Readonly<Record<string, string>>
}

export type IpamCollection = {
  readonly kind: IpamKind
  readonly prefix: string
  /** The name of the object under a key; undefined for a key that is none of these. */
  readonly nameOf: (key: string) => string | undefined
  readonly encode: (key: string, text: string) => IpamObject
  /** Undefined for an object that is not of this collection. */
  readonly decode: (spec: JsonObject) => { readonly key: string; readonly text: string } | undefined
}

const dashed = (cidr: string): string => cidr.replace(/[.:/]/g, '-')

function parse(text: string): JsonObject {
  const json: Json = parseJson(text)
  return isObject(json) ? json : {}
}

const textIn = (spec: JsonObject, field: string): string | undefined => {
  const value = spec[field]
  return typeof value === 'string' ? value : undefined
}

const keyedCidr = (cidr: string): string => cidr.replace('/', '-')

const blocks: IpamCollection = {
  kind: 'IPAMBlock',
  prefix: ASSIGNMENTS,
  nameOf: key => {
    const cidr = key.startsWith(ASSIGNMENTS) ? cidrOfKey(key) : undefined
    return cidr === undefined ? undefined : dashed(cidr)
  },
  encode: (key, text) => {
    const { affinity, affinity_claim_time, ...rest } = parse(text)
    return {
      name: dashed(cidrOfKey(key)!),
      spec: {
        ...rest,
        // A block that is nobody's has no affinity, where etcd's has null.
        ...(affinity === null || affinity === undefined ? {} : { affinity }),
        ...(affinity_claim_time === undefined ? {} : { affinityClaimTime: affinity_claim_time }),
      },
    }
  },
  decode: spec => {
    const cidr = textIn(spec, 'cidr')
    if (cidr === undefined) return undefined
    const { affinity, affinityClaimTime, ...rest } = spec
    const text = printJson({
      ...rest,
      affinity: affinity ?? null,
      ...(affinityClaimTime === undefined ? {} : { affinity_claim_time: affinityClaimTime }),
    })
    const family = cidr.includes(':') ? 6 : 4
    return { key: `${ASSIGNMENTS}ipv${family}/block/${keyedCidr(cidr)}`, text }
  },
}

const handles: IpamCollection = {
  kind: 'IPAMHandle',
  prefix: HANDLES,
  nameOf: key => (key.startsWith(HANDLES) ? key.slice(HANDLES.length).toLowerCase() : undefined),
  encode: (key, text) => {
    const id = key.slice(HANDLES.length)
    return { name: id.toLowerCase(), spec: { handleID: id, ...parse(text) } }
  },
  decode: spec => {
    const { handleID, ...rest } = spec
    return typeof handleID === 'string' ? { key: HANDLES + handleID, text: printJson(rest) } : undefined
  },
}

/** Affinities of hosts and of others (`virtual`) are one collection of the API and two of the keys. */
const affinities = (type: 'host' | 'virtual'): IpamCollection => {
  const prefix = `/calico/ipam/v2/${type}/`
  const nodeOf = (owner: Owner): string => owner.slice(type.length + 1)
  const objectName = (node: string, cidr: string): string =>
    `${type === 'host' ? '' : `${type}-`}${node}-${dashed(cidr)}`
  return {
    kind: 'BlockAffinity',
    prefix,
    nameOf: key => {
      const [owner, cidr] = [ownerOfKey(key), cidrOfKey(key)]
      return key.startsWith(prefix) && owner && cidr ? objectName(nodeOf(owner), cidr) : undefined
    },
    encode: (key, text) => {
      const [node, cidr] = [nodeOf(ownerOfKey(key)!), cidrOfKey(key)!]
      const { state, deleted } = parse(text)
      return {
        name: objectName(node, cidr),
        labels: {
          'projectcalico.org/affinity-type': type,
          'projectcalico.org/ip-version': String(prefixFamily(cidr)),
        },
        spec: { state: state ?? '', node, type, cidr, deleted: deleted === true },
      }
    },
    decode: spec => {
      const [node, cidr] = [textIn(spec, 'node'), textIn(spec, 'cidr')]
      if (node === undefined || cidr === undefined || (textIn(spec, 'type') || 'host') !== type) return undefined
      const family = cidr.includes(':') ? 6 : 4
      const text = printJson({ state: spec.state ?? '', deleted: spec.deleted === true || spec.deleted === 'true' })
      return { key: `${prefix}${node}/ipv${family}/block/${keyedCidr(cidr)}`, text }
    },
  }
}

export const IPAM_COLLECTIONS: readonly IpamCollection[] = [blocks, handles, affinities('host'), affinities('virtual')]
