// The wire of the embedded datastore, below its meaning: one JSON object a line, of bounded size. Bytes come in pieces
// of any size; what is not UTF-8 or does not end in time is an error that ends the connection, never a guess.

/** Largest frame either side takes. A value of `MAX_VALUE` bytes fits with every character escaped. */
export const MAX_FRAME = 16 * 1024 * 1024

export class FrameError extends Error {
  override readonly name = 'FrameError'
}

const NEWLINE = 10

/** Cuts a byte stream into lines. After an error it must not be used again. */
export class FrameReader {
  readonly #max: number
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  #parts: Uint8Array[] = []
  #size = 0

  constructor(max: number = MAX_FRAME) {
    this.#max = max
  }

  /** The frames that this piece completes, without their newline; throws `FrameError`. */
  *push(chunk: Uint8Array): Generator<string> {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      const part = chunk.subarray(start, end < 0 ? chunk.length : end)
      this.#size += part.length
      if (this.#size > this.#max) throw new FrameError(`frame longer than ${this.#max} bytes`)
      if (part.length > 0) this.#parts.push(part)
      if (end < 0) return
      yield this.#take()
      start = end + 1
    }
  }

  #take(): string {
    const parts = this.#parts
    this.#parts = []
    this.#size = 0
    try {
      return this.#decoder.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts))
    } catch {
      throw new FrameError('frame is not UTF-8')
    }
  }
}
