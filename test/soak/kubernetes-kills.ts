// The long round of kills: agents, kubelets and the API server of a real cluster end by SIGKILL under churn, most of them in
// the middle of an ADD, a DEL or the writing of a policy. After each, when nothing happens any more, every verdict is probed with
// real packets, and IPAM is held against the pods. The seed is new every time and printed; `GINGHAM_SOAK_SEED` repeats it.
import { setTimeout as delay } from 'node:timers/promises'
import type { KubernetesLab } from '../../src/apps/lab/kubernetes/lab.ts'
import { NODES } from '../../src/apps/lab/plan.ts'
import { KubernetesStore } from '../../src/io/store/kubernetes/store.ts'
import { Flights } from '../support/cni-flights.ts'
import { dice, pick } from '../support/dice.ts'
import { Churn } from '../support/kubernetes-churn.ts'
import { judge, onLab, runRound, tell } from '../support/kubernetes-round.ts'

const ROUNDS = Number(process.env.GINGHAM_SOAK_ROUNDS ?? 100)
const milliseconds = Number(process.env.GINGHAM_SOAK_SECONDS ?? 1800) * 1000
const seed = Number(process.env.GINGHAM_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31))
const d = dice(seed)

type Kind = { readonly victim: 'agent' | 'kubelet' | 'API server'; readonly moment: 'ADD' | 'DEL' | 'policy' }
const KINDS: readonly Kind[] = [
  { victim: 'agent', moment: 'ADD' },
  { victim: 'kubelet', moment: 'ADD' },
  { victim: 'agent', moment: 'DEL' },
  { victim: 'API server', moment: 'ADD' },
  { victim: 'agent', moment: 'ADD' },
  { victim: 'kubelet', moment: 'DEL' },
  { victim: 'agent', moment: 'DEL' },
  { victim: 'API server', moment: 'policy' },
  { victim: 'agent', moment: 'ADD' },
  { victim: 'API server', moment: 'DEL' },
]

const PODS_PER_NODE = 3
/** How long a round waits for its moment. */
const PATIENCE_MS = 5000
/** An ADD takes some twenty milliseconds: the blow falls on any part of it. */
const SPREAD_MS = 12

const PREFIX = 'gkills'

/** How to kill the victim of a round, made ready so that nothing comes in between, and how to have it back. */
type Blow = { readonly strike: () => void; readonly revive: () => Promise<unknown> }

async function blow(lab: KubernetesLab, victim: Kind['victim'], node: string): Promise<Blow> {
  const { control, nodes } = lab.cluster
  switch (victim) {
    case 'agent': {
      const pid = await lab.agentProcess(node)
      // Its kubelet starts it again.
      return { strike: () => process.kill(pid, 'SIGKILL'), revive: async () => {} }
    }
    case 'kubelet': {
      const { kubelet } = nodes.get(node)!
      return {
        strike: () => process.kill(kubelet!.id.pid, 'SIGKILL'),
        revive: async () => {
          await kubelet!.ended
          nodes.get(node)!.startKubelet()
        },
      }
    }
    case 'API server': {
      let ended: Promise<void> | undefined
      const strike = (): void => {
        ended = control.kill()
      }
      return { strike, revive: async () => ended!.then(() => control.revive()) }
    }
  }
}

/** Writes policies until one is on its way; true if it was when the blow fell. */
async function strikeAtPolicy(churn: Churn, strike: () => void): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    let pending = true
    const write = churn.writePolicy().then(
      () => (pending = false),
      () => (pending = false),
    )
    await delay(1 + d(8))
    if (pending || tries === 100) {
      strike()
      const wasPending = pending
      await write
      return wasPending
    }
    await write
  }
}

/** The blow falls as soon as a request of the kind has begun, or somewhat later; gives what it hit. */
async function strikeAtRequest(
  { churn, flights }: { readonly churn: Churn; readonly flights: Flights },
  { strike, moment, node, nodes }: { strike: () => void; moment: string; node: string; nodes: readonly string[] },
): Promise<string[]> {
  const begun = Promise.withResolvers<void>()
  flights.reset()
  flights.onBegin = flight => {
    if (flight.command === moment && nodes.includes(flight.node)) begun.resolve()
  }
  const work = churn.turnOver(node, 2)
  await Promise.race([begun.promise, delay(PATIENCE_MS)])
  if (d(2) === 0) await delay(d(SPREAD_MS))
  const at = Date.now()
  strike()
  await work
  return flights.inFlight(nodes, at).map(({ command }) => command)
}

async function round(lab: KubernetesLab): Promise<number> {
  const totals = { rounds: 0, inTheMiddle: 0, probes: 0, faults: 0, leakedUntilCollected: 0 }
  const byKind = new Map<string, [rounds: number, inTheMiddle: number]>()
  const client = await lab.cluster.control.client()
  const churn = new Churn(lab, client, d)
  await churn.begin(PODS_PER_NODE)
  await churn.quiet()
  await lab.routed()
  const flights = await Flights.open(lab, new KubernetesStore(await lab.cluster.control.client()))
  const end = performance.now() + milliseconds
  for (let i = 0; i < ROUNDS && performance.now() < end; i++) {
    const began = performance.now()
    const { victim, moment } = KINDS[i % KINDS.length]!
    const node = pick(d, NODES).name
    const { strike, revive } = await blow(lab, victim, node)
    const nodes = victim === 'API server' ? NODES.map(({ name }) => name) : [node]
    const hit =
      moment === 'policy'
        ? (await strikeAtPolicy(churn, strike)) && ['policy']
        : await strikeAtRequest({ churn, flights }, { strike, moment, node, nodes })
    await revive()
    await churn.reconcile()
    await churn.quiet()
    const found = await judge(lab, churn)
    const middle = hit !== false && hit.length > 0
    const name = `${victim}, ${moment}`
    const [rounds, inTheMiddle] = byKind.get(name) ?? [0, 0]
    byKind.set(name, [rounds + 1, inTheMiddle + Number(middle)])
    totals.rounds++
    totals.inTheMiddle += Number(middle)
    totals.probes += found.probes
    totals.faults += found.faults.length
    totals.leakedUntilCollected += found.leaked
    const what = middle ? `in the middle of ${hit.join(', ')}` : 'in the middle of nothing'
    tell(`${i + 1}: ${victim} on ${node}, ${what}`, found, began)
  }
  flights.close()
  console.log(`kubernetes-kills, seed ${seed}: ${JSON.stringify({ ...totals, pods: churn.made, edits: churn.edits })}`)
  for (const [name, [rounds, inTheMiddle]] of byKind)
    console.log(`kubernetes-kills: ${name}: ${rounds} rounds, ${inTheMiddle} in the middle`)
  return totals.faults
}

await runRound('kubernetes-kills', () => onLab({ prefix: PREFIX, proxy: 'nftables' }, round))
