// Who goes next. What has come together while another had the turn is answered in one turn.
import type { Outcome } from '../core/base/problem.ts'

/** Who takes a turn gets it when those before have given theirs back. */
export class Turns {
  #last: Promise<void> = Promise.resolve()

  async take(): Promise<() => void> {
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = before.then(() => promise)
    await before
    return resolve
  }
}

type Waiting<Q, A> = {
  readonly question: Q
  readonly resolve: (answer: A) => void
  readonly reject: (error: Error) => void
}

/**
 * A function for one question out of one for several. The first that comes takes a turn, which is at once where nobody has it;
 * whoever comes until it has it goes along.
 */
export function together<Q, A>(
  answer: (questions: readonly Q[]) => Promise<readonly Outcome<A>[]>,
  turns = new Turns(),
): (question: Q) => Promise<A> {
  let waiting: Waiting<Q, A>[] = []
  const serve = async (): Promise<void> => {
    const done = await turns.take()
    const served = waiting
    waiting = []
    try {
      const outcomes = await answer(served.map(({ question }) => question))
      for (const [i, { resolve, reject }] of served.entries()) {
        const outcome = outcomes[i]!
        if (outcome.ok) resolve(outcome.value)
        else reject(outcome.error)
      }
    } catch (error) {
      for (const { reject } of served) reject(error as Error)
    } finally {
      done()
    }
  }
  return question =>
    new Promise((resolve, reject) => {
      waiting.push({ question, resolve, reject })
      if (waiting.length === 1) void serve()
    })
}
