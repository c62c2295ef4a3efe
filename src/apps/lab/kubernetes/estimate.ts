// How long a build still takes: the times expected, scaled by how much slower or faster this machine has been so far.

export type Step = { readonly expected: number; readonly spent: number }

export type Progress = {
  readonly done: readonly Step[]
  readonly current: Step
  readonly ahead: readonly { readonly seconds: number }[]
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

/**
 * Seconds left. A step that already took longer than expected makes the estimate of those after it longer as well.
 */
export function remainingSeconds({ done, current, ahead }: Progress): number {
  const measured = [...done, ...(current.spent > current.expected ? [current] : [])]
  const expected = sum(measured.map(step => step.expected))
  const scale = expected === 0 ? 1 : sum(measured.map(step => step.spent)) / expected
  // One that ought to be over is not: nobody knows, but not at once.
  return (
    Math.max(current.spent / 10, current.expected * scale - current.spent) +
    scale * sum(ahead.map(({ seconds }) => seconds))
  )
}

/** `about 12 min left`. */
export function printRemaining(progress: Progress): string {
  const seconds = remainingSeconds(progress)
  return seconds < 90
    ? `about ${Math.max(5, Math.ceil(seconds / 5) * 5)} s left`
    : `about ${Math.round(seconds / 60)} min left`
}
