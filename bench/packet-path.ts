// What a packet costs on its way from one pod to another of the same node. A veth pair hands a packet on within the send
// call, on the sender's processor, so the time of the call is the time of the whole road: the generator, two veths, routing
// and every hook. Times are of batches, and a run's value is the median of its batches: whoever takes the processor away
// for a while disturbs a few of them only.
import { readFileSync } from 'node:fs'
import { HOST_MAC } from '../src/core/base/register.ts'
import { inNetns } from '../src/io/kernel/netns.ts'
import { close, pinThread } from '../src/io/kernel/sys.ts'
import { Conntrack } from '../test/support/conntrack.ts'
import { frame, SPORT_AT, UDP } from '../test/support/frames.ts'
import { Messages, SLOT } from '../test/support/messages.ts'
import { openSender } from '../test/support/packet-socket.ts'
import { openLab, type PodLab } from '../test/support/pod-lab.ts'
import { median } from './report.ts'
import { RECEIVER, SENDER } from './scenario.ts'

/** Of the time of one batch, the clock's own is below a hundredth. */
const BATCH = 64
const LAST_PORT = 65_535

export type PathOptions = {
  /** Of its namespaces. */
  readonly name: string
  readonly dport: number
  /** Packets of one run. */
  readonly packets: number
}

export class PacketPath {
  readonly lab: PodLab
  readonly #options: PathOptions
  readonly #batch: Messages
  readonly #reply: Messages
  readonly #sender: number
  readonly #replier: number
  readonly #conntrack: Conntrack
  #port = 0

  constructor(options: PathOptions) {
    this.#options = options
    this.lab = openLab({
      name: options.name,
      pods: { [SENDER.name]: SENDER.address, [RECEIVER.name]: RECEIVER.address },
    })
    const [a, b] = [this.lab.pods[SENDER.name]!, this.lab.pods[RECEIVER.name]!]
    this.#sender = openSender(a)
    this.#replier = openSender(b)
    this.#conntrack = new Conntrack(this.lab.node)
    const way = { dstMac: HOST_MAC, protocol: UDP, sport: LAST_PORT } as const
    const there = frame({ ...way, srcMac: a.mac, src: a.address, dst: b.address, dport: options.dport })
    const back = frame({
      ...{ ...way, srcMac: b.mac, src: b.address, dst: a.address },
      ...{ sport: options.dport, dport: LAST_PORT },
    })
    this.#batch = new Messages(Math.min(BATCH, Math.ceil(options.packets / 32)))
    this.#reply = new Messages(1)
    for (let i = 0; i < this.#batch.count; i++) this.#batch.put(i, there)
    this.#reply.put(0, back)
  }

  close(): void {
    close(this.#sender)
    close(this.#replier)
    this.#conntrack.close()
    this.lab.close()
  }

  /** Nanoseconds of a packet that is the first of its flow. */
  first(): number {
    this.#conntrack.flush()
    return this.#run(() => this.#freshPorts())
  }

  /** Of a packet of a flow that was answered. */
  established(): number {
    this.#conntrack.flush()
    this.#onePort()
    this.#batch.send(this.#sender, 1)
    this.#reply.send(this.#replier)
    return this.#run(() => undefined)
  }

  /** Of a packet of a flow that never is answered: to the kernel each is as good as the first. */
  oneWay(): number {
    this.#conntrack.flush()
    this.#onePort()
    this.#batch.send(this.#sender, 1)
    return this.#run(() => undefined)
  }

  #freshPorts(): void {
    const { view, count } = this.#batch
    for (let i = 0; i < count; i++) {
      // The last port is the flow with an answer.
      this.#port = (this.#port % (LAST_PORT - 1)) + 1
      view.setUint16(i * SLOT + SPORT_AT, this.#port)
    }
  }

  #onePort(): void {
    for (let i = 0; i < this.#batch.count; i++) this.#batch.view.setUint16(i * SLOT + SPORT_AT, LAST_PORT)
  }

  #run(prepare: () => void): number {
    const { count } = this.#batch
    const times: number[] = []
    const before = this.#received()
    for (let sent = 0; sent < this.#options.packets; sent += count) {
      prepare()
      const start = process.hrtime.bigint()
      this.#batch.send(this.#sender)
      times.push(Number(process.hrtime.bigint() - start) / count)
    }
    const arrived = this.#received() - before
    if (arrived !== times.length * count)
      throw new Error(`${this.#options.name}: ${arrived} of ${times.length * count} packets arrived`)
    return median(times)
  }

  /** Packets that the receiving pod's interface has had. */
  #received(): number {
    const text = inNetns(this.lab.pods[RECEIVER.name]!.netns, () => readFileSync('/proc/thread-self/net/dev', 'utf8'))
    const [, packets] = /eth0:\s*\d+\s+(\d+)/.exec(text)!
    return Number(packets)
  }
}

/** Takes the last processor for this thread, where the packets then stay too. */
export const takeProcessor = (count: number): void => pinThread(count - 1)
