// The proof: the kernel's ruleset and the intent, each evaluated on every class of packets, must say the same.
//
// Each hook is proved by itself, and of the forward hook the sender's and the receiver's side one after the other, because
// the product of all of them would be too large: the chain where the sender's side hands over is found by looking, and
// what it does is proved from any state. That is a filter that lets nothing through: every class on which the two sides
// of a part differ is examined again on the packet's whole way, all hooks and all tables, and only that is believed.
import { NFT_TABLE, SERVICE_PROXIES } from '../base/register.ts'
import type { Intent } from '../calc/intent.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { type Classes, classesOf } from './classes.ts'
import { type Difference, packetOf, printHop, printPacket } from './difference.ts'
import { IntentJudge, type IntentResult, MARKS, ownMark } from './intent-walk.ts'
import { CT, type KernelResult, KernelWalk, type Translated } from './kernel-walk.ts'
import type { HookName, Ruleset } from './model.ts'
import { NFPROTO } from './model.ts'
import { type ChainProgram, compileFamily, type FamilyProgram, wayOf } from './program.ts'
import { type Box, type Cls, type Dim, Domain, type Domains, explore, type Locate, type Walk } from './space.ts'

export type Proof = {
  /** Every class was evaluated, understood, and judged alike. */
  readonly proved: boolean
  readonly generation: number
  /** Classes of packets evaluated on both sides. */
  readonly classes: number
  /** At most `maxDifferences`; the first of each sort. */
  readonly differences: readonly Difference[]
  /** What no verdict can be given on, with a packet concerned. */
  readonly notUnderstood: readonly string[]
}

export type ProofOptions = {
  readonly table?: string
  /** Classes to evaluate at most; past it the proof is not understood. */
  readonly maxClasses?: number
  readonly maxDifferences?: number
}

type Judged = { readonly kernel: KernelResult; readonly intent: IntentResult }

const COMMENT_LENGTH = 120
/** A cause as the kernel's comment, which is clipped to fit, tells it. */
const sameCause = (comment: string, cause: string): boolean =>
  comment === cause ||
  (comment.endsWith('~') && cause.length > COMMENT_LENGTH && cause.startsWith(comment.slice(0, -1)))
const sameCauses = (comments: readonly string[], causes: readonly string[]): boolean =>
  comments.length === causes.length && comments.every((c, i) => sameCause(c, causes[i]!))

const words = (verdict: string, causes: readonly string[]): string =>
  causes.length === 0 ? verdict : `${verdict} (${causes.join(', then ')})`

class Prover {
  readonly differences: Difference[] = []
  readonly notUnderstood = new Map<string, string>()
  readonly #seen = new Set<string>()
  readonly #judge: IntentJudge
  readonly #budget: { left: number }
  readonly #max: number

  constructor(judge: IntentJudge, o: { maxClasses: number; maxDifferences: number }) {
    this.#judge = judge
    this.#budget = { left: o.maxClasses }
    this.#max = o.maxDifferences
  }

