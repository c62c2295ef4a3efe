// Pods as network namespaces, wired by the CNI plugin exactly as a container runtime does it: the plugin is started in the
// node's namespace, with CNI_* variables and the network configuration on its standard input. All work is the agent's.
import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sha1Hex } from '../../core/base/hash.ts'
import { type Addr, parseAddr } from '../../core/net/addr.ts'
import { inNetns, namedNetns } from '../../io/kernel/netns.ts'
import { names } from './plan.ts'
import type { RunFolder } from './run-folder.ts'
import { addNamespace, ipBatch } from './topology.ts'

export type LabPod = {
  readonly node: string
  readonly namespace: string
  readonly name: string
  /** A kubelet tells it; without it the agent asks the datastore which pod is meant. */
  readonly uid?: string
}
export type WiredPod = LabPod & { readonly netns: string; readonly addresses: readonly Addr[] }

/** What a container runtime finds in /etc/cni/net.d. */
export const NETWORK = {
  cniVersion: '1.0.0',
  name: 'k8s-pod-network',
  type: 'gingham',
  ipam: { type: 'calico-ipam', assign_ipv4: 'true', assign_ipv6: 'true' },
} as const

/** The plugin refused, in the words of the CNI specification. */
export class CniError extends Error {
  readonly code: number
  constructor(
    command: string,
    pod: LabPod,
    error: { readonly code: number; readonly msg: string; readonly details?: string },
  ) {
    super(`CNI ${command} for ${pod.namespace}/${pod.name}: ${error.msg}${error.details ? `: ${error.details}` : ''}`)
    this.name = 'CniError'
    this.code = error.code
  }
}

export type CniCommand = 'ADD' | 'DEL' | 'CHECK'

/**
 * A node's own copy of the plugin, in its folder of plugins, with the path of its agent's socket beside it: the three nodes of
 * the lab share one file system, which real nodes do not.
 */
export function installPlugin(
  folder: RunFolder,
  node: { readonly name: string; readonly agentSocket: string; readonly client: string },
): string {
  const bin = join(folder.folder(node.name), 'cni-bin')
  mkdirSync(bin, { recursive: true })
  const plugin = join(bin, NETWORK.type)
  copyFileSync(node.client, plugin)
  writeFileSync(`${plugin}.socket`, `${node.agentSocket}\n`)
  return plugin
}

const run = promisify(execFile)

export class Pods {
  readonly #folder: RunFolder
  readonly #prefix: string
  /** The plugin of each node. */
  readonly #plugins: ReadonlyMap<string, string>

  constructor(folder: RunFolder, options: { readonly prefix: string; readonly plugins: ReadonlyMap<string, string> }) {
    this.#folder = folder
    this.#prefix = options.prefix
    this.#plugins = options.plugins
  }

  netns = ({ namespace, name }: LabPod): string => names(this.#prefix).pod(namespace, name)

  /** Makes the pod's namespace, as a runtime does before it calls the plugin. */
  prepare(pod: LabPod): string {
    const netns = this.netns(pod)
    addNamespace(this.#folder, netns)
    ipBatch(netns, ['link set lo up'])
    return netns
  }

  /** Removes the pod's namespace. */
  forget(pod: LabPod): void {
    this.#removeNamespace(this.netns(pod))
  }

  /** Makes the pod's namespace and has the plugin wire it; without a wired pod no namespace stays behind. */
  async create(pod: LabPod): Promise<WiredPod> {
    const netns = this.prepare(pod)
    try {
      const result = await this.call('ADD', pod)
      const ips = (result as { ips?: { address: string }[] }).ips ?? []
      const addresses = ips.flatMap(({ address }) => parseAddr(address.split('/')[0]!) ?? [])
      return { ...pod, netns, addresses }
    } catch (error) {
      this.forget(pod)
      throw error
    }
  }

  /** Has the plugin take the pod's network away, then removes its namespace. */
  async remove(pod: LabPod): Promise<void> {
    await this.call('DEL', pod)
    this.forget(pod)
  }

  /** One call of the plugin; its result, or `CniError`. */
  async call(command: CniCommand, pod: LabPod): Promise<unknown> {
    const plugin = this.#plugins.get(pod.node)
    if (plugin === undefined) throw new Error(`no node ${pod.node}`)
    const netns = this.netns(pod)
    const identity = [
      'IgnoreUnknown=1',
      `K8S_POD_NAMESPACE=${pod.namespace}`,
      `K8S_POD_NAME=${pod.name}`,
      `K8S_POD_INFRA_CONTAINER_ID=${containerId(netns)}`,
      ...(pod.uid === undefined ? [] : [`K8S_POD_UID=${pod.uid}`]),
    ]
    const env = {
      PATH: process.env.PATH,
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId(netns),
      CNI_NETNS: namedNetns(netns),
      CNI_IFNAME: 'eth0',
      CNI_ARGS: identity.join(';'),
      CNI_PATH: join(plugin, '..'),
    }
    // A process begins its life in the namespace of the thread that starts it.
    const node = namedNetns(names(this.#prefix).node(pod.node))
    const { ended } = inNetns(node, () => ({ ended: run(plugin, { env }) }))
    ended.child.stdin!.end(JSON.stringify(NETWORK))
    try {
      const { stdout } = await ended
      return stdout.trim() === '' ? {} : JSON.parse(stdout)
    } catch (error) {
      throw refusal(command, pod, error)
    }
  }

  #removeNamespace(netns: string): void {
    execFileSync('ip', ['netns', 'delete', netns])
    this.#folder.forgetNamespace(netns)
  }
}

/** 64 hexadecimal digits, as runtimes have them; the same for the same pod, so that a call can be repeated. */
const containerId = (netns: string): string => `${sha1Hex(netns)}${sha1Hex(`${netns} `)}`.slice(0, 64)

function refusal(command: string, pod: LabPod, error: unknown): Error {
  const { stdout, stderr } = error as { stdout?: string; stderr?: string }
  try {
    return new CniError(command, pod, JSON.parse(stdout ?? ''))
  } catch {
    return new Error(
      `CNI ${command} for ${pod.namespace}/${pod.name}: ${(stderr ?? '').trim() || (error as Error).message}`,
    )
  }
}
