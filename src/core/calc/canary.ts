// The canary: two endpoints of our own on every node, between which the agent sends packets of which one must arrive and two
// must not. They are guarded as pods are, by a profile that no resource can name. No selector sees them: nobody's policy
// selects them, and they are in nobody's sets.
import { CANARY_ADDRESSES, CANARY_INTERFACE } from '../base/register.ts'
import { type Addr, addr, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import { prefixContains } from '../net/prefix.ts'
import { PROTOCOL_NUMBERS } from '../net/protocol.ts'
import type { Profile, Rule } from '../policy/model.ts'
import { type Cause, type Direction, type ResourceKey, resourceKey } from '../resources/cause.ts'
import type { Intent, LocalEndpoint } from './intent.ts'

/** Ports of the receiver (UDP). Each denied one is denied at one end only, so that neither end stands in for the other. */
export const CANARY_PORTS = {
  allowed: 10007,
  deniedIngress: 10009,
  deniedEgress: 10019,
} as const

const KIND = 'Canary'

function rulesOf(direction: Direction, allowed: readonly number[]): Rule[] {
  const rule = (index: number, action: 'Allow' | 'Deny'): Omit<Rule, 'destination'> => ({
    ref: { policy: resourceKey(KIND, undefined, 'node'), direction, index },
    action,
    families: FAMILIES,
    source: {},
  })
  const ports = { ranges: allowed.map(port => ({ first: port, last: port })), names: [] }
  return [
    { ...rule(0, 'Allow'), protocol: PROTOCOL_NUMBERS.UDP, destination: { ports } },
    // Said, so that the counter of what no profile allows stays the pods'.
    { ...rule(1, 'Deny'), destination: {} },
  ]
}

/** No resource has a name with a capital in it. */
export const CANARY_PROFILE: Profile = {
  name: KIND,
  rules: {
    ingress: rulesOf('ingress', [CANARY_PORTS.allowed, CANARY_PORTS.deniedEgress]),
    egress: rulesOf('egress', [CANARY_PORTS.allowed, CANARY_PORTS.deniedIngress]),
  },
}

/** Whose packet a cause decided. */
export const isCanary = (cause: Cause | undefined): boolean =>
  cause?.kind === 'rule' && cause.rule.policy === resourceKey(KIND, undefined, 'node')

export type CanaryEndpoint = Omit<LocalEndpoint, 'guards'>

const endpoint = (part: 'receiver' | 'sender', key: ResourceKey): CanaryEndpoint => ({
  key,
  name: `canary/${part}`,
  interfaceName: CANARY_INTERFACE[part],
  addresses: FAMILIES.map(family => addr(CANARY_ADDRESSES[part][family])),
  spoofable: [],
})

export const CANARY = {
  receiver: endpoint('receiver', resourceKey(KIND, undefined, 'receiver')),
  sender: endpoint('sender', resourceKey(KIND, undefined, 'sender')),
} as const

/** In the order of their keys. */
export const CANARIES: readonly CanaryEndpoint[] = [CANARY.receiver, CANARY.sender]

export const canaryAddress = (part: keyof typeof CANARY, family: Family): Addr =>
  CANARY[part].addresses.find(a => familyOf(a) === family)!

/** The pool that holds an address of the canary: some pod may have it, too. */
export const poolOfCanary = ({ allPools }: Pick<Intent, 'allPools'>): string | undefined =>
  allPools.find(pool => CANARIES.some(c => c.addresses.some(a => prefixContains(pool, a))))
