// Probes between all pods with real packets, judged by the oracle. One process holds the sockets of every pod, each made
// in the pod's own namespace, so that hundreds of probes run at once.
import { type Addr, FAMILIES, type Family, familyOf } from '../../core/net/addr.ts'
import type { Packet } from '../../core/net/packet.ts'
import { protocolName } from '../../core/net/protocol.ts'
import { decide } from '../../core/oracle/decide.ts'
import { printCause } from '../../core/resources/cause.ts'
import type { Snapshot } from '../../core/resources/resource.ts'
import { namedNetns } from '../../io/kernel/netns.ts'
import { ProbeHost } from '../../io/kernel/probe-sockets.ts'
import { type AgentSockets, counterKey, readCounters } from './cluster.ts'
import type { Probe, Verdict } from './matrix.ts'
import type { WiredPod } from './pods.ts'

const TCP = 6
const UDP = 17
const ICMP = { 4: { protocol: 1, type: 8 }, 6: { protocol: 58, type: 128 } } as const

/** What every pod serves. 8080 is the port named `http` of the backends. */
const SERVICES: readonly { readonly protocol: number; readonly port?: number }[] = [
  { protocol: TCP, port: 80 },
  { protocol: TCP, port: 8080 },
  { protocol: UDP, port: 53 },
  { protocol: ICMP[4].protocol },
]

/** An answer takes a fraction of a millisecond; what has not come by then was dropped. */
const PATIENCE_MS = 700
/**
 * No two probes have the same source port, so that none passes as part of a connection that an earlier one established,
 * by whichever prober. Below the range from which the kernel chooses.
 */
const FIRST_SOURCE_PORT = 10_000
const SOURCE_PORTS = 20_000
let count = 0

export type Observation = {
  readonly from: WiredPod
  readonly to: WiredPod
  readonly packet: Packet
  readonly observed: Verdict
}

export class Prober {
  readonly #pods: readonly WiredPod[]
  readonly #hosts = new Map<string, ProbeHost>()

  /** Opens the sockets of every pod; they serve until `close`. */
  constructor(pods: readonly WiredPod[]) {
    this.#pods = pods
    for (const pod of pods) {
      const host = new ProbeHost(namedNetns(pod.netns))
      this.#hosts.set(pod.netns, host)
      for (const { protocol, port } of SERVICES) {
        if (protocol === TCP) host.listenTcp(port!)
        if (protocol === UDP) host.listenUdp(port!)
      }
    }
  }

  close(): void {
    for (const host of this.#hosts.values()) host.close()
  }

  /** Every service of every pod from every other pod, in both families. */
  async probeAll(): Promise<Observation[]> {
    const probes: Promise<Observation>[] = []
    for (const from of this.#pods) {
      for (const to of this.#pods) {
        if (from === to) continue
        for (const family of FAMILIES)
          for (const service of SERVICES) probes.push(this.#probe(from, to, { family, ...service }))
      }
    }
    return Promise.all(probes)
  }

  async #probe(
    from: WiredPod,
    to: WiredPod,
    { family, protocol, port }: { family: Family; protocol: number; port?: number },
  ): Promise<Observation> {
    const sport = FIRST_SOURCE_PORT + (count++ % SOURCE_PORTS)
    const packet = packetOf(addressOf(from, family), addressOf(to, family), { family, protocol, sport, dport: port })
    const host = this.#hosts.get(from.netns)!
    const result =
      port === undefined
        ? await host.ping(packet.dst, PATIENCE_MS)
        : protocol === TCP
          ? await host.connectTcp(packet.dst, port, PATIENCE_MS, { port: sport })
          : await host.exchangeUdp(packet.dst, port, PATIENCE_MS, { port: sport })
    return { from, to, packet, observed: result === 'open' ? 'allow' : 'deny' }
  }
}

function addressOf(pod: WiredPod, family: Family): Addr {
  const found = pod.addresses.find(a => familyOf(a) === family)
  if (!found) throw new Error(`pod ${pod.namespace}/${pod.name} has no IPv${family} address`)
  return found
}

type Ports = { family: Family; protocol: number; sport: number; dport: number | undefined }

function packetOf(src: Addr, dst: Addr, { family, protocol, sport, dport }: Ports): Packet {
  if (dport !== undefined) return { family, src, dst, protocol, sport, dport }
  const ping = ICMP[family]
  return { family, src, dst, protocol: ping.protocol, icmp: { type: ping.type, code: 0 } }
}

const printWhat = ({ family, protocol, dport }: Packet): string =>
  `${protocolName(protocol).replace('v6', '').toLowerCase()}${dport === undefined ? '' : `/${dport}`} IPv${family}`

/** What was seen beside what should be; `moved` tells how far a counter (node, direction, cause) went meanwhile. */
function judge(observations: readonly Observation[], snapshot: Snapshot, moved: (counter: string) => number): Probe[] {
  return observations.map(({ from, to, packet, observed }) => {
    const { verdict, egress, ingress } = decide(snapshot, packet)
    const deciding = egress?.verdict === 'deny' ? egress : ingress
    const node = deciding === egress ? from.node : to.node
    const rule = deciding ? printCause(deciding.cause) : 'no workload'
    const base = {
      from: `${from.namespace}/${from.name}`,
      to: `${to.namespace}/${to.name}`,
      what: printWhat(packet),
      expected: verdict,
      observed,
      rule,
    }
    if (observed === 'allow' || !deciding) return base
    return { ...base, counted: moved(counterKey(node, deciding.direction, rule)) > 0 }
  })
}

/** Observes, and judges what was seen by the oracle and by how far the kernels' counters went meanwhile. */
export async function observeAndJudge(
  observe: () => Promise<readonly Observation[]>,
  { snapshot, agents }: { readonly snapshot: Snapshot; readonly agents: AgentSockets },
): Promise<Probe[]> {
  const before = await readCounters(agents)
  const observations = await observe()
  const after = await readCounters(agents)
  return judge(observations, snapshot, counter => (after.get(counter) ?? 0) - (before.get(counter) ?? 0))
}
