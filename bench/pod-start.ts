// How long a pod takes from its creation to Running on the lab's Kubernetes, its image being there: one at a time, and sixty at
// once, with the reference plugins ptp and host-local, and with this project, on the same nodes one after the other. The same
// plugins are chained behind both.
// It needs the programs of Kubernetes (npm run kubernetes:build) and the Debian packages of npm start -- --kubernetes.
//
//   node_modules/.bin/node bench/pod-start.ts [--write] [--pods 20] [--rounds 3]
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { KubernetesLab } from '../src/apps/lab/kubernetes/lab.ts'
import { NODES } from '../src/apps/lab/plan.ts'
import { RunFolder } from '../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../src/apps/lab/terminal.ts'
import { VERSION } from '../src/core/base/version.ts'
import { printNetworkList } from '../src/core/cni/network-list.ts'
import type { ApiClient } from '../src/io/kubernetes/api-client.ts'
import { readCpu, spentBetween } from './cpu.ts'
import { decimals, markdown, quantile, report, whole } from './report.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    pods: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '3' },
  },
})
const COUNT = Number(values.pods)
const ROUNDS = Number(values.rounds)
const AT_ONCE = 60
const NAMESPACE = 'bench'
const seconds = decimals(2)

const prefix = `gbp${process.pid}`
const run = `/var/lib/gingham-bench-${process.pid}`
const folder = await RunFolder.claim(run, prefix)
const options = { run, prefix, once: true, kubernetes: true, proxy: 'nftables' } as const
const lab = new KubernetesLab(folder, options, new Steps(text => process.stderr.write(text), plain))
const pods = `/api/v1/namespaces/${NAMESPACE}/pods`

const pod = (name: string, node: string | undefined): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: `localhost/gingham-pause:${VERSION}` }],
    },
  })

async function isRunning(api: ApiClient, name: string): Promise<boolean> {
  const { status } = JSON.parse(await api.request('GET', `${pods}/${name}`)) as { status: { phase?: string } }
  return status.phase === 'Running'
}

async function count(api: ApiClient, isCounted: (phase: string) => boolean): Promise<number> {
  const { items } = JSON.parse(await api.request('GET', pods)) as { items: { status: { phase?: string } }[] }
  return items.filter(({ status }) => isCounted(status.phase ?? '')).length
}

async function until(holds: () => Promise<boolean>, everyMs: number): Promise<void> {
  while (!(await holds())) await delay(everyMs)
}

/** Whose CPU time is counted apart, as the kernel calls them: at most 15 characters. What containers and plugins take is in `others`. */
const PROGRAMS = [
  'kubelet',
  'containerd',
  'kube-apiserver',
  'etcd',
  'kube-controller',
  'kube-scheduler',
  'kube-proxy',
  'bird',
]
function programOf(pid: number, comm: string): string | undefined {
  if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/agent.js')) return 'agents'
  return PROGRAMS.includes(comm) ? comm : undefined
}

type Measured = { readonly alone: number[]; readonly together: number[]; readonly cpu: ReadonlyMap<string, number> }

async function measure(api: ApiClient): Promise<Measured> {
  const alone: number[] = []
  for (let i = 0; i < COUNT; i++) {
    const name = `one-${i}`
    const began = performance.now()
    await api.request('POST', pods, { body: pod(name, 'node-a') })
    await until(() => isRunning(api, name), 10)
    alone.push((performance.now() - began) / 1000)
    await api.request('DELETE', `${pods}/${name}`)
    await until(async () => (await count(api, () => true)) === 0, 50)
    await delay(500)
  }
  const together: number[] = []
  const cpu = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++) {
    const before = readCpu(programOf)
    const began = performance.now()
    await Promise.all(
      Array.from({ length: AT_ONCE }, (_, i) => api.request('POST', pods, { body: pod(`all-${i}`, undefined) })),
    )
    await until(async () => (await count(api, phase => phase === 'Running')) === AT_ONCE, 50)
    together.push((performance.now() - began) / 1000)
    for (const [name, spent] of spentBetween(before, readCpu(programOf)))
      cpu.set(name, (cpu.get(name) ?? 0) + (spent * 1000) / AT_ONCE / ROUNDS)
    await api.request('DELETE', pods)
    await until(async () => (await count(api, () => true)) === 0, 200)
    await delay(2000)
  }
  return { alone, together, cpu }
}

