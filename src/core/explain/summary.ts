// What a resource does, in one or two sentences, said when it is created, changed or deleted. The sentences are composed
// from the resource's own parts; a shape that has no short sentence gets a longer one, never one that is nearly right.
import { hostsOf } from '../oracle/members.ts'
import { appliesTo, isKubernetes } from '../oracle/order.ts'
import { type Direction, splitKey } from '../resources/cause.ts'
import { derived } from '../resources/derive.ts'
import { SERVICE_NAME_LABEL } from '../resources/kinds/service.ts'
import {
  type EndpointSlice,
  find,
  type GlobalNetworkPolicy,
  type HostEndpoint,
  type IPPool,
  isTieredPolicy,
  type Kind,
  keyOf,
  type TieredPolicy as Policy,
  type PolicyRule,
  type Resource,
  type Snapshot,
  type StagedGlobalNetworkPolicy,
  type StagedKubernetesNetworkPolicy,
  type StagedNetworkPolicy,
  type Tier,
} from '../resources/resource.ts'
import { describeKubernetes, kubernetesSubject } from './kubernetes.ts'
import { isUnconditional, namespaceWords, onlyPeer, ruleWords } from './rule-words.ts'
import { cut, list, plural, things } from './words.ts'

export type Verb = 'created' | 'updated' | 'unchanged' | 'deleted' | 'valid'

const NOUNS: Readonly<Record<Kind, string>> = {
  NetworkPolicy: 'Network policy',
  GlobalNetworkPolicy: 'Global network policy',
  StagedNetworkPolicy: 'Staged network policy',
  StagedGlobalNetworkPolicy: 'Staged global network policy',
  StagedKubernetesNetworkPolicy: "Staged Kubernetes' network policy",
  Tier: 'Tier',
  NetworkSet: 'Network set',
  GlobalNetworkSet: 'Global network set',
  Profile: 'Profile',
  IPPool: 'IP pool',
  IPReservation: 'IP reservation',
  IPAMConfiguration: 'IPAM configuration',
  Node: 'Node',
  WorkloadEndpoint: 'Workload endpoint',
  HostEndpoint: 'Host endpoint',
  BGPConfiguration: 'BGP configuration',
  BGPPeer: 'BGP peer',
  FelixConfiguration: 'Felix configuration',
  ClusterInformation: 'Cluster information',
  Namespace: 'Namespace',
  ServiceAccount: 'Service account',
  Pod: 'Pod',
  Service: 'Service',
  KubernetesNetworkPolicy: "Kubernetes' network policy",
  KubernetesClusterNetworkPolicy: 'Cluster network policy',
  EndpointSlice: 'Endpoint slice',
}

/** One line. The snapshot, when given, tells the default action of the policy's tier. */
export function summarize(resource: Resource, verb: Verb, snapshot?: Snapshot): string {
  const { namespace, name } = splitKey(keyOf(resource))
  const where = namespace === '' ? '' : ` ${verb === 'deleted' ? 'from' : 'in'} namespace '${namespace}'`
  const head = `${NOUNS[resource.kind]} '${name}' ${verb === 'valid' ? 'is valid' : verb}${where}.`
  const body = verb === 'deleted' ? farewell(resource) : describe(resource, snapshot)
  const hosts =
    verb !== 'deleted' && snapshot && resource.kind === 'GlobalNetworkPolicy' ? alsoHosts(resource, snapshot) : ''
  return [head, body, hosts].filter(text => text !== '').join(' ')
}

type Staged = StagedNetworkPolicy | StagedGlobalNetworkPolicy | StagedKubernetesNetworkPolicy

const isStaged = (resource: Resource): resource is Staged =>
  resource.kind === 'StagedNetworkPolicy' ||
  resource.kind === 'StagedGlobalNetworkPolicy' ||
  resource.kind === 'StagedKubernetesNetworkPolicy'

function farewell(resource: Resource): string {
  if (isStaged(resource)) return 'It was never enforced.'
  if (isKubernetes(resource)) return `It no longer applies to ${kubernetesSubject(resource)}.`
  return isTieredPolicy(resource) ? `It no longer applies to ${subject(resource)}.` : ''
}

/** A staged policy in the words of the enforced one, after a word that it is none. */
function describeStaged(resource: Staged, snapshot?: Snapshot): string {
  const { name } = resource.metadata
  const kind = resource.kind.slice('Staged'.length)
  const why = 'see `gingham why` for what it would change'
  if (resource.spec.stagedAction === 'Delete') {
    return `It is not enforced. Enforced, it would delete ${kind} '${name}': ${why}.`
  }
  const said = isKubernetes(resource) ? describeKubernetes(resource) : describePolicy(resource, snapshot)
  return `It is not enforced: ${why}. Enforced, it would say: ${said}`
}

