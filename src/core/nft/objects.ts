// nftables objects as values. Their print (print.ts) is nft's own language, so that `nft -f` of it gives the same table;
// encode.ts turns them into netlink messages and decode.ts back. Names of fields, types and statements are nft's own.
//
// A table is a value too: its sets and chains, each with a canonical print. Comparing two prints compares two objects.
import type { Addr } from '../net/addr.ts'
import type { PortRange } from '../net/ports.ts'

/** A type of data in a set's key or value; nft's own words. */
export type DataType =
  | 'ipv4_addr'
  | 'ipv6_addr'
  | 'ifname'
  | 'inet_proto'
  | 'inet_service'
  | 'icmp_type'
  | 'icmp_code'
  | 'icmpv6_type'
  | 'icmpv6_code'
  | 'classid'
  | 'mark'
  | 'verdict'

/**
 * What a packet is asked for. `iif` and `oif` are compared by index, 0 being none: no outgoing interface in the input hook, no
 * incoming one of what the host itself sends.
 */
export type Field =
  | 'iifname'
  | 'oifname'
  | 'iif'
  | 'oif'
  | 'meta l4proto'
  | 'meta nfproto'
  | 'meta priority'
  | 'meta mark'
  | 'ip saddr'
  | 'ip daddr'
  | 'ip6 saddr'
  | 'ip6 daddr'
  | 'th sport'
  | 'th dport'
  | 'icmp type'
  | 'icmp code'
  | 'icmpv6 type'
  | 'icmpv6 code'
  | 'ct state'
  | 'fib daddr type'

/**
 * One datum. Numbers: protocol, port, icmp type or code, mark, nfproto (2 or 10), index; classid as major * 65536 + minor;
 * ct state as a bit mask (1 invalid, 2 established, 4 related, 8 new, 64 untracked); fib type as RTN_* (2 local).
 * Strings: addresses, and interface names (a trailing `*` is a wildcard, in a comparison only).
 */
export type Scalar = number | Addr | string

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'continue' }
  | { readonly kind: 'goto' | 'jump'; readonly chain: string }

/** One component of an element's key: a value, an inclusive range, or an address prefix (kept as a range of the set). */
export type KeyPart = Scalar | { readonly from: Scalar; readonly to: Scalar }

export type Element = {
  /** As many parts as the set's key has types; `'*'` is the catch-all (hash maps only, see nftables facts). */
  readonly key: readonly KeyPart[] | '*'
  /** For maps. */
  readonly value?: Scalar | Verdict
  readonly comment?: string
}

export type NftSet = {
  readonly name: string
  readonly key: readonly DataType[]
  /** Present for maps. */
  readonly value?: DataType
  /** Keys may be ranges: rbtree for one key, pipapo for a concatenation. */
  readonly interval?: boolean
  readonly elements: readonly Element[]
  readonly comment?: string
}

/** The right side of a comparison. */
export type Operand =
  | { readonly value: Scalar }
  | { readonly from: Scalar; readonly to: Scalar }
  /** An anonymous set of values and ranges. */
  | { readonly set: readonly KeyPart[] }
  /** `@name`. */
  | { readonly ref: string }

export type Statement =
  /** `field op right`; several fields make a concatenation (only against `ref`). `mask`: `field & mask op right`. */
  | {
      readonly kind: 'match'
      readonly fields: readonly Field[]
      readonly op: '==' | '!='
      readonly right: Operand
      readonly mask?: number
    }
  /** `fields vmap @map`. */
  | { readonly kind: 'vmap'; readonly fields: readonly Field[]; readonly map: string }
  /** `meta priority set value`, or `meta priority set fields map @map`; the rule ends there if the map has no such key. */
  | { readonly kind: 'set'; readonly field: 'meta priority' | 'meta mark'; readonly value: number }
  | {
      readonly kind: 'set-map'
      readonly field: 'meta priority' | 'meta mark'
      readonly fields: readonly Field[]
      readonly map: string
    }
  /** `meta mark set meta mark | bits`, or `& ~bits`: the other bits stay. */
  | { readonly kind: 'set-bits'; readonly field: 'meta mark'; readonly bits: number; readonly on: boolean }
  /** Packets and bytes are state, not identity: they are left out of the canonical print. */
  | { readonly kind: 'counter'; readonly packets?: number; readonly bytes?: number }
  | {
      readonly kind: 'limit'
      readonly rate: number
      readonly per: 'second' | 'minute' | 'hour' | 'day'
      readonly burst?: number
    }
  /** With `group`: to NFLOG; without: to the kernel log. Prefix at most 127 bytes. */
  | {
      readonly kind: 'log'
      readonly prefix?: string
      readonly group?: number
      readonly level?: 'info' | 'notice' | 'warn'
    }
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  /** `ports`: of the source, afterwards; nft takes them only behind a question for a protocol that has some. */
  | { readonly kind: 'masquerade'; readonly ports?: PortRange }
  | { readonly kind: 'snat'; readonly to: Addr; readonly ports?: PortRange }
  | { readonly kind: 'notrack' }
  | { readonly kind: 'reject' }

export type Rule = { readonly statements: readonly Statement[]; readonly comment?: string }

export type BaseHook = {
  readonly type: 'filter' | 'nat'
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'
  readonly priority: number
  readonly policy: 'accept' | 'drop'
}

export type NftChain = {
  readonly name: string
  readonly base?: BaseHook
  readonly rules: readonly Rule[]
  readonly comment?: string
}

export type NftTable = {
  readonly family: 'inet'
  readonly name: string
  readonly sets: readonly NftSet[]
  readonly chains: readonly NftChain[]
  /** Of a table read from the kernel: what could not be understood. Absent means that the value says everything. */
  readonly unknown?: readonly UnknownObject[]
}

/** Something in the kernel's table that this representation cannot say; its place holds an object without contents. */
export type UnknownObject = {
  readonly kind: 'table' | 'set' | 'elements' | 'chain' | 'rule'
  readonly object: string
  readonly reason: string
}

/**
 * One step of a batch. Order matters and is the caller's; the batch is one transaction.
 * `set` and `chain` create the object with all its elements or rules; `rules` replaces a chain's body in place.
 */
export type NftOp =
  /** `owned`: flags owner and persist; nobody else can edit or flush the table, and it outlives us (kernel 6.9 on). */
  | { readonly op: 'add-table'; readonly owned?: boolean }
  | { readonly op: 'delete-table' }
  | { readonly op: 'add-set'; readonly set: NftSet }
  | { readonly op: 'delete-set'; readonly name: string }
  | { readonly op: 'add-elements' | 'delete-elements'; readonly set: NftSet; readonly elements: readonly Element[] }
  | { readonly op: 'add-chain'; readonly chain: NftChain }
  | { readonly op: 'replace-rules'; readonly chain: NftChain }
  | { readonly op: 'delete-chain'; readonly name: string }
