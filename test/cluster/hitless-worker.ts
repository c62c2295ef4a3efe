// The thread of hitless-traffic.ts: sends a batch every few milliseconds, sees what arrives, judges. It runs on the
// machine's last processor only, which is what keeps packets in order.
import os from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { HOST_MAC } from '../../src/core/base/register.ts'
import { FAMILIES } from '../../src/core/net/addr.ts'
import { close, pinThread } from '../../src/io/kernel/sys.ts'
import { PAYLOAD_AT, SPORT_AT, TCP, UDP } from '../support/frames.ts'
import { further, unanswered } from '../support/frames6.ts'
import { Messages, SLOT } from '../support/messages.ts'
import { openSender, openSniffer } from '../support/packet-socket.ts'
import { type Flow, type Misjudged, type TrafficReport, WORD, type WorkerInput } from './hitless-traffic.ts'

const { wires, flows, marker, words, history, allowed } = workerData as WorkerInput
const PERIOD_MS = 10
/** Batches before judging begins: neighbours are found meanwhile. */
const WARM_UP = 50
/** A marker on its way for so long was dropped. */
const MARKER_MS = 5000
const FIRST_PORT = 10_000
const PORTS = 50_000
/** In the payload after batch and flow: that the packet is ours. */
const MAGIC = 0x6769
const KEPT = 50
const MARKER = flows.length

pinThread(os.cpus().length - 1)

type Slot = { readonly at: number; readonly sport: number; readonly payload: number }
type Sender = { readonly fd: number; readonly batch: Messages; readonly slots: readonly Slot[] }

function sender(name: string, own: readonly { readonly flow: Flow; readonly index: number }[]): Sender {
  const batch = new Messages(own.length)
  const slots = own.map(({ flow, index }, slot) => {
    const { src, dst, dport, protocol, family } = flow.packet
    const known = protocol as typeof TCP | typeof UDP
    batch.put(
      slot,
      unanswered({ srcMac: wires[name]!.mac, dstMac: HOST_MAC, src, dst, dport: dport!, protocol: known }),
    )
    const at = slot * SLOT
    const payload = at + PAYLOAD_AT[known] + further(family)
    batch.view.setUint16(payload + 4, index)
    batch.view.setUint16(payload + 6, MAGIC)
    return { at, sport: at + SPORT_AT + further(family), payload }
  })
  return { fd: openSender(wires[name]!), batch, slots }
}

const indexed = flows.map((flow, index) => ({ flow, index }))
const senders = Object.keys(wires)
  .map(name => ({ name, own: indexed.filter(({ flow }) => flow.from === name) }))
  .filter(({ own }) => own.length > 0)
  .map(({ name, own }) => sender(name, own))
const last = sender(marker.from, [{ flow: marker, index: MARKER }])
const sniffers = Object.values(wires).flatMap(wire =>
  FAMILIES.map(family => ({ fd: openSniffer(wire, family), family })),
)
const received = new Messages(512)

function send({ fd, batch, slots }: Sender, number: number): void {
  const port = FIRST_PORT + (number % PORTS)
  for (const { sport, payload } of slots) {
    batch.view.setUint16(sport, port)
    batch.view.setUint32(payload, number)
  }
  batch.send(fd)
}

/** What waits at the pods, ours only: `take` gets each packet's batch and flow. */
function drain(take: (batch: number, flow: number) => void): void {
  const { bytes, view } = received
  for (const { fd, family } of sniffers) {
    for (let count = received.receive(fd); count > 0; count = received.receive(fd)) {
      for (let slot = 0; slot < count; slot++) {
        const at = slot * SLOT
        const protocol = bytes[at + (family === 4 ? 23 : 20)]
        if (protocol !== TCP && protocol !== UDP) continue
        const payload = at + PAYLOAD_AT[protocol] + further(family)
        // A TCP header without options: those of established connections have time stamps, where any number may stand.
        if (protocol === TCP && bytes[payload - 8] !== 5 << 4) continue
        if (view.getUint16(payload + 6) !== MAGIC) continue
        // Of a shorter packet this would be what an earlier one left in the slot.
        view.setUint16(payload + 6, 0)
        take(view.getUint32(payload), view.getUint16(payload + 4))
      }
    }
  }
}

const describe = ({ from, to, packet: { family, protocol, dport } }: Flow): string =>
  `${from} to ${to} ${protocol === TCP ? 'tcp' : 'udp'}/${dport} IPv${family}`

const misjudged: Misjudged[] = []
let misjudgedFlows = 0
function blame(kind: Misjudged['kind'], flow: Flow, { window, batch }: { window: Window; batch: number }): void {
  misjudgedFlows++
  Atomics.store(words, WORD.MISJUDGED, misjudgedFlows)
  const states = [history[window.from]!, history[window.to]!] as const
  if (misjudged.length < KEPT) misjudged.push({ kind, flow: describe(flow), states, batch })
}

/** The changes that a batch may have met, by their places in the history. */
type Window = { readonly from: number; readonly to: number }

function judge(arrived: Uint8Array, window: Window, batch: number): void {
  flows.forEach((flow, index) => {
    let some = false
    let all = true
    for (let change = window.from; change <= window.to; change++) {
      const yes = allowed[history[change]! * flows.length + index] === 1
      some ||= yes
      all &&= yes
    }
    if (!some && arrived[index]! > 0) blame('passed', flow, { window, batch })
    if (all && arrived[index] === 0) blame('dropped', flow, { window, batch })
  })
}

const pause = new Int32Array(new SharedArrayBuffer(4))
const sleep = (ms: number): void => void Atomics.wait(pause, 0, 0, ms)

let batch = 0
let straddling = 0
let total = 0
const start = performance.now()
while (Atomics.load(words, WORD.STOP) === 0) {
  batch++
  const began = performance.now()
  const from = Atomics.load(words, WORD.DONE)
  const arrived = new Uint8Array(flows.length)
  let marked = false
  const take = (of: number, flow: number): void => {
    // A packet that came after its batch's marker would have been judged as dropped already.
    if (of !== batch) throw new Error(`batch ${batch}: a packet of batch ${of} arrived late`)
    if (flow === MARKER) marked = true
    else arrived[flow]!++
  }
  for (const s of senders) send(s, batch)
  send(last, batch)
  while (!marked && performance.now() - began < MARKER_MS) {
    drain(take)
    if (!marked) sleep(1)
  }
  drain(take)
  const to = Atomics.load(words, WORD.BEGUN)
  if (batch > WARM_UP) {
    if (!marked) blame('dropped', marker, { window: { from, to }, batch })
    judge(arrived, { from, to }, batch)
    if (to !== from) straddling++
  }
  for (const count of arrived) total += count
  Atomics.add(words, WORD.BATCHES, 1)
  Atomics.notify(words, WORD.BATCHES)
  sleep(Math.max(0.1, PERIOD_MS - (performance.now() - began)))
}
const seconds = (performance.now() - start) / 1000
for (const { fd } of [...senders, last, ...sniffers]) close(fd)
parentPort!.postMessage({
  ...{ flows: batch * flows.length, arrived: total, batches: batch, straddling, seconds, misjudgedFlows, misjudged },
} satisfies TrafficReport)
