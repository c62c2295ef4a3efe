// The intent, judged directly: the programs of tiers, policies and profiles are followed rule by rule for a box of packets,
// with no atoms, rows or outcomes between. What a rule's fields mean is written down at policy/model.ts and calc/intent.ts.
import type {
  Failsafe,
  HostInterface,
  Intent,
  LocalEndpoint,
  PortTerm,
  Program,
  ResolvedRule,
  Stage,
} from '../calc/intent.ts'
import { FAMILIES, type Family, familyOf } from '../net/addr.ts'
import { prefixFamily } from '../net/prefix.ts'
import { hasPorts } from '../net/protocol.ts'
import {
  type Cause,
  causeVerdict,
  DIRECTIONS,
  type Direction,
  type HostLeg,
  printCause,
  printLog,
} from '../resources/cause.ts'
import { CT } from './kernel-walk.ts'
import { natText } from './nat.ts'
import type { Cls, Dim, Questions } from './space.ts'

export type IntentResult = {
  readonly verdict: 'accept' | 'drop' | 'cut'
  readonly causes: readonly string[]
  /** Allowed by policy before connection tracking or translation. */
  readonly accepted?: boolean
  readonly untracked?: boolean
}
/** `decided`: a rule allows it, and it is not only that nobody denies it. */
type Judged = { readonly allow: boolean; readonly decided: boolean; readonly causes: string[] }
/** What earlier hooks left behind, and the connection. */
export type Before = { readonly ctState: number; readonly accepted?: boolean }
const PASS: IntentResult = { verdict: 'accept', causes: [] }
const STOP: IntentResult = { verdict: 'drop', causes: [] }

/** Marks of address classes besides the sets they are in. */
export const ownMark = (interfaceName: string): string => `own ${interfaceName}`
export const MARKS = {
  linkLocal: 'link-local or none',
  loopback: 'loopback',
  pool: 'pool',
  masquerade: 'masquerade pool',
} as const
export const addressMark = (address: string): string => `address ${address}`
export const spoofMark = (interfaceName: string): string => `may be of ${interfaceName}`
export const netMark = (net: string): string => `net ${net}`
/** The name of the interface by which the node's own packets came. */
export const NO_INTERFACE = ''

/** ICMPv6 neighbour and listener discovery (RFC 4861, 3810). */
const DISCOVERY: readonly number[] = [130, 131, 132, 133, 135, 136, 143]

type Guarded = {
  readonly endpoint: LocalEndpoint
  readonly programs: Readonly<Record<Direction, Record<Family, Known>>>
}
/** A program with its rules numbered, equal programs of several endpoints being one. */
type Known = { readonly id: number; readonly program: Program }

const equalPrograms = (a: Program, b: Program): boolean =>
  a === b ||
  (a.stages.length === b.stages.length &&
    a.stages.every((s, i) => s === b.stages[i] || JSON.stringify(s) === JSON.stringify(b.stages[i])))

export class IntentJudge {
  readonly intent: Intent
  readonly #guarded = new Map<string, Guarded>()
  readonly #hosts = new Map<string, { readonly host: HostInterface; readonly programs: ReadonlyMap<string, Known> }>()
  readonly #ruleIds = new Map<ResolvedRule, number>()

  constructor(intent: Intent) {
    this.intent = intent
    const known = new Map<string, Known[]>()
    let programs = 0
    const intern = (program: Program, identity: string): Known => {
      const key = `${program.hook ?? ''} ${program.direction} ${program.family} ${identity}`
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
    for (const host of intent.hostInterfaces) {
      const programs = host.guards.flatMap(({ hook, direction, identity, programs: p }) =>
        FAMILIES.map(f => [`${hook} ${direction} ${f}`, intern(p[f], identity)] as const),
      )
      this.#hosts.set(host.interfaceName, { host, programs: new Map(programs) })
    }
  }

  /** Whether some host endpoint has a say at a leg. */
  has({ hook, direction }: HostLeg): boolean {
    return this.intent.hostInterfaces.some(h => h.guards.some(g => g.hook === hook && g.direction === direction))
  }

  #hostOf(name: string) {
    if (name === NO_INTERFACE || this.isWorkload(name)) return undefined
    return this.#hosts.get(name) ?? this.#hosts.get('*')
  }

