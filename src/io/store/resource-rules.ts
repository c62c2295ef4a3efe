// What a write must respect that the resource alone cannot tell: the tier it names, the pools beside it, and what is
// built in. Checked against the datastore just before the write.
import type { Problem } from '../../core/base/problem.ts'
import { prefixesOverlap } from '../../core/net/prefix.ts'
import { type ResourceKey, resourceKey } from '../../core/resources/cause.ts'
import { DEFAULT_ALLOW } from '../../core/resources/kinds/profile.ts'
import { isBuiltInTier } from '../../core/resources/kinds/tier.ts'
import { type IPPool, isTieredPolicy, keyOf, type Resource, TIERED_KINDS } from '../../core/resources/resource.ts'
import type { ResourceClient } from './resource-client.ts'
import { invalid, notFound, notSupported } from './resource-error.ts'

const DEFAULT_ALLOW_KEY = resourceKey('Profile', undefined, DEFAULT_ALLOW)

/** Throws unless the resource may be created (`current` absent) or put in the place of the current one. */
export async function checkWrite(client: ResourceClient, resource: Resource, current?: Resource): Promise<void> {
  const key = keyOf(resource)
  if (key === DEFAULT_ALLOW_KEY)
    throw notSupported(current ? 'Update' : 'Create', key, 'the profile is built in and read-only')
  if (isTieredPolicy(resource)) {
    const tier = resourceKey('Tier', undefined, resource.spec.tier)
    if (!(await client.has(tier))) throw notFound(tier)
  }
  if (resource.kind === 'IPPool') {
    const problems = current?.kind === 'IPPool' ? changedPool(resource, current) : await overlaps(client, resource)
    if (problems.length > 0) throw invalid(key, problems)
  }
}

function changedPool(pool: IPPool, { spec: old }: IPPool): Problem[] {
  const problems: Problem[] = []
  const fix = 'make a new pool, move to it, and delete this one'
  for (const field of ['cidr', 'blockSize'] as const) {
    if (pool.spec[field] === old[field]) continue
    problems.push({
      path: `spec.${field}`,
      message: `cannot be changed from ${old[field]}`,
      fix,
      value: pool.spec[field],
    })
  }
  if (old.allowedUses.includes('LoadBalancer') && !pool.spec.allowedUses.includes('LoadBalancer')) {
    problems.push({ path: 'spec.allowedUses', message: 'cannot be changed away from LoadBalancer', fix })
  }
  return problems
}

async function overlaps(client: ResourceClient, pool: IPPool): Promise<Problem[]> {
  const { items } = await client.list('IPPool')
  const { name } = pool.metadata
  return items
    .filter(other => other.metadata.name !== name && prefixesOverlap(other.spec.cidr, pool.spec.cidr))
    .map(other => ({
      path: 'IPPool.Spec.CIDR',
      message: `IPPool(${name}) CIDR overlaps with IPPool(${other.metadata.name}) CIDR ${other.spec.cidr}`,
      value: pool.spec.cidr,
    }))
}

/** Throws unless the resource may be deleted. */
export async function checkDelete(client: ResourceClient, key: ResourceKey): Promise<void> {
  if (key === DEFAULT_ALLOW_KEY) throw notSupported('Delete', key, 'the profile is built in and read-only')
  const [kind, , name = ''] = key.split('/')
  if (kind !== 'Tier') return
  if (isBuiltInTier(name)) throw notSupported('Delete', key, `Cannot delete ${name} tier`)
  for (const policies of TIERED_KINDS) {
    const { items, undecodable } = await client.list(policies)
    // A policy that cannot be read may belong to any tier.
    if (undecodable.length > 0 || items.some(policy => policy.spec.tier === name)) {
      throw notSupported('Delete', key, 'Cannot delete a non-empty tier')
    }
  }
}
