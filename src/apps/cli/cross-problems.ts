// Mistakes that show only beside other resources: a tier that is not there, pools that overlap, what nobody may write.
import type { Problem } from '../../core/base/problem.ts'
import { prefixesOverlap } from '../../core/net/prefix.ts'
import { DEFAULT_ALLOW } from '../../core/resources/kinds/profile.ts'
import { isBuiltInTier } from '../../core/resources/kinds/tier.ts'
import { find, keyOf, ofKind, type Resource, type Snapshot } from '../../core/resources/resource.ts'

/** What forbids writing a resource, given everything that will be there afterwards. */
export function crossProblems(resource: Resource, after: Snapshot): Problem[] {
  switch (resource.kind) {
    case 'NetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy': {
      const { tier } = resource.spec
      if (isBuiltInTier(tier) || find(after, 'Tier', { name: tier })) return []
      const fix = 'create the tier first, or put it into the same input'
      return [{ path: 'spec.tier', message: `resource does not exist: Tier(${tier})`, fix, value: tier }]
    }
    case 'IPPool':
      return [...ofKind(after, 'IPPool')]
        .filter(other => keyOf(other) !== keyOf(resource) && prefixesOverlap(other.spec.cidr, resource.spec.cidr))
        .map(other => ({
          path: 'spec.cidr',
          message: `IPPool(${resource.metadata.name}) CIDR overlaps with IPPool(${other.metadata.name}) CIDR ${other.spec.cidr}`,
          value: resource.spec.cidr,
        }))
    case 'Profile':
      return derivedProfile(resource.metadata.name)
    default:
      return []
  }
}

function derivedProfile(name: string): Problem[] {
  const path = 'metadata.name'
  if (name === DEFAULT_ALLOW) return [{ path, message: 'this profile is built in and cannot be written' }]
  if (/^(kns|ksa)\./.test(name)) {
    return [
      { path, message: 'this profile follows from its Namespace or ServiceAccount', fix: 'write that one instead' },
    ]
  }
  return []
}

/** What works but will surprise, beside the warnings of the resource itself. */
export function crossWarnings(resource: Resource, after: Snapshot): Problem[] {
  const { namespace } = resource.metadata
  if (namespace === undefined || find(after, 'Namespace', { name: namespace })) return []
  const path = 'metadata.namespace'
  const fix = `create Namespace ${namespace}`
  if (resource.kind === 'Pod') {
    return [
      { path, message: `namespace ${namespace} does not exist, so that no profile allows anything to this pod`, fix },
    ]
  }
  return [{ path, message: `namespace ${namespace} does not exist`, fix }]
}
