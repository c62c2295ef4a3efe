// The agent: watches the datastore and the node's blocks, keeps the policy table and BIRD as they should be, and serves
// the CNI plugin. Assembly only; each part is in a file of its own.
import path from 'node:path'
import type { Change } from '../../core/base/change.ts'
import { NFT_TABLE } from '../../core/base/register.ts'
import { VERSION } from '../../core/base/version.ts'
import { poolOfCanary } from '../../core/calc/canary.ts'
import type { InterfaceChange } from '../../core/calc/host-interfaces.ts'
import { ALL_BLOCKS, ownersPrefix } from '../../core/ipam/keys.ts'
import { type ResourceKey, resourceKey } from '../../core/resources/cause.ts'
import { printParameters } from '../../core/resources/felix-parameters.ts'
import {
  type FelixConfiguration,
  keyOf,
  ofKind,
  type Pod,
  type Resource,
  type Snapshot,
} from '../../core/resources/resource.ts'
import { Bird } from '../../io/bird/bird.ts'
import { openCollection } from '../../io/ipam/collection.ts'
import { openIpam } from '../../io/ipam/ipam.ts'
import { flushAddresses } from '../../io/kernel/conntrack.ts'
import { openNft } from '../../io/kernel/nft-table.ts'
import { writeSysctl } from '../../io/kernel/sysctl.ts'
import type { Logger } from '../../io/log.ts'
import { ResourceClient } from '../../io/store/resource-client.ts'
import type { Store, Watch } from '../../io/store/store.ts'
import { Canary } from './canary.ts'
import { CniService } from './cni.ts'
import { SocketLink } from './cni-link.ts'
import { CniSpool } from './cni-spool.ts'
import { LogCount, type OutcomeCounter, outcomeCounters } from './counters.ts'
import { PolicyDataplane } from './dataplane.ts'
import type { Datastore } from './datastore.ts'
import { InterfaceFacts } from './interfaces.ts'
import { IpamCollector } from './ipam-collect.ts'
import { LastKnown } from './last-known.ts'
import { Metrics } from './metrics.ts'
import { NodeStart } from './node-start.ts'
import type { AgentOptions } from './options.ts'
import { PacketLog } from './packet-log.ts'
import { ProofLoop } from './proof.ts'
import { ResourceView, type ViewHandler } from './resources.ts'
import { Routing } from './routing.ts'
import { serve } from './server.ts'
import { TableWatch } from './table-watch.ts'
import { ProgrammedWaiters } from './waiters.ts'

/** Keys of blocks and of hosts' affinities: when they change, the routes of this node may. */
const IPAM_PREFIXES = [ALL_BLOCKS, ownersPrefix('host')]
const RETRY_MS = 1000

export class Agent {
  readonly #options: AgentOptions
  readonly #local: readonly Change<ResourceKey, Resource>[]
  readonly #log: Logger
  readonly #metrics = new Metrics()
  readonly #datastore: Datastore
  readonly #store: Store
  readonly #nft = openNft()
  readonly #packetLog: PacketLog
  readonly #logCount = new LogCount()
  readonly #dataplane: PolicyDataplane
  readonly #waiters: ProgrammedWaiters
  readonly #routing: Routing | undefined
  readonly #bird: Bird | undefined
  readonly #cni: CniService
  readonly #cniSpool: CniSpool
  /** By which plugins find this agent. */
  readonly #link: SocketLink | undefined
  readonly #lastKnown: LastKnown
  readonly #nodeStart: NodeStart
  readonly #socket: string
  #view: ResourceView | undefined
  readonly #ipamWatches = new Map<string, Watch>()
  #tableWatch: TableWatch | undefined
  #proof: ProofLoop | undefined
  readonly #canary: Canary | undefined
  readonly #collector: IpamCollector
  readonly #interfaces: InterfaceFacts
  #connected = false
  #revision = -1
  /** What was last enforced. */
  #resources: Snapshot = new Map()
  #stopServing: (() => Promise<void>) | undefined
  #stopped = false

