// `npm run test:kubernetes [-- --focus REGEX] [--skip REGEX] [--proxy MODE] [--procs N]`: Kubernetes' own end-to-end suite on the lab's
// cluster with this project installed. It writes docs/conformance.md when it ran what is promised there; the exit code is 1 if
// a spec failed or none ran. `--smoke`: a short look at everything instead, and a few specs.
import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { example, ROOT } from '../commands.ts'
import { NODES } from '../plan.ts'
import { RunFolder } from '../run-folder.ts'
import { paintFor, Steps } from '../terminal.ts'
import { BuildError, buildComponents } from './build.ts'
import { CLUSTER_COMPONENTS } from './cluster.ts'
import { COREDNS_VERSION, componentPath, KUBERNETES_VERSION } from './components.ts'
import { KubernetesLab } from './lab.ts'
import type { ProxyMode } from './node-files.ts'
import { parseReport, printPage, type Spec, tally } from './report.ts'
import { smoke } from './smoke.ts'
import { FOCUS, LEFT_OUT, SKIP, SMOKE_FOCUS, STANDS_FOR, SUITE_IMAGES } from './suite.ts'

const run = promisify(execFile)

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    focus: { type: 'string' },
    skip: { type: 'string', default: SKIP },
    proxy: { type: 'string', default: 'nftables' },
    procs: { type: 'string' },
    run: { type: 'string', default: '/var/lib/gingham-conformance' },
    prefix: { type: 'string', default: 'gconf' },
  },
})

const focus = values.focus ?? (values.smoke ? SMOKE_FOCUS : FOCUS)
const steps = new Steps(text => void process.stdout.write(text), paintFor(process.stdout))

/** The name under which the suite asks for one of its images: of two versions the older one is there to upgrade from. */
function imageName(list: string, image: string): string {
  const names = list.split('\n').filter(name => name.includes(`/${image}:`))
  const newest = names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  if (newest === undefined) throw new Error(`the suite names no image of ${image}`)
  return newest
}

async function buildImages(): Promise<void> {
  const { stdout: list } = await run(componentPath('e2e.test'), ['--list-images'], { maxBuffer: 1024 * 1024 })
  const image = (program: string, ...names: string[]): string => `${componentPath(program)}=${names.join(',')}`
  const named = (name: string): string => imageName(list, name)
  await run(process.execPath, [
    join(ROOT, 'src/apps/image/main.ts'),
    ...['--agnhost', image('agnhost', ...STANDS_FOR.map(named), `localhost/coredns:${COREDNS_VERSION}`)],
    ...['--program', image('regression-issue-74839', named('regression-issue-74839'))],
  ])
}

/** Runs the suite's specs, several at once but for those that say that they cannot stand it. */
async function runSuite(folder: RunFolder, kubeconfig: string): Promise<Spec[]> {
  const reports = folder.folder('report')
  const args = [
    ...[
      `--procs=${values.procs ?? (values.smoke ? 2 : 6)}`,
      '--timeout=90m',
      '--no-color',
      '--keep-going',
      '--silence-skips',
    ],
    // A build machine may be busy with other things for a moment; a second attempt is printed as such.
    ...(values.smoke ? ['--flake-attempts=2'] : []),
    ...[`--focus=${focus}`, `--skip=${values.skip}`, `--output-dir=${reports}`, '--junit-report=junit.xml'],
    ...[componentPath('e2e.test'), '--'],
    ...[`--kubeconfig=${kubeconfig}`, '--provider=skeleton', '--allowed-not-ready-nodes=0'],
    ...[`--num-nodes=${NODES.length}`, '--dump-logs-on-failure=false'],
  ]
  const child = spawn(componentPath('ginkgo'), args, {
    cwd: reports,
    stdio: ['ignore', 'inherit', 'inherit'],
    // It asks kubectl for some things.
    env: { ...process.env, PATH: `${join(componentPath('kubectl'), '..')}:${process.env.PATH}` },
  })
  folder.recordProcess(child.pid!)
  await new Promise<void>(resolve => child.once('exit', () => resolve()))
  const report = join(reports, 'junit.xml')
  if (!existsSync(report)) throw new Error('the suite ended without a report')
  return parseReport(readFileSync(report, 'utf8'))
}

/** Specs ask for services by name. */
async function startNameServer({ cluster }: KubernetesLab): Promise<string> {
  await cluster.kubectl('apply', '-f', example('lab/dns.yaml'))
  await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=60s')
  return 'CoreDNS'
}

async function main(): Promise<number> {
  const names = [...CLUSTER_COMPONENTS, ...SUITE_IMAGES, 'coredns', 'ginkgo', 'e2e.test']
  await buildComponents({ names, say: text => steps.say(text) })
  await buildImages()
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
  const lab = new KubernetesLab(folder, options, steps, SUITE_IMAGES)
  const began = performance.now()
  try {
    await lab.start()
    // The short look probes port 53 of every pod, and its specs ask for no names.
    if (values.smoke) await smoke(lab, steps)
    else await steps.step('names', () => startNameServer(lab))
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
