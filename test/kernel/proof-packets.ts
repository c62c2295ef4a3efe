// Packets to hold two rulesets against each other with: built from the values that either of them or an edit's script asks
// for, and those next to them, so that every class of packets which an element or a rule can tell from the others has
// members here. What is asked about together (all classes) is too much to enumerate: of the combinations many are drawn.
import type { Intent } from '../../src/core/calc/intent.ts'
import {
  type Addr,
  addr,
  type Family,
  familyOf,
  fromNumber,
  MAX,
  parseAddr,
  toNumber,
} from '../../src/core/net/addr.ts'
import { hasPorts } from '../../src/core/net/protocol.ts'
import type { PlacedPacket } from '../../src/core/proof/difference.ts'
import { type Dice, pick } from '../support/dice.ts'
import type { Tracer } from './proof-trace.ts'

/** What packets are made of. */
export class Values {
  readonly addresses: Readonly<Record<Family, Set<Addr>>> = {
    4: new Set([addr('198.51.100.7')]),
    6: new Set([addr('2001:dead::1')]),
  }
  readonly ports = new Set([53, 80])
  readonly protocols = new Set([1, 6, 17, 47, 58, 132, 136])
  readonly types = new Set([0, 3, 8, 128, 135])
  readonly names = new Set(['eth0', 'eth1', 'lo', 'cali0zz', 'vethx'])

  addAddress(family: Family, from: bigint, to: bigint): void {
    for (const n of [from - 1n, from, to, to + 1n])
      if (n >= 0n && n <= MAX[family]) this.addresses[family].add(fromNumber(family, n))
  }

  addNumber(into: Set<number>, from: number, to: number, max: number): void {
    for (const n of [from - 1, from, to, to + 1]) if (n >= 0 && n <= max) into.add(n)
  }

  /** The keys of all sets of a listing. */
  addListing({ tables }: Tracer): void {
    for (const { sets } of tables.values()) {
      for (const { types, entries } of sets.values()) {
        for (const { parts } of entries) {
          for (const [i, part] of parts.entries()) {
            const [from, to] = typeof part === 'object' ? [part.from, part.to] : [part, part]
            this.#addKey(types[i] ?? '', from, to)
          }
        }
      }
    }
  }

  #addKey(type: string, from: number | bigint | string, to: number | bigint | string): void {
    if (from === '*') return
    if (type === 'ipv4_addr' || type === 'ipv6_addr')
      this.addAddress(type === 'ipv4_addr' ? 4 : 6, BigInt(from), BigInt(to))
    if (type === 'inet_service') this.addNumber(this.ports, Number(from), Number(to), 65535)
    if (type === 'inet_proto') this.protocols.add(Number(from))
    if (type.startsWith('icmp')) this.addNumber(this.types, Number(from), Number(to), 255)
    if (type === 'ifname') this.names.add(String(from))
  }

  /** Every address, number and interface that stands in a script. */
  addScript(text: string): void {
    for (const [word] of text.matchAll(/[0-9a-f]*[.:][0-9a-f.:]*(\/\d+)?/g)) {
      const [at = '', length] = word.split('/')
      const parsed = parseAddr(at)
      if (!parsed) continue
      const family = familyOf(parsed)
      const first = toNumber(parsed)
      const bits = family === 4 ? 32 : 128
      this.addAddress(family, first, first + (1n << BigInt(bits - Number(length ?? bits))) - 1n)
    }
    for (const [word] of text.matchAll(/\b\d{1,5}\b/g)) {
      const n = Number(word)
      this.addNumber(this.ports, n, n, 65535)
      if (n > 0 && n < 256) this.protocols.add(n)
      if (n < 256) this.addNumber(this.types, n, n, 255)
    }
    for (const [, name] of text.matchAll(/"((?:cali|veth|eth)\w+)"/g)) this.names.add(name!)
  }
}

/** Packets of random combinations; mostly those that an endpoint of the intent may send or get. */
export function packetsOf(intent: Intent, values: Values, o: { count: number; dice: Dice }): PlacedPacket[] {
  const { dice: d } = o
  const own = new Map(intent.endpoints.map(e => [e.interfaceName, e.addresses]))
  const names = [...own.keys(), ...own.keys(), ...values.names]
  const lists = {
    4: [...values.addresses[4]],
    6: [...values.addresses[6]],
    ports: [...values.ports],
    protocols: [...values.protocols],
    types: [...values.types],
  }
  return Array.from({ length: o.count }, (): PlacedPacket => {
    const family = pick(d, [4, 6] as const)
    // Some the node sends itself.
    const iif = d(8) === 0 ? '' : pick(d, names)
    const oif = iif !== '' && d(4) === 0 ? undefined : pick(d, names)
    const address = (name: string | undefined): Addr =>
      (d(8) > 0 && own.get(name ?? '')?.find(a => familyOf(a) === family)) || pick(d, lists[family])
    const protocol = pick(d, d(2) === 0 ? [6, 17, 132, family === 4 ? 1 : 58] : lists.protocols)
    const isIcmp = protocol === (family === 4 ? 1 : 58)
    const discovery = isIcmp && family === 6 && d(4) === 0
    return {
      family,
      protocol,
      src: discovery ? addr('fe80::1') : address(iif),
      dst: address(oif),
      ...(hasPorts(protocol) && { sport: pick(d, lists.ports), dport: pick(d, lists.ports) }),
      ...(isIcmp && { icmp: { type: discovery ? 135 : pick(d, lists.types), code: pick(d, [0, 0, 1, 3]) } }),
      iif,
      ...(oif !== undefined && { oif }),
      connection: pick(d, ['new', 'new', 'new', 'new', 'established', 'invalid'] as const),
    }
  })
}
