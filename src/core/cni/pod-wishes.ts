// What a pod asks of its network, from Calico's annotations (contract 4.1): the pod's own, then its namespace's for pools
// and families, then the network configuration.
import { z } from 'zod'
import { failed, ok, type Problem, type Result } from '../base/problem.ts'
import { type Addr, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import { address, leaf, mistake, net } from '../resources/field.ts'
import { describeIssues } from '../resources/issues.ts'
import { type NetworkConfig, poolList } from './config.ts'

const DOMAIN = 'cni.projectcalico.org/'
export const POD_IP = `${DOMAIN}podIP`
export const POD_IPS = `${DOMAIN}podIPs`
export const CONTAINER_ID = `${DOMAIN}containerID`

export type PodWishes = {
  /** Families to give one address of each; ignored when addresses are asked for. */
  readonly families: readonly Family[]
  /** Names or CIDRs of pools; empty: any that qualifies. */
  readonly pools: Readonly<Record<Family, readonly string[]>>
  /** Just these addresses, at most one of a family; empty: any. */
  readonly addresses: readonly Addr[]
  /** They are the pod's without anybody giving them: no IPAM knows of them. */
  readonly withoutIpam: boolean
  /** Of the container's interface. */
  readonly mac: string | undefined
  /** It may send from other addresses too (the policy table says which): the kernel's own check must let it. */
  readonly spoofs: boolean
}

export type Annotations = Readonly<Record<string, string>> | undefined

export type WishSources = {
  readonly pod: Annotations
  readonly namespace: Annotations
  readonly config: Pick<NetworkConfig, 'families' | 'pools' | 'allowsNoIpam'>
  /** The address that CNI_ARGS names. */
  readonly ip?: Addr | undefined
}

const NO_IPAM = 'ipAddrsNoIpam'

const FAMILY_NAMES = { IPv4: 4, IPv6: 6 } as const

const families = z
  .array(z.enum(['IPv4', 'IPv6']))
  .min(1)
  .transform(names => FAMILIES.filter(family => names.some(name => FAMILY_NAMES[name] === family)))

const addresses = leaf(z.array(address()), values => {
  for (const family of FAMILIES) {
    if (values.filter(value => familyOf(value) === family).length > 1) {
      return mistake(`has more than one IPv${family} address`, 'a pod has one of each family')
    }
  }
  return values.length === 0 ? mistake('is an empty list', 'remove the annotation') : ok(values)
})

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/

function judgeMac(text: string): Result<string> {
  const mac = text.trim().toLowerCase().replaceAll('-', ':')
  if (!MAC.test(mac)) return mistake('is not a MAC address', 'write it like 02:00:5e:10:00:01')
  if (mac === '00:00:00:00:00:00') return mistake('is the zero MAC address, which no interface may have')
  if (Number.parseInt(mac.slice(0, 2), 16) & 1)
    return mistake('is a multicast MAC address: the first byte must be even')
  return ok(mac)
}

/** Whether the pod names its own addresses, which no IPAM knows of. */
export const namesOwnAddresses = (pod: Annotations): boolean => (pod?.[DOMAIN + NO_IPAM]?.trim() ?? '') !== ''

/** The annotations as wishes, or everything that is wrong with them. */
export function podWishes({ pod, namespace, config, ip }: WishSources): Result<PodWishes> {
  const problems: Problem[] = []

  /** An annotation's JSON by a schema; an empty text counts as absent. */
  const read = <S extends z.ZodType>(
    name: string,
    schema: S,
    from: readonly Annotations[],
  ): z.output<S> | undefined => {
    const key = DOMAIN + name
    const text = from.map(annotations => annotations?.[key]).find(value => value !== undefined && value.trim() !== '')
    if (text === undefined) return undefined
    let input: unknown
    try {
      input = JSON.parse(text)
    } catch {
      problems.push({ path: key, message: 'is not a JSON list', value: text, fix: 'write it like ["first", "second"]' })
      return undefined
    }
    const parsed = schema.safeParse(input)
    if (parsed.success) return parsed.data
    const found = describeIssues(parsed.error.issues, { schema, input })
    problems.push(...found.map(problem => ({ ...problem, path: key + problem.path })))
    return undefined
  }

  const both = [pod, namespace]
  const pools = {
    4: read('ipv4pools', poolList(4), both) ?? config.pools[4],
    6: read('ipv6pools', poolList(6), both) ?? config.pools[6],
  }
  const wantedFamilies = read('ipFamilies', families, both) ?? config.families
  const ownAddresses = read(NO_IPAM, addresses, [pod])
  const askedAddresses = read('ipAddrs', addresses, [pod])
  const wantedAddresses = ownAddresses ?? askedAddresses ?? (ip === undefined ? [] : [ip])
  if (ownAddresses !== undefined && !config.allowsNoIpam) {
    const message = 'is not enabled in the network configuration'
    problems.push({
      path: DOMAIN + NO_IPAM,
      message,
      fix: 'set feature_control.ip_addrs_no_ipam: true there, or remove it',
    })
  }
  if (ownAddresses !== undefined && askedAddresses !== undefined) {
    problems.push({ path: DOMAIN + NO_IPAM, message: 'excludes ipAddrs', fix: 'remove one of them' })
  }
  if (pod?.[`${DOMAIN}floatingIPs`]?.trim())
    problems.push({ path: `${DOMAIN}floatingIPs`, message: 'is not supported', fix: 'remove it' })
  const macText = pod?.[`${DOMAIN}hwAddr`]
  const mac = macText ? judgeMac(macText) : undefined
  if (mac?.ok === false) problems.push(...mac.problems.map(problem => ({ ...problem, path: `${DOMAIN}hwAddr` })))
  const sources = read('allowedSourcePrefixes', z.array(net()), [pod]) ?? []
  if (wantedFamilies.length === 0 && wantedAddresses.length === 0) {
    problems.push({
      path: 'ipam',
      message: 'asks for neither IPv4 nor IPv6',
      fix: 'set assign_ipv4 or assign_ipv6 to "true"',
    })
  }
  if (problems.length > 0) return failed(...problems)
  return ok({
    families: wantedFamilies,
    pools,
    addresses: wantedAddresses,
    withoutIpam: ownAddresses !== undefined,
    mac: mac?.ok ? mac.value : undefined,
    spoofs: sources.length > 0,
  })
}

const hostCidr = (addr: Addr): string => `${addr}/${familyOf(addr) === 4 ? 32 : 128}`

/** What the plugin writes on the pod: its addresses as /32 and /128, and whose they are. */
export const addressAnnotations = (containerId: string, given: readonly Addr[]): Readonly<Record<string, string>> => ({
  [POD_IP]: given[0] === undefined ? '' : hostCidr(given[0]),
  [POD_IPS]: given.map(hostCidr).join(','),
  [CONTAINER_ID]: containerId,
})

/** What DEL leaves: emptied, not removed, so that others see at once that the pod has ended. */
export const NO_ADDRESS: Readonly<Record<string, string>> = { [POD_IP]: '', [POD_IPS]: '' }
