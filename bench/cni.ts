// The CNI plugin as a container runtime calls it, in a whole lab: ADD and DEL one at a time and sixty at once, and the memory
// of the agent. The time is that of the plugin's process, from its start to its end; what a process costs that does nothing
// is measured beside it. Both are started by a thread that is in the node's namespace, without `ip netns exec`.
//
//   node_modules/.bin/node bench/cni.ts [--write] [--pods 40]
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import { Lab } from '../src/apps/lab/lab.ts'
import { names } from '../src/apps/lab/plan.ts'
import type { LabPod } from '../src/apps/lab/pods.ts'
import { RunFolder } from '../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../src/apps/lab/terminal.ts'
import { decodeResource } from '../src/core/resources/resource.ts'
import { inNetns, namedNetns } from '../src/io/kernel/netns.ts'
import { ResourceClient } from '../src/io/store/resource-client.ts'
import { decimals, markdown, median, quantile, report, whole } from './report.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    pods: { type: 'string', default: '40' },
    rounds: { type: 'string', default: '5' },
  },
})
const COUNT = Number(values.pods)
/** Of sixty at once. */
const ROUNDS = Number(values.rounds)
const AT_ONCE = 60
const ms = decimals(1)

const prefix = `gbc${process.pid}`
const node = namedNetns(names(prefix).node('node-a'))
const run = promisify(execFile)
const folder = await RunFolder.claim(`/run/gingham-bench-${process.pid}`, prefix)
const lab = new Lab(folder, prefix, new Steps(() => {}, plain))

async function schedule(name: string): Promise<LabPod> {
  const decoded = decodeResource({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { role: 'client' } },
    spec: { nodeName: 'node-a', serviceAccountName: 'default', containers: [{ name: 'main' }] },
  })
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.problems))
  await new ResourceClient(lab.store).create(decoded.value)
  return { namespace: 'default', name, node: 'node-a' }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** Its parts are processes of their own, which outlive this one. */
async function end(): Promise<void> {
  await lab.stop()
  await folder.cleanUp()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void end().finally(() => process.exit(1)))

try {
  await lab.build()
  const pods = lab.pods
  const one: LabPod[] = []
  for (let i = 0; i < COUNT; i++) one.push(await schedule(`one-${i}`))
  const [adds, dels, nothing]: [number[], number[], number[]] = [[], [], []]
  for (const pod of one) {
    pods.prepare(pod)
    adds.push(await timed(() => pods.call('ADD', pod)))
    nothing.push(await timed(() => inNetns(node, () => ({ ended: run('/bin/true') })).ended))
  }
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${lab.agentPid('node-a')}/status`, 'utf8'))![1]!
  for (const pod of one) {
    dels.push(await timed(() => pods.call('DEL', pod)))
    pods.forget(pod)
  }
  const [addAll, delAll]: [number[], number[]] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    const many: LabPod[] = []
    for (let i = 0; i < AT_ONCE; i++) many.push(await schedule(`many-${round}-${i}`))
    for (const pod of many) pods.prepare(pod)
    addAll.push(await timed(() => Promise.all(many.map(pod => pods.call('ADD', pod)))))
    delAll.push(await timed(() => Promise.all(many.map(pod => pods.call('DEL', pod)))))
    for (const pod of many) pods.forget(pod)
  }
  const range = (times: number[]): string =>
    `${whole(median(times))} (${whole(Math.min(...times))}-${whole(Math.max(...times))})`
  const row = (what: string, times: number[]): string[] => [what, ms(median(times)), ms(quantile(times, 0.99))]
  report(
    'cni',
    `## CNI\n\nIn the lab, three nodes; ${COUNT} pods one at a time on one of them.\n\n${markdown(
      ['', 'p50, ms', 'p99, ms'],
      [row('ADD', adds), row('DEL', dels), row('a process that does nothing', nothing)],
    )}\n\n${markdown(
      ['', `ms, median of ${ROUNDS} (range)`],
      [
        [`${AT_ONCE} ADDs at once, until the last is done`, range(addAll)],
        [`${AT_ONCE} DELs at once`, range(delAll)],
      ],
    )}\n\nResident memory of the agent with ${COUNT + 3} pods: ${whole(Number(rss) / 1024)} MB.`,
  )
} finally {
  await end()
}
process.exit(0)
