// The fourth judge: the packets of a flow are sent through the node's kernel. The verdict is whether they come out where
// they should, the cause and the Log rules passed on the way which of the table's counters counted them.
// Many flows are sent together, as long as no two are one connection; when the sum of their counters is not what it should
// be, each is sent alone to find out whose.
import type { NftTable } from '../../src/core/nft/objects.ts'
import { printTable } from '../../src/core/nft/print.ts'
import { openNft } from '../../src/io/kernel/nft-table.ts'
import { type Tracer, tracer } from '../kernel/proof-trace.ts'
import { loadTable } from '../support/load-table.ts'
import type { Flow, Told } from './flow.ts'
import { placeIn, type World } from './judges.ts'
import { framesOf } from './raw-frames.ts'
import type { RealLab } from './real-lab.ts'

/**
 * Counts what reaches the host itself, after everybody has judged it (what would answer would be judged as well), and what
 * connection tracking does not know but the multicast of the kernel itself.
 */
const WITNESS = `table inet witness {
\tchain input {
\t\ttype filter hook input priority 300; policy accept;
\t\tct state untracked counter comment "untracked"
\t\tiifname != "lo" counter drop comment "to host"
\t}
\tchain leaving {
\t\ttype filter hook postrouting priority 300; policy accept;
\t\tip6 daddr ff00::/8 accept
\t\tct state untracked counter comment "untracked"
\t}
}
`
const TO_HOST = 'to host'
const UNTRACKED = 'untracked'
/** How long a packet that should come out is waited for: a busy machine is slow, and nothing waits for what is right. */
const PATIENCE_MS = 5000

type Counts = ReadonlyMap<string, number>
type Obj = { readonly [key: string]: unknown }

function countsOf(listing: string): Counts {
  const counts = new Map<string, number>()
  for (const { rule } of (JSON.parse(listing) as { nftables: { rule?: Obj }[] }).nftables) {
    if (!rule || typeof rule.comment !== 'string') continue
    const counter = (rule.expr as Obj[]).map(e => e.counter as { packets: number } | undefined).find(c => c)
    if (counter) counts.set(rule.comment, (counts.get(rule.comment) ?? 0) + counter.packets)
  }
  return counts
}

type Expected = {
  readonly must: Map<string, number>
  /** Where what is staged would change nothing, there may be a second judgement all the same. */
  readonly may: Map<string, number>
}

/** The counters that flows move if they are judged so. */
function expectedOf(wanted: readonly Wanted[], isToHost: (w: Wanted) => boolean): Expected {
  const [must, may] = [new Map<string, number>(), new Map<string, number>()]
  const count = (map: Map<string, number>, comment: string): void => void map.set(comment, (map.get(comment) ?? 0) + 1)
  for (const w of wanted) {
    for (const { cause, staged, logs } of w.told.parts) {
      for (const log of logs) count(must, `Log ${log}`)
      count(staged === cause ? may : must, `staged: ${staged}`)
      count(must, cause)
    }
    if (w.told.untracked) count(must, UNTRACKED)
    if (isToHost(w) && w.told.verdict === 'allow') count(must, TO_HOST)
  }
  return { must, may }
}

const isExpected = (moved: Counts, { must, may }: Expected): boolean =>
  [...new Set([...moved.keys(), ...must.keys()])].every(comment => {
    const [n, least] = [moved.get(comment) ?? 0, must.get(comment) ?? 0]
    return least <= n && n <= least + (may.get(comment) ?? 0)
  })

type Wanted = { readonly flow: Flow; readonly told: Told }

export class RealPackets {
  readonly #lab: RealLab
  readonly #patienceMs: number
  #ids = 0
  #world: World | undefined
  #before: Counts = new Map()
  sent = 0

  constructor(lab: RealLab, { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number } = {}) {
    this.#lab = lab
    this.#patienceMs = patienceMs
  }

