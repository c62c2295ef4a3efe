// What the lab says: a line per step, with the time it took on a terminal, and colour where there is somebody to see it.
import type { WriteStream } from 'node:tty'

const CODES = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const
export type Style = keyof typeof CODES
/** Wraps text in a style, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string

export const plain: Paint = (_, text) => text
export const coloured: Paint = (style, text) => `\x1b[${CODES[style]}m${text}\x1b[0m`

/** NO_COLOR is the convention of no-color.org. */
export const paintFor = (stream: Pick<WriteStream, 'isTTY'>): Paint =>
  stream.isTTY && !process.env.NO_COLOR ? coloured : plain

export class Steps {
  readonly #write: (text: string) => void
  readonly #paint: Paint

  constructor(write: (text: string) => void, paint: Paint) {
    this.#write = write
    this.#paint = paint
  }

  say(text: string): void {
    this.#write(`[lab] ${text}\n`)
  }

  /** Runs one step and says so when it is done; `body` gives what there is to add. A failure names the step. */
  async step(name: string, body: () => Promise<string | undefined> | string | undefined): Promise<void> {
    const began = performance.now()
    try {
      const result = await body()
      const took = this.#paint('dim', `(${((performance.now() - began) / 1000).toFixed(1)} s)`)
      this.say(`${name}${result ? `: ${result}` : ''} ${took}`)
    } catch (error) {
      this.say(this.#paint('red', `${name}: failed`))
      throw error
    }
  }
}
