// Packets on their whole way through the node, all hooks and everybody's chains: what becomes of them, and what should. This
// is where what others do beside us is weighed: a service proxy gives other destinations and refuses what nobody serves,
// others give packets other sources, and none of that is policy's affair unless it changes whom policy judges.
import { SERVICE_PROXIES } from '../base/register.ts'
import type { Family } from '../net/addr.ts'
import type { Classes } from './classes.ts'
import { type Difference, packetOf, printHop, printPacket } from './difference.ts'
import { type IntentJudge, type IntentResult, MARKS, ownMark } from './intent-walk.ts'
import { CT, type KernelResult, KernelWalk, type Translated } from './kernel-walk.ts'
import { type FamilyProgram, type Road, wayOf } from './program.ts'
import type { Cls, Walk } from './space.ts'

const COMMENT_LENGTH = 120
/** A cause as the kernel's comment, which is clipped to fit, tells it. */
const sameCause = (comment: string, cause: string): boolean =>
  comment === cause ||
  (comment.endsWith('~') && cause.length > COMMENT_LENGTH && cause.startsWith(comment.slice(0, -1)))
export const sameCauses = (comments: readonly string[], causes: readonly string[]): boolean =>
  comments.length === causes.length && comments.every((c, i) => sameCause(c, causes[i]!))

const words = (verdict: string, causes: readonly string[]): string =>
  causes.length === 0 ? verdict : `${verdict} (${causes.join(', then ')})`

const sourceWords = (nat: string | undefined): string => {
  if (nat === undefined) return 'not masqueraded'
  if (nat === 'masquerade') return 'masqueraded'
  return nat === 'another source' ? 'given another source' : `given the source ${nat}`
}

export type WholeWayOptions = { readonly program: FamilyProgram; readonly classes: Classes; readonly ctState: number }
/** A difference, or why no verdict can be given on a packet. */
export type Finding = Difference | { readonly doubt: string; readonly packet: string }

export class WholeWay {
  readonly #judge: IntentJudge
  readonly #o: WholeWayOptions
  /** Whose address it is: an endpoint's of this node, or of a pool. */
  readonly #podMarks: readonly string[]

  constructor(judge: IntentJudge, options: WholeWayOptions) {
    this.#judge = judge
    this.#o = options
    this.#podMarks = [MARKS.pool, ...judge.intent.endpoints.map(e => ownMark(e.interfaceName))]
  }

  get #family(): Family {
    return this.#o.program.family
  }

  /** Both sides of a box on a road; undefined where they agree. */
  examine(w: Walk, road: Road): Finding | undefined {
    const { program, classes, ctState } = this.#o
    const family = this.#family
    const way = wayOf(program, road)
    const kernel = new KernelWalk(w, { family, ctState, mark: 0, locate: classes.locate }).run(way)
    const intent = this.#wanted(w, road, kernel.to)
    const last = kernel.path.at(-1)
    const decidedByOurs = kernel.verdict === 'accept' || (last !== undefined && this.#isOurs(last.chain.chains))
    const agree = kernel.verdict === intent.verdict && (!decidedByOurs || sameCauses(kernel.causes, intent.causes))
    // Whose destination a service proxy has changed, its source is the proxy's affair as well.
    const source = agree && road !== 'input' && !kernel.to ? this.source(w, kernel) : undefined
    if (agree && !source) return undefined
    if (this.#isRefusedService(w, kernel) || this.#isRefusedLoopback(w, kernel)) return undefined
    const packet = packetOf(w.domains, { family, ctState, road })
    const doubtful = kernel.verdict === 'unknown' || kernel.nat === 'translation'
    const doubt = doubtful ? this.#notUnderstood(kernel) : w.doubts[0]
    if (doubt !== undefined) return { doubt, packet: printPacket(packet) }
    return {
      kind: source ? 'masquerade' : kernel.verdict === intent.verdict ? 'cause' : 'verdict',
      packet,
      wanted: source?.wanted ?? words(intent.verdict, intent.causes),
      found: source?.found ?? words(kernel.verdict, kernel.causes),
      path: kernel.path.map(printHop),
    }
  }

  /**
   * What an accepted new packet's source should become and becomes, if that differs. Others may give packets a source as
   * they like, but not those from pod to pod: the receiver's policy would judge somebody else.
   */
  source(w: Walk, kernel: KernelResult): { readonly wanted: string; readonly found: string } | undefined {
    const { verdict, natBy, untracked } = kernel
    if (this.#o.ctState !== CT.new || untracked || verdict !== 'accept') return undefined
    const found = kernel.nat === 'translation' ? undefined : kernel.nat
    const wanted = this.#judge.masquerade(w, this.#family)
    if (found === wanted) return undefined
    const isForeign = found !== undefined && !this.#isOurs(natBy?.chains)
    if (isForeign && !(this.#isPods(w, 'src') && this.#isPods(w, 'dst'))) return undefined
    return { wanted: sourceWords(wanted), found: sourceWords(found) }
  }

  #isOurs(chains: unknown): boolean {
    return this.#o.program.ours.some(c => c.chains === chains)
  }

  #isPods(w: Walk, dim: 'src' | 'dst', given?: Cls): boolean {
    const isPod = (c: Cls): boolean => this.#podMarks.some(mark => c.memberOf!.has(mark))
    return given ? isPod(given) : w.ask(dim, 'a pod’s', isPod)
  }

  /** Why a packet's way is not known, with whose chain it is. */
  #notUnderstood({ what, nat, natBy, path }: KernelResult): string {
    const isNat = what === undefined && nat === 'translation'
    const chain = isNat ? natBy : path.at(-1)?.chain
    const where = chain && !this.#isOurs(chain.chains) ? ` in chain ${chain.name} of table ${chain.table}` : ''
    return `${isNat ? 'an address translation' : what}${where}`
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

  /**
   * What others refuse to let into the loopback network (every kubelet does) no policy judges: it is not sent over any
   * interface that one could guard.
   */
  #isRefusedLoopback(w: Walk, { verdict, to, path }: KernelResult): boolean {
    if (verdict !== 'drop' || to || this.#isOurs(path.at(-1)?.chain.chains)) return false
    return w.ask('dst', MARKS.loopback, c => c.memberOf!.has(MARKS.loopback))
  }

  /** `to`: after routing policy judges the destination that the packet was given before. */
  #wanted(w: Walk, road: Road, to: Translated | undefined): IntentResult {
    const [judge, family, ctState] = [this.#judge, this.#family, this.#o.ctState]
    const first = road === 'output' ? judge.output(w, family, ctState) : judge.prerouting(w, family, ctState)
    if (first.verdict === 'drop') return first
    const before = {
      ctState: first.untracked ? CT.untracked : ctState,
      ...(first.accepted && { accepted: true }),
    }
    const later = to ? w.translated(to) : w
    const then =
      road === 'output'
        ? judge.postrouting(later, family, before)
        : road === 'input'
          ? judge.input(later, family, before)
          : judge.forward(later, family, { ...before, cut: false })
    return { ...then, causes: [...first.causes, ...then.causes] }
  }
}
