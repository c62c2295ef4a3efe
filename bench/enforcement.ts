// How long after a write in the datastore the first packet is judged anew, with the processes as they run in a cluster: the
// datastore, an agent in a namespace that is a node with one pod, and a sender beyond the node whose pod the policies know by
// its label. Every change flips the verdict of the sender's flow. The shape is that of a measurement of a real Calico.
//
//   node_modules/.bin/node bench/enforcement.ts [--write] [--policies 1,100,1000] [--changes 200]
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { HOST_MAC } from '../src/core/base/register.ts'
import { addr } from '../src/core/net/addr.ts'
import { keyOf, type Resource } from '../src/core/resources/resource.ts'
import { storeKey } from '../src/core/resources/store-key.ts'
import type { Store } from '../src/io/store/store.ts'
import { Conntrack } from '../test/support/conntrack.ts'
import { endpoint, globalPolicy } from '../test/support/resources.ts'
import { put, RealNode } from './real-node.ts'
import { decimals, markdown, median, quantile, report, whole } from './report.ts'
import { RECEIVER, scenario, setLabel } from './scenario.ts'
import { monotonic, VerdictProbe } from './verdict-probe.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    policies: { type: 'string', default: '1,100,1000' },
    changes: { type: 'string', default: '200' },
  },
})
const CHANGES = Number(values.changes)
/** The first ones find code that was never run; they are not counted. */
const WARM_UP = 10
/** Between two changes; what is stale after a second is removed in the midst of later changes, as on a busy node. */
const PAUSE_MS = 40
const RULES = 10
const REMOTE = '10.66.0.2'
const CLOSED_PORT = 9
const ms = decimals(1)

type Write = () => Promise<unknown>
/** Writing `close` makes the flow dropped, `open` allowed again. */
type Flip = { readonly name: string; readonly close: Write; readonly open: Write }
type Samples = { readonly total: number[]; readonly write: number[] }

const remote = (labels: Readonly<Record<string, string>>): Resource =>
  endpoint({ name: 'remote', node: 'node1', addresses: [REMOTE], labels })

function flips(store: Store, s: ReturnType<typeof scenario>): Flip[] {
  const last = s.policies.at(-1)!
  const rules = last.spec.ingress!
  const sender = { set: setLabel(s.policies.length * RULES - 1) }
  const moved = { ...rules.at(-1)!, destination: { ports: [CLOSED_PORT] } }
  const edited = globalPolicy(last.metadata.name, { ...last.spec, ingress: [...rules.slice(0, -1), moved] })
  const denies = rules.map(rule => ({ ...rule, action: 'Deny' }))
  const first = globalPolicy('first', { ...last.spec, order: -1, ingress: denies })
  return [
    { name: 'a rule of the last policy: its port', close: put(store, edited), open: put(store, last) },
    {
      name: 'a policy before all others: added, deleted',
      close: put(store, first),
      open: () => store.delete(storeKey(keyOf(first))),
    },
    { name: 'the label of a remote pod', close: put(store, remote({})), open: put(store, remote(sender)) },
  ]
}

async function measure(probe: VerdictProbe, conntrack: Conntrack, flip: Flip): Promise<Samples> {
  const samples: Samples = { total: [], write: [] }
  for (let i = -WARM_UP; i < CHANGES; i++) {
    const open = i % 2 !== 0
    conntrack.flush()
    const found = probe.watch(open)
    found.catch(() => undefined)
    await probe.unchanged(8)
    const began = monotonic()
    await (open ? flip.open() : flip.close())
    const acknowledged = monotonic()
    const judged = await found
    if (judged < began) throw new Error('the verdict changed before the write')
    if (i >= 0) {
      samples.total.push(judged - began)
      samples.write.push(acknowledged - began)
    }
    await setTimeout(PAUSE_MS)
  }
  return samples
}

async function cells(policies: number): Promise<string[][]> {
  const undo: (() => unknown)[] = []
  try {
    const s = scenario({ policies, rulesPerPolicy: RULES, members: 20, addressesPerEndpoint: 20 })
    const resources = [...s.resources, remote({ set: setLabel(policies * RULES - 1) })]
    const node = await RealNode.start(resources, {
      ...{ name: `gbe${process.pid}`, pods: { [RECEIVER.name]: RECEIVER.address }, beyond: [`${REMOTE}/31`] },
    })
    undo.push(() => node.close())
    const { lab, store } = node
    const conntrack = new Conntrack(lab.node)
    undo.push(() => conntrack.close())
    const receiver = lab.pods[RECEIVER.name]!
    const way = { dstMac: HOST_MAC, src: addr(REMOTE), dst: receiver.address, dport: s.openPort }
    const probe = new VerdictProbe(lab.uplink, receiver, way)
    undo.push(() => probe.close())
    await settled(probe, node)
    const rows: string[][] = []
    for (const flip of flips(store, s)) {
      const { total, write } = await measure(probe, conntrack, flip)
      const beyond = total.map((t, i) => t - write[i]!)
      const p99 = (samples: number[]): string => ms(quantile(samples, 0.99))
      rows.push([
        ...[flip.name, whole(policies), ms(median(total)), p99(total)],
        ...[ms(median(write)), p99(write), ms(median(beyond)), p99(beyond)],
      ])
      console.error(rows.at(-1)!.join('  '))
    }
    return rows
  } finally {
    for (const step of undo.reverse()) await step()
  }
}

/** Before the agent has its table, nothing is judged: closed by it, then open, then no more work left from its start. */
async function settled(probe: VerdictProbe, node: RealNode): Promise<void> {
  await node.inSync()
  await probe.watch(true, 120_000)
  await setTimeout(3000)
}

const rows: string[][] = []
for (const policies of values.policies.split(',').map(Number)) rows.push(...(await cells(policies)))
report(
  'enforcement',
  `## From a write to the first packet judged anew\n\nReal processes: the datastore, and an agent in a namespace with one pod. ` +
    `Policies of ${RULES} rules on that pod, a set of 20 addresses a rule; a datagram of a new flow every 0.2 ms, ` +
    `whose verdict every change flips; ${CHANGES} changes each, one every ${PAUSE_MS} ms or so. ` +
    `From before the put to the first packet with the new verdict; the put alone, until it is acknowledged (its transaction is on disk); ` +
    `and the difference of the two, change by change.\n\n${markdown(
      [
        'change',
        'policies',
        'whole, p50, ms',
        'p99',
        'write alone, p50, ms',
        'p99',
        'beyond the write, p50, ms',
        'p99',
      ],
      rows,
    )}`,
)
