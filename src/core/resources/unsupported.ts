// What is valid, and Calico would do, but is not enforced here yet. Whoever applies such a resource must hear of it: a
// rule that is silently not enforced is worse than one that is refused.
import type { Problem } from '../base/problem.ts'
import { INTERFACE_PREFIX } from '../base/register.ts'
import type { IPPool, PolicyRule, Resource } from './resource.ts'

/** Fields of a resource that would have no effect; empty for everything that works. */
export function unsupported(resource: Resource): Problem[] {
  switch (resource.kind) {
    case 'GlobalNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
    case 'NetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'Profile':
      return inRules(resource.spec)
    case 'BGPPeer':
      return [
        ...(resource.spec.filters === undefined
          ? []
          : [{ path: 'spec.filters', message: 'BGPFilter is not supported yet: every route would pass' }]),
        ...needsSecret('spec.password', resource.spec.password),
      ]
    case 'BGPConfiguration':
      return needsSecret('spec.nodeMeshPassword', resource.spec.nodeMeshPassword)
    case 'IPPool':
      return encapsulated(resource.spec)
    case 'FelixConfiguration':
      return leavesPodsOut(resource.spec.interfacePrefix)
    case 'WorkloadEndpoint':
      return resource.spec.qosControls === undefined
        ? []
        : [{ path: 'spec.qosControls', message: 'traffic shaping is not enforced yet' }]
    default:
      return []
  }
}

function encapsulated(spec: IPPool['spec']): Problem[] {
  return (['vxlanMode', 'ipipMode'] as const).flatMap(field => {
    if (spec[field] === 'Never') return []
    const message = `${field} ${spec[field]} is not supported yet: pods of this pool would get addresses that are not routed between nodes`
    return [{ path: `spec.${field}`, message, fix: `set ${field}: Never, and let BGP route without encapsulation` }]
  })
}

type Password = { readonly secretKeyRef?: { readonly optional?: boolean | undefined } | undefined }

/** There are no Secrets, and a session whose password cannot be had is not made (`peersOf`). */
function needsSecret(path: string, password: Password | undefined): Problem[] {
  if (password?.secretKeyRef === undefined || password.secretKeyRef.optional === true) return []
  const message = 'Secrets are not supported yet: without its password there would be no session'
  return [{ path, message, fix: 'leave it out, here and at the other end' }]
}

/** The CNI plugin names the interfaces of pods with its own prefix, whatever the settings say. */
function leavesPodsOut(prefixes: string | undefined): Problem[] {
  if (prefixes === undefined || prefixes.split(',').includes(INTERFACE_PREFIX)) return []
  const message = `the interfaces of pods begin with ${INTERFACE_PREFIX}, and no policy would guard them`
  return [{ path: 'spec.interfacePrefix', message, fix: `write ${prefixes},${INTERFACE_PREFIX}` }]
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
      if (rule.http !== undefined) {
        const message = 'matching HTTP is not supported: the kernel would allow every request'
        problems.push({ path: `${at}.http`, message, fix: 'leave http out to allow them all' })
      }
    })
  }
  return problems
}
