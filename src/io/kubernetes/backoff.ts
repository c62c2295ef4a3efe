// How long to wait before trying again: longer each time, and never all at the same moment, so that a server that comes back
// is not brought down again by those that waited for it.

export type BackoffOptions = {
  readonly first?: number
  readonly longest?: number
  /** A number from 0 to 1. */
  readonly random?: () => number
}

export class Backoff {
  readonly #first: number
  readonly #longest: number
  readonly #random: () => number
  #tries = 0

  constructor({ first = 200, longest = 30_000, random = Math.random }: BackoffOptions = {}) {
    this.#first = first
    this.#longest = longest
    this.#random = random
  }

  /** Milliseconds for the next wait: from half of the doubled time to the whole of it, and never less than was asked for. */
  next(atLeast = 0): number {
    const whole = Math.min(this.#longest, this.#first * 2 ** this.#tries++)
    // Everybody was told the same time to come back: what is random goes on top.
    return atLeast + whole * (0.5 + this.#random() / 2)
  }

  /** All is well again. */
  reset(): void {
    this.#tries = 0
  }
}
