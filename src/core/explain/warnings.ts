// Never silent: what a valid resource says that has no effect, now or ever. None of it is a mistake by the letter, all of
// it is what people look for afterwards for hours.
import type { Problem } from '../base/problem.ts'
import { sideSelects } from '../oracle/entity.ts'
import { type Endpoint, endpointsOf, type Member, setsOf } from '../oracle/members.ts'
import { appliesTo } from '../oracle/order.ts'
import { DIRECTIONS, type Direction } from '../resources/cause.ts'
import { derived } from '../resources/derive.ts'
import {
  type EntityRule,
  isTieredPolicy,
  type TieredPolicy as Policy,
  type Resource,
  type Snapshot,
} from '../resources/resource.ts'
import { withoutEffect } from './no-effect.ts'
import { isUnconditional } from './rule-words.ts'
import { plural } from './words.ts'

/** Everything that selectors can select, looked up once for many resources. */
export type Survey = { readonly endpoints: readonly Endpoint[]; readonly members: readonly Member[] }

export function survey(snapshot: Snapshot): Survey {
  const resources = derived(snapshot)
  const endpoints = endpointsOf(resources)
  return { endpoints, members: [...endpoints, ...setsOf(resources)] }
}

/** What has no effect, with the place in the resource. Without a survey only what the resource itself shows. */
export function warnings(resource: Resource, surroundings?: Survey): Problem[] {
  if (!isTieredPolicy(resource)) return withoutEffect(resource)
  // A deletion selects nothing and has no rules, as it should.
  if ('stagedAction' in resource.spec && resource.spec.stagedAction === 'Delete') return []
  const found = [...switchedOff(resource), ...neverReached(resource)]
  return surroundings ? [...found, ...matchesNothing(resource, surroundings)] : found
}

const typeOf = (direction: Direction): 'Ingress' | 'Egress' => (direction === 'ingress' ? 'Ingress' : 'Egress')

const isOn = (policy: Policy, direction: Direction): boolean => policy.spec.types.includes(typeOf(direction))

function switchedOff(policy: Policy): Problem[] {
  return DIRECTIONS.flatMap(direction => {
    const rules = policy.spec[direction] ?? []
    if (rules.length === 0 || isOn(policy, direction)) return []
    const message = `${plural(rules.length, `${direction} rule`)} without effect: spec.types is ${policy.spec.types.join(', ')}`
    return [{ path: `spec.${direction}`, message, fix: `add ${typeOf(direction)} to spec.types` }]
  })
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

function matchesNothing(policy: Policy, { endpoints, members }: Survey): Problem[] {
  const problems: Problem[] = []
  const applies = appliesTo(policy)
  if (!endpoints.some(endpoint => applies(endpoint.labels))) {
    problems.push({
      path: 'spec.selector',
      message: 'selects no pod at present: the policy has no effect until one comes',
    })
  }
  const { namespace } = policy.metadata
  for (const direction of DIRECTIONS) {
    if (!isOn(policy, direction)) continue
    policy.spec[direction]?.forEach((rule, index) => {
      for (const side of ['source', 'destination'] as const) {
        const entity = rule[side]
        const path = `spec.${direction}[${index}].${side}`
        if (entity) problems.push(...emptySide(entity, { path, namespace, members }))
      }
    })
  }
  return problems
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
