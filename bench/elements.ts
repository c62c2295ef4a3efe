// What one change costs the agent: elements written to the kernel and time, from the change of a resource to the kernel's
// acknowledgement, with 1, 100 and 1,000 policies of ten rules on one pod. The datastore's own write is not in it. Beside it the
// time of calculating everything anew (without writing it), which is what the incremental way is there to avoid.
//
//   node_modules/.bin/node bench/elements.ts [--write] [--changes N] [--policies 1,100]
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { PolicyDataplane } from '../src/apps/agent/dataplane.ts'
import { Metrics } from '../src/apps/agent/metrics.ts'
import type { Change } from '../src/core/base/change.ts'
import { computeIntent } from '../src/core/calc/compute.ts'
import { classify } from '../src/core/classify/classify.ts'
import type { NftOp } from '../src/core/nft/objects.ts'
import { policyTable } from '../src/core/render/nft/table.ts'
import type { ResourceKey } from '../src/core/resources/cause.ts'
import { derived } from '../src/core/resources/derive.ts'
import { type GlobalNetworkPolicy, keyOf, type Resource } from '../src/core/resources/resource.ts'
import { namedNetns } from '../src/io/kernel/netns.ts'
import { type NftConnection, openNft } from '../src/io/kernel/nft-table.ts'
import { endpoint } from '../test/support/resources.ts'
import { decimals, markdown, median, quantile, report, whole } from './report.ts'
import { NODE, policy, type Scenario, scenario, setLabel } from './scenario.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    changes: { type: 'string', default: '100' },
    policies: { type: 'string', default: '1,100,1000' },
  },
})
const CHANGES = Number(values.changes)
const SIZES = values.policies.split(',').map(Number)
const RULES = 10

type Edit = Change<ResourceKey, Resource>
const set = (value: Resource): Edit => ({ key: keyOf(value), value })
const gone = (value: Resource): Edit => ({ key: keyOf(value), value: undefined })

/** Changes to be made in turn, again and again; the last leaves everything as it was. */
type Sort = { readonly name: string; readonly edits: readonly Edit[] }

function sorts({ policies, remote }: Scenario): Sort[] {
  const rules = policies.length * RULES
  const middle = policies[Math.floor(policies.length / 2)]!
  const pod = (labels: Record<string, string>) =>
    endpoint({ name: 'x', node: 'node1', addresses: ['10.66.0.1'], labels })
  const moved = remote[0]!
  const relabelled = { ...moved, metadata: { ...moved.metadata, labels: { set: setLabel(rules >> 1) } } }
  const extra = policy(policies.length, RULES)
  return [
    { name: 'a remote pod comes, goes', edits: [set(pod({ set: setLabel(0) })), gone(pod({}))] },
    { name: 'label of a remote pod', edits: [set(relabelled), set(moved)] },
    { name: 'a rule of a policy: its port', edits: [set(otherPort(middle)), set(middle)] },
    { name: 'a policy more, less', edits: [set(extra), gone(extra)] },
  ]
}

function otherPort(p: GlobalNetworkPolicy): GlobalNetworkPolicy {
  const [first, ...rest] = p.spec.ingress!
  const ingress = [{ ...first!, destination: { ...first!.destination, ports: [7] } }, ...rest]
  return { ...p, spec: { ...p.spec, ingress } }
}

const elementsOf = (ops: readonly NftOp[]): number =>
  ops.reduce((sum, op) => sum + (op.op === 'add-elements' || op.op === 'delete-elements' ? op.elements.length : 0), 0)

/** A kernel connection that counts. */
function counting(nft: NftConnection) {
  const count = { elements: 0, batches: 0 }
  return {
    count,
    readTable: (name: string) => nft.readTable(name),
    writeBatch: (...args: Parameters<NftConnection['writeBatch']>) => {
      count.elements += elementsOf(args[0])
      count.batches++
      nft.writeBatch(...args)
    },
  }
}

type Row = { readonly name: string; readonly policies: number; readonly cells: readonly string[] }
const ms = decimals(2)

function measure(nft: NftConnection, policies: number): { rows: Row[]; start: number; anew: number } {
  const s = scenario({ policies, rulesPerPolicy: RULES, members: 20, addressesPerEndpoint: 20 })
  nft.deleteTable('gingham')
  const kernel = counting(nft)
  const plane = new PolicyDataplane({
    ...{ node: NODE, kernel, log: pino({ level: 'error' }), metrics: new Metrics() },
    onProgrammed: () => undefined,
  })
  let revision = 0
  const apply = (edits: readonly Edit[]): number => {
    const start = performance.now()
    plane.apply(edits, ++revision)
    const time = performance.now() - start
    const { problems, programmedRevision } = plane.status()
    if (problems.length > 0 || programmedRevision !== revision) throw new Error(problems.join(', ') || 'not programmed')
    return time
  }
  try {
    const start = apply([...derived(s.snapshot).values()].map(set))
    const rows = sorts(s).map(({ name, edits }): Row => {
      const times: number[] = []
      const written: { elements: number; batches: number }[] = []
      for (let i = -edits.length; i < CHANGES; i++) {
        Object.assign(kernel.count, { elements: 0, batches: 0 })
        const time = apply([edits[(i + edits.length) % edits.length]!])
        if (i < 0) continue
        times.push(time)
        written.push({ ...kernel.count })
      }
      const cells = [
        whole(median(written.map(w => w.elements))),
        whole(Math.max(...written.map(w => w.elements))),
        whole(median(written.map(w => w.batches))),
        ms(median(times)),
        ms(quantile(times, 0.99)),
      ]
      return { name, policies, cells }
    })
    const before = performance.now()
    policyTable(classify(computeIntent(derived(s.snapshot), NODE)))
    return { rows, start, anew: performance.now() - before }
  } finally {
    plane.stop()
  }
}

const name = `gbe${process.pid}`
execFileSync('ip', ['netns', 'add', name])
try {
  const nft = openNft(namedNetns(name))
  const sizes = SIZES.map(n => ({ policies: n, ...measure(nft, n) }))
  nft.close()
  const names = sizes[0]!.rows.map(r => r.name)
  const changes = names.flatMap(n => sizes.flatMap(s => s.rows.filter(r => r.name === n)))
  report(
    'elements',
    `## What a change costs the agent\n\nFrom the change of a resource to the kernel's acknowledgement, ${CHANGES} changes each; policies of ${RULES} rules on one pod, ` +
      `a set of 20 addresses a rule, on endpoints elsewhere of 20 addresses each (1,000 policies: 10,000 endpoints). Elements include those that are removed because they are stale.\n\n` +
      `${markdown(
        ['change', 'policies', 'elements, p50', 'at most', 'batches', 'p50, ms', 'p99, ms'],
        changes.map(r => [r.name, whole(r.policies), ...r.cells]),
      )}\n\n` +
      `${markdown(
        ['policies', 'start into an empty kernel, ms', 'calculating everything anew, ms'],
        sizes.map(s => [whole(s.policies), whole(s.start), whole(s.anew)]),
      )}`,
  )
} finally {
  execFileSync('ip', ['netns', 'del', name])
}
