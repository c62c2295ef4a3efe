// The real dataplane on a real kernel, in a namespace of its own, with a hand in between that may break things just before
// a batch or a read; and the three questions of every fault: does it stay closed, does it converge, does it say so.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { PolicyDataplane } from '../../src/apps/agent/dataplane.ts'
import { Metrics } from '../../src/apps/agent/metrics.ts'
import { difference } from '../../src/core/base/change.ts'
import { NFT_TABLE } from '../../src/core/base/register.ts'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { addr } from '../../src/core/net/addr.ts'
import type { NftOp, NftTable } from '../../src/core/nft/objects.ts'
import { printDifference } from '../../src/core/proof/difference.ts'
import { decodeRuleset } from '../../src/core/proof/model.ts'
import { type Proof, prove } from '../../src/core/proof/prove.ts'
import type { ResourceKey } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { type Resource, type Snapshot, snapshotOf } from '../../src/core/resources/resource.ts'
import { KernelError } from '../../src/io/kernel/kernel-error.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { RawRulesetReader } from '../../src/io/kernel/raw-ruleset.ts'
import type { Logger } from '../../src/io/log.ts'
import { DEFAULT_TIER, endpoint, globalPolicy } from '../support/resources.ts'
import { freshNetns, runIn } from './netns.ts'
import { trace, tracer } from './proof-trace.ts'

const NODE = 'node0'
/** Much more than a slow machine needs. */
const PATIENCE_MS = 60_000

/** Called before each batch with its number and operations; may change the kernel, or throw what the kernel would say. */
export type Meddler = (index: number, ops: readonly NftOp[]) => void

const pod = (name: string, last: number, labels: Record<string, string>) =>
  endpoint({ name, node: NODE, addresses: [`10.65.0.${last}`], labels })
const remote = (n: number, team: string) =>
  endpoint({ name: `r${n}`, node: 'node1', addresses: [`10.66.0.${n}`], labels: { team } })
const policy = (name: string, order: number, selector: string, rules: readonly object[]) =>
  globalPolicy(name, { order, selector, types: ['Ingress'], ingress: rules })
const allow = (selector: string, ports: readonly (number | string)[]) => ({
  action: 'Allow',
  protocol: 'TCP',
  source: { selector },
  destination: { ports },
})

/** States of a cluster, each of which needs other elements, chains and maps; none lets anything reach b's port 22. */
export const STATES: readonly Snapshot[] = [
  [pod('a', 2, { team: 'red' }), pod('b', 3, { role: 'server' }), remote(1, 'red')],
  [pod('a', 2, { team: 'blue' }), pod('b', 3, { role: 'server' }), remote(1, 'blue'), remote(2, 'red')],
  [pod('a', 2, { team: 'blue' }), pod('b', 3, { role: 'server' }), pod('c', 4, { team: 'red', role: 'server' })],
  [pod('b', 3, { role: 'server' }), pod('c', 4, { team: 'green' }), remote(2, 'blue')],
].map((endpoints, i) =>
  snapshotOf([
    DEFAULT_TIER,
    ...endpoints,
    policy('server', 20, "role == 'server'", [
      allow(i % 2 === 0 ? "team == 'red'" : "team in {'blue', 'green'}", i < 2 ? [80, '8000:8100'] : [81, 443]),
    ]),
    ...(i === 2 ? [policy('extra', 10, "role == 'server'", [allow("team == 'green'", [7000])])] : []),
  ]),
)

/** What no state allows, from a pod and from beyond. */
const FORBIDDEN = [
  { src: '10.65.0.2', iif: 'calia' },
  { src: '10.66.0.2', iif: 'eth0' },
].map(({ src, iif }) => ({
  family: 4 as const,
  protocol: 6,
  src: addr(src),
  dst: addr('10.65.0.3'),
  sport: 40_000,
  dport: 22,
  iif,
  oif: 'calib',
  connection: 'new' as const,
}))