function describe(resource: Resource, snapshot: Snapshot | undefined): string {
  switch (resource.kind) {
    case 'NetworkPolicy':
    case 'GlobalNetworkPolicy':
      return describePolicy(resource, snapshot)
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return describeStaged(resource, snapshot)
    case 'Tier':
      return describeTier(resource)
    case 'NetworkSet':
    case 'GlobalNetworkSet':
      return describeNets(resource.spec.nets ?? [])
    case 'IPPool':
      return describePool(resource)
    case 'IPReservation':
      return describeReserved(resource.spec.reservedCIDRs ?? [])
    case 'KubernetesNetworkPolicy':
    case 'KubernetesClusterNetworkPolicy':
      return describeKubernetes(resource)
    case 'Service':
      return 'Policies that name it mean its endpoints, never its own address.'
    case 'EndpointSlice':
      return describeSlice(resource)
    case 'HostEndpoint':
      return describeHost(resource)
    default:
      return ''
  }
}

const isGlobal = (policy: Policy): policy is GlobalNetworkPolicy | StagedGlobalNetworkPolicy =>
  policy.kind === 'GlobalNetworkPolicy' || policy.kind === 'StagedGlobalNetworkPolicy'

/** A global policy for pods is easily one for nodes too, and that must not be found out by being locked out. */
function alsoHosts(policy: GlobalNetworkPolicy, snapshot: Snapshot): string {
  const { preDNAT, doNotTrack } = policy.spec
  const applies = appliesTo(policy)
  const governed = hostsOf(derived(snapshot)).filter(host => applies(host.labels))
  if (governed.length === 0 || preDNAT || doNotTrack) return ''
  const names = governed.map(host => host.name.slice('HostEndpoint '.length))
  return `It governs ${plural(governed.length, 'host endpoint')} too: ${list(names)}.`
}

function describeHost({ spec }: HostEndpoint): string {
  const { node, interfaceName, expectedIPs = [], profiles = [] } = spec
  const what =
    interfaceName === '*'
      ? 'every interface that has no host endpoint of its own'
      : interfaceName === undefined
        ? `the interface with ${expectedIPs.join(' or ')}`
        : `interface ${interfaceName}`
  const rest =
    profiles.length === 0
      ? 'what no policy allows is denied, save for the failsafe ports'
      : `what no policy decides is left to ${profiles.length === 1 ? 'profile' : 'profiles'} ${profiles.join(', ')}`
  return `It guards ${what} of node '${node}': ${rest}.`
}

/** Which pods a policy governs. */
function subject(policy: Policy): string {
  const { selector, serviceAccountSelector } = policy.spec
  const words = [things('pods', selector)]
  if (isGlobal(policy)) {
    words.push(namespaceWords(policy.spec.namespaceSelector ?? 'all()'))
  } else if (words[0] === 'all pods') words.push('of the namespace')
  if (serviceAccountSelector !== undefined) words.push(`with ${things('service accounts', serviceAccountSelector)}`)
  return words.join(' ')
}

type Aspect = { readonly direction: Direction; readonly rules: readonly PolicyRule[] }

function describePolicy(policy: Policy, snapshot: Snapshot | undefined): string {
  const { spec } = policy
  if (isGlobal(policy) && (policy.spec.preDNAT || policy.spec.doNotTrack)) {
    return 'It concerns host endpoints only, no pods.'
  }
  const namespaced = !isGlobal(policy)
  const who = subject(policy)
  const tier = spec.tier === 'default' ? undefined : snapshot && find(snapshot, 'Tier', { name: spec.tier })
  const denies = spec.tier === 'default' || tier?.spec.defaultAction === 'Deny'
  const end = denies
    ? 'what no rule decides is denied unless another policy allows it'
    : tier
      ? 'what no rule decides goes on to the next tier'
      : `what no rule decides is left to the default action of tier '${spec.tier}'`
  const aspects: Aspect[] = spec.types.map(type => {
    const direction = type === 'Ingress' ? 'ingress' : 'egress'
    return { direction, rules: spec[direction] ?? [] }
  })
  const peers = aspects.map(({ direction, rules }) => {
    const [rule, ...more] = rules
    return rule?.action === 'Allow' && more.length === 0 ? onlyPeer(rule, direction, namespaced) : undefined
  })
  if (denies && aspects.length === 2 && peers[0] !== undefined && peers[0] === peers[1]) {
    return `It restricts ingress and egress traffic to ${who} to only communicate with ${peers[0]}.`
  }
  if (aspects.every(({ rules }) => rules.length === 0)) {
    const directions = list(
      aspects.map(aspect => aspect.direction),
      'or',
    )
    if (denies) return `It isolates ${who}: no ${directions} traffic is allowed unless another policy allows it.`
    return `It has no rules for ${directions} traffic of ${who}: ${end.replace('what no rule decides', 'all of it')}.`
  }
  return aspects.map((aspect, i) => describeAspect(aspect, { who, denies, end, namespaced, peer: peers[i] })).join(' ')
}

