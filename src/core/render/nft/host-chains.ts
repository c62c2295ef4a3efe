// Host endpoints as kernel objects. Each leg (docs/design/nftables.md) that some endpoint has a say in has a dispatch map from
// interface to what guards it, and a hook that asks it; a node without host endpoints has none of this, and its packets pay
// for none of it. `*` in the map is every interface that has no element of its own; pods' interfaces never get there.
import { ACCEPT_MARK } from '../../base/register.ts'
import type { Failsafe, NodeSettings } from '../../calc/intent.ts'
import type { AtomKey } from '../../classify/atoms.ts'
import type { GroupName } from '../../classify/classify.ts'
import { FAMILIES, type Family, fromNumber } from '../../net/addr.ts'
import { type Prefix, prefixFamily, prefixRange } from '../../net/prefix.ts'
import type { Element, Field, KeyPart, NftChain, NftSet, Rule, Statement, Verdict } from '../../nft/objects.ts'
import { HOST_LEGS, type HostHook, type HostLeg } from '../../resources/cause.ts'
import type { Placed } from './elements.ts'
import {
  ACCEPT,
  anyBit,
  atMap,
  CLEAR_ACCEPT_MARK,
  DISCOVERY,
  DROP,
  goto,
  gotoVerdict,
  is,
  isNot,
  L4,
  legName,
  podRules,
  priorityFrom,
  rule,
  statefulRules,
  vmap,
} from './layout.ts'
import { clip } from './outcomes.ts'

/** What the static chains depend on besides settings. */
export type Uses = {
  readonly masquerades: boolean
  /** The host legs in which some host endpoint has a say. */
  readonly legs: readonly HostLeg[]
}

/** What guards host endpoints at one leg: by own address where `byOwn` says so, else one group. */
export type HostHead = HostLeg & {
  readonly name: GroupName
  readonly identity: string
  readonly otherwise: GroupName
  readonly byOwn: Iterable<readonly [AtomKey, GroupName]>
  readonly isUniform: boolean
}

export const hostChainName = (name: GroupName): string => `h_${name.slice(2)}`
export const ownMapName = (name: GroupName): string => `w_${name.slice(2)}`

const ACCEPT_MARKED = anyBit('meta mark', ACCEPT_MARK)

const has = ({ legs }: Uses, hook: HostHook, direction: HostLeg['direction']): boolean =>
  legs.some(l => l.hook === hook && l.direction === direction)
const ask = (leg: HostLeg): Rule => rule(vmap([leg.direction === 'ingress' ? 'iifname' : 'oifname'], atMap(leg)))

/** What the hooks that are always there do for host endpoints. */
export function hostRules(uses: Uses): Readonly<Record<'input' | 'forwardIngress' | 'forwardEgress', Rule[]>> {
  const marks = has(uses, 'untracked', 'ingress') || has(uses, 'prednat', 'ingress')
  const rules = (leg: HostLeg, marked: Statement): Rule[] =>
    has(uses, leg.hook, leg.direction) ? [...(marks ? [rule(ACCEPT_MARKED, marked)] : []), ask(leg)] : []
  return {
    input: rules({ hook: 'host', direction: 'ingress' }, ACCEPT),
    forwardIngress: rules({ hook: 'forward', direction: 'ingress' }, goto('from_ok')),
    forwardEgress: has(uses, 'forward', 'egress') ? [ask({ hook: 'forward', direction: 'egress' })] : [],
  }
}

/** The hooks that are there for host endpoints alone. */
export function hostChains(settings: NodeSettings, uses: Uses): NftChain[] {
  const { fromPod, toPod } = podRules(settings)
  const [untrackedIn, untrackedOut] = [has(uses, 'untracked', 'ingress'), has(uses, 'untracked', 'egress')]
  const chain = (
    leg: HostLeg,
    base: Pick<NonNullable<NftChain['base']>, 'hook' | 'priority'>,
    before: Rule[],
  ): NftChain[] =>
    has(uses, leg.hook, leg.direction)
      ? [{ name: legName(leg), base: { type: 'filter', ...base, policy: 'accept' }, rules: [...before, ask(leg)] }]
      : []
  const clear = rule(CLEAR_ACCEPT_MARK)
  const marked = rule(ACCEPT_MARKED, ACCEPT)
  return [
    ...chain({ hook: 'untracked', direction: 'ingress' }, { hook: 'prerouting', priority: -300 }, [clear]),
    // Between connection tracking (-200) and the translation of destinations (-100).
    ...chain({ hook: 'prednat', direction: 'ingress' }, { hook: 'prerouting', priority: -150 }, [
      untrackedIn ? marked : clear,
      ...fromPod(ACCEPT),
    ]),
    ...chain({ hook: 'untracked', direction: 'egress' }, { hook: 'output', priority: -300 }, [clear, ...toPod(ACCEPT)]),
    // Not in the output hook: there the interface is still the one from before the destination was translated.
    ...chain({ hook: 'host', direction: 'egress' }, { hook: 'postrouting', priority: -150 }, [
      rule(isNot('iif', { value: 0 }), ACCEPT),
      ...toPod(ACCEPT),
      ...(untrackedOut ? [marked] : []),
    ]),
  ]
}

