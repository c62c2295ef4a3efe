// The intent, judged directly: the programs of tiers, policies and profiles are followed rule by rule for a box of packets,
// with no atoms, rows or outcomes between. What a rule's fields mean is written down at policy/model.ts and calc/intent.ts.
import type { Intent, LocalEndpoint, PortTerm, Program, ResolvedRule, Stage } from '../calc/intent.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { hasPorts } from '../net/protocol.ts'
import { type Cause, causeVerdict, DIRECTIONS, type Direction, printCause, printRule } from '../resources/cause.ts'
import { CT } from './kernel-walk.ts'
import type { Cls, Dim, Questions } from './space.ts'

export type IntentResult = { readonly verdict: 'accept' | 'drop' | 'cut'; readonly causes: readonly string[] }
type Judged = { readonly allow: boolean; readonly causes: string[] }
const PASS: IntentResult = { verdict: 'accept', causes: [] }
const STOP: IntentResult = { verdict: 'drop', causes: [] }

/** Marks of address classes besides the sets they are in. */
export const ownMark = (interfaceName: string): string => `own ${interfaceName}`
export const MARKS = { linkLocal: 'link-local or none', pool: 'pool', masquerade: 'masquerade pool' } as const
export const addressMark = (address: string): string => `address ${address}`

/** ICMPv6 neighbour and listener discovery (RFC 4861, 3810). */
const DISCOVERY: readonly number[] = [130, 131, 132, 133, 135, 136, 143]

type Guarded = {
  readonly endpoint: LocalEndpoint
  readonly programs: Readonly<Record<Direction, Record<Family, Known>>>
}
/** A program with its rules numbered, equal programs of several endpoints being one. */
type Known = { readonly id: number; readonly program: Program }

const NOTHING = (direction: Direction): Cause => ({ kind: 'no-profile', direction })

const equalPrograms = (a: Program, b: Program): boolean =>
  a === b ||
  (a.stages.length === b.stages.length &&
    a.stages.every((s, i) => s === b.stages[i] || JSON.stringify(s) === JSON.stringify(b.stages[i])))

export class IntentJudge {
  readonly intent: Intent
  readonly #guarded = new Map<string, Guarded>()
  readonly #ruleIds = new Map<ResolvedRule, number>()

  constructor(intent: Intent) {
    this.intent = intent
    const known = new Map<string, Known[]>()
    let programs = 0
    const intern = (program: Program, identity: string): Known => {
      const key = `${program.direction} ${program.family} ${identity}`
      const list = known.get(key) ?? []
      known.set(key, list)
      let found = list.find(k => equalPrograms(k.program, program))
      if (!found) {
        found = { id: ++programs, program }
        list.push(found)
      }
      return found
    }
    for (const endpoint of intent.endpoints) {
      const of = (d: Direction) => {
        const { identity, programs: p } = endpoint.guards[d]
        return Object.fromEntries(FAMILIES.map(f => [f, intern(p[f], identity)])) as Record<Family, Known>
      }
      const all = Object.fromEntries(DIRECTIONS.map(d => [d, of(d)])) as Guarded['programs']
      this.#guarded.set(endpoint.interfaceName, { endpoint, programs: all })
    }
  }

  isWorkload(name: string): boolean {
    return this.intent.settings.interfacePrefixes.some(p => name.startsWith(p))
  }

