// The proof: the kernel's ruleset and the intent, each evaluated on every class of packets, must say the same.
//
// Each hook is proved by itself, and of the forward hook the sender's and the receiver's side one after the other, because
// the product of all of them would be too large: the chain where the sender's side hands over is found by looking, and
// what it does is proved from any state. That is a filter that lets nothing through: every class on which the two sides
// of a part differ is examined again on the packet's whole way, all hooks and all tables, and only that is believed.
import { ACCEPT_MARK, NFT_TABLE } from '../base/register.ts'
import type { Intent } from '../calc/intent.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { HOST_LEGS } from '../resources/cause.ts'
import { classesOf } from './classes.ts'
import type { Difference } from './difference.ts'
import { IntentJudge, type IntentResult, NO_INTERFACE } from './intent-walk.ts'
import { CT, type KernelResult, KernelWalk } from './kernel-walk.ts'
import type { HookName, Ruleset } from './model.ts'
import { NFPROTO } from './model.ts'
import { type ChainProgram, compileFamily, type FamilyProgram, type Road, wayOf } from './program.ts'
import { type Box, type Cls, type Dim, Domain, type Domains, explore, type Walk } from './space.ts'
import { type Finding, sameCauses, WholeWay, type WholeWayOptions } from './whole-way.ts'

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

/** Packets to look at for the chain where the sender's side hands over; the first will do unless host endpoints deny it. */
const HAND_OVER_TRIES = 1000

