// What an agent does for its node besides policy and routes: the node's addresses in the datastore, found anew every so
// often; the first pools; its name and the size of pods' packets in files; and, once it is ready, the word that pods have a
// network here. All of it is tried until it succeeds, and none of it holds the rest up.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Problem, Result } from '../../core/base/problem.ts'
import { ok } from '../../core/base/problem.ts'
import { type Addr, FAMILIES, type Family } from '../../core/net/addr.ts'
import {
  detectAddress,
  explicitAddress,
  type InterfaceAddress,
  type NodeFacts,
  printMethod,
} from '../../core/node/autodetect.ts'
import { podMtu } from '../../core/node/mtu.ts'
import type { NodeSettings } from '../../core/node/settings.ts'
import { splitKey } from '../../core/resources/cause.ts'
import { PARAMETERS_ANNOTATION } from '../../core/resources/felix-parameters.ts'
import { decodeResource, type Resource, type ResourceOf, type Snapshot } from '../../core/resources/resource.ts'
import { readInterfaces } from '../../io/kernel/node-interfaces.ts'
import { readSourceAddress } from '../../io/kernel/source-address.ts'
import type { Logger } from '../../io/log.ts'
import { ensureInitialized } from '../../io/store/initialize.ts'
import type { ResourceClient } from '../../io/store/resource-client.ts'
import { ResourceError } from '../../io/store/resource-error.ts'
import type { ViewUpdate } from './resources.ts'

/** What a cluster says of the node itself, where there is one that does. */
export type ClusterNode = {
  readonly readInternalIps: () => Promise<readonly Addr[]>
  /** Gives whether something was written. */
  readonly putNetworkAvailable: () => Promise<boolean>
}

export type NodeStartOptions = {
  readonly node: string
  readonly settings: NodeSettings
  /** What the agent was told by its environment and felix.cfg, for the Node's annotation; absent if nothing. */
  readonly parameters?: string | undefined
  readonly resources: ResourceClient
  readonly cluster: ClusterNode | undefined
  /** Folder for the files `nodename` and `mtu`, where Calico's plugins and people look for them. */
  readonly folder: string | undefined
  readonly log: Logger
  /** The namespace whose interfaces are the node's; the process's own without. */
  readonly netns?: string
}

const RETRY_MS = 1000
const TRIES = 20
/** What the size of pods' packets depends on, besides the interfaces. */
const SIZING_KINDS = ['IPPool', 'FelixConfiguration']

type Found = InterfaceAddress | 'none' | undefined

export class NodeStart {
  readonly #options: NodeStartOptions
  #problems: readonly string[] = []
  #mtu: number | undefined
  #view: Snapshot | undefined
  #timer: NodeJS.Timeout | undefined
  #told = false
  #stopped = false

  constructor(options: NodeStartOptions) {
    this.#options = options
  }

  get problems(): readonly string[] {
    return this.#problems
  }

  /** Of pods' interfaces, as last calculated: by this agent, or by one before it. */
  get mtu(): number | undefined {
    return this.#mtu ?? this.#storedMtu()
  }

