// Which CNI requests a cluster's agents are in the middle of. That one has begun is seen in the datastore, by its first write
// (a handle that is made, annotations that are emptied, a block that loses addresses); that it has ended is in the log of
// the node's agent, which is written at once.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { KubernetesLab } from '../../src/apps/lab/kubernetes/lab.ts'
import { CONTAINER_ID, POD_IPS } from '../../src/core/cni/pod-wishes.ts'
import { openBlock } from '../../src/core/ipam/affinity.ts'
import { decodeHandle } from '../../src/core/ipam/handle.ts'
import { ALL_BLOCKS, handleKey } from '../../src/core/ipam/keys.ts'
import type { Prefix } from '../../src/core/net/prefix.ts'
import { storePrefix } from '../../src/core/resources/store-key.ts'
import type { Entry, Store, Watch } from '../../src/io/store/store.ts'

export type Command = 'ADD' | 'DEL'
/** `at`: milliseconds since 1970, when its first write was seen. */
export type Flight = {
  readonly command: Command
  readonly containerId: string
  readonly node: string
  readonly at: number
}

const HANDLES = handleKey('')
const RETRY_MS = 500

const containerIn = (handle: string): string => handle.slice(handle.lastIndexOf('.') + 1)

type PodFacts = {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> }
  readonly spec?: { readonly nodeName?: string }
}

export class Flights {
  readonly #lab: KubernetesLab
  readonly #store: Store
  readonly #watches = new Map<string, Watch>()
  readonly #begun = new Map<string, Flight>()
  readonly #handles = new Set<string>()
  /** What each block said last: whose it is, and for which handles it has addresses. */
  readonly #blocks = new Map<string, { readonly node: string; readonly handles: ReadonlySet<string> }>()
  readonly #nodeOf = new Map<Prefix, string>()
  #closed = false
  /** Told of each request as its first write is seen. */
  onBegin: (flight: Flight) => void = () => {}

  private constructor(lab: KubernetesLab, store: Store) {
    this.#lab = lab
    this.#store = store
  }

  /** Follows the datastore through `store` until `close`. */
  static async open(lab: KubernetesLab, store: Store): Promise<Flights> {
    const flights = new Flights(lab, store)
    await flights.#follow(ALL_BLOCKS, entry => flights.#block(entry))
    await flights.#follow(HANDLES, entry => flights.#handle(entry))
    await flights.#follow(storePrefix('Pod'), entry => flights.#pod(entry))
    return flights
  }

  /** Forgets what has begun until now. */
  reset(): void {
    this.#begun.clear()
  }

  close(): void {
    this.#closed = true
    for (const watch of this.#watches.values()) watch.close()
  }

  /** The requests that had begun, on these nodes, and had not ended at that time. */
  inFlight(nodes: readonly string[], time: number): Flight[] {
    return nodes.flatMap(node => {
      const ended = this.#ended(node)
      return [...this.#begun.values()].filter(
        flight =>
          flight.node === node &&
          flight.at <= time &&
          !ended.some(
            end =>
              end.command === flight.command &&
              end.containerId === flight.containerId &&
              // The first write is seen a moment after it was made.
              end.at >= flight.at - 1000 &&
              end.at <= time,
          ),
      )
    })
  }

  /** List, then watch, again and again: a watch may end with the API server. */
  async #follow(prefix: string, seen: (entry: Entry) => void): Promise<void> {
    const { entries, revision } = await this.#store.list(prefix)
    for (const entry of entries) seen(entry)
    if (this.#closed) return
    const again = (): void => {
      if (!this.#closed) this.#follow(prefix, seen).catch(() => setTimeout(again, RETRY_MS))
    }
    const watch = this.#store.watch(prefix, revision, {
      events: events => {
        for (const event of events) {
          if (event.kind === 'put') seen(event.entry)
          else this.#handles.delete(event.key)
        }
      },
      closed: error => {
        if (error) setTimeout(again, RETRY_MS)
      },
    })
    this.#watches.set(prefix, watch)
  }

  #begin(command: Command, containerId: string, node: string | undefined): void {
    const key = `${command} ${containerId}`
    if (node === undefined || this.#begun.has(key)) return
    const flight = { command, containerId, node, at: Date.now() }
    this.#begun.set(key, flight)
    this.onBegin(flight)
  }

  #handle({ key, value }: Entry): void {
    if (this.#handles.has(key)) return
    this.#handles.add(key)
    const cidrs = [...(decodeHandle(value)?.counts.keys() ?? [])]
    const node = cidrs.map(cidr => this.#nodeOf.get(cidr)).find(found => found !== undefined)
    this.#begin('ADD', containerIn(key), node)
  }

  #block({ key, value, modRevision }: Entry): void {
    const opened = openBlock({ key, value, revision: modRevision })
    if (opened === 'corrupt') return
    const { cidr, affinity, attributes } = opened.block
    const node = affinity?.replace(/^host:/, '') ?? ''
    const handles = new Set(attributes.flatMap(({ handleId }) => handleId ?? []))
    const before = this.#blocks.get(key)
    this.#nodeOf.set(cidr, node)
    this.#blocks.set(key, { node, handles })
    for (const handle of before?.handles ?? []) if (!handles.has(handle)) this.#begin('DEL', containerIn(handle), node)
  }

  #pod({ value }: Entry): void {
    const { metadata, spec } = JSON.parse(value) as PodFacts
    const container = metadata.annotations?.[CONTAINER_ID]
    if (container && metadata.annotations?.[POD_IPS] === '') this.#begin('DEL', container, spec?.nodeName)
  }

  /** What the node's agents, the one before the last start too, say they have ended. */
  #ended(node: string): Omit<Flight, 'node'>[] {
    const folder = this.#lab.cluster.nodes.get(node)!.path('/var/log/pods')
    const pods = readdirSync(folder).filter(name => name.startsWith('kube-system_gingham-node-'))
    return pods.flatMap(pod => {
      const logs = join(folder, pod, 'agent')
      return readdirSync(logs)
        .filter(name => name.endsWith('.log'))
        .flatMap(name => readFileSync(join(logs, name), 'utf8').split('\n').flatMap(endIn))
    })
  }
}

/** A line of a container's log: the time, the stream, a flag, and what the agent said as JSON. */
function endIn(line: string): Omit<Flight, 'node'>[] {
  if (!line.includes('"containerId"') || !line.includes('"command"')) return []
  try {
    const { command, containerId, time } = JSON.parse(line.slice(line.indexOf('{')))
    return [{ command, containerId, at: Date.parse(time) }]
  } catch {
    return []
  }
}