  /** `local`: settings of this node that nobody stores. */
  constructor(options: AgentOptions & { readonly local: FelixConfiguration }, datastore: Datastore, log: Logger) {
    this.#options = options
    this.#local = [{ key: keyOf(options.local), value: options.local }]
    this.#log = log
    this.#datastore = datastore
    this.#store = datastore.open(error => {
      this.#connected = error === undefined
      if (error) log.warn({ err: error }, 'the datastore cannot be reached; what is known stays in force')
      else log.info('connected to the datastore')
    })
    this.#nodeStart = new NodeStart({
      node: options.node,
      settings: options.settings,
      parameters: printParameters(options.local),
      resources: new ResourceClient(this.#store),
      cluster: datastore.cluster,
      folder: options.nodeFolder,
      log,
    })
    const ipam = openIpam(this.#store, { now: () => new Date() })
    this.#packetLog = new PacketLog({
      log,
      metrics: this.#metrics,
      outcomes: () => this.#dataplane.outcomes(),
      logPrefix: () => this.#dataplane.logPrefix,
      now: () => performance.now(),
    })
    this.#dataplane = new PolicyDataplane({
      node: options.node,
      kernel: this.#nft,
      log,
      metrics: this.#metrics,
      onProgrammed: () => {
        this.#waiters.wake()
        if (this.#view?.inSync) this.#nodeStart.ready()
      },
      own: options.ownTable,
      canary: options.canary > 0,
      logGroup: this.#packetLog.group,
    })
    this.#collector = new IpamCollector({
      node: options.node,
      ipam: openCollection(this.#store),
      snapshot: () => (this.#connected && this.#view?.inSync ? this.#view.view : undefined),
      resources: new ResourceClient(this.#store),
      now: () => performance.now(),
      log,
      onCollected: ({ candidates, reclaimed }) => {
        this.#metrics.ipamCandidates.set(candidates)
        this.#metrics.ipamReclamations.inc(reclaimed)
      },
      // Before somebody else gets them: what is remembered as allowed was allowed to who had them.
      onReleased: addresses => flushAddresses(addresses),
    })
    if (options.canary > 0) {
      this.#canary = new Canary({
        log,
        metrics: this.#metrics,
        periodMs: options.canary * 1000,
        isProgrammed: () => this.#dataplane.status().programmed,
        pool: () => poolOfCanary(this.#dataplane.facts),
      })
    }
    this.#interfaces = new InterfaceFacts({
      node: options.node,
      log,
      onChange: interfaces => this.#enforce([], interfaces),
    })
    this.#waiters = new ProgrammedWaiters((key, addresses) => this.#dataplane.isProgrammed(key, addresses))
    this.#cni = new CniService({
      node: options.node,
      resources: new ResourceClient(this.#store),
      ipam,
      waitProgrammed: (endpoint: ResourceKey, addresses) => this.#waiters.wait(endpoint, addresses),
      knownPod: ({ namespace, name }) => this.#view?.view.get(resourceKey('Pod', namespace, name)) as Pod | undefined,
      log,
      now: () => new Date(),
      mtu: () => this.#nodeStart.mtu,
    })
    this.#socket = path.join(options.run, 'agents', `${options.node}.sock`)
    const { cniSocket } = options
    if (cniSocket !== undefined) this.#link = new SocketLink(this.#socket, cniSocket, log)
    this.#cniSpool = new CniSpool({
      socket: this.#socket,
      handle: (headers, body) => this.#cni.handle(headers, body),
      log,
    })
    this.#lastKnown = new LastKnown({
      node: options.node,
      file: path.join(options.state, `${options.node}.json`),
      log,
      now: () => new Date(),
      isConnected: () => this.#connected,
      enforce: update => this.#changed(update),
    })
    if (options.bird) {
      const folder = path.join(options.run, 'bird', options.node)
      this.#bird = new Bird({ folder, onTrouble: what => log.warn(what) })
      this.#routing = new Routing({
        node: options.node,
        bird: this.#bird,
        blocksOf: () => ipam.blocksOf(options.node),
        log,
        logFile: path.join(folder, 'bird.log'),
        usePodCidr: options.settings.usePodCidr,
      })
    }
  }

  async start(): Promise<void> {
    // A node without these is no router. They are this network namespace's own.
    writeSysctl('net/ipv4/ip_forward', 1)
    writeSysctl('net/ipv6/conf/all/forwarding', 1)
    this.#dataplane.failClosed()
    this.#tableWatch = new TableWatch(this.#dataplane, this.#log)
    this.#proof = new ProofLoop({
      node: this.#options.node,
      canary: this.#canary !== undefined,
      log: this.#log,
      metrics: this.#metrics,
      dataplane: this.#dataplane,
      known: () => ({
        changes: [...this.#local, ...[...this.#resources].map(([key, value]) => ({ key, value }))],
        interfaces: [...this.#interfaces.known].map(([key, value]) => ({ key, value })),
      }),
      onDifference: () => this.#dataplane.verify('unknown: found by the proof', { anew: true }),
    })
    this.#metrics.beforeScrape = () => this.#count()
    this.#metrics.resyncState.set(1)
    this.#stopServing = await serve(
      {
        status: () => this.#status(),
        notReady: () => this.#notReady(),
        counters: () => this.#counters(),
        cni: (headers, body) => this.#cniSpool.serve(headers, body),
        metrics: this.#metrics,
      },
      {
        socket: this.#socket,
        address: this.#options.listen,
        log: this.#log,
      },
    )
    await this.#link?.make()
    void this.#cniSpool.start()
    this.#nodeStart.start()
    this.#collector.start()
    this.#view = new ResourceView(this.#store, {
      node: this.#options.node,
      log: this.#log,
      onChange: update => this.#lastKnown.live(update),
    })
    this.#lastKnown.start()
    this.#canary?.start()
    this.#followBlocks()
  }

  /** Leaves the table, BIRD and all routes as they are: pods go on, guarded, while no agent runs. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#view?.close()
    for (const watch of this.#ipamWatches.values()) watch.close()
    this.#collector.stop()
    this.#nodeStart.stop()
    this.#interfaces.stop()
    this.#tableWatch?.stop()
    await this.#canary?.stop()
    await this.#proof?.stop()
    this.#link?.stop()
    this.#cniSpool.stop()
    this.#dataplane.stop()
    this.#packetLog.stop()
    this.#routing?.stop()
    await this.#lastKnown.stop()
    await this.#stopServing?.()
    await this.#bird?.leave()
    this.#store.close()
    this.#nft.close()
  }

  #changed({ view, changes, revision }: Parameters<ViewHandler>[0]): void {
    // First what packets wait for.
    const isFirst = this.#revision < 0
    this.#revision = revision
    this.#enforce(isFirst ? [...this.#local, ...changes] : changes, this.#interfaces.follow(view))
    this.#resources = view
    this.#metrics.resyncState.set(this.#view?.inSync ? 3 : 1)
    this.#routing?.want(view)
    this.#nodeStart.changed(view, changes)
  }

  #enforce(changes: readonly Change<ResourceKey, Resource>[], interfaces: readonly InterfaceChange[]): void {
    this.#dataplane.apply(changes, this.#revision, interfaces)
    this.#packetLog.changed()
    this.#proof?.changed({ changes, interfaces }, this.#revision)
  }

  /** Counts when somebody asks and not at each change: it walks all resources. */
  #count(): void {
    const count = (kind: Parameters<typeof ofKind>[1]): number => [...ofKind(this.#resources, kind)].length
    this.#metrics.clusterEndpoints.set(count('WorkloadEndpoint'))
    this.#metrics.clusterHosts.set(count('HostEndpoint'))
    this.#metrics.clusterPolicies.set(
      (['NetworkPolicy', 'GlobalNetworkPolicy', 'KubernetesNetworkPolicy', 'KubernetesClusterNetworkPolicy'] as const)
        .map(count)
        .reduce((a, b) => a + b),
    )
    this.#metrics.clusterProfiles.set(count('Profile'))
    this.#metrics.clusterTiers.set(count('Tier'))
    this.#countLogs()
  }

  #countLogs(): void {
    const logging = [...this.#dataplane.outcomes()].filter(o => o.steps.some(s => s.kind === 'log'))
    if (logging.length === 0) return
    try {
      this.#metrics.logPackets.inc(this.#logCount.read(logging, this.#nft.readCounters(NFT_TABLE)))
    } catch (error) {
      this.#log.warn({ err: error }, 'the counters of Log rules cannot be read')
    }
  }

  /** List, then watch; only that something changed matters here. */
  #followBlocks(): void {
    const follow = async (prefix: string): Promise<void> => {
      try {
        const { revision } = await this.#store.list(prefix)
        if (this.#stopped) return
        this.#routing?.refresh()
        const watch = this.#store.watch(prefix, revision, {
          events: () => this.#routing?.refresh(),
          closed: error => {
            if (error && !this.#stopped) void follow(prefix)
          },
        })
        this.#ipamWatches.set(prefix, watch)
      } catch {
        if (!this.#stopped) setTimeout(() => void follow(prefix), RETRY_MS)
      }
    }
    for (const prefix of IPAM_PREFIXES) void follow(prefix)
  }

  #counters(): OutcomeCounter[] {
    return outcomeCounters(this.#dataplane.outcomes(), this.#nft.readCounters(NFT_TABLE))
  }

  /**
   * Why no pod should be sent here, and nobody rely on this node's policy. What the proof does not understand, and a proof
   * that cannot be made, are said as problems and are none of these: nothing is known to be wrong.
   */
  #notReady(): string[] {
    const { programmed } = this.#dataplane.status()
    return [
      ...(this.#view?.inSync ? [] : ['the datastore was not read yet']),
      ...(programmed ? [] : ['policy is not programmed']),
      ...(this.#proof?.status().differs ? ['the kernel does not do what the resources say'] : []),
      ...(this.#canary?.notReady ?? []),
    ]
  }

  async #status() {
    const dataplane = this.#dataplane.status()
    const problems = [
      ...this.#datastore.problems(),
      ...this.#lastKnown.problems,
      ...(this.#link?.problems ?? []),
      ...this.#cniSpool.problems,
      ...this.#nodeStart.problems,
      ...dataplane.problems,
      ...(this.#view?.problems ?? []),
      ...(this.#routing?.problems ?? []),
      ...(this.#proof?.problems ?? []),
    ]
    if (this.#bird && !this.#bird.up) problems.push('BIRD does not run: no routes are exchanged')
    const peers = (await this.#routing?.peers().catch(() => [])) ?? []
    const inSync = this.#view?.inSync ?? false
    const proof = this.#proof?.status()
    const canary = this.#canary?.status
    this.#metrics.problems.set(problems.length + (canary?.fix ? 1 : 0))
    const notReady = this.#notReady()
    return {
      node: this.#options.node,
      version: VERSION,
      pid: process.pid,
      uptimeSeconds: Math.round(process.uptime()),
      ready: notReady.length === 0,
      notReady,
      datastore: { connected: this.#connected, inSync, revision: this.#view?.revision ?? 0 },
      lastKnown: this.#lastKnown.status,
      dataplane: {
        ...dataplane,
        lastWriteAt: dataplane.lastWriteAt?.toISOString() ?? null,
        readBack: dataplane.readBackAt ? { secondsAgo: secondsSince(dataplane.readBackAt) } : null,
        lastEdit: dataplane.lastEdit
          ? { ...dataplane.lastEdit, secondsAgo: secondsSince(dataplane.lastEdit.at) }
          : null,
        proof: proof?.at ? { ...proof, secondsAgo: secondsSince(proof.at) } : null,
        table: NFT_TABLE,
        problems,
      },
      canary: canary
        ? {
            state: canary.state,
            sinceSeconds: secondsSince(canary.since),
            secondsAgo: canary.at ? secondsSince(canary.at) : null,
            faults: canary.faults,
            ...canary.fix,
            lastFailure: canary.lastFailure
              ? { ...canary.lastFailure, secondsAgo: secondsSince(canary.lastFailure.at) }
              : null,
          }
        : null,
      bgp: this.#bird ? { established: peers.filter(p => p.state === 'Established').length, peers } : null,
      pods: [...ofKind(this.#resources, 'WorkloadEndpoint')].filter(w => w.spec.node === this.#options.node).length,
    }
  }
}

const secondsSince = (at: Date): number => Math.round((Date.now() - at.getTime()) / 1000)
