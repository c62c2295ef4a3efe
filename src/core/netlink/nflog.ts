// Packets that a rule with `log group` hands to whoever has bound the group (linux/netfilter/nfnetlink_log.h): the request
// to bind one, and what then comes, a message for each packet.
import { attributes, be16, be32, bytes, type Codec, text } from './attributes.ts'
import { DecodeError, type Reader, type Writer } from './bytes.ts'
import { putGenHeader, takeGenHeader } from './nfgenmsg.ts'

const SUBSYSTEM = 4 << 8
/** Message types, with the subsystem's number as headers have it. */
export const NFLOG = { PACKET: SUBSYSTEM, CONFIG: SUBSYSTEM | 1 } as const

const AF_UNSPEC = 0
const BIND = 1
const COPY_PACKET = 2
/** Each message carries its number. */
const SEQUENCE = 1

const command: Codec<number> = { encode: (w, n) => w.u8(n), decode: r => r.u8() }
/** struct nfulnl_msg_config_mode, packed. */
const mode: Codec<{ readonly range: number; readonly copy: number }> = {
  encode: (w, { range, copy }) => {
    w.be32(range)
    w.u8(copy)
    w.u8(0)
  },
  decode: r => {
    const found = { range: r.be32(), copy: r.u8() }
    r.take(1)
    return found
  },
}
const CONFIG = attributes({
  command: [1, command],
  mode: [2, mode],
  timeout: [4, be32],
  threshold: [5, be32],
  flags: [6, be16],
})

export type LogBinding = {
  readonly group: number
  /** How much of a packet is handed over, from its network header on. */
  readonly range: number
  /** So many packets go in one datagram, */
  readonly threshold: number
  /** or what there is after so many hundredths of a second. */
  readonly timeout: number
}

/** Body of NFLOG.CONFIG: the socket that sends it gets the group's packets, until it is closed. EPERM: another has them. */
export function encodeBindLog(w: Writer, { group, range, threshold, timeout }: LogBinding): void {
  putGenHeader(w, AF_UNSPEC, group)
  CONFIG.encode(w, {
    command: BIND,
    mode: { range, copy: COPY_PACKET },
    timeout,
    threshold,
    flags: SEQUENCE,
  })
}

const PACKET = attributes({
  mark: [2, be32],
  inIndex: [4, be32],
  outIndex: [5, be32],
  payload: [9, bytes],
  prefix: [10, text],
  number: [12, be32],
  linkHeader: [16, bytes],
})

export type LoggedPacket = {
  readonly group: number
  /** Of the rule. */
  readonly prefix: string
  /** Indexes of the interfaces; 0 for none. */
  readonly inIndex: number
  readonly outIndex: number
  readonly mark: number
  /** Counts all packets of the binding, with those that could not be handed over. */
  readonly number: number | undefined
  /** What the packet had before its network header, of one that came in. */
  readonly linkHeader: Uint8Array
  /** From the network header on, cut at the binding's range. */
  readonly payload: Uint8Array
}

const NOTHING = new Uint8Array(0)

/** Body of an NFLOG.PACKET message; throws a DecodeError. */
export function decodeLoggedPacket(r: Reader): LoggedPacket {
  const at = r.at
  const { resource: group } = takeGenHeader(r)
  const found = PACKET.decode(r)
  if (found.payload === undefined) throw new DecodeError('a logged packet without the packet', at)
  const { mark = 0, inIndex = 0, outIndex = 0, prefix = '', number, linkHeader = NOTHING, payload } = found
  return { group, prefix, inIndex, outIndex, mark, number, linkHeader, payload }
}

/** How many packets were lost between two numbers, which begin anew after 2^32. */
export const lostBetween = (last: number | undefined, number: number | undefined): number =>
  last === undefined || number === undefined ? 0 : (number - last - 1) >>> 0
