// The memory of a real agent, at rest: policies of ten rules on one pod of its node, and endpoints on other nodes that their
// rules pick. The proof's thread, with its own copy of the resources, is part of the process; the heap is the main thread's.
//
//   node_modules/.bin/node bench/memory.ts [--write] [--sizes 1x10,100x1000,1000x10000]
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { RealNode } from './real-node.ts'
import { markdown, median, report, whole } from './report.ts'
import { RECEIVER, scenario } from './scenario.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    /** Policies and remote endpoints; each rule picks its share of these. */
    sizes: { type: 'string', default: '1x10,100x1000,1000x10000' },
  },
})
const RULES = 10
const SAMPLES = 9
/** So long may the first proof of a big table take. */
const PATIENCE_MS = 300_000

type Sample = { readonly resident: number; readonly peak: number; readonly heap: number }

async function sample(node: RealNode): Promise<Sample> {
  const status = readFileSync(`/proc/${node.pid}/status`, 'utf8')
  const megabytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)![1]) / 1024
  const heap = /^nodejs_heap_size_used_bytes (\S+)$/m.exec(await node.ask('/metrics'))![1]
  return { resident: megabytes('VmRSS'), peak: megabytes('VmHWM'), heap: Number(heap) / 2 ** 20 }
}

async function proved(node: RealNode): Promise<void> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const answer = await node.ask('/status').catch(() => undefined)
    const { dataplane } = JSON.parse(answer ?? '{}') as { dataplane?: { proof?: { proved: boolean } } }
    if (dataplane?.proof?.proved) return
    if (performance.now() > until) throw new Error(`not proved: ${answer}`)
    await setTimeout(500)
  }
}

async function measure(policies: number, endpoints: number): Promise<string[]> {
  const s = scenario({
    policies,
    rulesPerPolicy: RULES,
    members: Math.max(1, Math.round(endpoints / policies / RULES)),
  })
  const pods = { [RECEIVER.name]: RECEIVER.address }
  const node = await RealNode.start(s.resources, { name: `gbm${process.pid}`, pods })
  try {
    await node.inSync()
    await proved(node)
    const samples: Sample[] = []
    for (let i = 0; i < SAMPLES; i++) {
      await setTimeout(1000)
      samples.push(await sample(node))
    }
    const spread = (of: (s: Sample) => number): string => {
      const all = samples.map(of)
      return `${whole(median(all))} (${whole(Math.min(...all))}-${whole(Math.max(...all))})`
    }
    const peak = whole(samples.at(-1)!.peak)
    return [whole(policies), whole(s.remote.length), spread(m => m.resident), peak, spread(m => m.heap)]
  } finally {
    await node.close()
  }
}

const rows: string[][] = []
for (const size of values.sizes.split(',')) {
  const [policies = 0, endpoints = 0] = size.split('x').map(Number)
  rows.push(await measure(policies, endpoints))
  console.error(rows.at(-1)!.join('  '))
}
report(
  'memory',
  `## What the agent takes of memory\n\nA real agent without BIRD, proved and at rest; policies of ${RULES} rules on one pod, and endpoints elsewhere that the rules pick. ` +
    `Medians of ${SAMPLES} looks, one a second, in brackets the range; the most is since the start. Resident memory holds the proof's thread with its own copy of ` +
    `everything, the heap is the main thread's.\n\n${markdown(
      ['policies', 'endpoints elsewhere', 'resident, MB', 'at most, MB', 'heap in use, MB'],
      rows,
    )}`,
)
