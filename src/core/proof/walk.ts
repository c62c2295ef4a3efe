// One packet through the live ruleset: what becomes of it, and by which rules. The same walk as the proof's, of a box that
// holds nothing else.
import { NFT_TABLE } from '../base/register.ts'
import { toNumber } from '../net/addr.ts'
import { numberOfName } from './classes.ts'
import { type PlacedPacket, printHop } from './difference.ts'
import { CT, type KernelResult, KernelWalk } from './kernel-walk.ts'
import type { Ruleset } from './model.ts'
import { compileFamily, wayOf } from './program.ts'
import type { Prim } from './raw.ts'
import { type Cls, Domain, type Domains, explore, type Locate } from './space.ts'

export type Walked = {
  readonly verdict: 'accept' | 'drop' | 'not understood'
  /** What is not understood. */
  readonly what?: string
  /** The causes that counting rules of our table name, in order. */
  readonly causes: readonly string[]
  readonly masqueraded: boolean
  /** Chain, rule and what it did, from the first hook to the last. */
  readonly path: readonly string[]
}

const cls = (value: Prim, label = String(value)): Cls => ({ value, label, memberOf: new Set() })
const one = (value: Prim, label = String(value)): Domain => new Domain([cls(value, label)])
const ITSELF: Locate = { address: value => cls(value), port: value => cls(value) }

function domainsOf(p: PlacedPacket): Domains {
  const address = (text: PlacedPacket['src']): Domain => {
    const n = toNumber(text)
    return one(p.family === 4 ? Number(n) : n, text)
  }
  const name = (text: string): Domain => one(numberOfName(text), text)
  return {
    iif: name(p.iif),
    oif: name(p.oif ?? ''),
    src: address(p.src),
    dst: address(p.dst),
    proto: one(p.protocol),
    sport: one(p.sport ?? 0),
    dport: one(p.dport ?? 0),
    type: one(p.icmp?.type ?? 0),
    code: one(p.icmp?.code ?? 0),
  }
}

/** Tests whose answer nobody knows are walked both ways: only if the verdicts differ the packet is not understood. */
export function walk(ruleset: Ruleset, packet: PlacedPacket, table = NFT_TABLE): Walked {
  const program = compileFamily(ruleset, packet.family, table)
  const found: { result: KernelResult; doubts: readonly string[] }[] = []
  explore([{ domains: domainsOf(packet), choices: [] }], { left: 1000 }, w => {
    const kernel = new KernelWalk(w, { family: packet.family, ctState: CT[packet.connection], mark: 0, locate: ITSELF })
    found.push({
      result: kernel.run(wayOf(program, packet.iif === '' ? 'output' : packet.oif === undefined ? 'input' : 'forward')),
      doubts: w.doubts,
    })
  })
  const [{ result, doubts }] = found as [(typeof found)[number]]
  const { verdict, what = '' } = result
  const masqueraded = result.nat !== undefined && result.nat !== 'translation'
  const said = { causes: result.causes, masqueraded, path: result.path.map(printHop) }
  if (verdict !== 'accept' && verdict !== 'drop') return { verdict: 'not understood', what, ...said }
  if (found.some(f => f.result.verdict !== verdict))
    return { verdict: 'not understood', what: doubts[0] ?? '', ...said }
  return { verdict, ...said }
}
