// Pods that come and go in a cluster, on nodes that they name, under policies that change; and what must be so whenever nothing
// happens any more: every pod runs, nothing is allocated but what pods have, no interface is left.
import { execFile } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { IpamCollector } from '../../src/apps/agent/ipam-collect.ts'
import { readText, waitForAgents } from '../../src/apps/lab/cluster.ts'
import { type KubernetesLab, PAUSE_IMAGE } from '../../src/apps/lab/kubernetes/lab.ts'
import { NODES, names } from '../../src/apps/lab/plan.ts'
import { CANARIES } from '../../src/core/calc/canary.ts'
import type { Snapshot } from '../../src/core/resources/resource.ts'
import { audit } from '../../src/io/ipam/audit.ts'
import { openCollection } from '../../src/io/ipam/collection.ts'
import type { ApiClient } from '../../src/io/kubernetes/api-client.ts'
import { hasStatus } from '../../src/io/kubernetes/api-error.ts'
import { applyObjects } from '../../src/io/kubernetes/apply.ts'
import { openLog } from '../../src/io/log.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import { ResourceError } from '../../src/io/store/resource-error.ts'
import { type Dice, pick } from './dice.ts'
import { resource } from './resources.ts'

const run = promisify(execFile)

const NAMESPACE = 'churn'
const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`
const ROLES = ['red', 'green', 'blue'] as const
const POLICIES = 4
const PATIENCE_MS = 90_000
/**
 * What a runtime still has is gone by then: a kubelet that was killed finds the sandbox of a pod that is gone when it next looks
 * for such. What is left afterwards is for the collector.
 */
const TEARDOWN_MS = 120_000

const CANARY_ENDS = new Set(CANARIES.map(({ interfaceName }) => interfaceName))

const markerOn = (node: string): string => `marker-${node}`

type PodJson = {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string }
  readonly status: { readonly phase?: string; readonly podIPs?: readonly { readonly ip: string }[] }
}

/** `leaked`: addresses that only the collector took back. */
export type Findings = { readonly faults: readonly string[]; readonly leaked: number }

export class Churn {
  readonly #lab: KubernetesLab
  readonly #client: ApiClient
  readonly #resources: ResourceClient
  readonly #dice: Dice
  /** Names to nodes. */
  readonly #wanted = new Map<string, string>()
  readonly #policies = new Map<string, object | undefined>()
  made = 0
  edits = 0
  #marks = 0

  constructor(lab: KubernetesLab, client: ApiClient, dice: Dice) {
    this.#lab = lab
    this.#client = client
    this.#resources = new ResourceClient(lab.store)
    this.#dice = dice
  }

  /** So many pods on each node, one that stays for all the time, and a policy. */
  async begin(perNode: number): Promise<void> {
    await applyObjects(this.#client, [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }])
    for (const { name } of NODES) this.#wanted.set(markerOn(name), name)
    for (const { name } of NODES) for (let i = 0; i < perNode; i++) this.#want(name)
    this.#editPolicy()
    await this.reconcile()
  }

  /** Some pods of a node go, as many come, and a policy changes. What the API server does not hear `reconcile` tells it. */
  async turnOver(node: string, count: number): Promise<void> {
    const going = [...this.#wanted]
      .flatMap(([name, where]) => (where === node && name !== markerOn(node) ? [name] : []))
      .slice(0, count)
    for (const name of going) this.#wanted.delete(name)
    const coming = going.map(() => this.#want(node))
    await Promise.allSettled([
      ...going.map(name => this.#delete(name, this.#dice(4) === 0)),
      ...coming.map(name => this.#create(name)),
      this.writePolicy(),
    ])
  }

  /** Changes one policy. */
  async writePolicy(): Promise<void> {
    await this.#apply(this.#editPolicy())
  }

  /** Until the API server holds what is wanted, and nothing else. */
  async reconcile(): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      try {
        const there = new Set((await this.#pods()).map(({ metadata }) => metadata.name))
        for (const name of there) if (!this.#wanted.has(name)) await this.#delete(name, false)
        for (const name of this.#wanted.keys()) if (!there.has(name)) await this.#create(name)
        for (const name of this.#policies.keys()) await this.#apply(name)
        return
      } catch (error) {
        if (performance.now() > deadline) throw error
        await delay(200)
      }
    }
  }

  /** Until every pod that is wanted runs and no other is there, and every agent enforces what there is. */
  async quiet(): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const pods = await this.#pods()
      const waiting = pods.filter(
        ({ metadata, status }) =>
          !this.#wanted.has(metadata.name) ||
          metadata.deletionTimestamp !== undefined ||
          status.phase !== 'Running' ||
          status.podIPs?.length !== 2,
      )
      if (waiting.length === 0 && pods.length === this.#wanted.size) break
      if (performance.now() > deadline) {
        const told = waiting.map(({ metadata, status }) => `${metadata.name} is ${status.phase}`).join(', ')
        throw new Error(`${pods.length} of ${this.#wanted.size} pods after ${PATIENCE_MS / 1000} s: ${told}`)
      }
      await delay(100)
    }
    await waitForAgents(this.#lab.agents, 'every agent is ready', ({ ready }) => ready)
    await this.#enforced()
  }

  /**
   * Until every agent enforces a policy that is new, on pods whose label is: pods and policies come to it in order, so
   * that all that was written before is enforced, too. Its revision would not tell: each kind is watched by itself.
   */
  async #enforced(): Promise<void> {
    const [before, mark] = [this.#marks, ++this.#marks]
    const body = JSON.stringify({ metadata: { labels: { mark: String(mark) } } })
    for (const { name } of NODES) {
      const path = `${PODS}/${markerOn(name)}`
      await this.#client.request('PATCH', path, { body, contentType: 'application/merge-patch+json' })
    }
    this.#policies.set(`mark-${before}`, undefined)
    const ingress = [{ action: 'Deny', protocol: 'TCP', destination: { ports: [9] } }]
    this.#policies.set(`mark-${mark}`, { selector: `mark == '${mark}'`, types: ['Ingress'], ingress })
    for (const one of [before, mark]) await this.#apply(`mark-${one}`)
    this.#policies.delete(`mark-${before}`)
    const deadline = performance.now() + PATIENCE_MS
    for (const [node, socket] of this.#lab.agents) {
      for (;;) {
        const causes = await readText(socket, '/counters').catch(() => '')
        if (causes.includes(`mark-${mark} `)) break
        if (performance.now() > deadline) throw new Error(`${node} does not enforce mark-${mark}: ${causes}`)
        await delay(20)
      }
    }
  }

  /** What is wrong while nothing happens. What is leaked is collected first, as an agent does a quarter of an hour later. */
  async judge(): Promise<Findings> {
    const deadline = performance.now() + TEARDOWN_MS
    const look = async (): Promise<string[]> => [...(await this.#left()), ...(await this.#leftInterfaces())]
    let left = await look()
    while (left.length > 0 && performance.now() < deadline) {
      await delay(200)
      left = await look()
    }
    const leaked = left.length > 0 ? await this.#collect() : 0
    const addresses = (await this.#pods()).flatMap(({ status }) => (status.podIPs ?? []).map(({ ip }) => ip))
    const twice = addresses.filter((address, i) => addresses.indexOf(address) !== i)
    return { faults: [...(await look()), ...twice.map(address => `two pods have ${address}`)], leaked }
  }

  /** How IPAM differs from what pods have. */
  async #left(): Promise<string[]> {
    const { broken, unfinished, allocated } = await audit(this.#lab.store)
    const had = new Set((await this.#pods()).flatMap(({ status }) => (status.podIPs ?? []).map(({ ip }) => ip)))
    return [
      ...broken,
      ...unfinished.filter(line => line.includes('/handle/')),
      ...[...allocated].flatMap(([ip, handle]) => (had.has(ip) ? [] : [`${ip} of ${handle} is no pod's`])),
      ...[...had].flatMap(ip => (allocated.has(ip as never) ? [] : [`${ip} is a pod's and not allocated`])),
    ]
  }

  /** Looks of every node's collector, with almost no grace: nothing is being added now. */
  async #collect(): Promise<number> {
    let now = 0
    let reclaimed = 0
    const snapshot: Snapshot = await this.#lab.snapshot()
    const collectors = NODES.map(
      ({ name }) =>
        new IpamCollector({
          node: name,
          ipam: openCollection(this.#lab.store),
          snapshot: () => snapshot,
          resources: this.#resources,
          now: () => now,
          log: openLog({ name: 'collector', level: 'fatal' }),
          graceMs: 1,
        }),
    )
    for (; now < 8; now += 2) for (const one of collectors) reclaimed += (await one.tick()).reclaimed
    return reclaimed
  }

  async #leftInterfaces(): Promise<string[]> {
    const counts = NODES.map(async ({ name }) => {
      const { stdout } = await run('ip', ['-n', names(this.#lab.prefix).node(name), '-o', 'link'])
      const ends = [...stdout.matchAll(/^\d+: (cali[^@:]*)/gm)].filter(([, end]) => !CANARY_ENDS.has(end!)).length
      const wanted = [...this.#wanted.values()].filter(node => node === name).length
      return ends === wanted ? [] : [`${name} has ${ends} host ends for ${wanted} pods`]
    })
    return (await Promise.all(counts)).flat()
  }

  #want(node: string): string {
    const name = `pod-${++this.made}`
    this.#wanted.set(name, node)
    return name
  }

  async #pods(): Promise<readonly PodJson[]> {
    return JSON.parse(await this.#client.request('GET', PODS)).items
  }

  async #create(name: string): Promise<void> {
    const role = ROLES[Number(/\d*$/.exec(name)![0]) % ROLES.length]
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels: { role } },
      spec: {
        nodeName: this.#wanted.get(name),
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 1,
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: 'main', image: PAUSE_IMAGE }],
      },
    }
    await this.#client.request('POST', PODS, { body: JSON.stringify(pod) })
  }

  /** By force it is gone from the API server before its kubelet has done anything. */
  async #delete(name: string, byForce: boolean): Promise<void> {
    try {
      await this.#client.request('DELETE', `${PODS}/${name}`, byForce ? { query: { gracePeriodSeconds: '0' } } : {})
    } catch (error) {
      if (!hasStatus(error, 404)) throw error
    }
  }

  #editPolicy(): string {
    this.edits++
    const name = `policy-${this.#dice(POLICIES)}`
    const role = (): string => `role == '${pick(this.#dice, ROLES)}'`
    const ports = pick(this.#dice, [{ protocol: 'TCP', destination: { ports: [80] } }, { protocol: 'UDP' }, {}])
    const spec = {
      selector: role(),
      order: this.#dice(100),
      ...pick(this.#dice, [
        { types: ['Ingress'], ingress: [{ action: 'Allow', ...ports, source: { selector: role() } }] },
        { types: ['Egress'], egress: [{ action: 'Deny', ...ports }, { action: 'Allow' }] },
      ]),
    }
    this.#policies.set(name, this.#dice(4) === 0 ? undefined : spec)
    return name
  }

  async #apply(name: string): Promise<void> {
    const spec = this.#policies.get(name)
    const identity = { namespace: NAMESPACE, name }
    try {
      if (spec === undefined) await this.#resources.delete(`NetworkPolicy/${NAMESPACE}/${name}` as never)
      else {
        const metadata = { ...identity }
        await this.#resources.apply(
          resource({ apiVersion: 'projectcalico.org/v3', kind: 'NetworkPolicy', metadata, spec }),
        )
      }
    } catch (error) {
      if (!(error instanceof ResourceError && error.code === 'not-found')) throw error
    }
  }
}
