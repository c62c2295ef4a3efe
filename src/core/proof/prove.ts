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
import { type Difference, packetOf, printHop, printPacket } from './difference.ts'
import { IntentJudge, type IntentResult, NO_INTERFACE } from './intent-walk.ts'
import { CT, type KernelResult, KernelWalk } from './kernel-walk.ts'
import type { HookName, Ruleset } from './model.ts'
import { NFPROTO } from './model.ts'
import { type ChainProgram, compileFamily, type FamilyProgram, type Road, wayOf } from './program.ts'
import { type Box, type Cls, type Dim, Domain, type Domains, explore, type Walk } from './space.ts'

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
const COMMENT_LENGTH = 120
/** A cause as the kernel's comment, which is clipped to fit, tells it. */
const sameCause = (comment: string, cause: string): boolean =>
  comment === cause ||
  (comment.endsWith('~') && cause.length > COMMENT_LENGTH && cause.startsWith(comment.slice(0, -1)))
const sameCauses = (comments: readonly string[], causes: readonly string[]): boolean =>
  comments.length === causes.length && comments.every((c, i) => sameCause(c, causes[i]!))

/** Whether later hooks will find the packet as the intent left it. */
const sameLeft = (kernel: KernelResult, intent: IntentResult): boolean =>
  kernel.verdict !== 'accept' ||
  (kernel.untracked === (intent.untracked ?? false) &&
    kernel.mark !== undefined &&
    ((kernel.mark & ACCEPT_MARK) !== 0) === (intent.accepted ?? false))

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
    const domains = classesOf(program, this.#judge.intent)
    const untracks = HOST_LEGS.some(leg => leg.hook === 'untracked' && this.#judge.has(leg))
    for (const ctState of [CT.new, CT.established, CT.invalid, ...(untracks ? [CT.untracked] : [])])
      new Part(this, this.#judge, program, domains, ctState).prove()
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
  readonly #ct: number
  /** Boxes on which some hook's two sides differ, by where the packets go. */
  readonly #suspects: { box: Box; road: Road }[] = []

  constructor(p: Prover, judge: IntentJudge, program: FamilyProgram, domains: Domains, ct: number) {
    this.#p = p
    this.#judge = judge
    this.#program = program
    this.#domains = domains
    this.#ct = ct
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
      const agree = kernel.verdict === wanted.verdict && sameCauses(kernel.causes, wanted.causes)
      const source = wanted.verdict === 'accept' && ctState === CT.new ? judge.masquerade(w, family) : undefined
      if (agree && kernel.nat === source) return
      this.#suspect('postrouting', w)
    })
  }

  /** The whole way of the box's packets, through everybody's chains. */
  #examine(box: Box, road: Road): void {
    if (this.#p.full) return
    const { ours } = this.#program
    const way = wayOf(this.#program, road)
    const [family, ctState] = [this.#family, this.#ct]
    this.#p.explore([box], w => {
      if (this.#p.full) return
      const kernel = new KernelWalk(w, { family, ctState, mark: 0 }).run(way)
      const intent = this.#whole(w, road)
      const last = kernel.path.at(-1)
      const decidedByOurs =
        kernel.verdict === 'accept' || (last !== undefined && ours.some(c => c.chains === last.chain.chains))
      const agree = kernel.verdict === intent.verdict && (!decidedByOurs || sameCauses(kernel.causes, intent.causes))
      const translated = agree && road !== 'input' ? this.#translation(w, kernel) : undefined
      if (agree && !translated) return
      const packet = packetOf(w.domains, { family, ctState, road })
      if (kernel.verdict === 'unknown' || kernel.nat === 'translation')
        return this.#p.doubt(kernel.what ?? 'an address translation', printPacket(packet))
      this.#differ(w, {
        kind: translated ? 'masquerade' : kernel.verdict === intent.verdict ? 'cause' : 'verdict',
        packet,
        wanted: translated?.wanted ?? words(intent.verdict, intent.causes),
        found: translated?.found ?? words(kernel.verdict, kernel.causes),
        path: kernel.path.map(printHop),
      })
    })
  }

  /** What an accepted new packet's source should become and becomes, if that differs. */
  #translation(w: Walk, kernel: KernelResult): { wanted: string; found: string } | undefined {
    if (this.#ct !== CT.new || kernel.verdict !== 'accept') return undefined
    const say = (nat: string | undefined): string =>
      nat === undefined ? 'not masqueraded' : nat === 'masquerade' ? 'masqueraded' : `given the source ${nat}`
    const [wanted, found] = [say(this.#judge.masquerade(w, this.#family)), say(kernel.nat)]
    return wanted === found ? undefined : { wanted, found }
  }

  #whole(w: Walk, road: Road): IntentResult {
    const [judge, family] = [this.#judge, this.#family]
    const first = road === 'output' ? judge.output(w, family, this.#ct) : judge.prerouting(w, family, this.#ct)
    if (first.verdict === 'drop') return first
    const ctState = first.untracked ? CT.untracked : this.#ct
    const before = { ctState, ...(first.accepted && { accepted: true }) }
    const then =
      road === 'output'
        ? judge.postrouting(w, family, before)
        : road === 'input'
          ? judge.input(w, family, before)
          : judge.forward(w, family, { ...before, cut: false })
    return { ...then, causes: [...first.causes, ...then.causes] }
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