  /** Its program; `unknown` for a pod's interface without endpoint; `host` for any other interface. */
  #guard(w: Questions, dim: 'iif' | 'oif', direction: Direction, family: Family): Known | 'unknown' | 'host' {
    return w.ask(dim, `guard ${direction} ${family}`, c => {
      if (!this.isWorkload(c.label)) return 'host'
      return this.#guarded.get(c.label)?.programs[direction][family] ?? 'unknown'
    })
  }

  /** A pod sends from its own addresses only, save for neighbour discovery. */
  prerouting(w: Questions, family: Family): IntentResult {
    const name = w.ask('iif', 'sender', c => (this.isWorkload(c.label) ? c.label : ''))
    if (name === '') return PASS
    if (w.ask('src', ownMark(name), c => c.memberOf!.has(ownMark(name)))) return PASS
    return family === 6 && this.#isDiscovery(w) && w.ask('src', 'local', c => c.memberOf!.has(MARKS.linkLocal))
      ? PASS
      : STOP
  }

  #isDiscovery(w: Questions): boolean {
    return (
      w.ask('proto', '=58', c => c.value === 58) && w.ask('type', 'discovery', c => DISCOVERY.includes(Number(c.value)))
    )
  }

  /** `cut`: what the sender's side lets through to a pod of this node is left to another proof. */
  forward(w: Questions, family: Family, o: { ctState: number; cut: boolean }): IntentResult {
    const early = this.#connection(o.ctState)
    if (early) return early
    const sent = this.#side(w, 'iif', family)
    if (!sent.allow) return { verdict: 'drop', causes: sent.causes }
    if (o.cut && w.ask('oif', 'workload', c => this.isWorkload(c.label))) return { verdict: 'cut', causes: sent.causes }
    const received = this.receive(w, family)
    return { verdict: received.verdict, causes: [...sent.causes, ...received.causes] }
  }

  /** The receiving side alone. */
  receive(w: Questions, family: Family): IntentResult {
    const { allow, causes } = this.#side(w, 'oif', family)
    return { verdict: allow ? 'accept' : 'drop', causes }
  }

  input(w: Questions, family: Family, ctState: number): IntentResult {
    if (!w.ask('iif', 'workload', c => this.isWorkload(c.label))) return PASS
    const early = this.#connection(ctState)
    if (early) return early
    if (family === 6 && this.#isDiscovery(w)) return PASS
    const { allow, causes } = this.#side(w, 'iif', family)
    const { endpointToHostAction: action } = this.intent.settings
    return { verdict: allow && (action === 'Accept' || action === 'Return') ? 'accept' : 'drop', causes }
  }

  masquerade(w: Questions): boolean {
    return (
      w.ask('src', MARKS.masquerade, c => c.memberOf!.has(MARKS.masquerade)) &&
      !w.ask('dst', MARKS.pool, c => c.memberOf!.has(MARKS.pool))
    )
  }

  #connection(ctState: number): IntentResult | undefined {
    if (ctState === CT.established || ctState === CT.related) return PASS
    return ctState === CT.invalid && this.intent.settings.conntrackInvalidCheck ? STOP : undefined
  }

  #side(w: Questions, dim: 'iif' | 'oif', family: Family): Judged {
    const guard = this.#guard(w, dim, dim === 'iif' ? 'egress' : 'ingress', family)
    if (guard === 'host') return { allow: true, causes: [] }
    if (guard === 'unknown') return { allow: false, causes: [] }
    return this.#program(w, guard)
  }

  #program(w: Questions, { id, program }: Known): Judged {
    const peer: Dim = program.direction === 'ingress' ? 'src' : 'dst'
    // Rules that no address of the box can match need not be asked.
    const stages = w.domains[peer].derive(`program ${id}`, members => program.stages.map(s => possible(s, members)))
    const staged = stages.filter(s => s.staged)
    const wouldBe = staged.length > 0 ? [`staged: ${printCause(this.#decide(w, staged, program).cause)}`] : []
    const { cause, logs } = this.#decide(
      w,
      stages.filter(s => !s.staged),
      program,
    )
    return { allow: causeVerdict(cause) === 'allow', causes: [...wouldBe, ...logs, printCause(cause)] }
  }

  #decide(w: Questions, stages: readonly Stage[], { direction, family }: Program): { cause: Cause; logs: string[] } {
    const peer: Dim = direction === 'ingress' ? 'src' : 'dst'
    const logs: string[] = []
    following: for (const stage of stages) {
      for (const rule of stage.rules) {
        if (!this.#matches(w, rule, { peer, family })) continue
        if (rule.action === 'Log') logs.push(`Log ${printRule(rule.ref)}`)
        else if (rule.action === 'Pass') continue following
        else return { cause: { kind: 'rule', rule: rule.ref, action: rule.action }, logs }
      }
      if (stage.defaultAction === 'Pass') continue
      return { cause: stage.kind === 'tier' ? { kind: 'tier', tier: stage.name, direction } : NOTHING(direction), logs }
    }
    return { cause: NOTHING(direction), logs }
  }

  #matches(w: Questions, r: ResolvedRule, { peer, family }: { peer: Dim; family: Family }): boolean {
    const proto = (key: string | number, question: (n: number) => boolean): boolean =>
      w.ask('proto', `${key}`, c => question(c.value as number))
    if (r.protocol !== undefined && !proto(`=${r.protocol}`, n => n === r.protocol)) return false
    if (r.notProtocol !== undefined && proto(`=${r.notProtocol}`, n => n === r.notProtocol)) return false
    const isIn = (id: string): boolean => w.ask(peer, `in ${id}`, c => c.memberOf!.has(id))
    if (!r.peerIn.every(isIn) || r.peerNotIn.some(isIn)) return false
    const icmp = family === 4 ? 1 : 58
    const isIcmp = (): boolean => proto(`=${icmp}`, n => n === icmp)
    const isType = ({ type, code }: { type?: number; code?: number }): boolean =>
      (type === undefined || w.ask('type', `=${type}`, c => c.value === type)) &&
      (code === undefined || w.ask('code', `=${code}`, c => c.value === code))
    if (r.icmp && !(isIcmp() && isType(r.icmp))) return false
    // Other protocols are not matched either: not this ICMP is still ICMP.
    if (r.notIcmp && (!isIcmp() || isType(r.notIcmp))) return false
    if (!this.#ports(w, r, peer)) return false
    const { ownAddresses } = r
    if (!ownAddresses) return true
    const marks = ownAddresses.map(addressMark)
    return w.ask(peer === 'src' ? 'dst' : 'src', marks.join(), c => marks.some(m => c.memberOf!.has(m)))
  }

  /** A rule that wants ports never matches a packet without them, and one that excludes ports does not exclude it. */
  #ports(w: Questions, r: ResolvedRule, peer: Dim): boolean {
    if (!r.dports && !r.notDports && !r.sports && !r.notSports) return true
    if (!w.ask('proto', 'has ports', c => hasPorts(c.value as number))) return !r.dports && !r.sports
    const id = this.#idOf(r)
    const any = (terms: readonly PortTerm[], dim: 'sport' | 'dport', which: string): boolean => {
      const protocol = terms.some(t => t.protocol !== undefined)
        ? w.ask('proto', 'number', c => c.value as number)
        : undefined
      const alive = terms.filter(
        t =>
          (t.protocol === undefined || t.protocol === protocol) &&
          (t.peerIn === undefined || w.ask(peer, `in ${t.peerIn}`, c => c.memberOf!.has(t.peerIn!))),
      )
      const key = `${id} ${which} ${alive.map(t => terms.indexOf(t)).join()}`
      return w.ask(dim, key, (c: Cls) => alive.some(t => t.first <= Number(c.value) && Number(c.value) <= t.last))
    }
    if (r.dports && !any(r.dports, 'dport', 'd')) return false
    if (r.notDports && any(r.notDports, 'dport', '!d')) return false
    if (r.sports && !any(r.sports, 'sport', 's')) return false
    return !(r.notSports && any(r.notSports, 'sport', '!s'))
  }

  #idOf(rule: ResolvedRule): number {
    const id = this.#ruleIds.get(rule) ?? this.#ruleIds.size + 1
    this.#ruleIds.set(rule, id)
    return id
  }
}

const possible = (stage: Stage, members: readonly Cls[]): Stage => ({
  ...stage,
  rules: stage.rules.filter(
    r =>
      (r.peerIn.length === 0 && r.peerNotIn.length === 0) ||
      members.some(c => r.peerIn.every(id => c.memberOf!.has(id)) && !r.peerNotIn.some(id => c.memberOf!.has(id))),
  ),
})
