// The network configuration that a runtime puts on our standard input: Calico's keys, as in its conflist. Keys that only
// concern Calico's own way of running (datastore, certificates, Kubernetes credentials, Windows) are the agent's business
// here and are passed over, as are those that runtimes add.
import { z } from 'zod'
import { failed, ok, type Result } from '../base/problem.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { EVERYWHERE, type Prefix, parsePrefix, prefix, prefixFamily } from '../net/prefix.ts'
import { leaf, mistake, net, text } from '../resources/field.ts'
import { describeIssues } from '../resources/issues.ts'
import { HOST_LOCAL } from './host-local.ts'

/** Calico's own type of these two is a text. */
const boolText = (value: boolean) =>
  z
    .union([z.boolean(), z.enum(['true', 'false'])])
    .default(value)
    .transform(given => given === true || given === 'true')

/** Names or CIDRs of pools of one family. */
export const poolList = (family: Family) =>
  z
    .array(
      leaf(z.string(), value => {
        if (value === '') return mistake('is an empty name')
        const cidr = parsePrefix(value)
        if (cidr !== undefined && prefixFamily(cidr) !== family) return mistake(`is not an IPv${family} pool`)
        return ok(value)
      }),
    )
    .readonly()

const ipam = z.looseObject({
  type: z.enum(['calico-ipam', HOST_LOCAL]).default('calico-ipam'),
  assign_ipv4: boolText(true),
  assign_ipv6: boolText(false),
  ipv4_pools: poolList(4).default([]),
  ipv6_pools: poolList(6).default([]),
  /** Of host-local only, which reads the rest of its keys itself. A gateway is passed over: the pod's is always the node. */
  routes: z.array(z.looseObject({ dst: net() })).default([]),
})

const gate = z.url({ protocol: /^https?$/, error: 'is not an http or https URL' })

const dns = z.looseObject({
  nameservers: z.array(z.string()).optional(),
  domain: z.string().optional(),
  search: z.array(z.string()).optional(),
  options: z.array(z.string()).optional(),
})

/** What CNI calls an attachment: one interface of one container. */
const attachment = z.looseObject({ containerID: z.string(), ifname: z.string() })

const schema = z.looseObject({
  // The specification's alphabet for network names: it becomes part of IPAM handles.
  name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, 'is not a network name: letters, digits, _ . - only'),
  type: z.string(),
  mtu: z.int().min(0).max(65535).default(0),
  num_queues: z.int().min(1).max(4096).default(1),
  nodename: text(),
  /** Read only if it is named: an agent that serves knows its node. */
  nodename_file: text(),
  nodename_file_optional: z.boolean().default(false),
  require_mtu_file: z.boolean().default(false),
  readiness_gates: z.array(gate).default([]),
  ipam: ipam.prefault({}),
  policy: z.looseObject({ type: text() }).prefault({}),
  kubernetes: z.looseObject({ node_name: text() }).prefault({}),
  container_settings: z.looseObject({ allow_ip_forwarding: z.boolean().default(false) }).prefault({}),
  /** Beside the routes of one's own that host-local IPAM may have. */
  include_default_routes: z.boolean().default(false),
  /** 0: ADD waits for the policy as long as the agent is patient, and fails then. */
  policy_setup_timeout_seconds: z.int().min(0).max(600).default(0),
  feature_control: z
    .looseObject({ ip_addrs_no_ipam: z.boolean().default(false), floating_ips: z.boolean().default(false) })
    .prefault({}),
  device_type: z.enum(['', 'veth']).default(''),
  dataplane_options: z.looseObject({ type: z.enum(['', 'linux']).default('') }).prefault({}),
  log_level: text(),
  dns: dns.prefault({}),
  /** GC only: whatever is not in it is gone. */
  'cni.dev/valid-attachments': z.array(attachment).optional(),
  prevResult: z.unknown().optional(),
})

export type NetworkConfig = {
  readonly name: string
  /** Of both ends; undefined leaves it to the node. */
  readonly mtu: number | undefined
  readonly queues: number
  /** Which node the configuration was written for, if it says so. */
  readonly node: string | undefined
  /** A file that names the node; undefined if the configuration has the name itself. */
  readonly nodeFile: { readonly path: string; readonly optional: boolean } | undefined
  /** Whether a pod whose MTU nobody knows has to wait. */
  readonly requiresMtu: boolean
  /** URLs that must answer before a pod gets a network. */
  readonly gates: readonly string[]
  /** Who gives the addresses: our own IPAM, or the reference plugin. */
  readonly ipam: 'calico-ipam' | typeof HOST_LOCAL
  readonly families: readonly Family[]
  /** Pools asked for, by name or CIDR; empty: any. */
  readonly pools: Readonly<Record<Family, readonly string[]>>
  /** What the pod reaches over its interface. */
  readonly routes: readonly Prefix[]
  /** Whether a pod may name addresses that no IPAM knows of. */
  readonly allowsNoIpam: boolean
  readonly allowForwarding: boolean
  readonly policyTimeoutSeconds: number
  readonly dns: z.output<typeof dns>
  readonly validAttachments: readonly { readonly containerId: string; readonly ifName: string }[] | undefined
  /** Undecoded. */
  readonly prevResult: unknown
  /** All of it as it came, for a plugin that is asked in our stead. */
  readonly document: { readonly [key: string]: unknown }
}

/** A parsed JSON document as a configuration, or what is wrong with it. */
export function decodeConfig(document: unknown): Result<NetworkConfig> {
  const parsed = schema.safeParse(document)
  if (!parsed.success) return failed(...describeIssues(parsed.error.issues, { schema, input: document }))
  const config = parsed.data
  const assigns: Readonly<Record<Family, boolean>> = { 4: config.ipam.assign_ipv4, 6: config.ipam.assign_ipv6 }
  const families = FAMILIES.filter(family => assigns[family])
  const node = config.nodename ?? config.kubernetes.node_name
  const path = config.nodename_file
  const own = config.ipam.type === HOST_LOCAL ? config.ipam.routes.map(({ dst }) => prefix(dst)) : []
  const withDefaults = own.length === 0 || config.include_default_routes
  return ok({
    name: config.name,
    mtu: config.mtu || undefined,
    queues: config.num_queues,
    node,
    nodeFile: node === undefined && path !== undefined ? { path, optional: config.nodename_file_optional } : undefined,
    requiresMtu: config.require_mtu_file,
    gates: config.readiness_gates,
    ipam: config.ipam.type,
    families,
    pools: { 4: config.ipam.ipv4_pools, 6: config.ipam.ipv6_pools },
    routes: [...new Set([...own, ...(withDefaults ? EVERYWHERE : [])])],
    allowsNoIpam: config.feature_control.ip_addrs_no_ipam,
    allowForwarding: config.container_settings.allow_ip_forwarding,
    policyTimeoutSeconds: config.policy_setup_timeout_seconds,
    dns: config.dns,
    validAttachments: config['cni.dev/valid-attachments']?.map(a => ({ containerId: a.containerID, ifName: a.ifname })),
    prevResult: config.prevResult,
    document: document as NetworkConfig['document'],
  })
}