/** Whether later hooks will find the packet as the intent left it. */
const sameLeft = (kernel: KernelResult, intent: IntentResult): boolean =>
  kernel.verdict !== 'accept' ||
  (kernel.untracked === (intent.untracked ?? false) &&
    kernel.mark !== undefined &&
    ((kernel.mark & ACCEPT_MARK) !== 0) === (intent.accepted ?? false))

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
    const untracks = HOST_LEGS.some(leg => leg.hook === 'untracked' && this.#judge.has(leg))
    for (const ctState of [CT.new, CT.established, CT.invalid, ...(untracks ? [CT.untracked] : [])])
      new Part(this, this.#judge, { program, classes, ctState }).prove()
  }

  explore(boxes: readonly Box[], walk: (w: Walk) => void): void {
    if (!explore(boxes, this.#budget, walk)) this.doubt('too many classes of packets: not all were evaluated', '')
  }

  get full(): boolean {
    return this.differences.length >= this.#max
  }

  report(f: Finding, family: Family): void {
    if ('doubt' in f) {
      this.doubt(f.doubt, f.packet)
      return
    }
    // One example for each way that the kernel goes wrong, and what it should have come to.
    const sort = [f.kind, family, f.packet.connection, f.wanted, f.found, f.path.at(-1)].join('\n')
    if (this.#seen.has(sort) || this.full) return
    this.#seen.add(sort)
    this.differences.push(f)
  }
}

/** One family and connection state. */
class Part {
  readonly #p: Prover
  readonly #judge: IntentJudge
  readonly #program: FamilyProgram
  readonly #domains: Domains
  readonly #whole: WholeWay
  readonly #ct: number
  /** Boxes on which some hook's two sides differ, by where the packets go. */
  readonly #suspects: { box: Box; road: Road }[] = []

  constructor(p: Prover, judge: IntentJudge, of: WholeWayOptions) {
    this.#p = p
    this.#judge = judge
    this.#program = of.program
    this.#domains = of.classes.domains
    this.#whole = new WholeWay(judge, of)
    this.#ct = of.ctState
  }

  get #family(): Family {
    return this.#program.family
  }

  prove(): void {
    const [judge, family, ctState] = [this.#judge, this.#family, this.#ct]
    // Connection tracking is what makes a packet untracked, and it comes after.
    if (ctState !== CT.untracked) {
      this.#compare('prerouting', false, w => judge.prerouting(w, family, ctState))
      if (judge.has({ hook: 'untracked', direction: 'egress' }) || this.#chains('ours', 'output').length > 0)
        this.#compare('output', false, w => judge.output(w, family, ctState))
    }
    for (const accepted of this.#acceptedBefore('ingress')) {
      this.#compare('input', accepted, w => judge.input(w, family, { ctState, accepted }))
      this.#forward(accepted)
    }
    for (const accepted of this.#acceptedBefore('egress')) this.#postrouting(accepted)
    this.#foreignSources()
    const hooks: readonly HookName[] = ['prerouting', 'input', 'forward', 'postrouting']
    for (const hook of hooks) this.#neutral(hook)
    for (const { box, road } of this.#suspects.splice(0)) this.#examine(box, road)
  }

  /** What earlier hooks may have left behind. */
  #acceptedBefore(direction: 'ingress' | 'egress'): boolean[] {
    const early = HOST_LEGS.some(
      l => ['untracked', 'prednat'].includes(l.hook) && l.direction === direction && this.#judge.has(l),
    )
    return early ? [false, true] : [false]
  }

  #chains(which: 'ours' | 'others', hook: HookName): ChainProgram[] {
    return this.#program[which].filter(c => c.base!.hook === hook)
  }

  /** `accepted`: what is known of the mark. */
  #walk(w: Walk, o: { cut?: ChainProgram | undefined; accepted?: boolean } = {}): KernelWalk {
    const isCut = (c: Cls): boolean => this.#judge.isWorkload(c.label)
    return new KernelWalk(w, {
      family: this.#family,
      ctState: this.#ct,
      ...(o.accepted !== undefined && { mark: o.accepted ? ACCEPT_MARK : 0 }),
      ...(o.cut && { cut: { chain: o.cut, isCut } }),
    })
  }

  /** By interfaces, unless the domain of the incoming one is given. */
  #box(domains: Partial<Record<Dim, Domain>> = {}): Box {
    return { domains: { ...this.#domains, iif: this.#iif(false), ...domains }, choices: [] }
  }

  /** The incoming interfaces; or that there is none, for what the node sends itself. */
  #iif(none: boolean): Domain {
    const of = (which: boolean) => () =>
      new Domain(this.#domains.iif.members.filter(c => (c.label === NO_INTERFACE) === which))
    return this.#domains.iif.derive(`none ${none}`, of(none))
  }

  /** Our own chains of a hook against what the intent wants there. */
  #compare(hook: HookName, accepted: boolean, intent: (w: Walk) => IntentResult): void {
    this.#sides(hook, this.#box({ iif: this.#iif(hook === 'output') }), w => ({
      kernel: this.#walk(w, { accepted }).run(this.#chains('ours', hook)),
      intent: intent(w),
    }))
  }

  #sides(hook: HookName, root: Box, judge: (w: Walk) => Judged): void {
    this.#p.explore([root], w => {
      const { kernel, intent } = judge(w)
      const left = hook !== 'prerouting' && hook !== 'output' ? true : sameLeft(kernel, intent)
      if (kernel.verdict !== intent.verdict || !sameCauses(kernel.causes, intent.causes) || !left)
        this.#suspect(hook, w)
    })
  }

  /** To be examined on every way that leads through the hook. */
  #suspect(hook: HookName, w: Walk): void {
    const box = w.box()
    const own = box.domains.iif.members.every(c => c.label === NO_INTERFACE)
    const roads: readonly Road[] = own
      ? ['output']
      : hook === 'prerouting'
        ? ['input', 'forward']
        : [hook === 'input' ? 'input' : 'forward']
    for (const road of roads) this.#suspects.push({ box, road })
  }

  #forward(accepted: boolean): void {
    const [judge, family, ctState] = [this.#judge, this.#family, this.#ct]
    const bases = this.#chains('ours', 'forward')
    const cut = bases.length === 1 ? this.#handOver(bases[0]!) : undefined
    let cuts = 0
    this.#sides('forward', this.#box(), w => {
      const kernel = this.#walk(w, { cut, accepted }).run(bases)
      if (kernel.verdict === 'cut') cuts++
      return { kernel, intent: judge.forward(w, family, { ctState, accepted, cut: cut !== undefined }) }
    })
    if (!cut || cuts === 0) return
    const workloads = new Domain(this.#domains.oif.members.filter(c => judge.isWorkload(c.label)))
    this.#sides('forward', this.#box({ oif: workloads }), w => ({
      kernel: this.#walk(w, { accepted }).runFrom(bases[0]!, cut),
      intent: judge.receive(w, family),
    }))
  }

  /**
   * The chain that looks for the receiver: where a packet ends that the sender's side lets through, to an interface like a
   * pod's that is nobody's.
   */
  #handOver(base: ChainProgram): ChainProgram | undefined {
    const [judge, family] = [this.#judge, this.#family]
    const endpoints = new Set(judge.intent.endpoints.map(e => e.interfaceName))
    const nobody = this.#domains.oif.members.find(c => judge.isWorkload(c.label) && !endpoints.has(c.label))
    if (!nobody) return undefined
    const own = this.#iif(false).members.filter(c => !judge.isWorkload(c.label))
    let found: ChainProgram | undefined
    explore([this.#box({ iif: new Domain(own), oif: new Domain([nobody]) })], { left: HAND_OVER_TRIES }, w => {
      if (found || judge.forward(w, family, { ctState: CT.new, cut: true }).verdict !== 'cut') return
      const { verdict, path } = new KernelWalk(w, { family, ctState: CT.new, mark: 0 }).run([base])
      if (verdict === 'drop' && path.length > 1) found = path.at(-1)!.chain
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

  #postrouting(accepted: boolean): void {
    const [judge, family, ctState] = [this.#judge, this.#family, this.#ct]
    const all = this.#chains('ours', 'postrouting')
    // Only new connections are translated.
    const bases = ctState === CT.new ? all : all.filter(c => c.base!.type !== 'nat')
    if (bases.length === 0 && !judge.has({ hook: 'host', direction: 'egress' }) && ctState !== CT.new) return
    this.#p.explore([this.#box(), this.#box({ iif: this.#iif(true) })], w => {
      const kernel = this.#walk(w, { accepted }).run(bases)
      const wanted = judge.postrouting(w, family, { ctState, accepted })
      // No cause is counted beyond those that are wanted here: the others of a packet are told before.
      const agree = kernel.verdict === wanted.verdict && sameCauses(kernel.causes, wanted.causes)
      if (!agree || kernel.nat === 'translation' || this.#whole.source(w, kernel)) this.#suspect('postrouting', w)
    })
  }

  /** What others make of a source: they go by marks of their own, so that nothing is known of the mark. */
  #foreignSources(): void {
    if (this.#ct !== CT.new || !this.#chains('others', 'postrouting').some(c => c.base!.type === 'nat')) return
    const bases = wayOf(this.#program, 'forward').filter(c => c.base!.hook === 'postrouting')
    this.#p.explore([this.#box()], w => {
      const kernel = this.#walk(w).run(bases)
      if (kernel.nat === 'translation' || this.#whole.source(w, kernel)) this.#suspect('postrouting', w)
    })
  }

  /** The whole way of the box's packets, through everybody's chains. */
  #examine(box: Box, road: Road): void {
    if (this.#p.full) return
    this.#p.explore([box], w => {
      if (this.#p.full) return
      const found = this.#whole.examine(w, road)
      if (found) this.#p.report(found, this.#family)
    })
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
