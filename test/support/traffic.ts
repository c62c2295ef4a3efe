// Traffic under changing policy. A thread on a processor of its own sends batches of new flows and sees at the receivers
// which of them arrived, while the caller changes the policy from state to state. The last packet of a batch is one that
// every state allows: packets of one processor do not overtake each other, so when it has arrived all others have been judged.
// A batch knows the states that were in force, or on their way, from before its first packet to after its last:
//   a packet that none of them allows must not arrive, and one that all of them allow must.
import { Worker } from 'node:worker_threads'
import type { Packet } from '../../src/core/net/packet.ts'
import type { PodLab } from './pod-lab.ts'

export type Flow = {
  /** A wire of the lab: a pod's name, or `uplink`. */
  readonly from: string
  /** The receiving pod. */
  readonly to: string
  readonly packet: Packet
}

/** Positions in the shared words. */
export const WORD = { BEGUN: 0, DONE: 1, BATCHES: 2, STOP: 3 } as const

export type TrafficSpec = {
  readonly lab: PodLab
  readonly flows: readonly Flow[]
  /** Allowed in every state. */
  readonly marker: Flow
  /** By state, then by flow. */
  readonly allowed: readonly (readonly boolean[])[]
  /** The state in force when it starts. */
  readonly initial: number
  readonly maxChanges: number
}

export type WorkerInput = Omit<TrafficSpec, 'lab' | 'allowed' | 'maxChanges' | 'initial'> & {
  readonly wires: Readonly<Record<string, { netns: string; index: number; mac: string }>>
  readonly node: string
  readonly words: Int32Array<SharedArrayBuffer>
  /** History: the state after each change; the first is the initial one. */
  readonly history: Uint16Array<SharedArrayBuffer>
  readonly allowed: Uint8Array
}

export type Misjudged = {
  readonly kind: 'passed' | 'dropped'
  readonly flow: number
  /** The changes under way; `to` is `from` when policy stood still. */
  readonly from: number
  readonly to: number
  readonly packets: number
}

export type TrafficReport = {
  readonly packets: number
  readonly arrived: number
  readonly seconds: number
  readonly batches: number
  /** Batches during which policy changed. */
  readonly straddling: number
  readonly misjudged: readonly Misjudged[]
  readonly misjudgedPackets: number
}

export class Traffic {
  readonly #worker: Worker
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #history: Uint16Array<SharedArrayBuffer>
  readonly #end: Promise<TrafficReport>
  readonly #failed: Promise<never>

  constructor(spec: TrafficSpec) {
    const { lab, flows, marker, allowed } = spec
    this.#words = new Int32Array(new SharedArrayBuffer(16))
    this.#history = new Uint16Array(new SharedArrayBuffer(2 * (spec.maxChanges + 1)))
    this.#history[0] = spec.initial
    const input: WorkerInput = {
      ...{ flows, marker, node: lab.node, words: this.#words, history: this.#history },
      wires: { ...lab.pods, uplink: lab.uplink },
      allowed: Uint8Array.from(allowed.flat(), Number),
    }
    this.#worker = new Worker(new URL('./traffic-worker.ts', import.meta.url), { workerData: input })
    this.#end = new Promise(resolve => this.#worker.once('message', resolve))
    this.#failed = new Promise((_, reject) => this.#worker.once('error', reject))
    this.#failed.catch(() => undefined)
  }

  /** From now on both the state before and this one may be in force. */
  begin(state: number): void {
    const next = this.#words[WORD.BEGUN]! + 1
    if (next >= this.#history.length) throw new Error('more changes than were announced')
    this.#history[next] = state
    Atomics.store(this.#words, WORD.BEGUN, next)
  }

  /** The last state that was begun is in force. */
  done(): void {
    Atomics.store(this.#words, WORD.DONE, Atomics.load(this.#words, WORD.BEGUN))
  }

  /** Until this many batches have been sent and judged from now on. */
  async batches(count: number): Promise<void> {
    const wanted = Atomics.load(this.#words, WORD.BATCHES) + count
    for (let now = wanted - count; now < wanted; now = Atomics.load(this.#words, WORD.BATCHES)) {
      const wait = Atomics.waitAsync(this.#words, WORD.BATCHES, now, 5000)
      await Promise.race([wait.value, this.#failed])
    }
  }

  /** Ends the thread, whatever it does; to be called however the watch ended. */
  async close(): Promise<void> {
    await this.#worker.terminate()
  }

  async stop(): Promise<TrafficReport> {
    Atomics.store(this.#words, WORD.STOP, 1)
    return await Promise.race([this.#end, this.#failed])
  }
}
