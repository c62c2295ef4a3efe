// IP protocol numbers (IANA) and the names that Calico gives to some of them.

/** Calico's protocol names in their canonical spelling. */
export const PROTOCOL_NUMBERS = { TCP: 6, UDP: 17, ICMP: 1, ICMPv6: 58, SCTP: 132, UDPLite: 136 } as const
export type ProtocolName = keyof typeof PROTOCOL_NUMBERS

const BY_NAME = new Map<string, number>(Object.entries(PROTOCOL_NUMBERS).map(([k, v]) => [k.toLowerCase(), v]))
const BY_NUMBER = new Map<number, ProtocolName>(
  (Object.keys(PROTOCOL_NUMBERS) as ProtocolName[]).map(name => [PROTOCOL_NUMBERS[name], name]),
)

/** The number of a protocol given by number, digits or name (any case); `undefined` if there is none. 0 is rejected. */
export function protocolNumber(protocol: string | number): number | undefined {
  const n =
    typeof protocol === 'number' || /^\d+$/.test(protocol) ? Number(protocol) : BY_NAME.get(protocol.toLowerCase())
  return n !== undefined && Number.isInteger(n) && n >= 1 && n <= 255 ? n : undefined
}

/** The canonical name of a protocol number, or its digits. */
export const protocolName = (n: number): string => BY_NUMBER.get(n) ?? String(n)

/** The protocols whose header begins with a source and a destination port and that rules may name ports for. */
export const PORT_PROTOCOLS: readonly number[] = [6, 17, 132]
export const hasPorts = (protocol: number): boolean => PORT_PROTOCOLS.includes(protocol)
