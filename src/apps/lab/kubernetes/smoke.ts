// A short look at everything at once, on a cluster that is up: the example policy on real packets, an installation that is
// repeated, an agent that is killed, pods that go. Each step throws what it found wrong.
import { setTimeout as delay } from 'node:timers/promises'
import { example } from '../commands.ts'
import { summarise } from '../matrix.ts'
import type { Steps } from '../terminal.ts'
import { agentOn, type KubernetesLab } from './lab.ts'

const POLICY = 'allow-backend-to-frontend.yaml'

async function probe(lab: KubernetesLab): Promise<string> {
  const { probes, allowed, denied, differences } = summarise(await lab.probe())
  if (differences > 0) throw new Error(`${differences} of ${probes} probes went otherwise than expected`)
  return `${probes} probes, ${allowed} allowed, ${denied} denied, as expected`
}

/** Addresses that the cluster's blocks say are in use. */
async function allocated(lab: KubernetesLab): Promise<number> {
  const text = await lab.cluster.kubectl('get', 'ipamblocks.projectcalico.org', '-o', 'json')
  const { items } = JSON.parse(text) as { items: { spec: { allocations: (number | null)[] } }[] }
  return items.reduce((sum, { spec }) => sum + spec.allocations.filter(one => one !== null).length, 0)
}

async function killAgent(lab: KubernetesLab): Promise<string> {
  const restarts = () =>
    lab.cluster.kubectl(
      'get',
      'pods',
      ...agentOn('node-a'),
      '-o',
      'jsonpath={.items[0].status.containerStatuses[0].restartCount}',
    )
  const before = Number(await restarts())
  process.kill(await lab.agentProcess('node-a'), 'SIGKILL')
  // Nobody tells the counters of node-a now; the verdicts are what counts.
  const wrong = (await lab.probe()).filter(({ expected, observed }) => expected !== observed)
  await lab.cluster.until('the agent runs again', async () => Number(await restarts()) > before)
  await lab.cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/gingham-node', '--timeout=60s')
  await lab.settled()
  if (wrong.length > 0) throw new Error(`while the agent was away: ${wrong.length} probes went otherwise than expected`)
  return `pods stay guarded, ${await probe(lab)} after it is back`
}

export async function smoke(lab: KubernetesLab, steps: Steps): Promise<void> {
  const step = steps.step.bind(steps)
  const { cluster } = lab
  await lab.startWorkloads()
  await step('probes without policy', async () => {
    const { probes, denied } = summarise(await lab.probe())
    if (denied > 0) throw new Error(`${denied} of ${probes} probes did not get through although no policy is in force`)
    return `${probes}`
  })
  await step('policy', async () => (await lab.create(example(POLICY))).said)
  await step('probes with the policy', () => probe(lab))
  await step('installed again', async () => {
    const said = await lab.install()
    const changed = said
      .split('\n')
      .filter(line => / (created|configured)$/.test(line) && !line.includes('admissionpolic'))
    if (changed.length > 0) throw new Error(`a second apply changed: ${changed.join(', ')}`)
    return 'changes nothing'
  })
  await step('an agent killed', () => killAgent(lab))
  await step('pods gone', async () => {
    await cluster.kubectl('delete', '-f', example(POLICY))
    await cluster.kubectl('delete', 'deployment', '--all', '-A', '--wait=true')
    await cluster.until('no pod has an address', async () => (await lab.readPods()).length === 0)
    await delay(1000)
    const left = await allocated(lab)
    if (left > 0) throw new Error(`${left} addresses are allocated although no pod is there`)
    return 'no address is left'
  })
}
