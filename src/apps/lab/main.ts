// The lab: a cluster of three nodes on this machine, from network namespaces and real parts. What it makes is recorded in
// its run folder first, and whatever way it ends, it takes all of it away again.
import path from 'node:path'
import { example, ROOT } from './commands.ts'
import { BuildError } from './kubernetes/build.ts'
import { KubernetesLab, kubernetesHints } from './kubernetes/lab.ts'
import { Lab } from './lab.ts'
import { type Probe, printMatrix, summarise } from './matrix.ts'
import { type LabOptions, parseOptions } from './options.ts'
import { names } from './plan.ts'
import { LabInUse, RunFolder } from './run-folder.ts'
import { paintFor, Steps } from './terminal.ts'

const paint = paintFor(process.stdout)
const print = (text: string): void => void process.stdout.write(text)
const steps = new Steps(print, paint)

const POLICY = 'allow-backend-to-frontend.yaml'
/** The example is only worth something if it allows and denies a good part each. */
const LEAST_SHARE = 0.3

const indent = (text: string): string => text.trim().replace(/^/gm, '    ')

/** What is shown of a lab, whatever it is made of. */
type Shown = {
  build(): Promise<void>
  /** Every pod to every other, judged. */
  probe(): Promise<Probe[]>
  /** Creates what a file says and waits until it is enforced; the command, and what it said. */
  create(file: string): Promise<{ readonly command: string; readonly said: string }>
  stop(): Promise<void>
}

/** Builds the lab, shows what the policy does to packets; the exit code. */
async function show(lab: Shown): Promise<number> {
  await lab.build()
  await steps.step('probes without policy', async () => {
    const { probes, denied } = summarise(await lab.probe())
    if (denied > 0) throw new Error(`${denied} of ${probes} probes did not get through although no policy is in force`)
    return `${probes} between all pods, TCP, UDP and ICMP, both families: all get through`
  })
  await steps.step('policy', async () => {
    const { command, said } = await lab.create(example(POLICY))
    return `${command} -f examples/${POLICY}\n${indent(said)}`
  })
  let probes: Probe[] = []
  await steps.step('probes with the policy', async () => {
    probes = await lab.probe()
    return `${probes.length}, judged by the oracle and by the kernel's counters`
  })
  print(`\n${printMatrix(probes, paint)}\n`)
  const { allowed, denied, differences } = summarise(probes)
  const lopsided = Math.min(allowed, denied) < LEAST_SHARE * probes.length
  if (lopsided) print(paint('red', 'The example allows or denies too little to prove anything.\n'))
  return differences > 0 || lopsided ? 1 : 0
}

const STAYS = 'The lab stays up. Ctrl-C ends it and leaves nothing behind.\n'

function printNext(options: LabOptions): void {
  if (options.kubernetes) {
    print(`${kubernetesHints(options)}\n${STAYS}`)
    return
  }
  const bin = path.join(ROOT, 'bin/gingham')
  const tool = options.run === parseDefaults().run ? bin : `GINGHAM_RUN=${options.run} ${bin}`
  const node = names(options.prefix).node('node-a')
  print(`Try next:
  ${tool} get networkpolicy -o wide
  ${tool} why default/frontend default/backend tcp/80
  ${tool} why default/client default/frontend tcp/80
  ${tool} status
  ${tool} ipam show --show-blocks
  ip netns exec ${node} nft list table inet gingham
  ip netns exec ${node} ip route

${STAYS}`)
}

function parseDefaults(): LabOptions {
  const parsed = parseOptions([])
  if ('text' in parsed) throw new Error(parsed.text)
  return parsed
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Resolves at the first signal to end; later ones change nothing, since the lab is then on its way out. */
function ending(): Promise<'ended'> {
  return new Promise(resolve => {
    for (const signal of SIGNALS) process.on(signal, () => resolve('ended'))
  })
}

async function run(options: LabOptions): Promise<number> {
  const ended = ending()
  const folder = await RunFolder.claim(options.run, options.prefix, pid =>
    steps.say(`cleaning up after a dead lab (process ${pid})`),
  )
  const lab = options.kubernetes ? new KubernetesLab(folder, options, steps) : new Lab(folder, options.prefix, steps)
  try {
    const showing = show(lab)
    // After a signal the folder takes no more entries, so that the building stops at its next step; nobody hears it then.
    showing.catch(() => {})
    const outcome = await Promise.race([showing, ended])
    if (outcome === 'ended') return 130
    if (options.once) return outcome
    printNext(options)
    await ended
    return outcome
  } finally {
    steps.say('cleaning up')
    await Promise.allSettled([lab.stop()])
    await folder.cleanUp()
  }
}

const options = parseOptions(process.argv.slice(2))
if ('text' in options) {
  process.stdout.write(options.text)
  process.exit(options.code)
}
try {
  process.exitCode = await run(options)
} catch (error) {
  process.stderr.write(
    `[lab] ${error instanceof LabInUse || error instanceof BuildError ? error.message : ((error as Error).stack ?? String(error))}\n`,
  )
  process.exitCode = 1
}
// A BIRD that is starting again, or a probe under way, would keep the process.
process.exit()
