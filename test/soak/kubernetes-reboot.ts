// The long round of reboots: machines of a real cluster lose power, one at a time and all three at once, and start again with
// their disks: network namespaces, interfaces, tables and everything in /run are gone, what the plugin and the agent keep on
// disk is there. Afterwards every pod runs again, every verdict is probed with real packets, and IPAM is held against the pods.
import { setTimeout as delay } from 'node:timers/promises'
import type { KubernetesLab } from '../../src/apps/lab/kubernetes/lab.ts'
import { NODES } from '../../src/apps/lab/plan.ts'
import { dice, pick } from '../support/dice.ts'
import { Churn } from '../support/kubernetes-churn.ts'
import { judge, onLab, runRound, tell } from '../support/kubernetes-round.ts'

const ROUNDS = Number(process.env.GINGHAM_SOAK_ROUNDS ?? 10)
const milliseconds = Number(process.env.GINGHAM_SOAK_SECONDS ?? 1800) * 1000
const seed = Number(process.env.GINGHAM_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31))
const d = dice(seed)

const PODS_PER_NODE = 5
const PATIENCE_SECONDS = 180

type PodList = {
  readonly items: readonly {
    readonly metadata: { readonly uid: string; readonly name: string }
    readonly spec: { readonly nodeName: string }
    readonly status: {
      readonly containerStatuses?: readonly { readonly restartCount: number; readonly ready: boolean }[]
    }
  }[]
}

/** How often the containers of each pod on some nodes were started again; absent while they do not run. */
async function restarts(lab: KubernetesLab, nodes: readonly string[]): Promise<Map<string, number | undefined>> {
  const { items } = JSON.parse(await lab.cluster.kubectl('get', 'pods', '-A', '-o', 'json')) as PodList
  return new Map(
    items
      .filter(({ spec }) => nodes.includes(spec.nodeName))
      .map(({ metadata, status }) => {
        const all = status.containerStatuses ?? []
        const count = all.reduce((sum, { restartCount }) => sum + restartCount, 0)
        return [metadata.uid, all.length > 0 && all.every(({ ready }) => ready) ? count : undefined]
      }),
  )
}

async function reboot(lab: KubernetesLab, nodes: readonly string[]): Promise<void> {
  const before = await restarts(lab, nodes)
  await Promise.all(nodes.map(name => lab.cluster.nodes.get(name)!.reboot()))
  await lab.cluster.until(
    `every pod runs again on ${nodes.join(', ')}`,
    async () => {
      const now = await restarts(lab, nodes)
      // A pod that did not run yet, or is gone since, tells nothing.
      return [...before].every(
        ([uid, count]) => count === undefined || !now.has(uid) || (now.get(uid) ?? count) > count,
      )
    },
    PATIENCE_SECONDS,
  )
}

async function round(lab: KubernetesLab): Promise<number> {
  const totals = { rounds: 0, reboots: 0, probes: 0, faults: 0, leakedUntilCollected: 0 }
  const churn = new Churn(lab, await lab.cluster.control.client(), d)
  await churn.begin(PODS_PER_NODE)
  await churn.quiet()
  await lab.routed()
  const end = performance.now() + milliseconds
  for (let i = 0; i < ROUNDS && performance.now() < end; i++) {
    const began = performance.now()
    const nodes = i % 3 === 2 ? NODES.map(({ name }) => name) : [pick(d, NODES).name]
    // Pods are on their way in and out when the power goes.
    const work = churn.turnOver(nodes[0]!, 2)
    await delay(d(300))
    await reboot(lab, nodes)
    await work
    await churn.reconcile()
    await churn.quiet()
    await lab.routed()
    const found = await judge(lab, churn)
    totals.rounds++
    totals.reboots += nodes.length
    totals.probes += found.probes
    totals.faults += found.faults.length
    totals.leakedUntilCollected += found.leaked
    tell(`${i + 1}: ${nodes.join(', ')}`, found, began)
  }
  console.log(`kubernetes-reboot, seed ${seed}: ${JSON.stringify({ ...totals, pods: churn.made, edits: churn.edits })}`)
  return totals.faults
}

await runRound('kubernetes-reboot', () => onLab({ prefix: 'greboot', proxy: 'nftables' }, round))