/** One rule for each protocol, net and family. `which`: the side whose port and address the list speaks of. */
function failsafeRules(
  list: readonly Failsafe[],
  which: { port: 'th dport' | 'th sport'; addr: 'saddr' | 'daddr' },
): Rule[] {
  const byPlace = new Map<string, { readonly first: Failsafe; readonly ports: number[] }>()
  for (const failsafe of list) {
    const key = `${failsafe.protocol} ${failsafe.net ?? ''}`
    const place = byPlace.get(key) ?? { first: failsafe, ports: [] }
    byPlace.set(key, place)
    place.ports.push(failsafe.port)
  }
  return [...byPlace.values()].map(({ first: { protocol, net }, ports }) => {
    const port = is(which.port, { set: [...new Set(ports)] as KeyPart[] })
    const proto = is(L4, { value: protocol })
    if (net === undefined) return rule(proto, port, ACCEPT)
    const family: Family = prefixFamily(net)
    const field = `${family === 4 ? 'ip' : 'ip6'} ${which.addr}` as Field
    return rule(is(field, { set: [prefixPart(net)] }), proto, port, ACCEPT)
  })
}

const prefixPart = (net: Prefix): KeyPart => {
  const { family, first, last } = prefixRange(net)
  return { from: fromNumber(family, first), to: fromNumber(family, last) }
}

/** What every packet meets before policy. Failsafe ports are not asked of what is forwarded. */
function preamble({ hook, direction }: HostLeg, settings: NodeSettings): Rule[] {
  if (hook === 'forward') return []
  const ingress = direction === 'ingress'
  const [mine, theirs] = ingress
    ? [settings.failsafeInbound, settings.failsafeOutbound]
    : [settings.failsafeOutbound, settings.failsafeInbound]
  const addr = ingress ? 'saddr' : 'daddr'
  return [
    ...(hook === 'untracked' ? [] : statefulRules(settings)),
    rule(is('icmpv6 type', DISCOVERY), ACCEPT),
    ...failsafeRules(mine, { port: 'th dport', addr }),
    // Before connection tracking the replies of the other direction's failsafe connections are packets like others.
    ...(hook === 'untracked' ? failsafeRules(theirs, { port: 'th sport', addr }) : []),
  ]
}

export function hostChain(host: HostHead, settings: NodeSettings): NftChain {
  const own: Field[] = FAMILIES.map(
    f => `${f === 4 ? 'ip' : 'ip6'} ${host.direction === 'ingress' ? 'daddr' : 'saddr'}` as Field,
  )
  const byOwn = FAMILIES.flatMap((family, i) =>
    (['pod', 'net'] as const).map(set =>
      rule(priorityFrom([own[i]!], `${set}${family}`), vmap(['meta priority'], ownMapName(host.name))),
    ),
  )
  const rules = host.isUniform ? [rule(goto(host.otherwise))] : [...byOwn, rule(DROP)]
  return { name: hostChainName(host.name), rules: [...preamble(host, settings), ...rules], comment: titleOf(host) }
}

const titleOf = ({ hook, direction, identity }: HostHead): string => clip(`${hook} ${direction} ${identity}`)

/** The map from the own address's atom to its group, or undefined where every own address has the same. */
export function ownMap(host: HostHead, atomNumber: (key: AtomKey) => number): NftSet | undefined {
  if (host.isUniform) return undefined
  const elements = [...host.byOwn].map(
    ([atom, group]): Element => ({ key: [atomNumber(atom)], value: gotoVerdict(group) }),
  )
  const all = [...elements, { key: '*', value: gotoVerdict(host.otherwise) } as const]
  return { name: ownMapName(host.name), key: ['classid'], value: 'verdict', elements: all, comment: titleOf(host) }
}

type Guarded = {
  readonly interfaceName: string
  readonly guards: readonly (HostLeg & { readonly name: GroupName })[]
}

/** Which interface is guarded by what, at every leg. */
export function hostElements(interfaces: readonly Guarded[]): Placed[] {
  return HOST_LEGS.flatMap(leg => {
    const guardOf = ({ guards }: Guarded) => guards.find(g => g.hook === leg.hook && g.direction === leg.direction)
    const every = interfaces.find(i => i.interfaceName === '*')
    // An interface with an endpoint of its own is none of the others, also where its endpoint has no say.
    const onward: Verdict =
      leg.hook === 'forward' && leg.direction === 'ingress' ? gotoVerdict('from_ok') : { kind: 'accept' }
    return interfaces.flatMap((i): Placed[] => {
      const guard = guardOf(i)
      if (!guard && !(every && guardOf(every))) return []
      const key = i.interfaceName === '*' ? '*' : [i.interfaceName]
      return [[atMap(leg), { key, value: guard ? gotoVerdict(hostChainName(guard.name)) : onward }]]
    })
  })
}

/** The legs that these guards take part in. */
export const legsOf = (guards: Iterable<HostLeg>): HostLeg[] => {
  const names = new Set([...guards].map(legName))
  return HOST_LEGS.filter(leg => names.has(legName(leg)))
}
