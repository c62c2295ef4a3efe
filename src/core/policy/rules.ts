// A resource's rule into the model's: namespaces, service accounts and plain selectors become one selector over an
// endpoint's full labels, ports and protocols numbers. Calico's rules for what an absent namespaceSelector means are here.
import type { Family } from '../net/addr.ts'
import { FAMILIES } from '../net/addr.ts'
import { type Prefix, parsePrefix, prefixFamily } from '../net/prefix.ts'
import { protocolNumber } from '../net/protocol.ts'
import type { Direction, ResourceKey } from '../resources/cause.ts'
import type { Port } from '../resources/field.ts'
import type { EntityRule, PolicyRule } from '../resources/resource.ts'
import { parseSelector } from '../selector/parse.ts'
import { and, equals, has, inSet, not, prefixKeys, type Selector } from '../selector/selector.ts'
import type { Entity, Ports, Rule } from './model.ts'

export const NAMESPACE = 'projectcalico.org/namespace'
export const SERVICE_ACCOUNT = 'projectcalico.org/serviceaccount'

/** A stored selector was validated when it was written; one that no longer parses is a problem of the whole policy. */
export function selectorOf(text: string): Selector {
  const parsed = parseSelector(text)
  if (!parsed.ok) throw new PolicyError(`selector ${JSON.stringify(text)}: ${parsed.problems[0]?.message}`)
  return parsed.value
}

/** The policy cannot be enforced as written; the caller fails closed and says so. */
export class PolicyError extends Error {}

/** Replaces `all()` and `global()` in a selector whose scope gives them a meaning of their own. */
function scoped(selector: Selector, all: Selector, global: Selector): Selector {
  switch (selector.op) {
    case 'all':
      return all
    case 'global':
      return global
    case 'not':
      return not(scoped(selector.operand, all, global))
    case 'and':
    case 'or':
      return { op: selector.op, operands: selector.operands.map(o => scoped(o, all, global)) }
    default:
      return selector
  }
}

/** Over namespaces: labels get `pcns.`; `all()` is any namespaced endpoint, `global()` any other. */
export const namespaceSelector = (text: string): Selector =>
  scoped(prefixKeys(selectorOf(text), 'pcns.'), has(NAMESPACE), not(has(NAMESPACE)))

/** Over service accounts: labels get `pcsa.`; `all()` is any endpoint that has one. */
export const serviceAccountSelector = (text: string): Selector =>
  scoped(prefixKeys(selectorOf(text), 'pcsa.'), has(SERVICE_ACCOUNT), has(SERVICE_ACCOUNT))

function portsOf(ports: readonly Port[] | undefined): Ports | undefined {
  if (!ports || ports.length === 0) return undefined
  const ranges: { first: number; last: number }[] = []
  const names: string[] = []
  for (const port of ports) {
    const range = /^(\d+)(?::(\d+))?$/.exec(String(port))
    if (range) ranges.push({ first: Number(range[1]), last: Number(range[2] ?? range[1]) })
    else names.push(String(port))
  }
  return { ranges, names }
}

function netsOf(nets: readonly string[] | undefined): Prefix[] | undefined {
  if (!nets || nets.length === 0) return undefined
  return nets.map(net => {
    const parsed = parsePrefix(net)
    if (!parsed) throw new PolicyError(`not a CIDR: ${net}`)
    return parsed
  })
}

/** `namespace`: of the policy; absent for global policies. */
function entityOf(entity: EntityRule | undefined, namespace: string | undefined): Entity {
  if (!entity) return {}
  const terms: Selector[] = []
  const speaksOfEndpoints = entity.selector || entity.notSelector || entity.namespaceSelector || entity.serviceAccounts
  if (entity.namespaceSelector) terms.push(namespaceSelector(entity.namespaceSelector))
  else if (namespace !== undefined && speaksOfEndpoints) terms.push(equals(NAMESPACE, namespace))
  const accounts = entity.serviceAccounts
  if (accounts?.names?.length) terms.push(inSet(SERVICE_ACCOUNT, 'in', accounts.names))
  if (accounts?.selector) terms.push(serviceAccountSelector(accounts.selector))
  if (entity.selector) terms.push(selectorOf(entity.selector))
  const nets = netsOf(entity.nets)
  const notNets = netsOf(entity.notNets)
  const ports = portsOf(entity.ports)
  const notPorts = portsOf(entity.notPorts)
  return {
    ...(terms.length > 0 && { selector: and(...terms) }),
    ...(entity.notSelector && { notSelector: selectorOf(entity.notSelector) }),
    ...(nets && { nets }),
    ...(notNets && { notNets }),
    ...(ports && { ports }),
    ...(notPorts && { notPorts }),
    ...(entity.services?.name && { service: `${entity.services.namespace ?? namespace}/${entity.services.name}` }),
  }
}

/** The families that a rule can match: those of every list of nets in it, of ipVersion, and of an ICMP name. */
function familiesOf(rule: PolicyRule, source: Entity, destination: Entity): Family[] {
  const lists = [source.nets, source.notNets, destination.nets, destination.notNets].filter(l => l !== undefined)
  return FAMILIES.filter(
    family =>
      (rule.ipVersion === undefined || rule.ipVersion === family) &&
      // Names imply a family, numbers do not.
      !(rule.protocol === 'ICMP' && family === 6) &&
      !(rule.protocol === 'ICMPv6' && family === 4) &&
      lists.every(list => list.some(net => prefixFamily(net) === family)),
  )
}

export function ruleOf(
  rule: PolicyRule,
  where: { policy: ResourceKey; direction: Direction; index: number; namespace: string | undefined },
): Rule {
  const { namespace, ...ref } = where
  const source = entityOf(rule.source, namespace)
  const destination = entityOf(rule.destination, namespace)
  // What HTTP says is not known here, so that is never met; a denial does not wait for it.
  const unknowable = rule.http !== undefined && rule.action !== 'Deny'
  const protocol = rule.protocol === undefined ? undefined : protocolNumber(rule.protocol)
  const notProtocol = rule.notProtocol === undefined ? undefined : protocolNumber(rule.notProtocol)
  return {
    ref,
    action: rule.action,
    families: unknowable ? [] : familiesOf(rule, source, destination),
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(rule.icmp && { icmp: rule.icmp }),
    ...(rule.notICMP && { notIcmp: rule.notICMP }),
    source,
    destination,
  }
}
