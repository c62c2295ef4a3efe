// The first run: what must exist before anything else works. Safe to repeat, and for several nodes at once: every object
// is created only if it is absent, and whoever comes second finds it there.
import { BUILT_IN_TIERS } from '../../core/resources/kinds/tier.ts'
import { decodeResource, type Resource } from '../../core/resources/resource.ts'
import { storePrefix } from '../../core/resources/store-key.ts'
import type { ResourceClient } from './resource-client.ts'
import { ResourceError } from './resource-error.ts'

export type InitializeOptions = {
  /** 32 hex digits that name the cluster. */
  readonly newGuid?: () => string
  /** Whether to make first pools while there is none. */
  readonly defaultPool?: boolean
  /** Those to make; one of IPv4 without encapsulation if nothing is said. */
  readonly pools?: readonly { readonly name: string; readonly spec: object }[]
}

const FIRST_POOL = { name: 'default-ipv4-ippool', spec: { cidr: '192.168.0.0/16', natOutgoing: true } }

const randomGuid = (): string => crypto.randomUUID().replaceAll('-', '')

/** Creates the built-in tiers, the ClusterInformation and first pools. Returns what this call created. */
export async function ensureInitialized(client: ResourceClient, options: InitializeOptions = {}): Promise<Resource[]> {
  const { newGuid = randomGuid, defaultPool = true, pools = [FIRST_POOL] } = options
  const wanted = [
    document('ClusterInformation', 'default', { clusterGUID: newGuid(), datastoreReady: true }),
    ...Object.entries(BUILT_IN_TIERS).map(([name, spec]) => document('Tier', name, spec)),
  ]
  if (defaultPool && (await client.store.list(storePrefix('IPPool'))).entries.length === 0) {
    wanted.push(...pools.map(({ name, spec }) => document('IPPool', name, spec)))
  }
  const created: Resource[] = []
  for (const resource of wanted) {
    try {
      created.push(await client.create(resource))
    } catch (error) {
      if (!(error instanceof ResourceError)) throw error
      // A pool that overlaps means that someone else made one meanwhile: ours is not needed.
      if (error.code !== 'exists' && !(error.code === 'invalid' && resource.kind === 'IPPool')) throw error
    }
  }
  return created
}

function document(kind: string, name: string, spec: object): Resource {
  const decoded = decodeResource({ kind, apiVersion: 'projectcalico.org/v3', metadata: { name }, spec })
  if (!decoded.ok) throw new Error(`a built-in ${kind} is not valid: ${decoded.problems[0]?.message}`)
  return decoded.value
}
