// Log rules in a network namespace, where the kernel's own log is silent: real packets, and for each the line with its
// addresses, ports, prefix and rule. A flow that nobody answers is judged packet by packet: its lines are limited, its
// packets all counted, and what cannot be written is counted too.
import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { LogCount, outcomeCounters } from '../../src/apps/agent/counters.ts'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { PacketLog } from '../../src/apps/agent/packet-log.ts'
import { LOG_GROUP } from '../../src/core/base/register.ts'
import type { Intent } from '../../src/core/calc/intent.ts'
import { classify } from '../../src/core/classify/classify.ts'
import type { Outcome } from '../../src/core/classify/outcome.ts'
import type { Resource } from '../../src/core/resources/resource.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { kernelLogs, watchLog } from '../../src/io/kernel/nflog.ts'
import { readSysctl } from '../../src/io/kernel/sysctl.ts'
import { ADDRESS, ADDRESS6, HostLab } from '../support/host-lab.ts'
import { DEFAULT_TIER, endpoint, globalPolicy, resource } from '../support/resources.ts'
import { runIn } from './netns.ts'

const NAME = `gpl${process.pid}`
const NODE = namedNetns(`${NAME}-node`)
/** Where an answer comes, however slow the machine. */
const LONG = 10_000

let lab: HostLab
before(async () => {
  lab = await HostLab.open(NAME)
  // A pod that takes whatever comes to this port, and never answers.
  runIn(`${NAME}-p`, 'nft', 'add table inet silent')
  runIn(`${NAME}-p`, 'nft', 'add chain inet silent in { type filter hook input priority 0 ; }')
  runIn(`${NAME}-p`, 'nft', 'add rule inet silent in udp dport 9999 drop')
})
after(() => lab?.close())

const felix = (spec: object): Resource =>
  resource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'FelixConfiguration',
    metadata: { name: 'default' },
    spec: { defaultEndpointToHostAction: 'Accept', ...spec },
  })
const RULE = 'GlobalNetworkPolicy look ingress[0]'
const POD: readonly Resource[] = [
  DEFAULT_TIER,
  endpoint({ name: 'p', node: 'n', addresses: [ADDRESS.p], labels: { app: 'p' } }),
  globalPolicy('look', { selector: "app == 'p'", ingress: [{ action: 'Log' }, { action: 'Allow' }] }),
]

type Line = { readonly level: number; readonly rule?: string; readonly msg: string }
type Logging = { readonly log: PacketLog; readonly metrics: Metrics; readonly all: Line[]; lines(): Line[] }

function logging(outcomes: Iterable<Outcome>, { prefix = 'calico-packet', now = (): number => 0 } = {}): Logging {
  const all: Line[] = []
  const metrics = new Metrics()
  const log = new PacketLog({
    log: pino({}, { write: (line: string) => void all.push(JSON.parse(line) as Line) }),
    ...{ metrics, now, netns: NODE, outcomes: () => outcomes, logPrefix: () => prefix },
  })
  return { log, metrics, all, lines: () => all.filter(l => l.rule !== undefined) }
}

/** Puts resources into force and listens, as an agent does. */
function begin(t: TestContext, resources: readonly Resource[], how?: Parameters<typeof logging>[1]) {
  const intent = lab.enforce(resources, { logGroup: LOG_GROUP })
  assert.deepEqual(lab.doubts(intent), [])
  const outcomes = [...classify(intent).outcomes.values()]
  const found = logging(outcomes, how)
  t.after(() => found.log.stop())
  assert.equal(found.log.group, LOG_GROUP)
  return { intent, outcomes, ...found }
}

async function until(holds: () => boolean, what: () => unknown): Promise<void> {
  const deadline = performance.now() + LONG
  while (!holds()) {
    assert.ok(performance.now() < deadline, JSON.stringify(what()))
    await delay(10)
  }
}

const countOf = async (metrics: Metrics, name: string): Promise<number> =>
  Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await metrics.registry.metrics())?.[1])

