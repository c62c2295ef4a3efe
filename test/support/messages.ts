// Many packets in one system call (sendmmsg, recvmmsg): a fixed number of slots of bytes with the headers that point at
// them. One call for 512 packets costs what matters in a generator: the kernel's own work, not the way into it.
import { addressOf, receiveMessages, sendMessages } from '../../src/io/kernel/sys.ts'

/** Bytes of one packet at most. */
export const SLOT = 96
/** In 64-bit words: struct mmsghdr has eight (the iovec's address is the third, the received length the last). */
const HEADER = 8
const IOVEC = 2

export class Messages {
  readonly count: number
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly #headers: BigUint64Array
  readonly #vectors: BigUint64Array

  constructor(count: number) {
    this.count = count
    this.bytes = new Uint8Array(count * SLOT)
    this.view = new DataView(this.bytes.buffer)
    this.#headers = new BigUint64Array(count * HEADER)
    this.#vectors = new BigUint64Array(count * IOVEC)
    const bytes = addressOf(this.bytes)
    const vectors = addressOf(new Uint8Array(this.#vectors.buffer))
    for (let i = 0; i < count; i++) {
      this.#vectors[i * IOVEC] = bytes + BigInt(i * SLOT)
      this.#vectors[i * IOVEC + 1] = BigInt(SLOT)
      this.#headers[i * HEADER + 2] = vectors + BigInt(i * IOVEC * 8)
      this.#headers[i * HEADER + 3] = 1n
    }
  }

  /** Puts a packet into a slot. */
  put(slot: number, frame: Uint8Array): void {
    if (frame.length > SLOT) throw new Error(`a frame of ${frame.length} bytes`)
    this.bytes.set(frame, slot * SLOT)
    this.#vectors[slot * IOVEC + 1] = BigInt(frame.length)
  }

  /** Sends the first `count` slots, however many calls that takes. */
  send(fd: number, count = this.count): void {
    for (let from = 0; from < count; ) {
      const sent = sendMessages(fd, this.#headers.subarray(from * HEADER), count - from)
      from += sent ?? 0
    }
  }

  /** Fills slots with what waits at the socket, and says how many. */
  receive(fd: number): number {
    return receiveMessages(fd, this.#headers, this.count) ?? 0
  }
}
