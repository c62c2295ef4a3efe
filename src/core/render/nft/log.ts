// How the lines of Log rules begin: in the kernel's log with FelixConfiguration's logPrefix; in NFLOG, whose reader writes
// the line itself, with the rule's name. The kernel takes 127 bytes of either.
import { sha1Hex } from '../../base/hash.ts'
import type { LogStep } from '../../classify/outcome.ts'
import { printRule, type RuleRef, splitKey } from '../../resources/cause.ts'

const PREFIX_BYTES = 127

/** Calico's short names of kinds whose rules may log. */
const SHORT: Readonly<Record<string, string>> = {
  NetworkPolicy: 'np',
  GlobalNetworkPolicy: 'gnp',
  KubernetesNetworkPolicy: 'knp',
  KubernetesClusterNetworkPolicy: 'kcnp',
  Profile: 'pro',
}

/**
 * A logPrefix with what it says of the rule put in, as Calico does it: `%t` the tier, `%k` the kind in short, `%n` the name,
 * `%p` the name with its namespace, if any. A colon and a space end it.
 */
export function logPrefix(template: string, { rule, tier = '' }: Pick<LogStep, 'rule' | 'tier'>): string {
  const { kind, namespace, name } = splitKey(rule.policy)
  const said: Readonly<Record<string, string>> = {
    '%t': tier,
    '%k': SHORT[kind] ?? kind,
    '%n': name,
    '%p': namespace === '' ? name : `${namespace}/${name}`,
  }
  const text = template.replace(/%[tknp]/g, found => said[found]!)
  return `${text.slice(0, PREFIX_BYTES - 2)}: `
}

/** The rule's name, for NFLOG: cut where it is too long, and then told from others by a hash. */
export function logName(rule: RuleRef): string {
  const text = printRule(rule)
  if (text.length <= PREFIX_BYTES) return text
  const hash = sha1Hex(text).slice(0, 8)
  return `${text.slice(0, PREFIX_BYTES - 1 - hash.length)}~${hash}`
}