/** One flow of so many datagrams. */
const send = (count: number, to: string = ADDRESS.p): void =>
  void runIn(
    `${NAME}-outside`,
    'bash',
    '-c',
    `exec 3>/dev/udp/${to}/9999; for ((i = 0; i < ${count}; i++)); do echo x >&3; done`,
  )

const counted = (outcomes: readonly Outcome[]) => outcomeCounters(outcomes, lab.counters()).filter(c => c.packets > 0)

test('the kernel logs its first namespace, and others if it is told to', () => {
  const setting = readSysctl('net/netfilter/nf_log_all_netns')
  assert.equal(kernelLogs(), setting !== undefined || kernelLogs(NODE))
  assert.equal(readSysctl('net/netfilter/nf_log_all_netns', NODE), undefined)
  if (setting === '0') assert.equal(kernelLogs(NODE), false)
})

test('a connection and a ping: one line each, as the kernel would have written it', async t => {
  const { lines, outcomes, metrics } = begin(t, POD)
  assert.equal(await lab.hosts.outside.connectTcp(ADDRESS.p, 80, LONG), 'open')
  assert.equal(await lab.hosts.outside.ping(ADDRESS.p, LONG), 'open')
  await until(() => lines().length === 2, lines)
  const [tcp, ping] = lines()
  const head =
    'calico-packet: IN=eth0 OUT=calip MAC=([0-9a-f]{2}:){12}08:00 SRC=10\\.9\\.0\\.2 DST=10\\.65\\.0\\.7 LEN=\\d+ TOS=0x00 PREC=0x00 TTL=63 ID=\\d+ DF'
  assert.match(tcp!.msg, new RegExp(`^${head} PROTO=TCP SPT=\\d+ DPT=80 WINDOW=\\d+ RES=0x00 SYN URGP=0$`))
  assert.match(ping!.msg, new RegExp(`^${head} PROTO=ICMP TYPE=8 CODE=0 ID=\\d+ SEQ=\\d+$`))
  assert.deepEqual([tcp!.rule, ping!.rule, tcp!.level], [RULE, RULE, 30])
  // Established packets are not judged again.
  assert.deepEqual(
    counted(outcomes).map(c => [c.cause, c.packets]),
    [
      [`Log ${RULE}`, 2],
      ['GlobalNetworkPolicy look ingress[1] Allow', 2],
    ],
  )
  assert.equal(await countOf(metrics, 'gingham_log_lines_total'), 2)
  assert.equal(await countOf(metrics, 'gingham_log_lost_total'), 0)
  assert.match(
    lab.list(),
    /counter packets 2 bytes \d+ limit rate 100\/second log prefix "GlobalN.+" group \d+ comment/,
  )
})

test('IPv6, at a host endpoint, with the prefix that is configured', async t => {
  const host = resource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'HostEndpoint',
    metadata: { name: 'a', labels: { host: 'a' } },
    spec: { node: 'n', interfaceName: 'eth0' },
  })
  const policy = globalPolicy('to-host', {
    selector: "host == 'a'",
    ...{ ingress: [{ action: 'Log' }, { action: 'Allow' }], egress: [{ action: 'Allow' }] },
  })
  const { lines } = begin(t, [DEFAULT_TIER, host, policy], { prefix: 'seen by %t %k %n' })
  assert.equal(await lab.hosts.outside.connectTcp(ADDRESS6.node, 80, LONG), 'open')
  assert.equal(await lab.hosts.outside.ping(ADDRESS6.node, LONG), 'open')
  await until(() => lines().length === 2, lines)
  const [tcp, ping] = lines()
  const head =
    'seen by default gnp to-host: IN=eth0 OUT= MAC=([0-9a-f]{2}:){12}86:dd SRC=fd09(:0000){6}:0002 DST=fd09(:0000){6}:0001 LEN=\\d+ TC=0 HOPLIMIT=64 FLOWLBL=\\d+'
  assert.match(tcp!.msg, new RegExp(`^${head} PROTO=TCP SPT=\\d+ DPT=80 WINDOW=\\d+ RES=0x00 SYN URGP=0$`))
  assert.match(ping!.msg, new RegExp(`^${head} PROTO=ICMPv6 TYPE=128 CODE=0 ID=\\d+ SEQ=\\d+$`))
  assert.equal(tcp!.rule, 'GlobalNetworkPolicy to-host ingress[0]')
})

