// What a node is told about itself: Calico's environment variables of the same names, so that a manifest made for Calico
// says the same here.
import { failed, ok, type Problem, type Result } from '../base/problem.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { type Method, parseMethod } from './autodetect.ts'

export type AddressSetting =
  /** Whatever the Node says already stays. */
  | { readonly kind: 'keep' }
  | { readonly kind: 'none' }
  | { readonly kind: 'explicit'; readonly address: string }
  | { readonly kind: 'detect'; readonly method: Method }

export type FirstPool = { readonly name: string; readonly spec: Readonly<Record<string, unknown>> }

export type NodeSettings = {
  readonly addresses: Readonly<Record<Family, AddressSetting>>
  readonly asNumber: string | undefined
  /** Between two looks at the node's addresses. */
  readonly pollSeconds: number
  /** Whether pods have addresses of the node's own networks (host-local IPAM): other nodes are told these. */
  readonly usePodCidr: boolean
  /** Pools for a cluster that has none; undefined leaves it to the default. */
  readonly pools: readonly FirstPool[] | undefined
}

type Environment = Readonly<Record<string, string | undefined>>
export type NodeDefaults = { readonly method: Method | undefined }

const VARIABLE: Readonly<Record<Family, string>> = { 4: 'IP', 6: 'IP6' }
const POLL_SECONDS = 60

function addressSetting(env: Environment, family: Family, defaults: NodeDefaults): Result<AddressSetting> {
  const name = VARIABLE[family]
  const value = env[name] ?? ''
  const written = env[`${name}_AUTODETECTION_METHOD`]
  if (value === 'none') return ok({ kind: 'none' })
  if (value !== '' && value !== 'autodetect') return ok({ kind: 'explicit', address: value })
  // IPv6 is off until it is asked for, as with Calico.
  if (value === '' && (family === 6 || defaults.method === undefined)) return ok({ kind: 'keep' })
  if (written === undefined || written === '')
    return ok({ kind: 'detect', method: defaults.method ?? { kind: 'first-found' } })
  const parsed = parseMethod(written)
  if (parsed.ok) return ok({ kind: 'detect', method: parsed.value })
  return failed(...parsed.problems.map(p => ({ ...p, path: `${name}_AUTODETECTION_METHOD` })))
}

const POOL_NAMES: Readonly<Record<Family, string>> = { 4: 'default-ipv4-ippool', 6: 'default-ipv6-ippool' }
/** Calico's words for the same: Off is Never, CROSS_SUBNET in any case is CrossSubnet. */
const encapsulation = (text: string): string =>
  ({ off: 'Never', never: 'Never', always: 'Always', crosssubnet: 'CrossSubnet' })[
    text.toLowerCase().replaceAll(/[-_]/g, '')
  ] ?? text
const isTrue = (text: string): boolean => ['true', '1', 'yes', 'on', 'enabled'].includes(text.toLowerCase())

function firstPool(env: Environment, family: Family): FirstPool | undefined {
  const of = (name: string): string | undefined => env[`CALICO_IPV${family}POOL_${name}`] || undefined
  const cidr = of('CIDR')
  if (cidr === undefined) return undefined
  const [ipip, vxlan, block] = [of('IPIP'), of('VXLAN'), of('BLOCK_SIZE')]
  const spec = {
    cidr,
    natOutgoing: isTrue(of('NAT_OUTGOING') ?? (family === 4 ? 'true' : 'false')),
    ...(ipip === undefined ? {} : { ipipMode: encapsulation(ipip) }),
    ...(vxlan === undefined ? {} : { vxlanMode: encapsulation(vxlan) }),
    ...(block === undefined ? {} : { blockSize: Number(block) }),
    nodeSelector: of('NODE_SELECTOR') ?? 'all()',
    disableBGPExport: isTrue(of('DISABLE_BGP_EXPORT') ?? 'false'),
  }
  return { name: POOL_NAMES[family], spec }
}

/** Everything that the environment says. `defaults.method` undefined: without a word the Node's addresses are its own. */
export function parseNodeSettings(env: Environment, defaults: NodeDefaults): Result<NodeSettings> {
  const problems: Problem[] = []
  const setting = (family: Family): AddressSetting => {
    const parsed = addressSetting(env, family, defaults)
    if (parsed.ok) return parsed.value
    problems.push(...parsed.problems)
    return { kind: 'keep' }
  }
  const pollSeconds = env.AUTODETECT_POLL_INTERVAL === undefined ? POLL_SECONDS : seconds(env.AUTODETECT_POLL_INTERVAL)
  if (pollSeconds === undefined)
    problems.push({
      path: 'AUTODETECT_POLL_INTERVAL',
      message: 'is no time in seconds',
      value: env.AUTODETECT_POLL_INTERVAL,
    })
  const pools = FAMILIES.flatMap(family => firstPool(env, family) ?? [])
  const settings: NodeSettings = {
    addresses: { 4: setting(4), 6: setting(6) },
    asNumber: env.AS || undefined,
    pollSeconds: pollSeconds ?? POLL_SECONDS,
    usePodCidr: isTrue(env.USE_POD_CIDR ?? 'false'),
    pools: isTrue(env.NO_DEFAULT_POOLS ?? '') ? [] : pools.length > 0 ? pools : undefined,
  }
  return problems.length > 0 ? failed(...problems) : ok(settings)
}

function seconds(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text)
  if (match === null) return undefined
  const value = Number(match[1]) * { s: 1, m: 60, h: 3600 }[(match[2] ?? 's') as 's' | 'm' | 'h']
  return value > 0 ? value : undefined
}
