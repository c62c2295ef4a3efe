// Traffic through a whole lab under kills: a thread sends batches of new flows between pods (TCP and UDP, both families)
// and sees at the pods which of them arrived, while the caller kills and changes. A batch ends with a packet that every
// state allows and that goes the longest way: packets of one processor do not overtake each other, so that what has not
// arrived before it was dropped. A batch knows the states that were in force, or on their way, meanwhile:
//   a packet that none of them allows must not arrive, and one that all of them allow must.
import { Worker } from 'node:worker_threads'
import type { WiredPod } from '../../src/apps/lab/pods.ts'
import { familyOf } from '../../src/core/net/addr.ts'
import type { Packet } from '../../src/core/net/packet.ts'
import { readLink } from '../../src/io/kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'

export type Flow = {
  /** Names of pods. */
  readonly from: string
  readonly to: string
  readonly packet: Packet
}

/** A pod's interface: its namespace, and the interface's index and MAC address there. */
export type Wire = { readonly netns: string; readonly index: number; readonly mac: string }

export type WorkerInput = {
  readonly wires: Readonly<Record<string, Wire>>
  readonly flows: readonly Flow[]
  readonly marker: Flow
  readonly words: Int32Array<SharedArrayBuffer>
  /** The state after each change; the first is the initial one. */
  readonly history: Uint16Array<SharedArrayBuffer>
  /** By state, then by flow. */
  readonly allowed: Uint8Array
}

/** Positions in the shared words. */
export const WORD = { BEGUN: 0, DONE: 1, BATCHES: 2, STOP: 3, MISJUDGED: 4 } as const

export type Misjudged = {
  readonly kind: 'passed' | 'dropped'
  readonly flow: string
  /** The first and last state that the batch may have met; the same if nothing was on its way. */
  readonly states: readonly [number, number]
  readonly batch: number
}

export type TrafficReport = {
  readonly flows: number
  readonly arrived: number
  readonly batches: number
  /** Batches during which policy changed. */
  readonly straddling: number
  readonly seconds: number
  readonly misjudgedFlows: number
  /** The first of them. */
  readonly misjudged: readonly Misjudged[]
}

export type TrafficSpec = {
  readonly flows: readonly Flow[]
  readonly marker: Flow
  /** By state, then by flow. */
  readonly allowed: readonly (readonly boolean[])[]
  /** The state in force when it starts. */
  readonly initial: number
}

const MOST_CHANGES = 10_000

export const podName = ({ namespace, name }: Pick<WiredPod, 'namespace' | 'name'>): string => `${namespace}/${name}`
export const addressOf = (pod: WiredPod, family: 4 | 6) => pod.addresses.find(a => familyOf(a) === family)!

export function wireOf(pod: WiredPod): Wire {
  const netns = namedNetns(pod.netns)
  using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
  const { index, mac } = readLink(socket, 'eth0')!
  return { netns, index, mac: mac! }
}

export class HitlessTraffic {
  readonly #worker: Worker
  readonly #words = new Int32Array(new SharedArrayBuffer(32))
  readonly #history = new Uint16Array(new SharedArrayBuffer(2 * MOST_CHANGES))
  readonly #end: Promise<TrafficReport>
  readonly #failed: Promise<never>

  constructor(pods: readonly WiredPod[], { flows, marker, allowed, initial }: TrafficSpec) {
    this.#history[0] = initial
    const workerData: WorkerInput = {
      ...{ flows, marker, words: this.#words, history: this.#history },
      wires: Object.fromEntries(pods.map(pod => [podName(pod), wireOf(pod)])),
      allowed: Uint8Array.from(allowed.flat(), Number),
    }
    this.#worker = new Worker(new URL('./hitless-worker.ts', import.meta.url), { workerData })
    this.#end = new Promise(resolve => this.#worker.once('message', resolve))
    this.#failed = new Promise((_, reject) => this.#worker.once('error', reject))
    this.#failed.catch(() => undefined)
  }

  /** From now on both the state before and this one may be in force. */
  begin(state: number): void {
    const next = this.#words[WORD.BEGUN]! + 1
    this.#history[next] = state
    Atomics.store(this.#words, WORD.BEGUN, next)
  }

  /** The last state that was begun is in force. */
  done(): void {
    Atomics.store(this.#words, WORD.DONE, Atomics.load(this.#words, WORD.BEGUN))
  }

  get misjudged(): number {
    return Atomics.load(this.#words, WORD.MISJUDGED)
  }

  /** Until this many batches have been sent and judged from now on. */
  async batches(count: number): Promise<void> {
    const wanted = Atomics.load(this.#words, WORD.BATCHES) + count
    for (let now = wanted - count; now < wanted; now = Atomics.load(this.#words, WORD.BATCHES)) {
      const wait = Atomics.waitAsync(this.#words, WORD.BATCHES, now, 5000)
      await Promise.race([wait.value, this.#failed])
    }
  }

  async stop(): Promise<TrafficReport> {
    Atomics.store(this.#words, WORD.STOP, 1)
    return await Promise.race([this.#end, this.#failed])
  }
}
