// The lab on a real Kubernetes, step by step: the programs, the image, the cluster, this project installed in it as anybody
// would, Deployments, routes. What `npm start -- --kubernetes` shows, and what tests on a whole cluster use.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { VERSION } from '../../../core/base/version.ts'
import { parseAddr } from '../../../core/net/addr.ts'
import { derived } from '../../../core/resources/derive.ts'
import type { Snapshot } from '../../../core/resources/resource.ts'
import type { Bird } from '../../../io/bird/bird.ts'
import { KubernetesStore } from '../../../io/store/kubernetes/store.ts'
import { readSnapshot } from '../../../io/store/resource-watch.ts'
import type { Store } from '../../../io/store/store.ts'
import { processesOfPod } from '../cgroups.ts'
import { type AgentSockets, waitUntilEnforced, waitUntilRouted } from '../cluster.ts'
import { example, ROOT } from '../commands.ts'
import type { Probe } from '../matrix.ts'
import type { LabOptions } from '../options.ts'
import { NODES, names } from '../plan.ts'
import type { WiredPod } from '../pods.ts'
import { observeAndJudge, Prober } from '../probing.ts'
import { startRouter } from '../router.ts'
import type { RunFolder } from '../run-folder.ts'
import type { Steps } from '../terminal.ts'
import { buildComponents } from './build.ts'
import { CLUSTER_COMPONENTS, Cluster } from './cluster.ts'
import { componentPath } from './components.ts'

const run = promisify(execFile)

const STRAGGLERS_MS = 500

const IMAGES = ['gingham', 'gingham-pause'] as const
const archive = (name: string): string => path.join(ROOT, 'build/image', `${name}.tar`)
/** What a pod may run that is only there to have a network. */
export const PAUSE_IMAGE = `localhost/gingham-pause:${VERSION}`

/** How kubectl is told the agent of a node. */
export const agentOn = (node: string): readonly string[] => [
  ...['-n', 'kube-system', '-l', 'app.kubernetes.io/name=gingham'],
  ...['--field-selector', `spec.nodeName=${node}`],
]

/** What a person may try next, with a shell's words for it. */
export function kubernetesHints({ run: folder, prefix }: LabOptions): string {
  const kubectl = componentPath('kubectl')
  return `Try next:
  export KUBECONFIG=${path.join(folder, 'kubeconfig')}
  alias kubectl=${kubectl}
  kubectl get pods -A -o wide
  kubectl get networkpolicies.projectcalico.org
  kubectl -n kube-system logs daemonset/gingham-node
  kubectl -n kube-system exec daemonset/gingham-node -- gingham status
  ip netns exec ${names(prefix).node('node-a')} nft list table inet gingham
`
}

type PodJson = {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string }
  readonly spec: { readonly nodeName?: string; readonly hostNetwork?: boolean }
  readonly status: { readonly phase?: string; readonly podIPs?: readonly { readonly ip: string }[] }
}

export class KubernetesLab {
  readonly #folder: RunFolder
  readonly #options: LabOptions
  readonly #steps: Steps
  readonly #images: readonly string[]
  #cluster: Cluster | undefined
  #store: Store | undefined
  #router: Bird | undefined
  #prober: Prober | undefined
  wired: readonly WiredPod[] = []

  /** `images`: archives in build/image that nodes get besides this project's own. */
  constructor(folder: RunFolder, options: LabOptions, steps: Steps, images: readonly string[] = []) {
    this.#images = [...IMAGES, ...images]
    this.#folder = folder
    this.#options = options
    this.#steps = steps
  }

  get prefix(): string {
    return this.#options.prefix
  }

  /** The datastore as the agents see it. */
  get store(): Store {
    return this.#store!
  }

  get cluster(): Cluster {
    return this.#cluster!
  }

  /** Everything up to a cluster in which this project is installed. */
  async start(): Promise<void> {
    await this.startCluster()
    await this.installNetwork()
  }

  /** A cluster without a network for pods. */
  async startCluster(): Promise<void> {
    const step = this.#steps.step.bind(this.#steps)
    await buildComponents({ names: CLUSTER_COMPONENTS, say: text => this.#steps.say(text) })
    await step('image', async () => {
      const { stdout } = await run(process.execPath, [path.join(ROOT, 'src/apps/image/main.ts')])
      return /sha256:[0-9a-f]{12}/.exec(stdout)?.[0] ?? ''
    })
    this.#cluster = await Cluster.start(this.#folder, {
      prefix: this.#options.prefix,
      images: this.#images.map(archive),
      pauseImage: PAUSE_IMAGE,
      proxy: this.#options.proxy,
      step,
    })
    this.#router = await startRouter(this.#folder, this.#options.prefix, w => this.#steps.say(`router: ${w}`))
    this.#store = new KubernetesStore(await this.cluster.control.client())
  }

  /** This project in the cluster. */
  async installNetwork(): Promise<void> {
    const step = this.#steps.step.bind(this.#steps)
    await step('install', async () => {
      await this.install()
      return 'bin/gingham install manifest --ipv6 | kubectl apply -f -; every node is Ready'
    })
  }

