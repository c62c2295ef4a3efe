// Netlink messages (linux/netlink.h): a 16 byte header and a body. Requests are written into one Writer, received bytes
// are cut into messages, and the kernel's acknowledgement is read with its extended texts.
import { attributes, bytes, text, u32 } from './attributes.ts'
import { align4, DecodeError, Reader, type Writer } from './bytes.ts'

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const
export const NLM_F = {
  REQUEST: 1,
  MULTI: 2,
  ACK: 4,
  ECHO: 8,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const

export type Message = {
  readonly type: number
  readonly flags: number
  readonly seq: number
  /** Of the sender: 0 is the kernel. */
  readonly pid: number
  /** A window on the body, within the bytes received. */
  readonly body: Reader
}

export type Header = { readonly type: number; readonly flags: number; readonly seq: number }

/** Appends one message; `body` writes what follows the header. Returns its position in the writer. */
export function putMessage(w: Writer, header: Header, body: (w: Writer) => void): number {
  const at = w.reserve(16)
  w.setU16(at + 4, header.type)
  w.setU16(at + 6, header.flags)
  w.setU32(at + 8, header.seq)
  body(w)
  w.setU32(at, w.length - at)
  w.pad()
  return at
}

/** Cuts one received datagram into its messages; throws a DecodeError at the first length that cannot be. */
export function decodeMessages(received: Uint8Array): Message[] {
  const messages: Message[] = []
  const r = new Reader(received)
  while (r.left > 0) {
    const at = r.at
    if (r.left < 16) throw new DecodeError(`a message header of ${r.left} bytes`, at)
    const length = r.u32()
    const type = r.u16()
    const flags = r.u16()
    const seq = r.u32()
    const pid = r.u32()
    if (length < 16 || length > received.length - at)
      throw new DecodeError(`a message of ${length} bytes, ${received.length - at} left`, at)
    const body = r.window(length - 16)
    r.take(Math.min(align4(length) - length, r.left))
    messages.push({ type, flags, seq, pid, body })
  }
  return messages
}

const ACK_ATTRIBUTES = attributes({ text: [1, text], offset: [2, u32], cookie: [3, bytes] })

export type Ack = {
  /** 0, or the positive errno. */
  readonly errno: number
  /** The kernel's own explanation, and the offset of the guilty attribute in the request. */
  readonly text?: string | undefined
  readonly offset?: number | undefined
}

/** The contents of an NLMSG_ERROR (errno 0 is success) or NLMSG_DONE message. */
export function decodeAck(message: Message): Ack {
  const r = message.body
  const errno = r.left < 4 ? 0 : -(r.u32() | 0)
  if (message.type === NLMSG.ERROR) {
    // The request's header follows, and its body too unless it was capped.
    const length = r.u32()
    r.take(12)
    if (!(message.flags & NLM_F.CAPPED)) {
      if (length < 16) throw new DecodeError(`an acknowledged message of ${length} bytes`, r.at)
      r.take(Math.min(align4(length - 16), r.left))
    }
  }
  if (!(message.flags & NLM_F.ACK_TLVS)) return { errno }
  const { text: detail, offset } = ACK_ATTRIBUTES.decode(r)
  return { errno, text: detail, offset }
}
