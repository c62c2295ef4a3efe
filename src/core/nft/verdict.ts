// Verdicts as the kernel numbers them (linux/netfilter.h and nf_tables.h); a chain's name goes with goto and jump.
import { DecodeError } from '../netlink/bytes.ts'
import type { Verdict } from './objects.ts'

const CODES = { drop: 0, accept: 1, continue: -1, jump: -3, goto: -4, return: -5 } as const
const KINDS = new Map<number, Verdict['kind']>(
  (Object.keys(CODES) as Verdict['kind'][]).map(kind => [CODES[kind], kind]),
)

export type VerdictValues = { readonly code?: number; readonly chain?: string }

export function encodeVerdict(verdict: Verdict): VerdictValues {
  const code = CODES[verdict.kind] >>> 0
  return verdict.kind === 'goto' || verdict.kind === 'jump' ? { code, chain: verdict.chain } : { code }
}

export function decodeVerdict(values: VerdictValues | undefined): Verdict {
  const kind = values?.code === undefined ? undefined : KINDS.get(values.code | 0)
  if (kind === undefined) throw new DecodeError(`unknown verdict ${values?.code}`, 0)
  if (kind !== 'goto' && kind !== 'jump') return { kind }
  if (values?.chain === undefined) throw new DecodeError(`a ${kind} to nowhere`, 0)
  return { kind, chain: values.chain }
}
