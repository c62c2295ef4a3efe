// The proof's thread at work beside the real dataplane: green when the kernel does what it should, red and never green while
// it is dead, started anew with everything, and a difference that stays makes the node not ready.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { ProofLoop, type ProofOptions } from '../../src/apps/agent/proof.ts'
import { difference } from '../../src/core/base/change.ts'
import { derived } from '../../src/core/resources/derive.ts'
import type { Snapshot } from '../../src/core/resources/resource.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import type { Logger } from '../../src/io/log.ts'
import { FaultyDataplane, STATES } from './faulty-dataplane.ts'

const WORKER = new URL('../../src/apps/agent/proof-worker.ts', import.meta.url)
const PATIENCE_MS = 60_000

class Rig extends FaultyDataplane {
  readonly metrics = new Metrics()
  readonly workers: Worker[] = []
  readonly loop: ProofLoop
  differences = 0
  #view: Snapshot = new Map()
  #revision = 0

  /** `hangs`: the first thread is at work for ever, as a fault in it would make it. */
  constructor(
    t: TestContext,
    { hangs = false, ...patience }: Pick<ProofOptions, 'slowMs' | 'hungMs'> & { hangs?: boolean } = {},
  ) {
    super(t)
    this.loop = new ProofLoop({
      node: 'node0',
      log: { info: () => {}, warn: () => {}, error: () => {} } as unknown as Logger,
      metrics: this.metrics,
      dataplane: this.dataplane,
      onDifference: () => {
        this.differences++
        this.dataplane.verify('unknown: found by the proof', { anew: true })
      },
      known: () => ({ changes: [...this.#view].map(([key, value]) => ({ key, value })), interfaces: [] }),
      restartMs: [300],
      ...patience,
      start: workerData => {
        const worker =
          hangs && this.workers.length === 0
            ? new Worker('for (;;) {}', { eval: true })
            : inNetns(this.path, () => new Worker(WORKER, { workerData }))
        this.workers.push(worker)
        return worker
      },
    })
    t.after(() => this.loop.stop())
    this.dataplane.failClosed()
  }

  override want(state: Snapshot): void {
    super.want(state)
    const next = derived(state)
    const changes = difference(this.#view, next)
    this.#view = next
    this.loop.changed({ changes, interfaces: [] }, ++this.#revision)
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + PATIENCE_MS
    while (!(await holds())) {
      assert.ok(performance.now() < end, `${what}: ${JSON.stringify([this.loop.status(), this.loop.problems])}`)
      await delay(20)
    }
  }

  /** Proved after now. */
  async proved(): Promise<void> {
    const since = this.loop.status().at?.getTime() ?? 0
    await this.until('proved', () => this.loop.status().proved === true && this.loop.status().at!.getTime() > since)
  }

  async gauge(name: string): Promise<number> {
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(await this.metrics.text())![1])
  }
}

test('a thread that throws and one that ends are red, counted, and started anew with all resources', async t => {
  const rig = new Rig(t)
  rig.want(STATES[0]!)
  await rig.proved()
  assert.ok(rig.dataplane.status().readBackAt, 'it was read back too')
  const deaths: readonly ((worker: Worker) => unknown)[] = [w => w.postMessage(null), w => w.terminate()]
  for (const [i, kill] of deaths.entries()) {
    kill(rig.workers.at(-1)!)
    await rig.until('red', () => rig.loop.status().proved === false)
    assert.match(rig.loop.problems.join(), /^not proved: the proof’s thread died/)
    assert.equal(await rig.gauge('gingham_proved'), 0)
    assert.equal(await rig.gauge('gingham_proof_restarts_total'), i + 1)
    // What changes while there is none must not be missing.
    rig.want(STATES[1 + i]!)
    await rig.proved()
    assert.equal(rig.workers.length, 2 + i)
    assert.deepEqual(rig.loop.problems, [])
  }
  assert.equal(rig.differences, 0)
})

test('a proof that takes long is told; a thread that does not answer is ended and started anew', async t => {
  const rig = new Rig(t, { slowMs: 0, hungMs: 3000, hangs: true })
  rig.want(STATES[0]!)
  await rig.until('at work', () => /^a proof has been at work for \d+ s/.test(rig.loop.problems.join()))
  await rig.until('red', () => rig.loop.status().proved === false)
  assert.match(rig.loop.problems.join(), /not proved: the proof’s thread died \(it did not answer for 3 s\)/)
  await rig.proved()
  assert.equal(rig.workers.length, 2)
  assert.equal(await rig.gauge('gingham_proof_restarts_total'), 1)
})

test('it comes after whoever waits for a packet: the thread has a lower priority', async t => {
  const nice = (): number[] =>
    readdirSync('/proc/self/task').flatMap(task => {
      try {
        const stat = readFileSync(`/proc/self/task/${task}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
      } catch {
        return []
      }
    })
  const rig = new Rig(t)
  rig.want(STATES[0]!)
  await rig.proved()
  assert.deepEqual([...new Set(nice())].sort(), [0, 10])
})

test('a difference that stays is told as such; one that is put right is not', async t => {
  const rig = new Rig(t)
  rig.want(STATES[0]!)
  await rig.proved()
  // A stranger's table that drops is never ours to remove.
  assert.ok(
    rig.nftByHand(
      'add table inet other; add chain inet other f { type filter hook forward priority -5; policy drop; }',
    ),
  )
  rig.want(STATES[1]!)
  await rig.until('differs', () => rig.differences === 1)
  assert.equal(rig.loop.status().differs, false)
  await rig.until('differs still', () => rig.loop.status().differs)
  assert.ok(rig.nftByHand('delete', 'table', 'inet', 'other'))
  await rig.proved()
  assert.equal(rig.loop.status().differs, false)
  // One edit of ours by hand, which the repair after the first finding takes away.
  assert.ok(rig.nftByHand('insert', 'rule', 'inet', 'gingham', 'forward', 'accept'))
  rig.want(STATES[2]!)
  await rig.proved()
  assert.equal(rig.loop.status().differs, false)
  assert.ok(rig.dataplane.status().lastEdit)
})
