// The settings that govern all allocation. Calico keeps them in etcd under one key with these field names; a field that
// is absent from a written value means false or zero, while an absent key means the defaults.
import { isObject, type Json, parseJson, printJson } from './json.ts'

export type IpamConfig = {
  /** Nobody takes addresses from a block that is not his own. */
  readonly strictAffinity: boolean
  /** Nodes claim new blocks themselves. */
  readonly autoAllocateBlocks: boolean
  /** For each family; 0 stands for `DEFAULT_MAX_BLOCKS`. */
  readonly maxBlocksPerHost: number
}

export const DEFAULT_CONFIG: IpamConfig = { strictAffinity: false, autoAllocateBlocks: true, maxBlocksPerHost: 0 }
/** Calico's safety limit of affine blocks for one host and family. */
export const DEFAULT_MAX_BLOCKS = 20

/** The stricter of the two limits that are set. */
export function blockLimit(config: IpamConfig, requested: number): number {
  const limits = [config.maxBlocksPerHost, requested].filter(limit => limit > 0)
  return limits.length === 0 ? DEFAULT_MAX_BLOCKS : Math.min(...limits)
}

/** A stored configuration (the datastore's own or the IPAMConfiguration resource's spec); undefined if it is none. */
export function decodeConfig(text: string): IpamConfig | undefined {
  let json: Json
  try {
    json = parseJson(text)
  } catch {
    return undefined
  }
  if (!isObject(json)) return undefined
  const spec = isObject(json.spec) ? json.spec : json
  const isResource = spec !== json
  const strict = isResource ? spec.strictAffinity : spec.strict_affinity
  const auto = isResource ? (spec.autoAllocateBlocks ?? true) : spec.auto_allocate_blocks
  const limit = spec.maxBlocksPerHost
  return {
    strictAffinity: strict === true,
    autoAllocateBlocks: auto === true,
    maxBlocksPerHost: typeof limit === 'number' && limit > 0 ? limit : 0,
  }
}

export const encodeConfig = (config: IpamConfig): string =>
  printJson({
    ...(config.strictAffinity && { strict_affinity: true }),
    ...(config.autoAllocateBlocks && { auto_allocate_blocks: true }),
    ...(config.maxBlocksPerHost > 0 && { maxBlocksPerHost: config.maxBlocksPerHost }),
  })
