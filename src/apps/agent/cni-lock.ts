// Work on one key goes one after the other, work on different keys at the same time.

export class KeyedLock {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Runs `work` after all earlier work on the key has ended, however it ended. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(key) ?? Promise.resolve()).then(work)
    const ended = result
      .catch(() => {})
      .then(() => {
        if (this.#last.get(key) === ended) this.#last.delete(key)
      })
    this.#last.set(key, ended)
    return result
  }

  /** Keys with work under way. */
  get size(): number {
    return this.#last.size
  }
}
