// What ADD answers, as one value of the newest form, and its encodings for every version: ip4/ip6 up to 0.2.0, lists with
// a `version` per address up to 0.4.0, lists from 1.0.0 on, MTUs and more route fields from 1.1.0 on.
import { z } from 'zod'
import { failed, ok, type Result } from '../base/problem.ts'
import { type Addr, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import { parsePrefix, parsePrefixDetail, prefixBase } from '../net/prefix.ts'
import { address, leaf, mistake } from '../resources/field.ts'
import { describeIssues } from '../resources/issues.ts'
import { printCompact } from './print.ts'
import { type CniVersion, isAtLeast } from './version.ts'

/** An address with a length, host bits kept: `10.0.0.7/24`. */
const interfaceCidr = () =>
  leaf(z.string(), value =>
    parsePrefixDetail(value)?.hadLength ? ok(value) : mistake('is not an address with a length'),
  )

const index = z.int().min(0)
const route = z.looseObject({
  dst: interfaceCidr(),
  gw: address().optional(),
  mtu: z.int().optional(),
  advmss: z.int().optional(),
  priority: z.int().optional(),
  table: z.int().optional(),
  scope: z.int().optional(),
})
const dns = z.looseObject({
  nameservers: z.array(z.string()).optional(),
  domain: z.string().optional(),
  search: z.array(z.string()).optional(),
  options: z.array(z.string()).optional(),
})
const link = z.looseObject({
  name: z.string(),
  mac: z.string().optional(),
  mtu: z.int().optional(),
  sandbox: z.string().optional(),
})
const ip = z.looseObject({ address: interfaceCidr(), gateway: address().optional(), interface: index.optional() })

const modern = z.looseObject({
  interfaces: z.array(link).default([]),
  ips: z.array(ip).default([]),
  routes: z.array(route).default([]),
  dns: dns.default({}),
})
const old = z.looseObject({ ip: interfaceCidr(), gateway: address().optional(), routes: z.array(route).default([]) })
const legacy = z.looseObject({ ip4: old.optional(), ip6: old.optional(), dns: dns.default({}) })

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T
export type CniInterface = DeepReadonly<z.output<typeof link>>
/** `interface` is an index into the result's interfaces. */
export type CniIp = DeepReadonly<z.output<typeof ip>>
export type CniRoute = DeepReadonly<z.output<typeof route>>
export type CniResult = {
  readonly interfaces: readonly CniInterface[]
  readonly ips: readonly CniIp[]
  readonly routes: readonly CniRoute[]
  readonly dns: DeepReadonly<z.output<typeof dns>>
}

const familyName = (family: Family): 'ip4' | 'ip6' => (family === 4 ? 'ip4' : 'ip6')

/** Those of the keys that the version's form has. */
const only = (value: object, keys: readonly string[]): object =>
  Object.fromEntries(Object.entries(value).filter(([key, entry]) => keys.includes(key) && entry !== undefined))

function legacyForm({ ips, routes, dns: servers }: CniResult): object {
  const families = FAMILIES.flatMap(family => {
    // The form has room for one address of a family: the first.
    const first = ips.find(entry => familyOf(entry.address) === family)
    if (first === undefined) return []
    const own = routes.filter(({ dst }) => familyOf(dst) === family).map(entry => only(entry, ['dst', 'gw']))
    const { address: cidr, gateway } = first
    return [[familyName(family), { ip: cidr, ...(gateway ? { gateway } : {}), ...(own.length ? { routes: own } : {}) }]]
  })
  return { ...Object.fromEntries(families), dns: servers }
}

function modernForm(result: CniResult, version: CniVersion): object {
  const newest = isAtLeast(version, '1.1.0')
  const numbered = !isAtLeast(version, '1.0.0')
  const [linkKeys, routeKeys] = [
    ['name', 'mac', 'sandbox'],
    ['dst', 'gw'],
  ]
  return {
    interfaces: newest ? result.interfaces : result.interfaces.map(entry => only(entry, linkKeys!)),
    ips: result.ips.map(entry => ({
      ...(numbered ? { version: String(familyOf(entry.address)) } : {}),
      ...only(entry, ['address', 'gateway', 'interface']),
    })),
    routes: newest ? result.routes : result.routes.map(entry => only(entry, routeKeys!)),
    dns: result.dns,
  }
}

/** The JSON text that a plugin prints after ADD. */
export const printResult = (result: CniResult, version: CniVersion): string =>
  printCompact({
    cniVersion: version,
    ...(isAtLeast(version, '0.3.0') ? modernForm(result, version) : legacyForm(result)),
  })

/** A result of any version, as `prevResult` brings it. */
export function decodeResult(document: unknown, version: CniVersion): Result<CniResult> {
  if (isAtLeast(version, '0.3.0')) {
    const parsed = modern.safeParse(document)
    if (!parsed.success) return failed(...describeIssues(parsed.error.issues, { schema: modern, input: document }))
    const { interfaces, routes, dns: servers } = parsed.data
    const ips = parsed.data.ips.map(entry => only(entry, ['address', 'gateway', 'interface']) as CniIp)
    const lost = ips.findIndex(entry => entry.interface !== undefined && entry.interface >= interfaces.length)
    if (lost >= 0) return failed({ path: `ips[${lost}].interface`, message: 'is not the index of an interface' })
    return ok({ interfaces, ips, routes, dns: servers })
  }
  const parsed = legacy.safeParse(document)
  if (!parsed.success) return failed(...describeIssues(parsed.error.issues, { schema: legacy, input: document }))
  const { ip4, ip6, dns: servers } = parsed.data
  const given = [ip4, ip6].filter(entry => entry !== undefined)
  return ok({
    interfaces: [],
    ips: given.map(({ ip: cidr, gateway }) => ({ address: cidr, ...(gateway ? { gateway } : {}) })),
    routes: given.flatMap(({ routes }) => routes),
    dns: servers,
  })
}

/** The addresses that a result has on one interface: in a sandbox, or in any. */
export function addressesOn(
  { interfaces, ips }: CniResult,
  where: { readonly name: string; readonly sandbox?: string | undefined },
): Addr[] {
  const isMeant = ({ name, sandbox }: CniInterface): boolean =>
    name === where.name && sandbox !== undefined && (where.sandbox ?? sandbox) === sandbox
  const index = interfaces.findIndex(isMeant)
  return ips.filter(entry => entry.interface === index).map(addressOf)
}

export const addressOf = ({ address: cidr }: CniIp): Addr => prefixBase(parsePrefix(cidr.replace(/\/.*/, ''))!)

/** What a plugin later in a chain prints: what came before, and its own. */
export const appendResult = (before: CniResult, own: CniResult): CniResult => ({
  interfaces: [...before.interfaces, ...own.interfaces],
  ips: [
    ...before.ips,
    ...own.ips.map(entry =>
      entry.interface === undefined ? entry : { ...entry, interface: entry.interface + before.interfaces.length },
    ),
  ],
  routes: [...before.routes, ...own.routes],
  dns: { ...before.dns, ...own.dns },
})
