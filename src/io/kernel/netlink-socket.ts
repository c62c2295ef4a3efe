// A netlink socket. The kernel works a request off inside the send call and queues its answer before that returns, so
// requests are plain synchronous functions: a few microseconds, no promise. Notifications have a socket of their own
// (subscribe), because their overruns must not lose an answer.

import { Writer } from '../../core/netlink/bytes.ts'
import {
  type Ack,
  decodeAck,
  decodeMessages,
  type Message,
  NLM_F,
  NLMSG,
  putMessage,
} from '../../core/netlink/message.ts'
import { ERRNO, KernelError } from './kernel-error.ts'
import { inNetns } from './netns.ts'
import { AF, bind, close, MSG, READABLE, recv, SO, SOCK, SOL, send, setOption, socket, watchFd } from './sys.ts'

export const NETLINK = { ROUTE: 0, NETFILTER: 12 } as const
const ADD_MEMBERSHIP = 1
const CAP_ACK = 10
const EXT_ACK = 11
const STRICT_CHECK = 12
/** More than any answer: a dump's datagrams have at most 32 KiB, an acknowledgement one attribute of 64 KiB. */
const RECEIVE_BYTES = 256 * 1024
const KERNEL_BUFFER = 8 * 1024 * 1024
const DUMP_TRIES = 10

/** What one request is, for its errors and its header. */
export type Request = {
  /** For errors: `add route`, and which. */
  readonly op: string
  readonly object?: string
  readonly type: number
  readonly flags?: number
  readonly body: (w: Writer) => void
}

export type Answer = { readonly seq: number; readonly ack: Ack }

function openSocket(protocol: number): number {
  const fd = socket(AF.NETLINK, SOCK.RAW, protocol)
  // sockaddr_nl of zeros: the kernel gives the socket its own port id.
  const address = new Uint8Array(12)
  address[0] = AF.NETLINK
  bind(fd, address)
  setOption(fd, SOL.SOCKET, SO.RCVBUFFORCE, KERNEL_BUFFER)
  setOption(fd, SOL.NETLINK, EXT_ACK, 1)
  setOption(fd, SOL.NETLINK, CAP_ACK, 1)
  if (protocol === NETLINK.ROUTE) setOption(fd, SOL.NETLINK, STRICT_CHECK, 1)
  return fd
}

const openIn = (protocol: number, netns: string | undefined): number =>
  netns === undefined ? openSocket(protocol) : inNetns(netns, () => openSocket(protocol))

/** One datagram's messages; undefined when the queue is empty. ENOBUFS comes out as a KernelError. */
function receive(fd: number, buffer: Uint8Array): Message[] | undefined {
  const length = recv(fd, buffer, MSG.TRUNC)
  if (length === undefined) return undefined
  if (length > buffer.length)
    throw new KernelError('receive', ERRNO.EMSGSIZE, { detail: `${length} bytes from netlink` })
  return decodeMessages(buffer.subarray(0, length))
}

export class NetlinkSocket {
  readonly #fd: number
  readonly #buffer = new Uint8Array(RECEIVE_BYTES)
  #seq = 0
  #sendBuffer = 0
  #closed = false

  /** Opens it in the namespace at `netns`, where it stays; without, in the calling process's. */
  constructor(protocol: number, netns?: string) {
    this.#fd = openIn(protocol, netns)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    close(this.#fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  nextSeq(): number {
    this.#seq = (this.#seq + 1) >>> 0
    return this.#seq
  }

  /** Sets aside the numbers of a prepared batch. */
  advanceSeq(count: number): void {
    this.#seq = (this.#seq + count) >>> 0
  }

  /** Asks for something to be done; throws the KernelError that the kernel answers with. */
  request({ op, object = '', type, flags = 0, body }: Request): void {
    const seq = this.nextSeq()
    const w = new Writer(512)
    putMessage(w, { type, flags: flags | NLM_F.REQUEST | NLM_F.ACK, seq }, body)
    this.sendBytes(op, w.result())
    for (const answer of this.answers()) {
      if (answer.seq !== seq) continue
      if (answer.ack.errno !== 0) throw ackError(op, object, answer.ack)
      return
    }
    throw new KernelError(op, ERRNO.EPROTO, { object, detail: 'no acknowledgement' })
  }

  /** Asks for one object; undefined when the kernel says that there is none. */
  get<T>(request: Request, decode: (message: Message) => T): T | undefined {
    const seq = this.nextSeq()
    const w = new Writer(512)
    putMessage(w, { type: request.type, flags: (request.flags ?? 0) | NLM_F.REQUEST, seq }, request.body)
    this.sendBytes(request.op, w.result())
    for (const message of this.#messages()) {
      if (message.seq !== seq) continue
      if (message.type !== NLMSG.ERROR) return decode(message)
      const ack = decodeAck(message)
      if (ack.errno === 0) continue
      const error = ackError(request.op, request.object ?? '', ack)
      if (error.isMissing) return undefined
      throw error
    }
    throw new KernelError(request.op, ERRNO.EPROTO, { object: request.object ?? '', detail: 'no answer' })
  }

