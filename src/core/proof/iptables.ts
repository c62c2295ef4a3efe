// What iptables leaves in a ruleset: matches of xtables, whose settings are structures of the kernel's headers as they lie in
// memory. Read is what kubelets write on every node; the rest is not understood.
import { type Attr, prim } from './raw.ts'

/** `states`: bits of `ct state`; `dnat`: or the destination was translated. `not`: none of them. */
export type States = { readonly states: number; readonly dnat: boolean; readonly not: boolean }

/** linux/netfilter/xt_conntrack.h, xt_conntrack_mtinfo3: offsets of the flags, the inverted ones, and the states. */
const INFO = { matchFlags: 146, invertFlags: 148, stateMask: 150, size: 164 } as const
const REVISION = 3
/** XT_CONNTRACK_STATE, and XT_CONNTRACK_STATE_ALIAS, which only says how it was written. */
const FLAG = { state: 1, alias: 1 << 13 } as const
/** XT_CONNTRACK_STATE_BIT and its like, with the bits of `ct state`. */
const STATES: readonly (readonly [xt: number, ct: number])[] = [
  [1 << 0, 1],
  [1 << 1, 2],
  [1 << 2, 4],
  [1 << 3, 8],
  [1 << 8, 64],
]
const DNAT = 1 << 7
const KNOWN = STATES.reduce((all, [bit]) => all | bit, DNAT)

/** The settings of a match `conntrack` that asks for states alone; undefined for any other. */
export function conntrackStates(
  b: Uint8Array,
  info: Attr | undefined,
  revision: number | undefined,
): States | undefined {
  if (!info || revision !== REVISION || info.end - info.at < INFO.size) return undefined
  // Numbers in the machine's own order, which is little-endian wherever this runs.
  const u16 = (offset: number): number => {
    const at = info.at + offset
    return (prim(b, at, at + 1) as number) | ((prim(b, at + 1, at + 2) as number) << 8)
  }
  const [match, invert, mask] = [u16(INFO.matchFlags), u16(INFO.invertFlags), u16(INFO.stateMask)]
  if ((match & ~FLAG.alias) !== FLAG.state || (invert & ~FLAG.state) !== 0 || (mask & ~KNOWN) !== 0) return undefined
  const states = STATES.reduce((found, [bit, ct]) => (mask & bit ? found | ct : found), 0)
  return { states, dnat: (mask & DNAT) !== 0, not: (invert & FLAG.state) !== 0 }
}
