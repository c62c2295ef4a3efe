// What of Kubernetes' own end-to-end suite is run on the lab's cluster: every spec of sig-network but those that need something
// that the lab is not, each sort with its reason. The patterns are Ginkgo's (Go's RE2).

/** What docs/conformance.md is about. */
export const FOCUS = String.raw`\[sig-network\]`

/** Programs with an image each. */
export const SUITE_IMAGES = ['agnhost', 'regression-issue-74839'] as const
/** Images that the test server's, with its tools, is as good as: specs use a shell of them, or only that they run. */
export const STANDS_FOR = ['agnhost', 'busybox', 'nginx', 'glibc-dns-testing', 'distroless-iptables', 'pause'] as const

export type LeftOut = { readonly pattern: string; readonly what: string; readonly why: string }

const feature = (name: string, why: string): LeftOut => ({ pattern: `Feature:${name}`, what: `Feature:${name}`, why })

export const LEFT_OUT: readonly LeftOut[] = [
  feature(
    'SCTPConnectivity',
    'the kernel of the machines that this is developed on has no SCTP sockets; policies that name SCTP are tested by the specs that remain and by packets of test/cluster',
  ),
  feature('LoadBalancer', 'there is no load balancer in front of the lab'),
  feature('LocalhostNodePorts', 'kube-proxy serves node ports on localhost in its iptables mode only'),
  feature('KubeProxyNFAcct', 'an accounting of kube-proxy in its iptables mode only'),
  feature('Networking-', 'the lab has no way to the internet, and no iperf image'),
  feature('PerformanceDNS', 'a load test of the name server'),
  {
    pattern: String.raw`\[Disruptive\]`,
    what: 'Disruptive',
    why: 'they log in at the machine of a node by SSH; that an API server is killed is part of `npm run soak -- kubernetes-kills`',
  },
  {
    pattern: 'Forward PTR lookup',
    what: 'DNS configMap nameserver Forward PTR lookup',
    why: "it asks the internet's name servers for an address of theirs",
  },
  { pattern: 'Provider:gce', what: 'Provider:gce', why: 'this is not that cloud' },
]

export const SKIP = LEFT_OUT.map(({ pattern }) => pattern).join('|')

/** For a short look, of each sort of policy one: closed, by port, by namespace, outgoing, and a policy that changes. */
export const SMOKE_FOCUS = `Netpol.*(${[
  "support a 'default-deny-ingress' policy",
  'enforce policy based on Ports',
  'enforce policy based on NamespaceSelector with MatchExpressions',
  'support a .default-deny-all. policy',
  'enforce updated policy',
].join('|')})`
