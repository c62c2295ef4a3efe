// Why a verdict is what it is, named alike by every judge: the oracle, the compiled outcomes, a kernel counter's comment.

export type Direction = 'ingress' | 'egress'
export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress']

/**
 * Where a host endpoint judges packets: what ends or begins at the host, what is forwarded (applyOnForward), what arrives
 * before its destination is translated (preDNAT), and before connection tracking (doNotTrack).
 */
export type HostHook = 'host' | 'forward' | 'prednat' | 'untracked'
/** One direction at one of them: `host_ingress`. */
export type HostLeg = { readonly hook: HostHook; readonly direction: Direction }
/** In the order in which a packet that comes in meets them, then one that leaves. */
export const HOST_LEGS: readonly HostLeg[] = [
  { hook: 'untracked', direction: 'ingress' },
  { hook: 'prednat', direction: 'ingress' },
  { hook: 'forward', direction: 'ingress' },
  { hook: 'host', direction: 'ingress' },
  { hook: 'forward', direction: 'egress' },
  { hook: 'untracked', direction: 'egress' },
  { hook: 'host', direction: 'egress' },
]

/** `Kind/namespace/name`; the namespace is empty for cluster-scoped kinds. */
export type ResourceKey = string & { readonly __resource: true }

export const resourceKey = (kind: string, namespace: string | undefined, name: string): ResourceKey =>
  `${kind}/${namespace ?? ''}/${name}` as ResourceKey

export function splitKey(key: ResourceKey): { kind: string; namespace: string; name: string } {
  const [kind = '', namespace = '', ...rest] = key.split('/')
  return { kind, namespace, name: rest.join('/') }
}

/** `NetworkPolicy default/web`, `Tier security`: how people read a key. */
export function printKey(key: ResourceKey): string {
  const { kind, namespace, name } = splitKey(key)
  return namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`
}

/** The n-th rule (from 0, as in the resource's own list) of a policy or profile. */
export type RuleRef = { readonly policy: ResourceKey; readonly direction: Direction; readonly index: number }

export const printRule = (rule: RuleRef): string => `${printKey(rule.policy)} ${rule.direction}[${rule.index}]`

/** A Log rule that packets have passed, as its counter is named. */
export const printLog = (rule: RuleRef): string => `Log ${printRule(rule)}`

export type Cause =
  /** A rule of a policy or a profile matched. */
  | { readonly kind: 'rule'; readonly rule: RuleRef; readonly action: 'Allow' | 'Deny' }
  /** A policy of the tier selects the endpoint, none of its rules matched, and the tier's default action is Deny. */
  | { readonly kind: 'tier'; readonly tier: string; readonly direction: Direction }
  /** No tier decided and no profile allowed (also when the profile named does not exist). */
  | { readonly kind: 'no-profile'; readonly direction: Direction }
  /** Of host endpoints, where neither profiles nor a tier's default decide: the packet goes on, as if nobody had looked. */
  | { readonly kind: 'undecided'; readonly direction: Direction }

export const causeVerdict = (cause: Cause): 'allow' | 'deny' =>
  cause.kind === 'undecided' || (cause.kind === 'rule' && cause.action === 'Allow') ? 'allow' : 'deny'

/** One line without quotes, fit for a kernel comment and for a person. */
export function printCause(cause: Cause): string {
  switch (cause.kind) {
    case 'rule':
      return `${printRule(cause.rule)} ${cause.action}`
    case 'tier':
      return `Tier ${cause.tier} ${cause.direction} default Deny`
    case 'no-profile':
      return `no profile allows ${cause.direction}`
    case 'undecided':
      return `no policy decides ${cause.direction}`
  }
}