  get left(): number {
    return Math.max(0, this.#budget.left)
  }

  doubt(what: string, packet: string): void {
    if (!this.notUnderstood.has(what) && this.notUnderstood.size < this.#max) this.notUnderstood.set(what, packet)
  }

  family(program: FamilyProgram): void {
    const classes = classesOf(program, this.#judge.intent)
    for (const ctState of [CT.new, CT.established, CT.invalid])
      new Part(this, this.#judge, { program, classes, ctState }).prove()
  }

  explore(boxes: readonly Box[], walk: (w: Walk) => void): void {
    if (!explore(boxes, this.#budget, walk)) this.doubt('too many classes of packets: not all were evaluated', '')
  }

  get full(): boolean {
    return this.differences.length >= this.#max
  }

  report(d: Difference, sort: string): void {
    if (this.#seen.has(sort) || this.full) return
    this.#seen.add(sort)
    this.differences.push(d)
  }
}

/** One family and connection state. */
class Part {
  readonly #p: Prover
  readonly #judge: IntentJudge
  readonly #program: FamilyProgram
  readonly #domains: Domains
  readonly #locate: Locate
  readonly #ct: number
  /** Boxes on which some hook's two sides differ, by where the packets go. */
  readonly #suspects: { box: Box; toHost: boolean }[] = []

  constructor(p: Prover, judge: IntentJudge, of: { program: FamilyProgram; classes: Classes; ctState: number }) {
    this.#p = p
    this.#judge = judge
    this.#program = of.program
    this.#domains = of.classes.domains
    this.#locate = of.classes.locate
    this.#ct = of.ctState
  }

  get #family(): Family {
    return this.#program.family
  }

  prove(): void {
    const [judge, family, ctState] = [this.#judge, this.#family, this.#ct]
    this.#compare('prerouting', w => judge.prerouting(w, family))
    this.#compare('input', w => judge.input(w, family, ctState))
    this.#forward()
    const hooks: readonly HookName[] = ['prerouting', 'input', 'forward', 'postrouting']
    for (const hook of hooks) this.#neutral(hook)
    if (ctState === CT.new) this.#masquerade()
    for (const { box, toHost } of this.#suspects.splice(0)) this.#examine(box, toHost)
  }

  #chains(which: 'ours' | 'others', hook: HookName): ChainProgram[] {
    return this.#program[which].filter(c => c.base!.hook === hook)
  }

  #walk(w: Walk, cut?: ChainProgram): KernelWalk {
    const isCut = (c: Cls): boolean => this.#judge.isWorkload(c.label)
    return new KernelWalk(w, { family: this.#family, ctState: this.#ct, ...(cut && { cut: { chain: cut, isCut } }) })
  }

  #box(domains: Partial<Record<Dim, Domain>> = {}): Box {
    return { domains: { ...this.#domains, ...domains }, choices: [] }
  }

  /** Our own chains of a hook against what the intent wants there. */
  #compare(hook: HookName, intent: (w: Walk) => IntentResult): void {
    this.#sides(hook, this.#box(), w => ({
      kernel: this.#walk(w).run(this.#chains('ours', hook)),
      intent: intent(w),
    }))
  }

  #sides(hook: HookName, root: Box, judge: (w: Walk) => Judged): void {
    this.#p.explore([root], w => {
      const { kernel, intent } = judge(w)
      if (kernel.verdict !== intent.verdict || !sameCauses(kernel.causes, intent.causes)) this.#suspect(hook, w)
    })
  }

  /** To be examined on every way that leads through the hook. */
  #suspect(hook: HookName, w: Walk): void {
    if (hook === 'prerouting' || hook === 'input') this.#suspects.push({ box: w.box(), toHost: true })
    if (hook !== 'input') this.#suspects.push({ box: w.box(), toHost: false })
  }

  #forward(): void {
    const [judge, family, ctState] = [this.#judge, this.#family, this.#ct]
    const bases = this.#chains('ours', 'forward')
    const cut = bases.length === 1 ? this.#handOver(bases[0]!) : undefined
    let cuts = 0
    this.#sides('forward', this.#box(), w => {
      const kernel = this.#walk(w, cut).run(bases)
      if (kernel.verdict === 'cut') cuts++
      return { kernel, intent: judge.forward(w, family, { ctState, cut: cut !== undefined }) }
    })
    if (!cut || cuts === 0) return
    const workloads = new Domain(this.#domains.oif.members.filter(c => judge.isWorkload(c.label)))
    this.#sides('forward', this.#box({ oif: workloads }), w => ({
      kernel: this.#walk(w).runFrom(bases[0]!, cut),
      intent: judge.receive(w, family),
    }))
  }

  /** The chain that a new packet from outside to some endpoint goes to first. */
  #handOver(base: ChainProgram): ChainProgram | undefined {
    const one = (dim: Dim, is: (c: Cls) => boolean): Domain => {
      const found = this.#domains[dim].members.find(is)
      return new Domain(found ? [found] : [])
    }
    const endpoints = new Set(this.#judge.intent.endpoints.map(e => e.interfaceName))
    const box = this.#box({
      iif: one('iif', c => !this.#judge.isWorkload(c.label)),
      oif: one('oif', c => endpoints.has(c.label)),
    })
    let found: ChainProgram | undefined
    explore([box], { left: 1 }, w => {
      const result = new KernelWalk(w, { family: this.#family, ctState: CT.new }).run([base])
      const hop = result.path.find(h => h.verdict.startsWith('goto '))
      found = hop && base.chains.get(hop.verdict.slice('goto '.length))
    })
    return found
  }

  /** Chains of others must let everything through that is not dropped anyhow. */
  #neutral(hook: HookName): void {
    const others = this.#chains('others', hook)
    if (others.length === 0) return
    this.#p.explore([this.#box()], w => {
      if (this.#walk(w).run(others).verdict !== 'accept') this.#suspect(hook, w)
    })
  }

  #masquerade(): void {
    const bases = wayOf(this.#program, false).filter(c => c.base!.hook === 'postrouting')
    this.#p.explore([this.#box()], w => {
      const kernel = this.#walk(w).run(bases)
      // No cause is counted here: a packet's causes are told before.
      const isPlain = kernel.verdict === 'accept' && kernel.nat !== 'translation' && kernel.causes.length === 0
      if (!isPlain || this.#source(w, kernel)) this.#suspect('postrouting', w)
    })
  }

  /** The whole way of the box's packets, through everybody's chains. */
  #examine(box: Box, toHost: boolean): void {
    if (this.#p.full) return
    const { ours } = this.#program
    const way = wayOf(this.#program, toHost)
    const [family, ctState] = [this.#family, this.#ct]
    this.#p.explore([box], w => {
      if (this.#p.full) return
      const kernel = new KernelWalk(w, { family, ctState, mark: 0, locate: this.#locate }).run(way)
      const intent = this.#whole(w, toHost, kernel.to)
      const last = kernel.path.at(-1)
      const decidedByOurs =
        kernel.verdict === 'accept' || (last !== undefined && ours.some(c => c.chains === last.chain.chains))
      const agree = kernel.verdict === intent.verdict && (!decidedByOurs || sameCauses(kernel.causes, intent.causes))
      // Whose destination a service proxy has changed, its source is the proxy's affair as well.
      const source = agree && !toHost && !kernel.to ? this.#source(w, kernel) : undefined
      if (agree && !source) return
      if (this.#isRefusedService(w, kernel)) return
      const packet = packetOf(w.domains, { family, ctState, toHost })
      if (kernel.verdict === 'unknown' || kernel.nat === 'translation')
        return this.#p.doubt(kernel.what ?? 'an address translation', printPacket(packet))
      this.#differ(w, {
        kind: source ? 'masquerade' : kernel.verdict === intent.verdict ? 'cause' : 'verdict',
        packet,
        wanted: source?.wanted ?? words(intent.verdict, intent.causes),
        found: source?.found ?? words(kernel.verdict, kernel.causes),
        path: kernel.path.map(printHop),
      })
    })
  }

  /**
   * What an accepted new packet's source should become and becomes, if that differs. Others may give packets a source as
   * they like, but not those from pod to pod: the receiver's policy would judge somebody else.
   */
  #source(w: Walk, { verdict, nat, natBy }: KernelResult): { wanted: string; found: string } | undefined {
    if (this.#ct !== CT.new || verdict !== 'accept') return undefined
    const isFound = nat === 'masquerade' || nat === 'source'
    const isWanted = this.#judge.masquerade(w)
    if (isFound === isWanted) return undefined
    const isOurs = this.#program.ours.some(c => c.chains === natBy?.chains)
    if (isFound && !isOurs && !(this.#isPods(w, 'src') && this.#isPods(w, 'dst'))) return undefined
    const say = (is: boolean): string => (is ? 'masqueraded' : 'not masqueraded')
    return { wanted: say(isWanted), found: nat === 'source' ? 'given another source' : say(isFound) }
  }

  /** Whether an address is an endpoint's of this node, or in a pool. */
  #isPods(w: Walk, dim: 'src' | 'dst', given?: Cls): boolean {
    const marks = [MARKS.pool, ...this.#judge.intent.endpoints.map(e => ownMark(e.interfaceName))]
    const isPod = (c: Cls): boolean => marks.some(mark => c.memberOf!.has(mark))
    return given ? isPod(given) : w.ask(dim, 'a pod’s', isPod)
  }

  /**
   * A service has no pod's address: who serves it, or that nobody does, the intent does not say. What its proxy refuses is
   * no policy's denial, and opens nothing.
   */
  #isRefusedService(w: Walk, { verdict, nat, to, path }: KernelResult): boolean {
    if (verdict !== 'drop' || nat === 'translation' || !SERVICE_PROXIES.includes(path.at(-1)?.chain.table ?? ''))
      return false
    return !this.#isPods(w, 'dst', to?.dst)
  }

  /** `to`: policy judges the destination that the packet was given before. */
  #whole(w: Walk, toHost: boolean, to: Translated | undefined): IntentResult {
    const first = this.#judge.prerouting(w, this.#family)
    if (first.verdict === 'drop') return first
    const later = to ? w.translated(to) : w
    if (toHost) return this.#judge.input(later, this.#family, this.#ct)
    return this.#judge.forward(later, this.#family, { ctState: this.#ct, cut: false })
  }

  #differ(w: Walk, d: Difference) {
    const [doubt] = w.doubts
    if (doubt !== undefined) return this.#p.doubt(doubt, printPacket(d.packet))
    // One example for each way that the kernel goes wrong, and what it should have come to.
    const sort = [d.kind, this.#family, d.packet.connection, d.wanted, d.found, d.path.at(-1)].join('\n')
    this.#p.report(d, sort)
  }
}

/** Families whose chains see a packet before ours, on its device. */
function foreignDevices(ruleset: Ruleset): string[] {
  return ruleset.tables
    .filter(t => t.family === NFPROTO.netdev && [...t.chains.values()].some(c => c.base))
    .map(t => `table netdev ${t.name}`)
}

/** Compares what the ruleset does with what the intent wants. The intent's `problems` are not its business. */
export function prove(ruleset: Ruleset, intent: Intent, options: ProofOptions = {}): Proof {
  const { table = NFT_TABLE, maxClasses = 2_000_000, maxDifferences = 20 } = options
  const prover = new Prover(new IntentJudge(intent), { maxClasses, maxDifferences })
  for (const device of foreignDevices(ruleset)) prover.doubt(device, 'every packet')
  for (const family of FAMILIES) prover.family(compileFamily(ruleset, family, table))
  const notUnderstood = [...prover.notUnderstood].map(([what, packet]) => (packet ? `${what}: ${packet}` : what))
  return {
    proved: prover.differences.length === 0 && notUnderstood.length === 0,
    generation: ruleset.generation,
    classes: maxClasses - prover.left,
    differences: prover.differences,
    notUnderstood,
  }
}
