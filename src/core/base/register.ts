// The one register of scarce names: what we claim in a kernel or on a host that others share. Everything that takes one
// imports it from here.

/** Our nftables table, family inet. */
export const NFT_TABLE = 'gingham'
/** Tables (families ip and ip6) of programs that share the host's services among pods, beside us and before us. */
export const SERVICE_PROXIES: readonly string[] = ['kube-proxy']
/** Route protocol of the routes to local pods: RTPROT_BOOT, Calico's deviceRouteProtocol default. */
export const POD_ROUTE_PROTOCOL = 3
/** Prefix of pods' host interfaces unless FelixConfiguration interfacePrefix says otherwise. */
export const INTERFACE_PREFIX = 'cali'
/** MAC address of the host side of a pod's veth; the pod's neighbour table never needs to change. */
export const HOST_MAC = 'ee:ee:ee:ee:ee:ee'
/** The pod's gateway: answered by proxy ARP (IPv4) and by the host side's link-local address (IPv6). */
export const GATEWAY4 = '169.254.1.1'
export const GATEWAY6 = 'fe80::ecee:eeff:feee:eeee'
/** The host's ends of the canary's two links: workload interfaces, with names that are nobody's hash. */
export const CANARY_INTERFACE = { receiver: 'calicanary0', sender: 'calicanary1' } as const
/** Out of the networks for benchmarks (RFC 2544, RFC 5180): of those for special purposes the ones that may be forwarded. */
export const CANARY_ADDRESSES = {
  receiver: { 4: '198.18.213.1', 6: '2001:2:0:d5::1' },
  sender: { 4: '198.18.213.2', 6: '2001:2:0:d5::2' },
} as const
/**
 * The bit of a packet's mark that says: policy before connection tracking or address translation allowed it, and host endpoints
 * need not judge it again as it comes in. Calico's first one; kube-proxy has 0x4000 and 0x8000.
 */
export const ACCEPT_MARK = 0x10000
/** NFLOG group of Log rules where the kernel's own log is silent; Calico's flow logs take 1 and 2. */
export const LOG_GROUP = 26473
/** BGP: default AS number of a cluster. */
export const DEFAULT_AS = 64512
