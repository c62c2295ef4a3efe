// Never silent: what a valid resource says that has no effect, now or ever. None of it is a mistake by the letter, all of
// it is what people look for afterwards for hours.
import type { Problem } from '../base/problem.ts'
import { serviceOf, sideSelects } from '../oracle/entity.ts'
import { type Pod, podsAmong } from '../oracle/kubernetes-pods.ts'
import { type Endpoint, endpointsOf, hostsOf, type Member, setsOf } from '../oracle/members.ts'
import { appliesTo, isKubernetes } from '../oracle/order.ts'
import { DIRECTIONS, type Direction } from '../resources/cause.ts'
import { derived } from '../resources/derive.ts'
import { EVERY_INTERFACE } from '../resources/kinds/host-endpoint.ts'
import { SERVICE_NAME_LABEL } from '../resources/kinds/service.ts'
import {
  type EntityRule,
  isTieredPolicy,
  ofKind,
  type TieredPolicy as Policy,
  type Resource,
  type Service,
  type Snapshot,
} from '../resources/resource.ts'
import { kubernetesWarnings } from './kubernetes.ts'
import { withoutEffect } from './no-effect.ts'
import { isUnconditional } from './rule-words.ts'
import { plural } from './words.ts'

/** Everything that selectors can select, looked up once for many resources. */
export type Survey = {
  readonly endpoints: readonly Endpoint[]
  readonly members: readonly Member[]
  /** `namespace/name` of the services that have endpoints, and of all that there are. */
  readonly served: ReadonlySet<string>
  readonly pods: readonly Pod[]
  readonly services: ReadonlySet<string>
  /** The host endpoints that guard every interface. */
  readonly everywhere: readonly Endpoint[]
}

export function survey(snapshot: Snapshot): Survey {
  const resources = derived(snapshot)
  const pods = endpointsOf(resources)
  const endpoints = [...pods, ...hostsOf(resources)]
  const slices = [...ofKind(resources, 'EndpointSlice')].filter(slice => slice.endpoints.length > 0)
  return {
    endpoints,
    members: [...endpoints, ...setsOf(resources)],
    everywhere: hostsOf(resources, EVERY_INTERFACE),
    served: new Set(slices.map(({ metadata }) => `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME_LABEL]}`)),
    pods: podsAmong(resources, pods),
    services: new Set([...ofKind(resources, 'Service')].map(nameOf)),
  }
}

/** What has no effect, with the place in the resource. Without a survey only what the resource itself shows. */
export function warnings(resource: Resource, surroundings?: Survey): Problem[] {
  // A deletion selects nothing and has no rules, as it should.
  if ('spec' in resource && 'stagedAction' in resource.spec && resource.spec.stagedAction === 'Delete') return []
  if (isKubernetes(resource)) return kubernetesWarnings(resource, surroundings?.pods)
  if (resource.kind === 'Service' && surroundings) return withoutEndpoints(resource, surroundings)
  if (!isTieredPolicy(resource)) return withoutEffect(resource)
  const found = [...switchedOff(resource), ...neverReached(resource)]
  if (!surroundings) return found
  return [...found, ...matchesNothing(resource, surroundings), ...untrackedEverywhere(resource, surroundings)]
}

const nameOf = ({ metadata }: Resource): string => `${metadata.namespace}/${metadata.name}`

/** Nobody here does what Kubernetes' controller of EndpointSlices does. */
function withoutEndpoints(service: Service, { served }: Survey): Problem[] {
  if (served.has(nameOf(service)) || service.spec.type === 'ExternalName') return []
  const message = 'has no endpoints: policies that name it match nothing, and no slices follow from its selector here'
  const fix = `apply an EndpointSlice with label ${SERVICE_NAME_LABEL}: ${service.metadata.name}`
  return [{ path: 'spec.selector', message, fix }]
}

const typeOf = (direction: Direction): 'Ingress' | 'Egress' => (direction === 'ingress' ? 'Ingress' : 'Egress')

const isOn = (policy: Policy, direction: Direction): boolean => policy.spec.types.includes(typeOf(direction))

const isForHosts = ({ spec }: Policy): boolean =>
  ('preDNAT' in spec && spec.preDNAT === true) || ('doNotTrack' in spec && spec.doNotTrack === true)