  #storedMtu(): number | undefined {
    const { folder } = this.#options
    if (folder === undefined) return undefined
    try {
      return Number.parseInt(readFileSync(join(folder, 'mtu'), 'utf8'), 10) || undefined
    } catch {
      return undefined
    }
  }

  start(): void {
    const { node, folder } = this.#options
    if (folder !== undefined) {
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, 'nodename'), node)
    }
    void this.#until('the datastore is not initialised yet', () => this.#initialize())
    void this.#until("the node's addresses are not known yet", () => this.#look())
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** The node guards its pods: tells the cluster, once. */
  ready(): void {
    const { cluster, log } = this.#options
    if (cluster === undefined || this.#told) return
    this.#told = true
    void this.#until('the cluster does not know yet that pods have a network', async () => {
      if (await cluster.putNetworkAvailable()) log.info('told the cluster that pods have a network on this node')
    })
  }

  /** Something changed; of interest is what the size of packets depends on. */
  changed(view: Snapshot, changes: ViewUpdate['changes']): void {
    const isFirst = this.#view === undefined
    this.#view = view
    if (isFirst || changes.some(({ key }) => SIZING_KINDS.includes(splitKey(key).kind))) this.#measure()
  }

  #measure(): void {
    const { folder, log } = this.#options
    if (this.#view === undefined) return
    const mtu = podMtu(readInterfaces(this.#options.netns), this.#view)
    if (mtu === this.#mtu) return
    this.#mtu = mtu
    log.info({ mtu }, 'size of packets of pods that start from now on')
    if (folder !== undefined && mtu !== undefined) writeFileSync(join(folder, 'mtu'), String(mtu))
  }

  async #until(what: string, body: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      try {
        return await body()
      } catch (err) {
        this.#options.log.warn({ err }, `${what}; trying again`)
        await new Promise(resolve => setTimeout(resolve, RETRY_MS))
      }
    }
  }

  async #initialize(): Promise<void> {
    const { resources, settings, log } = this.#options
    const created = await ensureInitialized(resources, settings.pools === undefined ? {} : { pools: settings.pools })
    if (created.length > 0) log.info({ created: created.map(r => `${r.kind} ${r.metadata.name}`) }, 'first run')
  }

  /** Finds the addresses and writes what differs; looks again after a while. */
  async #look(): Promise<void> {
    const { settings, log } = this.#options
    this.#measure()
    const internalIps = await (this.#options.cluster?.readInternalIps() ?? [])
    const interfaces = readInterfaces(this.#options.netns)
    const problems: Problem[] = []
    const found: Record<Family, Found> = { 4: undefined, 6: undefined }
    for (const family of FAMILIES) {
      const result = await this.#find(family, { interfaces, internalIps })
      if (result.ok) found[family] = result.value
      else problems.push(...result.problems)
    }
    const said = problems.map(({ path, message, fix }) => `${path}: ${message}${fix ? ` (fix: ${fix})` : ''}`)
    if (!isDeepStrictEqual(said, this.#problems)) for (const problem of said) log.error(problem)
    this.#problems = said
    await this.#write(found)
    if (this.#stopped) return
    const again = () => void this.#until("the node's addresses cannot be looked at", () => this.#look())
    // Without an address nothing works: soon.
    this.#timer = setTimeout(again, said.length > 0 ? 5 * RETRY_MS : settings.pollSeconds * 1000)
    this.#timer.unref()
  }

  async #find(family: Family, known: Omit<NodeFacts, 'reaching'>): Promise<Result<Found>> {
    const setting = this.#options.settings.addresses[family]
    switch (setting.kind) {
      case 'keep':
        return ok(undefined)
      case 'none':
        return ok('none')
      case 'explicit':
        return explicitAddress(setting.address, known)
      case 'detect': {
        const { method } = setting
        const reaching = method.kind === 'can-reach' ? await readSourceAddress(method.target, family) : undefined
        const facts: NodeFacts = { ...known, ...(reaching === undefined ? {} : { reaching }) }
        const detected = detectAddress(method, family, facts)
        if (!detected.ok) return detected
        const { chosen, others } = detected.value
        if (others.length > 0)
          this.#options.log.info(
            { chosen, others, method: printMethod(method) },
            'several addresses of this node would do',
          )
        return ok(chosen)
      }
    }
  }

  async #write(found: Readonly<Record<Family, Found>>): Promise<void> {
    const { resources, node, settings, parameters, log } = this.#options
    for (let tries = 1; ; tries++) {
      const stored = await resources.get('Node', { name: node }).catch((error: unknown) => {
        if (error instanceof ResourceError && error.code === 'not-found') return undefined
        throw error
      })
      const bgp = withAddresses(stored?.spec.bgp ?? {}, found, settings.asNumber)
      const isSaid = stored?.metadata.annotations?.[PARAMETERS_ANNOTATION] === parameters
      if (isSaid && isDeepStrictEqual(stored?.spec.bgp ?? {}, bgp)) return
      const { bgp: _, ...spec } = stored?.spec ?? {}
      const wanted = decodeNode({
        apiVersion: 'projectcalico.org/v3',
        kind: 'Node',
        metadata: {
          ...(stored?.metadata ?? { name: node }),
          annotations: { ...stored?.metadata.annotations, [PARAMETERS_ANNOTATION]: parameters },
        },
        spec: { ...spec, ...(Object.keys(bgp).length > 0 ? { bgp } : {}) },
      })
      try {
        if (stored === undefined) await resources.create(wanted)
        else await resources.update(wanted)
        log.info({ addresses: bgp, parameters }, "wrote the node's addresses")
        return
      } catch (error) {
        if (!(error instanceof ResourceError) || !['conflict', 'exists'].includes(error.code) || tries === TRIES)
          throw error
      }
    }
  }
}

type Bgp = NonNullable<ResourceOf<'Node'>['spec']['bgp']>

function withAddresses(stored: Bgp, found: Readonly<Record<Family, Found>>, asNumber: string | undefined): Bgp {
  const field = { 4: 'ipv4Address', 6: 'ipv6Address' } as const
  const bgp: Record<string, unknown> = { ...stored, ...(asNumber === undefined ? {} : { asNumber: Number(asNumber) }) }
  for (const family of FAMILIES) {
    const address = found[family]
    if (address === 'none') delete bgp[field[family]]
    else if (address !== undefined) bgp[field[family]] = `${address.address}/${address.length}`
  }
  return Object.fromEntries(Object.entries(bgp).filter(([, value]) => value !== undefined)) as Bgp
}

function decodeNode(document: unknown): ResourceOf<'Node'> {
  const decoded = decodeResource(document)
  if (!decoded.ok) throw new Error(`the Node cannot have these addresses: ${decoded.problems[0]?.message}`)
  return decoded.value as Resource as ResourceOf<'Node'>
}
