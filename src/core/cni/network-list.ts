// The network that a container runtime finds on a host: our plugin, then the reference plugins that Calico chains behind it,
// as far as the host has them. The names are Calico's, so that a host's own automation and a later change back find them.
import { printCompact } from './print.ts'

/** The client answers to each: `calico` is what a Calico host's network names, `calico-ipam` its address management. */
export const PLUGIN_NAMES = ['gingham', 'calico', 'calico-ipam'] as const

/** The first file of the folder is the network that counts; this is Calico's. */
export const NETWORK_FILE = '10-calico.conflist'
export const NETWORK_NAME = 'k8s-pod-network'

/** Chained behind ours, with what the runtime passes them on to. */
const CHAINED = {
  portmap: { type: 'portmap', snat: true, capabilities: { portMappings: true } },
  bandwidth: { type: 'bandwidth', capabilities: { bandwidth: true } },
} as const
export type ChainedPlugin = keyof typeof CHAINED
export const CHAINED_PLUGINS = Object.keys(CHAINED) as readonly ChainedPlugin[]

export type NetworkListOptions = {
  /** Of pods' interfaces; without it the agent decides. */
  readonly mtu?: number
  readonly families?: { readonly ipv4: boolean; readonly ipv6: boolean }
  readonly chained?: readonly ChainedPlugin[]
}

/** The conflist as text. */
export function printNetworkList({ mtu, families, chained = CHAINED_PLUGINS }: NetworkListOptions = {}): string {
  const { ipv4, ipv6 } = families ?? { ipv4: true, ipv6: false }
  const own = {
    type: 'calico',
    ...(mtu === undefined ? {} : { mtu }),
    ipam: { type: 'calico-ipam', assign_ipv4: String(ipv4), assign_ipv6: String(ipv6) },
  }
  return printCompact({
    name: NETWORK_NAME,
    cniVersion: '0.4.0',
    plugins: [own, ...chained.map(name => CHAINED[name])],
  })
}
