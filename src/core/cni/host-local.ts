// The configuration that the reference plugin `host-local` gets when it gives the addresses: the one that we got, with
// Calico's words for the node's own networks replaced, and with the addresses that the pod asks for.
import { failed, ok, type Result } from '../base/problem.ts'
import { type Addr, type Family, familyOf } from '../net/addr.ts'
import { EVERYWHERE } from '../net/prefix.ts'

export const HOST_LOCAL = 'host-local'

type Fields = { readonly [key: string]: unknown }
const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})

/** Matched without regard to case, as in Calico. */
const WORDS: Readonly<Record<string, Family>> = { usepodcidr: 4, usepodcidripv6: 6 }

const familyAsked = (subnet: unknown): Family | undefined =>
  typeof subnet === 'string' ? WORDS[subnet.toLowerCase()] : undefined

/** What stands for the node's networks where only their form matters: DEL goes by the container, and its node may be gone. */
export const ANY_NETWORK = EVERYWHERE

/** `networks`: the node's (`Node.spec.podCIDRs`). Without requested addresses any will do. */
export function hostLocalConfig(
  document: Fields,
  { networks, requested = [] }: { readonly networks: readonly string[]; readonly requested?: readonly Addr[] },
): Result<Fields> {
  const missing: string[] = []
  const replaced = (holder: Fields): Fields => {
    const family = familyAsked(holder.subnet)
    if (family === undefined) return holder
    const subnet = networks.find(network => familyOf(network) === family)
    if (subnet === undefined) missing.push(`${holder.subnet}, but the node has no IPv${family} network for pods`)
    return { ...holder, subnet }
  }
  const ipam = replaced(fieldsOf(document.ipam))
  // Sets of ranges: one address out of each set.
  const sets = Array.isArray(ipam.ranges) ? (ipam.ranges as unknown[]) : undefined
  const ranges = sets?.map(set => (Array.isArray(set) ? set.map(range => replaced(fieldsOf(range))) : set))
  if (missing[0] !== undefined) {
    const fix = 'give the node podCIDRs (kube-controller-manager --allocate-node-cidrs), or write the subnet'
    return failed({ path: 'ipam.subnet', message: `is ${missing[0]}`, fix })
  }
  const args = fieldsOf(document.args)
  const asking = { args: { ...args, cni: { ...fieldsOf(args.cni), ips: requested } } }
  return ok({
    ...document,
    ...(requested.length > 0 ? asking : {}),
    ipam: { ...ipam, ...(ranges === undefined ? {} : { ranges }) },
  })
}

/** Whether the configuration asks for networks that only the node's object tells. */
export const asksForNodeNetworks = (document: Fields): boolean => !hostLocalConfig(document, { networks: [] }).ok
