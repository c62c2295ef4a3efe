// What is valid, and Calico would do, but is not enforced here yet. Whoever applies such a resource must hear of it: a
// rule that is silently not enforced is worse than one that is refused.
import type { Problem } from '../base/problem.ts'
import type { PolicyRule, Resource } from './resource.ts'

/** Fields of a resource that would have no effect; empty for everything that works. */
export function unsupported(resource: Resource): Problem[] {
  switch (resource.kind) {
    case 'GlobalNetworkPolicy':
      return [...hostOnly(resource.spec), ...inRules(resource.spec)]
    case 'NetworkPolicy':
    case 'Profile':
      return inRules(resource.spec)
    case 'BGPPeer':
      return resource.spec.filters === undefined
        ? []
        : [{ path: 'spec.filters', message: 'BGPFilter is not supported yet: every route would pass' }]
    case 'WorkloadEndpoint':
      return resource.spec.qosControls === undefined
        ? []
        : [{ path: 'spec.qosControls', message: 'traffic shaping is not enforced yet' }]
    default:
      return []
  }
}

function hostOnly(spec: {
  readonly preDNAT?: boolean | undefined
  readonly doNotTrack?: boolean | undefined
}): Problem[] {
  return (['preDNAT', 'doNotTrack'] as const).flatMap(field =>
    spec[field]
      ? [{ path: `spec.${field}`, message: `${field} policies work at host endpoints, which are not supported yet` }]
      : [],
  )
}

type Rules = {
  readonly ingress?: readonly PolicyRule[] | undefined
  readonly egress?: readonly PolicyRule[] | undefined
}

function inRules(spec: Rules): Problem[] {
  const problems: Problem[] = []
  for (const direction of ['ingress', 'egress'] as const) {
    spec[direction]?.forEach((rule, index) => {
      const at = `spec.${direction}[${index}]`
      for (const side of ['source', 'destination'] as const) {
        if (rule[side]?.services === undefined) continue
        const fix = 'select the endpoints of the service by their labels'
        problems.push({ path: `${at}.${side}.services`, message: 'matching services is not supported yet', fix })
      }
      if (rule.http !== undefined) {
        const message = 'matching HTTP is not supported: the kernel would allow every request'
        problems.push({ path: `${at}.http`, message, fix: 'leave http out to allow them all' })
      }
    })
  }
  return problems
}
