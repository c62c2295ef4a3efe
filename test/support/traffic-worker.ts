// The thread of traffic.ts: sends, sees, judges. It runs without a pause until it is told to stop.
import os from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { HOST_MAC } from '../../src/core/base/register.ts'
import { close, pinThread } from '../../src/io/kernel/sys.ts'
import { Conntrack } from './conntrack.ts'
import { frame, PAYLOAD_AT, SPORT_AT, type TCP, UDP } from './frames.ts'
import { Messages, SLOT } from './messages.ts'
import { openSender, openSniffer } from './packet-socket.ts'
import { type Flow, type Misjudged, type TrafficReport, WORD, type WorkerInput } from './traffic.ts'

const { wires, node, words, history, allowed, flows, marker } = workerData as WorkerInput
/** Of each flow in a batch. */
const REPEAT = 1
const FIRST_PORT = 1024
const PORTS = 64_000
/** Connections that conntrack may remember before it is made to forget them; it holds 262,144. */
const REMEMBERED = 100_000
/** Long enough for a machine that has other things to do. */
const MARKER_MS = 20_000
const KEPT = 50

pinThread(os.cpus().length - 1)
const conntrack = new Conntrack(node)
const order = shuffled(flows.flatMap((flow, index) => Array.from({ length: REPEAT }, () => ({ flow, index }))))
const senders = [...new Set(flows.map(f => f.from))].map(name => makeSender(name))
const sniffers = [...new Set(flows.map(f => f.to))].map(name => openSniffer(wires[name]!))
const markerSender = { fd: openSender(wires[marker.from]!), batch: new Messages(1) }
const markerSniffer = openSniffer(wires[marker.to]!)
markerSender.batch.put(0, frameOf(marker))
const received = new Messages(512)
const arrived = new Uint16Array(flows.length)

type Sender = { fd: number; batch: Messages; slots: { flow: number; payload: number }[] }

function makeSender(name: string): Sender {
  const own = order.filter(({ flow }) => flow.from === name)
  const batch = new Messages(own.length)
  const slots = own.map(({ flow, index }, slot) => {
    batch.put(slot, frameOf(flow))
    const payload = PAYLOAD_AT[flow.packet.protocol as typeof UDP | typeof TCP]
    batch.view.setUint16(slot * SLOT + payload + 4, index)
    return { flow: index, payload }
  })
  return { fd: openSender(wires[name]!), batch, slots }
}

function frameOf({ from, packet }: Flow): Uint8Array {
  const { src, dst, dport, protocol } = packet
  return frame({
    ...{ srcMac: wires[from]!.mac, dstMac: HOST_MAC, src, dst, dport: dport! },
    protocol: protocol as typeof UDP | typeof TCP,
  })
}

/** By a fixed recipe: a failure can be had again. */
function shuffled<T>(items: readonly T[]): T[] {
  const all = [...items]
  let seed = 1
  for (let i = all.length - 1; i > 0; i--) {
    seed = (seed * 48_271) % 2_147_483_647
    const j = seed % (i + 1)
    ;[all[i], all[j]] = [all[j]!, all[i]!]
  }
  return all
}

/** Every packet of a batch gets a source port that its flow has not had for long. */
function prepare({ batch, slots }: Sender, number: number): void {
  slots.forEach(({ payload }, slot) => {
    const at = slot * SLOT
    batch.view.setUint16(at + SPORT_AT, FIRST_PORT + ((number * REPEAT + (slot % REPEAT)) % PORTS))
    batch.view.setUint32(at + payload, number)
  })
}

/** What waits at a sniffer; `take` gets each packet's batch number and flow. */
function drain(fd: number, take: (number: number, flow: number) => void): void {
  for (let count = received.receive(fd); count > 0; count = received.receive(fd)) {
    for (let slot = 0; slot < count; slot++) {
      const at = slot * SLOT
      const payload = received.bytes[at + 23] === UDP ? PAYLOAD_AT[17] : PAYLOAD_AT[6]
      take(received.view.getUint32(at + payload), received.view.getUint16(at + payload + 4))
    }
  }
}

/** False when the marker did not come. */
function awaitMarker(number: number): boolean {
  const end = performance.now() + MARKER_MS
  let seen = false
  while (!seen && performance.now() < end) {
    drain(markerSniffer, n => {
      seen ||= n === number
    })
  }
  return seen
}

const misjudged: Misjudged[] = []
let misjudgedPackets = 0
function blame(wrong: Misjudged): void {
  misjudgedPackets += wrong.packets
  if (misjudged.length < KEPT) misjudged.push(wrong)
}

function judge(from: number, to: number): void {
  for (let flow = 0; flow < flows.length; flow++) {
    let some = false
    let all = true
    for (let change = from; change <= to; change++) {
      const yes = allowed[history[change]! * flows.length + flow] === 1
      some ||= yes
      all &&= yes
    }
    const packets = arrived[flow]!
    if (!some && packets > 0) blame({ kind: 'passed', flow, from, to, packets })
    if (all && packets < REPEAT) blame({ kind: 'dropped', flow, from, to, packets: REPEAT - packets })
  }
}

let number = 0
let straddling = 0
let packets = 0
let total = 0
let remembered = 0
const start = performance.now()
while (Atomics.load(words, WORD.STOP) === 0) {
  number++
  const from = Atomics.load(words, WORD.DONE)
  arrived.fill(0)
  for (const sender of senders) {
    prepare(sender, number)
    sender.batch.send(sender.fd)
    packets += sender.batch.count
  }
  const { view } = markerSender.batch
  view.setUint16(SPORT_AT, FIRST_PORT + (number % PORTS))
  view.setUint32(PAYLOAD_AT[UDP], number)
  markerSender.batch.send(markerSender.fd)
  if (!awaitMarker(number)) throw new Error(`batch ${number}: the packet that every state allows did not arrive`)
  const before = total
  for (const fd of sniffers) {
    drain(fd, (of, flow) => {
      if (of !== number) throw new Error(`batch ${number}: a packet of batch ${of} arrived late`)
      arrived[flow]!++
      total++
    })
  }
  const to = Atomics.load(words, WORD.BEGUN)
  if (to !== from) straddling++
  judge(from, to)
  Atomics.add(words, WORD.BATCHES, 1)
  Atomics.notify(words, WORD.BATCHES)
  remembered += total - before + 1
  if (remembered > REMEMBERED) {
    conntrack.flush()
    remembered = 0
  }
}
const seconds = (performance.now() - start) / 1000
for (const fd of [...senders.map(s => s.fd), ...sniffers, markerSender.fd, markerSniffer]) close(fd)
conntrack.close()
parentPort!.postMessage({
  ...{ packets, arrived: total, seconds, batches: number, straddling, misjudged, misjudgedPackets },
} satisfies TrafficReport)
