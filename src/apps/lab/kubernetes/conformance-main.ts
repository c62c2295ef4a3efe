// `npm run test:kubernetes [-- --focus REGEX] [--skip REGEX] [--proxy MODE]`: Kubernetes' own end-to-end suite on the lab's
// cluster with this project installed. It writes docs/conformance.md when it ran what is promised there; the exit code is 1 if
// a spec failed or none ran. `--smoke`: a short look at everything instead, and a few specs; left out, aloud, while the
// programs are not built.
import { execFile, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { ROOT } from '../commands.ts'
import { RunFolder } from '../run-folder.ts'
import { paintFor, Steps } from '../terminal.ts'
import { BuildError, buildComponents } from './build.ts'
import { CLUSTER_COMPONENTS } from './cluster.ts'
import { componentPath, KUBERNETES_VERSION, missingComponents } from './components.ts'
import { KubernetesLab } from './lab.ts'
import type { ProxyMode } from './node-files.ts'
import { parseReport, printPage, type Spec, tally } from './report.ts'
import { smoke } from './smoke.ts'

/** What docs/conformance.md is about. */
const FOCUS = 'Netpol'
const SKIP = 'Feature:SCTPConnectivity'
const LEFT_OUT = [
  {
    what: `specs with ${SKIP}`,
    why: 'the kernel of the machines that this is developed on has no SCTP sockets; policies that name SCTP are tested by those that remain and by packets of test/cluster',
  },
]
/** Of each sort one: closed, by port, by namespace, outgoing, and a policy that changes. */
const SMOKE_FOCUS = [
  "support a 'default-deny-ingress' policy",
  'enforce policy based on Ports',
  'enforce policy based on NamespaceSelector with MatchExpressions',
  'support a .default-deny-all. policy',
  'enforce updated policy',
].join('|')
const run = promisify(execFile)

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    focus: { type: 'string' },
    skip: { type: 'string', default: SKIP },
    proxy: { type: 'string', default: 'nftables' },
    run: { type: 'string', default: '/var/lib/gingham-conformance' },
    prefix: { type: 'string', default: 'gconf' },
  },
})

const focus = values.focus ?? (values.smoke ? `Netpol.*(${SMOKE_FOCUS})` : FOCUS)
const steps = new Steps(text => void process.stdout.write(text), paintFor(process.stdout))

/** The name under which the suite asks for its server. */
async function agnhostName(): Promise<string> {
  const { stdout } = await run(componentPath('e2e.test'), ['--list-images'], { maxBuffer: 1024 * 1024 })
  const names = stdout.split('\n').filter(name => name.includes('e2e-test-images/agnhost:'))
  // Of two versions the older one is there to upgrade from.
  const newest = names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  if (newest === undefined) throw new Error('the suite names no image of agnhost')
  return newest
}

async function runSuite(folder: RunFolder, kubeconfig: string): Promise<Spec[]> {
  const report = join(folder.folder('report'), 'junit.xml')
  const args = [
    ...[`--kubeconfig=${kubeconfig}`, '--provider=skeleton', '--allowed-not-ready-nodes=0'],
    ...[`--ginkgo.focus=${focus}`, `--ginkgo.skip=${values.skip}`, '--ginkgo.timeout=90m', '--ginkgo.no-color'],
    ...[`--ginkgo.junit-report=${report}`, '--dump-logs-on-failure=false'],
  ]
  const child = spawn(componentPath('e2e.test'), args, {
    cwd: folder.folder('report'),
    stdio: ['ignore', 'inherit', 'inherit'],
    // It asks kubectl for some things.
    env: { ...process.env, PATH: `${join(componentPath('kubectl'), '..')}:${process.env.PATH}` },
  })
  folder.recordProcess(child.pid!)
  await new Promise<void>(resolve => child.once('exit', () => resolve()))
  return parseReport(readFileSync(report, 'utf8'))
}

async function main(): Promise<number> {
  const names = [...CLUSTER_COMPONENTS, 'agnhost', 'e2e.test']
  const missing = missingComponents(names)
  if (values.smoke && missing.length > 0) {
    steps.say(`NOT RUN: the look at a real Kubernetes; ${missing.join(', ')} not built (npm run kubernetes:build)`)
    return 0
  }
  await buildComponents({ names, say: text => steps.say(text) })
  await run(process.execPath, [
    join(ROOT, 'src/apps/image/main.ts'),
    ...['--agnhost', componentPath('agnhost'), '--name', await agnhostName()],
  ])
  const folder = await RunFolder.claim(values.run, values.prefix, pid =>
    steps.say(`cleaning up after a dead lab (process ${pid})`),
  )
  const options = {
    run: values.run,
    prefix: values.prefix,
    proxy: values.proxy as ProxyMode,
    once: true,
    kubernetes: true,
  }
  const lab = new KubernetesLab(folder, options, steps, ['agnhost'])
  const began = performance.now()
  try {
    await lab.start()
    if (values.smoke) await smoke(lab, steps)
    const specs = await runSuite(folder, lab.cluster.control.kubeconfig)
    const { passed, failed, skipped } = tally(specs)
    const minutes = (performance.now() - began) / 60_000
    for (const { name, outcome, words } of specs) if (outcome !== 'passed') steps.say(`${outcome}: ${name}: ${words}`)
    if (focus === FOCUS && values.skip === SKIP) {
      const page = printPage({
        specs,
        leftOut: LEFT_OUT,
        facts: [
          ['Kubernetes', KUBERNETES_VERSION],
          ['kernel', release()],
          ['kube-proxy', values.proxy],
          ['minutes, the start of the cluster included', minutes.toFixed(1)],
        ],
      })
      writeFileSync(join(ROOT, 'docs/conformance.md'), page)
    }
    steps.say(`${passed} passed, ${failed} failed, ${skipped} skipped`)
    return failed === 0 && passed > 0 ? 0 : 1
  } finally {
    await Promise.allSettled([lab.stop()])
    await folder.cleanUp()
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // What is left is cleaned up by the next run, or right now by what this one does when the suite ends.
  process.on(signal, () => steps.say('ending as soon as the suite does'))
}
try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`[lab] ${error instanceof BuildError ? error.message : ((error as Error).stack ?? error)}\n`)
  process.exitCode = 1
}
process.exit()
