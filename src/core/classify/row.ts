// A row: (protocol, port or ICMP type) → outcome, for one pair of endpoint and peer class. Interned by content node-wide.
// Lookup goes from fine to coarse: port, then type and code, then type, then protocol, then the row's `otherwise`.
import { sha1Hex } from '../base/hash.ts'
import type { Family } from '../net/addr.ts'
import type { Direction, HostHook } from '../resources/cause.ts'
import type { OutcomeName } from './outcome.ts'

export type PortEntry = {
  readonly protocol: number
  readonly first: number
  readonly last: number
  readonly outcome: OutcomeName
}
/** `code` absent: every code that has no entry of its own. `family` tells ICMP (4) from ICMPv6 (6). */
export type TypeEntry = {
  readonly family: Family
  readonly type: number
  readonly code?: number
  readonly outcome: OutcomeName
}
export type ProtocolEntry = { readonly protocol: number; readonly outcome: OutcomeName }

/** `r_` and 16 hex digits of a hash of the content. */
export type RowName = string & { readonly __row: true }

export type Row = {
  readonly name: RowName
  readonly direction: Direction
  readonly hook?: HostHook
  readonly ports: readonly PortEntry[]
  readonly types: readonly TypeEntry[]
  readonly protocols: readonly ProtocolEntry[]
  readonly otherwise: OutcomeName
}

export function makeRow(content: Omit<Row, 'name'>): Row {
  const { direction, hook, ports, types, protocols, otherwise } = content
  const text = JSON.stringify([direction, ports, types, protocols, otherwise, ...(hook ? [hook] : [])])
  const name = `r_${sha1Hex(text).slice(0, 16)}` as RowName
  return { name, ...content }
}

/** A row that needs no finer key than itself. */
export const isPlain = (row: Row): boolean => row.ports.length + row.types.length + row.protocols.length === 0

/** What a packet finds in a row; the order of the kernel's lookups. */
export function lookup(
  row: Row,
  packet: { family: Family; protocol: number; dport?: number; icmp?: { type: number; code: number } },
): OutcomeName {
  const { family, protocol, dport, icmp } = packet
  const port =
    dport === undefined
      ? undefined
      : row.ports.find(e => e.protocol === protocol && e.first <= dport && dport <= e.last)?.outcome
  if (port) return port
  if (icmp && protocol === (family === 4 ? 1 : 58)) {
    const types = row.types.filter(e => e.family === family && e.type === icmp.type)
    const found = types.find(e => e.code === icmp.code) ?? types.find(e => e.code === undefined)
    if (found) return found.outcome
  }
  return row.protocols.find(e => e.protocol === protocol)?.outcome ?? row.otherwise
}