const networkFile = (node: string): string =>
  join(lab.cluster.nodes.get(node)!.path('/etc/cni/net.d'), '10-ptp.conflist')

function usePtp(): void {
  // What is chained behind our own plugin, too.
  const { plugins } = JSON.parse(printNetworkList()) as { plugins: object[] }
  const chained = plugins.slice(1)
  for (const [i, { name }] of NODES.entries()) {
    const ranges = [[{ subnet: `10.99.${i}.0/24` }]]
    const ptp = { type: 'ptp', ipam: { type: 'host-local', ranges, routes: [{ dst: '0.0.0.0/0' }] } }
    writeFileSync(networkFile(name), JSON.stringify({ cniVersion: '0.4.0', name: 'ptp', plugins: [ptp, ...chained] }))
  }
}

/** Milliseconds that the agents said an ADD took, on their side of the socket. */
function addsOf(): number[] {
  return NODES.flatMap(({ name }) => {
    const logs = lab.cluster.nodes.get(name)!.path('/var/log/pods')
    return readLogs(logs).flatMap(line => {
      const match = /"ms":(\d+),"msg":"CNI ADD"/.exec(line)
      return match === null ? [] : [Number(match[1])]
    })
  })
}

function readLogs(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(file => /gingham-node.*\/agent\/\d+\.log$/.test(file))
    .flatMap(file => readFileSync(join(folder, file), 'utf8').split('\n'))
}

try {
  await lab.startCluster()
  const api = await lab.cluster.control.client()
  await lab.cluster.kubectl('create', 'namespace', NAMESPACE)
  usePtp()
  await lab.cluster.kubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s')
  await until(
    async () => (await lab.cluster.kubectl('-n', NAMESPACE, 'get', 'serviceaccounts')).includes('default'),
    100,
  )
  const ptp = await measure(api)
  for (const { name } of NODES) rmSync(networkFile(name))
  await lab.installNetwork()
  const ours = await measure(api)
  api.close()
  const adds = addsOf()
  const row = (name: string, { alone, together }: Measured): string[] => [
    name,
    seconds(quantile(alone, 0.5)),
    seconds(quantile(alone, 0.95)),
    seconds(quantile(together, 0.5)),
  ]
  const columns = [...ours.cpu.keys()]
  const cpuRow = (name: string, { cpu }: Measured): string[] => [name, ...columns.map(c => whole(cpu.get(c) ?? 0))]
  report(
    'pod start',
    `## Pods on Kubernetes

Seconds from creation to Running as a client sees it, the image present: ${COUNT} pods one at a time on one node, and
${AT_ONCE} at once on three (median of ${ROUNDS} rounds), portmap and bandwidth chained behind both. The whole cluster is on this machine. \`bench/pod-start.ts\`.

${markdown(['network', 'one, p50', 'one, p95', `${AT_ONCE} at once`], [row('ptp and host-local', ptp), row('gingham', ours)])}

CPU time for each of the ${AT_ONCE}, ms, on all of the machine:

${markdown(['network', ...columns], [cpuRow('ptp and host-local', ptp), cpuRow('gingham', ours)])}

The agents' own part of an ADD, over all of these: p50 ${Math.round(quantile(adds, 0.5))} ms, p95 ${Math.round(quantile(adds, 0.95))} ms.`,
  )
} finally {
  await Promise.allSettled([lab.stop()])
  await folder.cleanUp()
}
process.exit()