test('1,000 packets of an unanswered flow: all judged and counted, and as many lines as the limit lets', async t => {
  const limit = { logActionRateLimit: '1/hour', logActionRateLimitBurst: 7 }
  const { lines, outcomes } = begin(t, [...POD, felix(limit)])
  const reading = new LogCount()
  assert.equal(reading.read(outcomes, lab.counters()), 0)
  send(1000)
  await until(() => lines().length >= 7, lines)
  assert.deepEqual(
    counted(outcomes).map(c => [c.cause, c.packets]),
    [
      [`Log ${RULE}`, 1000],
      ['GlobalNetworkPolicy look ingress[1] Allow', 1000],
    ],
  )
  // Whatever was on its way is here after one more, from the next port: the limit is of the rule.
  send(1)
  await delay(300)
  assert.equal(lines().length, 7)
  for (const { msg } of lines()) assert.match(msg, /OUT=calip .* PROTO=UDP SPT=\d+ DPT=9999 LEN=10$/)
  assert.equal(reading.read(outcomes, lab.counters()), 1001)
  assert.equal(reading.read(outcomes, lab.counters()), 0)
})

const UNLIMITED = felix({ logActionRateLimit: '9999/second', logActionRateLimitBurst: 9999 })

test('past what the agent writes in a second, lines are missing, and that is counted and said', async t => {
  let time = 5000
  const { all, lines, metrics } = begin(t, [...POD, UNLIMITED], { now: () => time })
  send(1200)
  let lost = 0
  await until(() => lines().length === 1000, lines)
  while (lost < 200) {
    await delay(10)
    lost = await countOf(metrics, 'gingham_log_lost_total')
  }
  assert.equal(lost, 200)
  assert.equal(lines().length, 1000)
  time += 1000
  send(1)
  await until(() => lines().length === 1001, lines)
  assert.ok(all.some(l => l.level === 40 && /lines of Log rules are missing/.test(l.msg)))
})

test('what comes while nobody reads is lost when the buffer is full, and exactly so much is counted', async t => {
  const outcomes = [...classify(lab.enforce([...POD, UNLIMITED], { logGroup: LOG_GROUP })).outcomes.values()]
  let [read, lost] = [0, 0]
  const handler = {
    packets: (packets: readonly unknown[]) => {
      read += packets.length
    },
    lost: (count: number) => {
      lost += count
    },
  }
  const stop = watchLog(LOG_GROUP, handler, { netns: NODE, bufferBytes: 8192 })
  t.after(stop)
  // The thread waits for these, and reads nothing meanwhile.
  send(3000)
  let sent = 3000
  const found = () => ({ read, lost, sent })
  // Numbers that are missing are seen when the next comes; those that come now are read.
  await until(() => {
    if (lost > 0) return true
    send(1)
    sent++
    return false
  }, found)
  await until(() => read + lost === sent, found)
  assert.ok(lost > 0 && read > 0, `${read} read, ${lost} lost`)
  assert.equal(counted(outcomes)[0]!.packets, sent)
})

test('one agent of a namespace has the packets; the next gets them when it is gone', async t => {
  const first = begin(t, POD)
  const second = logging(first.outcomes)
  t.after(() => second.log.stop())
  assert.equal(second.log.group, LOG_GROUP)
  assert.match(second.all[0]!.msg, /somebody else reads the packets of Log rules; waiting/)
  first.log.stop()
  await until(() => {
    send(1)
    return second.lines().length > 0
  }, second.lines)
  assert.equal(second.lines()[0]!.rule, RULE)
})

test('without a group the kernel is told the prefix itself, and is silent here', async t => {
  const intent: Intent = lab.enforce([...POD, felix({ logPrefix: '%k %n' })])
  assert.deepEqual(lab.doubts(intent), [])
  const { log, lines } = logging([])
  t.after(() => log.stop())
  send(3)
  assert.match(lab.list(), /counter packets 3 bytes \d+ limit rate 100\/second log prefix "gnp look: " comment/)
  assert.deepEqual(lines(), [])
})
