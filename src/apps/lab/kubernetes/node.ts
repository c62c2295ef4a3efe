// A Kubernetes node on a machine that it shares with others: network, mounts and host name of its own, its own control
// groups, and in them containerd, the kubelet and kube-proxy. Nothing it mounts is seen outside, and all of it goes with it.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { makeCgroups, removeCgroups, systemProcs } from '../cgroups.ts'
import { lastLines, type Part, startPart } from '../part.ts'
import type { RunFolder } from '../run-folder.ts'
import {
  CONTAINERD_SOCKET,
  KERNEL_SETTINGS,
  type NodeFacts,
  OWN_FOLDERS,
  type ProxyMode,
  renderContainerd,
  renderHosts,
  renderKubelet,
  renderProxy,
} from './node-files.ts'

const run = promisify(execFile)

/** How long a program may take to answer first. */
const PATIENCE_MS = 30_000

export type NodeOptions = {
  /** The network namespace, which is there. */
  readonly netns: string
  /** Makes it anew, with nothing in it but the node's card. */
  readonly renewNetwork: () => void
  readonly facts: NodeFacts
  /** Where a component of Kubernetes is. */
  readonly program: (name: string) => string
  readonly kubeconfig: string
  readonly proxy: { readonly mode: ProxyMode; readonly kubeconfig: string }
  /** Folder of plugins that every node has, such as `portmap`. */
  readonly plugins: string
  /** Image archives. */
  readonly images: readonly string[]
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Runs a command as a member of the node's control groups. */
const asMember = (root: string): string[] => ['sh', '-c', 'echo $$ > "$0" && exec "$@"', systemProcs(root)]

export class KubernetesNode {
  readonly name: string
  readonly #folder: RunFolder
  readonly #options: NodeOptions
  /** Its own files, named as it sees them, are below `root`. */
  readonly #home: string
  #holder: Part | undefined
  containerd: Part | undefined
  kubelet: Part | undefined
  proxy: Part | undefined

  constructor(folder: RunFolder, options: NodeOptions) {
    this.name = options.facts.name
    this.#folder = folder
    this.#options = options
    this.#home = folder.folder(join('nodes', this.name))
  }

  /** Where a file of the node is on the machine. */
  path = (path: string): string => join(this.#home, 'root', path)

  /** The words before a command that is to run on the node. */
  get #within(): string[] {
    const { pid } = this.#holder!.id
    return [
      ...asMember(this.#options.facts.cgroupRoot),
      ...['nsenter', '--target', String(pid), '--net', '--mount', '--uts', '--'],
    ]
  }

  /** Runs a command on the node to its end; what it printed. */
  async run(...command: string[]): Promise<string> {
    const words = [...this.#within, ...command]
    const { stdout } = await run(words[0]!, words.slice(1), { maxBuffer: 64 * 1024 * 1024 })
    return stdout
  }

  /** Everything up to a kubelet that runs; whether its node is Ready is for the cluster to say. */
  async start(): Promise<void> {
    this.#folder.recordCgroup(this.#options.facts.cgroupRoot)
    await this.#boot()
    // One after the other: they go to one disk.
    for (const image of this.#options.images) await this.run('ctr', '--namespace', 'k8s.io', 'images', 'import', image)
  }

  /** Its machine loses power and starts again: what was in memory is gone, what is on its disk is kept. */
  async reboot(): Promise<void> {
    const { facts, renewNetwork } = this.#options
    await removeCgroups(facts.cgroupRoot)
    rmSync(this.path('/run'), { recursive: true })
    rmSync(this.#ready)
    renewNetwork()
    await this.#boot()
  }

  async #boot(): Promise<void> {
    await this.#enter()
    await this.startContainerd()
    this.startKubelet()
    this.startProxy()
  }

  /** There as soon as the node's view is made. */
  get #ready(): string {
    return join(this.#home, 'ready')
  }

  /** Makes the node's own view of the machine, and a process that holds it. */
  async #enter(): Promise<void> {
    const { facts, netns } = this.#options
    makeCgroups(facts.cgroupRoot)
    for (const path of OWN_FOLDERS) {
      this.#folder.makeMountPoint(path)
      mkdirSync(this.path(path), { recursive: true })
    }
    const file = (name: string, text: string): string => {
      const path = join(this.#home, name)
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, text)
      return path
    }
    file('containerd.toml', renderContainerd(facts))
    file('kubelet.json', renderKubelet(facts))
    const mounts = [
      ...Object.entries(KERNEL_SETTINGS).map(([key, value]) => [
        file(`settings/${key}`, `${value}\n`),
        `/proc/sys/${key}`,
      ]),
      [file('hosts', renderHosts(facts)), '/etc/hosts'],
      [file('resolv.conf', `nameserver ${facts.clusterDns}\n`), '/etc/resolv.conf'],
    ] as const
    const script = [
      'mount --make-rshared /',
      `hostname ${quote(facts.name)}`,
      // A sysfs shows the network of who mounts it; the control groups are carried over.
      `mkdir -p ${quote(join(this.#home, 'sys'))}`,
      `mount -t sysfs sysfs ${quote(join(this.#home, 'sys'))}`,
      `mount --rbind /sys/fs/cgroup ${quote(join(this.#home, 'sys/fs/cgroup'))}`,
      `mount --rbind ${quote(join(this.#home, 'sys'))} /sys`,
      ...mounts.map(([from, to]) => `mount --bind ${quote(from!)} ${quote(to!)}`),
      ...OWN_FOLDERS.flatMap(path => [
        `mount --bind ${quote(this.path(path))} ${quote(path)}`,
        // A group of its own, so that what is mounted below it is mounted once.
        `mount --make-private ${quote(path)}`,
        `mount --make-shared ${quote(path)}`,
      ]),
      'mkdir -p /run/netns /run/lock',
      `cp -n ${quote(this.#options.plugins)}/* /opt/cni/bin/`,
      `touch ${quote(this.#ready)}`,
      'exec sleep infinity',
    ]
    this.#holder = startPart(this.#folder, {
      name: `${facts.name}-holder`,
      through: [
        ...asMember(facts.cgroupRoot),
        ...[
          'nsenter',
          `--net=/run/netns/${netns}`,
          '--',
          'unshare',
          '--mount',
          '--uts',
          '--propagation',
          'private',
          '--',
        ],
      ],
      command: ['sh', '-e', file('setup.sh', `${script.join('\n')}\n`)],
    })
    await this.#until(this.#holder, () => existsSync(this.#ready))
  }

  #start(name: string, command: readonly string[]): Part {
    return startPart(this.#folder, { name: `${this.name}-${name}`, through: this.#within, command })
  }

  /** Waits for what a part is to bring about; its log's end is the error if it does not. */
  async #until(part: Part, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    while (!holds()) {
      if (!part.alive()) throw new Error(`${part.name} ended: ${lastLines(part.log)}`)
      if (performance.now() > deadline)
        throw new Error(`${part.name} is not ready after ${PATIENCE_MS / 1000} s: ${lastLines(part.log)}`)
      await delay(20)
    }
  }

  async startContainerd(): Promise<void> {
    this.containerd = this.#start('containerd', ['containerd', '--config', join(this.#home, 'containerd.toml')])
    await this.#until(this.containerd, () => existsSync(this.path(CONTAINERD_SOCKET)))
  }

  startKubelet(): void {
    const { program, kubeconfig, facts } = this.#options
    this.kubelet = this.#start('kubelet', [
      program('kubelet'),
      ...['--config', join(this.#home, 'kubelet.json'), '--kubeconfig', kubeconfig],
      ...['--hostname-override', facts.name, '--node-ip', facts.addresses.join(','), '--root-dir', '/var/lib/kubelet'],
      `--node-labels=${Object.entries(facts.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(',')}`,
    ])
  }

  startProxy(): void {
    const { program, proxy, facts } = this.#options
    const config = join(this.#home, 'kube-proxy.json')
    writeFileSync(config, renderProxy(facts, proxy))
    this.proxy = this.#start('kube-proxy', [program('kube-proxy'), '--config', config])
  }
}