  /** Loads the world's table: as our print read by nft, or as we write it. Gives what nft lists of it. */
  load(world: World, table: NftTable, how: 'print' | 'netlink'): Tracer {
    this.#lab.route(world.intent.endpoints)
    if (how === 'print') this.#lab.nft(['-f', '-'], `flush ruleset\n${printTable(table)}${WITNESS}`)
    else {
      this.#lab.nft(['-f', '-'], `flush ruleset\n${WITNESS}`)
      using connection = openNft(this.#lab.node)
      loadTable(connection, table)
    }
    this.#world = world
    this.#before = countsOf(this.#list('ruleset'))
    return tracer(this.#list('table', 'inet', table.name))
  }

  #list(...what: readonly string[]): string {
    return this.#lab.nft(['-j', '-n', 'list', ...what])
  }

  /** What the kernel did otherwise than wanted, in words, by flow. */
  async judge(wanted: readonly Wanted[]): Promise<Map<Flow, string>> {
    const wrong = new Map<Flow, string>()
    for (let left = [...wanted]; left.length > 0; ) {
      const round: Wanted[] = []
      const tuples = new Set<string>()
      for (const w of left) {
        const key = tupleOf(w.flow)
        if (tuples.has(key)) continue
        tuples.add(key)
        round.push(w)
      }
      left = left.filter(w => !round.includes(w))
      const found = await this.#round(round)
      if (found.size > 0 && round.length > 1)
        for (const w of round) for (const [f, x] of await this.#round([w])) wrong.set(f, x)
      else for (const [f, x] of found) wrong.set(f, x)
    }
    return wrong
  }

  async #round(wanted: readonly Wanted[]): Promise<Map<Flow, string>> {
    const world = this.#world!
    const ids = new Map<number, Wanted>()
    this.#lab.forget()
    for (const w of wanted) {
      const id = ++this.#ids
      ids.set(id, w)
      const { in: wire } = placeIn(world, w.flow)
      for (const frame of framesOf(w.flow, id, this.#lab.link)) {
        if (wire === undefined) this.#lab.sendOwn(w.flow.packet, frame)
        else this.#lab.send(wire, frame)
      }
      this.sent++
    }
    const isToHost = (w: Wanted): boolean => placeIn(world, w.flow).out === undefined
    const out = [...ids].filter(([, w]) => w.told.verdict === 'allow' && !isToHost(w)).map(([id]) => id)
    const seen = new Map<number, string>()
    const receive = (): void => {
      for (const { id, at } of this.#lab.receive()) seen.set(id, at)
    }
    const end = performance.now() + this.#patienceMs
    for (receive(); !out.every(id => seen.has(id)) && performance.now() < end; receive())
      await new Promise(resolve => setImmediate(resolve))
    const after = countsOf(this.#list('ruleset'))
    receive()
    const wrong = new Map<Flow, string>()
    for (const [id, w] of ids) {
      if (isToHost(w)) continue
      const at = seen.get(id)
      const should = w.told.verdict === 'allow' ? placeIn(world, w.flow).out : undefined
      if (at !== should) wrong.set(w.flow, at === undefined ? 'did not come out' : `came out at ${at}`)
    }
    for (const id of seen.keys()) if (!ids.has(id)) throw new Error(`flow ${id} of an earlier round came out late`)
    const moved = differenceOf(this.#before, after)
    const expected = expectedOf(wanted, isToHost)
    this.#before = after
    if (!isExpected(moved, expected)) {
      const text = `counted ${printCounts(moved)} and not ${printCounts(expected.must)}`
      for (const w of wanted) wrong.set(w.flow, [wrong.get(w.flow), text].filter(x => x).join('; '))
    }
    return wrong
  }
}

/** Flows that are one connection to the kernel, in either direction. */
function tupleOf({ packet }: Flow): string {
  const { protocol, src, dst, sport = 0, dport = 0 } = packet
  return `${protocol} ${[`${src} ${sport}`, `${dst} ${dport}`].sort().join()}`
}

const differenceOf = (before: Counts, after: Counts): Counts =>
  new Map([...after].map(([c, n]) => [c, n - (before.get(c) ?? 0)] as const).filter(([, n]) => n !== 0))
const printCounts = (counts: Counts): string =>
  counts.size === 0 ? 'nothing' : [...counts].map(([c, n]) => `${c} (${n})`).join(', ')
