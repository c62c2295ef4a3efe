// A Kubernetes cluster on this machine: the lab's network, a control plane on a segment of its own behind the router, and
// the lab's three nodes as Kubernetes nodes. It comes without a network for pods: that is what is to be installed.
import { execFile } from 'node:child_process'
import type { Part } from '../part.ts'
import { NODES, names } from '../plan.ts'
import type { RunFolder } from '../run-folder.ts'
import type { Steps } from '../terminal.ts'
import { buildTopology, ipBatch, NODE_INTERFACE, renewNode } from '../topology.ts'
import { componentPath, missingComponents } from './components.ts'
import { ControlPlane } from './control-plane.ts'
import { makeCredentials, startControllers } from './controllers.ts'
import { KubernetesNode } from './node.ts'
import type { ProxyMode } from './node-files.ts'

/** The segment of the control plane. */
const CONTROL = { network: 24, router: '172.30.100.1', address: '172.30.100.10' } as const
const API_PORT = 6443
const CLUSTER_DNS = '10.96.0.10'
/** Debian's folder of the reference plugins. */
const PLUGINS = '/usr/lib/cni'

export const CLUSTER_COMPONENTS: readonly string[] = [
  ...['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy', 'kubectl'],
]

export type ClusterOptions = {
  readonly prefix: string
  /** Archives that every node gets. */
  readonly images: readonly string[]
  readonly pauseImage: string
  readonly proxy: ProxyMode
  /** Told what is being done. */
  readonly step: Steps['step']
}

export class Cluster {
  readonly control: ControlPlane
  readonly nodes: ReadonlyMap<string, KubernetesNode>
  readonly controllers: readonly Part[]

  private constructor(control: ControlPlane, nodes: ReadonlyMap<string, KubernetesNode>, controllers: readonly Part[]) {
    this.control = control
    this.nodes = nodes
    this.controllers = controllers
  }

  /** Everything up to nodes that are registered; they get Ready with the network for pods. */
  static async start(folder: RunFolder, options: ClusterOptions): Promise<Cluster> {
    const missing = missingComponents(CLUSTER_COMPONENTS)
    if (missing.length > 0) throw new Error(`${missing.join(', ')}: not built (npm run kubernetes:build)`)
    const { prefix } = options
    let started: { control: ControlPlane; controllers: readonly Part[]; nodes: Map<string, KubernetesNode> } | undefined
    await options.step('network', () => {
      buildTopology(folder, prefix)
      return `${NODES.map(({ name }) => name).join(', ')} and a control plane behind a router`
    })
    await options.step('control plane', async () => {
      const control = await ControlPlane.start(folder, { prefix, address: CONTROL.address })
      connectControl(prefix, control.namespace)
      const nodes = NODES.map(({ name, address }) => ({ name, addresses: [address[4], address[6]] }))
      const credentials = await makeCredentials(control.pki, `https://${CONTROL.address}:${API_PORT}`, nodes)
      const controllers = startControllers(folder, { namespace: control.namespace, pki: control.pki, credentials })
      started = { control, controllers, nodes: new Map() }
      for (const place of NODES) {
        const { name, rack, address } = place
        const node = new KubernetesNode(folder, {
          netns: names(prefix).node(name),
          renewNetwork: () => renewNode(prefix, place),
          facts: {
            name,
            addresses: [address[4], address[6]],
            // A zone each: what services prefer by zone can be seen.
            labels: { rack: rack.name.replace('rack', ''), 'topology.kubernetes.io/zone': `zone-${name}` },
            cgroupRoot: names(prefix).node(name),
            apiServer: { host: 'control-plane', address: CONTROL.address },
            pauseImage: options.pauseImage,
            pki: {
              ca: `${control.pki}/ca.crt`,
              certificate: `${control.pki}/kubelet-${name}.crt`,
              key: `${control.pki}/kubelet-${name}.key`,
            },
            clusterDns: CLUSTER_DNS,
            podCidrs: [],
          },
          program: componentPath,
          kubeconfig: credentials.kubeconfig(`kubelet-${name}`),
          proxy: { mode: options.proxy, kubeconfig: credentials.kubeconfig('kube-proxy') },
          plugins: PLUGINS,
          images: options.images,
        })
        started.nodes.set(name, node)
      }
      return 'etcd, kube-apiserver, kube-controller-manager, kube-scheduler'
    })
    const { control, controllers, nodes } = started!
    const cluster = new Cluster(control, nodes, controllers)
    await options.step('nodes', async () => {
      await Promise.all([...nodes.values()].map(node => node.start()))
      await cluster.until('the nodes are registered', async () => {
        const registered = await cluster.kubectl('get', 'nodes', '-o', 'name')
        return NODES.every(({ name }) => registered.includes(`node/${name}\n`))
      })
      return 'each with containerd, kubelet and kube-proxy'
    })
    return cluster
  }

  /** Runs kubectl as the administrator; what it printed. Throws its own words. */
  kubectl = (...args: string[]): Promise<string> => this.kubectlWith('', ...args)

  /** The same, with something on its standard input. */
  kubectlWith(input: string, ...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        componentPath('kubectl'),
        [`--kubeconfig=${this.control.kubeconfig}`, ...args],
        { maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) =>
          error ? reject(new Error(`kubectl ${args.join(' ')}: ${stderr.trim()}`)) : resolve(stdout),
      )
      child.stdin!.end(input)
    })
  }

  /** Waits for something; the error says what. */
  async until(what: string, holds: () => Promise<boolean>, seconds = 60): Promise<void> {
    const deadline = performance.now() + seconds * 1000
    for (;;) {
      if (await holds()) return
      if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`)
      await new Promise(resolve => setTimeout(resolve, 200))
    }
  }

  /** Ends what this process holds; the run folder's record ends the rest. */
  stop = (): Promise<void> => this.control.stop()
}

/** Plugs the control plane into the router. */
function connectControl(prefix: string, namespace: string): void {
  ipBatch(names(prefix).router, [
    `link add to-control type veth peer name ${NODE_INTERFACE} netns ${namespace}`,
    `address add ${CONTROL.router}/${CONTROL.network} dev to-control`,
    'link set to-control up',
  ])
  ipBatch(namespace, [
    `address add ${CONTROL.address}/${CONTROL.network} dev ${NODE_INTERFACE}`,
    `link set ${NODE_INTERFACE} up`,
    `route add default via ${CONTROL.router}`,
  ])
}