export class FaultyDataplane {
  readonly name: string
  readonly path: string
  readonly nft: NftConnection
  /** Of somebody else. */
  readonly other: NftConnection
  readonly reader: RawRulesetReader
  readonly dataplane: PolicyDataplane
  /** What was logged as warning or error. */
  readonly said: string[] = []
  /** The kernel's refusals, as their errno. */
  readonly refused: string[] = []
  batches = 0
  programmed = 0
  beforeBatch: Meddler = () => {}
  beforeRead: () => void = () => {}
  #snapshot: Snapshot = new Map<ResourceKey, Resource>()
  #revision = 0
  readonly #canary: boolean

  constructor(
    t: Pick<TestContext, 'after'>,
    options: {
      own?: boolean
      canary?: boolean
      quarantineMs?: number
      connect?: (netns: string) => NftConnection
    } = {},
  ) {
    const { name, path } = freshNetns(t)
    this.#canary = options.canary ?? false
    this.name = name
    this.path = path
    this.nft = (options.connect ?? openNft)(path)
    this.other = openNft(path)
    this.reader = new RawRulesetReader(path)
    const say = (fields: unknown, text?: string): void => {
      this.said.push(`${text ?? ''} ${JSON.stringify(fields, (_, v) => (v instanceof Error ? v.message : v))}`)
    }
    this.dataplane = new PolicyDataplane({
      node: NODE,
      kernel: {
        readTable: table => {
          this.beforeRead()
          return this.nft.readTable(table)
        },
        writeBatch: (ops, table) => this.#write(ops, table),
      },
      log: { info: () => {}, warn: say, error: say } as unknown as Logger,
      metrics: new Metrics(),
      onProgrammed: () => {
        this.programmed++
      },
      own: options.own ?? false,
      canary: this.#canary,
      ...(options.quarantineMs !== undefined && { quarantineMs: options.quarantineMs }),
    })
    t.after(() => {
      this.dataplane.stop()
      for (const open of [this.nft, this.other, this.reader]) open.close()
    })
  }

  #write(ops: readonly NftOp[], table: Pick<NftTable, 'name' | 'sets'>): void {
    try {
      this.beforeBatch(this.batches++, ops)
      this.nft.writeBatch(ops, table)
    } catch (error) {
      if (error instanceof KernelError) this.refused.push(error.code)
      throw error
    }
  }

  /** Makes the state the wanted one; never throws, whatever the kernel does. */
  want(state: Snapshot): void {
    const next = derived(state)
    const changes = difference(this.#snapshot, next)
    this.#snapshot = next
    this.dataplane.apply(changes, ++this.#revision)
  }

  /** A command of somebody else; what nft refuses him is his affair. */
  nftByHand(...args: string[]): boolean {
    return spawnSync('ip', ['netns', 'exec', this.name, 'nft', ...args]).status === 0
  }

  byHand(ops: readonly NftOp[], sets: NftTable['sets'] = []): boolean {
    try {
      this.other.writeBatch(ops, { name: NFT_TABLE, sets })
      return true
    } catch (error) {
      assert.ok(error instanceof KernelError, String(error))
      return false
    }
  }

  proof(): Proof {
    return prove(
      decodeRuleset(this.reader.read()),
      computeIntent(this.#snapshot, NODE, undefined, { canary: this.#canary }),
    )
  }

  /** Nothing passes that no state ever allowed; asked of nft's own listing. */
  assertClosed(where: string): void {
    const t = tracer(runIn(this.name, 'nft', '-j', 'list', 'ruleset'))
    for (const packet of FORBIDDEN) assert.equal(trace(t, packet).verdict, 'drop', `${where}: ${packet.iif} to b:22`)
  }

  /** Until the kernel's table is proved to be what is wanted, the dataplane says so, and nothing stale is left. */
  async converge(where: string): Promise<void> {
    const expected = this.#revision
    const state = (): string => {
      const { programmed, programmedRevision, problems } = this.dataplane.status()
      if (!programmed || programmedRevision !== expected) return `not programmed: ${problems.join('; ')}`
      const { proved, differences, notUnderstood } = this.proof()
      if (!proved) return `not proved: ${[...differences.map(printDifference), ...notUnderstood].join('\n')}`
      return ''
    }
    const end = performance.now() + PATIENCE_MS
    let now = state()
    while (now !== '' && performance.now() < end) {
      await delay(20)
      now = state()
    }
    assert.equal(now, '', where)
  }
}
