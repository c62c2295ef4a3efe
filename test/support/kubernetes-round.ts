// A long round on the lab with a real Kubernetes: where its programs are not built the round says so and is not run; whatever
// comes of it, nothing of the lab is left; after a signal the next one takes it away.
import { CLUSTER_COMPONENTS } from '../../src/apps/lab/kubernetes/cluster.ts'
import { missingComponents } from '../../src/apps/lab/kubernetes/components.ts'
import { KubernetesLab } from '../../src/apps/lab/kubernetes/lab.ts'
import type { ProxyMode } from '../../src/apps/lab/kubernetes/node-files.ts'
import { difference } from '../../src/apps/lab/matrix.ts'
import { observeAndJudge, Prober } from '../../src/apps/lab/probing.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { paintFor, Steps } from '../../src/apps/lab/terminal.ts'
import type { Churn } from './kubernetes-churn.ts'

export const steps = new Steps(text => void process.stdout.write(text), paintFor(process.stdout))

/** Runs `work` on a lab with this project in it; gives what it gives. */
export async function onLab<T>(
  { prefix, proxy }: { readonly prefix: string; readonly proxy: ProxyMode },
  work: (lab: KubernetesLab) => Promise<T>,
): Promise<T> {
  const run = `/var/lib/${prefix}`
  const folder = await RunFolder.claim(run, prefix, pid => steps.say(`cleaning up after a dead lab (process ${pid})`))
  const lab = new KubernetesLab(folder, { run, prefix, proxy, once: true, kubernetes: true }, steps)
  try {
    await lab.start()
    return await work(lab)
  } finally {
    await Promise.allSettled([lab.stop()])
    await folder.cleanUp()
  }
}

/** Every pair of pods, by real packets: how many, and which verdicts are wrong. */
async function probe(lab: KubernetesLab): Promise<{ readonly probes: number; readonly faults: string[] }> {
  const prober = new Prober(await lab.readPods())
  try {
    const about = { snapshot: await lab.snapshot(), agents: lab.agents }
    const probes = await observeAndJudge(() => prober.probeAll(), about)
    const faults = probes.flatMap(one => {
      const what = difference(one)
      return what === undefined ? [] : [`${one.from} to ${one.to}, ${one.what}: ${what} by ${one.rule}`]
    })
    return { probes: probes.length, faults }
  } finally {
    prober.close()
  }
}

/** What is wrong while nothing happens: of pods, addresses and interfaces, and of verdicts. */
export async function judge(lab: KubernetesLab, churn: Churn) {
  const { faults, leaked } = await churn.judge()
  const probed = await probe(lab)
  return { probes: probed.probes, faults: [...faults, ...probed.faults], leaked }
}

/** A round's line, `what` and what was found, with the first faults below it. */
export function tell(what: string, { probes, faults, leaked }: Awaited<ReturnType<typeof judge>>, began: number): void {
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  steps.say(`${what}; ${probes} probes, ${faults.length} faults, ${seconds} s`)
  if (leaked > 0) steps.say(`   ${leaked} addresses were collected`)
  for (const fault of faults.slice(0, 20)) steps.say(`   FAULT: ${fault}`)
}

/** The whole process: `round` gives the number of faults. */
export async function runRound(name: string, round: () => Promise<number>): Promise<never> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(128))
  const missing = missingComponents(CLUSTER_COMPONENTS)
  if (missing.length > 0) {
    console.log(`${name}: NOT RUN: ${missing.join(', ')} not built (npm run kubernetes:build)`)
    process.exit(0)
  }
  try {
    process.exit((await round()) === 0 ? 0 : 1)
  } catch (error) {
    process.stderr.write(`${(error as Error).stack ?? error}\n`)
    process.exit(1)
  }
}
