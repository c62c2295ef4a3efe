// When does the kernel judge packets anew? A thread sends a datagram of a new flow every 0.2 ms and sees at the receiver
// whether it arrived. A veth pair hands a packet on within the send call, so a verdict is known when the call returns; that
// a flow is closed is believed only when none of the next packets arrives either. Times are CLOCK_MONOTONIC, in ms.
import os from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { close, recv, send } from '../src/io/kernel/sys.ts'
import { frame, PAYLOAD_AT, SPORT_AT, UDP } from '../test/support/frames.ts'
import { openSender, openSniffer } from '../test/support/packet-socket.ts'
import type { Wire } from '../test/support/pod-lab.ts'

const SPACING_MS = 0.2
/** Packets in a row that do not arrive, before a flow counts as closed. */
const MISSING = 32
/** Positions in the shared words; nobody writes to PAUSE, which is slept on. */
const WORD = { STATE: 0, WANTED: 1, SENT: 2, PAUSE: 3 } as const
const STATE = { IDLE: 0, WATCHING: 1, FOUND: 2, END: 3 } as const

export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

type Input = {
  readonly words: Int32Array<SharedArrayBuffer>
  readonly foundAt: Float64Array<SharedArrayBuffer>
  readonly sender: number
  readonly sniffer: number
  readonly packet: Uint8Array
}

export class VerdictProbe {
  readonly #words = new Int32Array(new SharedArrayBuffer(16))
  readonly #foundAt = new Float64Array(new SharedArrayBuffer(8))
  readonly #worker: Worker
  readonly #failed: Promise<never>
  readonly #fds: readonly number[]

  constructor(from: Wire, to: Wire, packet: Omit<Parameters<typeof frame>[0], 'srcMac' | 'protocol'>) {
    const [sender, sniffer] = [openSender(from), openSniffer(to)]
    this.#fds = [sender, sniffer]
    const bytes = frame({ ...packet, srcMac: from.mac, protocol: UDP })
    const input: Input = { words: this.#words, foundAt: this.#foundAt, sender, sniffer, packet: bytes }
    this.#worker = new Worker(new URL(import.meta.url), { workerData: input })
    this.#failed = new Promise((_, reject) => this.#worker.once('error', reject))
    this.#failed.catch(() => undefined)
  }

  /** Watches for the verdict from now on; the promise is of when it was seen first. */
  watch(open: boolean, patienceMs = 20_000): Promise<number> {
    Atomics.store(this.#words, WORD.WANTED, Number(open))
    Atomics.store(this.#words, WORD.STATE, STATE.WATCHING)
    Atomics.notify(this.#words, WORD.STATE)
    return this.#found(patienceMs)
  }

  async #found(patienceMs: number): Promise<number> {
    const { value } = Atomics.waitAsync(this.#words, WORD.STATE, STATE.WATCHING, patienceMs)
    if ((await Promise.race([value, this.#failed])) === 'timed-out') throw new Error('the verdict did not change')
    return this.#foundAt[0]!
  }

  /** Until so many more packets were judged as before. */
  async unchanged(packets: number): Promise<void> {
    const until = Atomics.load(this.#words, WORD.SENT) + packets
    while (Atomics.load(this.#words, WORD.SENT) < until) {
      if (Atomics.load(this.#words, WORD.STATE) !== STATE.WATCHING) throw new Error('changed before the change')
      await setTimeout(1)
    }
  }

  async close(): Promise<void> {
    Atomics.store(this.#words, WORD.STATE, STATE.END)
    Atomics.notify(this.#words, WORD.STATE)
    await this.#worker.terminate()
    for (const fd of this.#fds) close(fd)
  }
}

function run({ words, foundAt, sender, sniffer, packet }: Input): void {
  // Of this thread only: a probe that waits for a processor measures its own waiting.
  os.setPriority(-20)
  const view = new DataView(packet.buffer, packet.byteOffset)
  const into = new Uint8Array(128)
  const arrived = new DataView(into.buffer)
  const judgedAt = new Float64Array(2 * MISSING)
  let sequence = 0
  let last = 0
  const drain = (): void => {
    while (recv(sniffer, into) !== undefined) last = Math.max(last, arrived.getUint32(PAYLOAD_AT[UDP]))
  }
  const found = (at: number): void => {
    foundAt[0] = at
    Atomics.store(words, WORD.STATE, STATE.FOUND)
    Atomics.notify(words, WORD.STATE)
  }
  const step = (): void => {
    sequence++
    view.setUint16(SPORT_AT, 1024 + (sequence % 64_000))
    view.setUint32(PAYLOAD_AT[UDP], sequence)
    send(sender, packet)
    drain()
    judgedAt[sequence % judgedAt.length] = monotonic()
    Atomics.add(words, WORD.SENT, 1)
  }
  for (;;) {
    const state = Atomics.load(words, WORD.STATE)
    if (state === STATE.END) return
    if (state !== STATE.WATCHING) {
      Atomics.wait(words, WORD.STATE, state)
      continue
    }
    const before = sequence
    const open = Atomics.load(words, WORD.WANTED) === 1
    last = Math.max(last, open ? 0 : before)
    while (Atomics.load(words, WORD.STATE) === STATE.WATCHING) {
      step()
      if (open && last > before) found(judgedAt[last % judgedAt.length]!)
      else if (!open && sequence - last >= MISSING) found(judgedAt[(last + 1) % judgedAt.length]!)
      else Atomics.wait(words, WORD.PAUSE, 0, SPACING_MS)
    }
  }
}

if (!isMainThread) run(workerData)