  /** Whether the endpoint of an interface has a say at a leg. */
  isGuarded(name: string, { hook, direction }: HostLeg): boolean {
    return this.#hostOf(name)?.programs.has(`${hook} ${direction} 4`) ?? false
  }

  /** One leg: undefined where no host endpoint has a say, and what passes before policy. */
  #host(w: Questions, leg: HostLeg, family: Family, ctState: number): Judged | IntentResult | undefined {
    const { hook, direction } = leg
    const dim = direction === 'ingress' ? 'iif' : 'oif'
    const known = w.ask(dim, `${hook} ${direction} ${family}`, c =>
      this.#hostOf(c.label)?.programs.get(`${hook} ${direction} ${family}`),
    )
    if (!known) return undefined
    if (hook !== 'forward') {
      const early = hook === 'untracked' ? undefined : this.#connection(ctState)
      if (early) return early
      if (family === 6 && this.#isDiscovery(w)) return PASS
      const { failsafeInbound: inbound, failsafeOutbound: outbound } = this.intent.settings
      const [mine, theirs] = direction === 'ingress' ? [inbound, outbound] : [outbound, inbound]
      const peer = direction === 'ingress' ? 'src' : 'dst'
      if (mine.some(f => this.#isSafe(w, f, { family, peer, port: 'dport' }))) return PASS
      if (hook === 'untracked' && theirs.some(f => this.#isSafe(w, f, { family, peer, port: 'sport' }))) return PASS
    }
    return this.#program(w, known)
  }

  #isSafe(w: Questions, f: Failsafe, o: { family: Family; peer: 'src' | 'dst'; port: 'sport' | 'dport' }): boolean {
    if (f.net !== undefined && prefixFamily(f.net) !== o.family) return false
    return (
      w.ask('proto', `=${f.protocol}`, c => c.value === f.protocol) &&
      w.ask(o.port, `=${f.port}`, c => c.value === f.port) &&
      (f.net === undefined || w.ask(o.peer, netMark(f.net), c => c.memberOf!.has(netMark(f.net!))))
    )
  }

  /** Hooks before routing, in and out: what they drop, and what they leave behind for later ones. */
  #early(w: Questions, legs: readonly HostLeg[], family: Family, ctState: number): IntentResult {
    const causes: string[] = []
    for (const leg of legs) {
      const said = this.#host(w, leg, family, ctState)
      if (!said) continue
      causes.push(...said.causes)
      if ('verdict' in said) {
        if (said.verdict === 'drop') return { verdict: 'drop', causes }
      } else if (!said.allow) return { verdict: 'drop', causes }
      else if (said.decided) {
        return { verdict: 'accept', causes, accepted: true, ...(leg.hook === 'untracked' && { untracked: true }) }
      }
    }
    return { verdict: 'accept', causes }
  }

  /** What the node itself sends, before connection tracking. */
  output(w: Questions, family: Family, ctState: number): IntentResult {
    if (w.ask('oif', 'workload', c => this.isWorkload(c.label))) return PASS
    return this.#early(w, [{ hook: 'untracked', direction: 'egress' }], family, ctState)
  }

  /** What the node itself sends, last: only that is judged here, and not what goes to its own pods. */
  postrouting(w: Questions, family: Family, { ctState, accepted }: Before): IntentResult {
    if (!w.ask('iif', 'none', c => c.label === NO_INTERFACE)) return PASS
    if (accepted || w.ask('oif', 'workload', c => this.isWorkload(c.label))) return PASS
    const said = this.#host(w, { hook: 'host', direction: 'egress' }, family, ctState)
    return said ? asResult(said) : PASS
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
  prerouting(w: Questions, family: Family, ctState: number): IntentResult {
    const name = w.ask('iif', 'sender', c => (this.isWorkload(c.label) ? c.label : ''))
    if (name === '') {
      const legs = (['untracked', 'prednat'] as const).map(hook => ({ hook, direction: 'ingress' as const }))
      return this.#early(w, legs, family, ctState)
    }
    if (w.ask('src', ownMark(name), c => c.memberOf!.has(ownMark(name)))) return PASS
    const { sourceSpoofing } = this.intent.settings
    if (sourceSpoofing && w.ask('src', spoofMark(name), c => c.memberOf!.has(spoofMark(name)))) return PASS
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
  forward(w: Questions, family: Family, o: Before & { cut: boolean }): IntentResult {
    const early = this.#connection(o.ctState)
    if (early) return early
    const sent = this.#side(w, 'iif', family, o.accepted)
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

  input(w: Questions, family: Family, { ctState, accepted }: Before): IntentResult {
    if (!w.ask('iif', 'workload', c => this.isWorkload(c.label))) {
      const said = accepted ? undefined : this.#host(w, { hook: 'host', direction: 'ingress' }, family, ctState)
      return said ? asResult(said) : PASS
    }
    const early = this.#connection(ctState)
    if (early) return early
    if (family === 6 && this.#isDiscovery(w)) return PASS
    const { allow, causes } = this.#side(w, 'iif', family)
    const { endpointToHostAction: action } = this.intent.settings
    return { verdict: allow && (action === 'Accept' || action === 'Return') ? 'accept' : 'drop', causes }
  }

  /** What becomes of the source of a new packet, in words; undefined if it stays. */
  masquerade(w: Questions, family: Family): string | undefined {
    const { natInterface, natAddress, natPorts } = this.intent.settings
    const behind = (name: string): boolean =>
      natInterface === undefined ||
      (natInterface.endsWith('*') ? name.startsWith(natInterface.slice(0, -1)) : name === natInterface)
    const translated =
      w.ask('oif', 'nat', c => behind(c.label)) &&
      w.ask('src', MARKS.masquerade, c => c.memberOf!.has(MARKS.masquerade)) &&
      !w.ask('dst', MARKS.pool, c => c.memberOf!.has(MARKS.pool))
    if (!translated) return undefined
    const to = natAddress !== undefined && familyOf(natAddress) === family ? natAddress : 'masquerade'
    const hasRange = natPorts && w.ask('proto', 'tcp or udp', c => c.value === 6 || c.value === 17)
    return natText(to, hasRange ? natPorts : undefined)
  }

  #connection(ctState: number): IntentResult | undefined {
    if (ctState === CT.established || ctState === CT.related) return PASS
    return ctState === CT.invalid && this.intent.settings.conntrackInvalidCheck ? STOP : undefined
  }

  /** A pod at one side of a forwarded packet, or the host endpoint through which it passes. */
  #side(w: Questions, dim: 'iif' | 'oif', family: Family, accepted = false): Judged {
    const guard = this.#guard(w, dim, dim === 'iif' ? 'egress' : 'ingress', family)
    if (guard === 'host') {
      const leg: HostLeg = { hook: 'forward', direction: dim === 'iif' ? 'ingress' : 'egress' }
      const said = accepted ? undefined : this.#host(w, leg, family, CT.new)
      return said && !('verdict' in said) ? said : { allow: true, decided: false, causes: [] }
    }
    if (guard === 'unknown') return { allow: false, decided: true, causes: [] }
    if (dim === 'iif' && this.#isWrapped(w)) return { allow: false, decided: true, causes: [] }
    return this.#program(w, guard)
  }

  /** A packet in a packet, which a pod may not send unless the settings let it. */
  #isWrapped(w: Questions): boolean {
    const { allowVXLAN, allowIPIP, vxlanPort } = this.intent.settings
    const proto = (n: number): boolean => w.ask('proto', `=${n}`, c => c.value === n)
    if (!allowIPIP && proto(4)) return true
    return !allowVXLAN && proto(17) && w.ask('dport', `=${vxlanPort}`, c => c.value === vxlanPort)
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
    return {
      allow: causeVerdict(cause) === 'allow',
      decided: cause.kind !== 'undecided',
      causes: [...wouldBe, ...logs, printCause(cause)],
    }
  }

  #decide(w: Questions, stages: readonly Stage[], program: Program): { cause: Cause; logs: string[] } {
    const { direction, family, hook } = program
    const peer: Dim = direction === 'ingress' ? 'src' : 'dst'
    const end: Cause = { kind: hook === undefined || hook === 'host' ? 'no-profile' : 'undecided', direction }
    const logs: string[] = []
    following: for (const stage of stages) {
      for (const rule of stage.rules) {
        if (!this.#matches(w, rule, { peer, family })) continue
        if (rule.action === 'Log') logs.push(printLog(rule.ref))
        else if (rule.action === 'Pass') continue following
        else return { cause: { kind: 'rule', rule: rule.ref, action: rule.action }, logs }
      }
      if (stage.defaultAction === 'Pass') continue
      const cause: Cause =
        stage.kind === 'tier' ? { kind: 'tier', tier: stage.name, direction } : { kind: 'no-profile', direction }
      return { cause, logs }
    }
    return { cause: end, logs }
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
    const own: Dim = peer === 'src' ? 'dst' : 'src'
    const ownIs = (id: string): boolean => w.ask(own, `in ${id}`, c => c.memberOf!.has(id))
    if (!(r.ownIn ?? []).every(ownIs) || (r.ownNotIn ?? []).some(ownIs)) return false
    if (!this.#ports(w, r, peer)) return false
    const { ownAddresses } = r
    if (!ownAddresses) return true
    const marks = ownAddresses.map(addressMark)
    return w.ask(own, marks.join(), c => marks.some(m => c.memberOf!.has(m)))
  }

  /** A rule that wants ports never matches a packet without them, and one that excludes ports does not exclude it. */
  #ports(w: Questions, r: ResolvedRule, peer: Dim): boolean {
    if (!r.dports && !r.notDports && !r.sports && !r.notSports) return true
    if (!w.ask('proto', 'has ports', c => hasPorts(c.value as number))) return !r.dports && !r.sports
    const id = this.#idOf(r)
    const own: Dim = peer === 'src' ? 'dst' : 'src'
    const any = (terms: readonly PortTerm[], dim: 'sport' | 'dport', which: string): boolean => {
      const protocol = terms.some(t => t.protocol !== undefined)
        ? w.ask('proto', 'number', c => c.value as number)
        : undefined
      const alive = terms.filter(
        t =>
          (t.protocol === undefined || t.protocol === protocol) &&
          (t.peerIn === undefined || w.ask(peer, `in ${t.peerIn}`, c => c.memberOf!.has(t.peerIn!))) &&
          (t.ownIn === undefined || w.ask(own, `in ${t.ownIn}`, c => c.memberOf!.has(t.ownIn!))),
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

const asResult = (said: Judged | IntentResult): IntentResult =>
  'verdict' in said ? said : { verdict: said.allow ? 'accept' : 'drop', causes: said.causes }

const possible = (stage: Stage, members: readonly Cls[]): Stage => ({
  ...stage,
  rules: stage.rules.filter(
    r =>
      (r.peerIn.length === 0 && r.peerNotIn.length === 0) ||
      members.some(c => r.peerIn.every(id => c.memberOf!.has(id)) && !r.peerNotIn.some(id => c.memberOf!.has(id))),
  ),
})