  /** All objects of a kind; repeated until the kernel says that nothing changed meanwhile. */
  dump<T>(request: Request, decode: (message: Message) => T): T[] {
    for (let attempt = 0; ; attempt++) {
      const found = this.#dumpOnce(request, decode)
      if (found !== undefined) return found
      if (attempt === DUMP_TRIES)
        throw new KernelError(request.op, ERRNO.EAGAIN, { detail: 'it kept changing while read' })
    }
  }

  #dumpOnce<T>({ op, object = '', type, flags = 0, body }: Request, decode: (message: Message) => T): T[] | undefined {
    const seq = this.nextSeq()
    const w = new Writer(512)
    putMessage(w, { type, flags: flags | NLM_F.REQUEST | NLM_F.DUMP, seq }, body)
    this.sendBytes(op, w.result())
    const found: T[] = []
    let interrupted = false
    for (const message of this.#messages()) {
      if (message.seq !== seq) continue
      if (message.flags & NLM_F.DUMP_INTR) interrupted = true
      if (message.type === NLMSG.DONE || message.type === NLMSG.ERROR) {
        const ack = decodeAck(message)
        if (ack.errno === ERRNO.EINTR) return undefined
        if (ack.errno !== 0) throw ackError(op, object, ack)
        return interrupted ? undefined : found
      }
      found.push(decode(message))
    }
    throw new KernelError(op, ERRNO.EPROTO, { object, detail: 'the dump has no end' })
  }

  /** Sends prepared messages in one call; the kernel has worked them off when it returns. */
  sendBytes(op: string, bytes: Uint8Array): void {
    // Somebody else may have the descriptor's number by now.
    if (this.#closed) throw new KernelError(op, ERRNO.EBADF, { detail: 'the netlink socket is closed' })
    if (bytes.length > 200_000 && bytes.length > this.#sendBuffer) {
      // The kernel charges its own overhead to the buffer and doubles what is asked for.
      setOption(this.#fd, SOL.SOCKET, SO.SNDBUFFORCE, bytes.length + 65_536)
      this.#sendBuffer = bytes.length
    }
    if (send(this.#fd, bytes) === undefined) throw new KernelError(op, ERRNO.ENOBUFS)
  }

  /**
   * From now on for what the kernel sends by itself, which a request before has asked for: no more requests. The returned
   * function ends it and closes the socket.
   */
  listen(handler: SubscriptionHandler, how: Pick<Subscription, 'bufferBytes' | 'keepAlive'> = {}): () => void {
    this.#closed = true
    return listen(this.#fd, handler, how)
  }

  /** The acknowledgements that are queued, of any request. */
  *answers(): Generator<Answer> {
    for (const message of this.#messages()) {
      if (message.type === NLMSG.ERROR) yield { seq: message.seq, ack: decodeAck(message) }
    }
  }

  *#messages(): Generator<Message> {
    for (;;) {
      const messages = receive(this.#fd, this.#buffer)
      if (messages === undefined) return
      yield* messages
    }
  }
}

export const ackError = (op: string, object: string, ack: Ack): KernelError =>
  new KernelError(op, ack.errno, { object, detail: ack.text ?? '' })

export type Subscription = {
  readonly protocol: number
  /** Group numbers, such as RTNLGRP.LINK. */
  readonly groups: readonly number[]
  readonly netns?: string
  /** Kernel buffer; small ones overrun sooner. */
  readonly bufferBytes?: number
  /** Keeps the process alive (the default is not to). */
  readonly keepAlive?: boolean
}

export type SubscriptionHandler = {
  /** Every message of a datagram; their bodies are windows on a buffer that the next datagram overwrites. */
  readonly messages: (messages: readonly Message[]) => void
  /** Messages were lost: read everything again. */
  readonly overrun: () => void
}

/** Listens to multicast groups until the returned function is called. */
export function subscribe(what: Subscription, handler: SubscriptionHandler): () => void {
  const fd = openIn(what.protocol, what.netns)
  for (const group of what.groups) setOption(fd, SOL.NETLINK, ADD_MEMBERSHIP, group)
  return listen(fd, handler, what)
}

/** Hands over what comes to a socket; the returned function closes it. */
function listen(
  fd: number,
  handler: SubscriptionHandler,
  what: Pick<Subscription, 'bufferBytes' | 'keepAlive'>,
): () => void {
  if (what.bufferBytes !== undefined) setOption(fd, SOL.SOCKET, SO.RCVBUFFORCE, what.bufferBytes)
  const buffer = new Uint8Array(RECEIVE_BYTES)
  let open = true
  const drain = () => {
    while (open) {
      let messages: Message[] | undefined
      try {
        messages = receive(fd, buffer)
      } catch (error) {
        if (!(error instanceof KernelError) || error.code !== 'ENOBUFS') throw error
        handler.overrun()
        continue
      }
      if (messages === undefined) return
      handler.messages(messages)
    }
  }
  const unwatch = watchFd(fd, READABLE, drain, what.keepAlive !== true)
  return () => {
    if (!open) return
    open = false
    unwatch()
    close(fd)
  }
}