function switchedOff(policy: Policy): Problem[] {
  return DIRECTIONS.flatMap(direction => {
    const rules = policy.spec[direction] ?? []
    if (rules.length === 0 || isOn(policy, direction)) return []
    const message = `${plural(rules.length, `${direction} rule`)} without effect: spec.types is ${policy.spec.types.join(', ')}`
    return [{ path: `spec.${direction}`, message, fix: `add ${typeOf(direction)} to spec.types` }]
  })
}

/** Untracked policy is not asked at host endpoints of all interfaces. */
function untrackedEverywhere(policy: Policy, { everywhere }: Survey): Problem[] {
  if (!('doNotTrack' in policy.spec) || !policy.spec.doNotTrack) return []
  const applies = appliesTo(policy)
  const names = everywhere.filter(host => applies(host.labels)).map(host => host.name)
  if (names.length === 0) return []
  const message = `is not asked at ${names.join(', ')}: interfaceName * is for tracked policy`
  return [{ path: 'spec.doNotTrack', message, fix: 'name the interfaces in host endpoints of their own' }]
}

function neverReached(policy: Policy): Problem[] {
  return DIRECTIONS.flatMap(direction => {
    const rules = policy.spec[direction] ?? []
    const last = rules.findIndex(rule => rule.action !== 'Log' && isUnconditional(rule))
    if (last < 0 || last === rules.length - 1 || !isOn(policy, direction)) return []
    const after = rules.length - 1 - last
    const message = `${plural(after, 'rule')} after this one can never fire: it is ${rules[last]!.action} for everything`
    return [{ path: `spec.${direction}[${last}]`, message, fix: 'move it to the end, or remove what follows' }]
  })
}

function matchesNothing(policy: Policy, survey: Survey): Problem[] {
  const { endpoints, members } = survey
  const problems: Problem[] = []
  const applies = appliesTo(policy)
  const governed = isForHosts(policy) ? endpoints.filter(e => e.key.startsWith('HostEndpoint/')) : endpoints
  if (!governed.some(endpoint => applies(endpoint.labels))) {
    problems.push({
      path: 'spec.selector',
      message: `selects no ${isForHosts(policy) ? 'host endpoint' : 'pod'} at present: the policy has no effect until one comes`,
    })
  }
  const { namespace } = policy.metadata
  for (const direction of DIRECTIONS) {
    if (!isOn(policy, direction)) continue
    policy.spec[direction]?.forEach((rule, index) => {
      for (const side of ['source', 'destination'] as const) {
        const entity = rule[side]
        const path = `spec.${direction}[${index}].${side}`
        if (entity?.services?.name) problems.push(...emptyService(entity.services, { path, namespace, survey }))
        else if (entity) problems.push(...emptySide(entity, { path, namespace, members }))
      }
    })
  }
  return problems
}

type ServiceContext = { readonly path: string; readonly namespace: string | undefined; readonly survey: Survey }

function emptyService(services: NonNullable<EntityRule['services']>, context: ServiceContext): Problem[] {
  const { path, namespace, survey } = context
  const service = serviceOf(services, namespace)
  if (survey.served.has(service)) return []
  const what = survey.services.has(service) ? `service ${service} has no endpoints` : `there is no service ${service}`
  return [{ path: `${path}.services`, message: `${what} at present, so that this matches nothing` }]
}

type SideContext = {
  readonly path: string
  readonly namespace: string | undefined
  readonly members: readonly Member[]
}

function emptySide(entity: EntityRule, { path, namespace, members }: SideContext): Problem[] {
  const selects = sideSelects(entity, namespace) ?? (() => true)
  const selected = members.filter(selects)
  if (selected.length === 0 && members.length > 0) {
    const elsewhere = namespace !== undefined && entity.namespaceSelector === undefined
    const matching = elsewhere && sideSelects(entity, undefined)
    const message = 'matches no pod and no network set at present'
    if (matching && members.some(matching)) {
      return [
        { path, message: `${message} in namespace ${namespace}`, fix: 'add a namespaceSelector to look in others' },
      ]
    }
    return [{ path, message }]
  }
  return [...(entity.ports ?? []), ...(entity.notPorts ?? [])]
    .filter(port => typeof port === 'string' && !port.includes(':'))
    .filter(name => !selected.some(member => member.ports.some(port => port.name === name)))
    .map(name => ({ path: `${path}.ports`, message: `no pod meant here has a port named ${name} at present` }))
}
