// The canary beside the real dataplane where nobody repairs the table: edits of it are seen by packets alone. And what it says
// when it cannot be, and leaves behind when it ends: nothing.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Canary, type CanaryOptions } from '../../src/apps/agent/canary.ts'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'
import type { Logger } from '../../src/io/log.ts'
import { FaultyDataplane, STATES } from './faulty-dataplane.ts'
import { runIn } from './netns.ts'

const PATIENCE_MS = 15_000
const TABLE = 'inet gingham'

function silent(said: string[] = []): Logger {
  const say = (fields: unknown, text = ''): void => void said.push(`${text} ${JSON.stringify(fields)}`)
  return { info: say, warn: say, error: say } as unknown as Logger
}

function canaryIn(t: TestContext, hostNetns: string, more: Partial<CanaryOptions> = {}): Canary {
  const defaults = {
    log: silent(),
    metrics: new Metrics(),
    periodMs: 20,
    isProgrammed: () => true,
    pool: () => undefined,
  }
  const canary = new Canary({ ...defaults, hostNetns, ...more })
  t.after(() => canary.stop())
  canary.start()
  return canary
}

async function until(what: string, canary: Canary, holds: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  for (; !holds(); await delay(10)) assert.ok(performance.now() < end, `${what}: ${JSON.stringify(canary.status)}`)
}

function programmed(t: TestContext): FaultyDataplane {
  const rig = new FaultyDataplane(t, { canary: true })
  writeSysctl('net/ipv4/ip_forward', 1, rig.path)
  writeSysctl('net/ipv6/conf/all/forwarding', 1, rig.path)
  rig.dataplane.failClosed()
  rig.want(STATES[0]!)
  return rig
}

const outcomeOf = (rig: FaultyDataplane, cause: string): string => {
  const chains = runIn(rig.name, 'nft', 'list', 'table', 'inet', 'gingham').matchAll(/chain (o_[0-9a-f]+) \{([^}]*)\}/g)
  return [...chains].find(([, , body]) => body!.includes(cause))![1]!
}

const DENIED = /IPv4 deny \(egress\): arrived, IPv4 deny \(ingress\): arrived, IPv6 deny \(egress\): arrived/
const EDITS: readonly (readonly [what: string, edit: (rig: FaultyDataplane) => string, faults: RegExp])[] = [
  ['the table is deleted', () => `delete table ${TABLE}`, DENIED],
  ['forwarding accepts everything', () => `insert rule ${TABLE} forward accept`, DENIED],
  ['the chain of what pods send is flushed', () => `flush chain ${TABLE} from_check`, /IPv4 allow: did not arrive/],
  ['no pod’s policy is found', () => `flush map ${TABLE} to_workload`, /IPv4 allow: did not arrive/],
  ['no pod’s source is known', () => `flush set ${TABLE} sources4`, /^IPv4 allow: did not arrive$/],
  [
    'a denial allows',
    rig => `insert rule ${TABLE} ${outcomeOf(rig, 'Canary node ingress[1] Deny')} accept`,
    /^IPv4 deny \(ingress\): arrived, IPv6 deny \(ingress\): arrived$/,
  ],
]
for (const [what, edit, faults] of EDITS) {
  test(`${what}, and nobody repairs it: seen, until it is put right`, async t => {
    const rig = programmed(t)
    const said: string[] = []
    const canary = canaryIn(t, rig.path, { log: silent(said) })
    await until('ok', canary, () => canary.status.state === 'ok')
    assert.ok(rig.nftByHand(...edit(rig).split(' ')))
    await until(what, canary, () => faults.test(canary.status.faults.join(', ')))
    await until('not ready', canary, () => canary.notReady.length > 0)
    assert.ok(canary.status.fix)
    rig.dataplane.verify('a test')
    await until('put right', canary, () => canary.status.state === 'ok')
    assert.deepEqual(canary.notReady, [])
    assert.equal(said.length, 3, said.join('\n'))
    assert.ok(rig.proof().proved)
  })
}

test('there is no alarm while policies change', async t => {
  const rig = programmed(t)
  const metrics = new Metrics()
  const canary = canaryIn(t, rig.path, { metrics, periodMs: 1 })
  for (let i = 0; i < 200; i++) {
    rig.want(STATES[i % STATES.length]!)
    await delay(10)
  }
  await until('ok', canary, () => canary.status.state === 'ok')
  assert.equal(canary.status.lastFailure, undefined)
  const [, rounds] = /canary_runs_total\{result="ok"\} (\d+)/.exec(await metrics.text()) ?? []
  assert.ok(Number(rounds) > 30, `${rounds} rounds`)
})

test('nothing is sent before there is policy, and nothing of it is left when it ends', async t => {
  const rig = programmed(t)
  const links = (): string => runIn(rig.name, 'ip', '-br', 'link')
  let isProgrammed = false
  const canary = canaryIn(t, rig.path, { isProgrammed: () => isProgrammed })
  await delay(100)
  assert.equal(canary.status.state, 'waiting')
  assert.doesNotMatch(links(), /canary/)
  isProgrammed = true
  await until('ok', canary, () => canary.status.state === 'ok')
  assert.match(links(), /calicanary0.*\n.*calicanary1/)
  await canary.stop()
  await until('gone', canary, () => !/canary/.test(links()))
})

test('a pool with its addresses switches it off, and it says which', async t => {
  const rig = programmed(t)
  let pool: string | undefined
  const canary = canaryIn(t, rig.path, { pool: () => pool })
  await until('ok', canary, () => canary.status.state === 'ok')
  pool = '198.18.0.0/15'
  await until('off', canary, () => canary.status.state === 'off')
  assert.match(canary.status.fix!.why, /198\.18\.0\.0\/15/)
  assert.deepEqual(canary.notReady, [])
  pool = undefined
  await until('ok again', canary, () => canary.status.state === 'ok')
})

test('where it cannot be set up nothing is known of the node, and it is tried again', async t => {
  const canary = canaryIn(t, '/run/netns/no-such-namespace')
  await until('unable', canary, () => canary.status.state === 'unable')
  assert.match(canary.status.faults[0]!, /cannot be set up: .*no-such-namespace/)
  await delay(100)
  assert.deepEqual(canary.notReady, [])
})
