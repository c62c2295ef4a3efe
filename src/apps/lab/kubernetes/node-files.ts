// The files that make a machine's namespace a Kubernetes node: what containerd, the kubelet and kube-proxy are told.
// Values only; who writes and starts them is in node.ts.
export type NodeFacts = {
  readonly name: string
  /** InternalIP, IPv4 first. */
  readonly addresses: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly cgroupRoot: string
  /** As nodes see it. */
  readonly apiServer: { readonly host: string; readonly address: string }
  readonly pauseImage: string
  /** Paths of the kubelet's certificates. */
  readonly pki: { readonly ca: string; readonly certificate: string; readonly key: string }
  readonly clusterDns: string
  readonly podCidrs: readonly string[]
}

export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock'

/** Rights that the lab's processes may lack: a container cannot lower its own chance to be ended when memory is short. */
export const renderContainerd = ({ pauseImage }: NodeFacts): string => `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

# Else it makes a folder on the machine, outside of its root.
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[grpc]
address = "${CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${pauseImage}"
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
`

/** JSON is YAML: the kubelet reads both. */
export const renderKubelet = (facts: NodeFacts): string =>
  JSON.stringify(
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      failCgroupV1: false,
      cgroupDriver: 'cgroupfs',
      cgroupRoot: `/${facts.cgroupRoot}`,
      cgroupsPerQOS: true,
      enforceNodeAllocatable: ['pods'],
      address: '0.0.0.0',
      healthzBindAddress: '127.0.0.1',
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: facts.pki.ca },
      },
      authorization: { mode: 'Webhook' },
      tlsCertFile: facts.pki.certificate,
      tlsPrivateKeyFile: facts.pki.key,
      containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
      clusterDomain: 'cluster.local',
      clusterDNS: [facts.clusterDns],
      resolvConf: '/etc/resolv.conf',
      volumePluginDir: '/var/lib/kubelet/volume-plugins',
      failSwapOn: false,
      oomScoreAdj: 0,
      maxOpenFiles: 20_000,
      maxPods: 250,
      // The three nodes share one disk and one memory: none may empty itself because the machine is full.
      evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
      imageGCHighThresholdPercent: 100,
      imageGCLowThresholdPercent: 99,
      serializeImagePulls: false,
      nodeStatusUpdateFrequency: '5s',
      // A lab is looked at: what changes shall be seen soon.
      syncFrequency: '10s',
      // Whoever kills what runs there does not want to wait longer and longer for it.
      crashLoopBackOff: { maxContainerRestartPeriod: '1s' },
    },
    null,
    2,
  )

export type ProxyMode = 'nftables' | 'iptables'

/** How large a table of connections may be is the machine's own to say: kube-proxy must not try to. */
export const renderProxy = (
  facts: NodeFacts,
  proxy: { readonly mode: ProxyMode; readonly kubeconfig: string },
): string =>
  JSON.stringify(
    {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      mode: proxy.mode,
      clientConnection: { kubeconfig: proxy.kubeconfig },
      clusterCIDR: facts.podCidrs.join(','),
      hostnameOverride: facts.name,
      conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '24h0m0s', tcpCloseWaitTimeout: '1h0m0s' },
      healthzBindAddress: '127.0.0.1:10256',
      metricsBindAddress: '127.0.0.1:10249',
    },
    null,
    2,
  )

export const renderHosts = ({ name, addresses, apiServer }: NodeFacts): string =>
  [
    '127.0.0.1 localhost',
    '::1 localhost',
    ...addresses.map(address => `${address} ${name}`),
    `${apiServer.address} ${apiServer.host}`,
    '',
  ].join('\n')

/** Settings of the whole machine that the kubelet insists on: it is shown files that have them. */
export const KERNEL_SETTINGS: Readonly<Record<string, string>> = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
}

/** What each node has for itself: a folder of its own under the path of the machine. */
export const OWN_FOLDERS: readonly string[] = [
  '/etc/cni/net.d',
  '/opt/cni/bin',
  '/run',
  '/var/lib/calico',
  '/var/lib/cni',
  '/var/lib/containerd',
  '/var/lib/gingham',
  '/var/lib/kubelet',
  '/var/log/calico',
  '/var/log/containers',
  '/var/log/gingham',
  '/var/log/pods',
]
