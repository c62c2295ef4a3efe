// A rule in plain words, as the object of a verb: "TCP to port 80 from pods labeled 'role=a'". Every criterion of the rule
// is named; there is no shortening that would make the sentence say more, or less, than the rule.
import type { Direction } from '../resources/cause.ts'
import type { EntityRule, PolicyRule } from '../resources/resource.ts'
import { list, things } from './words.ts'

/** Who the other side of a rule is; undefined if the rule does not restrict it. Ports are not part of it. */
export function peerWords(entity: EntityRule | undefined, namespaced: boolean): string | undefined {
  if (!entity) return undefined
  const { selector, notSelector, namespaceSelector, serviceAccounts, services } = entity
  const parts: string[] = []
  if (selector || notSelector || namespaceSelector || serviceAccounts) {
    parts.push(podWords(entity, namespaced))
  }
  if (services)
    parts.push(`the endpoints of service ${services.namespace ? `${services.namespace}/` : ''}${services.name}`)
  const nets = netWords(entity)
  if (nets !== undefined) parts.push(nets)
  return parts.length === 0 ? undefined : parts.join(' that are also among ')
}

/** In a global policy a selector alone also selects network sets that have no namespace. */
const PODS_AND_SETS = 'pods and network sets'

function podWords(entity: EntityRule, namespaced: boolean): string {
  const { selector, notSelector, namespaceSelector, serviceAccounts } = entity
  // global() leaves only what has no namespace: sets, no pods.
  const global = namespaceSelector?.trim() === 'global()'
  // In a global policy nothing positive is asked here, so that addresses of no pod are meant as well.
  const anyone = selector === undefined && namespaceSelector === undefined && !serviceAccounts && !namespaced
  const noun = global ? 'global network sets' : namespaced || namespaceSelector !== undefined ? 'pods' : PODS_AND_SETS
  const words = [anyone ? 'everyone' : things(noun, selector)]
  if (!global && namespaceSelector !== undefined) words.push(namespaceWords(namespaceSelector))
  if (serviceAccounts?.names) words.push(`with service account ${list(serviceAccounts.names, 'or')}`)
  if (serviceAccounts?.selector) words.push(`with ${things('service accounts', serviceAccounts.selector)}`)
  if (notSelector !== undefined) words.push(`except ${things(anyone ? PODS_AND_SETS : noun, notSelector)}`)
  return words.join(' ')
}

/** `in namespace 'prod'`, `in all namespaces`, `in namespaces labeled 'a=b'`. */
export function namespaceWords(selector: string): string {
  const name = /^\s*(?:projectcalico\.org\/name|kubernetes\.io\/metadata\.name)\s*==\s*(["'])([^"']*)\1\s*$/.exec(
    selector,
  )
  return name ? `in namespace '${name[2]}'` : `in ${things('namespaces', selector)}`
}

function netWords({ nets, notNets }: EntityRule): string | undefined {
  if (!nets && !notNets) return undefined
  const except = notNets ? ` except ${list(notNets, 'and')}` : ''
  return nets ? `addresses in ${list(nets, 'or')}${except}` : `all addresses${except}`
}

/** Protocol, ICMP type and family: `TCP`, `ICMP type 8`, `IPv6`; `traffic` if the rule says nothing of them. */
function kindWords({ protocol, notProtocol, icmp, notICMP, ipVersion }: PolicyRule): string {
  const type = (match: { type?: number | undefined; code?: number | undefined }): string =>
    `type ${match.type ?? 'any'}${match.code === undefined ? '' : ` code ${match.code}`}`
  const words: string[] = []
  if (ipVersion !== undefined) words.push(`IPv${ipVersion}`)
  if (protocol !== undefined) words.push(typeof protocol === 'number' ? `protocol ${protocol}` : protocol)
  if (icmp) words.push(type(icmp))
  if (protocol === undefined) words.push('traffic')
  if (notProtocol !== undefined) words.push(`other than ${notProtocol}`)
  if (notICMP) words.push(`other than ICMP ${type(notICMP)}`)
  return words.join(' ')
}

function portWords(entity: EntityRule | undefined): string | undefined {
  const ports = entity?.ports?.map(port => (typeof port === 'string' ? port.replace(':', '-') : String(port)))
  const notPorts = entity?.notPorts?.map(port => (typeof port === 'string' ? port.replace(':', '-') : String(port)))
  if (!ports && !notPorts) return undefined
  const yes = ports
    ? `${ports.length === 1 && !ports[0]!.includes('-') ? 'port' : 'ports'} ${list(ports, 'or')}`
    : 'any port'
  return notPorts ? `${yes} except ${list(notPorts, 'and')}` : yes
}

/** The rule as what is allowed, denied, logged or passed: `TCP to port 80 from pods labeled 'role=a'`. */
export function ruleWords(rule: PolicyRule, direction: Direction, namespaced: boolean): string {
  const { source, destination, http } = rule
  const words = [kindWords(rule)]
  const sourcePorts = portWords(source)
  const destinationPorts = portWords(destination)
  const from = peerWords(source, namespaced)
  const to = peerWords(destination, namespaced)
  if (direction === 'ingress') {
    if (destinationPorts) words.push(`to ${destinationPorts}`)
    if (to) words.push(`to ${to}`)
    if (from) words.push(`from ${from}`)
    if (sourcePorts) words.push(`with source ${sourcePorts}`)
  } else {
    if (to) words.push(`to ${to}`)
    if (destinationPorts) words.push(`${to ? 'on' : 'to'} ${destinationPorts}`)
    if (from) words.push(`from ${from}`)
    if (sourcePorts) words.push(`with source ${sourcePorts}`)
  }
  if (http) words.push('limited by http')
  const text = words.join(' ')
  return text === 'traffic' ? `all ${direction} traffic` : text
}

/** Whether a rule asks nothing at all: it matches every packet of its direction. */
export function isUnconditional(rule: PolicyRule): boolean {
  const { action, metadata, ...criteria } = rule
  return Object.values(criteria).every(value => value === undefined)
}

/** If a rule is just "this action for these peers": the peers in words. The rules of the founding example are. */
export function onlyPeer(rule: PolicyRule, direction: Direction, namespaced: boolean): string | undefined {
  const near = direction === 'ingress' ? rule.destination : rule.source
  const far = direction === 'ingress' ? rule.source : rule.destination
  const { action, metadata, source, destination, ...other } = rule
  if (near !== undefined || Object.values(other).some(value => value !== undefined)) return undefined
  if (far?.ports || far?.notPorts) return undefined
  return peerWords(far, namespaced)
}
