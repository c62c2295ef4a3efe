// How long a node takes from nothing known to everything enforced, with 1,000 policies of ten rules with sets of 20: into an
// empty kernel, and onto a table that is right already (an agent that starts again). Inside one process: what the process
// itself takes to start, and the datastore to answer, is not in it.
//
//   node_modules/.bin/node bench/restart.ts [--write] [--policies 100,1000] [--runs 9]
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { PolicyDataplane } from '../src/apps/agent/dataplane.ts'
import { Metrics } from '../src/apps/agent/metrics.ts'
import { derived } from '../src/core/resources/derive.ts'
import { keyOf } from '../src/core/resources/resource.ts'
import { namedNetns } from '../src/io/kernel/netns.ts'
import { type NftConnection, openNft } from '../src/io/kernel/nft-table.ts'
import { markdown, median, report, whole } from './report.ts'
import { NODE, scenario } from './scenario.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    policies: { type: 'string', default: '100,1000' },
    runs: { type: 'string', default: '9' },
  },
})

/** A table that an agent comes back to has stood for a while. */
const AT_REST_MS = 1000

type Start = { readonly ms: number; readonly batches: number }

function start(nft: NftConnection, changes: Parameters<PolicyDataplane['apply']>[0]): Start {
  let batches = 0
  const kernel = {
    readTable: (name: string) => nft.readTable(name),
    writeBatch: (...args: Parameters<NftConnection['writeBatch']>) => {
      batches++
      nft.writeBatch(...args)
    },
  }
  const began = performance.now()
  const plane = new PolicyDataplane({
    ...{ node: NODE, kernel, log: pino({ level: 'error' }), metrics: new Metrics(), own: false },
    onProgrammed: () => undefined,
  })
  plane.failClosed()
  plane.apply(changes, 1)
  const ms = performance.now() - began
  plane.stop()
  const { problems } = plane.status()
  if (problems.length > 0) throw new Error(problems.join(', '))
  return { ms, batches }
}

const name = `gbr${process.pid}`
execFileSync('ip', ['netns', 'add', name])
try {
  const rows: string[][] = []
  for (const policies of values.policies.split(',').map(Number)) {
    const s = scenario({ policies, rulesPerPolicy: 10, members: 20, addressesPerEndpoint: 20 })
    const changes = [...derived(s.snapshot).values()].map(value => ({ key: keyOf(value), value }))
    const [cold, warm]: [number[], number[]] = [[], []]
    let writes = 0
    const nft = openNft(namedNetns(name))
    for (let run = 0; run < Number(values.runs); run++) {
      nft.deleteTable('gingham')
      cold.push(start(nft, changes).ms)
      // The kernel still grows a large map in the background, and a dump may miss elements meanwhile: an agent reads again then.
      await sleep(AT_REST_MS)
      const again = start(nft, changes)
      warm.push(again.ms)
      writes = Math.max(writes, again.batches)
    }
    nft.close()
    const spread = (times: number[]): string =>
      `${whole(median(times))} (${whole(Math.min(...times))}-${whole(Math.max(...times))})`
    rows.push([whole(policies), whole(policies * 200), spread(cold), spread(warm), whole(writes)])
  }
  report(
    'restart',
    `## Start and restart\n\nFrom resources in memory to a programmed kernel, medians of ${values.runs} runs, in brackets the range. The second start comes one second after the first one's write.\n\n${markdown(
      [
        'policies',
        'addresses in sets',
        'into an empty kernel, ms',
        'onto a right table, ms',
        'writes on a right table',
      ],
      rows,
    )}`,
  )
} finally {
  execFileSync('ip', ['netns', 'del', name])
}