type AspectContext = {
  readonly who: string
  readonly denies: boolean
  readonly end: string
  readonly namespaced: boolean
  readonly peer: string | undefined
}

const VERBS: Readonly<Record<PolicyRule['action'], (words: string) => string>> = {
  Allow: words => `allows ${words}`,
  Deny: words => `denies ${words}`,
  Log: words => `logs ${words}`,
  Pass: words => `leaves ${words} to the next tier`,
}

function describeAspect({ direction, rules }: Aspect, context: AspectContext): string {
  const { who, denies, end, namespaced, peer } = context
  const traffic = direction === 'ingress' ? `ingress traffic to ${who}` : `egress traffic from ${who}`
  if (rules.length === 0) {
    return denies
      ? `It isolates ${who} in ${direction}: no ${direction} traffic is allowed unless another policy allows it.`
      : `It has no rules for ${traffic}: ${end.replace('what no rule decides', 'all of it')}.`
  }
  if (denies && peer !== undefined) {
    return `It restricts ${traffic} to only ${direction === 'ingress' ? 'come from' : 'go to'} ${peer}.`
  }
  const words = rules.map(rule => ruleWords(rule, direction, namespaced))
  const last = rules.findIndex(rule => rule.action !== 'Log' && isUnconditional(rule))
  if (rules.length === 1 && last === 0) {
    return {
      Allow: `It allows all ${traffic}.`,
      Deny: `It denies all ${traffic}.`,
      Pass: `It leaves all ${traffic} to the next tier.`,
      Log: '',
    }[rules[0]!.action]
  }
  if (denies && last < 0 && rules.every(rule => rule.action === 'Allow')) {
    return `It restricts ${traffic} to only: ${cut(words, n => `and what ${plural(n, 'more rule')} allow`).join('; ')}.`
  }
  // What stands after a rule that decides everything is never reached; warnings say so.
  const reached = last < 0 ? rules : rules.slice(0, last + 1)
  const steps = cut(
    reached.map((rule, i) => VERBS[rule.action](words[i]!)),
    n => `follows ${plural(n, 'more rule')}`,
  )
  return `For ${traffic}, in this order, it ${[...steps, ...(last < 0 ? [end] : [])].join('; ')}.`
}

function describeTier({ spec }: Tier): string {
  const place = spec.order === undefined ? 'It is judged after all tiers with an order' : `Its order is ${spec.order}`
  const rest = spec.defaultAction === 'Pass' ? 'goes on to the next tier' : 'is denied'
  return `${place}; what its policies select and no rule decides ${rest}.`
}

const describeNets = (nets: readonly string[]): string =>
  nets.length === 0 ? 'It holds no networks yet.' : `It holds ${plural(nets.length, 'network')}: ${firstOf(nets)}.`

const describeReserved = (cidrs: readonly string[]): string =>
  cidrs.length === 0
    ? 'It reserves nothing yet.'
    : `Pods get no address of ${firstOf(cidrs)} unless they ask for just that one; those in use stay.`

function firstOf(nets: readonly string[]): string {
  const shown = nets.slice(0, 3)
  return list([...shown, ...(nets.length > shown.length ? [`${nets.length - shown.length} more`] : [])])
}

function describeSlice({ metadata, endpoints, ports }: EndpointSlice): string {
  const service = metadata.labels?.[SERVICE_NAME_LABEL]
  if (!service) return `It belongs to no service: its label ${SERVICE_NAME_LABEL} is missing.`
  const addresses = endpoints.flatMap(endpoint => endpoint.addresses)
  const numbers = (ports ?? []).flatMap(({ port, protocol = 'TCP' }) =>
    port === undefined ? [] : `${protocol} ${port}`,
  )
  const where = numbers.length === 0 ? 'without a port' : `on ${list(numbers)}`
  return `It gives service '${service}' ${plural(addresses.length, 'endpoint')} ${where}.`
}

function describePool({ spec }: IPPool): string {
  const size = (spec.cidr.includes(':') ? 128 : 32) - spec.blockSize
  const block =
    size <= 20 ? `blocks of ${plural(2 ** size, 'address', 'addresses')}` : `blocks of length ${spec.blockSize}`
  const given = spec.disabled
    ? `No new addresses are given out from ${spec.cidr}.`
    : `Addresses of ${spec.cidr} are given out in ${block}${spec.nodeSelector === 'all()' ? '' : ` on ${things('nodes', spec.nodeSelector)}`}.`
  return spec.natOutgoing ? `${given} Traffic that leaves the pools takes the node's address.` : given
}