  /** Everything up to pods that reach one another. */
  async build(): Promise<void> {
    await this.start()
    await this.startWorkloads()
  }

  /** The Deployments, and the routes between their pods. */
  async startWorkloads(): Promise<void> {
    const step = this.#steps.step.bind(this.#steps)
    await step('pods', () => this.#startPods())
    await step('routes', async () => {
      await this.routed()
      return 'BGP established in both families; the network carries the routes of the pods'
    })
  }

  /** Waits until the network carries the routes of pods on all nodes. */
  routed(): Promise<void> {
    return waitUntilRouted(this.agents)
  }

  /** As a person would: kubectl apply, and wait. Gives what kubectl said. */
  async install(): Promise<string> {
    const { stdout } = await run(path.join(ROOT, 'bin/gingham'), ['install', 'manifest', '--ipv6'], {
      maxBuffer: 16 * 1024 * 1024,
    })
    const said = await this.cluster.kubectlWith(stdout, 'apply', '-f', '-')
    await this.cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/gingham-node', '--timeout=120s')
    await this.cluster.kubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s')
    await this.cluster.kubectl('apply', '-f', example('lab/network.yaml'))
    return said
  }

  async #startPods(): Promise<string> {
    await this.cluster.kubectl('apply', '-f', example('lab/deployments.yaml'))
    for (const namespace of ['default', 'prod'])
      await this.cluster.kubectl(
        '-n',
        namespace,
        'wait',
        '--for=condition=Available',
        'deployment',
        '--all',
        '--timeout=120s',
      )
    this.wired = await this.readPods()
    await this.settled()
    return `kubectl apply -f examples/lab/deployments.yaml; ${this.wired.length} of Deployments on ${NODES.length} nodes`
  }

  /** The pods that have a network of their own, as they are now. */
  async readPods(): Promise<WiredPod[]> {
    const { items } = JSON.parse(await this.cluster.kubectl('get', 'pods', '-A', '-o', 'json')) as { items: PodJson[] }
    return items
      .filter(({ spec, status }) => spec.hostNetwork !== true && status.phase === 'Running')
      .map(({ metadata, spec, status }) => {
        const node = spec.nodeName!
        const [pid] = processesOfPod(names(this.#options.prefix).node(node), metadata.uid)
        return {
          node,
          namespace: metadata.namespace,
          name: metadata.name,
          netns: `/proc/${pid}/ns/net`,
          addresses: (status.podIPs ?? []).flatMap(({ ip }) => parseAddr(ip) ?? []),
        }
      })
      .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1))
  }

  /** The processes of a pod on its node, with their command lines. */
  processes(node: string, uid: string): { readonly pid: number; readonly command: string }[] {
    return processesOfPod(names(this.#options.prefix).node(node), uid).map(pid => ({
      pid,
      command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '),
    }))
  }

  /** The process of a node's agent. */
  async agentProcess(node: string): Promise<number> {
    const uid = await this.cluster.kubectl('get', 'pods', ...agentOn(node), '-o', 'jsonpath={.items[0].metadata.uid}')
    // The pause process and what the agent started go on; of the agent's own container the first process is the agent.
    const agent = this.processes(node, uid).find(({ command }) => command.includes('/agent.js'))
    if (agent === undefined) throw new Error(`there is no agent on ${node}`)
    return agent.pid
  }

  /** Where each node's agent answers, seen from the machine. */
  get agents(): AgentSockets {
    return new Map(
      NODES.map(({ name }) => [name, this.cluster.nodes.get(name)!.path(`/run/gingham/agents/${name}.sock`)]),
    )
  }

  /** What the cluster holds now, pods seen as endpoints. */
  async snapshot(): Promise<Snapshot> {
    return derived((await readSnapshot(this.store)).snapshot)
  }

  /** Waits until every node's kernel enforces what the cluster holds now. */
  async settled(): Promise<void> {
    await waitUntilEnforced(this.store, this.agents)
    // Each kind is watched by itself: the last word of one says nothing of another that is on its way.
    await delay(STRAGGLERS_MS)
  }

  /** Creates what a file says and waits until every node enforces it. */
  async create(file: string): Promise<{ readonly command: string; readonly said: string }> {
    const said = await this.cluster.kubectl('create', '-f', file)
    await this.settled()
    return { command: 'kubectl create', said: said.trim() }
  }

  /** Probes everything, judged by the oracle and by the counters of the kernel. */
  async probe(): Promise<Probe[]> {
    this.#prober ??= new Prober(this.wired)
    const prober = this.#prober
    return observeAndJudge(() => prober.probeAll(), { snapshot: await this.snapshot(), agents: this.agents })
  }

  /** Ends what this process holds; the run folder's record ends the rest. */
  async stop(): Promise<void> {
    this.#prober?.close()
    this.#store?.close()
    await this.#router?.stop()
    await this.#cluster?.stop()
  }
}
